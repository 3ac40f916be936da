//! How much memory there is.

use crate::fs;

use camino::Utf8Path;

/// Returns how many bytes can be used without swapping, by the machine and by the control groups
/// (version 2) of this process; `None` if unknown.
pub fn available() -> Option<u64> {
    let machine = available_in(&read(Utf8Path::new("/proc/meminfo")));
    let own = read(Utf8Path::new("/proc/self/cgroup"));
    let own = own.lines().find_map(|line| line.strip_prefix("0::/"));
    let root = Utf8Path::new("/sys/fs/cgroup");
    let group = own.map(|own| root.join(own));
    let groups = group.iter().flat_map(|group| group.ancestors());
    let limits = groups
        .take_while(|dir| dir.starts_with(root))
        .filter_map(|dir| {
            let file = |name: &str| read(&dir.join(name));
            left_in(
                &file("memory.max"),
                &file("memory.current"),
                &file("memory.stat"),
            )
        });
    machine.into_iter().chain(limits).min()
}

fn read(path: &Utf8Path) -> String {
    fs::read_if_there(path).unwrap_or_default()
}

fn available_in(meminfo: &str) -> Option<u64> {
    let line = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    kib.checked_mul(1024)
}

/// Returns what a control group may still use; files that can be read again count as unused.
fn left_in(max: &str, current: &str, stat: &str) -> Option<u64> {
    let max: u64 = max.trim().parse().ok()?;
    let current: u64 = current.trim().parse().ok()?;
    let cache = stat
        .lines()
        .find_map(|line| line.strip_prefix("inactive_file "));
    let cache: u64 = cache.and_then(|text| text.parse().ok()).unwrap_or(0);
    Some(max.saturating_sub(current.saturating_sub(cache)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_and_a_control_group_are_read_as_the_kernel_writes_them() {
        let meminfo = "MemTotal:  8000 kB\nMemFree: 10 kB\nMemAvailable:    2048 kB\n";
        assert_eq!(available_in(meminfo), Some(2 << 20));
        assert_eq!(available_in("MemTotal: 1 kB\n"), None);
        assert_eq!(left_in("max\n", "5\n", ""), None);
        assert_eq!(
            left_in("100\n", "70\n", "anon 1\ninactive_file 20\n"),
            Some(50)
        );
        assert_eq!(left_in("100\n", "170\n", ""), Some(0));
        assert!(available().is_some_and(|bytes| bytes > 1 << 20));
    }
}

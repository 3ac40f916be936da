//! The kernel's own table of file locks, which shows who holds one without touching it.
//!
//! Trying a lock could make another process's attempt fail at that moment; reading `/proc/locks`
//! (proc(5)) disturbs nobody. The table covers only this node, and only our PID namespace.

use crate::fs::read_if_there;

use camino::Utf8Path;

/// A lock of a whole file that excludes all others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KernelLock {
    /// Whether it is one of flock(2); otherwise it is one of fcntl(2).
    pub is_flock: bool,
    /// The holder; `None` if the lock belongs to an open file and not to a process.
    pub pid: Option<u32>,
    /// Major and minor number of the file system's device, as in the mount table.
    pub device: (u32, u32),
    /// The file.
    pub inode: u64,
}

/// Reads the table; empty if it is not available.
pub fn held() -> Vec<KernelLock> {
    let table = read_if_there(Utf8Path::new("/proc/locks")).unwrap_or_default();
    table.lines().filter_map(parse).collect()
}

/// Reads a line such as `3: FLOCK  ADVISORY  WRITE 21971 fe:00:10012987 0 EOF`.
fn parse(line: &str) -> Option<KernelLock> {
    let mut words = line.split_ascii_whitespace().skip(1);
    let is_flock = match words.next()? {
        "FLOCK" => true,
        "POSIX" | "OFDLCK" => false,
        // Waiting processes are marked with an arrow.
        _ => return None,
    };
    let (_, access, pid) = (words.next()?, words.next()?, words.next()?);
    let place = words.next()?;
    let range = (words.next()?, words.next()?);
    if access != "WRITE" || range != ("0", "EOF") {
        return None;
    }
    let mut numbers = place.split(':');
    let mut device_number = || u32::from_str_radix(numbers.next()?, 16).ok();
    let device = (device_number()?, device_number()?);
    Some(KernelLock {
        is_flock,
        pid: pid.parse().ok(),
        device,
        inode: numbers.next()?.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_tells_the_holder_and_the_file() {
        let lock = KernelLock {
            is_flock: true,
            pid: Some(21971),
            device: (0xfe, 0),
            inode: 10_012_987,
        };
        let line = "3: FLOCK  ADVISORY  WRITE 21971 fe:00:10012987 0 EOF";
        assert_eq!(parse(line), Some(lock.clone()));
        let open_file = KernelLock {
            is_flock: false,
            pid: None,
            ..lock
        };
        let line = "12: OFDLCK ADVISORY  WRITE -1 fe:00:10012987 0 EOF";
        assert_eq!(parse(line), Some(open_file));
    }

    #[test]
    fn who_waits_shares_or_locks_a_part_holds_no_file() {
        for line in [
            "3: -> FLOCK  ADVISORY  WRITE 21972 fe:00:10012987 0 EOF",
            "1: OFDLCK ADVISORY  READ -1 fe:00:10289438 0 EOF",
            "2: POSIX  ADVISORY  WRITE 7 fe:00:10289438 100 101",
            "2: LEASE  ACTIVE    READ 7 fe:00:10289438 0 EOF",
            "2: POSIX  ADVISORY  WRITE 7 <none>:0 0 EOF",
            "",
        ] {
            assert_eq!(parse(line), None, "{line}");
        }
    }
}

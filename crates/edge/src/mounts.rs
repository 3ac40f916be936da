//! Which kind of file system a directory is on: the kernel's number for it and the mount table.

use crate::error::Result;
use crate::fs::io_problem;
use crate::fs::read_text;

use camino::Utf8Path;
use nix::sys::statfs::statfs;
use std::io;

/// What the kernel says about the file system of a directory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FileSystem {
    /// `f_type` of statfs(2).
    pub magic: u32,
    /// The type in the mount table, such as `nfs4` or `fuse.sshfs`; empty if it was not looked up.
    pub kind: String,
    /// The options of the mount and of the file system.
    pub options: Vec<String>,
    /// Whether this node exports it to others by NFS.
    pub is_exported: bool,
}

/// The kernel NFS server's table of exports, which `exportfs` keeps (exportfs(8)).
const EXPORTS: &str = "/var/lib/nfs/etab";

/// Returns the number of the file system of an existing directory.
///
/// # Errors
/// Any I/O error. This blocks on a network file system whose server is down.
pub fn magic_of(dir: &Utf8Path) -> Result<u32> {
    let found = statfs(dir.as_std_path())
        .map_err(|errno| io_problem(&io::Error::from(errno), "ask for the file system of", dir))?;
    // The numbers are 32 bits wide in a wider field.
    Ok(u32::try_from(found.filesystem_type().0 & 0xffff_ffff).unwrap_or(0))
}

/// Completes a magic number by the mount table's line for a real path.
///
/// # Errors
/// The mount table cannot be read.
pub fn in_mount_table(magic: u32, real_dir: &Utf8Path) -> Result<FileSystem> {
    let table = read_text(Utf8Path::new("/proc/self/mountinfo"))?;
    let (kind, options) = look_up(&table, real_dir);
    Ok(FileSystem {
        magic,
        kind,
        options,
        is_exported: false,
    })
}

/// Whether this node is the NFS server of a real path, as far as can be known: servers in user
/// space keep tables of their own.
pub fn is_exported(real_dir: &Utf8Path) -> bool {
    // Nearly no node has the table.
    read_text(Utf8Path::new(EXPORTS)).is_ok_and(|table| has_export(&table, real_dir))
}

/// Looks for an export that contains a path; an export names a directory and covers everything
/// below it.
fn has_export(table: &str, path: &Utf8Path) -> bool {
    let exports = table
        .lines()
        .filter_map(|line| line.split(['\t', ' ']).next());
    exports
        .filter(|export| export.starts_with('/'))
        .any(|export| path.starts_with(unescaped(export)))
}

/// Returns the device number of the file system that a path is on, as in the kernel's own tables:
/// stat(2) can give another one, for a subvolume or a layer.
pub fn device_of(path: &Utf8Path) -> Option<(u32, u32)> {
    let table = read_text(Utf8Path::new("/proc/self/mountinfo")).ok()?;
    let real = path.canonicalize_utf8().ok()?;
    let mut numbers = line_of(&table, &real)?.split(' ').nth(2)?.split(':');
    let mut number = || numbers.next()?.parse().ok();
    Some((number()?, number()?))
}

/// Finds type and options of the mount that a path is on.
fn look_up(table: &str, path: &Utf8Path) -> (String, Vec<String>) {
    let halves = line_of(table, path).and_then(|line| line.split_once(" - "));
    let Some((mount, file_system)) = halves else {
        return Default::default();
    };
    let mount_options = mount.split(' ').nth(5).unwrap_or_default();
    let mut file_system = file_system.split(' ');
    let kind = file_system.next().unwrap_or_default();
    let super_options = file_system.nth(1).unwrap_or_default();
    let options = mount_options.split(',').chain(super_options.split(','));
    (kind.to_owned(), options.map(str::to_owned).collect())
}

/// Finds the line of the mount that a path is on: the longest mount point, and of equal ones the
/// last, which hides the others (proc(5), `mountinfo`).
fn line_of<'a>(table: &'a str, path: &Utf8Path) -> Option<&'a str> {
    let mut best: Option<(usize, &str)> = None;
    for line in table.lines() {
        let point = unescaped(line.split(' ').nth(4).unwrap_or_default());
        let is_longer = best.is_none_or(|(length, _)| point.len() >= length);
        if is_longer && !point.is_empty() && path.starts_with(&point) {
            best = Some((point.len(), line));
        }
    }
    best.map(|(_, line)| line)
}

/// Undoes the octal escapes of the mount table: blank, tab, line feed and backslash.
fn unescaped(text: &str) -> String {
    [
        ("\\040", " "),
        ("\\011", "\t"),
        ("\\012", "\n"),
        ("\\134", "\\"),
    ]
    .iter()
    .fold(text.to_owned(), |text, (escape, plain)| {
        text.replace(escape, plain)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "\
22 1 8:1 / / rw,relatime - ext4 /dev/sda1 rw
40 22 0:30 / /net/team rw,relatime shared:5 - nfs4 srv:/team rw,vers=4.2,local_lock=none
41 40 0:31 / /net/team/my\\040scratch rw - tmpfs none rw
42 22 0:32 / /net/team rw - fuse.sshfs me@there rw,user_id=0
";

    #[test]
    fn the_longest_mount_point_counts_and_of_equal_ones_the_last() {
        let kind = |path: &str| look_up(TABLE, Utf8Path::new(path)).0;
        assert_eq!(kind("/net/teams"), "ext4");
        assert_eq!(kind("/net/team/a"), "fuse.sshfs");
        assert_eq!(kind("/net/team/my scratch/a"), "tmpfs");
        assert_eq!(look_up("", Utf8Path::new("/")).0, "");
    }

    #[test]
    fn options_of_mount_and_file_system_are_both_told() {
        let (_, options) = look_up(&TABLE[..TABLE.len() - 70], Utf8Path::new("/net/team/a"));
        assert!(options.iter().any(|option| option == "relatime"));
        assert!(options.iter().any(|option| option == "local_lock=none"));
    }

    #[test]
    fn what_lies_below_an_export_is_handed_out() {
        let table = "/srv/team\t10.0.0.0/8(rw,sync)\n/srv/my\\040scratch\t*(ro)\n";
        for (path, expected) in [
            ("/srv/team", true),
            ("/srv/team/a", true),
            ("/srv/teams", false),
            ("/srv/my scratch/a", true),
            ("/srv", false),
        ] {
            assert_eq!(has_export(table, Utf8Path::new(path)), expected, "{path}");
        }
        assert!(!has_export("", Utf8Path::new("/")));
    }

    #[test]
    fn the_root_has_a_number_and_a_type() -> Result<()> {
        let root = Utf8Path::new("/");
        let magic = magic_of(root)?;
        assert_ne!(magic, 0);
        assert_ne!(in_mount_table(magic, root)?.kind, "");
        Ok(())
    }
}

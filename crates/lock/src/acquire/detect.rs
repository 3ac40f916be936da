//! Which strategy fits a file system, and which would only pretend to lock there.

use crate::acquire::probe;
use crate::acquire::strategy::Strategy;
use crate::error::LockError;

use camino::Utf8Path;
use cocorun_edge::fs;
use cocorun_edge::mounts;
use cocorun_edge::mounts::FileSystem;

/// Numbers of file systems that are local to one node (statfs(2), `linux/magic.h`).
const LOCAL: [u32; 15] = [
    0x0000_ef53, // ext2, ext3, ext4
    0x5846_5342, // xfs
    0x9123_683e, // btrfs
    0x0102_1994, // tmpfs
    0x8584_58f6, // ramfs
    0xf2f5_2010, // f2fs
    0x2fc1_2fc1, // zfs
    0x794c_7630, // overlayfs
    0xca45_1a4e, // bcachefs
    0x5265_4973, // reiserfs
    0x3153_464a, // jfs
    0x0000_3434, // nilfs2
    0x2011_bab0, // exfat
    0x0000_4d44, // vfat
    0x7366_746e, // ntfs3
];
const NFS: u32 = 0x6969;
const SMB: [u32; 3] = [0x517b, 0xff53_4d42, 0xfe53_4d42];
const GPFS: u32 = 0x4750_4653;
const LUSTRE: u32 = 0x0bd0_0bd0;

/// A strategy for a directory, found to work there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// The strategy.
    pub strategy: Strategy,
    /// Whether flock(2) is held in addition: this node exports the directory, and its processes
    /// that cannot see that, such as those in a container, treat the directory as local.
    pub also_flock: bool,
    /// Why it may not work, if it was forced.
    pub doubt: Option<String>,
}

/// Picks the strategy for an existing directory, or takes the forced one, and tries it there.
///
/// Each step that can hang on a server gets a few seconds.
///
/// # Errors
/// The strategy cannot work there, or the file system does not answer.
pub fn choose(dir: &Utf8Path, forced: Option<Strategy>) -> Result<Choice, LockError> {
    let asked = dir.to_owned();
    let answer = probe::bounded(dir, "statfs", move || {
        let magic = mounts::magic_of(&asked)?;
        if LOCAL.contains(&magic) {
            // A local file system is known by its number; the table costs a read per lock.
            return Ok(FileSystem {
                magic,
                is_exported: mounts::is_exported(&fs::real_path(&asked)?),
                ..FileSystem::default()
            });
        }
        mounts::in_mount_table(magic, &fs::real_path(&asked)?)
    })?;
    let file_system = answer?;
    let strategy = forced.unwrap_or_else(|| fitting(&file_system));
    if let Some(reason) = objection(strategy, &file_system) {
        return Err(strategy.refused(dir, &reason));
    }
    probe::probe(strategy, dir)?;
    Ok(Choice {
        strategy,
        also_flock: forced.is_none() && file_system.is_exported,
        doubt: forced.and_then(|strategy| doubt(strategy, &file_system)),
    })
}

/// Whether no other node can see it; the server's own view of its exports can be seen by others.
fn is_local(file_system: &FileSystem) -> bool {
    LOCAL.contains(&file_system.magic) && !file_system.is_exported
}

fn is_smb(file_system: &FileSystem) -> bool {
    let kind = file_system.kind.as_str();
    SMB.contains(&file_system.magic) || matches!(kind, "cifs" | "smb3" | "smbfs")
}

/// Picks the strategy; an unknown file system gets the one that needs least.
fn fitting(file_system: &FileSystem) -> Strategy {
    if is_local(file_system) {
        Strategy::Flock
    } else if file_system.magic == GPFS || file_system.kind == "gpfs" {
        Strategy::ByteRange
    } else if is_smb(file_system) {
        Strategy::ExclusiveCreate
    } else {
        Strategy::Ledger
    }
}

/// Says why the mount's own options keep a strategy from excluding others.
fn objection(strategy: Strategy, file_system: &FileSystem) -> Option<String> {
    let is_kernels = matches!(strategy, Strategy::Flock | Strategy::ByteRange);
    if !is_kernels {
        return None;
    }
    let telling: &[&str] = if file_system.magic == NFS || file_system.kind.starts_with("nfs") {
        &[
            "nolock",
            "local_lock=all",
            match strategy {
                Strategy::Flock => "local_lock=flock",
                _ => "local_lock=posix",
            },
        ]
    } else if is_smb(file_system) {
        &["nobrl", "forcemandatorylock"]
    } else if file_system.magic == LUSTRE || file_system.kind == "lustre" {
        &["localflock", "noflock"]
    } else {
        &[]
    };
    let found = file_system
        .options
        .iter()
        .find(|option| telling.contains(&option.as_str()))?;
    Some(format!(
        "the mount option `{found}` keeps such locks on this node"
    ))
}

/// Says what a forced strategy cannot guarantee there.
fn doubt(strategy: Strategy, file_system: &FileSystem) -> Option<String> {
    let is_doubtful = matches!(strategy, Strategy::Flock | Strategy::ByteRange)
        && !is_local(file_system)
        && fitting(file_system) != strategy;
    is_doubtful.then(|| {
        let kind = if file_system.kind.is_empty() {
            format!("{:#x}", file_system.magic)
        } else {
            file_system.kind.clone()
        };
        format!("whether `{strategy}` excludes other nodes on `{kind}` cannot be known from here")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn on(magic: u32, kind: &str, options: &[&str]) -> FileSystem {
        FileSystem {
            magic,
            kind: kind.to_owned(),
            options: options.iter().map(|&option| option.to_owned()).collect(),
            is_exported: false,
        }
    }

    #[test]
    fn each_file_system_gets_the_strategy_it_can_bear() {
        for (magic, kind, strategy) in [
            (0xef53, "ext4", Strategy::Flock),
            (0x794c_7630, "overlay", Strategy::Flock),
            (0x6969, "nfs4", Strategy::Ledger),
            (0x0bd0_0bd0, "lustre", Strategy::Ledger),
            (0x1983_0326, "beegfs", Strategy::Ledger),
            (0x00c3_6400, "ceph", Strategy::Ledger),
            (0x0102_1997, "9p", Strategy::Ledger),
            (0x6573_5546, "fuse.sshfs", Strategy::Ledger),
            (0xfe53_4d42, "cifs", Strategy::ExclusiveCreate),
            (0x4750_4653, "gpfs", Strategy::ByteRange),
        ] {
            assert_eq!(fitting(&on(magic, kind, &[])), strategy, "{kind}");
        }
    }

    #[test]
    fn what_nobody_knows_is_not_taken_for_local() {
        assert_eq!(fitting(&on(0x1234_5678, "newfs", &[])), Strategy::Ledger);
        assert_eq!(fitting(&on(0, "", &[])), Strategy::Ledger);
    }

    #[test]
    fn a_local_file_system_that_is_exported_is_not_this_nodes_alone() {
        let exported = FileSystem {
            is_exported: true,
            ..on(0xef53, "ext4", &[])
        };
        assert_eq!(fitting(&exported), Strategy::Ledger);
        assert!(doubt(Strategy::Flock, &exported).is_some());
    }

    #[test]
    fn a_mount_that_keeps_locks_on_the_node_is_refused() {
        let nfs = on(0x6969, "nfs", &["rw", "nolock"]);
        assert!(objection(Strategy::Flock, &nfs).is_some());
        assert!(objection(Strategy::ByteRange, &nfs).is_some());
        assert!(objection(Strategy::Ledger, &nfs).is_none());
        let half = on(0x6969, "nfs", &["local_lock=flock"]);
        assert!(objection(Strategy::Flock, &half).is_some());
        assert!(objection(Strategy::ByteRange, &half).is_none());
        assert!(objection(Strategy::Flock, &on(0xfe53_4d42, "cifs", &["nobrl"])).is_some());
        assert!(objection(Strategy::Flock, &on(0x0bd0_0bd0, "lustre", &["localflock"])).is_some());
    }

    #[test]
    fn forcing_a_kernel_lock_on_an_unknown_file_system_is_doubtful() {
        assert!(doubt(Strategy::Flock, &on(0x6573_5546, "fuse.x", &[])).is_some());
        assert!(doubt(Strategy::Flock, &on(0xef53, "", &[])).is_none());
        assert!(doubt(Strategy::ByteRange, &on(0x4750_4653, "gpfs", &[])).is_none());
        assert!(doubt(Strategy::Ledger, &on(0x6573_5546, "fuse.x", &[])).is_none());
    }
}

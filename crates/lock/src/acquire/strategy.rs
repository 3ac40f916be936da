//! The locking methods, and what each one guarantees.

use crate::error::LockError;

use camino::Utf8Path;
use std::fmt;

/// A locking method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strategy {
    /// Write-once registers that are symbolic links, see [`NfsLock`](crate::acquire::NfsLock).
    Ledger,
    /// The same registers as files made with `O_CREAT|O_EXCL`, for servers without links.
    ExclusiveCreate,
    /// flock(2): this node only.
    Flock,
    /// A byte-range lock of fcntl(2), which cluster file systems share between nodes.
    ByteRange,
}

impl Strategy {
    /// All of them.
    pub const ALL: [Self; 4] = [
        Self::Ledger,
        Self::ExclusiveCreate,
        Self::Flock,
        Self::ByteRange,
    ];

    /// Returns its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ledger => "ledger",
            Self::ExclusiveCreate => "exclusive-create",
            Self::Flock => "flock",
            Self::ByteRange => "byte-range",
        }
    }

    /// Finds one by its name, or by compiletools' name for its equivalent.
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "lockdir" => Some(Self::Ledger),
            "cifs" => Some(Self::ExclusiveCreate),
            "fcntl" => Some(Self::ByteRange),
            _ => Self::ALL.into_iter().find(|known| known.name() == name),
        }
    }

    /// Makes the error of a strategy that does not work in a directory.
    pub(crate) fn refused(self, dir: &Utf8Path, reason: &str) -> LockError {
        LockError::Strategy {
            strategy: self.name(),
            dir: dir.to_owned(),
            reason: reason.to_owned(),
        }
    }
}

impl fmt::Display for Strategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_compiletools_mean_the_like_here() {
        for strategy in Strategy::ALL {
            assert_eq!(Strategy::from_name(strategy.name()), Some(strategy));
        }
        assert_eq!(Strategy::from_name("lockdir"), Some(Strategy::Ledger));
        assert_eq!(Strategy::from_name("cifs"), Some(Strategy::ExclusiveCreate));
        assert_eq!(Strategy::from_name("fcntl"), Some(Strategy::ByteRange));
        assert_eq!(Strategy::from_name("none"), None);
    }
}

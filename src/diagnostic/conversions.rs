//! Errors of the workspace's other crates as diagnostics: which code each one has.

use crate::diagnostic::Code;
use crate::diagnostic::Diagnostic;
use crate::diagnostic::Problems;

use cocorun_edge::ErrorKind;
use cocorun_lock::LockError;

impl From<cocorun_edge::Error> for Diagnostic {
    fn from(error: cocorun_edge::Error) -> Self {
        let code = match error.kind {
            ErrorKind::NotFound => Code::ToolNotFound,
            ErrorKind::Broken => Code::ToolBroken,
            ErrorKind::NotStartable => Code::UsageBadArgument,
            ErrorKind::Unreadable => Code::DiskUnreadable,
            ErrorKind::Unwritable => Code::DiskUnwritable,
            ErrorKind::Full => Code::DiskFull,
            ErrorKind::Io => Code::DiskIo,
            ErrorKind::NotUtf8 => Code::ConfigNonUtf8Path,
            ErrorKind::Interrupted => Code::SessionInterrupted,
        };
        Self {
            help: error.help,
            ..Self::error(code, error.message)
        }
    }
}

impl From<cocorun_edge::Error> for Problems {
    fn from(error: cocorun_edge::Error) -> Self {
        Diagnostic::from(error).into()
    }
}

impl From<LockError> for Diagnostic {
    fn from(error: LockError) -> Self {
        let message = error.to_string();
        match error {
            LockError::Storage {
                doing,
                path,
                source,
            } => {
                let problem = Self::from(cocorun_edge::fs::io_problem(&source, doing, &path));
                // Full disks and missing permissions have codes of their own.
                if problem.code == Code::DiskIo {
                    Self {
                        code: Code::LockStorage,
                        ..problem
                    }
                } else {
                    problem
                }
            }
            LockError::Unsupported { .. } => Self::error(Code::LockStorage, message)
                .help("put `build_dir` on a file system with symbolic links"),
            LockError::Timeout { holder, .. } => Self::error(Code::LockTimeout, message)
                .fact(format!("held by {holder}"))
                .fact(format!("lock: {}", holder.path)),
            LockError::Strategy { .. } => Self::error(Code::LockStrategy, message),
            LockError::Unresponsive { .. } => Self::error(Code::LockStorage, message),
            LockError::Edge(error) => error.into(),
        }
    }
}

impl From<LockError> for Problems {
    fn from(error: LockError) -> Self {
        Diagnostic::from(error).into()
    }
}

//! The command that repeats a testcase, as reports print it.

use crate::cli::Global;

/// Returns the beginning of a command that repeats a testcase.
pub(super) fn rerun_prefix(global: &Global) -> String {
    match &global.config {
        Some(path) => format!(
            "cocorun test --config {}",
            shell_words::quote(path.as_str())
        ),
        None => "cocorun test".to_owned(),
    }
}

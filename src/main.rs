//! Entry point; all work is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(cocorun::commands::main().code())
}

//! Entry point; all work is in the library.

use cocorun::sim::registry::Registry;
use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(
        cocorun::commands::main(Registry::builtin(), std::env::args_os().collect()).code(),
    )
}

//! Runs a step once per directory, however many processes ask: `once DIR`.
#![expect(clippy::print_stdout, reason = "an example shows what it did")]

use camino::Utf8PathBuf;
use cocorun_edge::clock::SystemClock;
use cocorun_edge::fs;
use cocorun_edge::storage::SystemStorage;
use cocorun_lock::CallOnce;
use cocorun_lock::Done;
use cocorun_lock::Failure;
use cocorun_lock::FailureKind;
use cocorun_lock::Leader;
use cocorun_lock::Options;
use cocorun_lock::StepError;
use std::sync::Arc;
use std::time::Duration;

/// Waits for another process for this long at most.
const TIMEOUT: Duration = Duration::from_secs(60);

fn main() -> Result<(), StepError<cocorun_edge::Error>> {
    let dir = std::env::args()
        .nth(1)
        .map_or_else(|| Utf8PathBuf::from("once-example"), Utf8PathBuf::from);
    let mut once = CallOnce::new(
        Arc::new(SystemStorage),
        Arc::new(SystemClock),
        dir,
        "greet",
        Options::new("example"),
    );
    let done = once.ensure_done(
        &mut |leader: &Leader| {
            leader.note("writing the greeting");
            fs::write(&leader.dir().join("greeting"), "hello\n")
                .map_err(|error| Failure::new(FailureKind::Transient, error))?;
            Ok(serde_json::json!({ "files": ["greeting"] }))
        },
        Some(TIMEOUT),
    )?;
    match done {
        Done::Here(result) => println!("this process did it: {}", result.dir),
        Done::Elsewhere(result) => println!("another process had done it: {}", result.dir),
    }
    Ok(())
}

//! Holds a lock for a moment, by the strategy that suits the file system: `acquire PATH`.
#![expect(clippy::print_stdout, reason = "an example shows what it did")]

use camino::Utf8Path;
use camino::Utf8PathBuf;
use cocorun_edge::clock::Clock;
use cocorun_edge::clock::SystemClock;
use cocorun_lock::LockError;
use cocorun_lock::Options;
use cocorun_lock::WaitProgress;
use cocorun_lock::acquire;
use cocorun_lock::acquire::Lock;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

fn main() -> Result<(), LockError> {
    let path = std::env::args()
        .nth(1)
        .map_or_else(|| Utf8PathBuf::from("example.lock"), Utf8PathBuf::from);
    let dir = match path.parent() {
        Some(dir) if !dir.as_str().is_empty() => dir,
        _ => Utf8Path::new("."),
    };
    let choice = acquire::choose(dir, None)?;
    let options = Options {
        poll_max: Duration::from_millis(50),
        ..Options::new("example")
    };
    let lock = Lock::new(choice.strategy, Arc::new(SystemClock), &path, options);
    let mut lock = lock.with_flock(choice.also_flock);
    let mut show = |progress: &WaitProgress| {
        println!("held by {}", progress.holder);
        ControlFlow::Continue(())
    };
    if let Some(guard) = lock.acquire(&mut show, Some(Duration::from_secs(60)))? {
        println!("locked `{path}` by {}", choice.strategy);
        SystemClock.sleep(Duration::from_secs(1));
        guard.release()?;
    }
    Ok(())
}

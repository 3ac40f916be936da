//! Lists who holds or waits below a directory: `list DIR`.
#![expect(clippy::print_stdout, reason = "an example shows what it found")]

use camino::Utf8PathBuf;
use cocorun_edge::clock::SystemClock;
use cocorun_edge::machine::SystemMachine;
use cocorun_edge::storage::SystemStorage;
use cocorun_lock::LockError;
use cocorun_lock::maintenance::Survey;
use cocorun_lock::maintenance::Tree;
use std::sync::Arc;

fn main() -> Result<(), LockError> {
    let dir = std::env::args()
        .nth(1)
        .map_or_else(|| Utf8PathBuf::from("."), Utf8PathBuf::from);
    for ledger in Tree::below(&dir)?.ledgers {
        let survey = Survey::of(
            Arc::new(SystemStorage),
            Arc::new(SystemClock),
            Arc::new(SystemMachine),
            &ledger,
        );
        for entry in survey
            .into_iter()
            .flat_map(|survey| survey.open())
            .flatten()
        {
            println!(
                "{ledger}: {} {:?}: {}",
                entry.number, entry.stage, entry.holder
            );
        }
    }
    Ok(())
}

//! What the steps of a session came to: equal ones are made sure of once, however many builds need
//! them.

use crate::diagnostic::Result;
use crate::model::step::StepResult;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;

type Slot = Arc<Mutex<Option<Result<StepResult>>>>;

/// The steps of a session, by what they are made from.
#[derive(Debug, Default)]
pub struct StepRuns {
    slots: Mutex<BTreeMap<String, Slot>>,
}

impl StepRuns {
    /// Returns what `ensure` returned for this key; whoever comes while it is at work waits for it.
    ///
    /// A failure stays one for the whole session, so that many builds do not repeat it.
    ///
    /// # Errors
    /// Those of `ensure`.
    pub(super) fn once(
        &self,
        key: &str,
        ensure: impl FnOnce() -> Result<StepResult>,
    ) -> Result<StepResult> {
        let slot = {
            let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(slots.entry(key.to_owned()).or_default())
        };
        let mut known = slot.lock().unwrap_or_else(PoisonError::into_inner);
        known.get_or_insert_with(ensure).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::sync::atomic::AtomicU32;
    use std::sync::atomic::Ordering;
    use std::thread;

    #[test]
    fn builds_at_the_same_time_make_sure_of_an_equal_step_once() {
        let (runs, calls) = (StepRuns::default(), AtomicU32::new(0));
        let ensure = || {
            calls.fetch_add(1, Ordering::Relaxed);
            Ok(StepResult {
                dir: "/b/out".into(),
                files: Vec::new(),
            })
        };
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| runs.once("regs", ensure).expect("it is done"));
            }
        });
        assert_eq!(calls.load(Ordering::Relaxed), 1);
        runs.once("other", ensure).expect("it is done");
        assert_eq!(calls.load(Ordering::Relaxed), 2);
    }
}

//! The results of a session's steps: equal steps run once, however many builds need them.

use crate::diagnostic::Code;
use crate::diagnostic::Problems;
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
    /// A failure stays one for the whole session, so that many builds do not repeat it; only inputs
    /// that changed meanwhile may be as they were the next time.
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
        if let Some(result) = known.as_ref() {
            return result.clone();
        }
        let result = ensure();
        let is_transient = |problems: &Problems| {
            let mut problems = problems.0.iter();
            problems.any(|it| it.code == Code::BuildSourcesChanged)
        };
        if !result.as_ref().is_err_and(is_transient) {
            *known = Some(result.clone());
        }
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnostic::Diagnostic;

    use std::sync::atomic::AtomicU32;
    use std::sync::atomic::Ordering;
    use std::thread;

    #[test]
    fn builds_at_the_same_time_run_an_equal_step_once() {
        let (runs, calls) = (StepRuns::default(), AtomicU32::new(0));
        let ensure = || {
            calls.fetch_add(1, Ordering::Relaxed);
            Ok(StepResult {
                is_reused: false,
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

    #[test]
    fn only_a_failure_that_may_pass_is_tried_again() {
        for (code, expected) in [(Code::StepFailed, 1), (Code::BuildSourcesChanged, 2)] {
            let (runs, mut calls) = (StepRuns::default(), 0);
            for _ in 0..2 {
                let result = runs.once("regs", || {
                    calls += 1;
                    Err(Diagnostic::error(code, "it failed").into())
                });
                result.expect_err("it failed");
            }
            assert_eq!(calls, expected, "{code:?}");
        }
    }
}

//! Runs a module's testcases once more in one process, to see which of those that failed alone pass
//! after the others.
//!
//! Invariant: only an [`Event::OrderDependence`] leaves here. The results themselves are no
//! verdicts: they are neither reported nor counted nor remembered.

use crate::event::Event;
use crate::event::Slot;
use crate::model::outcome::OrderDependence;
use crate::model::outcome::Outcome;
use crate::model::outcome::TestcaseResult;
use crate::schedule::context::TaskContext;
use crate::schedule::effect::Effect;
use crate::schedule::effect::Emit;
use crate::schedule::run;
use crate::schedule::task::OrderCheck;

use std::cell::RefCell;
use std::time::Duration;

/// A session that ends sooner than this has no time for a check.
const TIME_LEFT_MIN: Duration = Duration::from_secs(120);

/// Runs a check; its effects are what it found out.
pub(super) fn check(context: &TaskContext<'_>, check: &OrderCheck, slot: Slot, emit: &Emit<'_>) {
    if context.time_left().is_some_and(|left| left < TIME_LEFT_MIN) {
        return;
    }
    let passed: RefCell<Vec<TestcaseResult>> = RefCell::default();
    run::run(context, &check.task, slot, &|effect| {
        if let Effect::Send(Event::TestcaseFinished(result)) = effect
            && result.outcome == Outcome::Passed
        {
            passed.borrow_mut().push(*result);
        }
    });
    let testcases = &check.task.testcases;
    for at in &check.suspects {
        let id = &testcases[*at].id;
        let passed = passed.borrow();
        if let (Some(result), Some(before)) = (
            passed.iter().find(|result| result.id == *id),
            at.checked_sub(1),
        ) {
            emit(Effect::Send(Event::OrderDependence(OrderDependence {
                testcase: id.clone(),
                after: testcases[before].id.testcase.clone(),
                earlier: before,
                run_dir: result.run_dir.clone(),
            })));
        }
    }
}

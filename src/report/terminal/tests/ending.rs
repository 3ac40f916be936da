//! The end of the report besides failures: where waves are, and what a stop interrupted.

use super::bad;
use super::play;

use crate::event::Event;
use crate::event::RunOrigin;
use crate::model::exit_code::ExitCode;
use crate::model::outcome::Cause;
use crate::model::outcome::Outcome;
use crate::report::Verbosity;
use crate::report::expected;
use crate::report::expected::session_of;

#[test]
fn the_place_of_many_waves_is_the_folder_that_holds_them_all() {
    let result = |testcase: &str, waves: &str| {
        let mut result = expected::passed(expected::id("fifo", "tests.test_fifo", testcase));
        result.waves = Some(waves.into());
        result
    };
    let results = vec![
        result("one", "/p/runs/1/a/waves.fst"),
        result("two", "/p/runs/1/b/waves.fst"),
        // Of the same process, which writes one file.
        result("three", "/p/runs/1/b/waves.fst"),
    ];
    let text = play(Verbosity::Quiet, &session_of(results, ExitCode::Success));
    let expect = "\n       Waves 2 files below runs/1, such as a/waves.fst\n";
    assert!(text.contains(expect), "{text}");
}

#[test]
fn a_testcase_that_a_stop_interrupted_is_named_and_what_never_began_is_counted() {
    let id = |testcase: &str| expected::id("fifo", "tests.test_fifo", testcase);
    let result = |testcase: &str| {
        let mut result = bad(testcase, Cause::Session, "stopped while it ran: SIGINT");
        result.outcome = Outcome::NotRun;
        result
    };
    let mut events = session_of(vec![result("hangs"), result("waits")], ExitCode::Signal(2));
    let started = [
        Event::RunStarted {
            run: 1,
            slot: 0,
            build: id("hangs").build,
            testcases: vec![id("hangs")],
            dir: "/p/runs/1".into(),
            origin: RunOrigin::default(),
        },
        Event::TestcaseStarted {
            run: 1,
            slot: 0,
            testcase: id("hangs"),
        },
    ];
    events.splice(1..1, started);
    let text = play(Verbosity::Normal, &events);
    let line = "     NOT RUN [   0.41s] fifo::tests.test_fifo::hangs";
    assert_eq!(text.matches(line).count(), 2, "{text}");
    assert!(text.ends_with("     NOT RUN 1 testcase\n"), "{text}");
    assert!(!text.contains("waits"), "{text}");
}

#[test]
fn a_long_message_without_a_traceback_is_shown_once() {
    let message = "the simulation ended before its time. ".repeat(8);
    let mut result = bad("ends", Cause::SimulationEnded, message.trim());
    result.error_type = Some("SimFailure".to_owned());
    result.details = Some(format!("cocotb.regression.SimFailure: {message}"));
    let events = session_of(vec![result], ExitCode::TestFailed);
    let text = play(Verbosity::Quiet, &events);
    let (_, block) = text.split_once("\n\nerror[").unwrap_or(("", &text));
    assert_eq!(block.matches(message.trim()).count(), 1, "{text}");
}

//! Verdicts from what is known about a testcase.

use crate::schedule::judge::*;

use crate::agent::event::read_run_event;

const SUCCESS: ProcessEnd = ProcessEnd::Exited(Exit::Code(0));

fn judged(outcome: &str, more: &str) -> Said {
    let line = format!(
        r#"{{"event":"testcase_finished","module":"m","testcase":"t","outcome":"{outcome}"{more}}}"#
    );
    match read_run_event(&line) {
        Ok(RunEvent::TestcaseFinished(finished)) => Said::Judged(finished),
        other => panic!("the agent writes such a line: {other:?}"),
    }
}

fn facts(said: Said, end: Option<ProcessEnd>) -> Facts<'static> {
    Facts {
        said,
        end,
        reasons: StatusReasons::default(),
        trouble: None,
        hang: None,
        limit: Duration::from_secs(3),
        fails_on_hdl_error: true,
        hdl_error: None,
    }
}

/// Judges the last testcase of a process, after another one that is bad or not.
fn last(outcome: &str, is_any_bad: bool, end: ProcessEnd) -> (Outcome, Option<Cause>) {
    let reasons = StatusReasons {
        is_any_bad,
        ..StatusReasons::default()
    };
    let verdict = judge(&Facts {
        reasons,
        ..facts(judged(outcome, ""), Some(end))
    });
    (verdict.outcome, verdict.cause)
}

#[test]
fn a_pass_needs_its_process_to_exit_with_status_0() {
    assert_eq!(last("passed", false, SUCCESS), (Outcome::Passed, None));
    let status = ProcessEnd::Exited(Exit::Code(3));
    let wrong = (Outcome::Errored, Some(Cause::ExitStatus));
    assert_eq!(last("passed", false, status), wrong);
}

#[test]
fn a_failure_explains_a_status_but_neither_a_signal_nor_a_hang() {
    let status = ProcessEnd::Exited(Exit::Code(1));
    let signal = ProcessEnd::Exited(Exit::Signal(11));
    let crashed = (Outcome::Errored, Some(Cause::ExitStatus));
    let hung = (Outcome::TimedOut, Some(Cause::Timeout));
    assert_eq!(last("passed", true, status), (Outcome::Passed, None));
    assert_eq!(last("passed", true, signal), crashed);
    assert_eq!(last("passed", true, ProcessEnd::TimedOut), hung);
    assert_eq!(last("passed", false, ProcessEnd::TimedOut), hung);
}

#[test]
fn an_expected_end_explains_the_status_of_fatal_and_nothing_else() {
    let outcome = |more: &str, reasons: StatusReasons, end| {
        let facts = facts(judged("passed", more), Some(end));
        judge(&Facts { reasons, ..facts }).outcome
    };
    let expected = r#","expected_failure":true,"simulation_ended":true"#;
    let reasons = StatusReasons {
        is_any_bad: false,
        is_end_expected: true,
        is_hdl_failure_logged: true,
    };
    let exited = |status| ProcessEnd::Exited(Exit::Code(status));
    assert_eq!(outcome(expected, reasons, exited(0)), Outcome::Passed);
    assert_eq!(outcome(expected, reasons, exited(1)), Outcome::Passed);
    for end in [
        exited(2),
        ProcessEnd::Exited(Exit::Signal(6)),
        ProcessEnd::TimedOut,
    ] {
        assert!(!outcome(expected, reasons, end).is_good(), "{end:?}");
    }
    let unlogged = StatusReasons {
        is_hdl_failure_logged: false,
        ..reasons
    };
    assert_eq!(outcome(expected, unlogged, exited(0)), Outcome::Passed);
    let unexplained = judge(&Facts {
        reasons: unlogged,
        ..facts(judged("passed", expected), Some(exited(1)))
    });
    assert_eq!(unexplained.outcome, Outcome::Errored);
    assert_eq!(
        unexplained.message.as_deref(),
        Some(
            "it passed, but the simulator exited with status 1 afterwards; the expected end of the \
             simulation does not explain it: the log shows no HDL failure such as `$fatal`"
        )
    );
    let other = r#","expected_failure":true"#;
    let nothing = StatusReasons::default();
    assert_eq!(outcome(other, nothing, exited(1)), Outcome::Errored);
}

#[test]
fn a_failure_stays_one_however_its_process_ends() {
    for end in [
        SUCCESS,
        ProcessEnd::Exited(Exit::Code(1)),
        ProcessEnd::Exited(Exit::Signal(11)),
        ProcessEnd::TimedOut,
    ] {
        assert_eq!(
            last("failed", true, end),
            (Outcome::Failed, Some(Cause::Test))
        );
    }
}

#[test]
fn what_was_running_when_its_process_ended_is_judged_by_the_end() {
    for (end, outcome, cause, message) in [
        (
            SUCCESS,
            Outcome::Errored,
            Cause::NoResult,
            "the simulator exited with status 0 before it finished",
        ),
        (
            ProcessEnd::Exited(Exit::Signal(11)),
            Outcome::Errored,
            Cause::Crashed,
            "the simulator was killed by SIGSEGV",
        ),
        (
            ProcessEnd::TimedOut,
            Outcome::TimedOut,
            Cause::Timeout,
            "exceeded its limit of 3 s",
        ),
        (
            ProcessEnd::Stopped(StopReason::SessionLimit),
            Outcome::NotRun,
            Cause::Session,
            "stopped while it ran: the session exceeded its limit",
        ),
    ] {
        let verdict = judge(&facts(Said::Running, Some(end)));
        assert_eq!((verdict.outcome, verdict.cause), (outcome, Some(cause)));
        assert_eq!(verdict.message.as_deref(), Some(message));
    }
}

#[test]
fn an_hdl_error_fails_a_pass_unless_a_failure_was_expected_or_nobody_wants_it() {
    let with = |said, fails_on_hdl_error| Facts {
        hdl_error: Some("ERROR: a.sv:3: full".to_owned()),
        fails_on_hdl_error,
        ..facts(said, None)
    };
    let plain = with(judged("passed", ""), true);
    let verdict = judge(&plain);
    assert!(depends_on_hdl_errors(&plain));
    assert_eq!(verdict.cause, Some(Cause::HdlError));
    assert_eq!(
        verdict.message.as_deref(),
        Some("an HDL error in the log: ERROR: a.sv:3: full")
    );
    let expected = judged("passed", r#","expected_failure":true"#);
    for good in [with(expected, true), with(judged("passed", ""), false)] {
        assert!(!depends_on_hdl_errors(&good));
        assert_eq!(judge(&good).outcome, Outcome::Passed);
    }
    let ended = judge(&with(
        judged("failed", r#","cause":"simulation-ended""#),
        true,
    ));
    let words = ended.message.unwrap_or_default();
    assert!(
        words.ends_with("the simulation ended before the testcase did"),
        "{words}"
    );
}

#[test]
fn a_hang_is_reported_with_its_line_and_its_trigger() {
    let answer = |trigger: Option<&str>| Hang {
        waiting: Some(Awaited {
            trigger: trigger.map(str::to_owned),
            path: Some("/p/a.py".to_owned()),
            line: Some(7),
            function: Some("helper".to_owned()),
            sim_time_ns: Some(5.0),
            text: "The testcase …:\n  File \"/p/a.py\", line 7, in helper".to_owned(),
        }),
        stack: Some(Vec::new()),
    };
    let verdict = |hang: &Hang| {
        judge(&Facts {
            hang: Some(hang),
            ..facts(Said::Running, Some(ProcessEnd::TimedOut))
        })
    };
    let message = |hang: &Hang| verdict(hang).message.unwrap_or_default();
    let details = |hang: &Hang| verdict(hang).details;
    assert_eq!(
        message(&answer(Some("RisingEdge(top.d)"))),
        "exceeded its limit of 3 s; waits at /p/a.py:7 for RisingEdge(top.d), at 5 ns of \
         simulated time"
    );
    let silent = Hang {
        waiting: None,
        ..answer(None)
    };
    assert!(message(&silent).contains("no Python code ran"));
    let frame = |path: &str, line| StackFrame {
        path: path.to_owned(),
        line,
        function: "busy".to_owned(),
    };
    let cocotb = frame("/v/site-packages/cocotb/task.py", 9);
    let stack = Some(vec![frame("/p/b.py", 38), cocotb.clone()]);
    for (waiting, words) in [
        (
            answer(None).waiting,
            "Python code was running at /p/b.py:38, at 5 ns of simulated time",
        ),
        // Stuck in a library, so that the agent could not answer.
        (None, "Python code was running at /p/b.py:38"),
    ] {
        let stack = stack.clone();
        let hang = Hang { waiting, stack };
        assert_eq!(
            message(&hang),
            format!("exceeded its limit of 3 s; {words}")
        );
        let details = details(&hang).unwrap_or_default();
        assert!(
            details.contains("\"/p/b.py\", line 38, in busy"),
            "{details}"
        );
    }
    // It was about to go on; cocotb's own frames are no place.
    let resumes = Hang {
        stack: Some(vec![cocotb]),
        ..answer(None)
    };
    let words = "Python code was running at /p/a.py:7, at 5 ns of simulated time";
    assert_eq!(
        message(&resumes),
        format!("exceeded its limit of 3 s; {words}")
    );
    let awaits = answer(None).waiting.map(|it| it.text);
    assert_eq!(details(&resumes), awaits);
}

#[test]
fn an_internal_failure_of_cocotb_explains_missing_results() {
    let trouble = Trouble::Regression(Exception {
        error_type: "OSError".to_owned(),
        message: "no space left".to_owned(),
        traceback: "Traceback …".to_owned(),
    });
    for (said, words) in [
        (
            Said::Running,
            "before it finished; cocotb itself failed: OSError: no space left",
        ),
        (
            Said::NeverBegan,
            "cocotb itself failed: OSError: no space left",
        ),
    ] {
        let verdict = judge(&Facts {
            trouble: Some(&trouble),
            ..facts(said, Some(SUCCESS))
        });
        let message = verdict.message.unwrap_or_default();
        assert!(message.ends_with(words), "{message}");
        assert_eq!(verdict.details.as_deref(), Some("Traceback …"));
    }
}

#[test]
fn simulated_times_are_whole_femtoseconds() {
    for (raw, right) in [(4.999_000_000_000_000_6, 4.999), (0.0, 0.0), (1e300, 1e300)] {
        assert_eq!(to_femtoseconds(raw).to_bits(), f64::to_bits(right));
    }
}

//! What is equal is shown once, the useful line first, and lines keep to the terminal's width.

use super::Played;
use super::bad;
use super::play;

use crate::diagnostic::Code;
use crate::diagnostic::Diagnostic;
use crate::edge::terminal::TerminalSize;
use crate::event::BuildOutcome;
use crate::model::exit_code::ExitCode;
use crate::model::outcome::Cause;
use crate::model::outcome::TestcaseResult;
use crate::report::Verbosity;
use crate::report::expected;
use crate::report::expected::session_of;
use crate::report::text;

/// Returns a failure in `check` of a helper, called from this line of the testcase.
fn bad_at(testcase: &str, line: u32, message: &str) -> TestcaseResult {
    let mut result = bad(testcase, Cause::Test, message);
    result.details = Some(format!(
        "Traceback (most recent call last):\n  \
         File \"/p/tests/test_fifo.py\", line {line}, in {testcase}\n    check(1, 2)\n  \
         File \"/v/lib/python3.11/site-packages/cocotb/task.py\", line 9, in step\n    go()\n  \
         File \"/p/helper.py\", line 2, in check\n    assert a == b\n\
         AssertionError: {message}"
    ));
    result
}

#[test]
fn equal_failures_are_one_block_with_their_names() {
    // An address is no difference; a value, or another way to the same place, is one.
    let alike = |number| bad_at(&format!("t{number}"), 7, "<Bus at 0x7f00112233ab> is 3");
    let mut results: Vec<TestcaseResult> = (0..45).map(alike).collect();
    results.push(bad_at("t45", 7, "<Bus at 0x7fffffff0000> is 3"));
    results.push(bad_at("value", 7, "<Bus at 0x7f00112233ab> is 4"));
    results.push(bad_at("route", 9, "<Bus at 0x7f00112233ab> is 3"));
    let text = play(Verbosity::Quiet, &session_of(results, ExitCode::TestFailed));
    assert_eq!(text.matches("error[test::failed]").count(), 3, "{text}");
    assert_eq!(text.matches("Traceback").count(), 3, "{text}");
    let names = "\n  the same in 45 more testcases:\n    fifo::tests.test_fifo::t1\n";
    assert!(text.contains(names), "{text}");
    let more = "    fifo::tests.test_fifo::t20\n    … and 25 more, named below\n";
    assert!(text.contains(more), "{text}");
    let (_, names) = text.split_once("Summary").expect("a summary");
    assert_eq!(names.matches("FAIL").count(), 48, "{text}");
}

#[test]
fn equal_failures_without_a_traceback_and_equal_hangs_are_one_block_each() {
    let hang = |name: &str, line: u32, ns: f64| {
        let words = format!("waits at /p/a.py:{line} for <Edge>, at {ns} ns of simulated time");
        bad(name, Cause::Timeout, &words)
    };
    let crash = |number| bad(&format!("t{number}"), Cause::Crashed, "killed by SIGSEGV");
    let mut results: Vec<TestcaseResult> = (0..25).map(crash).collect();
    results.extend([hang("a", 7, 5.0), hang("b", 7, 40.5), hang("c", 8, 5.0)]);
    let text = play(Verbosity::Quiet, &session_of(results, ExitCode::TestFailed));
    assert_eq!(text.matches("error[test::crashed]").count(), 1, "{text}");
    assert!(text.contains("the same in 24 more testcases:"), "{text}");
    assert_eq!(text.matches("error[test::timeout]").count(), 2, "{text}");
    let same = "the same in 1 more testcase:\n    fifo::tests.test_fifo::b\n";
    assert!(text.contains(same), "{text}");
}

#[test]
fn the_line_that_failed_comes_first_and_frames_of_cocotb_are_folded() {
    let mut result = bad_at("t", 7, "expected 2");
    result.file = Some("/p/tests/test_fifo.py".into());
    let text = play(
        Verbosity::Quiet,
        &session_of(vec![result], ExitCode::TestFailed),
    );
    let expect = "failed: expected 2
  at tests/test_fifo.py:7: check(1, 2)
    Traceback (most recent call last):
      File \"tests/test_fifo.py\", line 7, in t
        check(1, 2)
      … 1 frame of cocotb
      File \"helper.py\", line 2, in check
        assert a == b
  seed 7,";
    assert!(text.contains(expect), "{text}");
}

#[test]
fn what_an_assertion_says_is_shown_once_with_its_lines() {
    let message = "assert 1 == 3\n +  where 3 = get()";
    let mut result = bad("t", Cause::Test, message);
    result.error_type = Some("AssertionError".to_owned());
    result.file = Some("/p/tests/test_fifo.py".into());
    result.details = Some(format!(
        "Traceback (most recent call last):\n  File \"/p/tests/test_fifo.py\", line 7, in t\n    \
         assert 1 == get()\nAssertionError: {message}\n"
    ));
    let text = play(
        Verbosity::Normal,
        &session_of(vec![result], ExitCode::TestFailed),
    );
    let expect = "t: AssertionError: assert 1 == 3

error[test::failed]: `fifo::tests.test_fifo::t` failed: AssertionError: assert 1 == 3
  at tests/test_fifo.py:7: assert 1 == get()
     +  where 3 = get()
  seed 7,";
    assert!(text.contains(expect), "{text}");
}

#[test]
fn builds_that_fail_equally_are_one_block_with_their_names_and_a_command() {
    let mut events = session_of(vec![], ExitCode::BuildFailed);
    for number in (1..=12).rev() {
        let name = format!("broken/W={number}");
        let message = format!("build `{name}` could not be compiled (0.{number} s)");
        let problem = Diagnostic::error(Code::BuildCompile, message)
            .fact("/p/hdl/broken.sv:2: syntax error")
            .fact(format!("log: /p/sim_build/build.log ({number} lines)"));
        let failed = BuildOutcome::Failed(Box::new(problem));
        events.splice(1..1, expected::build_events(&name, "icarus", failed));
    }
    let text = play(Verbosity::Normal, &events);
    assert_eq!(text.matches("error[build::compile]").count(), 1, "{text}");
    let line = "BUILD FAILED [   1.20s] broken/W=12 (icarus): hdl/broken.sv:2: syntax error\n";
    assert!(text.contains(line), "{text}");
    let names: Vec<String> = (2..=12)
        .map(|number| format!("`broken/W={number}`"))
        .collect();
    let expect = format!(
        "build `broken/W=1` could not be compiled (0.1 s)
  hdl/broken.sv:2: syntax error
  log: sim_build/build.log (1 lines)
  the same in 11 more builds: {}
help: rerun it alone: `cocorun build --config x/runner.toml 'broken/W=1'`
",
        names.join(", ")
    );
    assert!(text.contains(&expect), "{expect}\n---\n{text}");
}

#[test]
fn builds_that_are_up_to_date_share_a_line() {
    let mut events = session_of(vec![], ExitCode::Success);
    for number in 0..20 {
        let name = format!("fifo/W={number}");
        let events_of_it = expected::build_events(&name, "icarus", BuildOutcome::UpToDate);
        events.splice(1..1, events_of_it);
    }
    let line = "  UP TO DATE [   1.20s] 20 builds\n";
    assert!(play(Verbosity::Normal, &events).starts_with(line));
    let verbose = play(Verbosity::Verbose, &events);
    assert_eq!(verbose.matches("UP TO DATE").count(), 20, "{verbose}");
    assert!(!play(Verbosity::Quiet, &events).contains("UP TO DATE"));
}

#[test]
fn on_a_terminal_lines_end_between_words_at_its_width() {
    for columns in [80, 100] {
        let mut result = bad_at("burst_write", 7, "the words of this message go on and on; ");
        result.message = Some("the words of this message go on and on; ".repeat(4));
        let size = TerminalSize { columns, rows: 24 };
        let mut played = Played::with_width(Verbosity::Normal, false, Some(size), true);
        let results = ["a", "b", "c"].map(|name| {
            let mut other = result.clone();
            other.id.testcase = name.to_owned();
            other
        });
        played.take(&session_of(results.to_vec(), ExitCode::TestFailed));
        played.finish();
        let text = played.sink.text();
        for line in text.lines().filter(|line| !line.contains("`cocorun ")) {
            assert!(
                text::columns(line) <= usize::from(columns),
                "{line}\n---\n{text}"
            );
        }
        let lines = text.lines().collect::<Vec<_>>();
        assert!(lines[0].ends_with(" …"), "{text}");
        let command = "  `cocorun test --config x/runner.toml --build fifo --module \
                       tests.test_fifo --testcase a --seed 7`";
        assert!(lines.contains(&command), "{text}");
    }
}

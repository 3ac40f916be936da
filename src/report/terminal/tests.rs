//! The terminal report against the table of expected results, and its look.

mod ending;
mod equal;

use crate::diagnostic::Code;
use crate::diagnostic::Diagnostic;
use crate::edge::clock::Clock as _;
use crate::edge::terminal::TerminalSize;
use crate::event::BuildOutcome;
use crate::event::Event;
use crate::event::RunOrigin;
use crate::event::SessionState;
use crate::model::build::BuildName;
use crate::model::exit_code::ExitCode;
use crate::model::outcome::Cause;
use crate::model::outcome::Counts;
use crate::model::outcome::LogSpan;
use crate::model::outcome::Outcome;
use crate::model::outcome::TestcaseResult;
use crate::model::test::TestcaseId;
use crate::report::TerminalOptions;
use crate::report::TerminalReport;
use crate::report::Verbosity;
use crate::report::consumer::Report as _;
use crate::report::expected;
use crate::report::expected::Sink;
use crate::report::expected::StillClock;
use crate::report::expected::session_of;
use crate::report::terminal::failures::DETAIL_BYTES_MAX;
use crate::report::terminal::failures::DETAILED_FAILURES_MAX;
use crate::report::terminal::failures::FailedTestcase;
use crate::report::text;
use crate::report::wording;

use std::sync::Arc;
use std::time::Duration;

struct Played {
    sink: Sink,
    state: SessionState,
    report: TerminalReport,
    clock: Arc<StillClock>,
}

impl Played {
    fn start(verbosity: Verbosity, color: bool, live: Option<TerminalSize>) -> Self {
        Self::with_width(verbosity, color, live, false)
    }

    fn with_width(
        verbosity: Verbosity,
        color: bool,
        live: Option<TerminalSize>,
        wraps: bool,
    ) -> Self {
        let sink = Sink::default();
        let clock = StillClock::new();
        let size = live.unwrap_or(TerminalSize {
            columns: 80,
            rows: 24,
        });
        let options = TerminalOptions {
            color,
            progress: live.is_some() && !wraps,
            verbosity,
            explain: false,
            wraps,
            output_lines: 20,
            began: None,
            out: Box::new(sink.clone()),
            size_of: Arc::new(move || size),
        };
        Self {
            sink,
            state: SessionState::default(),
            report: TerminalReport::new(options, clock.clone()),
            clock,
        }
    }

    fn take(&mut self, events: &[Event]) {
        expected::feed(&mut self.report, &mut self.state, events);
    }

    fn finish(&mut self) {
        self.report.finish(&self.state).expect("it never fails");
    }

    /// Lets time pass, and lets the report know.
    fn pass(&mut self, seconds: u64) {
        self.clock.pass(Duration::from_secs(seconds));
        self.report.tick(self.clock.now(), &self.state);
    }
}

fn play(verbosity: Verbosity, events: &[Event]) -> String {
    let mut played = Played::start(verbosity, false, None);
    played.take(events);
    played.finish();
    played.sink.text()
}

fn bad(testcase: &str, cause: Cause, message: &str) -> TestcaseResult {
    let mut result = expected::passed(expected::id("fifo", "tests.test_fifo", testcase));
    result.outcome = Outcome::Failed;
    result.cause = Some(cause);
    result.message = Some(message.to_owned());
    result
}

#[test]
fn every_testcase_of_the_table_has_its_line_and_every_bad_one_its_block() {
    let (_dir, log) = expected::log_file();
    let text = play(Verbosity::Verbose, &expected::session(&log));
    for row in expected::TABLE {
        let name = wording::name(&row.id());
        let line = format!("{:>12} [   0.41s] {name}", row.status);
        assert!(text.contains(&line), "{line}\n---\n{text}");
        let Some(code) = row.code else { continue };
        // A failed build tells once for all of its testcases; what was not run is only counted.
        let has_block = text.contains(&format!("error[{}]: `{name}` ", code.name()));
        assert_eq!(has_block, row.rerun.is_some(), "{name}\n---\n{text}");
        if let Some(rerun) = row.rerun {
            let help = format!("rerun it alone: `cocorun test --config x/runner.toml {rerun}`");
            assert!(text.contains(&help), "{help}\n---\n{text}");
        }
    }
    let build = "error[build::compile]: `iverilog` could not compile build `broken`\n  \
                 hdl/broken.sv:3: syntax error\n";
    assert!(text.contains(build), "{text}");
}

#[test]
fn a_failure_is_shown_in_full_at_the_end() {
    let (_dir, log) = expected::log_file();
    let text = play(Verbosity::Quiet, &expected::session(&log));
    let block = format!(
        "
error[test::failed]: `fifo::tests.test_fifo::burst_write/width=8` failed: \
AssertionError: expected 3\\x1b[2J, got    4\\x07
  at tests/test_fifo.py:41
    expected 3\\x1b[2J, got    4\\x07
    where <x> & \"y\"\\x00
    Traceback (most recent call last):
      File \"t.py\", line 3
    boom
  its output:
    first line
    \u{fffd}\u{fffd} binary \\x01 red \\x1b[2J ]]> <&>
    last line
  seed 7, simulated 41200.5 ns, took 0.41 s
  log: {log}
  waves: runs/1/dump.fst
help: rerun it alone: `cocorun test --config x/runner.toml --build fifo \
--module tests.test_fifo --testcase 'burst_write/width=8' --seed 7`
"
    );
    assert!(text.contains(&block), "{block}\n---\n{text}");
    let block = format!(
        "
error[test::crashed]: `fifo::tests.test_fifo::segfault` crashed: \
`vvp` ended with signal 11 (SIGSEGV)
  at tests/test_fifo.py:41
  its output:
    first line
    \u{fffd}\u{fffd} binary \\x01 red \\x1b[2J ]]> <&>
    last line
  seed 7, simulated 41200.5 ns, took 0.41 s
  log: {log}
"
    );
    assert!(text.contains(&block), "{block}\n---\n{text}");
}

#[test]
fn the_summary_of_an_interrupted_session_says_so_and_names_all_that_failed() {
    let (_dir, log) = expected::log_file();
    let text = play(Verbosity::Normal, &expected::session(&log));
    let (_, summary) = text.split_once("     Summary").expect("a summary");
    let expect = " [  3.210s] stopped (interrupted by SIGINT): 10 testcases on 3 builds: \
3 passed, 2 failed, 2 errored, 1 timed out, 1 skipped, 1 not run, 1 module could not run, \
1 build failed (5 deselected)
        Seed 7
       Waves runs/1/dump.fst
BUILD FAILED [   1.20s] broken (icarus)
       ERROR [   0.41s] fifo::tests.test_broken::(module)
        FAIL [   0.41s] fifo::tests.test_fifo::burst_write/width=8
     TIMEOUT [   0.41s] fifo::tests.test_fifo::hang
        FAIL [   0.41s] fifo::tests.test_fifo::it's \"odd\" $HOME
       ERROR [   0.41s] fifo::tests.test_fifo::segfault
     NOT RUN 1 testcase
";
    assert_eq!(summary, expect);
}

#[test]
fn a_session_that_succeeds_ends_with_its_summary() {
    let result = expected::passed(expected::id("fifo", "tests.test_fifo", "reset"));
    let text = play(
        Verbosity::Normal,
        &session_of(vec![result], ExitCode::Success),
    );
    let expect = "        PASS [   0.41s] fifo::tests.test_fifo::reset

     Summary [  3.210s] 1 testcase on 1 build: 1 passed (5 deselected)
        Seed 7
";
    assert_eq!(text, expect);
}

#[test]
fn a_quiet_report_has_no_line_for_what_is_good() {
    let (_dir, log) = expected::log_file();
    let text = play(Verbosity::Quiet, &expected::session(&log));
    for word in [" PASS ", " SKIP ", "UP TO DATE", "WAITING", "START"] {
        assert!(!text.contains(word), "{word}\n---\n{text}");
    }
    assert!(text.contains("warning["), "{text}");
    assert!(text.contains("     TIMEOUT [   0.41s]"), "{text}");
}

#[test]
fn zero_testcases_are_shown_as_what_they_are() {
    let finished = |code| expected::session_finished(code, Counts::default());
    let mut events = vec![expected::session_started(1)];
    events.extend(expected::build_events(
        "fifo",
        "icarus",
        BuildOutcome::UpToDate,
    ));
    events.push(finished(ExitCode::NothingSelected));
    let text = play(Verbosity::Normal, &events);
    let summary = "0 testcases on 1 build: nothing was selected (5 deselected)\n";
    assert!(text.ends_with(summary), "{text}");

    events.pop();
    events.push(finished(ExitCode::Success));
    let text = play(Verbosity::Normal, &events);
    assert!(
        text.ends_with("Summary [  3.210s] 1 build: 1 up to date\n"),
        "{text}"
    );
}

#[test]
fn a_planned_testcase_without_a_verdict_is_an_error_whatever_the_exit_code_says() {
    let ids = ["reset", "lost"].map(|name| expected::id("fifo", "tests.test_fifo", name));
    let mut events = session_of(vec![expected::passed(ids[0].clone())], ExitCode::Success);
    events[1] = expected::listed(&ids);
    let text = play(Verbosity::Normal, &events);
    let expect = "error[test::no-result]: no result for 1 planned testcase, first \
                  `fifo::tests.test_fifo::lost`\n";
    assert!(text.contains(expect), "{text}");

    events.pop();
    let text = play(Verbosity::Normal, &events);
    assert!(text.contains("it has no last event"), "{text}");
    assert!(text.contains("broken off: 1 testcase on 1 build"), "{text}");
}

#[test]
fn an_exit_code_that_hides_a_failure_is_contradicted() {
    let results = vec![bad("t", Cause::Test, "expected 3, got 4")];
    let text = play(Verbosity::Quiet, &session_of(results, ExitCode::Success));
    assert!(
        text.contains("the session ended with 0 in spite of 1 bad result\n"),
        "{text}"
    );
    assert!(
        text.contains("FAIL [   0.41s] fifo::tests.test_fifo::t\n"),
        "{text}"
    );
}

#[test]
fn a_name_that_looks_like_a_flag_can_be_pasted() {
    let results = vec![bad("-x y", Cause::Test, "expected 3, got 4")];
    let text = play(Verbosity::Quiet, &session_of(results, ExitCode::TestFailed));
    assert!(
        text.contains(" --module tests.test_fifo --testcase='-x y' --seed 7`"),
        "{text}"
    );
}

#[test]
fn two_testcases_of_one_name_need_two_verdicts() {
    let result = expected::passed(expected::id("fifo", "tests.test_fifo", "twin"));
    let twins = expected::listed(&[result.id.clone(), result.id.clone()]);
    let events = session_of(vec![result.clone(), result.clone()], ExitCode::Success);
    assert!(!play(Verbosity::Normal, &events).contains("error["));

    let mut events = session_of(vec![result], ExitCode::Success);
    events[1] = twins;
    let text = play(Verbosity::Normal, &events);
    assert!(text.contains("no result for 1 planned testcase,"), "{text}");
}

#[test]
fn failures_beyond_a_hundred_blocks_are_counted_and_named() {
    let results = (0..150).map(|n| bad(&format!("t{n}"), Cause::Test, &format!("odd {n}")));
    let text = play(
        Verbosity::Quiet,
        &session_of(results.collect(), ExitCode::TestFailed),
    );
    assert_eq!(text.matches("error[test::failed]").count(), 100);
    assert!(
        text.contains("\n50 more failures not shown in full, named below\n"),
        "{text}"
    );
    assert!(text.contains("::t149\n"), "{text}");
}

#[test]
fn a_failed_build_is_shown_once_for_all_of_its_testcases() {
    let failure = BuildOutcome::Failed(Box::new(expected::compile_error()));
    let lost = |number| {
        let mut result = bad(&format!("t{number}"), Cause::Build, "the build failed");
        result.id.build = BuildName("broken".to_owned());
        result.outcome = Outcome::Errored;
        result
    };
    let mut events = session_of((0..3).map(lost).collect(), ExitCode::BuildFailed);
    events.splice(1..1, expected::build_events("broken", "icarus", failure));
    let text = play(Verbosity::Quiet, &events);
    assert_eq!(text.matches("error[").count(), 1, "{text}");
    assert!(
        text.contains(
            "  3 testcases could not run\n\
             help: read the log; then rerun it alone: \
             `cocorun build --config x/runner.toml broken`\n"
        ),
        "{text}"
    );
}

#[test]
fn without_a_terminal_a_sign_of_life_comes_when_ten_seconds_were_silent() {
    let mut played = Played::start(Verbosity::Normal, false, None);
    let id = expected::id("fifo", "tests.test_fifo", "hang");
    let run = Event::RunStarted {
        run: 1,
        slot: 0,
        build: id.build.clone(),
        testcases: vec![id.clone()],
        dir: "/p/runs/1".into(),
        origin: RunOrigin::default(),
    };
    played.take(&[
        expected::session_started(1),
        expected::listed(std::slice::from_ref(&id)),
        run,
    ]);
    played.take(&[Event::TestcaseStarted {
        run: 1,
        slot: 0,
        testcase: id,
    }]);
    played.pass(9);
    assert_eq!(played.sink.text(), "");
    played.pass(1);
    let first = "       STILL [  10.00s] running 0/1: 1 running\n     \
                 RUNNING [  10.00s] fifo::tests.test_fifo::hang\n";
    assert_eq!(played.sink.text(), first);
    played.pass(9);
    assert_eq!(played.sink.text(), first);
    played.pass(1);
    assert_eq!(played.sink.text().matches("STILL").count(), 2);
}

#[test]
fn a_wait_shows_who_holds_the_build_since_when_and_what_it_is_doing() {
    let (_dir, log) = expected::log_file();
    let events = expected::session(&log);
    let at = events
        .iter()
        .position(|event| matches!(event, Event::BuildWaiting { .. }))
        .expect("it has a wait");
    let (who, what) = (
        "uart/BAUD=9600@verilator for pid 41822 on node07 (anna)",
        "since 07:41:33: running verilator: g++ -c Vtop.cpp",
    );
    // In a log: a line at once, and again with each sign of life.
    let mut played = Played::start(Verbosity::Normal, false, None);
    played.take(&events[at - 1..=at]);
    let text = played.sink.text();
    let seen = "since 2026-11-21 07:41:33; last sign of life 2 s ago\n";
    assert_eq!(text, format!("     WAITING {who} {seen}"));
    played.pass(10);
    let line = format!("     WAITING [  10.00s] {who} {what}\n");
    assert!(
        played.sink.text().ends_with(&line),
        "{}",
        played.sink.text()
    );
    // On a terminal: a row of its own for the deed, which a long name cannot push away.
    let size = TerminalSize {
        columns: 80,
        rows: 24,
    };
    let mut played = Played::start(Verbosity::Normal, false, Some(size));
    played.take(&events[at - 1..=at]);
    played.pass(1);
    let text = played.sink.text();
    assert!(text.contains(&format!("             {what}\n")), "{text}");
}

#[test]
fn a_build_that_the_end_of_the_session_stopped_is_not_a_failure() {
    let stop = Diagnostic::error(Code::SessionInterrupted, "build `fifo` was interrupted");
    let stop = BuildOutcome::Failed(Box::new(stop));
    let mut events = session_of(vec![], ExitCode::Signal(2));
    events.splice(1..1, expected::build_events("fifo", "icarus", stop));
    events.insert(
        1,
        Event::Stopping {
            reason: "SIGINT".to_owned(),
        },
    );
    let expect = "    STOPPING SIGINT
   NOT BUILT [   1.20s] fifo (icarus)

     Summary [  3.210s] stopped (SIGINT): 1 build: 1 not built
";
    assert_eq!(play(Verbosity::Normal, &events), expect);
}

#[test]
fn nothing_but_plain_text_leaves_without_colour() {
    let (_dir, log) = expected::log_file();
    let text = play(Verbosity::Verbose, &expected::session(&log));
    let odd: Vec<char> = text
        .chars()
        .filter(|c| c.is_control() && *c != '\n')
        .collect();
    assert_eq!(odd, []);
}

#[test]
fn colour_changes_nothing_but_the_colour() {
    let (_dir, log) = expected::log_file();
    let plain = play(Verbosity::Normal, &expected::session(&log));
    let mut played = Played::start(Verbosity::Normal, true, None);
    played.take(&expected::session(&log));
    played.finish();
    let colored = played.sink.text();
    assert!(colored.contains("\u{1b}["));
    assert_eq!(text::visible(&colored), plain);
}

#[test]
fn a_stream_that_breaks_ends_the_report_and_nothing_else() {
    let options = TerminalOptions {
        color: false,
        progress: true,
        verbosity: Verbosity::Normal,
        explain: false,
        wraps: false,
        output_lines: 20,
        began: None,
        out: Box::new(expected::Broken(std::io::ErrorKind::BrokenPipe)),
        size_of: Arc::new(|| TerminalSize {
            columns: 80,
            rows: 24,
        }),
    };
    let mut report = TerminalReport::new(options, StillClock::new());
    let mut state = SessionState::default();
    expected::feed(&mut report, &mut state, &[expected::session_started(1)]);
    assert_eq!(report.finish(&state), Ok(()));
}

#[test]
fn ten_thousand_passed_testcases_leave_nothing_behind() {
    let mut played = Played::start(Verbosity::Normal, false, None);
    let ids: Vec<TestcaseId> = (0..10_000)
        .map(|n| expected::id("fifo", "tests.test_fifo", &format!("t{n}")))
        .collect();
    played.take(&[expected::session_started(1), expected::listed(&ids)]);
    for id in ids {
        played.take(&[expected::finished(expected::passed(id))]);
    }
    assert_eq!(played.state.counts().passed, 10_000);
    assert_eq!(played.state.planned(), 10_000);
    assert!(played.report.ending.failures.testcases.is_empty());
    assert_eq!(played.sink.text().lines().count(), 10_000);
}

#[test]
fn what_is_kept_of_a_failure_is_bounded() {
    let mut played = Played::start(Verbosity::Quiet, false, None);
    let mut huge = bad("t", Cause::Test, &format!("first\n{}", "x".repeat(1 << 16)));
    huge.details = Some("y".repeat(1 << 16));
    for number in 0..1000 {
        huge.id.testcase = format!("t{number}");
        played.take(&[expected::finished(huge.clone())]);
    }
    let text = |failure: &FailedTestcase| {
        failure.result.message.as_ref().map_or(0, String::len)
            + failure.result.details.as_ref().map_or(0, String::len)
    };
    let failures = &played.report.ending.failures.testcases;
    let kept: usize = failures.iter().map(text).sum();
    assert!(
        kept <= 1000 * 400 + DETAILED_FAILURES_MAX * DETAIL_BYTES_MAX,
        "{kept}"
    );
    assert_eq!(failures[999].result.message.as_deref(), Some("first"));
}

#[test]
fn a_missing_log_is_no_trouble() {
    let mut result = bad("t", Cause::Crashed, "gone");
    result.log = Some(LogSpan {
        path: "/nonexistent/sim.log".into(),
        start: 0,
        end: 10,
    });
    let text = play(
        Verbosity::Quiet,
        &session_of(vec![result], ExitCode::TestFailed),
    );
    assert!(
        text.contains(&format!("error[{}]", Code::TestCrashed.name())),
        "{text}"
    );
    assert!(text.contains("log: /nonexistent/sim.log\n"), "{text}");
}

#[test]
fn on_a_terminal_what_runs_is_shown_below_what_is_done() {
    let (_dir, log) = expected::log_file();
    let size = TerminalSize {
        columns: 100,
        rows: 40,
    };
    let mut played = Played::start(Verbosity::Normal, false, Some(size));
    let events = expected::session(&log);
    let (before, after) = events.split_at(13);
    assert!(
        matches!(before[12], Event::TestcaseStarted { .. }),
        "{:?}",
        before[12]
    );
    played.take(before);
    played.pass(3);
    let text = played.sink.text();
    assert!(
        text.contains("     RUNNING [   3.00s] fifo::tests.test_fifo::reset\n"),
        "{text:?}"
    );
    assert!(text.ends_with("     Running [   3.00s] 0/10 so far: 1 running"));
    played.take(after);
    played.finish();
    let text = played.sink.text();
    let (_, last) = text.rsplit_once('\u{1b}').expect("the live part is erased");
    assert!(
        last.contains("\n     Summary [  3.210s]") && !last.contains("RUNNING"),
        "{last}"
    );
}

//! The JUnit report, read back, against the table of expected results.

use super::*;

use crate::edge::fs;
use crate::model::test::TestVariant;
use crate::model::test::TestcaseId;
use crate::report::expected;
use crate::report::expected::Expected;
use crate::report::expected::Junit;
use crate::report::expected::StillClock;

/// Plays events and returns the file's text.
fn play(events: &[Event]) -> String {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = Utf8Path::from_path(dir.path())
        .expect("UTF-8")
        .join("new/dir/junit.xml");
    let mut report = JunitReport::new(options(&path), StillClock::new());
    let mut state = SessionState::default();
    expected::feed(&mut report, &mut state, events);
    report.finish(&state).expect("the directory can be written");
    let names = fs::list(path.parent().expect("it has one")).expect("it is there");
    assert_eq!(names, ["junit.xml"], "nothing half-written is left");
    fs::read_text(&path).expect("it was written")
}

fn options(path: &Utf8Path) -> JunitOptions {
    JunitOptions {
        file: Arc::new(OutputFile::open(path).expect("it can be written")),
        hostname: "node07".to_owned(),
    }
}

fn read(text: &str) -> quick_junit::Report {
    quick_junit::Report::deserialize_from_str(text).expect("it is JUnit XML")
}

fn find<'a>(report: &'a quick_junit::Report, suite: &str, name: &str) -> &'a TestCase {
    let suites = &report.test_suites;
    let suite = suites
        .iter()
        .find(|known| known.name.as_str() == suite)
        .expect("the suite");
    let testcases = &suite.test_cases;
    testcases
        .iter()
        .find(|known| known.name.as_str() == name)
        .expect("the testcase")
}

fn property<'a>(testcase: &'a TestCase, name: &str) -> Option<&'a str> {
    let properties = &testcase.properties;
    properties
        .iter()
        .find(|known| known.name.as_str() == name)
        .map(|known| known.value.as_str())
}

fn one_passed() -> TestcaseResult {
    expected::passed(expected::id("fifo", "tests.test_fifo", "reset"))
}

fn check(report: &quick_junit::Report, row: &Expected) {
    let name = row.testcase;
    let suite = format!("{}::{}", row.build, row.module);
    let testcase = find(report, &suite, name);
    assert_eq!(
        testcase.classname.as_ref().map(XmlString::as_str),
        Some(&*suite)
    );
    assert_eq!(testcase.time, Some(Duration::from_millis(410)));
    assert_eq!(
        property(testcase, "code"),
        row.code.map(Code::name),
        "{name}"
    );
    assert_eq!(property(testcase, "seed"), Some("7"));
    assert_eq!(property(testcase, "sim_time_ns"), Some("41200.5"));
    assert_eq!(
        testcase.extra.get("file").map(XmlString::as_str),
        Some("/p/tests/test_fifo.py")
    );
    assert_eq!(
        testcase.extra.get("line").map(XmlString::as_str),
        Some("41")
    );
    let found = match &testcase.status {
        TestCaseStatus::Success { .. } => Junit::Nothing,
        TestCaseStatus::NonSuccess {
            kind: NonSuccessKind::Failure,
            ..
        } => Junit::Failure,
        TestCaseStatus::NonSuccess {
            kind: NonSuccessKind::Error,
            ..
        } => Junit::Error,
        TestCaseStatus::Skipped { .. } => Junit::Skipped,
    };
    assert_eq!(found, row.junit, "{name}");
    if let TestCaseStatus::NonSuccess {
        description,
        message,
        ..
    } = &testcase.status
    {
        assert!(message.is_some(), "{name}");
        let description = description
            .as_ref()
            .map(XmlString::as_str)
            .unwrap_or_default();
        if let Some(rerun) = row.rerun {
            assert!(
                description.ends_with(&format!(
                    "rerun: cocorun test --config x/runner.toml {rerun}"
                )),
                "{description}"
            );
        }
    }
}

#[test]
fn every_testcase_of_the_table_is_in_the_file_with_its_verdict() {
    let (_dir, log) = expected::log_file();
    let report = read(&play(&expected::session(&log)));
    for row in expected::TABLE {
        check(&report, row);
    }
}

#[test]
fn the_counts_of_every_element_are_right() {
    let (_dir, log) = expected::log_file();
    let report = read(&play(&expected::session(&log)));
    let counts = expected::counts();
    // Besides the testcases: the failed build, and the session that was stopped.
    assert_eq!(report.tests, counts.total() + 2);
    assert_eq!(report.failures, counts.failed);
    assert_eq!(
        report.errors,
        counts.errored + counts.timed_out + counts.not_run + 2
    );
    assert_eq!(report.skipped, counts.skipped);
    assert_eq!(report.time, Some(Duration::from_millis(3210)));
    for suite in &report.test_suites {
        assert_eq!(
            suite.tests,
            suite.test_cases.len(),
            "{}",
            suite.name.as_str()
        );
        assert_eq!(
            suite.extra.get("hostname").map(XmlString::as_str),
            Some("node07")
        );
        assert!(suite.timestamp.is_some() && suite.time.is_some());
    }
    let sum = |of: fn(&TestSuite) -> usize| report.test_suites.iter().map(of).sum::<usize>();
    assert_eq!(sum(|suite| suite.tests), report.tests);
    assert_eq!(sum(|suite| suite.failures), report.failures);
    assert_eq!(sum(|suite| suite.errors), report.errors);
    assert_eq!(sum(|suite| suite.skipped), report.skipped);
}

#[test]
fn a_failed_build_is_an_error_of_a_suite_of_its_own() {
    let failure = BuildOutcome::Failed(Box::new(expected::compile_error()));
    let lost = |module: &str| {
        let mut result = expected::passed(expected::id("broken", module, TestcaseId::WHOLE_MODULE));
        result.outcome = Outcome::Errored;
        result.cause = Some(Cause::Build);
        result
    };
    let mut lost = vec![lost("test_a"), lost("test_b")];
    lost[1].id.variant = Some(TestVariant("DEPTH=8".to_owned()));
    let mut events = expected::session_of(lost, ExitCode::BuildFailed);
    events.splice(1..1, expected::build_events("broken", "icarus", failure));
    let report = read(&play(&events));
    let testcase = find(&report, "broken", "build");
    let TestCaseStatus::NonSuccess {
        kind,
        ty,
        description,
        ..
    } = &testcase.status
    else {
        panic!("{testcase:?}");
    };
    assert_eq!(*kind, NonSuccessKind::Error);
    assert_eq!(ty.as_ref().map(XmlString::as_str), Some("build::compile"));
    let description = description
        .as_ref()
        .map(XmlString::as_str)
        .unwrap_or_default();
    assert!(
        description.contains("hdl/broken.sv:3: syntax error"),
        "{description}"
    );
    let lost = "\n\n2 modules could not run: test_a, test_b/DEPTH=8";
    assert!(description.ends_with(lost), "{description}");
    assert_eq!((report.tests, report.errors), (1, 1));
}

#[test]
fn a_green_file_means_exit_code_0_and_nothing_else() {
    let report = read(&play(&expected::session_of(
        vec![one_passed()],
        ExitCode::Success,
    )));
    assert_eq!((report.tests, report.errors, report.failures), (1, 0, 0));

    let report = read(&play(&expected::session_of(
        vec![one_passed()],
        ExitCode::Environment,
    )));
    assert_eq!((report.tests, report.errors), (2, 1));

    let report = read(&play(&expected::session_of(
        vec![],
        ExitCode::NothingSelected,
    )));
    let testcase = find(&report, "cocorun", "session");
    assert_eq!(report.errors, 1);
    assert!(
        format!("{testcase:?}").contains("no testcase was selected"),
        "{testcase:?}"
    );

    let mut planned = expected::session_of(vec![], ExitCode::Success);
    planned.insert(1, expected::listed(&[one_passed().id]));
    assert_eq!(read(&play(&planned)).errors, 1);

    let mut stopped = expected::session_of(vec![one_passed()], ExitCode::Signal(15));
    stopped.insert(
        2,
        Event::Stopping {
            reason: "terminated by SIGTERM".to_owned(),
        },
    );
    assert_eq!(read(&play(&stopped)).errors, 1);

    let mut broken_off = expected::session_of(vec![one_passed()], ExitCode::Success);
    broken_off.pop();
    assert_eq!(read(&play(&broken_off)).errors, 1);

    let notice = Diagnostic::error(Code::PythonNoCocotb, "`python3` cannot import cocotb");
    let mut noticed = expected::session_of(vec![], ExitCode::Environment);
    noticed.insert(1, Event::Notice(Box::new(notice)));
    let report = read(&play(&noticed));
    assert_eq!((report.tests, report.errors), (1, 1));
    find(&report, "cocorun", "python::no-cocotb");
}

#[test]
fn the_last_attempt_decides_and_the_ones_before_are_kept() {
    let (_dir, log) = expected::log_file();
    let report = read(&play(&expected::session(&log)));
    let testcase = find(
        &report,
        "uart/BAUD=9600@verilator::tests.test_fifo",
        "flaky",
    );
    let TestCaseStatus::Success { flaky_runs } = &testcase.status else {
        panic!("{testcase:?}")
    };
    assert_eq!(flaky_runs.len(), 1);
    assert_eq!(property(testcase, "attempt"), Some("2"));

    let mut bad = one_passed();
    bad.outcome = Outcome::TimedOut;
    bad.cause = Some(Cause::Timeout);
    let mut again = bad.clone();
    again.attempt = 2;
    let events = expected::session_of(vec![bad, again], ExitCode::TestFailed);
    let report = read(&play(&events));
    assert_eq!((report.tests, report.errors), (1, 1));
    let TestCaseStatus::NonSuccess { reruns, .. } = &report.test_suites[0].test_cases[0].status
    else {
        panic!("{report:?}");
    };
    assert_eq!(reruns.runs.len(), 1);
}

#[test]
fn what_xml_forbids_is_spelt_out_and_nothing_else_is_lost() {
    let (_dir, log) = expected::log_file();
    let text = play(&expected::session(&log));
    let odd: Vec<char> = text
        .chars()
        .filter(|c| c.is_control() && *c != '\n')
        .collect();
    assert_eq!(odd, []);
    let report = read(&text);
    let testcase = find(&report, "fifo::tests.test_fifo", "segfault");
    let quoted = testcase.system_out.as_ref().map(XmlString::as_str);
    let expect = "first line\n\u{fffd}\u{fffd} binary \\x01 red \\x1b[2J ]]> <&>\nlast line";
    assert_eq!(quoted, Some(expect));

    let mut result = one_passed();
    result.outcome = Outcome::Failed;
    result.message = Some("a\tb \u{1b}]0;never ends, \u{fffe} and \u{b} and \u{9b}".to_owned());
    let text = play(&expected::session_of(vec![result], ExitCode::TestFailed));
    let expect = "message=\"a    b \\x1b]0;never ends, \\u{fffe} and \\x0b and \\x9b\"";
    assert!(text.contains(expect), "{text}");
}

#[test]
fn only_the_end_of_a_large_log_is_in_the_file_and_all_logs_have_a_limit() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let log = Utf8Path::from_path(dir.path())
        .expect("UTF-8")
        .join("sim.log");
    let lines: Vec<String> = (0..200_000).map(|n| format!("line {n}\n")).collect();
    fs::write(&log, lines.concat()).expect("a log");
    let mut report = JunitReport::new(options(&log), StillClock::new());
    let quoted = report.quote_log(&log, 0, u64::MAX).expect("it has lines");
    assert!(quoted.starts_with("(the last 104"), "{}", &quoted[..40]);
    assert!(quoted.ends_with("line 199999\n"));
    assert!(quoted.len() < 1_100_000);
    report.quotable_bytes = 0;
    let quoted = report.quote_log(&log, 0, u64::MAX).expect("a remark");
    assert_eq!(
        quoted,
        format!("(left out to keep this file small; see {log})")
    );
}

#[test]
fn an_endless_message_is_cut_in_the_attribute_and_stands_in_the_text() {
    let mut result = one_passed();
    result.outcome = Outcome::Failed;
    result.message = Some("x".repeat(5000));
    let report = read(&play(&expected::session_of(
        vec![result],
        ExitCode::TestFailed,
    )));
    let TestCaseStatus::NonSuccess {
        message,
        description,
        ..
    } = &report.test_suites[0].test_cases[0].status
    else {
        panic!("{report:?}");
    };
    let message = message.as_ref().map(XmlString::as_str).unwrap_or_default();
    assert_eq!(text::columns(message), MESSAGE_COLUMNS_MAX);
    let description = description
        .as_ref()
        .map(XmlString::as_str)
        .unwrap_or_default();
    assert!(description.contains(&"x".repeat(5000)));
}

#[test]
fn ten_thousand_huge_tracebacks_stay_within_the_limit_for_all() {
    let mut report = JunitReport::new(options("/nonexistent/j.xml".into()), StillClock::new());
    let mut result = one_passed();
    result.outcome = Outcome::Failed;
    result.details = Some("x".repeat(100_000));
    let sizes: Vec<usize> = (0..1000)
        .map(|_| report.description(&result, "cocorun test").len())
        .collect();
    assert!(sizes[0] > DESCRIPTION_BYTES_MAX && sizes[999] < 2 * DESCRIPTION_BYTES_MIN);
    assert!(sizes.iter().sum::<usize>() < 40 * 1024 * 1024);
}

#[test]
fn a_file_that_cannot_be_written_is_an_error_with_its_path() {
    let path = Utf8Path::new("/dev/full");
    let placeholder = JunitReport::new(options(path), StillClock::new()).write_placeholder();
    assert_eq!(placeholder, Ok(()), "only one document goes into a device");
    let mut report = JunitReport::new(options(path), StillClock::new());
    let problems = report.finish(&SessionState::default());
    let problems = problems.expect_err("the device is full");
    assert_eq!(problems.0[0].code, Code::ReportUnwritable);
    assert!(problems.0[0].message.contains(path.as_str()), "{problems}");
}

#[test]
fn ten_thousand_testcases_are_written_and_read_back() {
    let results = (0..10_000).map(|n| {
        expected::passed(expected::id(
            "fifo",
            "tests.test_fifo",
            &format!("burst/width={n}"),
        ))
    });
    let report = read(&play(&expected::session_of(
        results.collect(),
        ExitCode::Success,
    )));
    assert_eq!((report.tests, report.errors), (10_000, 0));
}

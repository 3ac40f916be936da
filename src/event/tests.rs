//! The state after streams of all kinds, and streams written and read back.

use crate::diagnostic::Code;
use crate::diagnostic::Diagnostic;
use crate::diagnostic::Snippet;
use crate::diagnostic::render;
use crate::event::Attempt;
use crate::event::BuildHolder;
use crate::event::BuildOutcome;
use crate::event::CheckpointReached;
use crate::event::Contradiction;
use crate::event::Event;
use crate::event::RecordedEvent;
use crate::event::RunOrigin;
use crate::event::SessionCommand;
use crate::event::SessionFinished;
use crate::event::SessionStarted;
use crate::event::SessionState;
use crate::event::read_events;
use crate::event::to_line;
use crate::model::build::BuildName;
use crate::model::build::SimulatorName;
use crate::model::exit_code::ExitCode;
use crate::model::outcome::Cause;
use crate::model::outcome::Counts;
use crate::model::outcome::LogSpan;
use crate::model::outcome::OrderDependence;
use crate::model::outcome::Outcome;
use crate::model::outcome::RunVerdict;
use crate::model::outcome::TestcaseResult;
use crate::model::test::Checkpoint;
use crate::model::test::Seed;
use crate::model::test::TestModule;
use crate::model::test::TestVariant;
use crate::model::test::Testcase;
use crate::model::test::TestcaseId;

use std::time::Duration;

fn started(command: SessionCommand) -> Event {
    Event::SessionStarted(SessionStarted {
        cocorun: env!("CARGO_PKG_VERSION").to_owned(),
        session_id: "20261121T084026-b08f42".to_owned(),
        command,
        host: "node07".to_owned(),
        started_at: "2026-11-21T08:40:26Z".to_owned(),
        config: "/p/runner.toml".into(),
        jobs: 4,
        seed: Seed(7),
        builds: 1,
        modules: 1,
        rerun_prefix: "cocorun test --config 'a b/runner.toml'".to_owned(),
    })
}

fn finished(exit_code: ExitCode, counts: Counts) -> Event {
    Event::SessionFinished(SessionFinished {
        exit_code,
        counts,
        builds_failed: 0,
        deselected: 2,
        duration: Duration::from_nanos(3_210_987_654),
    })
}

fn id(testcase: &str) -> TestcaseId {
    TestcaseId {
        build: BuildName("fifo".to_owned()),
        module: TestModule("tests.test_fifo".to_owned()),
        variant: Some(TestVariant("slow/seed=1".to_owned())),
        testcase: testcase.to_owned(),
    }
}

fn listed(testcases: &[&str]) -> Event {
    let testcase = |(occurrence, name): (usize, &&str)| Testcase {
        id: id(name),
        occurrence: u32::try_from(occurrence).expect("few"),
        file: Some("/p/tests/test_fifo.py".into()),
        line: Some(41),
        doc: None,
        skip: false,
        stage: -3,
    };
    Event::ModuleListed {
        build: id("").build,
        module: id("").module,
        variant: id("").variant,
        selected: testcases.iter().enumerate().map(testcase).collect(),
        deselected: 2,
        reimported_because: Some("it reads the clock".to_owned()),
    }
}

fn result(testcase: &str, outcome: Outcome, attempt: u32) -> Event {
    Event::TestcaseFinished(Box::new(TestcaseResult {
        id: id(testcase),
        outcome,
        cause: (!outcome.is_good()).then_some(Cause::Test),
        expected_failure: false,
        message: Some("expected 3\u{1b}[0m,\ngot \"4\" \u{0}".to_owned()),
        error_type: Some("AssertionError".to_owned()),
        details: None,
        duration: Duration::from_nanos(123_456_789),
        sim_time_ns: Some(0.1 + 0.2),
        seed: Seed(u32::MAX),
        attempt,
        run_dir: Some("/p/runs/1".into()),
        log: Some(LogSpan {
            path: "/p/runs/1/sim.log".into(),
            start: 1,
            end: u64::MAX,
        }),
        waves: None,
        file: None,
        line: Some(3),
    }))
}

fn state_of(events: &[Event]) -> SessionState {
    let mut state = SessionState::default();
    for event in events {
        state.take(event);
    }
    state
}

/// Returns the state after a session of one module, its end included.
fn session(testcases: &[&str], results: &[(&str, Outcome, u32)]) -> SessionState {
    let mut events = vec![started(SessionCommand::Test), listed(testcases)];
    events.extend(results.iter().map(|it| result(it.0, it.1, it.2)));
    let mut state = state_of(&events);
    let end = finished(state.exit_code(None), state.counts());
    state.take(&end);
    state
}

#[test]
fn a_later_attempt_replaces_the_earlier_one_and_all_stay_visible() {
    use Outcome::Failed;
    use Outcome::Passed;
    let state = session(
        &["flaky", "bad", "good"],
        &[
            ("flaky", Failed, 1),
            ("good", Passed, 1),
            ("bad", Failed, 1),
            ("flaky", Passed, 2),
            ("bad", Outcome::TimedOut, 2),
        ],
    );
    let expect = Counts {
        passed: 2,
        timed_out: 1,
        ..Counts::default()
    };
    assert_eq!(state.counts(), expect);
    assert_eq!(state.contradictions(), []);
    assert_eq!(state.exit_code(None), ExitCode::TestFailed);
    let attempt = |number, outcome, is_superseded| Attempt {
        number,
        outcome,
        is_superseded,
    };
    let flaky = [attempt(1, Failed, true), attempt(2, Passed, false)];
    assert_eq!(state.attempts(&id("flaky")), flaky);
    assert_eq!(state.attempts(&id("good")), []);
}

#[test]
fn a_testcase_that_passes_at_last_makes_the_session_a_success() {
    let results = [
        ("t", Outcome::Failed, 1),
        ("t", Outcome::Errored, 2),
        ("t", Outcome::Passed, 3),
    ];
    let state = session(&["t"], &results);
    assert_eq!(
        (
            state.counts().total(),
            state.counts().passed,
            state.planned()
        ),
        (1, 1, 1)
    );
    assert!(state.is_success());
    // A repeated pass is one testcase, too.
    let state = session(
        &["t"],
        &[("t", Outcome::Passed, 1), ("t", Outcome::Failed, 2)],
    );
    assert_eq!((state.counts().total(), state.counts().failed), (1, 1));
    assert_eq!(state.contradictions(), []);
}

#[test]
fn testcases_of_one_name_are_counted_one_by_one_also_when_they_are_repeated() {
    let results = [
        ("twin", Outcome::Failed, 1),
        ("twin", Outcome::Passed, 2),
        ("twin", Outcome::Failed, 1),
    ];
    let state = session(&["twin", "twin"], &results);
    assert_eq!((state.counts().passed, state.counts().failed), (1, 1));
    assert_eq!(state.contradictions(), []);
    let state = session(&["twin", "twin"], &results[..2]);
    let expect = Contradiction::NoResult {
        number: 1,
        first: id("twin"),
    };
    assert_eq!(state.contradictions(), [expect]);
}

#[test]
fn a_hundred_thousand_passed_testcases_leave_nothing_behind_but_a_number() {
    let mut state = state_of(&[started(SessionCommand::Test)]);
    for number in 0..100_000 {
        let name = number.to_string();
        state.take(&listed(&[&name]));
        state.take(&result(&name, Outcome::Passed, 1));
    }
    assert_eq!(state.counts().passed, 100_000);
    let remembered = format!("{state:?}");
    assert!(remembered.len() < 2000, "{remembered:.2000}");
}

#[test]
fn what_cannot_be_right_about_a_stream_is_found_and_is_no_success() {
    let check = |state: &SessionState, expect: Contradiction| {
        assert_eq!(state.contradictions(), [expect]);
        assert!(!state.is_success());
    };
    let broken_off = [started(SessionCommand::Test), listed(&["a"])];
    check(&state_of(&broken_off), Contradiction::BrokenOff);

    let missing = session(&["a", "b"], &[("a", Outcome::Passed, 1)]);
    assert_eq!(missing.exit_code(None), ExitCode::TestFailed);
    let (number, first) = (1, id("b"));
    check(&missing, Contradiction::NoResult { number, first });

    let twice = [("a", Outcome::Passed, 1), ("a", Outcome::Passed, 1)];
    let twice = session(&["a"], &twice);
    assert_eq!(twice.exit_code(None), ExitCode::TestFailed);
    let (number, first) = (1, id("a"));
    check(&twice, Contradiction::Unplanned { number, first });

    let counted = Counts {
        passed: 1,
        ..Counts::default()
    };
    let claimed = Counts {
        passed: 2,
        ..Counts::default()
    };
    let mut other_counts = state_of(&[
        started(SessionCommand::Test),
        listed(&["a"]),
        result("a", Outcome::Passed, 1),
    ]);
    other_counts.take(&finished(ExitCode::Success, claimed));
    check(&other_counts, Contradiction::Counts { claimed, counted });

    let mut hidden = session(&["a"], &[("a", Outcome::Failed, 1)]);
    hidden.take(&finished(ExitCode::Success, hidden.counts()));
    check(&hidden, Contradiction::HiddenFailure { number: 1 });
}

#[test]
fn a_module_whose_testcases_are_not_known_is_no_testcase() {
    let mut state = session(&["a"], &[("a", Outcome::Passed, 1)]);
    let whole = TestcaseId::WHOLE_MODULE;
    state.take(&result(whole, Outcome::Errored, 1));
    assert_eq!((state.testcase_counts().total(), state.planned()), (1, 1));
    assert_eq!(state.module_counts().errored, 1);
    assert_eq!((state.counts().total(), state.counts().errored), (2, 1));
    assert_eq!(state.exit_code(None), ExitCode::TestFailed);
}

#[test]
fn a_name_that_selects_nothing_while_others_do_is_no_success() {
    let problem = Diagnostic::error(Code::NothingSelected, "`x` selects no testcase");
    let notice = Event::Notice(Box::new(problem));
    let mut state = session(&["a"], &[("a", Outcome::Passed, 1)]);
    state.take(&notice);
    assert_eq!(state.exit_code(None), ExitCode::NothingSelected);
    let mut state = session(&["a"], &[("a", Outcome::Failed, 1)]);
    state.take(&notice);
    assert_eq!(state.exit_code(None), ExitCode::TestFailed);
}

#[test]
fn what_is_only_listed_needs_no_result() {
    let mut state = state_of(&[started(SessionCommand::List), listed(&["a", "b"])]);
    assert_eq!((state.listed(), state.planned()), (2, 0));
    let end = finished(state.exit_code(None), state.counts());
    state.take(&end);
    assert!(state.is_success());
}

#[test]
fn nothing_listed_is_nothing_selected_and_a_signal_outranks_all() {
    let state = state_of(&[started(SessionCommand::Test), listed(&[])]);
    assert_eq!(state.exit_code(None), ExitCode::NothingSelected);
    assert_eq!(state.exit_code(Some(2)), ExitCode::Signal(2));
}

/// A problem with everything that one can have.
fn full_problem() -> Diagnostic {
    let text = "[build.fifo]\nparameters = { \u{fc}DEPHT = 4,\n  x = 1 }\n# end\n";
    let start = text.find("\u{fc}DEPHT").expect("it is there");
    Diagnostic::error(Code::BuildCompile, "no parameter `DEPHT`")
        .at(Snippet {
            path: "runner.toml".into(),
            text: text.into(),
            first_line: 1,
            range: start..text.find(" }").expect("it is there"),
            label: "here".to_owned(),
        })
        .fact("two\nlines")
        .log("/p/build.log")
        .help("did you mean `DEPTH`?")
}

/// Every kind of event about builds.
fn about_builds() -> Vec<Event> {
    let build = id("").build;
    let finished_as = |outcome| Event::BuildFinished {
        build: id("").build,
        outcome,
        reasons: vec!["hdl/fifo.sv changed".to_owned()],
        duration: Duration::from_millis(1),
        log: Some("/p/build.log".into()),
    };
    let step_finished = |is_done| Event::StepFinished {
        step: "regs".to_owned(),
        build: id("").build,
        is_done,
        reasons: vec!["input `regs.yaml` changed".to_owned()],
        duration: Duration::from_millis(2),
        log: "/p/step.log".into(),
    };
    vec![
        Event::BuildStarted {
            build: build.clone(),
            simulator: SimulatorName("verilator".to_owned()),
        },
        Event::BuildWaiting {
            build: build.clone(),
            holder: BuildHolder {
                name: "pid 1 on node07".to_owned(),
                since: None,
                words: "pid 1 on node07; last sign of life 2 s ago".to_owned(),
                doing: Some("running make".to_owned()),
            },
            waited: Duration::from_millis(1500),
        },
        Event::StepStarted {
            step: "regs".to_owned(),
            build: build.clone(),
        },
        step_finished(true),
        step_finished(false),
        finished_as(BuildOutcome::Built),
        finished_as(BuildOutcome::UpToDate),
        finished_as(BuildOutcome::BuiltElsewhere),
        finished_as(BuildOutcome::Failed(Box::new(full_problem()))),
    ]
}

/// One event of every kind, with everything in it that a line must carry.
fn every_kind() -> Vec<Event> {
    let build = id("").build;
    let mut events = vec![started(SessionCommand::Test)];
    events.extend(about_builds());
    events.extend([
        listed(&["a", "a", "b/width=8"]),
        Event::RunStarted {
            run: 1,
            slot: 3,
            build,
            testcases: vec![id("a"), id("b/width=8")],
            dir: "/p/runs/1".into(),
            origin: RunOrigin {
                spawned_because: Some("waves are written".to_owned()),
                checkpoint: Some(Checkpoint("common:reset".to_owned())),
                checkpoint_unused_because: Some("it ends".to_owned()),
            },
        },
        Event::CheckpointReached(CheckpointReached {
            build: BuildName("fifo".to_owned()),
            checkpoint: Checkpoint("common:reset".to_owned()),
            duration: Duration::from_millis(250),
            sim_time_ns: 20.5,
            log: "/p/runs/2/sim.log".into(),
        }),
        Event::TestcaseStarted {
            run: 1,
            slot: 3,
            testcase: id("a"),
        },
        result("a", Outcome::TimedOut, 2),
        Event::OrderDependence(OrderDependence {
            testcase: id("relies_on_it"),
            after: "sets".to_owned(),
            earlier: 2,
            run_dir: Some("/p/runs/9".into()),
        }),
        Event::RunFinished {
            run: 1,
            slot: 3,
            verdict: RunVerdict::TimedOut,
            duration: Duration::from_secs(100_000),
        },
        Event::Notice(Box::new(Diagnostic::warning(
            Code::SelectVariable,
            "`TESTCASE` is set",
        ))),
        Event::Stopping {
            reason: "SIGINT".to_owned(),
        },
        finished(ExitCode::Signal(2), Counts::default()),
    ]);
    events
}

fn written(events: &[Event]) -> String {
    let mut state = SessionState::default();
    let mut text = String::new();
    for (number, event) in events.iter().enumerate() {
        state.take(event);
        let elapsed = Duration::from_nanos(1_234_567_891) * u32::try_from(number).expect("few");
        text.push_str(&to_line(event, elapsed, &state));
    }
    text
}

fn read(text: &str) -> Vec<RecordedEvent> {
    let events = read_events(text.as_bytes());
    events.collect::<Result<_, _>>().expect("it can be read")
}

/// Leaves of the places in an event what can be shown.
fn shown(event: &Event) -> Event {
    let mut event = event.clone();
    if let Event::BuildFinished {
        outcome: BuildOutcome::Failed(problem),
        ..
    } = &mut event
    {
        let text = render::to_text(problem, false);
        problem.snippet = None;
        problem.facts.push(text);
    }
    event
}

#[test]
fn every_event_is_read_back_as_it_was_written() {
    let events = every_kind();
    let text = written(&events);
    let read = read(&text);
    for (event, read) in events.iter().zip(&read) {
        assert_eq!(shown(&read.event), shown(event));
    }
    assert_eq!(read.len(), events.len());
    assert_eq!(read[2].elapsed, Duration::from_nanos(2_469_135_782));
    let again: Vec<Event> = read.into_iter().map(|it| it.event).collect();
    assert_eq!(written(&again), text, "and written again, it is the same");
}

#[test]
fn the_place_of_a_problem_looks_the_same_wherever_in_the_file_it_is() {
    let text = "a = 1\n\nb\u{fc} = [\n  2,\n]\nlast\n";
    for start in (0..text.len()).filter(|at| text.is_char_boundary(*at)) {
        for end in (start..=text.len()).filter(|at| text.is_char_boundary(*at)) {
            let problem = Diagnostic::error(Code::ConfigSyntax, "odd").at(Snippet {
                path: "runner.toml".into(),
                text: text.into(),
                first_line: 1,
                range: start..end,
                label: "here".to_owned(),
            });
            let expect = render::to_text(&problem, false);
            let events = [
                started(SessionCommand::Test),
                Event::Notice(Box::new(problem)),
            ];
            let read = read(&written(&events));
            let Event::Notice(problem) = &read[1].event else {
                panic!("{read:?}")
            };
            assert_eq!(render::to_text(problem, false), expect, "{start}..{end}");
        }
    }
}

#[test]
fn a_line_that_an_older_cocorun_wrote_is_read() {
    let line = r#"{"event":"session-started","elapsed_s":0.0,"schema":1,"cocorun":"0.1.0","session_id":"s","started_at":"2026-11-21T08:40:26Z","config":"/p/runner.toml","jobs":4,"seed":7,"builds":1,"from_the_future":[1]}"#;
    let started = r#"{"event":"testcase-started","elapsed_s":0.0,"run":1,"slot":0,"testcase":{"id":"b::m::t","build":"b","module":"m","testcase":"t"}}"#;
    let read = read(&format!("{line}\n{started}\n"));
    let (Event::SessionStarted(session), Event::TestcaseStarted { testcase, .. }) =
        (&read[0].event, &read[1].event)
    else {
        panic!("{read:?}")
    };
    assert_eq!(testcase.variant, None);
    assert_eq!(session.command, SessionCommand::Test);
    assert_eq!(session.rerun_prefix, "cocorun test");
}

/// Returns what reading a text says at last, and how many events came before.
fn error(text: &str) -> (usize, Diagnostic) {
    let mut number = 0;
    for item in read_events(text.as_bytes()) {
        match item {
            Ok(_) => number += 1,
            Err(problems) => return (number, problems.0[0].clone()),
        }
    }
    panic!("{text:?} was read")
}

#[test]
fn what_is_not_a_recorded_session_is_refused_with_its_line_and_the_reason() {
    let good = written(&every_kind());
    let first = good.lines().next().expect("a line").to_owned();
    let check = |text: &str, before: usize, words: &str| {
        let (number, problem) = error(text);
        assert_eq!(problem.code, Code::ReportUnreadable);
        assert!(problem.message.contains(words), "{words}: {problem:?}");
        assert_eq!(number, before, "{problem:?}");
    };
    check("", 0, "is empty");
    check("<testsuites/>\n", 0, "line 1 is not the beginning");
    check("{\"a\": 1}\n", 0, "line 1 is not the beginning");
    check(
        &good[good.find('\n').expect("it has lines") + 1..],
        0,
        "line 1 is not the beginning",
    );
    check(
        &good[..good.len() - 9],
        19,
        "line 20 of the recording is cut off",
    );
    check(&good[..20], 0, "line 1 is not the beginning");
    let other = first.replace("\"schema\":1", "\"schema\":2");
    check(&other, 0, "has schema 2, written by cocorun");
    check(
        &format!("{first}\nSTILL\n"),
        1,
        "line 2 of the recording is not an event",
    );
    check(
        &format!("{first}\n{first}\n"),
        1,
        "line 2 of the recording begins a second session",
    );
    let unknown = "{\"event\":\"moon-rose\",\"elapsed_s\":1.0}";
    check(
        &format!("{first}\n{unknown}\n"),
        1,
        "unknown variant `moon-rose`",
    );
    let code = good.replace("select::variable", "select::moon");
    check(
        &code,
        17,
        "line 18 of the recording has an unknown code `select::moon`",
    );
    let time = good.replace("\"waited_s\":1.5", "\"waited_s\":-1.5");
    check(&time, 2, "line 3 of the recording has an impossible time");
}

#[test]
fn a_recording_without_its_end_is_read_and_its_state_says_so() {
    let good = written(&every_kind());
    let end = good.trim_end().rfind('\n').expect("it has lines");
    let events: Vec<Event> = read(&good[..=end]).into_iter().map(|it| it.event).collect();
    assert_eq!(
        state_of(&events).contradictions(),
        [Contradiction::BrokenOff]
    );
}

#[test]
fn the_words_for_causes_are_those_of_the_lines() {
    for cause in [Cause::Test, Cause::NoTestcases, Cause::UnexpectedPass] {
        let word = serde_json::to_value(cause).expect("a word");
        assert_eq!(word, cause.name());
    }
}

//! One session with one of everything, and what each report must make of each testcase.
//!
//! Every form of output is checked against this one table, so that the forms cannot drift apart.

use crate::diagnostic::Code;
use crate::diagnostic::Diagnostic;
use crate::edge::clock::Clock;
use crate::event::BuildHolder;
use crate::event::BuildOutcome;
use crate::event::Event;
use crate::event::RunOrigin;
use crate::event::SessionCommand;
use crate::event::SessionFinished;
use crate::event::SessionStarted;
use crate::event::SessionState;
use crate::model::build::BuildName;
use crate::model::build::SimulatorName;
use crate::model::exit_code::ExitCode;
use crate::model::outcome::Cause;
use crate::model::outcome::Counts;
use crate::model::outcome::LogSpan;
use crate::model::outcome::Outcome;
use crate::model::outcome::RunVerdict;
use crate::model::outcome::TestcaseResult;
use crate::model::test::Seed;
use crate::model::test::TestModule;
use crate::model::test::Testcase;
use crate::model::test::TestcaseId;
use crate::report::consumer::Report;

use camino::Utf8Path;
use camino::Utf8PathBuf;
use std::io;
use std::io::Write;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;
use std::time::Instant;
use std::time::SystemTime;

/// Which element of a JUnit testcase tells the verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Junit {
    Nothing,
    Failure,
    Error,
    Skipped,
}

/// One row of the table.
pub(super) struct Expected {
    pub(super) build: &'static str,
    pub(super) module: &'static str,
    pub(super) testcase: &'static str,
    pub(super) outcome: Outcome,
    pub(super) cause: Option<Cause>,
    pub(super) message: Option<&'static str>,
    pub(super) status: &'static str,
    pub(super) code: Option<Code>,
    pub(super) junit: Junit,
    /// The rerun command behind its prefix, where there must be one.
    pub(super) rerun: Option<&'static str>,
}

impl Expected {
    pub(super) fn id(&self) -> TestcaseId {
        id(self.build, self.module, self.testcase)
    }
}

/// The exception whose message is meant to break out of a terminal.
pub(super) const HOSTILE: &str =
    "\u{1b}[31mexpected 3\u{1b}[0m\u{1b}[2J, got\t4\u{7}\nwhere <x> & \"y\"\u{0}";

/// A row that passed, for the others to differ from.
const PASSED: Expected = Expected {
    build: "fifo",
    module: "tests.test_fifo",
    testcase: "reset",
    outcome: Outcome::Passed,
    cause: None,
    message: None,
    status: "PASS",
    code: None,
    junit: Junit::Nothing,
    rerun: None,
};

/// The table; a testcase's last attempt is what counts.
pub(super) const TABLE: &[Expected] = &[
    PASSED,
    Expected {
        testcase: "known_bug",
        ..PASSED
    },
    Expected {
        testcase: "burst_write/width=8",
        outcome: Outcome::Failed,
        cause: Some(Cause::Test),
        message: Some(HOSTILE),
        status: "FAIL",
        code: Some(Code::TestFailedCode),
        junit: Junit::Failure,
        rerun: Some(
            "--build fifo --module tests.test_fifo --testcase 'burst_write/width=8' --seed 7",
        ),
        ..PASSED
    },
    Expected {
        testcase: "it's \"odd\" $HOME",
        outcome: Outcome::Failed,
        cause: Some(Cause::HdlError),
        status: "FAIL",
        code: Some(Code::TestFailedCode),
        junit: Junit::Failure,
        rerun: Some(
            "--build fifo --module tests.test_fifo --testcase 'it'\\''s \"odd\" $HOME' --seed 7",
        ),
        ..PASSED
    },
    Expected {
        testcase: "segfault",
        outcome: Outcome::Errored,
        cause: Some(Cause::Crashed),
        message: Some("`vvp` ended with signal 11 (SIGSEGV)"),
        status: "ERROR",
        code: Some(Code::TestCrashed),
        junit: Junit::Error,
        rerun: Some("--build fifo --module tests.test_fifo --testcase segfault --seed 7"),
        ..PASSED
    },
    Expected {
        testcase: "hang",
        outcome: Outcome::TimedOut,
        cause: Some(Cause::Timeout),
        message: Some("ran longer than 120 s and was stopped"),
        status: "TIMEOUT",
        code: Some(Code::TestTimeout),
        junit: Junit::Error,
        rerun: Some("--build fifo --module tests.test_fifo --testcase hang --seed 7"),
        ..PASSED
    },
    Expected {
        testcase: "later",
        outcome: Outcome::Skipped,
        cause: Some(Cause::Skip),
        status: "SKIP",
        junit: Junit::Skipped,
        ..PASSED
    },
    Expected {
        testcase: "lost",
        outcome: Outcome::NotRun,
        cause: Some(Cause::Session),
        status: "NOT RUN",
        code: Some(Code::SessionInterrupted),
        junit: Junit::Error,
        ..PASSED
    },
    Expected {
        build: "uart/BAUD=9600@verilator",
        testcase: "flaky",
        ..PASSED
    },
    Expected {
        module: "tests.test_broken",
        testcase: TestcaseId::WHOLE_MODULE,
        outcome: Outcome::Errored,
        cause: Some(Cause::Import),
        message: Some("No module named 'numpy'"),
        status: "ERROR",
        code: Some(Code::TestImport),
        junit: Junit::Error,
        rerun: Some("--build fifo --module tests.test_broken --seed 7"),
        ..PASSED
    },
    Expected {
        build: "broken",
        outcome: Outcome::Errored,
        cause: Some(Cause::Build),
        status: "ERROR",
        code: Some(Code::BuildCompile),
        junit: Junit::Error,
        ..PASSED
    },
];

/// Returns the counts of the table.
pub(super) fn counts() -> Counts {
    let mut counts = Counts::default();
    for row in TABLE {
        counts.add(row.outcome);
    }
    counts
}

pub(super) fn id(build: &str, module: &str, testcase: &str) -> TestcaseId {
    TestcaseId {
        build: BuildName(build.to_owned()),
        module: TestModule(module.to_owned()),
        variant: None,
        testcase: testcase.to_owned(),
    }
}

/// Returns a passed result, to be changed.
pub(super) fn passed(id: TestcaseId) -> TestcaseResult {
    TestcaseResult {
        id,
        outcome: Outcome::Passed,
        cause: None,
        expected_failure: false,
        message: None,
        error_type: None,
        details: None,
        duration: Duration::from_millis(410),
        sim_time_ns: Some(41200.5),
        seed: Seed(7),
        attempt: 1,
        run_dir: Some("/p/runs/1".into()),
        log: None,
        waves: None,
        file: Some("/p/tests/test_fifo.py".into()),
        line: Some(41),
    }
}

/// Returns a result as a row of the table has it.
fn result(row: &Expected, log: &Utf8Path) -> TestcaseResult {
    let mut result = passed(row.id());
    result.outcome = row.outcome;
    result.cause = row.cause;
    result.message = row.message.map(ToOwned::to_owned);
    result.expected_failure = row.testcase == "known_bug";
    let is_run = !matches!(row.outcome, Outcome::Skipped | Outcome::NotRun)
        && row.cause != Some(Cause::Build);
    if is_run {
        result.log = Some(LogSpan {
            path: log.to_owned(),
            start: 0,
            end: u64::MAX,
        });
        result.waves = Some("/p/runs/1/dump.fst".into());
    }
    if row.cause == Some(Cause::Test) {
        result.error_type = Some("AssertionError".to_owned());
        result.details = Some(
            "Traceback (most recent call last):\n  File \"t.py\", line 3\n\u{1b}[1mboom".to_owned(),
        );
    }
    result
}

pub(super) fn session_started(builds: usize) -> Event {
    Event::SessionStarted(SessionStarted {
        cocorun: env!("CARGO_PKG_VERSION").to_owned(),
        session_id: "s-1".to_owned(),
        command: SessionCommand::Test,
        host: "node07".to_owned(),
        started_at: "2026-11-20T10:11:12Z".to_owned(),
        config: "/p/runner.toml".into(),
        jobs: 4,
        seed: Seed(7),
        builds,
        modules: builds,
        rerun_prefix: "cocorun test --config x/runner.toml".to_owned(),
    })
}

pub(super) fn session_finished(exit_code: ExitCode, counts: Counts) -> Event {
    Event::SessionFinished(SessionFinished {
        exit_code,
        counts,
        builds_failed: 0,
        deselected: 5,
        duration: Duration::from_millis(3210),
    })
}

pub(super) fn build_events(name: &str, simulator: &str, outcome: BuildOutcome) -> [Event; 2] {
    let simulator = SimulatorName(simulator.to_owned());
    let build = BuildName(name.to_owned());
    let reasons = vec!["hdl/fifo.sv changed".to_owned()];
    let duration = Duration::from_millis(1200);
    let log = Some(Utf8PathBuf::from("/p/sim_build/build.log"));
    [
        Event::BuildStarted {
            build: build.clone(),
            simulator,
        },
        Event::BuildFinished {
            build,
            outcome,
            reasons,
            duration,
            log,
        },
    ]
}

pub(super) fn listed(ids: &[TestcaseId]) -> Event {
    let testcase = |id: &TestcaseId| Testcase {
        id: id.clone(),
        occurrence: 0,
        file: Some("/p/tests/test_fifo.py".into()),
        line: Some(41),
        doc: Some("Writes a burst.".to_owned()),
        skip: false,
        stage: 0,
    };
    Event::ModuleListed {
        build: ids[0].build.clone(),
        module: ids[0].module.clone(),
        variant: ids[0].variant.clone(),
        selected: ids.iter().map(testcase).collect(),
        deselected: 5,
        reimported_because: None,
    }
}

/// Returns the events that list every testcase of these results, as often as it has one.
pub(super) fn listed_of(results: &[TestcaseResult]) -> Vec<Event> {
    let first = results.iter().filter(|it| it.attempt == 1);
    let ids = first.map(|it| it.id.clone()).collect::<Vec<_>>();
    let mut ids = ids.iter().filter(|id| !id.is_whole_module()).peekable();
    if ids.peek().is_none() {
        return Vec::new();
    }
    let mut event = listed(&ids.cloned().collect::<Vec<_>>());
    if let Event::ModuleListed { deselected, .. } = &mut event {
        *deselected = 0;
    }
    vec![event]
}

/// Returns a whole session of these results, all planned.
pub(super) fn session_of(results: Vec<TestcaseResult>, exit_code: ExitCode) -> Vec<Event> {
    let mut state = SessionState::default();
    let mut events = vec![session_started(1)];
    events.extend(listed_of(&results));
    events.extend(results.into_iter().map(finished));
    for event in &events {
        state.take(event);
    }
    events.push(session_finished(exit_code, state.counts()));
    events
}

/// Gives a report the events and the state after each.
pub(super) fn feed(report: &mut dyn Report, state: &mut SessionState, events: &[Event]) {
    for event in events {
        state.take(event);
        report.on_event(event, state);
    }
}

pub(super) fn finished(result: TestcaseResult) -> Event {
    Event::TestcaseFinished(Box::new(result))
}

pub(super) fn compile_error() -> Diagnostic {
    Diagnostic::error(
        Code::BuildCompile,
        "`iverilog` could not compile build `broken`",
    )
    .fact("hdl/broken.sv:3: \u{1b}[31msyntax error\u{1b}[0m")
    .fact("log: /p/sim_build/build.log")
    .help("read the log")
}

/// Returns every kind of event once at least; `log` is the log of all runs.
pub(super) fn session(log: &Utf8Path) -> Vec<Event> {
    let mut events = vec![session_started(3)];
    events.extend(build_events("fifo", "icarus", BuildOutcome::Built));
    let uart = "uart/BAUD=9600@verilator";
    let [started, done] = build_events(uart, "verilator", BuildOutcome::BuiltElsewhere);
    let waiting = Event::BuildWaiting {
        build: BuildName(uart.to_owned()),
        holder: BuildHolder {
            name: "pid 41822 on node07 (anna)".to_owned(),
            since: Some("07:41:33".to_owned()),
            words:
                "pid 41822 on node07 (anna) since 2026-11-21 07:41:33; last sign of life 2 s ago"
                    .to_owned(),
            doing: Some("running verilator: g++ -c \u{1b}[1mVtop.cpp".to_owned()),
        },
        waited: Duration::from_secs(2),
    };
    events.extend([started, waiting.clone(), waiting, done]);
    let failure = BuildOutcome::Failed(Box::new(compile_error()));
    events.extend(build_events("broken", "icarus", failure));
    events.push(Event::Notice(Box::new(Diagnostic::warning(
        Code::TestNoTestcases,
        "`tests.test_empty` holds no testcase",
    ))));
    let ids: Vec<TestcaseId> = TABLE
        .iter()
        .filter(|row| row.module == "tests.test_fifo")
        .map(Expected::id)
        .collect();
    events.push(listed(&ids));
    events.push(Event::RunStarted {
        run: 1,
        slot: 0,
        build: ids[0].build.clone(),
        testcases: ids.clone(),
        dir: "/p/runs/1".into(),
        origin: RunOrigin::default(),
    });
    for row in TABLE {
        let testcase = row.id();
        // What was not run never began.
        if row.outcome != Outcome::NotRun {
            events.push(Event::TestcaseStarted {
                run: 1,
                slot: 0,
                testcase,
            });
        }
        let mut result = result(row, log);
        if row.testcase == "flaky" {
            let mut first = result.clone();
            first.outcome = Outcome::Failed;
            first.cause = Some(Cause::Test);
            first.message = Some("lost the first time".to_owned());
            events.push(finished(first));
            result.attempt = 2;
        }
        if row.outcome == Outcome::NotRun {
            events.push(Event::Stopping {
                reason: "interrupted by SIGINT".to_owned(),
            });
        }
        events.push(finished(result));
    }
    events.push(Event::RunFinished {
        run: 1,
        slot: 0,
        verdict: RunVerdict::Crashed,
        duration: Duration::from_secs(2),
    });
    events.push(session_finished(ExitCode::Signal(2), counts()));
    events
}

/// A clock that stands still until it is told to go on.
pub(super) struct StillClock {
    start: Instant,
    passed: Mutex<Duration>,
}

impl StillClock {
    #[expect(
        clippy::disallowed_methods,
        reason = "an instant to count from; it never advances"
    )]
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            start: Instant::now(),
            passed: Mutex::new(Duration::ZERO),
        })
    }

    pub(super) fn pass(&self, duration: Duration) {
        *self.passed.lock().expect("no test panics holding it") += duration;
    }
}

impl Clock for StillClock {
    fn now(&self) -> Instant {
        self.start + *self.passed.lock().expect("no test panics holding it")
    }

    fn wall(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_000_000)
    }

    fn sleep(&self, duration: Duration) {
        self.pass(duration);
    }
}

/// A stream that keeps what is written.
#[derive(Clone, Default)]
pub(super) struct Sink(Arc<Mutex<Vec<u8>>>);

impl Sink {
    pub(super) fn bytes(&self) -> Vec<u8> {
        self.0.lock().expect("no test panics holding it").clone()
    }

    pub(super) fn text(&self) -> String {
        String::from_utf8(self.bytes()).expect("reports write UTF-8")
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0
            .lock()
            .expect("no test panics holding it")
            .extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A stream that can no longer be written to.
pub(super) struct Broken(pub(super) io::ErrorKind);

impl Write for Broken {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(self.0.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Err(self.0.into())
    }
}

/// Returns a directory with a log in it that is not UTF-8 and has control characters.
pub(super) fn log_file() -> (tempfile::TempDir, Utf8PathBuf) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = Utf8PathBuf::from_path_buf(dir.path().join("sim.log")).expect("UTF-8");
    let log = b"first line\n\xff\xfe binary \x01 \x1b[31mred\x1b[0m \x1b[2J ]]> <&>\nlast line\n";
    crate::edge::fs::write(&path, log).expect("a log");
    (dir, path)
}

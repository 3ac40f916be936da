//! The JUnit report: one XML document, whole or not at all, in the form that CI servers read.
//!
//! One suite per build and test module, one testcase per testcase; the last attempt decides.
//! Whatever keeps a session from being a success is in the file as a failure or an error: a build
//! that failed, an interruption, a testcase whose verdict never came. A file without failures and
//! errors means exit code 0. A module that a failed build kept from running is named by the error of
//! that build: its testcases are not known, and it is not one. It is this session's from the moment that the command line is known: a
//! placeholder says that the session has not ended, since a CI server would otherwise collect the
//! green results of an earlier one. A pipe, socket or device gets one document, at the end.
//!
//! Against the XSD that Jenkins publishes (`junit-10.xsd`), the file has these extras, all of which
//! other readers use: `file`, `line` and `properties` of a testcase; `skipped` and `timestamp` of
//! `testsuites`, which quick-junit always writes.

use crate::diagnostic::Code;
use crate::diagnostic::Diagnostic;
use crate::diagnostic::Result;
use crate::diagnostic::Severity;
use crate::diagnostic::render;
use crate::edge::clock::Clock;
use crate::edge::output_file::OutputFile;
use crate::event::BuildOutcome;
use crate::event::Event;
use crate::event::SessionState;
use crate::model::build::BuildName;
use crate::model::exit_code::ExitCode;
use crate::model::outcome::Cause;
use crate::model::outcome::OrderDependence;
use crate::model::outcome::Outcome;
use crate::model::outcome::TestcaseResult;
use crate::report::consumer::Report;
use crate::report::log;
use crate::report::text;
use crate::report::wording;

use camino::Utf8Path;
use chrono::DateTime;
use chrono::FixedOffset;
use chrono::Utc;
use quick_junit::NonSuccessKind;
use quick_junit::Property;
use quick_junit::TestCase;
use quick_junit::TestCaseStatus;
use quick_junit::TestRerun;
use quick_junit::TestSuite;
use quick_junit::XmlString;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Where the JUnit report goes and what it cannot know by itself.
#[derive(Clone, Debug)]
pub struct JunitOptions {
    /// Where it goes.
    pub file: Arc<OutputFile>,
    /// The name of this machine, for a report without a session.
    pub hostname: String,
}

/// How much of a failed testcase's log goes into the file, in bytes.
const SYSTEM_OUT_BYTES_MAX: u64 = 1024 * 1024;
/// How much of all logs and tracebacks together goes into the file. CI servers refuse much larger
/// files, and nobody reads ten thousand logs.
const QUOTED_BYTES_TOTAL_MAX: u64 = 32 * 1024 * 1024;
/// How much of one traceback goes into the file, in bytes.
const DESCRIPTION_BYTES_MAX: usize = 64 * 1024;
/// How much of it when the limit for all is used up.
const DESCRIPTION_BYTES_MIN: usize = 2 * 1024;
/// How long the `message` attribute may be, in cells; the text of the element has more of it.
const MESSAGE_COLUMNS_MAX: usize = 1000;
/// The suite for what concerns no build and no module.
const SESSION_SUITE: &str = "cocorun";
/// The name of the testcase that stands for a failed build.
const FAILED_BUILD: &str = "build";

/// Writes the session as JUnit XML.
pub struct JunitReport {
    options: JunitOptions,
    clock: Arc<dyn Clock>,
    suites: BTreeMap<String, Suite>,
    /// The modules that each failed build kept from running.
    lost_modules: BTreeMap<BuildName, Vec<String>>,
    /// How much of logs and tracebacks may still be quoted.
    quotable_bytes: u64,
    clean: CleanTexts,
}

/// Texts that recur in every testcase, cleaned once: quick-junit passes each character of a text
/// through a terminal's parser, which took two thirds of the time of a large report.
#[derive(Default)]
struct CleanTexts(BTreeMap<String, XmlString>);

impl CleanTexts {
    fn xml(&mut self, text: &str) -> XmlString {
        if let Some(known) = self.0.get(text) {
            return known.clone();
        }
        let clean = XmlString::new(&*text::visible(text));
        self.0.insert(text.to_owned(), clean.clone());
        clean
    }

    fn property(&mut self, name: &str, value: impl Into<XmlString>) -> Property {
        Property {
            name: self.xml(name),
            value: value.into(),
        }
    }
}

/// A suite that grows.
struct Suite {
    xml: TestSuite,
    /// The outcome of each testcase's last attempt, in the suite's order.
    outcomes: Vec<Outcome>,
    duration: Duration,
}

impl JunitReport {
    /// Makes the report; it is written by [`Report::finish`].
    pub fn new(options: JunitOptions, clock: Arc<dyn Clock>) -> Self {
        Self {
            options,
            clock,
            suites: BTreeMap::new(),
            lost_modules: BTreeMap::new(),
            quotable_bytes: QUOTED_BYTES_TOTAL_MAX,
            clean: CleanTexts::default(),
        }
    }

    fn now(&self) -> DateTime<FixedOffset> {
        DateTime::<Utc>::from(self.clock.wall()).fixed_offset()
    }

    /// Returns the suite of this name, made with its properties if it is new.
    fn suite(&mut self, name: &str, build: Option<&BuildName>, state: &SessionState) -> &mut Suite {
        if !self.suites.contains_key(name) {
            let mut xml = TestSuite::new(&*text::visible(name));
            xml.set_timestamp(self.now());
            let (hostname, version) = match state.started() {
                Some(session) => (&*session.host, &*session.cocorun),
                None => (&*self.options.hostname, env!("CARGO_PKG_VERSION")),
            };
            xml.extra
                .insert("hostname".into(), (&*text::visible(hostname)).into());
            xml.add_property(("cocorun", &*text::visible(version)));
            if let Some(build) = build {
                xml.add_property(("build", &*text::visible(build.as_str())));
                if let Some(simulator) = state.simulator(build) {
                    xml.add_property(("simulator", simulator.as_str()));
                }
            }
            if let Some(session) = state.started() {
                xml.add_property(("seed", &*session.seed.to_string()));
            }
            let suite = Suite {
                xml,
                outcomes: Vec::new(),
                duration: Duration::ZERO,
            };
            self.suites.insert(name.to_owned(), suite);
        }
        self.suites
            .get_mut(name)
            .expect("it was put there just now")
    }

    /// Adds a problem of the session as a whole.
    fn add_session_problem(&mut self, name: &str, problem: &Diagnostic, state: &SessionState) {
        let testcase = problem_testcase(SESSION_SUITE, name, problem);
        let suite = self.suite(SESSION_SUITE, None, state);
        suite.xml.add_test_case(testcase);
        suite.outcomes.push(Outcome::Errored);
    }

    /// Adds a failed build, as an error of a suite of its own.
    fn add_failed_build(
        &mut self,
        build: &BuildName,
        problem: &Diagnostic,
        took: Duration,
        log: Option<&Utf8Path>,
        state: &SessionState,
    ) {
        let name = build.to_string();
        let problem = wording::build_problem(problem, build, state.started());
        let mut testcase = problem_testcase(&name, FAILED_BUILD, &problem);
        testcase.set_time(took);
        if let Some(log) = log {
            testcase.add_property(("log", &*text::visible(log.as_str())));
            if let Some(quoted) = self.quote_log(log, 0, u64::MAX) {
                testcase.set_system_out(quoted);
            }
        }
        let suite = self.suite(&name, Some(build), state);
        suite.xml.add_test_case(testcase);
        suite.outcomes.push(Outcome::Errored);
        suite.duration += took;
        self.lost_modules.insert(build.clone(), Vec::new());
    }

    fn add_result(&mut self, result: &TestcaseResult, state: &SessionState) {
        if result.cause == Some(Cause::Build)
            && result.id.is_whole_module()
            && let Some(modules) = self.lost_modules.get_mut(&result.id.build)
        {
            modules.push(result.id.module_in_variant().to_string());
            return;
        }
        let name = wording::group(&result.id);
        let testcase = self.testcase(result, &name, state);
        let suite = self.suite(&name, Some(&result.id.build), state);
        suite.duration += result.duration;
        let former = (result.attempt > 1)
            .then(|| {
                suite
                    .xml
                    .test_cases
                    .iter()
                    .rposition(|known| known.name == testcase.name)
            })
            .flatten();
        if let Some(at) = former {
            let former = std::mem::replace(&mut suite.xml.test_cases[at], testcase);
            keep_former_attempts(&mut suite.xml.test_cases[at].status, former);
            suite.outcomes[at] = result.outcome;
        } else {
            suite.xml.test_cases.push(testcase);
            suite.outcomes.push(result.outcome);
        }
    }

    /// Adds to a failure that the testcase passes after others.
    fn add_order_dependence(&mut self, found: &OrderDependence) {
        let words = wording::order_dependence(found);
        let suite = wording::group(&found.testcase);
        self.add_to_description(&suite, &found.testcase.testcase, &words);
    }

    /// Names the modules that could not run with the builds that failed.
    fn add_lost_modules(&mut self) {
        for (build, modules) in std::mem::take(&mut self.lost_modules) {
            if !modules.is_empty() {
                let names = text::visible(&modules.join(", ")).into_owned();
                let number = text::count(modules.len(), "module");
                let words = format!("{number} could not run: {names}");
                self.add_to_description(build.as_str(), FAILED_BUILD, &words);
            }
        }
    }

    /// Adds words to the text of a failure.
    fn add_to_description(&mut self, suite: &str, testcase: &str, words: &str) {
        let Some(suite) = self.suites.get_mut(suite) else {
            return;
        };
        let name = text::visible(testcase);
        let mut testcases = suite.xml.test_cases.iter_mut().rev();
        if let Some(testcase) = testcases.find(|known| known.name.as_str() == name)
            && let TestCaseStatus::NonSuccess { description, .. } = &mut testcase.status
        {
            let former = description
                .as_ref()
                .map_or("", XmlString::as_str)
                .trim_end();
            *description = Some(format!("{former}\n\n{words}").into());
        }
    }

    fn testcase(&mut self, result: &TestcaseResult, suite: &str, state: &SessionState) -> TestCase {
        let status = self.status(result, state);
        let mut testcase = TestCase::new(&*text::visible(&result.id.testcase), status);
        testcase.classname = Some(self.clean.xml(suite));
        testcase.set_time(result.duration);
        testcase.extra.reserve(2);
        if let Some(file) = &result.file {
            testcase
                .extra
                .insert(self.clean.xml("file"), self.clean.xml(file.as_str()));
        }
        if let Some(line) = result.line {
            testcase
                .extra
                .insert(self.clean.xml("line"), self.clean.xml(&line.to_string()));
        }
        testcase.properties = properties(result, state.code_of(result), &mut self.clean);
        if !result.outcome.is_good()
            && let Some(span) = &result.log
            && let Some(quoted) = self.quote_log(&span.path, span.start, span.end)
        {
            testcase.set_system_out(quoted);
        }
        testcase
    }

    fn status(&mut self, result: &TestcaseResult, state: &SessionState) -> TestCaseStatus {
        let message = wording::message_line(result);
        let mut status = match result.outcome {
            Outcome::Passed => return TestCaseStatus::success(),
            Outcome::Skipped => TestCaseStatus::skipped(),
            Outcome::Failed => TestCaseStatus::non_success(NonSuccessKind::Failure),
            Outcome::Errored | Outcome::TimedOut | Outcome::NotRun => {
                TestCaseStatus::non_success(NonSuccessKind::Error)
            }
        };
        let message = message.as_deref().unwrap_or(result.outcome.word());
        status.set_message(&*text::cut_end(message, MESSAGE_COLUMNS_MAX));
        if let Some(code) = state.code_of(result) {
            // The exception's type is what people group failures by; ours where there is none.
            let kind = result.error_type.as_deref().map(text::first_line);
            status.set_type(
                kind.as_deref()
                    .filter(|kind| !kind.is_empty())
                    .unwrap_or(code.name()),
            );
            let prefix = state.started().map_or("", |session| &session.rerun_prefix);
            status.set_description(self.description(result, prefix));
        }
        status
    }

    /// Returns message, traceback and the command that repeats it.
    fn description(&mut self, result: &TestcaseResult, rerun_prefix: &str) -> String {
        let mut description = wording::headline(result);
        let parts = [
            wording::long_message(result),
            wording::further_details(result),
        ];
        for part in parts
            .into_iter()
            .flatten()
            .map(str::trim_end)
            .filter(|part| !part.is_empty())
        {
            let limit = if self.quotable_bytes == 0 {
                DESCRIPTION_BYTES_MIN
            } else {
                DESCRIPTION_BYTES_MAX
            };
            let part = text::last_bytes(part, limit);
            self.quotable_bytes = self.quotable_bytes.saturating_sub(part.len() as u64);
            description.push_str("\n\n");
            description.push_str(&text::visible(part));
        }
        description.push_str("\n\nrerun: ");
        description.push_str(&wording::rerun_command(rerun_prefix, result));
        description
    }

    /// Returns the last part of a log, fit for XML, while the budget for all logs lasts.
    fn quote_log(&mut self, path: &Utf8Path, start: u64, end: u64) -> Option<String> {
        if self.quotable_bytes == 0 {
            return Some(format!("(left out to keep this file small; see {path})"));
        }
        let limit = SYSTEM_OUT_BYTES_MAX.min(self.quotable_bytes);
        let (part, is_cut) = log::last_part(path, start, end, limit);
        if part.is_empty() {
            return None;
        }
        self.quotable_bytes = self.quotable_bytes.saturating_sub(part.len() as u64);
        let clean = text::visible(&part);
        Some(if is_cut {
            format!(
                "(the last {} bytes; all of it is in {path})\n{clean}",
                part.len()
            )
        } else {
            clean.into_owned()
        })
    }

    /// Adds what keeps the session from being a success and is not in the file yet.
    fn add_session_problems(&mut self, state: &SessionState) {
        let exit = state.finished().map(|end| end.exit_code);
        let mut problems = Vec::new();
        if let Some(reason) = state.stopping() {
            let message = format!("the session was stopped: {}", text::first_line(reason));
            let code = match exit {
                Some(ExitCode::Signal(_)) | None => Code::SessionInterrupted,
                Some(_) => Code::SessionTimeout,
            };
            problems.push(Diagnostic::error(code, message));
        }
        let contradictions = state.contradictions();
        problems.extend(contradictions.iter().map(wording::contradiction));
        let is_green = self
            .suites
            .values()
            .flat_map(|suite| &suite.outcomes)
            .all(|o| o.is_good());
        if is_green && problems.is_empty() && !state.is_success() {
            problems.push(match exit.map_or(0, ExitCode::code) {
                4 => Diagnostic::error(Code::NothingSelected, "no testcase was selected"),
                other => {
                    let message = format!("the session ended with exit code {other}");
                    Diagnostic::error(Code::TestNoResult, message)
                }
            });
        }
        for (number, problem) in problems.iter().enumerate() {
            let name = if number == 0 {
                "session".to_owned()
            } else {
                format!("session-{number}")
            };
            self.add_session_problem(&name, problem, state);
        }
    }

    fn report(&mut self, state: &SessionState) -> quick_junit::Report {
        let mut report = quick_junit::Report::new("cocorun");
        if let Some(session) = state.started()
            && let Ok(at) = DateTime::parse_from_rfc3339(&session.started_at)
        {
            report.set_timestamp(at);
        }
        if let Some(end) = state.finished() {
            report.set_time(end.duration);
        }
        for (_, mut done) in std::mem::take(&mut self.suites) {
            // quick-junit counts what is added; what a later attempt replaced must not count.
            let testcases = std::mem::take(&mut done.xml.test_cases);
            (done.xml.tests, done.xml.errors, done.xml.failures) = (0, 0, 0);
            done.xml.skipped = 0;
            done.xml.add_test_cases(testcases);
            done.xml.set_time(done.duration);
            report.add_test_suite(done.xml);
        }
        report
    }
}

/// Returns the properties of a testcase.
fn properties(
    result: &TestcaseResult,
    code: Option<Code>,
    clean: &mut CleanTexts,
) -> Vec<Property> {
    let seed = clean.xml(&result.seed.to_string());
    let attempt = clean.xml(&result.attempt.to_string());
    let mut properties = vec![
        clean.property("seed", seed),
        clean.property("attempt", attempt),
    ];
    let mut add = |name: &str, value: Option<&str>| {
        if let Some(value) = value {
            properties.push(clean.property(name, &*text::visible(value)));
        }
    };
    add("cause", result.cause.map(Cause::name));
    add("code", code.map(Code::name));
    add(
        "expected_failure",
        result.expected_failure.then_some("true"),
    );
    let sim_time = result
        .sim_time_ns
        .filter(|ns| ns.is_finite())
        .map(|ns| ns.to_string());
    add("sim_time_ns", sim_time.as_deref());
    add("log", result.log.as_ref().map(|span| span.path.as_str()));
    add("waves", result.waves.as_ref().map(|path| path.as_str()));
    properties
}

/// Carries the bad attempts before the last one over, as what Maven calls flaky or rerun.
fn keep_former_attempts(status: &mut TestCaseStatus, former: TestCase) {
    let TestCaseStatus::NonSuccess {
        kind,
        message,
        ty,
        description,
        reruns,
    } = former.status
    else {
        return;
    };
    if matches!(status, TestCaseStatus::Skipped { .. }) {
        return;
    }
    let mut rerun = TestRerun::new(kind);
    rerun.time = former.time;
    rerun.message = message;
    rerun.ty = ty;
    rerun.description = description;
    rerun.system_out = former.system_out;
    status.add_reruns(reruns.runs);
    status.add_rerun(rerun);
}

/// Returns an error that is not a testcase of the user's.
fn problem_testcase(suite: &str, name: &str, problem: &Diagnostic) -> TestCase {
    let mut status = TestCaseStatus::non_success(NonSuccessKind::Error);
    status.set_message(&*text::first_line(&problem.message));
    status.set_type(problem.code.name());
    status.set_description(&*text::visible(&render::to_text(problem, false)));
    let mut testcase = TestCase::new(name, status);
    testcase.set_classname(&*text::visible(suite));
    testcase.set_time(Duration::ZERO);
    testcase
}

impl Report for JunitReport {
    fn on_event(&mut self, event: &Event, state: &SessionState) {
        match event {
            Event::BuildFinished {
                build,
                outcome: BuildOutcome::Failed(problem),
                duration,
                log,
                ..
            } => self.add_failed_build(build, problem, *duration, log.as_deref(), state),
            // The suite's timestamp is the start of its first run.
            Event::RunStarted { testcases, .. } => {
                for id in testcases {
                    self.suite(&wording::group(id), Some(&id.build), state);
                }
            }
            Event::TestcaseFinished(result) => self.add_result(result, state),
            Event::OrderDependence(found) => self.add_order_dependence(found),
            Event::Notice(problem) if problem.severity == Severity::Error => {
                self.add_session_problem(problem.code.name(), problem, state);
            }
            _ => {}
        }
    }

    /// Writes the document: whole, or an earlier file of that name stays as it is.
    fn finish(&mut self, state: &SessionState) -> Result<()> {
        self.add_lost_modules();
        self.add_session_problems(state);
        self.write(state)
    }
}

impl JunitReport {
    /// Writes a placeholder that says that the session has not ended. It stays only if the session
    /// is killed. What can be written only once is left alone.
    ///
    /// # Errors
    /// The file cannot be written, so the report could not be either.
    pub fn write_placeholder(self) -> Result<()> {
        if !self.options.file.is_replaceable() {
            return Ok(());
        }
        let text = "the session has not ended: it is still running, or it was killed";
        self.write_errors(&[Diagnostic::error(Code::SessionInterrupted, text)])
    }

    /// Writes what ended the session before it had anything to report.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write_errors(mut self, problems: &[Diagnostic]) -> Result<()> {
        let state = SessionState::default();
        for problem in problems {
            self.add_session_problem(problem.code.name(), problem, &state);
        }
        self.write(&state)
    }

    fn write(&mut self, state: &SessionState) -> Result<()> {
        let report = self.report(state);
        let mut bytes = Vec::new();
        let file = &self.options.file;
        report.serialize(&mut bytes).map_err(|error| {
            let message = format!("cannot write the JUnit report `{}`: {error}", file.path());
            Diagnostic::error(Code::ReportUnwritable, message)
        })?;
        let written = file.publish(&bytes);
        written.map_err(|error| unwritable(file.path(), &error).into())
    }
}

/// Returns the error that a report cannot be written at this path.
pub fn unwritable(path: &Utf8Path, error: &crate::edge::Error) -> Diagnostic {
    let message = format!("cannot write the JUnit report `{path}`");
    Diagnostic::error(Code::ReportUnwritable, message).fact(&error.message)
}

#[cfg(test)]
mod tests;

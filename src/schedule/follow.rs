//! Follows one simulator process, of a run or a listing, from its start to its end.
//!
//! Invariants: all limits are set and compared by the session's clock; whatever the process has
//! started is gone when this returns; a line that cannot be read is reported, never dropped.

use crate::agent::event::RunEvent;
use crate::agent::event::Unreadable;
use crate::agent::event::read_run_event;
use crate::diagnostic::Code;
use crate::diagnostic::Diagnostic;
use crate::edge::fs;
use crate::edge::interrupt::StopReason;
use crate::edge::process::Process;
use crate::edge::process::ProcessEvent;
use crate::edge::process::await_event;
use crate::schedule::context::TaskContext;
use crate::schedule::folder::RunFolder;
use crate::schedule::group::Group;
use crate::schedule::hang;
use crate::schedule::judge::Hang;
use crate::schedule::judge::ProcessEnd;
use crate::schedule::run_log;

use std::time::Duration;
use std::time::Instant;

/// Time from SIGTERM to SIGKILL, in which a simulator can close its wave file.
const KILL_GRACE: Duration = Duration::from_millis(500);

/// How many warnings a process may cause: a testcase may write to the pipe without end.
const WARNINGS_MAX: usize = 5;

/// Receives the events of a process.
pub(super) trait Consumer {
    /// Takes one event, at this moment. Returns the limit for what follows; `None` keeps the
    /// current limit.
    fn take(&mut self, event: RunEvent, now: Instant) -> Option<Duration>;

    /// Learns that the agent speaks another protocol: no more events will come.
    fn not_understood(&mut self, why: String);
}

/// How a process ended, with what was found out about it.
pub(super) struct Followed {
    pub(super) end: ProcessEnd,
    /// The log's size when killing the process began; `None` if it ended by itself.
    pub(super) killed_at: Option<u64>,
    /// What it answered at its limit.
    pub(super) hang: Option<Hang>,
    /// Warnings to report.
    pub(super) warnings: Vec<Diagnostic>,
}

/// Follows a process to its end; its first limit is that of the group's testcases.
pub(super) fn follow(
    context: &TaskContext<'_>,
    group: &Group,
    folder: &RunFolder,
    mut process: Box<dyn Process>,
    consumer: &mut dyn Consumer,
) -> Followed {
    let mut reader = Reader {
        consumer,
        agent_pid: None,
        is_understood: true,
        warnings: Vec::new(),
        further_warnings: 0,
    };
    let mut until = context.clock().now() + group.settings.timeout;
    let end = loop {
        let next_limit = context.ends_at.map_or(until, |end| end.min(until));
        // What was written before the limit counts, however late it is read.
        match await_event(process.as_mut(), context.clock(), next_limit) {
            Some(ProcessEvent::Line(line)) => {
                let now = context.clock().now();
                match reader.read(&line, now) {
                    LineRead::Event(allowed) => until = allowed.map_or(until, |it| now + it),
                    LineRead::Nothing => {}
                }
            }
            Some(ProcessEvent::Exited(exit)) => break ProcessEnd::Exited(exit),
            Some(ProcessEvent::Lost) => break ProcessEnd::Lost,
            Some(ProcessEvent::Stop(reason)) => break ProcessEnd::Stopped(reason),
            None if context.is_over() => {
                context.interrupt().raise(StopReason::SessionLimit);
                let reason = context.interrupt().raised();
                break ProcessEnd::Stopped(reason.unwrap_or(StopReason::SessionLimit));
            }
            None => break ProcessEnd::TimedOut,
        }
    };
    let log = &folder.log;
    let is_killed = matches!(end, ProcessEnd::TimedOut | ProcessEnd::Stopped(_));
    let killed_at = is_killed.then(|| run_log::size(log));
    let mut hang = (end == ProcessEnd::TimedOut).then(|| {
        let simulator = group.simulator.as_ref();
        hang::ask(
            process.as_mut(),
            context.clock(),
            log,
            reader.agent_pid,
            simulator,
        )
    });
    let mut late = Vec::new();
    process.end_tree(KILL_GRACE, &mut late);
    drop(process);
    // Events that could not go through the pipe.
    let text = fs::read_if_there(&folder.event_file).unwrap_or_default();
    let late = late.iter().map(String::as_str).chain(text.lines());
    match &mut hang {
        Some(hang) if hang.waiting.is_none() => hang.waiting = hang::answer_in(late),
        None if matches!(end, ProcessEnd::Exited(_)) => {
            for line in late {
                reader.read(line, context.clock().now());
            }
        }
        _ => {}
    }
    let build = format!("build `{}`", group.design.name);
    let warnings = reader.all_warnings().into_iter();
    Followed {
        end,
        killed_at,
        hang,
        warnings: warnings
            .map(|words| Diagnostic::warning(Code::TestAgent, words).fact(build.clone()))
            .collect(),
    }
}

/// Reads the agent's lines.
struct Reader<'a> {
    consumer: &'a mut dyn Consumer,
    /// The process that sent the agent's hello.
    agent_pid: Option<u32>,
    is_understood: bool,
    warnings: Vec<String>,
    /// How many warnings are left out of `warnings`.
    further_warnings: usize,
}

/// What a line was.
enum LineRead {
    /// An event, and the limit for what follows.
    Event(Option<Duration>),
    /// Unreadable.
    Nothing,
}

impl Reader<'_> {
    fn warn(&mut self, words: String) {
        if self.warnings.len() < WARNINGS_MAX {
            self.warnings.push(words);
        } else {
            self.further_warnings += 1;
        }
    }

    fn all_warnings(self) -> Vec<String> {
        let mut all = self.warnings;
        if self.further_warnings > 0 {
            all.push(format!(
                "{} more warnings like these",
                self.further_warnings
            ));
        }
        all
    }

    fn read(&mut self, line: &str, now: Instant) -> LineRead {
        if !self.is_understood {
            return LineRead::Nothing;
        }
        match read_run_event(line) {
            Ok(event) => {
                match &event {
                    RunEvent::Hello(hello) => self.agent_pid = self.agent_pid.or(hello.pid),
                    RunEvent::AgentError(error) => self.warn(error.in_words()),
                    _ => {}
                }
                LineRead::Event(self.consumer.take(event, now))
            }
            // An empty line ends the rest of a line that a signal has split.
            Err(_) if line.is_empty() => LineRead::Nothing,
            Err(why) => {
                if let Unreadable::Protocol(_) = why {
                    self.is_understood = false;
                    self.consumer.not_understood(why.to_string());
                }
                self.warn(why.to_string());
                LineRead::Nothing
            }
        }
    }
}

//! Follows one simulator process, of a run or a listing, from its start to its end.
//!
//! Invariants: all limits are set and compared by the session's clock; whatever the process has
//! started is gone when this returns, unless it serves; a line that cannot be read is reported, never
//! dropped.

use crate::agent::event::RunEvent;
use crate::agent::event::Unreadable;
use crate::agent::event::read_run_event;
use crate::diagnostic::Code;
use crate::diagnostic::Diagnostic;
use crate::edge::fs;
use crate::edge::interrupt::StopReason;
use crate::edge::process::Exit;
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

impl Followed {
    /// Returns the end of a listing whose process now serves.
    pub(super) fn listed(warnings: Vec<Diagnostic>) -> Self {
        Self {
            end: ProcessEnd::Exited(Exit::Code(0)),
            killed_at: None,
            hang: None,
            warnings,
        }
    }
}

/// What became of a process that lists a module and may serve it then.
pub(super) enum ListingEnd {
    /// It is gone.
    Gone(Followed),
    /// It serves; with the warnings so far.
    Serving(Box<dyn Process>, Vec<Diagnostic>),
}

/// Follows a process to its end; its first limit is that of the group's testcases.
pub(super) fn follow(
    context: &TaskContext<'_>,
    group: &Group,
    folder: &RunFolder,
    mut process: Box<dyn Process>,
    consumer: &mut dyn Consumer,
) -> Followed {
    let mut reader = Reader::new(consumer);
    let end = attend(context, group, process.as_mut(), &mut reader, false);
    let end = end.unwrap_or_else(|| unreachable!("whether it serves was not asked"));
    close(context, group, folder, process, reader, end)
}

/// Follows a process to its end, or until it serves.
pub(super) fn follow_until_serving(
    context: &TaskContext<'_>,
    group: &Group,
    folder: &RunFolder,
    mut process: Box<dyn Process>,
    consumer: &mut dyn Consumer,
) -> ListingEnd {
    let mut reader = Reader::new(consumer);
    match attend(context, group, process.as_mut(), &mut reader, true) {
        Some(end) => ListingEnd::Gone(close(context, group, folder, process, reader, end)),
        None => ListingEnd::Serving(process, reader.all_warnings(group)),
    }
}

/// Reads what a process sends until it ends, or must; `None` as soon as it serves, if that is
/// expected of it.
fn attend(
    context: &TaskContext<'_>,
    group: &Group,
    process: &mut dyn Process,
    reader: &mut Reader<'_>,
    may_serve: bool,
) -> Option<ProcessEnd> {
    let mut until = context.clock().now() + group.settings.timeout;
    loop {
        let next_limit = context.ends_at.map_or(until, |end| end.min(until));
        // What was written before the limit counts, however late it is read.
        let end = match await_event(process, context.clock(), next_limit) {
            Some(ProcessEvent::Line(line)) => {
                let now = context.clock().now();
                match reader.read(&line, now) {
                    LineRead::Event(allowed) => until = allowed.map_or(until, |it| now + it),
                    LineRead::Serving if may_serve => return None,
                    // A testcase may write to the pipe.
                    LineRead::Serving | LineRead::Nothing => {}
                }
                continue;
            }
            Some(ProcessEvent::Exited(exit)) => ProcessEnd::Exited(exit),
            Some(ProcessEvent::Lost) => ProcessEnd::Lost,
            Some(ProcessEvent::Stop(reason)) => ProcessEnd::Stopped(reason),
            None if context.is_over() => {
                context.interrupt().raise(StopReason::SessionLimit);
                let reason = context.interrupt().raised();
                ProcessEnd::Stopped(reason.unwrap_or(StopReason::SessionLimit))
            }
            None => ProcessEnd::TimedOut,
        };
        return Some(end);
    }
}

/// Ends what is left of a process, and takes its last words.
fn close(
    context: &TaskContext<'_>,
    group: &Group,
    folder: &RunFolder,
    mut process: Box<dyn Process>,
    mut reader: Reader<'_>,
    end: ProcessEnd,
) -> Followed {
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
    Followed {
        end,
        killed_at,
        hang,
        warnings: reader.all_warnings(group),
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
    /// It serves from now on.
    Serving,
    /// Unreadable.
    Nothing,
}

impl<'a> Reader<'a> {
    fn new(consumer: &'a mut dyn Consumer) -> Self {
        Self {
            consumer,
            agent_pid: None,
            is_understood: true,
            warnings: Vec::new(),
            further_warnings: 0,
        }
    }

    fn warn(&mut self, words: String) {
        if self.warnings.len() < WARNINGS_MAX {
            self.warnings.push(words);
        } else {
            self.further_warnings += 1;
        }
    }

    fn all_warnings(self, group: &Group) -> Vec<Diagnostic> {
        let mut all = self.warnings;
        if self.further_warnings > 0 {
            all.push(format!(
                "{} more warnings like these",
                self.further_warnings
            ));
        }
        let build = format!("build `{}`", group.design.name);
        let warning = |words| Diagnostic::warning(Code::TestAgent, words).fact(build.clone());
        all.into_iter().map(warning).collect()
    }

    fn read(&mut self, line: &str, now: Instant) -> LineRead {
        if !self.is_understood {
            return LineRead::Nothing;
        }
        match read_run_event(line) {
            Ok(RunEvent::Serving { .. }) => LineRead::Serving,
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

//! A cocorun that runs while the test looks at it and sends it signals.

use std::io::BufRead as _;
use std::io::BufReader;
use std::io::Read as _;
use std::os::unix::process::CommandExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::sync::mpsc;
use std::thread;
use std::thread::JoinHandle;
use std::time::Duration;
use std::time::Instant;

use nix::sys::signal::Signal;
use nix::sys::signal::kill;
use nix::sys::signal::killpg;
use nix::unistd::Pid;
use serde_json::Value;

/// Nothing that a test waits for takes so long, even on a slow machine.
const PATIENCE: Duration = Duration::from_secs(90);

/// A running cocorun, in a process group of its own as a shell would start it.
pub(crate) struct Live {
    child: Child,
    lines: mpsc::Receiver<String>,
    stderr: Option<JoinHandle<String>>,
    events: Vec<Value>,
}

/// What is left of it.
pub(crate) struct Ended {
    /// The exit code as a shell shows it: 128+n for a signal.
    pub(crate) code: i32,
    /// Every event of its life.
    pub(crate) events: Vec<Value>,
    /// Standard error.
    pub(crate) stderr: String,
}

impl Live {
    /// Starts it; the command must ask for `--format json`.
    pub(crate) fn start(command: &mut Command) -> Self {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()
            .unwrap();
        let (teller, lines) = mpsc::channel();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                if teller.send(line).is_err() {
                    return;
                }
            }
        });
        let mut pipe = child.stderr.take().unwrap();
        let stderr = thread::spawn(move || {
            let mut text = String::new();
            pipe.read_to_string(&mut text).unwrap();
            text
        });
        Self {
            child,
            lines,
            stderr: Some(stderr),
            events: Vec::new(),
        }
    }

    /// Returns its process id.
    pub(crate) fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).unwrap())
    }

    /// Sends a signal to cocorun alone.
    pub(crate) fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).unwrap();
    }

    /// Sends a signal to its process group, as a terminal does.
    pub(crate) fn signal_group(&self, signal: Signal) {
        killpg(self.pid(), signal).unwrap();
    }

    /// Waits for an event.
    #[track_caller]
    pub(crate) fn wait_for(&mut self, what: &str, is_it: impl Fn(&Value) -> bool) {
        let until = Instant::now() + PATIENCE;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let line = self.lines.recv_timeout(left).unwrap_or_else(|_| {
                panic!("waited for {what}; so far: {:#?}", self.events);
            });
            let event: Value = serde_json::from_str(&line).unwrap();
            let is_found = is_it(&event);
            self.events.push(event);
            if is_found {
                return;
            }
        }
    }

    /// Waits for the start of a testcase.
    #[track_caller]
    pub(crate) fn wait_for_testcase(&mut self, name: &str) {
        self.wait_for(name, |event| {
            event["event"] == "testcase-started" && event["testcase"]["testcase"] == name
        });
    }

    /// Waits for its end, at most `limit`.
    #[track_caller]
    pub(crate) fn end(mut self, limit: Duration) -> Ended {
        let until = Instant::now() + limit;
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            if Instant::now() > until {
                self.child.kill().unwrap();
                panic!("it lives after {limit:?}: {:#?}", self.events);
            }
            thread::sleep(Duration::from_millis(2));
        };
        let stderr = self.stderr.take().unwrap().join().unwrap();
        // Without `--format json`, the report for people is there.
        for line in self.lines.iter().filter(|line| line.starts_with('{')) {
            self.events.push(serde_json::from_str(&line).unwrap());
        }
        Ended {
            code: status
                .code()
                .unwrap_or_else(|| 128 + status.signal().unwrap()),
            events: std::mem::take(&mut self.events),
            stderr,
        }
    }
}

impl Ended {
    /// Returns how long the session took by its own account.
    #[track_caller]
    pub(crate) fn duration(&self) -> Duration {
        let finished = self.named("session-finished");
        Duration::from_secs_f64(finished[0]["duration_s"].as_f64().unwrap())
    }

    /// Says whether the machine was too slow for a limit: outcomes differ from the wanted ones only
    /// in that more testcases timed out.
    pub(crate) fn was_too_slow(&self, wanted: &[String]) -> bool {
        let name = |line: &String| line.rsplit_once(' ').unwrap().0.to_owned();
        let found = self.outcomes();
        found.iter().map(name).eq(wanted.iter().map(name))
            && found != wanted
            && found
                .iter()
                .zip(wanted)
                .all(|(found, wanted)| found == wanted || found.ends_with(" timed-out"))
    }

    /// Returns the events of one kind.
    pub(crate) fn named(&self, name: &str) -> Vec<&Value> {
        self.events
            .iter()
            .filter(|event| event["event"] == name)
            .collect()
    }

    /// Returns `MODULE TESTCASE OUTCOME` of every result, sorted.
    pub(crate) fn outcomes(&self) -> Vec<String> {
        let mut outcomes: Vec<String> = self
            .named("testcase-finished")
            .iter()
            .map(|event| {
                let testcase = &event["testcase"];
                let text = |value: &Value| value.as_str().unwrap().to_owned();
                format!(
                    "{} {} {}",
                    text(&testcase["module"]),
                    text(&testcase["testcase"]),
                    text(&event["outcome"])
                )
            })
            .collect();
        outcomes.sort();
        outcomes
    }
}

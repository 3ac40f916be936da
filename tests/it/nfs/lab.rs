//! The lab of `tests/nfs/lab.py`, seen from the tests: boot it, run workers in it, mistreat it.

use std::io::BufRead;
use std::io::BufReader;
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;

use serde_json::Value;
use serde_json::json;
use tempfile::TempDir;

use crate::support::repository;

/// What a command in a node came to.
pub(crate) struct Reply {
    /// Its exit code; 124 ran too long, 125 the node went away.
    pub(crate) code: i64,
    /// Its standard output.
    pub(crate) out: String,
    /// Its standard error.
    pub(crate) err: String,
}

impl std::fmt::Debug for Reply {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (code, out, err) = (self.code, &self.out, &self.err);
        write!(f, "exit code {code}\n--- stdout\n{out}\n--- stderr\n{err}")
    }
}

impl Reply {
    /// Returns what a worker said about something, the last time it did.
    #[track_caller]
    pub(crate) fn said(&self, key: &str) -> &str {
        let prefix = format!("@{key} ");
        let mut lines = self.out.lines().rev();
        lines
            .find_map(|line| Some(line.split_once(&prefix)?.1))
            .unwrap_or_else(|| panic!("the worker did not say `{key}`: {self:?}"))
    }

    /// Returns a number that a worker said.
    #[track_caller]
    pub(crate) fn number(&self, key: &str) -> f64 {
        self.said(key).parse().unwrap()
    }

    /// Checks that the command ended well.
    #[track_caller]
    pub(crate) fn good(self) -> Self {
        assert_eq!(self.code, 0, "{self:?}");
        self
    }
}

/// A server and two clients, which end with this value.
pub(crate) struct Lab {
    dir: TempDir,
    process: Child,
}

impl Lab {
    /// Boots all nodes; they live for `ttl_s` seconds at most.
    pub(crate) fn boot(ttl_s: u32) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut process = Command::new("python3")
            .arg(repository().join("tests/nfs/lab.py"))
            .args(["up", "--ttl", &ttl_s.to_string(), "--cache"])
            .arg(repository().join("target/nfs-lab"))
            .arg(dir.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let stdout = process.stdout.take().unwrap();
        BufReader::new(stdout).read_line(&mut line).unwrap();
        tell(&format!("lab: {}", line.trim()));
        assert!(
            line.starts_with("ready"),
            "the lab does not boot; `tests/run` installs what it needs; the reason is above"
        );
        Self { dir, process }
    }

    fn ask(&self, request: &Value) -> Reply {
        let mut line = UnixStream::connect(self.dir.path().join("lab.sock")).unwrap();
        writeln!(line, "{request}").unwrap();
        let mut answer = String::new();
        BufReader::new(line).read_line(&mut answer).unwrap();
        let answer: Value = serde_json::from_str(&answer).expect("the lab lives");
        let text = |key: &str| answer[key].as_str().unwrap_or_default().to_owned();
        Reply {
            code: answer["code"].as_i64().unwrap(),
            out: text("out"),
            err: text("err"),
        }
    }

    /// Runs a shell command in a node.
    pub(crate) fn sh(&self, node: &str, script: &str) -> Reply {
        self.ask(&json!({"verb": "run", "node": node, "argv": ["sh", "-c", script]}))
    }

    /// Runs a worker, see [`crate::nfs::worker`], in a node.
    pub(crate) fn worker(&self, node: &str, words: &str) -> Reply {
        let mut program = PathBuf::from("/mnt/host");
        let this = std::env::current_exe().unwrap();
        program.push(this.strip_prefix("/").unwrap());
        let argv = json!([
            program,
            "nfs::worker::nfs_worker",
            "--exact",
            "--nocapture",
            "--quiet"
        ]);
        let env = json!({ crate::nfs::worker::VARIABLE: words });
        self.ask(&json!({"verb": "run", "node": node, "argv": argv, "env": env, "timeout": 5000}))
    }

    /// Does something to a node: `kill`, `start`, `freeze`, `thaw`, `cut` or `heal`.
    pub(crate) fn does(&self, verb: &str, node: &str) {
        self.ask(&json!({"verb": verb, "node": node})).good();
    }

    /// Mounts the export at one more place of both clients.
    pub(crate) fn mount(&self, place: &str, options: &str) {
        let what = if options.starts_with("vers=3") {
            "srv:/mnt/disk/export"
        } else {
            "srv:/"
        };
        for node in ["n1", "n2"] {
            let script = format!("mkdir -p {place} && mount -t nfs -o {options} {what} {place}");
            self.sh(node, &script).good();
        }
    }

    /// Counts the calls that a node has made for one mount, from `/proc/self/mountstats`.
    pub(crate) fn calls(&self, node: &str, place: &str) -> Calls {
        let text = self.sh(node, "cat /proc/self/mountstats").good().out;
        let head = format!(" mounted on {place} with ");
        let mut calls = Vec::new();
        let mut is_ours = false;
        let mut is_per_op = false;
        for line in text.lines() {
            if line.starts_with("device ") {
                is_ours = line.contains(&head);
                is_per_op = false;
            }
            is_per_op |= line.contains("per-op statistics");
            if is_ours
                && is_per_op
                && let Some((name, rest)) = line.trim().split_once(": ")
                && let Some(Ok(count)) = rest.split(' ').next().map(str::parse::<u32>)
            {
                calls.push((name.to_owned(), count));
            }
        }
        assert!(!calls.is_empty(), "{place} is not mounted:\n{text}");
        Calls(calls)
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        // Its standard input ends, and with it the lab.
        drop(self.process.stdin.take());
        self.process.wait().ok();
    }
}

/// How often each NFS operation was called.
pub(crate) struct Calls(Vec<(String, u32)>);

impl Calls {
    /// Returns how many more there are than before, in all and by name.
    pub(crate) fn since(&self, before: &Self) -> (u32, String) {
        let mut sum = 0;
        let mut words = Vec::new();
        for ((name, now), (_, then)) in self.0.iter().zip(&before.0) {
            if now > then {
                sum += now - then;
                words.push(format!("{name} {}", now - then));
            }
        }
        (sum, words.join(", "))
    }
}

/// Prints a measurement.
#[expect(
    clippy::print_stderr,
    reason = "what was measured is wanted in the log"
)]
pub(crate) fn tell(text: &str) {
    eprintln!("nfs: {text}");
}

//! What a session leaves of each testcase, in a form in which two sessions can be compared.
//!
//! Left out is only what differs between any two calls: wall times and what is computed of them,
//! dates, process ids, the names of sessions and runs, and what a simulator says before a fork
//! (which is in the server's log).

use std::collections::BTreeMap;
use std::fs;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::process::Output;
use std::process::Stdio;
use std::thread;

use nix::pty::Winsize;
use nix::pty::openpty;
use serde_json::Value;

use crate::support::Project;
use crate::support::Ran;

/// Our own files of a run, which are no output of the testcase.
const OWN_FILES: [&str; 3] = ["request.json", "events.ndjson", "sim.log"];
/// What the events say of a testcase.
const VERDICT: [&str; 8] = [
    "outcome",
    "cause",
    "expected_failure",
    "message",
    "error_type",
    "sim_time_ns",
    "seed",
    "line",
];
/// First byte and length of what a header of FST says of the program and the day.
const FST_VERSION_AND_DATE: (usize, usize) = (74, 128 + 119);
/// First byte and length of what it says of the memory that the program took.
const FST_MEMORY: (usize, usize) = (33, 8);
const FST_HEADER: usize = 330;

/// What one testcase left, fit to be compared.
#[derive(Debug, PartialEq)]
pub(crate) struct Seen {
    /// What the events say of it.
    pub(crate) verdict: BTreeMap<&'static str, Value>,
    /// What the JUnit report says of it.
    pub(crate) junit: String,
    /// Contents by name, of all but our own files.
    pub(crate) files: BTreeMap<String, String>,
    /// What HDL and Python printed.
    pub(crate) log: String,
}

/// How long an id may be, in characters.
const ID_LENGTH_MAX: usize = 120;
/// How wide the terminal is.
const TERMINAL_COLUMNS: u16 = 100;

/// Checks that no line of what was written to a terminal is wider than it, except for what stays whole.
#[track_caller]
fn expect_to_fit(written: &str) {
    let mut lines = Vec::new();
    for line in written.split(['\n', '\r']) {
        // Control sequences take no room; all that are used end in a letter.
        let mut parts = line.split("\x1b[");
        let mut plain = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let text = part.split_once(|c: char| c.is_ascii_alphabetic());
            plain.push_str(text.map_or("", |(_, text)| text));
        }
        lines.push(plain);
    }
    let shown = lines.iter().filter(|line| line.contains("PASS"));
    assert!(shown.count() > 0, "no verdict in\n{written}");
    for line in lines {
        // What people copy stays whole, and then has a line of its own: an id, a path, a command.
        let text = line.trim();
        let is_one_word = !text.contains(' ') || text.starts_with("`cocorun ");
        let width = line.chars().count();
        assert!(
            width <= usize::from(TERMINAL_COLUMNS) || is_one_word,
            "{width} columns:\n{line}"
        );
    }
}

/// What is to be compared, and how it was started.
pub(crate) struct Session {
    /// By identity and number among equal ones.
    pub(crate) seen: BTreeMap<String, Seen>,
    /// How many runs were forked.
    pub(crate) forked: usize,
    /// Why the others were not, run by run.
    pub(crate) spawned_because: Vec<String>,
    /// The exit code.
    pub(crate) code: i32,
    /// What people see.
    pub(crate) stderr: String,
}

impl Session {
    /// Runs `cocorun test` to its end.
    #[track_caller]
    pub(crate) fn of(project: &Project, args: &[&str]) -> Self {
        let report = project.path("compared-junit.xml");
        let mut command = project.command(&["test", "--format", "json", "--junit"]);
        let output = command.arg(&report).args(args).output();
        Self::ended(output.unwrap(), &report)
    }

    /// Runs `cocorun test` to its end with its report on a terminal, and checks that lines fit there and
    /// that no id is longer than `ID_LENGTH_MAX`.
    #[track_caller]
    pub(crate) fn on_terminal(project: &Project, args: &[&str]) -> Self {
        let report = project.path("compared-junit.xml");
        let size = Winsize {
            ws_row: 40,
            ws_col: TERMINAL_COLUMNS,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        let terminal = openpty(Some(&size), None).unwrap();
        let mut master = File::from(terminal.master);
        let reader = thread::spawn(move || {
            let mut bytes = Vec::new();
            // It ends with an error when nobody has the other side open.
            drop(master.read_to_end(&mut bytes));
            bytes
        });
        let mut command = project.command(&["test", "--format", "json", "--junit"]);
        command.arg(&report).args(args);
        let child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::from(terminal.slave))
            .spawn();
        // It has the terminal, too.
        drop(command);
        let output = child.unwrap().wait_with_output().unwrap();
        let stderr = reader.join().unwrap();
        expect_to_fit(&String::from_utf8_lossy(&stderr));
        let session = Self::ended(Output { stderr, ..output }, &report);
        // `ID NUMBER`.
        let longest = session.seen.keys().max_by_key(|key| key.len()).unwrap();
        assert!(longest.len() <= ID_LENGTH_MAX + 2, "{longest}");
        session
    }

    #[track_caller]
    fn ended(output: Output, report: &Path) -> Self {
        let ran = Ran::from(output);
        let session = Self::read(&ran, &fs::read_to_string(report).unwrap());
        assert!(!session.seen.is_empty(), "{}", ran.text);
        session
    }

    fn read(ran: &Ran, report: &str) -> Self {
        let mut session = Self {
            seen: BTreeMap::new(),
            forked: 0,
            spawned_because: Vec::new(),
            code: ran.code,
            stderr: ran.text.clone(),
        };
        let mut elements: Vec<&str> = report.split("<testcase ").skip(1).collect();
        let mut session_id = String::new();
        for event in ran.events() {
            match event["event"].as_str().unwrap() {
                "session-started" => event["session_id"]
                    .as_str()
                    .unwrap()
                    .clone_into(&mut session_id),
                "run-started" => match event["spawned_because"].as_str() {
                    Some(why) => session.spawned_because.push(why.to_owned()),
                    None => session.forked += 1,
                },
                "testcase-finished" => {
                    let id = event["testcase"]["id"].as_str().unwrap();
                    let same_name = format!("{id} ");
                    let is_same = |key: &&String| key.starts_with(&same_name);
                    let number = session.seen.keys().filter(is_same).count();
                    let mut seen = Seen::of(&event, &session_id);
                    seen.junit = take_element(&mut elements, &event, &session_id);
                    session.seen.insert(format!("{same_name}{number}"), seen);
                }
                _ => {}
            }
        }
        session
    }
}

impl Seen {
    fn of(event: &Value, session_id: &str) -> Self {
        let dir = Path::new(event["run_dir"].as_str().unwrap_or("/nonexistent"));
        let names = |text: &str| anonymous(text, dir, session_id);
        let mut files = BTreeMap::new();
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            let name = entry.file_name().into_string().unwrap();
            if OWN_FILES.contains(&name.as_str()) {
                continue;
            }
            let content = fs::read(entry.path()).unwrap_or_default();
            let content = match String::from_utf8(without_fst_header(content)) {
                Ok(text) => names(&text),
                Err(error) => error.as_bytes().escape_ascii().to_string(),
            };
            let content = match name.as_str() {
                "results.xml" => without_times(&content),
                "waves.vcd" => without_vcd_header(&content),
                _ => content,
            };
            files.insert(name, content);
        }
        let log = fs::read(dir.join("sim.log")).unwrap_or_default();
        Self {
            verdict: VERDICT.map(|key| (key, event[key].clone())).into(),
            junit: String::new(),
            files,
            log: comparable(&names(&String::from_utf8_lossy(&log))),
        }
    }
}

/// Takes the element of a testcase out of those of a report: its log is named by no other.
fn take_element(elements: &mut Vec<&str>, event: &Value, session_id: &str) -> String {
    let Some(dir) = event["run_dir"].as_str() else {
        return String::new();
    };
    let log = format!("\"{dir}/sim.log\"");
    let found = elements.iter().position(|element| element.contains(&log));
    let found = found.unwrap_or_else(|| panic!("the JUnit report does not name {log}"));
    let element = elements.remove(found).split("</testcase>").next().unwrap();
    let element = anonymous(element, Path::new(dir), session_id);
    // The command that repeats a testcase repeats how it was run.
    let element = element
        .replace(" --no-fork --build", " --build")
        .replace(" --waves --build", " --build");
    comparable(&without_times(&element))
}

fn anonymous(text: &str, dir: &Path, session_id: &str) -> String {
    text.replace(dir.to_str().unwrap(), "RUN")
        .replace(session_id, "SESSION")
}

/// Leaves out what a server says before the fork, and wall times in cocotb's summary.
fn comparable(log: &str) -> String {
    let mut text = String::new();
    for line in log.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        if matches!(words[..], ["-.--ns", _, "gpi" | "pygpi", ..]) {
            continue;
        }
        match words[..] {
            ["**", .., "**"] if words.len() > 4 => {
                text.push_str(&words[..words.len() - 3].join(" "));
            }
            _ => text.push_str(line),
        }
        text.push('\n');
    }
    text
}

/// Takes wall times and what is computed from them out of `results.xml` or a JUnit report.
fn without_times(xml: &str) -> String {
    const WALL_TIMES: [&str; 4] = [
        " time=\"",
        " ratio_time=\"",
        " timestamp=\"",
        " name=\"sim_time_ratio\" value=\"",
    ];
    let mut text = xml.to_owned();
    for attribute in WALL_TIMES {
        let mut parts = text.split(attribute);
        let mut kept = parts.next().unwrap().to_owned();
        for part in parts {
            kept.push_str(part.split_once('"').unwrap().1);
        }
        text = kept;
    }
    text
}

/// Takes the date and the version out of a VCD file.
fn without_vcd_header(vcd: &str) -> String {
    let mut text = vcd.to_owned();
    for section in ["$date", "$version"] {
        let Some((before, rest)) = text.split_once(section) else {
            continue;
        };
        text = format!("{before}{}", rest.split_once("$end").unwrap().1);
    }
    text
}

/// Blanks date, version and the writer's memory in what is an FST file, whatever its name.
fn without_fst_header(mut bytes: Vec<u8>) -> Vec<u8> {
    // The first block is of type 0 and of this length, which is written after its type.
    let length = (FST_HEADER as u64 - 1).to_be_bytes();
    if bytes.len() >= FST_HEADER && bytes[0] == 0 && bytes[1..9] == length {
        for (from, length) in [FST_MEMORY, FST_VERSION_AND_DATE] {
            bytes[from..from + length].fill(0);
        }
    }
    bytes
}

/// Compares two sessions testcase by testcase: verdict, seed, simulated time, JUnit, files, log.
#[track_caller]
pub(crate) fn expect_alike(one: &Session, other: &Session) {
    let keys = |session: &Session| session.seen.keys().cloned().collect::<Vec<_>>();
    assert_eq!(keys(one), keys(other));
    for (key, seen) in &one.seen {
        let other = &other.seen[key];
        assert_eq!(seen.verdict, other.verdict, "{key}");
        assert_eq!(seen.junit, other.junit, "{key}");
        let names = |seen: &Seen| seen.files.keys().cloned().collect::<Vec<_>>();
        assert_eq!(names(seen), names(other), "{key}");
        for (name, content) in &seen.files {
            assert!(*content == other.files[name], "{key}: {name} differs");
        }
        assert!(
            seen.log == other.log,
            "{key}\n--- one\n{}\n--- other\n{}",
            seen.log,
            other.log
        );
    }
    assert_eq!(one.code, other.code);
}

/// Makes sure that all of one session was forked and all of the other spawned, and compares them.
#[track_caller]
pub(crate) fn expect_forked_like_spawned(forked: &Session, spawned: &Session) {
    assert_eq!(forked.spawned_because, [""; 0], "all of it can be forked");
    assert_eq!(spawned.forked, 0);
    assert_eq!(forked.forked, spawned.spawned_because.len());
    expect_alike(forked, spawned);
}

//! The JSON report, read back, against the table of expected results and its documentation.

use super::*;

use crate::diagnostic::Snippet;
use crate::report::expected;
use crate::report::expected::Broken;
use crate::report::expected::Sink;
use crate::report::expected::StillClock;

use serde_json::Value;
use std::collections::BTreeSet;
use std::time::Duration;

fn play(events: &[Event]) -> Vec<Value> {
    let sink = Sink::default();
    let clock = StillClock::new();
    let mut report = JsonReport::new(Box::new(sink.clone()), clock.clone());
    let mut state = SessionState::default();
    for event in events {
        expected::feed(&mut report, &mut state, std::slice::from_ref(event));
        clock.pass(Duration::from_millis(1500));
    }
    report.finish(&state).expect("the sink takes everything");
    let text = sink.text();
    assert!(text.ends_with('\n'));
    text.lines()
        .map(|line| serde_json::from_str(line).expect("a JSON object"))
        .collect()
}

fn session() -> Vec<Value> {
    play(&expected::session("/p/sim.log".into()))
}

#[test]
fn every_testcase_of_the_table_has_its_object() {
    let objects = session();
    for row in expected::TABLE {
        let id = row.id().to_string();
        let finished = objects.iter().rfind(|object| {
            object["event"] == "testcase-finished" && object["testcase"]["id"] == *id
        });
        let finished = finished.expect("its verdict");
        assert_eq!(
            finished["outcome"],
            serde_json::to_value(row.outcome).expect("a word"),
            "{id}"
        );
        assert_eq!(finished["code"].as_str(), row.code.map(Code::name), "{id}");
        assert_eq!(finished["message"].as_str(), row.message, "{id}");
        assert_eq!(finished["seed"], 7);
        assert_eq!(finished["duration_s"], 0.41);
    }
    let counts = &objects.last().expect("the last event")["counts"];
    let expect = expected::counts();
    assert_eq!(counts["passed"], expect.passed);
    assert_eq!(counts["failed"], expect.failed);
    assert_eq!(counts["errored"], expect.errored);
    assert_eq!(counts["timed_out"], expect.timed_out);
    assert_eq!(counts["skipped"], expect.skipped);
    assert_eq!(counts["not_run"], expect.not_run);
}

#[test]
fn the_first_object_has_the_schema_and_time_counts_from_it() {
    let objects = session();
    assert_eq!(objects[0]["event"], "session-started");
    assert_eq!(objects[0]["schema"], 1);
    assert_eq!(objects[0]["elapsed_s"], 0.0);
    assert_eq!(objects[1]["elapsed_s"], 1.5);
    assert!(objects[1].get("schema").is_none());
}

#[test]
fn a_place_counts_lines_and_columns_from_1() {
    let text = "[build.fifo]\nsimulatör = \"verilater\"\n";
    let start = text.find("\"veril").expect("it is there");
    let problem =
        Diagnostic::error(Code::ConfigUnknownSimulator, "unknown simulator").at(Snippet {
            path: "runner.toml".into(),
            text: text.into(),
            first_line: 1,
            range: start..start + 11,
            label: String::new(),
        });
    let objects = play(&[Event::Notice(Box::new(problem))]);
    let place = &objects[0]["problem"]["place"];
    assert_eq!(
        (&place["line"], &place["column"]),
        (&Value::from(2), &Value::from(13))
    );
}

/// Collects the names of all fields, however deep.
fn keys(value: &Value, into: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                into.insert(key.clone());
                keys(value, into);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| keys(item, into)),
        _ => {}
    }
}

#[test]
fn every_event_and_every_field_is_documented() {
    let document = include_str!("../../../docs/json-events.md");
    let objects = session();
    let events: BTreeSet<&str> = objects
        .iter()
        .filter_map(|object| object["event"].as_str())
        .collect();
    assert_eq!(
        events.len(),
        12,
        "the session has every kind of event: {events:?}"
    );
    for object in &objects {
        let event = object["event"].as_str().expect("a word");
        let (_, section) = document
            .split_once(&format!("\n### `{event}`\n"))
            .expect("a section for each event");
        let section = section.split("\n##").next().unwrap_or(section);
        for field in object.as_object().expect("an object").keys() {
            let is_told = section.contains(&format!("| `{field}` |")) || is_common(field);
            assert!(is_told, "`{field}` of `{event}`");
        }
        let mut all = BTreeSet::new();
        keys(object, &mut all);
        for field in all {
            assert!(
                document.contains(&format!("| `{field}` |")),
                "`{field}` within `{event}`"
            );
        }
    }
}

fn is_common(field: &str) -> bool {
    matches!(field, "event" | "elapsed_s")
}

#[test]
fn a_reader_that_leaves_early_is_no_failure() {
    let broken = Box::new(Broken(io::ErrorKind::BrokenPipe));
    let mut report = JsonReport::new(broken, StillClock::new());
    let mut state = SessionState::default();
    let events = expected::session("/p/sim.log".into());
    expected::feed(&mut report, &mut state, &events);
    assert_eq!(report.finish(&state), Ok(()));
}

#[test]
fn any_other_failure_to_write_is_an_error_at_the_end() {
    let broken = Box::new(Broken(io::ErrorKind::StorageFull));
    let mut report = JsonReport::new(broken, StillClock::new());
    let mut state = SessionState::default();
    expected::feed(&mut report, &mut state, &[expected::session_started(1)]);
    let problems = report.finish(&state).expect_err("the disk is full");
    assert_eq!(problems.0[0].code, Code::ReportUnwritable);
}

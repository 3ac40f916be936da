//! A JUnit report as somebody else reads it: by the XML parser of Python.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::support::python;

const READ: &str = r#"
import json, sys, xml.etree.ElementTree as tree
root = tree.parse(sys.argv[1]).getroot()
assert root.tag == "testsuites"
def counts(element):
    return {key: int(element.get(key)) for key in ("tests", "failures", "errors", "skipped")}
def kind(case):
    kinds = [child.tag for child in case if child.tag in ("failure", "error", "skipped")]
    assert len(kinds) <= 1, kinds
    return kinds[0] if kinds else "passed"
print(json.dumps({
    "counts": counts(root),
    "suites": [{
        "name": suite.get("name"),
        "counts": counts(suite),
        "testcases": [{"name": case.get("name"), "kind": kind(case)}
                      for case in suite.iter("testcase")],
    } for suite in root.iter("testsuite")],
}))
"#;

/// Checks a report against the `testcase-finished` events of the same session.
#[track_caller]
pub(crate) fn expect_agrees(report: &Path, finished: &[&Value]) {
    let output = Command::new(python(crate::support::COCOTB))
        .args(["-c", READ, report.to_str().unwrap()])
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{errors}");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let mut kinds_of_report: BTreeMap<String, BTreeMap<String, usize>> = BTreeMap::new();
    for suite in report["suites"].as_array().unwrap() {
        let kinds = kinds_of_report
            .entry(suite["name"].as_str().unwrap().to_owned())
            .or_default();
        for testcase in suite["testcases"].as_array().unwrap() {
            *kinds
                .entry(testcase["kind"].as_str().unwrap().to_owned())
                .or_default() += 1;
        }
        expect_counts(&suite["counts"], kinds);
    }
    let mut kinds_of_events: BTreeMap<String, BTreeMap<String, usize>> = BTreeMap::new();
    for event in finished {
        let testcase = &event["testcase"];
        let suite = format!(
            "{}::{}",
            testcase["build"].as_str().unwrap(),
            testcase["module"].as_str().unwrap()
        );
        let kind = match event["outcome"].as_str().unwrap() {
            "passed" => "passed",
            "failed" => "failure",
            "errored" | "timed-out" | "not-run" => "error",
            "skipped" => "skipped",
            other => panic!("an outcome that no report knows: {other}"),
        };
        *kinds_of_events
            .entry(suite)
            .or_default()
            .entry(kind.to_owned())
            .or_default() += 1;
    }
    assert_eq!(kinds_of_report, kinds_of_events);
    let mut total: BTreeMap<String, usize> = BTreeMap::new();
    for (kind, count) in kinds_of_events.values().flatten() {
        *total.entry(kind.clone()).or_default() += count;
    }
    expect_counts(&report["counts"], &total);
}

#[track_caller]
fn expect_counts(attributes: &Value, kinds: &BTreeMap<String, usize>) {
    let count = |kind: &str| kinds.get(kind).copied().unwrap_or_default();
    assert_eq!(attributes["tests"], kinds.values().sum::<usize>());
    assert_eq!(attributes["failures"], count("failure"));
    assert_eq!(attributes["errors"], count("error"));
    assert_eq!(attributes["skipped"], count("skipped"));
}

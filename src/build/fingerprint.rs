//! What a build was made from, digested: one traversal feeds the key and the explanation.
//!
//! | enters the key | why |
//! |---|---|
//! | layout number of this file | a new cocorun may record other things |
//! | simulator, its identity (path, size, time, version) | another compiler makes another design |
//! | C++ compiler's identity (Verilator only) | it makes the program |
//! | cocotb's version and library directory | Verilator's program is linked to it |
//! | toplevel, timescale, waves | change the elaboration |
//! | defines and parameters, by name | change the elaboration |
//! | `build_args`, include directories, in order | order matters to the compilers |
//! | build environment, by name | the compilers read it |
//! | sources: order, name below the project, content | the design itself |
//!
//! Files that the compiler found by itself are not known before it ran; the manifest holds them
//! (see [`crate::build::manifest`]). Names, seeds, testcases, plusargs and job counts do not enter.

use crate::diagnostic::Result;
use crate::edge::fs;
use crate::model::build::Build;
use crate::model::build::HdlValue;
use crate::model::build::Simulator;
use crate::model::tool::PythonEnv;
use crate::model::tool::SimulatorTool;

use camino::Utf8Path;
use rayon::prelude::*;
use std::collections::BTreeMap;

/// The number of this table; counts up when its meaning changes.
const LAYOUT: u32 = 1;

/// Everything outside the build itself that its result depends on.
#[derive(Clone, Copy, Debug)]
pub struct Tools<'a> {
    /// The simulator.
    pub simulator: &'a SimulatorTool,
    /// The Python environment.
    pub python: &'a PythonEnv,
    /// The C++ compiler's identity; empty for Icarus.
    pub cxx_identity: &'a str,
}

/// A digest and what it was made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fingerprint {
    /// 64 hex digits.
    pub key: String,
    /// Named parts in the order they were digested; file contents appear as digests.
    pub parts: Vec<(String, String)>,
}

/// Digests a build.
///
/// # Errors
/// A source cannot be read.
pub fn fingerprint(build: &Build, tools: Tools<'_>) -> Result<Fingerprint> {
    let mut parts = Vec::new();
    let mut add = |name: String, value: String| parts.push((name, value));
    add("layout".to_owned(), LAYOUT.to_string());
    add("simulator".to_owned(), build.simulator.to_string());
    add(
        "simulator version".to_owned(),
        tools.simulator.version.clone(),
    );
    add(
        "simulator program".to_owned(),
        tools.simulator.identity.clone(),
    );
    if build.simulator == Simulator::Verilator {
        add("C++ compiler".to_owned(), tools.cxx_identity.to_owned());
        add(
            "cocotb libraries".to_owned(),
            tools.python.libs_dir.to_string(),
        );
    }
    add(
        "cocotb version".to_owned(),
        tools.python.cocotb.text.clone(),
    );
    add("hdl_toplevel".to_owned(), build.hdl_toplevel.clone());
    let timescale = build.timescale.as_ref().map(ToString::to_string);
    add(
        "timescale".to_owned(),
        timescale.unwrap_or_else(|| "none".to_owned()),
    );
    add("waves".to_owned(), build.waves.to_string());
    for (name, value) in &build.defines {
        add(format!("define `{name}`"), macro_text(value));
    }
    for (name, value) in &build.parameters {
        add(format!("parameter `{name}`"), literal(value));
    }
    for (index, arg) in build.build_args.iter().enumerate() {
        add(format!("build_args[{index}]"), arg.clone());
    }
    for (index, dir) in build.includes.iter().enumerate() {
        add(format!("includes[{index}]"), shown(dir, &build.project_dir));
    }
    for (name, value) in &build.build_env {
        add(format!("environment `{name}`"), value.clone());
    }
    let digests: Vec<String> = build
        .sources
        .par_iter()
        .map(|path| digest_file(path))
        .collect::<Result<_>>()?;
    for (index, path) in build.sources.iter().enumerate() {
        add(format!("sources[{index}]"), shown(path, &build.project_dir));
    }
    for (path, digest) in build.sources.iter().zip(digests) {
        add(
            format!("content of `{}`", shown(path, &build.project_dir)),
            digest,
        );
    }
    Ok(Fingerprint {
        key: digest_parts(&parts),
        parts,
    })
}

/// Writes a macro's text as both compilers get it.
fn macro_text(value: &HdlValue) -> String {
    match value {
        HdlValue::Boolean(value) => u8::from(*value).to_string(),
        other => other.to_string(),
    }
}

/// Writes a parameter so that the number 4 and the string "4" differ, as they do in the design.
fn literal(value: &HdlValue) -> String {
    match value {
        HdlValue::Text(text) => format!("\"{text}\""),
        other => other.to_string(),
    }
}

/// Names what differs between two lists of parts, one line each.
pub fn differences(before: &[(String, String)], after: &[(String, String)]) -> Vec<String> {
    let old: BTreeMap<&str, &str> = before
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    let new: BTreeMap<&str, &str> = after
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    let mut lines = Vec::new();
    for (name, value) in after {
        match old.get(name.as_str()) {
            None => lines.push(format!("{name} is new: {}", short(name, value))),
            Some(former) if former != value => lines.push(change(name, former, value)),
            Some(_) => {}
        }
    }
    for (name, value) in before {
        if !new.contains_key(name.as_str()) {
            lines.push(format!("{name} is gone: {}", short(name, value)));
        }
    }
    lines
}

fn change(name: &str, former: &str, value: &str) -> String {
    if holds_digest(name) {
        format!("{name} changed")
    } else {
        format!("{name} changed: {former} -> {value}")
    }
}

fn short<'a>(name: &str, value: &'a str) -> &'a str {
    if holds_digest(name) {
        &value[..value.len().min(12)]
    } else {
        value
    }
}

fn holds_digest(name: &str) -> bool {
    name.starts_with("content of") || name == "simulator program" || name == "C++ compiler"
}

/// Digests a file's content.
///
/// # Errors
/// It cannot be read.
pub fn digest_file(path: &Utf8Path) -> Result<String> {
    Ok(blake3::hash(&fs::read(path)?).to_hex().to_string())
}

/// Digests named parts; every field is preceded by its length, so that no two lists collide by
/// running together.
fn digest_parts(parts: &[(String, String)]) -> String {
    let mut hasher = blake3::Hasher::new();
    for (name, value) in parts {
        for field in [name, value] {
            hasher.update(&(field.len() as u64).to_le_bytes());
            hasher.update(field.as_bytes());
        }
    }
    hasher.finalize().to_hex().to_string()
}

/// Returns a path below the project as relative, so that two checkouts share a key; others whole.
fn shown(path: &Utf8Path, project: &Utf8Path) -> String {
    path.strip_prefix(project).unwrap_or(path).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_that_the_compilers_tell_apart_have_other_parts() {
        let text = |text: &str| HdlValue::Text(text.to_owned());
        assert_ne!(literal(&HdlValue::Integer(4)), literal(&text("4")));
        assert_ne!(literal(&HdlValue::Boolean(true)), literal(&text("true")));
        assert_ne!(
            macro_text(&HdlValue::Boolean(true)),
            macro_text(&text("true"))
        );
        // One and the same `-DNAME=1`.
        assert_eq!(
            macro_text(&HdlValue::Boolean(true)),
            macro_text(&HdlValue::Integer(1))
        );
    }
}

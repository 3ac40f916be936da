//! The digest of everything that a step writes its files from.
//!
//! | part of the key | why |
//! |---|---|
//! | its commands and its own variables | this is what runs |
//! | the folder that it runs in | it may read files there that nobody has listed |
//! | the programs: real path, size, time; of the interpreter, its packages too | they write the files |
//! | inputs: name below the project, content | what is read |
//! | what needed steps have written: name, content | likewise |
//! | the outputs that it must write | they are checked when it has run |
//!
//! Inherited variables are not part of it. Files that no command names and `inputs` does not list are
//! unknown.

use crate::build::context::BuildContext;
use crate::build::fingerprint::Part;
use crate::build::fingerprint::digest_file;
use crate::build::fingerprint::key_of;
use crate::diagnostic::Result;
use crate::model::step;
use crate::model::step::Step;
use crate::model::step::StepResult;

use camino::Utf8Path;
use rayon::prelude::*;
use std::collections::BTreeMap;

/// What a step is made from, and its digest.
pub(super) struct StepKey {
    /// 64 hex digits.
    pub(super) key: String,
    /// What was digested, in order.
    pub(super) parts: Vec<Part>,
}

/// Collects what a step is made from and digests it; `results` are those of the steps that it needs.
///
/// # Errors
/// An input cannot be read.
pub(super) fn step_key(
    step: &Step,
    results: &BTreeMap<String, StepResult>,
    context: &BuildContext<'_>,
) -> Result<StepKey> {
    // Destructured, so that a new field cannot be forgotten.
    let Step {
        name: _,
        commands,
        inputs,
        outputs,
        env,
        needs,
        timeout: _,
        project_dir,
    } = step;
    let mut parts = vec![Part::text("folder", project_dir.as_str())];
    for command in commands {
        let words: Vec<String> = command.iter().map(|word| step::shown(word)).collect();
        parts.push(Part::list("command", command, shell_words::join(words)));
        let program = command.first().map_or("", String::as_str);
        let label = format!("program `{program}`");
        parts.push(Part::hidden(&label, &identity(program, step, context)));
    }
    let variable = |(name, value): (&String, &String)| {
        Part::text(&format!("environment `{name}`"), &step::shown(value))
    };
    parts.extend(env.iter().map(variable));
    parts.push(Part::list("outputs", outputs, outputs.join(", ")));
    let digests: Result<Vec<Part>> = inputs
        .par_iter()
        .map(|path| {
            let label = format!("input `{}`", below(path, project_dir));
            Ok(Part::hidden(&label, &digest_file(path)?))
        })
        .collect();
    parts.extend(digests?);
    for need in needs {
        for file in results.get(need).iter().flat_map(|result| &result.files) {
            let path = step::shown(&step::path_in(need, &file.path));
            parts.push(Part::hidden(&format!("content of `{path}`"), &file.digest));
        }
    }
    Ok(StepKey {
        key: key_of(&parts),
        parts,
    })
}

/// Returns what identifies a program; one of the project is an input, wherever the project is.
fn identity(program: &str, step: &Step, context: &BuildContext<'_>) -> String {
    let programs = context.programs();
    match programs.find(program, &step.project_dir) {
        Some(path) if step.inputs.contains(&path) => String::new(),
        Some(path) => programs.identity(&path),
        None => String::new(),
    }
}

fn below<'a>(path: &'a Utf8Path, project_dir: &Utf8Path) -> &'a Utf8Path {
    path.strip_prefix(project_dir).unwrap_or(path)
}

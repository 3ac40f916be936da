//! The digest of everything a build is made from: the key is the digest of the recipe that is run.
//!
//! | part of the key | why |
//! |---|---|
//! | simulator, its version and identity (path, size, time) | affects the compiled design |
//! | identities of other programs that affect it, such as the C++ compiler | likewise |
//! | cocotb's version | its libraries are linked in |
//! | inherited variables that the compilers read | they change the output |
//! | every command: its arguments and variables | this is what runs |
//! | generated files | commands read them |
//! | sources and other files that arguments name: name below the project, content | the design itself |
//!
//! The arguments hold toplevel, parameters, defines, include directories and flags, as the compiler
//! gets them. Files that the compiler finds itself are not known before it has run; the manifest
//! lists them (see [`crate::build::manifest`]).
//!
//! | not part of the key | why |
//! |---|---|
//! | output directory and project's folder | two checkouts share a build; not in the recipe |
//! | the path to a program | differs between nodes; the identity of the real file is used instead |
//! | job count, object cache, session | added when a command is started; they change no output |
//! | name of the build, seeds, testcases, plusargs | not passed to the compiler |

use crate::build::context::BuildContext;
use crate::diagnostic::Result;
use crate::edge::fs;
use crate::model::build::Build;
use crate::sim::recipe::CompileStep;
use crate::sim::recipe::Dependencies;
use crate::sim::recipe::GeneratedFile;
use crate::sim::recipe::Recipe;
use crate::sim::recipe::Word;

use camino::Utf8Path;
use camino::Utf8PathBuf;
use rayon::prelude::*;
use serde::Deserialize;
use serde::Serialize;
use std::collections::BTreeMap;

/// Everything that determines the result of a build.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ingredients {
    /// The simulator's name.
    pub simulator: String,
    /// Its version, as one line.
    pub simulator_version: String,
    /// Identity of its programs.
    pub simulator_identity: String,
    /// Identities of other programs that affect the build, by display name.
    pub helpers: BTreeMap<String, String>,
    /// cocotb's version.
    pub cocotb_version: String,
    /// Inherited variables that the compilers read, if they are set.
    pub inherited: BTreeMap<String, String>,
    /// The commands.
    pub recipe: Recipe,
    /// Digests of the files that the commands name, by path: below the project relative to it, else
    /// absolute.
    pub inputs: BTreeMap<Utf8PathBuf, String>,
}

/// One ingredient, as it is digested and explained.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// What it is, such as ``parameter `DEPTH` ``; several parts may share a label.
    pub label: String,
    /// What is digested.
    pub value: String,
    /// What is shown to people; `None` if the value means nothing to them.
    pub shown: Option<String>,
}

/// What a build is made from, and its digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fingerprint {
    /// 64 hex digits: the build key.
    pub key: String,
    /// What was digested, in order.
    pub parts: Vec<Part>,
    /// The recipe that was digested and will be run.
    pub recipe: Recipe,
}

/// Collects what a build is made from and digests it.
///
/// # Errors
/// A source cannot be read, or the session has not looked for the simulator.
pub fn fingerprint(build: &Build, context: &BuildContext<'_>) -> Result<Fingerprint> {
    Ok(digest(gather(build, context)?))
}

fn gather(build: &Build, context: &BuildContext<'_>) -> Result<Ingredients> {
    let installed = context.tools.simulator(&build.simulator)?;
    let (tool, python) = (&installed.tool, &context.tools.python);
    Ok(Ingredients {
        simulator: build.simulator.to_string(),
        simulator_version: tool.version.clone(),
        simulator_identity: tool.identity.clone(),
        helpers: tool.helpers.clone(),
        cocotb_version: python.cocotb.text.clone(),
        inherited: context.inherited(installed.simulator.as_ref()),
        recipe: installed.simulator.recipe(build, tool, python),
        inputs: digest_named_files(build)?,
    })
}

/// Digests ingredients; every field is preceded by its length, so that different lists cannot
/// produce the same bytes.
fn digest(ingredients: Ingredients) -> Fingerprint {
    let parts = ingredients.parts();
    let mut hasher = blake3::Hasher::new();
    for part in &parts {
        for field in [&part.label, &part.value] {
            hasher.update(&(field.len() as u64).to_le_bytes());
            hasher.update(field.as_bytes());
        }
    }
    Fingerprint {
        key: hasher.finalize().to_hex().to_string(),
        parts,
        recipe: ingredients.recipe,
    }
}

impl Ingredients {
    /// Lists every ingredient in a fixed order.
    ///
    /// Fields are destructured by name here and below, so that a new one cannot be forgotten.
    fn parts(&self) -> Vec<Part> {
        let Self {
            simulator,
            simulator_version,
            simulator_identity,
            helpers,
            cocotb_version,
            inherited,
            recipe,
            inputs,
        } = self;
        let mut parts = vec![
            Part::text("simulator", simulator),
            Part::text("simulator version", simulator_version),
            Part::hidden("simulator program", simulator_identity),
            Part::text("cocotb version", cocotb_version),
        ];
        parts.extend(helpers.iter().map(|(label, id)| Part::hidden(label, id)));
        parts.extend(environment(inherited));
        let Recipe {
            files,
            steps,
            artifact,
            dependencies,
            outputs,
        } = recipe;
        for GeneratedFile { path, content } in files {
            parts.push(Part::hidden("generated file", path.as_str()));
            parts.push(Part::word(content));
        }
        for step in steps {
            let CompileStep {
                name,
                // The identity of the tool is used instead.
                program: _,
                args,
                env,
                launcher_variable,
            } = step;
            parts.push(Part::text("command", name));
            parts.push(Part::json("launcher variable", launcher_variable));
            parts.extend(args.iter().map(Part::word));
            parts.extend(environment(env));
        }
        parts.push(Part::json("compiled file", artifact));
        parts.push(Part::json::<Vec<Dependencies>>(
            "dependency lists",
            dependencies,
        ));
        parts.push(Part::json("output files", outputs));
        parts.extend(
            inputs
                .iter()
                .map(|(path, digest)| Part::hidden(&format!("content of `{path}`"), digest)),
        );
        parts
    }
}

fn environment(variables: &BTreeMap<String, String>) -> impl Iterator<Item = Part> {
    variables
        .iter()
        .map(|(name, value)| Part::text(&format!("environment `{name}`"), value))
}

impl Part {
    fn text(label: &str, value: &str) -> Self {
        Self {
            label: label.to_owned(),
            value: value.to_owned(),
            shown: Some(value.to_owned()),
        }
    }

    fn hidden(label: &str, value: &str) -> Self {
        Self {
            shown: None,
            ..Self::text(label, value)
        }
    }

    fn json<T: Serialize>(label: &str, value: &T) -> Self {
        let text = serde_json::to_string(value).expect("strings and lists have a form in JSON");
        Self::hidden(label, &text)
    }

    fn word(word: &Word) -> Self {
        let Word { label, pieces } = word;
        let shown = word.shown();
        Self {
            shown: (!shown.contains('\n')).then_some(shown),
            ..Self::json(label, pieces)
        }
    }
}

/// Digests the files named as sources or in `build_args`.
fn digest_named_files(build: &Build) -> Result<BTreeMap<Utf8PathBuf, String>> {
    let sources = build.sources.iter().map(|source| source.path.clone());
    let files: Vec<Utf8PathBuf> = sources.chain(named_files(build)).collect();
    files
        .par_iter()
        .map(|path| {
            let inside = path.strip_prefix(&build.project_dir).unwrap_or(path);
            Ok((inside.to_owned(), digest_file(path)?))
        })
        .collect()
}

/// Finds the files that `build_args` name: command files (`-f`) and what they name in turn, C++
/// sources, libraries. The compilers' own dependency lists leave these out.
fn named_files(build: &Build) -> Vec<Utf8PathBuf> {
    let mut found: Vec<Utf8PathBuf> = Vec::new();
    let mut words: Vec<String> = build.build_args.clone();
    while let Some(word) = words.pop() {
        let name = ["-f", "-F", "-c"]
            .iter()
            .find_map(|flag| word.strip_prefix(flag))
            .unwrap_or(&word);
        let path = build.project_dir.join(name);
        let is_file = |path: &Utf8Path| matches!(fs::stamp(path), Ok(Some(stamp)) if !stamp.is_dir);
        if name.is_empty() || found.contains(&path) || !is_file(&path) {
            continue;
        }
        let text = match path.extension() {
            Some("a" | "so" | "o") => None,
            _ => fs::read_if_there(&path),
        };
        // Reading a source for names as well finds nothing that would not make it stale anyway.
        words.extend(
            text.iter()
                .flat_map(|text| text.split_whitespace())
                .map(str::to_owned),
        );
        found.push(path);
    }
    found
}

/// The parts with one label: all values, and the text shown for them.
type Labelled<'a> = BTreeMap<&'a str, (Vec<&'a str>, Vec<&'a str>)>;

/// Lists the differences between two lists of parts, one line each.
pub fn differences(before: &[Part], after: &[Part]) -> Vec<String> {
    let (old, new) = (by_label(before), by_label(after));
    let mut lines = Vec::new();
    for label in labels(after) {
        let (values, shown) = &new[label];
        match old.get(label) {
            None => lines.push(line(label, "is new", shown)),
            Some((former, _)) if former == values => {}
            Some((_, former)) if former == shown || shown.is_empty() => {
                lines.push(format!("{label} changed"));
            }
            Some((_, former)) => lines.push(format!(
                "{label} changed: {} -> {}",
                former.join(" "),
                shown.join(" ")
            )),
        }
    }
    let gone = labels(before)
        .into_iter()
        .filter(|it| !new.contains_key(it));
    lines.extend(gone.map(|label| line(label, "is gone", &old[label].1)));
    lines
}

fn by_label(parts: &[Part]) -> Labelled<'_> {
    let mut labelled = Labelled::new();
    for part in parts {
        let (values, shown) = labelled.entry(&part.label).or_default();
        values.push(&part.value);
        shown.extend(part.shown.as_deref());
    }
    labelled
}

/// Returns each label once, in the order of first use.
fn labels(parts: &[Part]) -> Vec<&str> {
    let mut labels: Vec<&str> = Vec::new();
    for part in parts {
        if !labels.contains(&part.label.as_str()) {
            labels.push(&part.label);
        }
    }
    labels
}

fn line(label: &str, change: &str, shown: &[&str]) -> String {
    if shown.is_empty() {
        format!("{label} {change}")
    } else {
        format!("{label} {change}: {}", shown.join(" "))
    }
}

/// Digests a file's content.
///
/// # Errors
/// It cannot be read.
pub fn digest_file(path: &Utf8Path) -> Result<String> {
    Ok(blake3::hash(&fs::read(path)?).to_hex().to_string())
}

#[cfg(test)]
mod tests;

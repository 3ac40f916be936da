//! The digest of everything a build is made from: the key is the digest of the recipe that is run.
//!
//! | part of the key | why |
//! |---|---|
//! | simulator, its version and identity (path, size, time) | affects the compiled design |
//! | identities of other programs that affect it, such as the C++ compiler | likewise |
//! | cocotb's version | its libraries are linked in |
//! | inherited variables that the compilers read | they change the output |
//! | variables that the simulator itself needs, with real paths | they choose its other files |
//! | every command: its arguments and variables | this is what runs |
//! | whether parameters that the toplevel does not have are left out | what runs may be less |
//! | generated files | commands read them |
//! | sources and other files that arguments name: name below the project, content | the design itself |
//! | what steps have written: name below the step's directory, content | likewise |
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
use crate::build::dependencies::without_parents;
use crate::diagnostic::Result;
use crate::edge::fs;
use crate::model::build::Build;
use crate::model::build::UnknownParameters;
use crate::model::step;
use crate::sim::recipe::CompileStep;
use crate::sim::recipe::Dependencies;
use crate::sim::recipe::GeneratedFile;
use crate::sim::recipe::Recipe;
use crate::sim::recipe::Word;
use crate::sim::recipe::Words;

use camino::Utf8Path;
use camino::Utf8PathBuf;
use rayon::prelude::*;
use serde::Deserialize;
use serde::Serialize;
use std::collections::BTreeMap;

const GENERATED_FILE: &str = "generated file";
const COMMAND: &str = "command";
const LAUNCHER_VARIABLE: &str = "launcher variable";
const COMPILED_FILE: &str = "compiled file";
const DEPENDENCY_LISTS: &str = "dependency lists";
const OUTPUT_FILES: &str = "output files";

/// Labels of what cocorun chooses itself, usually because of another part that the user wrote.
const OWN_LABELS: [&str; 6] = [
    COMMAND,
    LAUNCHER_VARIABLE,
    COMPILED_FILE,
    DEPENDENCY_LISTS,
    OUTPUT_FILES,
    Words::OWN,
];

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
    /// Variables that the simulator's programs need, with real paths.
    pub tool_env: BTreeMap<String, String>,
    /// The commands.
    pub recipe: Recipe,
    /// Whether parameters that the toplevel does not have are left out.
    pub omits_unknown_parameters: bool,
    /// Digests of the files that the commands name, by path: below the project relative to it, else
    /// absolute.
    pub inputs: BTreeMap<Utf8PathBuf, String>,
    /// Digests of the files that steps have written, by their paths as `runner.toml` names them.
    pub step_files: BTreeMap<String, String>,
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
        tool_env: with_real_paths(&tool.env),
        recipe: installed.simulator.recipe(build, tool, python),
        omits_unknown_parameters: build.unknown_parameters == UnknownParameters::Warn,
        inputs: digest_named_files(build)?,
        step_files: step_files(build),
    })
}

/// Makes different spellings of one folder, such as with a trailing slash, the same installation.
fn with_real_paths(variables: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let real = |value: &String| {
        let path = Utf8Path::new(value);
        let real = path.is_absolute().then(|| fs::real_path(path).ok());
        real.flatten()
            .map_or_else(|| value.clone(), |real| real.to_string())
    };
    let variables = variables.iter();
    variables
        .map(|(name, value)| (name.clone(), real(value)))
        .collect()
}

/// Digests ingredients.
fn digest(ingredients: Ingredients) -> Fingerprint {
    let parts = ingredients.parts();
    Fingerprint {
        key: key_of(&parts),
        parts,
        recipe: ingredients.recipe,
    }
}

/// Returns the key of what consists of these parts; every field is preceded by its length, so that
/// different lists cannot produce the same bytes.
pub(super) fn key_of(parts: &[Part]) -> String {
    let mut hasher = blake3::Hasher::new();
    for part in parts {
        for field in [&part.label, &part.value] {
            hasher.update(&(field.len() as u64).to_le_bytes());
            hasher.update(field.as_bytes());
        }
    }
    hasher.finalize().to_hex().to_string()
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
            tool_env,
            recipe,
            omits_unknown_parameters,
            inputs,
            step_files,
        } = self;
        let mut parts = vec![
            Part::text("simulator", simulator),
            Part::text("simulator version", simulator_version),
            Part::hidden("simulator program", simulator_identity),
            Part::text("cocotb version", cocotb_version),
        ];
        parts.extend(helpers.iter().map(|(label, id)| Part::hidden(label, id)));
        parts.extend(environment(inherited));
        parts.extend(environment(tool_env));
        let Recipe {
            files,
            steps,
            artifact,
            dependencies,
            outputs,
        } = recipe;
        for GeneratedFile { path, content } in files {
            let label = format!("{GENERATED_FILE} `{path}`");
            parts.push(Part::hidden(&label, path.as_str()));
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
            parts.push(Part::text(COMMAND, name));
            parts.push(Part::json(LAUNCHER_VARIABLE, launcher_variable));
            parts.extend(args.iter().map(Part::word));
            parts.extend(environment(env));
        }
        parts.push(Part::json(COMPILED_FILE, artifact));
        parts.push(Part::json::<Vec<Dependencies>>(
            DEPENDENCY_LISTS,
            dependencies,
        ));
        parts.push(Part::json(OUTPUT_FILES, outputs));
        parts.push(Part::json("unknown_parameters", omits_unknown_parameters));
        let inputs = inputs.iter().map(|(path, digest)| (path.as_str(), digest));
        let step_files = step_files
            .iter()
            .map(|(path, digest)| (path.as_str(), digest));
        parts.extend(
            inputs
                .chain(step_files)
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
    pub(super) fn text(label: &str, value: &str) -> Self {
        Self {
            label: label.to_owned(),
            value: value.to_owned(),
            shown: Some(value.to_owned()),
        }
    }

    pub(super) fn hidden(label: &str, value: &str) -> Self {
        Self {
            shown: None,
            ..Self::text(label, value)
        }
    }

    fn json<T: Serialize>(label: &str, value: &T) -> Self {
        let text = serde_json::to_string(value).expect("strings and lists have a form in JSON");
        Self::hidden(label, &text)
    }

    /// Makes one from a list of words, of which people see `shown`.
    pub(super) fn list(label: &str, words: &[String], shown: String) -> Self {
        Self {
            shown: Some(shown),
            ..Self::json(label, &words)
        }
    }

    fn word(word: &Word) -> Self {
        let Word { label, pieces } = word;
        let shown = word.shown();
        Self {
            shown: (!shown.is_empty() && !shown.contains('\n')).then_some(shown),
            ..Self::json(label, pieces)
        }
    }
}

/// Lists what steps have written: any of these files may be read, if only by an `` `include ``.
fn step_files(build: &Build) -> BTreeMap<String, String> {
    let results = build.step_results.iter();
    let files = results.flat_map(|(step, result)| result.files.iter().map(move |it| (step, it)));
    files
        .map(|(step, file)| {
            let path = step::shown(&step::path_in(step, &file.path));
            (path, file.digest.clone())
        })
        .collect()
}

/// Digests the files named as sources or in `build_args`, besides those that steps have written.
fn digest_named_files(build: &Build) -> Result<BTreeMap<Utf8PathBuf, String>> {
    let sources = build.sources.iter().map(|source| source.path.clone());
    let files = sources.chain(named_files(build));
    let files: Vec<Utf8PathBuf> = files.filter(|it| build.step_of(it).is_none()).collect();
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
///
/// Names in a command file are relative to the project, or to the file's own folder if it was named
/// with `-F`; a file in either place counts.
fn named_files(build: &Build) -> Vec<Utf8PathBuf> {
    let mut found: Vec<Utf8PathBuf> = Vec::new();
    let mut searched: Vec<(Utf8PathBuf, Vec<Utf8PathBuf>)> = Vec::new();
    let mut lists = vec![(vec![build.project_dir.clone()], build.build_args.clone())];
    while let Some((dirs, words)) = lists.pop() {
        let mut flag = "";
        for word in &words {
            let split = |flag: &'static str| Some((flag, word.strip_prefix(flag)?));
            let (own_flag, name) = ["-f", "-F", "-c"]
                .into_iter()
                .find_map(split)
                .unwrap_or((flag, word.as_str()));
            flag = own_flag;
            if name.is_empty() {
                continue;
            }
            for path in dirs.iter().map(|dir| dir.join(name)) {
                let inner = search_dirs(&dirs, path.parent().filter(|_| flag == "-F"));
                let search = (without_parents(&path), inner);
                if searched.contains(&search) || !is_file(&path) {
                    continue;
                }
                lists.push((search.1.clone(), words_of(&path)));
                if searched.iter().all(|(known, _)| *known != search.0) {
                    found.push(path);
                }
                searched.push(search);
            }
            flag = "";
        }
    }
    found
}

/// Adds a folder if it is not in the list under another spelling: lists may name each other.
fn search_dirs(dirs: &[Utf8PathBuf], dir: Option<&Utf8Path>) -> Vec<Utf8PathBuf> {
    let is_new = |dir: &&Utf8Path| {
        let plain = without_parents(dir);
        dirs.iter().all(|known| without_parents(known) != plain)
    };
    let new = dir.filter(is_new).map(Utf8Path::to_owned);
    dirs.iter().cloned().chain(new).collect()
}

fn is_file(path: &Utf8Path) -> bool {
    matches!(fs::stamp(path), Ok(Some(stamp)) if !stamp.is_dir)
}

/// Reading a source for names as well finds nothing that would not make it stale anyway.
fn words_of(path: &Utf8Path) -> Vec<String> {
    let text = match path.extension() {
        Some("a" | "so" | "o") => None,
        _ => fs::read_if_there(path),
    };
    let text = text.unwrap_or_default();
    text.split_whitespace().map(str::to_owned).collect()
}

/// The parts with one label: all values, and the text shown for them.
type Labelled<'a> = BTreeMap<&'a str, (Vec<&'a str>, Vec<&'a str>)>;

/// Lists the differences between two lists of parts, one line each; those that only cocorun causes
/// are listed only if there are no others.
pub fn differences(before: &[Part], after: &[Part]) -> Vec<String> {
    let (old, new) = (by_label(before), by_label(after));
    let mut lines = Vec::new();
    for label in labels(after) {
        let (values, shown) = &new[label];
        match old.get(label) {
            None => lines.push((label, line(label, "is new", shown))),
            Some((former, _)) if former == values => {}
            Some((_, former)) if former == shown || former.is_empty() || shown.is_empty() => {
                lines.push((label, format!("{label} changed")));
            }
            Some((_, former)) => {
                let (former, shown) = (former.join(" "), shown.join(" "));
                lines.push((label, format!("{label} changed: {former} -> {shown}")));
            }
        }
    }
    let gone = labels(before)
        .into_iter()
        .filter(|it| !new.contains_key(it));
    lines.extend(gone.map(|label| (label, line(label, "is gone", &old[label].1))));
    if lines.iter().any(|(label, _)| !is_own(label)) {
        lines.retain(|(label, _)| !is_own(label));
    }
    lines.into_iter().map(|(_, line)| line).collect()
}

fn is_own(label: &str) -> bool {
    OWN_LABELS.contains(&label) || label.starts_with(GENERATED_FILE)
}

fn by_label(parts: &[Part]) -> Labelled<'_> {
    let mut labelled = Labelled::new();
    for part in parts {
        let (values, shown) = labelled.entry(&part.label).or_default();
        values.push(&part.value);
        // Several commands get the same variables.
        shown.extend(part.shown.as_deref().filter(|it| !shown.contains(it)));
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

//! The commands that make a build, as values. The build key, the explanations shown to the user and
//! the commands that run all come from these.
//!
//! Invariant: a recipe does not know where it will run. Paths below the output directory and
//! below the project are separate pieces, so that two checkouts have equal recipes.

use crate::model::build::Build;
use crate::model::step;
use crate::model::step::StepResult;
use crate::sim::literal;

use camino::Utf8Path;
use camino::Utf8PathBuf;
use serde::Deserialize;
use serde::Serialize;
use std::collections::BTreeMap;

/// Everything that makes one build in its own empty directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recipe {
    /// Files to write first.
    pub files: Vec<GeneratedFile>,
    /// Commands to run in the project's folder, in order; the first that fails ends it.
    pub steps: Vec<CompileStep>,
    /// The file that a run starts, relative to the output directory.
    pub artifact: Utf8PathBuf,
    /// Where the compilers list the files they have read.
    pub dependencies: Vec<Dependencies>,
    /// Files that runs need, relative to the output directory; the artifact is the first. All must
    /// exist afterwards, and everything else may be removed.
    pub outputs: Vec<Utf8PathBuf>,
}

/// A small text file that a step reads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GeneratedFile {
    /// Where it is written, relative to the output directory.
    pub path: Utf8PathBuf,
    /// Its whole content.
    pub content: Word,
}

/// One command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CompileStep {
    /// What to call it in messages, such as `make`.
    pub name: String,
    /// The program; a bare name is searched on PATH.
    pub program: Utf8PathBuf,
    /// Its arguments.
    pub args: Vec<Word>,
    /// Variables to set, besides those of the tool itself.
    pub env: BTreeMap<String, String>,
    /// The `make` variable with which this step puts a launcher before the C++ compiler, so that
    /// compiled parts can be shared between builds.
    pub launcher_variable: Option<String>,
}

/// A list of files that a compiler has read, as that compiler writes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Dependencies {
    /// A file with one name per line, relative to the project's folder.
    Lines(Utf8PathBuf),
    /// A file with a make rule, its names relative to the project's folder.
    MakeRule(Utf8PathBuf),
    /// A folder of `*.d` files with make rules, their names relative to that folder.
    MakeRulesIn(Utf8PathBuf),
}

/// One argument of a command, or the content of a generated file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Word {
    /// Its label in explanations, such as ``parameter `DEPTH` ``; not unique.
    pub label: String,
    /// The pieces that are joined to form it.
    pub pieces: Vec<Piece>,
}

/// A part of a word.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Piece {
    /// Text that explanations leave out if there is other text.
    Fixed(String),
    /// Text that explanations show.
    Value(String),
    /// A path relative to the output directory.
    Output(Utf8PathBuf),
    /// A path relative to the project's folder.
    Project(Utf8PathBuf),
    /// A path relative to the directory of the step with this name.
    Step(String, Utf8PathBuf),
    /// An absolute path outside the project.
    Outside(Utf8PathBuf),
}

/// Where a recipe runs.
#[derive(Clone, Copy, Debug)]
pub struct BuildDirs<'a> {
    /// The empty output directory, absolute.
    pub output: &'a Utf8Path,
    /// The project's folder, absolute.
    pub project: &'a Utf8Path,
    /// What the steps of the build have written, by their names.
    pub steps: &'a BTreeMap<String, StepResult>,
}

impl<'a> BuildDirs<'a> {
    /// Returns where a build runs with this output directory.
    pub fn new(build: &'a Build, output: &'a Utf8Path) -> Self {
        Self {
            output,
            project: &build.project_dir,
            steps: &build.step_results,
        }
    }
}

impl Word {
    /// Makes one from pieces.
    pub fn new(label: &str, pieces: impl IntoIterator<Item = Piece>) -> Self {
        let is_empty = |piece: &Piece| matches!(piece, Piece::Fixed(text) if text.is_empty());
        Self {
            label: label.to_owned(),
            pieces: pieces
                .into_iter()
                .filter(|piece| !is_empty(piece))
                .collect(),
        }
    }

    /// Returns the label of the argument that passes a parameter.
    pub fn parameter(name: &str) -> String {
        format!("parameter `{name}`")
    }

    /// Returns the argument as passed to the program; `spell` may replace absolute paths.
    ///
    /// # Errors
    /// Those of `spell`.
    pub fn render<E>(
        &self,
        places: BuildDirs<'_>,
        spell: impl Fn(&Utf8Path) -> Result<Utf8PathBuf, E>,
    ) -> Result<String, E> {
        let as_text = |path: &Utf8Path| spell(path).map(Utf8PathBuf::into_string);
        let piece = |piece: &Piece| match piece {
            Piece::Fixed(text) | Piece::Value(text) => Ok(text.clone()),
            Piece::Output(path) => as_text(&places.output.join(path)),
            Piece::Project(path) => as_text(&places.project.join(path)),
            Piece::Step(step, path) => {
                let result = places.steps.get(step);
                as_text(&result.map_or_else(|| path.clone(), |it| it.dir.join(path)))
            }
            Piece::Outside(path) => as_text(path),
        };
        self.pieces.iter().map(piece).collect()
    }

    /// Returns what explanations show.
    pub fn shown(&self) -> String {
        let is_fixed = |piece: &&Piece| matches!(piece, Piece::Fixed(_));
        let only_fixed = self.pieces.iter().all(|piece| is_fixed(&piece));
        self.pieces
            .iter()
            .filter(|piece| only_fixed || !is_fixed(piece))
            .map(|piece| match piece {
                Piece::Fixed(text) | Piece::Value(text) => text.clone(),
                Piece::Output(path) | Piece::Project(path) | Piece::Outside(path) => {
                    path.to_string()
                }
                Piece::Step(step, path) => step::shown(&step::path_in(step, path)),
            })
            .collect()
    }
}

/// Collects the arguments of a step.
#[derive(Debug)]
pub struct Words<'a> {
    build: &'a Build,
    words: Vec<Word>,
}

impl<'a> Words<'a> {
    /// The label of arguments that no key of `runner.toml` asks for.
    pub const OWN: &'static str = "cocorun's own options";

    /// Creates an empty list for a build.
    pub fn new(build: &'a Build) -> Self {
        Self {
            build,
            words: Vec::new(),
        }
    }

    /// Adds arguments that no key of `runner.toml` asks for.
    pub fn own<T: Into<String>>(&mut self, texts: impl IntoIterator<Item = T>) {
        for text in texts {
            self.push(Self::OWN, [Piece::Fixed(text.into())]);
        }
    }

    /// Adds an argument that is the same whatever the key's value is.
    pub fn fixed(&mut self, label: &str, text: &str) {
        self.push(label, [Piece::Fixed(text.to_owned())]);
    }

    /// Adds an argument with a value; explanations show only the value.
    pub fn value(&mut self, label: &str, before: &str, value: impl Into<String>) {
        self.push(
            label,
            [Piece::Fixed(before.to_owned()), Piece::Value(value.into())],
        );
    }

    /// Adds an argument for each macro: `NAME`, or `NAME=text`.
    pub fn defines(&mut self, before: &str, build: &Build) {
        for (name, value) in &build.defines {
            let label = format!("define `{name}`");
            match literal::define(value) {
                Some(text) => self.value(&label, &format!("{before}{name}="), text),
                None => self.value(&label, &format!("{before}{name}"), ""),
            }
        }
    }

    /// Adds an argument with an absolute path.
    pub fn path(&mut self, label: &str, before: &str, path: &Utf8Path) {
        let path = self.path_piece(path);
        self.push(label, [Piece::Fixed(before.to_owned()), path]);
    }

    /// Adds an argument with a path below the output directory.
    pub fn output(&mut self, label: &str, before: &str, path: impl Into<Utf8PathBuf>) {
        self.push(
            label,
            [Piece::Fixed(before.to_owned()), Piece::Output(path.into())],
        );
    }

    /// Adds one of cocorun's own arguments, with a path below the output directory.
    pub fn own_output(&mut self, before: &str, path: impl Into<Utf8PathBuf>) {
        self.output(Self::OWN, before, path);
    }

    /// Adds the user's own arguments.
    pub fn given(&mut self, args: &[String]) {
        for (index, arg) in args.iter().enumerate() {
            let piece = match Utf8Path::new(arg) {
                path if path.is_absolute() => self.path_piece(path),
                _ => Piece::Value(arg.clone()),
            };
            self.push(&format!("build_args[{index}]"), [piece]);
        }
    }

    /// Returns the arguments.
    pub fn finish(self) -> Vec<Word> {
        self.words
    }

    fn push(&mut self, label: &str, pieces: impl IntoIterator<Item = Piece>) {
        self.words.push(Word::new(label, pieces));
    }

    fn path_piece(&self, path: &Utf8Path) -> Piece {
        if let Some((step, inside)) = self.build.step_of(path) {
            return Piece::Step(step.to_owned(), inside.to_owned());
        }
        match path.strip_prefix(&self.build.project_dir) {
            Ok(inside) => Piece::Project(inside.to_owned()),
            Err(_) => Piece::Outside(path.to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_resolved_against_the_project_the_steps_and_the_output_directory() {
        let step = |dir: &str| StepResult {
            is_reused: false,
            dir: Utf8PathBuf::from(dir),
            files: Vec::new(),
        };
        let mut build = Build::plain("/p", &[]);
        build.step_results = BTreeMap::from([("regs".to_owned(), step("/p/b/regs/1"))]);
        let mut words = Words::new(&build);
        words.path("sources[0]", "", Utf8Path::new("/p/hdl/a.sv"));
        words.path("includes[0]", "-I", Utf8Path::new("/p"));
        words.path("includes[1]", "-I", Utf8Path::new("/pp/inc"));
        words.path("includes[2]", "-I", Utf8Path::new("/p/b/regs/1/inc"));
        words.own_output("-o", "sim");
        words.given(&["-y".to_owned(), "/p/lib".to_owned()]);
        let words = words.finish();
        let elsewhere = BTreeMap::from([("regs".to_owned(), step("/b/regs/2"))]);
        let places = BuildDirs {
            output: Utf8Path::new("/b/1"),
            project: Utf8Path::new("/q"),
            steps: &elsewhere,
        };
        let as_is = |path: &Utf8Path| Ok::<_, ()>(path.to_owned());
        let rendered = words.iter().map(|word| word.render(places, as_is));
        let rendered: Vec<String> = rendered.map(|word| word.expect("as it is")).collect();
        let expected = [
            "/q/hdl/a.sv",
            "-I/q/",
            "-I/pp/inc",
            "-I/b/regs/2/inc",
            "-o/b/1/sim",
            "-y",
            "/q/lib",
        ];
        assert_eq!(rendered, expected);
        assert_eq!(words[3].shown(), "{OUT:regs}/inc");
    }

    #[test]
    fn explanations_show_values_without_the_options_that_carry_them() {
        let build = Build::plain("/p", &[]);
        let mut words = Words::new(&build);
        words.value("parameter `N`", "-Ptop.N=", "4");
        words.fixed("waves", "--trace");
        words.path("includes[0]", "-I", Utf8Path::new("/p/inc"));
        let shown: Vec<String> = words.finish().iter().map(Word::shown).collect();
        assert_eq!(shown, ["4", "--trace", "inc"]);
    }
}

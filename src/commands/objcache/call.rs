//! A call of a C++ compiler that makes one object from one source, and how it is carried out.

use crate::edge::clock::Clock;
use crate::edge::fs;
use crate::edge::interrupt::Interrupt;
use crate::edge::process::CommandSpec;
use crate::edge::process::Completion;
use crate::edge::process::SystemHost;
use crate::edge::process::complete;

use camino::Utf8Path;
use camino::Utf8PathBuf;
use std::collections::BTreeMap;
use std::time::Duration;

/// One object takes seconds; minutes if the compiler is swapped out.
const LIMIT: Duration = Duration::from_secs(1800);
/// Options that mean the same wherever a header is compiled. Others, such as `-include` and `-Wp,…`,
/// may change what is parsed, or in which order.
const HARMLESS: [&str; 9] = [
    "-D", "-U", "-O", "-std=", "-f", "-m", "-g", "-pthread", "-pipe",
];
/// Options that ask for a list of the files that were read.
const LISTS_FILES: [&str; 3] = ["-MMD", "-MD", "-MP"];

/// `CXX … -c -o OBJECT … SOURCE`.
#[derive(Clone, Copy, Debug)]
pub(super) struct CompilerCall<'a> {
    words: &'a [String],
    output_at: usize,
}

impl<'a> CompilerCall<'a> {
    /// Recognises one; the source is the last word.
    pub(super) fn of(words: &'a [String]) -> Option<Self> {
        let output_at = words.iter().position(|word| word == "-o")? + 1;
        let is_compile = words.iter().any(|word| word == "-c");
        (is_compile && output_at + 1 < words.len()).then_some(Self { words, output_at })
    }

    /// Returns the compiler, as it is called.
    pub(super) fn compiler(&self) -> &'a str {
        &self.words[0]
    }

    /// Returns the object's path; may be relative to the current folder.
    pub(super) fn output(&self) -> &'a Utf8Path {
        Utf8Path::new(&self.words[self.output_at])
    }

    /// Returns the source's path; may be relative to the current folder.
    pub(super) fn source(&self) -> &'a Utf8Path {
        Utf8Path::new(&self.words[self.words.len() - 1])
    }

    /// Returns all words but the output.
    pub(super) fn words_without_output(&self) -> impl Iterator<Item = &'a str> {
        let at = self.output_at;
        let words = self.words.iter().enumerate();
        words
            .filter(move |(index, _)| *index != at)
            .map(|(_, word)| word.as_str())
    }

    /// Returns the same call with another output, after including a header.
    pub(super) fn with(&self, output: &Utf8Path, header: Option<&Utf8Path>) -> Vec<String> {
        let mut words = self.words.to_vec();
        output.as_str().clone_into(&mut words[self.output_at]);
        if let Some(header) = header {
            words.splice(1..1, ["-include".to_owned(), header.to_string()]);
        }
        words
    }

    /// Returns the folders in which headers are searched for before those of the system.
    pub(super) fn include_dirs(&self) -> impl Iterator<Item = &'a Utf8Path> {
        let words = self.words.iter();
        words
            .filter_map(|word| word.strip_prefix("-I"))
            .map(Utf8Path::new)
    }

    /// Returns the compiler and the options with which a header that is found in `dir` is compiled
    /// as it would be at the beginning of this source; `None` if that cannot be said.
    ///
    /// The order of options does not matter where one call has them in another order than the next.
    pub(super) fn header_words(&self, dir: &Utf8Path) -> Option<Vec<String>> {
        let (mut levels, mut others) = (Vec::new(), Vec::new());
        let mut lists_files = false;
        for (index, word) in self.words.iter().enumerate().skip(1) {
            let is_own = word == "-c" || word == "-o" || index == self.output_at;
            if is_own || index + 1 == self.words.len() {
                continue;
            }
            if LISTS_FILES.contains(&word.as_str()) {
                lists_files |= word != "-MP";
            } else if word.starts_with("-O") {
                levels.push(word.clone());
            } else if is_harmless(word, dir) {
                others.push(word.clone());
            } else {
                return None;
            }
        }
        // Without a list of the files, nobody would learn what the header has read.
        (lists_files && levels.len() < 2).then(|| {
            let compiler = [self.compiler().to_owned()];
            compiler.into_iter().chain(levels).chain(others).collect()
        })
    }
}

/// Says whether an option means the same for a header that is found in `dir` as for the source.
fn is_harmless(word: &str, dir: &Utf8Path) -> bool {
    if let Some(folder) = word.strip_prefix("-I") {
        return folder == "." || Utf8Path::new(folder).starts_with(dir);
    }
    // `-D NAME` in two words, `-fplugin=…` and `-Wp,…` could mean anything.
    let is_whole = word.len() > 2 && !word.starts_with("-fplugin");
    let is_warning = word.starts_with("-W") && !word.contains(',');
    is_whole && (is_warning || HARMLESS.iter().any(|it| word.starts_with(it)))
}

/// Runs a compiler to its end; what it writes goes to `log`. `None` if it cannot be started.
pub(super) fn run(
    words: &[String],
    cwd: Utf8PathBuf,
    log: &Utf8Path,
    clock: &dyn Clock,
    goes_on: &mut dyn FnMut() -> bool,
) -> Option<Completion> {
    let spec = CommandSpec {
        program: Utf8PathBuf::from(&words[0]),
        args: words[1..].to_vec(),
        env: BTreeMap::new(),
        env_remove: Vec::new(),
        cwd,
        log: log.to_owned(),
        channel_env: None,
        inherits: Vec::new(),
    };
    let host = SystemHost::new(Interrupt::new().ok()?);
    complete(&host, clock, &spec, clock.now() + LIMIT, goes_on).ok()
}

/// Says whether a compiler ended well and wrote this file; returns the file's size then.
pub(super) fn size_if_made(done: Option<Completion>, file: &Utf8Path) -> Option<u64> {
    let succeeded = matches!(done, Some(Completion::Left(exit)) if exit.is_success());
    let stamp = fs::stamp(file).ok().flatten();
    stamp.filter(|_| succeeded).map(|stamp| stamp.size)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        line.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn a_header_is_compiled_with_the_options_of_the_call_in_one_order() {
        let dir = Utf8Path::new("/v");
        let header = |line: &str| CompilerCall::of(&words(line))?.header_words(dir);
        let first = header("c++ -Os -I. -MMD -I/v -I/v/std -DA=1 -std=c++20 -c -o a.o a.cpp");
        assert_eq!(
            first,
            Some(words("c++ -Os -I. -I/v -I/v/std -DA=1 -std=c++20"))
        );
        let last = header("c++ -I. -MMD -I/v -I/v/std -DA=1 -std=c++20 -Os -c -o b.o b.cpp");
        assert_eq!(first, last);
    }

    #[test]
    fn options_that_may_change_what_a_header_means_are_no_base_for_one() {
        for option in [
            "-include x.h",
            "-I/inc",
            "-I /v",
            "-Wp,-DX",
            "-D X",
            "-O1",
            "-MF x.d",
            "-isystem /x",
            "@x",
            "-fplugin=x",
            "-x c++",
            "b.cpp",
        ] {
            let line = format!("c++ -Os -MMD {option} -I/v -c -o a.o a.cpp");
            let command = words(&line);
            let call = CompilerCall::of(&command).expect("a compile");
            assert_eq!(call.header_words(Utf8Path::new("/v")), None, "{option}");
        }
        let unlisted = words("c++ -I/v -c -o a.o a.cpp");
        let call = CompilerCall::of(&unlisted).expect("a compile");
        assert_eq!(call.header_words(Utf8Path::new("/v")), None);
    }

    #[test]
    fn only_a_compile_of_one_object_is_recognised() {
        assert!(CompilerCall::of(&words("c++ -Os a.o -o sim")).is_none());
        assert!(CompilerCall::of(&words("c++ -c a.cpp")).is_none());
        assert!(CompilerCall::of(&words("c++ -c a.cpp -o")).is_none());
    }
}

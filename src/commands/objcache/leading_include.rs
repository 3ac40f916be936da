//! Says whether a C++ source begins with a header, so that including it before changes nothing.
//!
//! Invariant: `None` whenever something else may come first. Comments, blank lines and headers of the
//! system may; macros are returned, for the caller to see that the header does not ask for them.

use crate::edge::fs;

use camino::Utf8Path;
use camino::Utf8PathBuf;

/// Generated sources include one another two or three levels deep before the runtime's header.
const DEPTH_MAX: usize = 8;

/// The first header that is not one of the system.
#[derive(Debug, PartialEq, Eq)]
struct Lead {
    name: String,
    /// Macros defined before it.
    macros: Vec<String>,
}

/// Follows the first headers of a source, which a compiler in `cwd` finds next to the file that
/// includes them, or in these folders, to one below the runtime's own folder.
///
/// Returns the macros that were defined before; `None` if it begins in another way.
pub(super) fn macros_before_runtime(
    source: &Utf8Path,
    cwd: &Utf8Path,
    include_dirs: &[&Utf8Path],
    runtime_dir: &Utf8Path,
) -> Option<Vec<String>> {
    let mut file = cwd.join(source);
    let mut macros = Vec::new();
    for _ in 0..DEPTH_MAX {
        let lead = lead(&fs::read_if_there(&file)?)?;
        macros.extend(lead.macros);
        file = found(&lead.name, &file, cwd, include_dirs)?;
        if file.parent() == Some(runtime_dir) {
            return Some(macros);
        }
    }
    None
}

fn found(
    name: &str,
    includer: &Utf8Path,
    cwd: &Utf8Path,
    include_dirs: &[&Utf8Path],
) -> Option<Utf8PathBuf> {
    let dirs = include_dirs.iter().map(|dir| cwd.join(dir));
    let next_to = includer.parent().map(Utf8Path::to_owned);
    let mut candidates = next_to.into_iter().chain(dirs).map(|dir| dir.join(name));
    candidates.find(|path| fs::exists(path))
}

/// Reads the beginning of a source, to its first `#include "…"`.
fn lead(text: &str) -> Option<Lead> {
    let mut macros = Vec::new();
    let mut directives = Directives(text);
    loop {
        match directives.next()? {
            Directive::Define(name) => macros.push(name.to_owned()),
            Directive::Include(header) => {
                if let Some(quoted) = header.strip_prefix('"') {
                    let name = quoted.split_once('"')?.0.to_owned();
                    return Some(Lead { name, macros });
                }
                header.starts_with('<').then_some(())?;
            }
            // The guard of a header that is included for the first time.
            Directive::IfNot(guard) => match directives.next()? {
                Directive::Define(name) if name == guard => macros.push(name.to_owned()),
                _ => return None,
            },
            // Nothing compiles if the condition holds.
            Directive::If => match (directives.next()?, directives.next()?) {
                (Directive::Error, Directive::EndIf) => {}
                _ => return None,
            },
            Directive::Error | Directive::EndIf => return None,
        }
    }
}

enum Directive<'a> {
    Define(&'a str),
    Include(&'a str),
    IfNot(&'a str),
    If,
    Error,
    EndIf,
}

/// The directives at the beginning of a text, up to anything else but comments and blank lines, and
/// up to a directive that is continued or of another kind.
struct Directives<'a>(&'a str);

impl<'a> Iterator for Directives<'a> {
    type Item = Directive<'a>;

    fn next(&mut self) -> Option<Directive<'a>> {
        loop {
            let rest = self.0.trim_start();
            if let Some(comment) = rest.strip_prefix("//") {
                let (line, after) = comment.split_once('\n')?;
                // A backslash would continue it in the next line.
                self.0 = (!line.trim_end().ends_with('\\')).then_some(after)?;
            } else if let Some(comment) = rest.strip_prefix("/*") {
                self.0 = comment.split_once("*/")?.1;
            } else {
                let (line, after) = rest.strip_prefix('#')?.split_once('\n')?;
                self.0 = after;
                return directive(line.trim());
            }
        }
    }
}

fn directive(line: &str) -> Option<Directive<'_>> {
    if line.ends_with('\\') || line.contains("/*") {
        return None;
    }
    let is_in_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let end = line.find(|c| !is_in_name(c)).unwrap_or(line.len());
    let (word, rest) = (&line[..end], line[end..].trim_start());
    let name = rest.split(|c| !is_in_name(c)).next().unwrap_or_default();
    match word {
        "define" => Some(Directive::Define(name)),
        "include" => Some(Directive::Include(rest)),
        "ifndef" => Some(Directive::IfNot(name)),
        "ifdef" => Some(Directive::If),
        "error" => Some(Directive::Error),
        "endif" => Some(Directive::EndIf),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_system_headers_and_macros_may_come_before_the_first_header() {
        let text = "// one\n/* two\n#if 0\n*/\n#include <map>  // three\n#define A_1(x) x\n\
                    #  include \"b.h\"\nint i;\n";
        let expected = Lead {
            name: "b.h".to_owned(),
            macros: vec!["A_1".to_owned()],
        };
        assert_eq!(lead(text), Some(expected));
    }

    #[test]
    fn a_guard_and_a_condition_that_only_refuses_may_come_before_it_too() {
        let text = "#ifndef B_H_\n#define B_H_  // guard\n#ifdef X\n# error \"twice\"\n#endif\n\
                    #define X\n#include \"b.h\"\n";
        let expected = Lead {
            name: "b.h".to_owned(),
            macros: vec!["B_H_".to_owned(), "X".to_owned()],
        };
        assert_eq!(lead(text), Some(expected));
    }

    #[test]
    fn whatever_else_comes_first_decides_against_it() {
        for text in [
            "int i;\n#include \"a.h\"\n",
            "#undef X\n#include \"a.h\"\n",
            "#ifndef A\n#include \"a.h\"\n#endif\n#include \"b.h\"\n",
            "#ifndef A\n#define B\n#endif\n#include \"b.h\"\n",
            "#ifdef A\n#define B\n#endif\n#include \"b.h\"\n",
            "#ifdef A\n#error a\n#else\n#include \"a.h\"\n#endif\n",
            "#endif\n#include \"a.h\"\n",
            "#if 1\n#include \"a.h\"\n#endif\n",
            "#pragma once\n#include \"a.h\"\n",
            "// one \\\n#include \"a.h\"\n#include \"b.h\"\n",
            "#define X \\\n#include \"a.h\"\n",
            "#define X /*\n#include \"a.h\"\n*/\n#include \"b.h\"\n",
            "#include HEADER\n#include \"a.h\"\n",
            "import a;\n",
            "",
        ] {
            assert_eq!(lead(text), None, "{text:?}");
        }
    }

    #[test]
    fn headers_are_followed_to_the_runtime_by_the_compilers_rules() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let dir = Utf8Path::from_path(dir.path()).expect("UTF-8");
        let (cwd, runtime) = (dir.join("cpp"), dir.join("runtime"));
        fs::create_dirs(&cwd).expect("made");
        fs::create_dirs(&runtime).expect("made");
        let write = |path: &Utf8Path, text: &str| fs::write(path, text).expect("written");
        write(&runtime.join("runtime.h"), "");
        write(&cwd.join("all.cpp"), "#define ALL 1\n#include \"top.h\"\n");
        write(
            &cwd.join("top.h"),
            "#include <map>\n#include \"runtime.h\"\n",
        );
        write(&cwd.join("other.cpp"), "#include \"other.h\"\n");
        write(&cwd.join("other.h"), "int other;\n");
        let dirs = [Utf8Path::new("."), &runtime];
        let macros =
            |source: &str| macros_before_runtime(Utf8Path::new(source), &cwd, &dirs, &runtime);
        assert_eq!(macros("all.cpp"), Some(vec!["ALL".to_owned()]));
        assert_eq!(macros("other.cpp"), None);
        // One of the same name is found first.
        write(&cwd.join("runtime.h"), "int mine;\n");
        assert_eq!(macros("all.cpp"), None);
    }
}

//! Advice for filters that select nothing: the most common mistakes, and near names.

use crate::config::name_glob::NameGlob;
use crate::config::suggest::closest;
use crate::config::suggest::closest_in_parts;
use crate::plan::filter::SEPARATOR;

use camino::Utf8Path;

/// The names that a filter can be meant for.
pub(super) struct KnownNames<'a> {
    /// Full names.
    pub(super) builds: Vec<&'a str>,
    pub(super) modules: Vec<&'a str>,
    /// Those that were listed.
    pub(super) testcases: Vec<&'a str>,
}

/// Returns what is probably wrong with a filter, for a help line.
pub(super) fn on_filter(filter: &str, known: &KnownNames<'_>) -> Option<String> {
    if is_file(filter) {
        let module = known.module_of_file(filter).unwrap_or("MODULE");
        return Some(format!(
            "a filter is part of a testcase's name, not a file: write `--module {module}`"
        ));
    }
    if NameGlob::is_pattern(filter) {
        // A leading `*` means another mistake; `::` shows that the user knows the form.
        let is_partial = !filter.starts_with('*') && !filter.contains(SEPARATOR);
        return is_partial.then(|| {
            format!("a pattern covers the whole of `BUILD::MODULE::TESTCASE`: write `*{filter}`")
        });
    }
    if let Some(meant) = known.with_separators(filter) {
        return Some(format!(
            "`{SEPARATOR}` separates build, module and testcase: write `{meant}`"
        ));
    }
    let parts: Option<Vec<&str>> = filter
        .split(SEPARATOR)
        .map(|part| known.nearest(part))
        .collect();
    let meant = parts?.join(SEPARATOR);
    (meant != filter).then(|| format!("did you mean `{meant}`?"))
}

/// Returns what a `--testcase` is probably meant for, for a help line.
pub(super) fn on_testcase(wanted: &str, known: &KnownNames<'_>) -> Option<String> {
    if let Some((before, testcase)) = wanted.rsplit_once(SEPARATOR) {
        let options = options_of(before);
        return Some(format!(
            "`--testcase` takes the name alone: write `{options} --testcase {}`, or `'{wanted}'` \
             without `--testcase`",
            quoted(testcase)
        ));
    }
    if NameGlob::is_pattern(wanted) {
        return Some(format!(
            "`--testcase` takes a name; a pattern is a FILTER: write `'*{SEPARATOR}{wanted}'` \
             without `--testcase`"
        ));
    }
    let meant = closest(wanted, with_and_without(&known.testcases, &['/']))?;
    Some(format!("did you mean `{meant}`?"))
}

/// Returns what an unknown `--module` is probably meant for, for a help line.
pub(super) fn on_module(wanted: &str, known: &KnownNames<'_>) -> Option<String> {
    if let Some((module, testcase)) = wanted.split_once(SEPARATOR) {
        let is_build = known.builds.iter().any(|build| build.starts_with(module));
        if is_build && !known.modules.contains(&module) {
            return Some(format!(
                "`--module` takes the name alone: write `'{wanted}'` without it"
            ));
        }
        return Some(format!(
            "`--module` takes the name alone: write `--module {module} --testcase {}`",
            quoted(testcase)
        ));
    }
    if is_file(wanted) {
        let module = known.module_of_file(wanted)?;
        return Some(format!(
            "`--module` takes a name as `import` does, not a file: write `--module {module}`"
        ));
    }
    if NameGlob::is_pattern(wanted) {
        return Some(format!(
            "`--module` takes a name; a pattern is a FILTER: write \
             `'*{SEPARATOR}{wanted}{SEPARATOR}*'` without `--module`"
        ));
    }
    let names = known.modules.iter().flat_map(|name| prefixes(name));
    let meant = closest_in_parts(wanted, names)?;
    Some(format!("did you mean `{meant}`?"))
}

/// Says whether a name looks like that of a source file of Python.
fn is_file(name: &str) -> bool {
    Utf8Path::new(name).extension() == Some("py")
}

/// Returns the options that select by build and module as the front of an id does.
fn options_of(front: &str) -> String {
    match front.rsplit_once(SEPARATOR) {
        Some((build, module)) => format!("--build {} --module {module}", quoted(build)),
        None => format!("--module {front}"),
    }
}

/// Returns a name as a shell needs it, in single quotes if it has more than plain characters.
fn quoted(name: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || "_-./=@".contains(c);
    if name.chars().all(is_plain) {
        name.to_owned()
    } else {
        format!("'{name}'")
    }
}

impl KnownNames<'_> {
    /// Returns the module that a file is probably meant to be.
    fn module_of_file(&self, file: &str) -> Option<&str> {
        let stem = Utf8Path::new(file).file_stem().unwrap_or_default();
        let mut modules = self.modules.iter().copied();
        modules.find(|module| module.rsplit('.').next() == Some(stem))
    }

    /// Returns a filter in which another mark separates its parts with the right one.
    fn with_separators(&self, filter: &str) -> Option<String> {
        for (module, mark) in self
            .modules
            .iter()
            .flat_map(|module| ['.', ':', '/'].map(|mark| (module, mark)))
        {
            let Some((before, after)) = filter.split_once(&format!("{module}{mark}")) else {
                continue;
            };
            let is_testcase = self.testcases.iter().any(|name| name.contains(after));
            if after.is_empty() || !is_testcase {
                continue;
            }
            let build = before.trim_end_matches(['.', ':', '/']);
            if build.is_empty() && before.is_empty() {
                return Some(format!("{module}{SEPARATOR}{after}"));
            }
            if before.len() > build.len() && self.builds.iter().any(|it| it.contains(build)) {
                return Some([build, module, after].join(SEPARATOR));
            }
        }
        None
    }

    /// Returns the name that one part of a filter is probably meant for; itself if it is in one.
    fn nearest<'a>(&'a self, part: &'a str) -> Option<&'a str> {
        let all = with_and_without(&self.builds, &['/', '@'])
            .chain(self.modules.iter().flat_map(|name| prefixes(name)))
            .chain(with_and_without(&self.testcases, &['/']));
        if all.clone().any(|name| name.contains(part)) {
            return Some(part);
        }
        closest_in_parts(part, all)
    }
}

/// Returns what is before each `/` of a module's name, and the name itself.
fn prefixes(module: &str) -> impl Iterator<Item = &str> + Clone {
    let ends = module.match_indices('/').map(|(at, _)| at);
    ends.chain([module.len()]).map(|end| &module[..end])
}

/// Returns each name after what is before the first of these marks in it.
fn with_and_without<'a>(
    names: &'a [&'a str],
    marks: &'a [char],
) -> impl Iterator<Item = &'a str> + Clone {
    names.iter().flat_map(move |name| {
        let bare = name.split(marks).next().unwrap_or_default();
        [bare, *name]
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: [&str; 2] = ["tb.test_arb", "test_fifo"];

    fn known() -> KnownNames<'static> {
        KnownNames {
            builds: vec!["fifo/DEPTH=4@icarus", "fifo/DEPTH=4/WIDTH=8", "uart"],
            modules: KNOWN.to_vec(),
            testcases: vec!["overflow", "grants/x=1", "grants/x=2"],
        }
    }

    #[test]
    fn a_file_and_a_partial_pattern_are_recognised() {
        let advice = |filter: &str| on_filter(filter, &known()).unwrap_or_default();
        assert!(advice("tb/test_arb.py").ends_with("`--module tb.test_arb`"));
        assert!(advice("test_fifo.py").ends_with("`--module test_fifo`"));
        assert!(advice("other.py").ends_with("`--module MODULE`"));
        assert!(advice("run_00?").ends_with("write `*run_00?`"));
        for right in ["*run_00?", "fifo::*::run_[0-9]", "run_001"] {
            assert_eq!(advice(right), "", "{right}");
        }
    }

    #[test]
    fn a_mistyped_part_is_corrected_and_the_others_stay() {
        for (filter, meant) in [
            ("overflwo", "overflow"),
            ("fiffo", "fifo"),
            ("fifo/DEPTH=5@icarus", "fifo/DEPTH=4@icarus"),
            ("fifo/WIDTH=8/DEPTH=4", "fifo/DEPTH=4/WIDTH=8"),
            ("grnats", "grants"),
            ("fifo::test_fifi::overflwo", "fifo::test_fifo::overflow"),
            ("test_arb::overfow", "test_arb::overflow"),
        ] {
            let advice = on_filter(filter, &known()).unwrap_or_default();
            assert_eq!(advice, format!("did you mean `{meant}`?"), "{filter}");
        }
        for far in ["colour", "uart::test_fifo", "test_fifo::colour"] {
            assert_eq!(on_filter(far, &known()), None, "{far}");
        }
        for (filter, meant) in [
            ("test_fifo.overflow", "test_fifo::overflow"),
            ("tb.test_arb.grants", "tb.test_arb::grants"),
            ("uart.test_fifo.overflow", "uart::test_fifo::overflow"),
            ("uart::test_fifo:overflow", "uart::test_fifo::overflow"),
            ("test_fifo/overflow", "test_fifo::overflow"),
        ] {
            let advice = on_filter(filter, &known()).unwrap_or_default();
            assert!(
                advice.ends_with(&format!("write `{meant}`")),
                "{filter}: {advice}"
            );
        }
        let testcase = |wanted: &str| on_testcase(wanted, &known());
        assert_eq!(
            testcase("grnats"),
            Some("did you mean `grants`?".to_owned())
        );
        assert_eq!(testcase("fiffo"), None, "that is a build");
        let testcase = |wanted: &str| testcase(wanted).unwrap_or_default();
        for (wanted, write) in [
            ("over*", "`'*::over*'` without"),
            (
                "test_fifo::overflow",
                "`--module test_fifo --testcase overflow`, or",
            ),
            (
                "uart::test_fifo::over*",
                "`--build uart --module test_fifo --testcase 'over*'`",
            ),
        ] {
            assert!(testcase(wanted).contains(write), "{}", testcase(wanted));
        }
        let module = |wanted: &str| on_module(wanted, &known()).unwrap_or_default();
        for (wanted, write) in [
            ("test_*", "`'*::test_*::*'` without"),
            (
                "./tb/test_arb.py",
                "not a file: write `--module tb.test_arb`",
            ),
            (
                "test_fifo::overflow",
                "`--module test_fifo --testcase overflow`",
            ),
            ("uart::test_fifo", "`'uart::test_fifo'` without"),
            ("test_fiffo", "did you mean `test_fifo`?"),
            ("other.py", ""),
        ] {
            assert!(module(wanted).contains(write), "{}", module(wanted));
            assert_eq!(module(wanted).is_empty(), write.is_empty());
        }
    }
}

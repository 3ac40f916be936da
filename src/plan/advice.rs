//! Advice for filters that select nothing: the most common mistakes, and near names.

use crate::config::name_glob::NameGlob;
use crate::config::suggest::closest;
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
    let path = Utf8Path::new(filter);
    if path.extension() == Some("py") {
        let stem = path.file_stem().unwrap_or_default();
        let is_of_file = |module: &&&str| module.rsplit('.').next() == Some(stem);
        let module = known.modules.iter().find(is_of_file).unwrap_or(&"MODULE");
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
    let parts: Option<Vec<&str>> = filter
        .split(SEPARATOR)
        .map(|part| known.nearest(part))
        .collect();
    let meant = parts?.join(SEPARATOR);
    (meant != filter).then(|| format!("did you mean `{meant}`?"))
}

/// Returns the name that a `--testcase` is probably meant for, for a help line.
pub(super) fn on_testcase(wanted: &str, known: &KnownNames<'_>) -> Option<String> {
    let meant = closest(wanted, with_and_without(&known.testcases, &['/']))?;
    Some(format!("did you mean `{meant}`?"))
}

impl KnownNames<'_> {
    /// Returns the name that one part of a filter is probably meant for; itself if it is in one.
    fn nearest<'a>(&'a self, part: &'a str) -> Option<&'a str> {
        let all = with_and_without(&self.builds, &['/', '@'])
            .chain(self.modules.iter().flat_map(|name| prefixes(name)))
            .chain(with_and_without(&self.testcases, &['/']));
        if all.clone().any(|name| name.contains(part)) {
            return Some(part);
        }
        closest(part, all)
    }
}

/// Returns what is before each `/` of a module's name, and the name itself.
pub(super) fn prefixes(module: &str) -> impl Iterator<Item = &str> + Clone {
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
            builds: vec!["fifo/DEPTH=4@icarus", "uart"],
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
        let testcase = |wanted: &str| on_testcase(wanted, &known());
        assert_eq!(
            testcase("grnats"),
            Some("did you mean `grants`?".to_owned())
        );
        assert_eq!(testcase("fiffo"), None, "that is a build");
    }
}

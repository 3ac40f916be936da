//! Advice for filters that select nothing: the most common mistakes.

use crate::config::name_glob::NameGlob;

use camino::Utf8Path;

/// Returns what is probably wrong with a filter, for a help line.
pub(super) fn on_filter<'a>(
    filter: &str,
    modules: impl IntoIterator<Item = &'a str>,
) -> Option<String> {
    let path = Utf8Path::new(filter);
    if path.extension() == Some("py") {
        let stem = path.file_stem().unwrap_or_default();
        let is_of_file = |module: &&str| module.rsplit('.').next() == Some(stem);
        let module = modules.into_iter().find(is_of_file).unwrap_or("MODULE");
        return Some(format!(
            "a filter is part of a testcase's name, not a file: write `--module {module}`"
        ));
    }
    // A leading `*` means another mistake; `::` shows that the user knows the form.
    let is_partial =
        NameGlob::is_pattern(filter) && !filter.starts_with('*') && !filter.contains("::");
    is_partial.then(|| {
        format!("a pattern covers the whole of `BUILD::MODULE::TESTCASE`: write `*{filter}`")
    })
}

#[cfg(test)]
mod tests {
    use super::on_filter;

    #[test]
    fn a_file_and_a_partial_pattern_are_recognised() {
        let modules = ["tb.test_arb", "test_fifo"];
        let advice = |filter: &str| on_filter(filter, modules).unwrap_or_default();
        assert!(advice("tb/test_arb.py").ends_with("`--module tb.test_arb`"));
        assert!(advice("test_fifo.py").ends_with("`--module test_fifo`"));
        assert!(advice("other.py").ends_with("`--module MODULE`"));
        assert!(advice("run_00?").ends_with("write `*run_00?`"));
        for right in ["*run_00?", "fifo::*::run_[0-9]", "run_001"] {
            assert_eq!(advice(right), "", "{right}");
        }
    }
}

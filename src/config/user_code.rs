//! Code of the user's own that a simulator runs besides the tests: `vpi_libraries` and `pygpi_users`
//! of a `[[test]]`.

use crate::config::Variant;
use crate::config::document::Reading;
use crate::config::document::Section;
use crate::config::files::Files;
use crate::config::files::PathKind;
use crate::diagnostic::Code;
use crate::diagnostic::Diagnostic;

use camino::Utf8PathBuf;
use std::ops::Range;

/// Reads `vpi_libraries`.
pub(super) fn read_vpi_libraries(section: &Section<'_>, files: &Files<'_>) -> Vec<Utf8PathBuf> {
    files.find_all(
        section.reading,
        &section.texts("vpi_libraries"),
        PathKind::File,
    )
}

/// Reports builds of simulators that load no VPI libraries.
pub(super) fn check_vpi_libraries<'a>(
    reading: &Reading,
    range: &Range<usize>,
    variants: impl Iterator<Item = &'a Variant>,
) {
    let mut refused = variants.filter_map(|variant| {
        let backend = reading.registry.get(variant.build.simulator.as_str())?;
        Some((&variant.build.name, backend.refused_vpi_libraries()?))
    });
    let Some((name, (why, instead))) = refused.next() else {
        return;
    };
    let message = format!("`vpi_libraries` cannot be loaded: {why}");
    let mut problem = Diagnostic::error(Code::ConfigBadValue, message)
        .fact(format!("in build `{name}`"))
        .help(instead);
    let more = refused.count();
    if more > 0 {
        problem = problem.fact(format!("{more} more builds like this"));
    }
    reading.at(range, "", problem);
}

/// Reads `pygpi_users`.
pub(super) fn read_pygpi_users(section: &Section<'_>) -> Vec<String> {
    let mut users: Vec<String> = Vec::new();
    for text in section.texts("pygpi_users") {
        let parts = text.value.split_once(':');
        let problem = if !parts
            .is_some_and(|(module, function)| is_dotted_name(module) && is_dotted_name(function))
        {
            let words = format!("`{}` does not name a Python function", text.value);
            Diagnostic::error(Code::ConfigBadValue, words)
                .help("write `\"package.module:function\"`")
        } else if text.value.starts_with("cocotb.") || text.value.starts_with("cocotb_tools.") {
            let words = format!("`{}` is an entry point of cocotb itself", text.value);
            Diagnostic::error(Code::ConfigBadValue, words)
                .help("remove it: those of `pygpi_users` are called in addition to cocotb's own")
        } else if users.contains(&text.value) {
            let words = format!("`{}` is in `pygpi_users` twice", text.value);
            Diagnostic::error(Code::ConfigDuplicateName, words)
        } else {
            users.push(text.value);
            continue;
        };
        section.reading.at(&text.range, "", problem);
    }
    users
}

/// Says whether a text is one or more Python names with dots between them.
pub(super) fn is_dotted_name(text: &str) -> bool {
    text.split('.').all(|word| {
        !word.is_empty()
            && !word.starts_with(|first: char| first.is_ascii_digit())
            && word.chars().all(|c| c.is_alphanumeric() || c == '_')
    })
}

//! Code of the user's own that a simulator runs besides the tests: `vpi_libraries`, `gpi_users` and
//! `pygpi_users` of a `[[test]]`.

use crate::config::TestTable;
use crate::config::Variant;
use crate::config::document::Located;
use crate::config::document::Reading;
use crate::config::document::Section;
use crate::config::files::Files;
use crate::config::files::PathKind;
use crate::config::test_values::find_files;
use crate::config::test_values::split_gpi_user;
use crate::diagnostic::Code;
use crate::diagnostic::Diagnostic;
use crate::model::test::GpiUser;
use crate::model::tool::CocotbVersion;

use camino::Utf8PathBuf;
use std::ops::Range;

/// Reads `vpi_libraries`.
pub(super) fn read_vpi_libraries(section: &Section<'_>, files: &Files<'_>) -> Vec<Utf8PathBuf> {
    let texts = section.texts("vpi_libraries");
    find_files(section.reading, files, &texts, PathKind::File)
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

/// Reads `gpi_users`: `FILE` or `FILE,FUNCTION`, as cocotb's variable has them.
pub(super) fn read_gpi_users(section: &Section<'_>, files: &Files<'_>) -> Vec<GpiUser> {
    let mut users: Vec<GpiUser> = Vec::new();
    for text in section.texts("gpi_users") {
        let (file, function) = split_gpi_user(&text.value);
        let refuse = |problem: Diagnostic| section.reading.at(&text.range, "", problem);
        if let Some(name) = function.filter(|name| !is_c_identifier(name)) {
            let words = format!("`{name}` is not the name of a C function");
            let problem = Diagnostic::error(Code::ConfigBadValue, words);
            refuse(
                problem.help("write `\"FILE,FUNCTION\"`, or `\"FILE\"` for a library without one"),
            );
            continue;
        }
        if let (None, Some((before, after))) = (
            function,
            file.rsplit_once(':')
                .filter(|(_, after)| !after.contains('}')),
        ) {
            let words = format!("`{}` does not name a library", text.value);
            let problem = Diagnostic::error(Code::ConfigBadValue, words);
            refuse(problem.help(format!("write `\"{before},{after}\"`")));
            continue;
        }
        let file = Located {
            value: file.to_owned(),
            range: text.range.clone(),
        };
        for library in find_files(section.reading, files, &[file], PathKind::File) {
            let user = GpiUser {
                library,
                function: function.map(str::to_owned),
            };
            let problem = if user.library.as_str().contains([',', ';']) {
                let words = format!("`{}` contains `,` or `;`", user.library);
                Diagnostic::error(Code::ConfigBadValue, words)
                    .fact("these separate libraries in cocotb's `GPI_USERS` and `GPI_EXTRA`")
                    .help("rename the file or folder, or make a link to it with another name")
            } else if users.contains(&user) {
                let words = format!("`{}` is in `gpi_users` twice", text.value);
                Diagnostic::error(Code::ConfigDuplicateName, words)
            } else {
                users.push(user);
                continue;
            };
            refuse(problem);
        }
    }
    users
}

/// Returns the problem if this cocotb cannot load one of the `gpi_users` of a table: before 2.1, it
/// needs a function to call.
pub fn refused_gpi_user(test: &TestTable, cocotb: &CocotbVersion) -> Option<Diagnostic> {
    let mut users = test.settings.gpi_users.iter();
    let user = users.find(|user| user.function.is_none() && !cocotb.at_least(2, 1))?;
    let name = user.library.file_name().unwrap_or_default();
    let words = format!("cocotb {cocotb} cannot load `{name}` of `gpi_users` without a function");
    let problem = Diagnostic::error(Code::ConfigBadValue, words).help(format!(
        "name its function, as in `\"{name},FUNCTION\"`, or install cocotb 2.1 or newer"
    ));
    Some(problem.at(test.place.clone()))
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

fn is_c_identifier(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(|first: char| first.is_ascii_digit())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// Says whether a text is one or more Python names with dots between them.
pub(super) fn is_dotted_name(text: &str) -> bool {
    text.split('.').all(|word| {
        !word.is_empty()
            && !word.starts_with(|first: char| first.is_ascii_digit())
            && word.chars().all(|c| c.is_alphanumeric() || c == '_')
    })
}

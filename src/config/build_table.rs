//! Reads `[build.NAME]`.

use crate::config::BuildTable;
use crate::config::document::Located;
use crate::config::document::Reading;
use crate::config::document::Section;
use crate::config::document::Value;
use crate::config::draft::Draft;
use crate::config::expansion;
use crate::config::files::Files;
use crate::config::keys::Table;
use crate::config::variants;
use crate::diagnostic::Code;
use crate::diagnostic::Diagnostic;
use crate::model::build::SimulatorName;

/// Characters that a build name may contain besides letters and digits; others separate names.
const NAME_MARKS: &str = "_-.";

/// Reads one `[build.NAME]`.
///
/// What is wrong is reported, and the table is returned as far as it could be read, so that a
/// `[[test]]` that names it is not reported as well.
pub(super) fn read(
    reading: &Reading,
    files: &Files<'_>,
    default_simulators: &[SimulatorName],
    name: &Located<String>,
    value: &Value<'_>,
) -> Option<BuildTable> {
    let section = open(name, value)?;
    let full_name = reading.full_name(&name.value);
    let draft = Draft::read(&section, default_simulators);
    let combinations = variants::read(&section, &name.value, draft.simulators.len());
    check_overlap(&section, &draft);
    let variants = expansion::expand(&section, files, &full_name, &draft, combinations);
    Some(BuildTable {
        name: full_name,
        local_name: name.value.clone(),
        line: reading.document.line(section.range.start),
        variants,
    })
}

/// Reports parameters that have one value for all builds and several as well.
fn check_overlap(section: &Section<'_>, draft: &Draft) {
    let Some(matrix) = section.get("matrix") else {
        return;
    };
    if !matrix.content.is_table() {
        return;
    }
    for (name, _) in matrix.entries("a table of lists") {
        if draft.common.parameters.contains_key(&name.value) {
            let problem = Diagnostic::error(
                Code::ConfigBadValue,
                format!("`{}` is in both `matrix` and `parameters`", name.value),
            );
            section
                .reading
                .at(&name.range, "", problem.help("keep one of the two"));
        }
    }
}

/// Says whether a text is fit for being the name of a build or a test.
pub(super) fn is_name(text: &str) -> bool {
    let fit = |c: char| c.is_ascii_alphanumeric() || NAME_MARKS.contains(c);
    !text.is_empty() && text.chars().all(fit)
}

fn open<'a>(name: &Located<String>, value: &Value<'a>) -> Option<Section<'a>> {
    if !is_name(&name.value) {
        let problem = Diagnostic::error(
            Code::ConfigBadValue,
            format!("`{}` is not a valid build name", name.value),
        )
        .help("a name consists of letters, digits, `_`, `-` and `.`");
        value.reading.at(&name.range, "", problem);
    }
    if !value.content.is_table() {
        let problem = Diagnostic::error(
            Code::ConfigWrongType,
            format!(
                "`build.{}` takes a table, not {}",
                name.value,
                value.type_words()
            ),
        );
        let help = if Table::Build
            .keys(&value.reading.registry.names())
            .contains(&name.value.as_str())
        {
            "give each build a name: `[build.NAME]`".to_owned()
        } else {
            format!("write `[build.{}]`", name.value)
        };
        value
            .reading
            .at(&value.range, value.type_words(), problem.help(help));
        return None;
    }
    value.section(Table::Build, &format!("[build.{}]", name.value))
}

//! Reads `[build.NAME]`.

use crate::config::BuildTable;
use crate::config::build_steps::BuildSteps;
use crate::config::document::Located;
use crate::config::document::Reading;
use crate::config::document::Section;
use crate::config::document::Value;
use crate::config::doubtful_values;
use crate::config::draft::Draft;
use crate::config::expansion;
use crate::config::files::Files;
use crate::config::keys::Table;
use crate::config::step_table::StepTables;
use crate::config::toplevel_variables;
use crate::config::variants;
use crate::config::variants::is_name;
use crate::diagnostic::Code;
use crate::diagnostic::Diagnostic;
use crate::model::build::SimulatorName;

use std::collections::BTreeSet;

/// Reads one `[build.NAME]`.
///
/// What is wrong is reported, and the table is returned as far as it could be read, so that a
/// `[[test]]` that names it is not reported as well.
pub(super) fn read(
    reading: &Reading,
    files: &Files<'_>,
    default_simulators: &[SimulatorName],
    step_tables: &StepTables,
    name: &Located<String>,
    value: &Value<'_>,
) -> Option<BuildTable> {
    let section = open(name, value)?;
    let full_name = reading.full_name(&name.value);
    let draft = Draft::read(&section, default_simulators);
    let combinations = variants::read(&section, &name.value, draft.simulators.len());
    check_overlap(&section, &draft);
    doubtful_values::check(&section, &draft);
    let steps = BuildSteps::read(&section, files, &full_name, step_tables);
    let variants = expansion::expand(&section, files, &full_name, &draft, &steps, combinations);
    toplevel_variables::check(&section, &full_name, &draft, &steps, &variants);
    Some(BuildTable {
        name: full_name,
        local_name: name.value.clone(),
        line: reading.document.line(section.range.start),
        variants,
    })
}

/// Reports names that have one value for all builds and several as well, and those of both a
/// parameter and a variable.
fn check_overlap(section: &Section<'_>, draft: &Draft) {
    let own = draft.own.values().flat_map(|own| own.parameters.keys());
    let fixed: BTreeSet<&String> = draft.common.parameters.keys().chain(own).collect();
    let mut reported = BTreeSet::new();
    let mut report = |name: Located<String>, from: &str| {
        if fixed.contains(&name.value) && reported.insert(name.value.clone()) {
            let message = format!("`{}` is in both `{from}` and `parameters`", name.value);
            let problem = Diagnostic::error(Code::ConfigBadValue, message);
            let problem = problem.help("keep one of the two");
            section.reading.at(&name.range, "", problem);
        }
    };
    for (name, from) in variants::varied_keys(section) {
        report(name, from);
    }
    let variables = section.get("variables");
    if let Some(table) = variables.filter(|it| it.content.is_table()) {
        for (name, _) in table.entries("a table of values") {
            report(name, "variables");
        }
    }
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

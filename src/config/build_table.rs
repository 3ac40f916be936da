//! Reads `[build.NAME]`.

use crate::config::BuildTable;
use crate::config::document::Located;
use crate::config::document::Reading;
use crate::config::document::Section;
use crate::config::document::Unplaced;
use crate::config::document::Value;
use crate::config::file_list::ListReader;
use crate::config::file_list::SourceSet;
use crate::config::file_list::folder_of;
use crate::config::file_list::is_file_list;
use crate::config::files::Files;
use crate::config::files::PathKind;
use crate::config::files::non_empty;
use crate::config::keys::Table;
use crate::config::path_set::PathSet;
use crate::config::suggest::closest;
use crate::config::variants::VARIANTS_MAX;
use crate::config::variants::for_name;
use crate::diagnostic::Code;
use crate::diagnostic::Diagnostic;
use crate::model::build::HdlValue;
use crate::model::build::SimulatorName;
use crate::model::build::Source;
use crate::model::build::Timescale;
use crate::model::build::UnknownParameters;
use crate::sim::registry::Registry;

use camino::Utf8PathBuf;
use std::collections::BTreeMap;
use std::collections::BTreeSet;
use toml::de::DeValue;

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
    let registry = &reading.registry;
    let section = open(name, value)?;
    let simulators = match section.get("simulator") {
        Some(value) => read_simulators(&value),
        None => default_simulators.to_vec(),
    };
    let sources = read_sources(
        &section,
        files,
        &name.value,
        SourceSet::for_simulators(&simulators, registry),
    );
    let parameters = values(&section, "parameters", ValueUse::Parameter);
    // `runner.toml` takes precedence: its own definition of a macro hides that of a list.
    let mut defines = sources.macros.clone();
    defines.extend(values(&section, "defines", ValueUse::Define));
    let mut includes = PathSet::default();
    includes.extend(read_includes(&section, files, &name.value));
    includes.extend(sources.includes.clone().into_paths());
    let common = plain(section.texts("build_args"));
    let build_args = registry.iter().map(|simulator| {
        let mut args = sources.build_args(simulator.as_ref());
        args.extend(common.iter().cloned());
        args.extend(own_args(&section, &simulator.name()));
        (simulator.name(), args)
    });
    let mut table = BuildTable {
        name: name.value.clone(),
        line: reading.document.line(section.range.start),
        simulators,
        sources: sources
            .sources
            .clone()
            .into_paths()
            .into_iter()
            .map(Source::new)
            .collect(),
        includes: includes.into_paths(),
        hdl_toplevel: read_toplevel(&section).unwrap_or_default(),
        matrix: read_matrix(&section, &parameters),
        defines,
        parameters,
        unknown_parameters: section
            .get("unknown_parameters")
            .and_then(|value| read_unknown_parameters(&value))
            .unwrap_or_default(),
        timescale: section
            .get("timescale")
            .and_then(|value| read_timescale(&value))
            .unwrap_or_else(default_timescale),
        build_args: build_args.collect(),
        env: read_env(&section, |_| None),
        waves: section.switch("waves", false),
    };
    if table
        .variant_count()
        .is_none_or(|count| count > VARIANTS_MAX)
    {
        if let Some(matrix) = section.get("matrix") {
            let title = &section.title;
            matrix.bad(
                format!("the matrix of `{title}` makes more than {VARIANTS_MAX} builds"),
                "",
            );
        }
        // It must not be expanded.
        table.matrix.clear();
    }
    check_names(&section, &table);
    Some(table)
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

/// Reads `sources`: names, patterns, and lists, in order.
fn read_sources(
    section: &Section<'_>,
    files: &Files<'_>,
    build: &str,
    mut set: SourceSet,
) -> SourceSet {
    let Some(value) = section.require("sources") else {
        return set;
    };
    let entries = value.texts();
    if value
        .content
        .as_array()
        .is_some_and(|items| items.is_empty())
    {
        value.bad(
            format!("`sources` of `{}` is empty", section.title),
            "names no file",
        );
    }
    let reading = section.reading;
    let shown = reading.document.shown.clone();
    for entry in entries {
        let mut reader = ListReader::new(files, folder_of(&shown));
        if let Err(problem) = read_source(&entry.value, files, &mut reader, &mut set) {
            let problem = problem.at(reading.document.snippet(&entry.range, ""));
            reading.in_build(build, entry.range.start, problem);
        }
        for problem in reader.problems {
            reading.in_build(build, entry.range.start, problem);
        }
    }
    set
}

/// Reads `includes`: folders and patterns.
fn read_includes(section: &Section<'_>, files: &Files<'_>, build: &str) -> Vec<Utf8PathBuf> {
    let reading = section.reading;
    let mut paths = Vec::new();
    for entry in section.texts("includes") {
        let found = non_empty(&entry.value)
            .and_then(|path| files.expand(path))
            .and_then(|path| files.find_includes(files.project_dir, &path));
        let problem = match found {
            Ok((dirs, warning)) => {
                paths.extend(dirs);
                warning
            }
            Err(problem) => Some(*problem),
        };
        if let Some(problem) = problem {
            let problem = problem.at(reading.document.snippet(&entry.range, ""));
            reading.in_build(build, entry.range.start, problem);
        }
    }
    paths
}

fn read_source(
    entry: &str,
    files: &Files<'_>,
    reader: &mut ListReader<'_>,
    set: &mut SourceSet,
) -> Unplaced<()> {
    let text = files.expand(non_empty(entry)?)?;
    let relative_to_itself = text.strip_prefix("-F ").map(str::trim);
    let name = relative_to_itself.or_else(|| text.strip_prefix("-f ").map(str::trim));
    for path in files.find(files.project_dir, name.unwrap_or(&text), PathKind::File)? {
        if name.is_some() || is_file_list(&path) {
            let own = relative_to_itself.is_some();
            let base = if own {
                folder_of(&path)
            } else {
                files.project_dir
            };
            reader.read(&path, base, set)?;
        } else {
            set.add_source(path)?;
        }
    }
    Ok(())
}

fn read_toplevel(section: &Section<'_>) -> Option<String> {
    let toplevel = section.require("hdl_toplevel")?.name_text()?;
    if toplevel.value.contains(char::is_whitespace) || toplevel.value.starts_with('-') {
        let problem = Diagnostic::error(
            Code::ConfigBadValue,
            format!("`{}` is not a module name", toplevel.value),
        );
        section
            .reading
            .at(&toplevel.range, "name one module to elaborate", problem);
        return None;
    }
    Some(toplevel.value)
}

/// Reads one simulator or several; never empty, so that builds have names even if it is invalid.
pub(super) fn read_simulators(value: &Value<'_>) -> Vec<SimulatorName> {
    let registry = &value.reading.registry;
    let mut simulators = Vec::new();
    for text in value.text_or_texts() {
        let Some(simulator) = registry.get(&text.value).map(|it| it.name()) else {
            let problem = unknown_simulator(&text.value, registry);
            value.reading.at(&text.range, registry.in_words(), problem);
            continue;
        };
        if simulators.contains(&simulator) {
            let problem = Diagnostic::error(
                Code::ConfigBadValue,
                format!("`simulator` names `{simulator}` twice"),
            );
            value.reading.at(&text.range, "", problem);
            continue;
        }
        simulators.push(simulator);
    }
    if simulators.is_empty() {
        simulators.push(registry.default_name());
    }
    simulators
}

fn unknown_simulator(name: &str, registry: &Registry) -> Diagnostic {
    let problem = Diagnostic::error(
        Code::ConfigUnknownSimulator,
        format!("unknown simulator `{name}`"),
    );
    let lower = name.to_lowercase();
    let names = registry.names();
    let known = registry.by_alias(&lower).or_else(|| {
        let close = closest(name, names.iter().map(SimulatorName::as_str))?;
        Some(SimulatorName(close.to_owned()))
    });
    match known {
        Some(known) => problem.help(format!("did you mean `{known}`?")),
        None => problem,
    }
}

/// What an HDL value is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ValueUse {
    Define,
    Parameter,
}

/// Reads `defines` or `parameters`.
fn values(section: &Section<'_>, key: &str, purpose: ValueUse) -> BTreeMap<String, HdlValue> {
    let Some(table) = section.get(key) else {
        return BTreeMap::new();
    };
    let mut values = BTreeMap::new();
    for (name, value) in table.entries("a table of values") {
        check_identifier(section.reading, &name);
        if let Some(value) = hdl_value(&value, purpose) {
            values.insert(name.value, value);
        }
    }
    values
}

fn check_identifier(reading: &Reading, name: &Located<String>) {
    let starts_well = name
        .value
        .starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    if !starts_well
        || !name
            .value
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "_$".contains(c))
    {
        let problem = Diagnostic::error(
            Code::ConfigBadValue,
            format!("`{}` is not an HDL identifier", name.value),
        );
        reading.at(&name.range, "letters, digits, `_` and `$`", problem);
    }
}

fn hdl_value(value: &Value<'_>, purpose: ValueUse) -> Option<HdlValue> {
    match value.content {
        DeValue::Integer(_) => value.integer(i64::MIN, i64::MAX).map(HdlValue::Integer),
        DeValue::Boolean(answer) => Some(HdlValue::Boolean(*answer)),
        DeValue::Float(number) => {
            let real = number.as_str().parse().ok().and_then(HdlValue::real);
            if real.is_none() {
                let text = format!("`{}` is not a finite number", value.name);
                value.bad(text, "HDL has no such value");
            }
            real
        }
        DeValue::String(_) => {
            let text = value.text()?.value;
            let flag = text.is_empty() && purpose == ValueUse::Define;
            Some(if flag {
                HdlValue::Flag
            } else {
                HdlValue::Text(text)
            })
        }
        _ => {
            value.wrong_type("a number, a boolean or a string");
            None
        }
    }
}

fn read_matrix(
    section: &Section<'_>,
    parameters: &BTreeMap<String, HdlValue>,
) -> BTreeMap<String, Vec<HdlValue>> {
    let mut matrix = BTreeMap::new();
    let Some(table) = section.get("matrix") else {
        return matrix;
    };
    for (name, value) in table.entries("a table of lists") {
        check_identifier(section.reading, &name);
        if parameters.contains_key(&name.value) {
            let problem = Diagnostic::error(
                Code::ConfigBadValue,
                format!("`{}` is in both `matrix` and `parameters`", name.value),
            );
            section
                .reading
                .at(&name.range, "", problem.help("keep one of the two"));
        }
        let items = value.items("a list of values");
        if value
            .content
            .as_array()
            .is_some_and(|items| items.is_empty())
        {
            value.bad(
                format!("`{}` is an empty list", value.name),
                "holds no value",
            );
        }
        let values: Vec<HdlValue> = items
            .iter()
            .filter_map(|item| hdl_value(item, ValueUse::Parameter))
            .collect();
        if !values.is_empty() {
            matrix.insert(name.value, values);
        }
    }
    matrix
}

/// Reports values of the matrix that give builds the same name.
fn check_names(section: &Section<'_>, table: &BuildTable) {
    let Some(matrix) = section.get("matrix") else {
        return;
    };
    if !matrix.content.is_table() {
        return;
    }
    for (name, value) in matrix.entries("a table of lists") {
        let values = table.matrix.get(&name.value).into_iter().flatten();
        let mut seen = BTreeSet::new();
        let twice = values.map(for_name).find(|text| !seen.insert(text.clone()));
        if let Some(text) = twice {
            let full = format!("{}/{}={text}", table.name, name.value);
            let problem = Diagnostic::error(
                Code::ConfigDuplicateName,
                format!(
                    "two values of `{}` give builds the same name, `{full}`",
                    value.name
                ),
            );
            section.reading.at(&value.range, "", problem);
        }
    }
}

fn read_unknown_parameters(value: &Value<'_>) -> Option<UnknownParameters> {
    let text = value.text()?.value;
    match text.as_str() {
        "error" => Some(UnknownParameters::Error),
        "warn" => Some(UnknownParameters::Warn),
        _ => {
            value.bad(
                format!("`{text}` is not a value of `unknown_parameters`"),
                "`error` or `warn`",
            );
            None
        }
    }
}

fn default_timescale() -> Timescale {
    Timescale {
        unit: "1ns".to_owned(),
        precision: "1ps".to_owned(),
    }
}

fn read_timescale(value: &Value<'_>) -> Option<Timescale> {
    let text = value.text()?.value;
    let complain = |message: String| {
        let problem = Diagnostic::error(Code::ConfigBadValue, message);
        value
            .reading
            .at(&value.range, "", problem.help("write it as `\"1ns/1ps\"`"));
        None
    };
    let parts = text
        .split_once('/')
        .map(|(unit, precision)| (unit.trim(), precision.trim()));
    let Some((unit, precision)) = parts else {
        return complain(format!("invalid timescale `{text}`: it has no `/`"));
    };
    let (Some((unit, unit_log)), Some((precision, precision_log))) = (time(unit), time(precision))
    else {
        let wrong = if time(unit).is_none() {
            unit
        } else {
            precision
        };
        return complain(format!(
            "invalid timescale unit `{wrong}`: expected 1, 10 or 100, then s, ms, us, ns, ps or fs"
        ));
    };
    if precision_log > unit_log {
        return complain(format!(
            "the precision `{precision}` is coarser than the unit `{unit}`"
        ));
    }
    Some(Timescale { unit, precision })
}

/// Reads a time such as `10ns`; returns it without blanks, and its decimal exponent in seconds.
fn time(text: &str) -> Option<(String, i32)> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = (&text[..digits], text[digits..].trim());
    let scale = match number {
        "1" => 0,
        "10" => 1,
        "100" => 2,
        _ => return None,
    };
    let exponent = match unit {
        "s" => 0,
        "ms" => -3,
        "us" => -6,
        "ns" => -9,
        "ps" => -12,
        "fs" => -15,
        _ => return None,
    };
    Some((format!("{number}{unit}"), exponent + scale))
}

fn own_args(section: &Section<'_>, simulator: &SimulatorName) -> Vec<String> {
    let Some(value) = section.get(simulator.as_str()) else {
        return Vec::new();
    };
    let title = section.title.replace(']', &format!(".{simulator}]"));
    value
        .section(Table::Simulator, &title)
        .map(|own| plain(own.texts("build_args")))
        .unwrap_or_default()
}

/// Reads `env`; `refused` says why a name is not allowed.
pub(super) fn read_env(
    section: &Section<'_>,
    refused: impl Fn(&str) -> Option<String>,
) -> BTreeMap<String, String> {
    let Some(table) = section.get("env") else {
        return BTreeMap::new();
    };
    let mut env = BTreeMap::new();
    for (name, value) in table.entries("a table of strings") {
        if is_env_name(section.reading, &name, &refused) {
            env.extend(env_value(&value).map(|text| (name.value, text)));
        }
    }
    env
}

/// Says whether a variable may be set, after reporting that it may not.
pub(super) fn is_env_name(
    reading: &Reading,
    name: &Located<String>,
    refused: impl Fn(&str) -> Option<String>,
) -> bool {
    let problem = |words: String| Diagnostic::error(Code::ConfigBadValue, words);
    let problem = if name.value.is_empty() || name.value.contains(['=', '\0']) {
        problem(format!("`{}` is not a variable name", name.value))
    } else if let Some(help) = refused(&name.value) {
        problem(format!("`{}` is set by cocorun itself", name.value)).help(help)
    } else {
        return true;
    };
    reading.at(&name.range, "", problem);
    false
}

/// Reads the value of a variable or plusarg.
pub(super) fn env_value(value: &Value<'_>) -> Option<String> {
    match value.content {
        DeValue::Integer(_) => value.integer(i64::MIN, i64::MAX).map(|n| n.to_string()),
        DeValue::String(_) => value.text().map(|text| text.value),
        _ => {
            value.wrong_type("a string or an integer");
            None
        }
    }
}

/// Returns the strings without their positions.
pub(super) fn plain(texts: Vec<Located<String>>) -> Vec<String> {
    texts.into_iter().map(|text| text.value).collect()
}

//! Reads what a build table varies: `matrix`, `variants`, `exclude` and `include`.

use crate::config::combinations::Combination;
use crate::config::combinations::Values;
use crate::config::combinations::for_name;
use crate::config::combinations::include;
use crate::config::combinations::product;
use crate::config::document::Located;
use crate::config::document::Section;
use crate::config::document::Value;
use crate::config::hdl_values::ValueUse;
use crate::config::hdl_values::check_identifier;
use crate::config::hdl_values::hdl_value;
use crate::config::keys::in_words;
use crate::config::suggest::closest;
use crate::diagnostic::Code;
use crate::diagnostic::Diagnostic;
use crate::model::build::HdlValue;
use crate::model::build::SimulatorName;

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::ops::Range;
use toml::de::DeValue;

/// How many builds one table may make; a matrix of a few lists can reach astronomical numbers.
const BUILDS_MAX: usize = 10_000;

/// Characters that such a name may contain besides letters and digits; others separate names.
const NAME_MARKS: &str = "_-.";

/// Says whether a text is fit for being the name of a build, a variant or a test.
pub(super) fn is_name(text: &str) -> bool {
    let fit = |c: char| c.is_ascii_alphanumeric() || NAME_MARKS.contains(c);
    !text.is_empty() && text.chars().all(fit)
}

/// A table of values, and where it is.
#[derive(Clone, Debug)]
struct Entry {
    name: Option<String>,
    values: Values,
    range: Range<usize>,
}

/// Reads the combinations of a build table; never empty, so that each table has builds.
pub(super) fn read(section: &Section<'_>, table: &str, simulators: usize) -> Vec<Combination> {
    let matrix = read_matrix(section, table);
    let variants = read_variants(section);
    let (excluded, included) = (entries(section, "exclude"), entries(section, "include"));
    check_keys(section, &matrix, &variants);
    let lengths = matrix.values().map(Vec::len);
    let count = lengths.fold(variants.len().max(1), usize::saturating_mul);
    let count = count.saturating_add(included.len());
    if count.saturating_mul(simulators) > BUILDS_MAX {
        let keys = ["matrix", "variants", "include"];
        if let Some(value) = keys.iter().find_map(|key| section.get(key)) {
            let (name, title) = (&value.name, &section.title);
            value.bad(
                format!("the {name} of `{title}` makes more than {BUILDS_MAX} builds"),
                "",
            );
        }
        return vec![Combination::default()];
    }
    let varies = !matrix.is_empty() || !variants.is_empty();
    let base = match (varies, included.is_empty()) {
        // Then every `include` is a combination of its own.
        (false, false) => Vec::new(),
        _ if variants.is_empty() => vec![Combination::default()],
        _ => variants
            .into_iter()
            .map(|it| Combination::variant(it.name, it.values))
            .collect(),
    };
    let mut combinations = product(base, &matrix);
    exclude(section, &mut combinations, &excluded);
    let originals = combinations.len();
    for entry in &included {
        if !include(&mut combinations, originals, &entry.values) {
            let message = "this `include` changes nothing";
            let problem = Diagnostic::error(Code::ConfigBadValue, message);
            let problem = problem.fact("a combination has all its values already");
            section.reading.at(&entry.range, "", problem);
        }
    }
    check_names(section, table, &combinations, &included);
    if combinations.is_empty() {
        combinations.push(Combination::default());
    }
    combinations
}

/// Returns what the values of a key that varies are used for.
fn use_of(section: &Section<'_>, key: &str) -> ValueUse {
    let variables = section.get("variables");
    let is_variable = |table: &Value<'_>| {
        let table = table.content.as_table();
        table.is_some_and(|table| table.contains_key(key))
    };
    if variables.is_some_and(|table| is_variable(&table)) {
        ValueUse::Variable
    } else {
        ValueUse::Parameter
    }
}

fn read_matrix(section: &Section<'_>, table: &str) -> BTreeMap<String, Vec<HdlValue>> {
    let mut matrix = BTreeMap::new();
    let Some(lists) = section.get("matrix") else {
        return matrix;
    };
    for (name, value) in lists.entries("a table of lists") {
        check_identifier(section.reading, &name);
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
            .filter_map(|item| hdl_value(item, use_of(section, &name.value)))
            .collect();
        let mut seen = BTreeSet::new();
        let mut names = values.iter().map(for_name);
        if let Some(text) = names.find(|text| !seen.insert(text.clone())) {
            let full = format!("{table}/{}={text}", name.value);
            let problem = Diagnostic::error(
                Code::ConfigDuplicateName,
                format!(
                    "two values of `{}` give builds the same name, `{full}`",
                    value.name
                ),
            );
            section.reading.at(&value.range, "", problem);
        }
        if !values.is_empty() {
            matrix.insert(name.value, values);
        }
    }
    matrix
}

/// Reads `variants`: a list of tables, which are named by their values, or a table of tables, which
/// are named by their keys.
fn read_variants(section: &Section<'_>) -> Vec<Entry> {
    let Some(value) = section.get("variants") else {
        return Vec::new();
    };
    let mut entries = Vec::new();
    if value.content.is_table() {
        for (name, value) in value.entries("a table of tables") {
            if !is_name(&name.value) {
                let message = format!("`{}` is not a valid name of a variant", name.value);
                let problem = Diagnostic::error(Code::ConfigBadValue, message)
                    .help("a name consists of letters, digits, `_`, `-` and `.`");
                section.reading.at(&name.range, "", problem);
            }
            let entry = read_entry(section, &value);
            entries.extend(entry.map(|entry| Entry {
                name: Some(name.value),
                range: name.range,
                ..entry
            }));
        }
    } else {
        let items = value.items("a list of tables, or a table of tables");
        entries.extend(items.iter().filter_map(|it| read_entry(section, it)));
    }
    let is_empty = value.content.as_array().is_some_and(|it| it.is_empty())
        || matches!(value.content, DeValue::Table(table) if table.is_empty());
    if is_empty {
        value.bad("`variants` is empty", "makes no build");
    }
    check_sisters(section, &entries);
    entries
}

/// Reads `exclude` or `include`: a list of tables.
fn entries(section: &Section<'_>, key: &str) -> Vec<Entry> {
    let Some(value) = section.get(key) else {
        return Vec::new();
    };
    let Some(items) = value.content.as_array() else {
        let problem = value.wrong_type_problem("a list of tables");
        section
            .reading
            .at(&value.range, value.type_words(), problem);
        return Vec::new();
    };
    if key == "include" && items.iter().all(|it| it.get_ref().is_str()) && !items.is_empty() {
        let problem = value.wrong_type_problem("a list of tables");
        let problem = problem.help("folders that `` `include `` searches go in `includes`");
        section
            .reading
            .at(&value.range, "a list of strings", problem);
        return Vec::new();
    }
    let items = value.items("a list of tables");
    let entries: Vec<Entry> = items
        .iter()
        .filter_map(|it| read_entry(section, it))
        .collect();
    for entry in &entries {
        if entry.values.is_empty() {
            let message = format!("a table of `{key}` is empty");
            let problem = Diagnostic::error(Code::ConfigBadValue, message);
            section.reading.at(&entry.range, "", problem);
        }
    }
    entries
}

fn read_entry(section: &Section<'_>, value: &Value<'_>) -> Option<Entry> {
    if !value.content.is_table() {
        value.wrong_type("a table of values");
        return None;
    }
    let mut values = Values::new();
    for (name, value) in value.entries("a table of values") {
        check_identifier(value.reading, &name);
        if let Some(value) = hdl_value(&value, use_of(section, &name.value)) {
            values.insert(name.value, value);
        }
    }
    Some(Entry {
        name: None,
        values,
        range: value.range.clone(),
    })
}

/// Reports variants that have other keys than the first.
fn check_sisters(section: &Section<'_>, variants: &[Entry]) {
    let Some((first, others)) = variants.split_first() else {
        return;
    };
    if !section.reading.is_whole() {
        return;
    }
    for variant in others {
        let keys = |one: &Entry, other: &Entry| -> Vec<String> {
            let missing = one
                .values
                .keys()
                .filter(|key| !other.values.contains_key(*key));
            missing.cloned().collect()
        };
        let (missing, extra) = (keys(first, variant), keys(variant, first));
        let words = |names: &[String]| {
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            in_words(&names)
        };
        let message = match (missing.as_slice(), extra.as_slice()) {
            ([], []) => continue,
            ([], _) => format!(
                "a variant has {}, which the first one does not",
                words(&extra)
            ),
            (_, []) => format!("a variant is missing {}", words(&missing)),
            _ => format!(
                "a variant is missing {} and has {} instead",
                words(&missing),
                words(&extra)
            ),
        };
        let place = section.reading.document.place(first.range.start);
        let problem = Diagnostic::error(Code::ConfigBadValue, message);
        let problem = problem.fact(format!("the first variant is at {place}"));
        let problem = match (missing.as_slice(), extra.as_slice()) {
            ([one], [other]) if closest(other, [one.as_str()]).is_some() => {
                problem.help(format!("did you mean `{one}`?"))
            }
            _ => problem.help("give all variants the same keys"),
        };
        section.reading.at(&variant.range, "", problem);
    }
}

/// Reports keys that are given more than once, and those of `exclude` that nothing has.
fn check_keys(section: &Section<'_>, matrix: &BTreeMap<String, Vec<HdlValue>>, variants: &[Entry]) {
    let Some(value) = section.get("matrix").filter(|it| it.content.is_table()) else {
        return;
    };
    for (name, _) in value.entries("a table of lists") {
        let is_varied = |variant: &Entry| variant.values.contains_key(&name.value);
        if matrix.contains_key(&name.value) && variants.iter().any(is_varied) {
            let message = format!("`{}` is in both `matrix` and `variants`", name.value);
            let problem = Diagnostic::error(Code::ConfigBadValue, message);
            section
                .reading
                .at(&name.range, "", problem.help("keep one of the two"));
        }
    }
}

/// Removes what `exclude` matches, and reports entries that match nothing.
fn exclude(section: &Section<'_>, combinations: &mut Vec<Combination>, excluded: &[Entry]) {
    let all = combinations.clone();
    for entry in excluded.iter().filter(|entry| !entry.values.is_empty()) {
        combinations.retain(|it| !it.matches(&entry.values));
        if all.iter().any(|it| it.matches(&entry.values)) || !section.reading.is_whole() {
            continue;
        }
        let message = "this `exclude` matches no combination";
        let problem = Diagnostic::error(Code::ConfigBadValue, message);
        let known: BTreeSet<&str> = all
            .iter()
            .flat_map(|it| it.values.keys().map(String::as_str))
            .collect();
        let mut unknown = entry
            .values
            .keys()
            .filter(|key| !known.contains(key.as_str()));
        let problem = match unknown.next() {
            Some(key) => {
                let problem = problem.fact(format!("none has a `{key}`"));
                match closest(key, known.iter().copied()) {
                    Some(close) => problem.help(format!("did you mean `{close}`?")),
                    None => problem,
                }
            }
            None => problem,
        };
        section.reading.at(&entry.range, "", problem);
    }
    let leaves_none = combinations.is_empty() && !all.is_empty();
    if let (true, Some(value)) = (leaves_none, section.get("exclude")) {
        value.bad("`exclude` leaves no combination", "");
    }
}

/// Reports combinations that give builds the same name.
fn check_names(
    section: &Section<'_>,
    table: &str,
    combinations: &[Combination],
    included: &[Entry],
) {
    let mut seen = BTreeSet::new();
    let mut suffixes = combinations.iter().map(Combination::suffix);
    let Some(twice) = suffixes.find(|suffix| !seen.insert(suffix.clone())) else {
        return;
    };
    // Equal values of the matrix are reported with it.
    let key = if section.get("variants").is_some() {
        "variants"
    } else if included.is_empty() {
        return;
    } else {
        "include"
    };
    if let Some(value) = section.get(key) {
        let message = format!("two combinations give builds the same name, `{table}{twice}`");
        let problem = Diagnostic::error(Code::ConfigDuplicateName, message);
        let help = "remove one, or name them: `[build.NAME.variants.NAME]`";
        section.reading.at(&value.range, "", problem.help(help));
    }
}

/// Returns every key that `matrix`, `variants` or `include` gives values to, with its place.
pub(super) fn varied_keys(section: &Section<'_>) -> Vec<(Located<String>, &'static str)> {
    let keys = varied(section).into_iter();
    keys.map(|(key, _, from)| (key, from)).collect()
}

/// Returns every key of these tables with its value, a list in `matrix`, and the name of the table.
fn varied<'a>(section: &Section<'a>) -> Vec<(Located<String>, Value<'a>, &'static str)> {
    let mut keys = Vec::new();
    let mut take = |value: &Value<'a>, from: &'static str| {
        if value.content.is_table() {
            let entries = value.entries("a table").into_iter();
            keys.extend(entries.map(|(name, value)| (name, value, from)));
        }
    };
    if let Some(matrix) = section.get("matrix") {
        take(&matrix, "matrix");
    }
    for from in ["variants", "include"] {
        let Some(value) = section.get(from) else {
            continue;
        };
        if value.content.is_table() {
            let variants = value.entries("a table of tables");
            for (_, variant) in &variants {
                take(variant, from);
            }
        } else if value.content.is_array() {
            let variants = value.items("a list of tables");
            for variant in &variants {
                take(variant, from);
            }
        }
    }
    keys
}

/// Returns every value that `matrix`, `variants` or `include` gives to a key, with the key.
pub(super) fn varied_values<'a>(section: &Section<'a>) -> Vec<(Located<String>, Value<'a>)> {
    let mut values = Vec::new();
    for (key, value, from) in varied(section) {
        if from == "matrix" && value.content.is_array() {
            let items = value.items("a list of values").into_iter();
            values.extend(items.map(|item| (key.clone(), item)));
        } else if from != "matrix" {
            values.push((key, value));
        }
    }
    values
}

/// Returns where a parameter is given: its value in a table of parameters, or its key in what varies.
pub(super) fn place_of(
    section: &Section<'_>,
    simulator: &SimulatorName,
    name: &str,
) -> Range<usize> {
    let fixed = |table: Option<Value<'_>>| {
        let entries = table?.entries("a table of values");
        let mut entries = entries.into_iter();
        entries.find_map(|(key, value)| (key.value == name).then_some(value.range))
    };
    let own = section.get(simulator.as_str());
    let own = own.filter(|own| own.content.is_table()).and_then(|own| {
        let entries = own.entries("a table");
        let mut entries = entries.into_iter();
        entries.find_map(|(key, value)| (key.value == "parameters").then_some(value))
    });
    let varied = || {
        let mut keys = varied_keys(section).into_iter();
        keys.find_map(|(key, _)| (key.value == name).then_some(key.range))
    };
    fixed(own)
        .or_else(|| fixed(section.get("parameters")))
        .or_else(varied)
        .unwrap_or_else(|| section.range.clone())
}

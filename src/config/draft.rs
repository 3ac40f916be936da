//! A build table as it is written: what its builds have in common, and strings that each of them
//! may read differently.

use crate::config::document::Located;
use crate::config::document::Reading;
use crate::config::document::Section;
use crate::config::document::Value;
use crate::config::hdl_values::Setting;
use crate::config::hdl_values::ValueUse;
use crate::config::hdl_values::read_settings;
use crate::config::keys::Table;
use crate::config::suggest::closest;
use crate::config::template::Braces;
use crate::config::template::Template;
use crate::config::timescale::read_timescale;
use crate::diagnostic::Code;
use crate::diagnostic::Diagnostic;
use crate::model::build::SimulatorName;
use crate::model::build::Timescale;
use crate::model::build::UnknownParameters;
use crate::sim::registry::Registry;

use std::collections::BTreeMap;
use toml::de::DeValue;

/// A `[build.NAME]`, except for what it varies.
#[derive(Clone, Debug)]
pub(super) struct Draft {
    /// Never empty.
    pub(super) simulators: Vec<SimulatorName>,
    /// What is for all simulators.
    pub(super) common: CompileInputs,
    /// `[build.NAME.SIMULATOR]`.
    pub(super) own: BTreeMap<SimulatorName, CompileInputs>,
    pub(super) hdl_toplevel: Option<Template>,
    /// Values for braces only.
    pub(super) variables: BTreeMap<String, Setting>,
    pub(super) env: BTreeMap<String, Template>,
    pub(super) unknown_parameters: UnknownParameters,
    /// That of the table itself; one of a file list comes after it.
    pub(super) timescale: Option<Timescale>,
    pub(super) waves: bool,
}

/// What a design is compiled from, for all simulators or for one.
#[derive(Clone, Debug, Default)]
pub(super) struct CompileInputs {
    pub(super) sources: Vec<Template>,
    pub(super) includes: Vec<Template>,
    pub(super) defines: BTreeMap<String, Setting>,
    pub(super) parameters: BTreeMap<String, Setting>,
    pub(super) extra_toplevels: Vec<Template>,
    pub(super) build_args: Vec<Template>,
}

impl CompileInputs {
    fn read(section: &Section<'_>) -> Self {
        Self {
            sources: templates(section, "sources", Braces::Pattern),
            includes: templates(section, "includes", Braces::Pattern),
            defines: read_settings(section, "defines", ValueUse::Define),
            parameters: read_settings(section, "parameters", ValueUse::Parameter),
            extra_toplevels: templates(section, "extra_toplevels", Braces::Plain),
            build_args: templates(section, "build_args", Braces::Plain),
        }
    }
}

impl Draft {
    /// Reads a build table, except for what it varies.
    pub(super) fn read(section: &Section<'_>, default_simulators: &[SimulatorName]) -> Self {
        let reading = section.reading;
        let simulators = match section.get("simulator") {
            Some(value) => read_simulators(&value),
            None => default_simulators.to_vec(),
        };
        check_sources(section);
        let own = reading
            .registry
            .names()
            .into_iter()
            .filter_map(|simulator| {
                let parts = read_own(section, &simulator)?;
                Some((simulator, parts))
            });
        let template = |source| Template::read(reading, source, Braces::Plain);
        Self {
            common: CompileInputs::read(section),
            own: own.collect(),
            simulators,
            hdl_toplevel: section
                .require("hdl_toplevel")
                .and_then(|value| value.name_text())
                .map(template),
            variables: read_settings(section, "variables", ValueUse::Variable),
            env: read_env(section, |_| None)
                .into_iter()
                .map(|(name, text)| (name, template(text)))
                .collect(),
            unknown_parameters: section
                .get("unknown_parameters")
                .and_then(|value| read_unknown_parameters(&value))
                .unwrap_or_default(),
            timescale: section
                .get("timescale")
                .and_then(|value| read_timescale(&value)),
            waves: section.switch("waves", false),
        }
    }

    /// Returns what a simulator gets: the parts that all have, then its own.
    pub(super) fn parts(&self, simulator: &SimulatorName) -> impl Iterator<Item = &CompileInputs> {
        std::iter::once(&self.common).chain(self.own.get(simulator))
    }
}

fn templates(section: &Section<'_>, key: &str, braces: Braces) -> Vec<Template> {
    Template::read_all(section.reading, section.texts(key), braces)
}

fn read_own(section: &Section<'_>, simulator: &SimulatorName) -> Option<CompileInputs> {
    let title = section.title.replace(']', &format!(".{simulator}]"));
    let own = section
        .get(simulator.as_str())?
        .section(Table::Simulator, &title)?;
    Some(CompileInputs::read(&own))
}

/// Reports `sources` that are absent or an empty list.
fn check_sources(section: &Section<'_>) {
    let Some(value) = section.require("sources") else {
        return;
    };
    let items = value.content.as_array();
    if items.is_some_and(|items| items.is_empty()) {
        value.bad(
            format!("`sources` of `{}` is empty", section.title),
            "names no file",
        );
    }
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

/// Reads `env`; `refused` says why a name is not allowed.
pub(super) fn read_env(
    section: &Section<'_>,
    refused: impl Fn(&str) -> Option<String>,
) -> BTreeMap<String, Located<String>> {
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
pub(super) fn env_value(value: &Value<'_>) -> Option<Located<String>> {
    match value.content {
        DeValue::Integer(_) => {
            let number = value.integer(i64::MIN, i64::MAX);
            number.map(|number| Located {
                value: number.to_string(),
                range: value.range.clone(),
            })
        }
        DeValue::String(_) => value.text(),
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

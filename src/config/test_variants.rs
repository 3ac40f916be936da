//! `name`, `variants` and `matrix` of a `[[test]]`: what its modules run with, once each.
//!
//! Invariant: no two variants of a table have the same name, so ids stay unique.

use crate::config::combinations::for_name;
use crate::config::document::Located;
use crate::config::document::Reading;
use crate::config::document::Section;
use crate::config::document::Value;
use crate::config::draft::env_value;
use crate::config::draft::is_env_name;
use crate::config::keys::Table;
use crate::config::run_values::plusarg;
use crate::config::run_values::refused_variable;
use crate::config::variants::is_name;
use crate::diagnostic::Code;
use crate::diagnostic::Diagnostic;
use crate::model::build::HdlValue;
use crate::model::test::RunSettings;
use crate::model::test::Seed;
use crate::model::test::TestVariant;

use std::collections::BTreeSet;
use std::ops::Range;
use toml::de::DeValue;

/// The longest `name`, and the longest key of `variants`, in characters.
const NAME_CHARACTERS_MAX: usize = 40;

/// How many variants one table may have.
const VARIANTS_MAX: usize = 10_000;

/// One setting that a variant changes.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Setting {
    Env(String, String),
    /// A plusarg without `+`, and its value if it has one.
    Plusarg(String, Option<String>),
    Seed(u32),
}

impl Setting {
    /// Returns the key it is written under.
    fn key(&self) -> String {
        match self {
            Self::Env(name, _) => format!("env.{name}"),
            Self::Plusarg(name, _) => format!("plusargs.{name}"),
            Self::Seed(_) => "seed".to_owned(),
        }
    }

    /// Returns its part of a variant's name.
    fn label(&self) -> String {
        let fit = |text: &str| for_name(&HdlValue::Text(text.to_owned()));
        match self {
            Self::Env(name, value) | Self::Plusarg(name, Some(value)) => {
                format!("{}={}", fit(name), fit(value))
            }
            Self::Plusarg(name, None) => fit(name),
            Self::Seed(seed) => format!("seed={seed}"),
        }
    }

    fn apply(&self, settings: &mut RunSettings) {
        let fixed = &mut settings.fixed;
        match self {
            Self::Env(name, value) => {
                fixed.env.insert(name.clone());
                settings.env.insert(name.clone(), value.clone());
            }
            Self::Plusarg(name, value) => {
                let bare = format!("+{name}");
                // Simulators use the first of several values.
                settings
                    .plusargs
                    .retain(|it| it.split('=').next() != Some(&bare));
                settings.plusargs.push(match value {
                    Some(value) => format!("{bare}={value}"),
                    None => bare.clone(),
                });
                fixed.plusargs.insert(bare);
            }
            Self::Seed(seed) => {
                fixed.seed = true;
                settings.seed = Some(Seed(*seed));
            }
        }
    }

    /// Says whether the table itself gives it too.
    fn is_in(&self, settings: &RunSettings) -> bool {
        match self {
            Self::Env(name, _) => settings.env.contains_key(name),
            Self::Plusarg(name, _) => settings
                .plusargs
                .iter()
                .any(|it| it[1..].split('=').next() == Some(name)),
            Self::Seed(_) => settings.seed.is_some(),
        }
    }
}

/// One way to run a table's modules.
#[derive(Clone, Debug, Default)]
struct Way {
    labels: Vec<String>,
    settings: Vec<Setting>,
}

/// Returns the settings of each variant with its name; a table without the three keys has one
/// without a name.
pub(super) fn read(
    section: &Section<'_>,
    settings: &RunSettings,
) -> Vec<(Option<TestVariant>, RunSettings)> {
    let mut ways = vec![Way::default()];
    if let Some(name) = read_name(section) {
        ways[0].labels.push(name);
    }
    if let Some(value) = section.get("variants") {
        let variants = read_variants(&value);
        if variants.len() > VARIANTS_MAX {
            too_many(&value);
        } else {
            ways = product(&ways, &variants);
        }
    }
    if let Some(value) = section.get("matrix") {
        for axis in read_matrix(&value, &ways, settings) {
            if ways.len().saturating_mul(axis.len()) > VARIANTS_MAX {
                too_many(&value);
                break;
            }
            let axis: Vec<Way> = axis.into_iter().map(Way::of).collect();
            ways = product(&ways, &axis);
        }
    }
    check_names(section, &ways);
    let whole = |way: &Way| {
        let mut settings = settings.clone();
        for setting in &way.settings {
            setting.apply(&mut settings);
        }
        let is_named = !way.labels.is_empty();
        let name = is_named.then(|| TestVariant(way.labels.join("/")));
        (name, settings)
    };
    ways.iter().map(whole).collect()
}

fn too_many(value: &Value<'_>) {
    let words = format!("this `[[test]]` has more than {VARIANTS_MAX} variants");
    value.bad(words, "");
}

impl Way {
    fn of(setting: Setting) -> Self {
        Self {
            labels: vec![setting.label()],
            settings: vec![setting],
        }
    }
}

/// Combines each with each, the second varying faster; what cannot be read multiplies nothing.
fn product(first: &[Way], second: &[Way]) -> Vec<Way> {
    if second.is_empty() {
        return first.to_vec();
    }
    let join = |one: &Way, other: &Way| Way {
        labels: [&*one.labels, &other.labels].concat(),
        settings: [&*one.settings, &other.settings].concat(),
    };
    let pairs = first
        .iter()
        .flat_map(|one| second.iter().map(move |other| join(one, other)));
    pairs.collect()
}

fn read_name(section: &Section<'_>) -> Option<String> {
    let name = section.get("name")?.name_text()?;
    check_name(section, &name);
    Some(name.value)
}

/// Reports a text that is not fit for being part of an id.
fn check_name(section: &Section<'_>, name: &Located<String>) {
    let is_fit = is_name(&name.value);
    let is_short = name.value.chars().count() <= NAME_CHARACTERS_MAX;
    if !is_fit || !is_short {
        let words = format!("`{}` is not a valid name of a test", name.value);
        let problem = Diagnostic::error(Code::ConfigBadValue, words).help(format!(
            "a name consists of letters, digits, `_`, `-` and `.`, at most {NAME_CHARACTERS_MAX}"
        ));
        section.reading.at(&name.range, "", problem);
    }
}

/// Reads `variants`: a list of tables, or tables with names.
fn read_variants(value: &Value<'_>) -> Vec<Way> {
    match value.content {
        DeValue::Array(items) if items.is_empty() => {
            value.bad("`variants` is an empty list", "holds no variant");
            Vec::new()
        }
        DeValue::Array(_) => {
            let items = value.items("a list of tables");
            let items = items.iter();
            let read = |item: &Value<'_>| {
                let section = item.section(Table::TestVariant, "variants")?;
                let settings = read_settings(&section);
                if settings.is_empty() && section.reading.is_whole() {
                    item.bad("this variant sets nothing", "");
                }
                let labels = settings.iter().map(Setting::label).collect();
                Some((item.range.clone(), Way { labels, settings }))
            };
            let ways: Vec<(Range<usize>, Way)> = items.filter_map(read).collect();
            check_sisters(value, &ways);
            ways.into_iter().map(|(_, way)| way).collect()
        }
        DeValue::Table(_) => {
            let entries = value.entries("tables");
            if entries.is_empty() {
                value.bad("`variants` is an empty table", "holds no variant");
            }
            let read = |(name, value): &(Located<String>, Value<'_>)| {
                let section = value.section(Table::TestVariant, &value.name)?;
                check_name(&section, name);
                Some(Way {
                    labels: vec![name.value.clone()],
                    settings: read_settings(&section),
                })
            };
            entries.iter().filter_map(read).collect()
        }
        _ => {
            value.wrong_type("a list of tables, or tables with names");
            Vec::new()
        }
    }
}

/// Reports variants of a list that do not have the keys of the first.
fn check_sisters(value: &Value<'_>, ways: &[(Range<usize>, Way)]) {
    let keys = |way: &Way| -> BTreeSet<String> { way.settings.iter().map(Setting::key).collect() };
    let Some((_, first)) = ways.first() else {
        return;
    };
    let expected = keys(first);
    for (range, way) in &ways[1..] {
        let found = keys(way);
        let listed = |keys: Vec<&String>| {
            let quoted: Vec<String> = keys.into_iter().map(|key| format!("`{key}`")).collect();
            quoted.join(", ")
        };
        let missing: Vec<&String> = expected.difference(&found).collect();
        let more: Vec<&String> = found.difference(&expected).collect();
        if missing.is_empty() && more.is_empty() || found.is_empty() {
            continue;
        }
        let words = "this variant has other keys than the first one";
        let mut problem = Diagnostic::error(Code::ConfigBadValue, words);
        for (what, keys) in [("missing", missing), ("only here", more)] {
            if !keys.is_empty() {
                problem = problem.fact(format!("{what}: {}", listed(keys)));
            }
        }
        let help = "give all of them the same keys, or each a name: `[test.variants.NAME]`";
        value.reading.at(range, "", problem.help(help));
    }
}

fn read_settings(section: &Section<'_>) -> Vec<Setting> {
    let mut settings = Vec::new();
    for (name, value) in env_entries(section) {
        settings.extend(env_value(&value).map(|text| Setting::Env(name.value, text.value)));
    }
    if let Some(value) = section.get("plusargs") {
        if value.content.is_array() {
            for text in value.texts() {
                settings.extend(read_plusarg(section, &text));
            }
        } else {
            for (name, value) in plusarg_entries(&value, "a list of strings or a table") {
                settings.extend(plusarg_setting(&name, &value));
            }
        }
    }
    if let Some(value) = section.get("seed") {
        settings.extend(seed(&value).map(Setting::Seed));
    }
    settings
}

fn read_plusarg(section: &Section<'_>, text: &Located<String>) -> Option<Setting> {
    let Some(whole) = plusarg(&text.value) else {
        let words = format!("invalid plusarg `{}`", text.value);
        let problem = Diagnostic::error(Code::ConfigBadValue, words);
        let problem = problem.help("write `\"name\"` or `\"name=value\"`");
        section.reading.at(&text.range, "", problem);
        return None;
    };
    let mut parts = whole[1..].splitn(2, '=').map(str::to_owned);
    let name = parts.next()?;
    is_fixed_name(section.reading, &name, &text.range).then(|| Setting::Plusarg(name, parts.next()))
}

fn plusarg_setting(name: &str, value: &Value<'_>) -> Option<Setting> {
    let text = env_value(value)?.value;
    let text = (!text.is_empty()).then_some(text);
    Some(Setting::Plusarg(name.to_owned(), text))
}

fn seed(value: &Value<'_>) -> Option<u32> {
    let seed = value.integer(0, i64::from(u32::MAX))?;
    u32::try_from(seed).ok()
}

/// Returns the entries of `env` whose names are variables that may be set.
fn env_entries<'a>(section: &Section<'a>) -> Vec<(Located<String>, Value<'a>)> {
    let Some(value) = section.get("env") else {
        return Vec::new();
    };
    let mut entries = value.entries("a table");
    entries.retain(|(name, _)| is_env_name(section.reading, name, refused_variable));
    entries
}

/// Returns the entries of a table of plusargs, with names without `+`.
fn plusarg_entries<'a>(value: &Value<'a>, wanted: &str) -> Vec<(String, Value<'a>)> {
    let mut entries = Vec::new();
    for (name, entry) in value.entries(wanted) {
        let Some(whole) = plusarg(&name.value).filter(|it| !it.contains('=')) else {
            let words = format!("invalid name of a plusarg, `{}`", name.value);
            let problem = Diagnostic::error(Code::ConfigBadValue, words);
            value.reading.at(&name.range, "", problem);
            continue;
        };
        if is_fixed_name(value.reading, &whole[1..], &name.range) {
            entries.push((whole[1..].to_owned(), entry));
        }
    }
    entries
}

/// Says whether a plusarg of a variant has the same name on every build, after reporting that it
/// does not.
fn is_fixed_name(reading: &Reading, name: &str, range: &Range<usize>) -> bool {
    let is_fixed = !name.contains(['{', '}']);
    if !is_fixed {
        let words = format!("the name of a variant's plusarg has a brace, `{name}`");
        let problem = Diagnostic::error(Code::ConfigBadValue, words);
        let problem = problem.help("only its value can depend on the build");
        reading.at(range, "", problem);
    }
    is_fixed
}

/// Reads `matrix`: the alternatives of each key.
fn read_matrix(value: &Value<'_>, ways: &[Way], settings: &RunSettings) -> Vec<Vec<Setting>> {
    let Some(section) = value.section(Table::TestVariant, "matrix") else {
        return Vec::new();
    };
    let mut found: Vec<(Value<'_>, Vec<Setting>)> = Vec::new();
    for (name, value) in env_entries(&section) {
        let items = alternatives(&value);
        let texts = items.iter().filter_map(env_value);
        let axis = texts.map(|text| Setting::Env(name.value.clone(), text.value));
        found.push((value, axis.collect()));
    }
    let plusargs = section.get("plusargs");
    let plusargs = plusargs.map(|value| plusarg_entries(&value, "a table of lists"));
    for (name, value) in plusargs.into_iter().flatten() {
        let items = alternatives(&value);
        let axis = items.iter().filter_map(|item| plusarg_setting(&name, item));
        found.push((value, axis.collect()));
    }
    if let Some(value) = section.get("seed") {
        let items = alternatives(&value);
        let axis = items.iter().filter_map(seed).map(Setting::Seed);
        found.push((value, axis.collect()));
    }
    if found.is_empty() && section.reading.is_whole() {
        value.bad("`matrix` is empty", "holds no list of values");
    }
    for (value, axis) in &found {
        let Some(first) = axis.first() else { continue };
        let key = first.key();
        let mut settings_of_variants = ways.iter().flat_map(|way| &way.settings);
        let other = if settings_of_variants.any(|it| it.key() == key) {
            "in both `matrix` and `variants`"
        } else if first.is_in(settings) {
            "both in `matrix` and outside of it"
        } else {
            continue;
        };
        let problem = Diagnostic::error(Code::ConfigBadValue, format!("`{key}` is {other}"));
        let problem = problem.help("keep one of the two");
        value.reading.at(&value.range, "", problem);
    }
    let all = found.into_iter().map(|(_, axis)| axis);
    all.filter(|axis| !axis.is_empty()).collect()
}

fn alternatives<'a>(value: &Value<'a>) -> Vec<Value<'a>> {
    let items = value.items("a list of values");
    let is_empty = |content: &DeValue<'_>| content.as_array().is_some_and(|it| it.is_empty());
    if is_empty(value.content) {
        value.bad(
            format!("`{}` is an empty list", value.name),
            "holds no value",
        );
    }
    items
}

/// Reports variants of one name.
fn check_names(section: &Section<'_>, ways: &[Way]) {
    let mut seen = BTreeSet::new();
    let mut names = ways.iter().map(|way| way.labels.join("/"));
    if let Some(twice) = names.find(|name| !seen.insert(name.clone())) {
        let words = format!("two variants of this `[[test]]` have the same name, `{twice}`");
        let problem = Diagnostic::error(Code::ConfigDuplicateName, words)
            .help("give each variant a name: `[test.variants.NAME]`");
        let value = section.get("matrix").or_else(|| section.get("variants"));
        let range = value.map_or_else(|| section.range.clone(), |value| value.range);
        section.reading.at(&range, "", problem);
    }
}

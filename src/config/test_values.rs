//! Values of a build in the strings of a `[[test]]`: checked on every build that it covers, and put
//! in when its runs are planned.

use crate::config::Variant;
use crate::config::document::Located;
use crate::config::document::Reading;
use crate::config::document::Section;
use crate::config::document::Value;
use crate::config::run_values::plusarg;
use crate::config::template::Braces;
use crate::config::template::Scope;
use crate::config::template::Template;
use crate::config::template::is_out;
use crate::config::template::rendered;
use crate::diagnostic::Code;
use crate::diagnostic::Diagnostic;
use crate::model::step;
use crate::model::test::RunSettings;

use toml::de::DeValue;

/// A string of a `[[test]]` that may depend on the build.
#[derive(Clone, Debug)]
pub(super) struct TestText {
    template: Template,
    /// Whether it is a whole plusarg, with its name.
    is_plusarg: bool,
}

/// Reads the strings of a `[[test]]` and of its variants that have values in braces; mistakes that
/// do not depend on a build are reported.
pub(super) fn read(section: &Section<'_>) -> Vec<TestText> {
    let mut texts = Vec::new();
    let mut add = |value: &Value<'_>, is_plusarg: bool| {
        add_texts(value, is_plusarg, &mut texts);
    };
    for key in ["test_args", "plusargs", "env"] {
        if let Some(value) = section.get(key) {
            add(&value, key == "plusargs");
        }
    }
    let of_variant = |value: &Value<'_>, add: &mut dyn FnMut(&Value<'_>, bool)| {
        for (key, value) in tables(value) {
            if ["plusargs", "env"].contains(&key.value.as_str()) {
                add(&value, key.value == "plusargs");
            }
        }
    };
    if let Some(matrix) = section.get("matrix") {
        of_variant(&matrix, &mut add);
    }
    if let Some(variants) = section.get("variants") {
        if variants.content.is_array() {
            let items = variants.items("a list of tables");
            for item in &items {
                of_variant(item, &mut add);
            }
        } else {
            for (_, variant) in tables(&variants) {
                of_variant(&variant, &mut add);
            }
        }
    }
    texts
}

/// Returns the entries of a table; what is none has none, which is reported where it is read.
fn tables<'a>(value: &Value<'a>) -> Vec<(Located<String>, Value<'a>)> {
    if value.content.is_table() {
        value.entries("a table")
    } else {
        Vec::new()
    }
}

/// Adds the strings in a value that have values in braces. In a list of plusargs each string is a
/// whole one; in a table they are the values.
fn add_texts(value: &Value<'_>, is_plusarg: bool, texts: &mut Vec<TestText>) {
    match value.content {
        DeValue::String(text) => {
            let source = Located {
                value: text.to_string(),
                range: value.range.clone(),
            };
            let template = Template::read(value.reading, source, Braces::Plain);
            if template.has_values() {
                texts.push(TestText {
                    template,
                    is_plusarg,
                });
            }
        }
        DeValue::Array(_) => {
            let items = value.items("a list of strings");
            for item in &items {
                add_texts(item, is_plusarg, texts);
            }
        }
        DeValue::Table(_) => {
            let entries = value.entries("a table");
            for (_, entry) in &entries {
                add_texts(entry, false, texts);
            }
        }
        _ => {}
    }
}

/// Reports what the strings of a `[[test]]` need and a build that it covers does not have.
pub(super) fn check<'a>(
    reading: &Reading,
    texts: &[TestText],
    variants: impl Iterator<Item = &'a Variant>,
) {
    if texts.is_empty() {
        return;
    }
    let problem = |message: String| Diagnostic::error(Code::ConfigTemplate, message);
    for text in texts {
        if let Some(out) = text.template.names().find(|name| is_out(name)) {
            let problem = problem(format!("`{{{out}}}` has no value in a `[[test]]`"));
            let problem = problem.help(OUT_HELP);
            text.template.refuse(reading, problem, "");
        }
    }
    for variant in variants {
        let scope = scope(variant);
        for text in texts {
            let Some(value) = text.template.render(reading, &scope) else {
                continue;
            };
            let in_build = format!("in build `{}`", variant.build.name);
            if step::is_marked(&value) {
                let message = format!("`{}` is below the directory of a step", step::shown(&value));
                let problem = problem(message).fact(in_build).help(OUT_HELP);
                text.template.refuse(reading, problem, "");
            } else if text.is_plusarg && !is_plusarg(&text.template.source.value, &value) {
                let message = format!("invalid plusarg `{value}`");
                let problem = Diagnostic::error(Code::ConfigBadValue, message).fact(in_build);
                text.template.refuse(reading, problem, "");
            }
        }
    }
}

/// Says whether a plusarg that is written as `source` is one with its values; only the source may
/// leave out the `+`.
fn is_plusarg(source: &str, value: &str) -> bool {
    let plus = if source.starts_with('+') { "" } else { "+" };
    plusarg(&format!("{plus}{value}")).is_some()
}

const OUT_HELP: &str = "only builds have it: a parameter can bring the path to the design";

fn scope(variant: &Variant) -> Scope<'_> {
    let scope = Scope::new(variant.build.name.as_str());
    let scope = scope.with(&variant.variables);
    let scope = scope.with(&variant.build.parameters);
    scope.without(variant.unknown.iter().map(String::as_str))
}

/// Returns the settings of a table on one build: values of the build are in place of their braces,
/// and `param_env` has become variables.
///
/// # Panics
/// The settings were not checked on this build.
pub fn settings_on(settings: &RunSettings, variant: &Variant) -> RunSettings {
    let scope = scope(variant);
    let mut settings = settings.clone();
    let args = settings.test_args.iter_mut();
    let args = args.chain(&mut settings.plusargs);
    for text in args.chain(settings.env.values_mut()) {
        if text.contains(['{', '}']) {
            *text = rendered(text, &scope).expect("it was checked on every build");
        }
    }
    keep_plusargs_of_variant(&mut settings);
    if let Some(param_env) = &settings.param_env {
        for (name, value) in variant.values() {
            let value = value.in_text();
            // The directory of a step is not known yet.
            if !step::is_marked(&value) {
                let entry = settings.env.entry(param_env.variable(name));
                entry.or_insert(value);
            }
        }
    }
    settings
}

/// Removes plusargs that turned out to have the name of one that the variant stands for, which comes
/// last: simulators use the first.
fn keep_plusargs_of_variant(settings: &mut RunSettings) {
    let RunSettings {
        plusargs, fixed, ..
    } = settings;
    for name in &fixed.plusargs {
        let is_named = |plusarg: &String| plusarg.split('=').next() == Some(name);
        let last = plusargs.iter().rposition(is_named);
        let mut index = 0;
        plusargs.retain(|plusarg| {
            index += 1;
            !is_named(plusarg) || Some(index - 1) == last
        });
    }
}

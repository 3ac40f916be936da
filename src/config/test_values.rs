//! Values of a build in the strings of a `[[test]]`: checked on every build that it covers, and put
//! in when its runs are planned.

use crate::config::Variant;
use crate::config::build_steps::check_source;
use crate::config::document::Located;
use crate::config::document::Reading;
use crate::config::document::Section;
use crate::config::document::Unplaced;
use crate::config::document::Value;
use crate::config::files::Files;
use crate::config::files::PathKind;
use crate::config::files::is_pattern;
use crate::config::path_set::PathSet;
use crate::config::run_values::plusarg;
use crate::config::template::Braces;
use crate::config::template::Scope;
use crate::config::template::Template;
use crate::config::template::rendered;
use crate::diagnostic::Code;
use crate::diagnostic::Diagnostic;
use crate::model::step;
use crate::model::step::Step;
use crate::model::test::RunSettings;

use camino::Utf8PathBuf;
use toml::de::DeValue;

/// A string of a `[[test]]` that may depend on the build.
#[derive(Clone, Debug)]
pub(super) struct TestText {
    template: Template,
    kind: TextKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TextKind {
    /// An argument, or a value.
    Plain,
    /// A whole plusarg, with its name.
    Plusarg,
    /// A file below the directory of a step.
    File,
}

/// Reads the strings of a `[[test]]` and of its variants that have values in braces; mistakes that
/// do not depend on a build are reported.
pub(super) fn read(section: &Section<'_>) -> Vec<TestText> {
    let mut texts = Vec::new();
    for key in ["run_files", "vpi_libraries", "gpi_users"] {
        let files = section.texts(key).into_iter();
        texts.extend(files.filter(|it| is_of_step(&it.value)).map(|mut text| {
            if key == "gpi_users" {
                text.value = split_gpi_user(&text.value).0.into();
            }
            TestText {
                template: Template::read(section.reading, text, Braces::Plain),
                kind: TextKind::File,
            }
        }));
    }
    let kind_of = |key: &str| match key {
        "plusargs" => TextKind::Plusarg,
        _ => TextKind::Plain,
    };
    let mut add = |value: &Value<'_>, kind: TextKind| {
        add_texts(value, kind, &mut texts);
    };
    for key in ["test_args", "plusargs", "env"] {
        if let Some(value) = section.get(key) {
            add(&value, kind_of(key));
        }
    }
    let of_variant = |value: &Value<'_>, add: &mut dyn FnMut(&Value<'_>, TextKind)| {
        for (key, value) in tables(value) {
            if ["plusargs", "env"].contains(&key.value.as_str()) {
                add(&value, kind_of(&key.value));
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
fn add_texts(value: &Value<'_>, kind: TextKind, texts: &mut Vec<TestText>) {
    match value.content {
        DeValue::String(text) => {
            let source = Located {
                value: text.to_string(),
                range: value.range.clone(),
            };
            let template = Template::read(value.reading, source, Braces::Plain);
            if template.has_values() {
                texts.push(TestText { template, kind });
            }
        }
        DeValue::Array(_) => {
            let items = value.items("a list of strings");
            for item in &items {
                add_texts(item, kind, texts);
            }
        }
        DeValue::Table(_) => {
            let entries = value.entries("a table");
            for (_, entry) in &entries {
                add_texts(entry, TextKind::Plain, texts);
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
    for variant in variants {
        let scope = scope(variant);
        for text in texts {
            let Some(value) = text.template.render(reading, &scope) else {
                continue;
            };
            let problem = match text.kind {
                TextKind::Plusarg if !is_plusarg(&text.template.source.value, &value) => {
                    let message = format!("invalid plusarg `{}`", step::shown(&value));
                    Diagnostic::error(Code::ConfigBadValue, message)
                }
                TextKind::File => match check_file(&value, &variant.build.steps) {
                    Ok(()) => continue,
                    Err(problem) => *problem,
                },
                _ => continue,
            };
            let problem = problem.fact(format!("in build `{}`", variant.build.name));
            text.template.refuse(reading, problem, "");
        }
    }
}

/// Checks the path of a file for runs, as it is rendered.
fn check_file(path: &str, steps: &[Step]) -> Unplaced<()> {
    if is_pattern(step::split_marker(path).map_or(path, |(_, inside)| inside)) {
        let message = format!("`{}` does not name one file", step::shown(path));
        let problem = Diagnostic::error(Code::ConfigBadValue, message);
        return Err(problem
            .help("write the name of each file: patterns below `{OUT}` are for `sources`")
            .into());
    }
    check_source(path, steps)
}

/// Returns the files that these entries name, each once; entries below the directory of a step are left as
/// they are written.
pub(super) fn find_files(
    reading: &Reading,
    files: &Files<'_>,
    texts: &[Located<String>],
    wanted: PathKind,
) -> Vec<Utf8PathBuf> {
    let mut paths = PathSet::default();
    for text in texts {
        if is_of_step(&text.value) {
            paths.extend([Utf8PathBuf::from(&text.value)]);
        } else if text.value.contains("{OUT}") || text.value.contains("{OUT:") {
            let message = format!("`{}` does not begin with `{{OUT}}`", text.value);
            reading.at(
                &text.range,
                "",
                Diagnostic::error(Code::ConfigBadValue, message),
            );
        } else {
            paths.extend(files.find_all(reading, std::slice::from_ref(text), wanted));
        }
    }
    paths.into_paths()
}

/// Says whether a path begins with the directory of a step.
fn is_of_step(path: &str) -> bool {
    path.starts_with("{OUT}") || path.starts_with("{OUT:")
}

/// Splits an entry of `gpi_users` into the library and its function.
pub(super) fn split_gpi_user(text: &str) -> (&str, Option<&str>) {
    match text.rsplit_once(',') {
        Some((file, function)) => (file.trim(), Some(function.trim())),
        None => (text, None),
    }
}

/// Says whether a plusarg that is written as `source` is one with its values; only the source may
/// leave out the `+`.
fn is_plusarg(source: &str, value: &str) -> bool {
    let plus = if source.starts_with('+') { "" } else { "+" };
    plusarg(&format!("{plus}{value}")).is_some()
}

fn scope(variant: &Variant) -> Scope<'_> {
    let scope = Scope::new(variant.build.name.as_str());
    let scope = scope.with(&variant.variables);
    let scope = scope.with(&variant.build.parameters).with(&variant.outs);
    scope.without(variant.unknown.iter().map(String::as_str))
}

/// Returns the settings of a table on one build: values of the build are in place of their braces,
/// and `param_env` has become variables. Directories of steps are markers.
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
    for path in settings.files_mut() {
        if is_of_step(path.as_str()) {
            let real = rendered(path.as_str(), &scope).expect("it was checked on every build");
            *path = real.into();
        }
    }
    keep_plusargs_of_variant(&mut settings);
    if let Some(param_env) = &settings.param_env {
        for (name, value) in variant.values() {
            let entry = settings.env.entry(param_env.variable(name));
            entry.or_insert_with(|| value.in_text());
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

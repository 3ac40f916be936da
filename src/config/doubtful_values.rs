//! Warns of values of a build table that compile to something else than what was probably meant.

use crate::config::document::Located;
use crate::config::document::Section;
use crate::config::document::Value;
use crate::config::draft::Draft;
use crate::config::expression::Expression;
use crate::config::hdl_values::Setting;
use crate::config::hdl_values::is_number;
use crate::config::template::Braces;
use crate::config::template::has_values;
use crate::config::variants;
use crate::diagnostic::Code;
use crate::diagnostic::Diagnostic;

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::ops::Range;
use toml::de::DeValue;

/// Checks the values of a build table, read as `draft`.
pub(super) fn check(section: &Section<'_>, draft: &Draft) {
    let varied = variants::varied_values(section);
    let own = draft.own.values().map(|own| &own.parameters);
    let tables = std::iter::once(&draft.variables)
        .chain(std::iter::once(&draft.common.parameters))
        .chain(own);
    let settings = || tables.clone().flatten();
    let mut known: BTreeSet<&str> = settings().map(|(name, _)| name.as_str()).collect();
    known.extend(varied.iter().map(|(name, _)| name.value.as_str()));
    for (name, setting) in settings() {
        if let Setting::Template(template) = setting
            && !template.has_values()
            && is_expression(&template.source.value, &known)
        {
            let text = &template.source.value;
            let message = format!("`{name}` is the string `{text}`, which is not evaluated");
            let help = format!("write `\"{{{text}}}\"` for the value of the expression");
            warn(section, &template.source.range, message, help);
        }
    }
    for (name, value) in &varied {
        let DeValue::String(text) = value.content else {
            continue;
        };
        if is_expression(text, &known) || has_values(text, Braces::Plain) {
            let message = format!(
                "`{}` is the string `{text}`, which is not evaluated",
                name.value
            );
            let bare = text.trim_start_matches('{').trim_end_matches('}');
            let help = format!("write `{} = \"{{{bare}}}\"` in `parameters`", name.value);
            warn(section, &value.range, message, help);
        }
    }
    check_types(section, draft, &varied);
}

fn warn(section: &Section<'_>, range: &Range<usize>, message: String, help: String) {
    let warning = Diagnostic::warning(Code::ConfigBadValue, message);
    section.reading.at(range, "", warning.help(help));
}

/// Says whether a text computes something from values of the build.
fn is_expression(text: &str, known: &BTreeSet<&str>) -> bool {
    let Ok(expression) = Expression::parse(text) else {
        return false;
    };
    let names = expression.names();
    let is_known = |name: &str| known.contains(name);
    expression.as_name().is_none()
        && !names.is_empty()
        && names.iter().all(|(name, _)| is_known(name))
}

/// Warns of parameters that are a number in one build and something else in another.
fn check_types(section: &Section<'_>, draft: &Draft, varied: &[(Located<String>, Value<'_>)]) {
    let mut first: BTreeMap<&str, &'static str> = BTreeMap::new();
    let mut reported = BTreeSet::new();
    for (name, value) in varied {
        let name = name.value.as_str();
        let kind = match value.content {
            // A warning of its own.
            DeValue::String(text) if is_number(text) => continue,
            DeValue::String(_) => "a string",
            DeValue::Integer(_) | DeValue::Float(_) => "a number",
            DeValue::Boolean(_) => "a boolean",
            _ => continue,
        };
        let earlier = *first.entry(name).or_insert(kind);
        let is_variable = draft.variables.contains_key(name);
        if earlier != kind && !is_variable && reported.insert(name) {
            let message = format!("`{name}` is {earlier} in one build and {kind} in another");
            let help = format!("give all values of `{name}` one type");
            warn(section, &value.range, message, help);
        }
    }
}

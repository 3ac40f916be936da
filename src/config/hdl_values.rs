//! Reads values of parameters and macros.

use crate::config::document::Located;
use crate::config::document::Reading;
use crate::config::document::Section;
use crate::config::document::Value;
use crate::config::template::Braces;
use crate::config::template::Template;
use crate::diagnostic::Code;
use crate::diagnostic::Diagnostic;
use crate::model::build::HdlValue;

use std::collections::BTreeMap;
use toml::de::DeValue;

/// What an HDL value is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ValueUse {
    Define,
    Parameter,
}

/// A value of `defines` or `parameters`, which may depend on the build.
#[derive(Clone, Debug)]
pub(super) enum Setting {
    /// The same in every build.
    Fixed(HdlValue),
    /// A string with expressions.
    Template(Template),
}

/// Reads `defines` or `parameters`.
pub(super) fn read_settings(
    section: &Section<'_>,
    key: &str,
    purpose: ValueUse,
) -> BTreeMap<String, Setting> {
    let Some(table) = section.get(key) else {
        return BTreeMap::new();
    };
    let mut settings = BTreeMap::new();
    for (name, value) in table.entries("a table of values") {
        check_identifier(section.reading, &name);
        let Some(fixed) = hdl_value(&value, purpose) else {
            continue;
        };
        let setting = match fixed {
            HdlValue::Text(text) => {
                let source = Located {
                    value: text,
                    range: value.range.clone(),
                };
                Setting::Template(Template::read(section.reading, source, Braces::Plain))
            }
            fixed => Setting::Fixed(fixed),
        };
        settings.insert(name.value, setting);
    }
    settings
}

/// Reports a name that HDL cannot have.
pub(super) fn check_identifier(reading: &Reading, name: &Located<String>) {
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

/// Reads one value.
pub(super) fn hdl_value(value: &Value<'_>, purpose: ValueUse) -> Option<HdlValue> {
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

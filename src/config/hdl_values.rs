//! Reads values of parameters and macros.

use crate::config::document::Located;
use crate::config::document::Reading;
use crate::config::document::Section;
use crate::config::document::Value;
use crate::config::keys::Table;
use crate::config::template::Braces;
use crate::config::template::Template;
use crate::diagnostic::Code;
use crate::diagnostic::Diagnostic;
use crate::model::build::HdlValue;
use crate::sim::literal::is_based_literal;
use crate::sim::literal::is_literal;

use std::collections::BTreeMap;
use toml::de::DeValue;

/// What an HDL value is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ValueUse {
    Define,
    Parameter,
    /// It stands in braces only.
    Variable,
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
            if purpose == ValueUse::Parameter && is_number(&text) {
                warn_of_number(value, &text);
            }
            let flag = text.is_empty() && purpose == ValueUse::Define;
            Some(if flag {
                HdlValue::Flag
            } else {
                HdlValue::Text(text)
            })
        }
        DeValue::Table(_) => sv_value(value),
        _ => {
            value.wrong_type("a number, a boolean, a string or `{ sv = \"…\" }`");
            None
        }
    }
}

/// Says whether a text looks like a number.
pub(super) fn is_number(text: &str) -> bool {
    let text = text.trim();
    let hexadecimal = text.strip_prefix("0x").filter(|rest| !rest.is_empty());
    is_literal(text)
        || hexadecimal.is_some_and(|rest| rest.chars().all(|c| c.is_ascii_hexdigit() || c == '_'))
}

/// Warns of a string that compiles to the codes of its characters and was meant as a number.
fn warn_of_number(value: &Value<'_>, text: &str) {
    let message = format!("`{}` is the string `{text}`, not a number", value.name);
    let help = if is_based_literal(text) {
        format!("write `{{ sv = \"{text}\" }}` if it is SystemVerilog")
    } else {
        let number = text.trim();
        format!("write `{number}` without quotes; or `{{ sv = '\"{text}\"' }}` if it is a string")
    };
    let warning = Diagnostic::warning(Code::ConfigBadValue, message)
        .fact("a parameter that is declared as a number takes the codes of its characters")
        .help(help);
    value.reading.at(&value.range, "", warning);
}

/// Reads `{ sv = "TEXT" }`.
fn sv_value(value: &Value<'_>) -> Option<HdlValue> {
    let title = format!("{} = {{ … }}", value.name);
    let section = value.section(Table::Sv, &title)?;
    let text = section.require("sv")?.name_text()?;
    if let Some(why) = not_an_expression(&text.value) {
        let message = format!(
            "`{}` is not one SystemVerilog expression: {why}",
            text.value
        );
        let problem = Diagnostic::error(Code::ConfigBadValue, message);
        value.reading.at(&text.range, "", problem);
        return None;
    }
    Some(HdlValue::Sv(text.value.trim().to_owned()))
}

/// Returns why a text would be more than one expression wherever it is put.
fn not_an_expression(text: &str) -> Option<String> {
    let mut open = Vec::new();
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '"' => loop {
                match rest.next() {
                    Some('"') => break,
                    Some('\\') => drop(rest.next()),
                    Some(_) => {}
                    None => return Some("a quote is never closed".to_owned()),
                }
            },
            '(' | '[' | '{' => open.push(c),
            ')' | ']' | '}' => {
                let expected = match c {
                    ')' => '(',
                    ']' => '[',
                    _ => '{',
                };
                if open.pop() != Some(expected) {
                    return Some(format!("a `{c}` closes nothing"));
                }
            }
            ';' | '`' => return Some(format!("it contains `{c}`")),
            '/' if matches!(rest.peek(), Some('/' | '*')) => {
                return Some("it contains a comment".to_owned());
            }
            c if c.is_control() => return Some("it contains a control character".to_owned()),
            _ => {}
        }
    }
    open.pop().map(|c| format!("a `{c}` is never closed"))
}

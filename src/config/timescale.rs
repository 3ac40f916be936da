//! Reads `timescale`.

use crate::config::document::Value;
use crate::diagnostic::Code;
use crate::diagnostic::Diagnostic;
use crate::model::build::Timescale;

/// Returns the timescale of builds that name none.
pub(super) fn default_timescale() -> Timescale {
    Timescale {
        unit: "1ns".to_owned(),
        precision: "1ps".to_owned(),
    }
}

/// Reads a unit and a precision.
pub(super) fn read_timescale(value: &Value<'_>) -> Option<Timescale> {
    match parse(&value.text()?.value) {
        Ok(timescale) => Some(timescale),
        Err(message) => {
            let problem = Diagnostic::error(Code::ConfigBadValue, message);
            let problem = problem.help("write it as `\"1ns/1ps\"`");
            value.reading.at(&value.range, "", problem);
            None
        }
    }
}

/// Reads a text such as `1ns/1ps`.
///
/// # Errors
/// It is no timescale; the text says why.
pub(super) fn parse(text: &str) -> Result<Timescale, String> {
    let Some((unit, precision)) = text.split_once('/') else {
        return Err(format!("invalid timescale `{text}`: it has no `/`"));
    };
    let (unit, precision) = (unit.trim(), precision.trim());
    let (Some((unit, unit_log)), Some((precision, precision_log))) = (time(unit), time(precision))
    else {
        let wrong = if time(unit).is_none() {
            unit
        } else {
            precision
        };
        return Err(format!(
            "invalid timescale unit `{wrong}`: expected 1, 10 or 100, then s, ms, us, ns, ps or fs"
        ));
    };
    if precision_log > unit_log {
        return Err(format!(
            "the precision `{precision}` is coarser than the unit `{unit}`"
        ));
    }
    Ok(Timescale { unit, precision })
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

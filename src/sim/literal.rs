//! Values of parameters and macros as Verilog text; shared by the simulators that read Verilog.

use crate::model::build::HdlValue;

/// Writes a parameter's value; `quote` writes a string as the simulator wants it.
///
/// Numbers that do not fit 32 bits are sized: an unsized literal is 32 bits wide
/// (IEEE 1800-2017, 5.7.1), and some simulators reject a minus before a sized one.
pub fn parameter(value: &HdlValue, quote: impl Fn(&str) -> String) -> String {
    match value {
        HdlValue::Integer(number) if i32::try_from(*number).is_ok() => number.to_string(),
        HdlValue::Integer(number) => format!("64'sh{number:016x}"),
        HdlValue::Boolean(value) => u8::from(*value).to_string(),
        HdlValue::Real(number) => number.clone(),
        HdlValue::Text(text) => quote(text),
        HdlValue::Sv(text) => text.clone(),
        HdlValue::Flag => "1".to_owned(),
    }
}

/// Writes a macro's text; `None` if it has none.
pub fn define(value: &HdlValue) -> Option<String> {
    match value {
        HdlValue::Integer(number) => Some(number.to_string()),
        HdlValue::Boolean(value) => Some(u8::from(*value).to_string()),
        HdlValue::Real(text) | HdlValue::Text(text) | HdlValue::Sv(text) => Some(text.clone()),
        HdlValue::Flag => None,
    }
}

/// Says whether a text is one literal with a base or a fill of all bits: `8'hff`, `'1`, `4'b1x0z`.
pub fn is_based_literal(text: &str) -> bool {
    let Some((size, rest)) = text.trim().split_once('\'') else {
        return false;
    };
    if !size
        .trim_end()
        .chars()
        .all(|c| c.is_ascii_digit() || c == '_')
        || size.starts_with('_')
    {
        return false;
    }
    if size.is_empty() && ["0", "1", "x", "X", "z", "Z"].contains(&rest) {
        return true;
    }
    let rest = rest.strip_prefix(['s', 'S']).unwrap_or(rest);
    let mut characters = rest.chars();
    let is_digit = |c: char, radix| c.is_digit(radix) || "_xXzZ?".contains(c);
    let radix = match characters.next() {
        Some('b' | 'B') => 2,
        Some('o' | 'O') => 8,
        Some('d' | 'D') => 10,
        Some('h' | 'H') => 16,
        _ => return false,
    };
    let digits = characters.as_str().trim_start();
    !digits.is_empty() && !digits.starts_with('_') && digits.chars().all(|c| is_digit(c, radix))
}

/// Says whether a text is one literal number: with a base, a decimal one or a real one; the last two
/// may have a sign.
pub fn is_literal(text: &str) -> bool {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let is_decimal = unsigned.starts_with(|c: char| c.is_ascii_digit())
        && unsigned.chars().all(|c| c.is_ascii_digit() || c == '_');
    let is_real = unsigned.starts_with(|c: char| c.is_ascii_digit())
        && unsigned.ends_with(|c: char| c.is_ascii_digit())
        && unsigned.parse::<f64>().is_ok_and(f64::is_finite);
    is_decimal || is_real || is_based_literal(text)
}

/// Says whether a text is one string literal, without escapes.
pub fn is_string(text: &str) -> bool {
    let inner = text.strip_prefix('"').and_then(|it| it.strip_suffix('"'));
    inner.is_some_and(|inner| !inner.contains(['"', '\\']))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_that_compilers_distinguish_are_written_differently() {
        let quoted = |value: &HdlValue| parameter(value, |text| format!("\"{text}\""));
        let text = |text: &str| HdlValue::Text(text.to_owned());
        assert_ne!(quoted(&HdlValue::Integer(4)), quoted(&text("4")));
        assert_ne!(quoted(&HdlValue::Boolean(true)), quoted(&text("true")));
        assert_eq!(
            quoted(&HdlValue::Integer(-5_000_000_000)),
            "64'shfffffffed5fa0e00"
        );
        assert_ne!(define(&HdlValue::Boolean(true)), define(&text("true")));
        let real = |number| quoted(&HdlValue::real(number).expect("finite"));
        assert_eq!(
            [2.5, 1e-9, -0.5, 2.0, 1e22].map(real),
            ["2.5", "1e-9", "-0.5", "2.0", "1e22"]
        );
        // Both are `-DNAME=1`.
        assert_eq!(
            define(&HdlValue::Boolean(true)),
            define(&HdlValue::Integer(1))
        );
    }

    #[test]
    fn a_literal_is_recognised_and_an_expression_is_none() {
        for text in [
            "32'hDEAD_BEEF",
            "1'b1",
            "'1",
            "'hff",
            "4'b1x0z",
            "8 'sd5",
            "6'd42",
            "16'o7",
        ] {
            assert!(is_based_literal(text) && is_literal(text), "{text}");
        }
        assert!(is_string("\"8\"") && !is_string("\"8") && !is_string("\"a\" + \"b\""));
        for text in ["5", "-5", "1_000", "2.5", "-1e-9"] {
            assert!(is_literal(text) && !is_based_literal(text), "{text}");
        }
        for text in [
            "pkg::A",
            "-8'sd5",
            "3 + 4",
            "(7)",
            "8'hfg",
            "8'b2",
            "don't",
            "'",
            "",
            "1.",
            "nan",
            "x'1",
            "{1'b1, 1'b0}",
            "$clog2(9)",
            "8'd",
            "1'b1 ",
            "_'h1",
        ] {
            assert!(!is_literal(text) || text == "1'b1 ", "{text}");
        }
    }
}

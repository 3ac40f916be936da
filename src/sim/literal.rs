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
        HdlValue::Flag => "1".to_owned(),
    }
}

/// Writes a macro's text; `None` if it has none.
pub fn define(value: &HdlValue) -> Option<String> {
    match value {
        HdlValue::Integer(number) => Some(number.to_string()),
        HdlValue::Boolean(value) => Some(u8::from(*value).to_string()),
        HdlValue::Real(text) | HdlValue::Text(text) => Some(text.clone()),
        HdlValue::Flag => None,
    }
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
}

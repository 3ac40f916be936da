//! `param_env`: the names of variables that carry a build's parameters.

use crate::config::Variant;
use crate::config::document::Reading;
use crate::config::document::Value;
use crate::config::run_values::refused_variable;
use crate::diagnostic::Code;
use crate::diagnostic::Diagnostic;
use crate::model::test::ParamEnv;

use std::ops::Range;

/// What stands for the name of a parameter.
const NAME: &str = "{NAME}";

/// Reads a name of variables, in which `{NAME}` stands for the parameter's.
pub(super) fn read(value: &Value<'_>) -> Option<ParamEnv> {
    let text = value.text()?.value;
    let is_word = |text: &str| text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    let parts = text.split_once(NAME);
    let fitting = parts.filter(|(before, after)| {
        is_word(before) && is_word(after) && !before.starts_with(|c: char| c.is_ascii_digit())
    });
    let Some((before, after)) = fitting else {
        let message = format!("`{text}` does not name a variable for each parameter");
        let problem = Diagnostic::error(Code::ConfigBadValue, message)
            .help("write letters, digits and `_` around one `{NAME}`, as in `\"PARAM_{NAME}\"`");
        value.reading.at(&value.range, "", problem);
        return None;
    };
    Some(ParamEnv {
        before: before.to_owned(),
        after: after.to_owned(),
    })
}

/// Reports a variable that cocorun sets itself and that a parameter of a build would set.
pub(super) fn check<'a>(
    reading: &Reading,
    test: &Range<usize>,
    param_env: &ParamEnv,
    variants: impl Iterator<Item = &'a Variant>,
) {
    for variant in variants {
        for (name, _) in variant.values() {
            let variable = param_env.variable(name);
            let Some(help) = refused_variable(&variable) else {
                continue;
            };
            let message = format!("`param_env` would set `{variable}`, which cocorun sets itself");
            let problem = Diagnostic::error(Code::ConfigBadValue, message)
                .fact(format!(
                    "parameter `{name}` of build `{}`",
                    variant.build.name
                ))
                .help(format!(
                    "{help}, and choose other names: `param_env = \"PARAM_{{NAME}}\"`"
                ));
            reading.at(test, "", problem);
            return;
        }
    }
}

//! `checkpoint` of a `[[test]]`: the coroutine functions that run before testcases are forked.

use crate::config::document::Located;
use crate::config::document::Section;
use crate::config::user_code::is_dotted_name;
use crate::diagnostic::Code;
use crate::diagnostic::Diagnostic;
use crate::model::test::Checkpoint;
use crate::model::test::Isolation;
use crate::model::test::RunSettings;

/// Reads `checkpoint`: one function, or several in the order in which testcases call them.
pub(super) fn read(section: &Section<'_>) -> Vec<Checkpoint> {
    let Some(value) = section.get("checkpoint") else {
        return Vec::new();
    };
    let mut checkpoints: Vec<Checkpoint> = Vec::new();
    for text in value.text_or_texts() {
        let problem = if let Some(help) = mistake(&text) {
            let words = format!(
                "`{}` does not name a function of a Python module",
                text.value
            );
            Diagnostic::error(Code::ConfigBadValue, words).help(help)
        } else if checkpoints.iter().any(|it| it.0 == text.value) {
            let words = format!("`{}` is in `checkpoint` twice", text.value);
            Diagnostic::error(Code::ConfigDuplicateName, words)
        } else {
            checkpoints.push(Checkpoint(text.value));
            continue;
        };
        section.reading.at(&text.range, "", problem);
    }
    checkpoints
}

/// Returns what to write instead of something that is not `MODULE:FUNCTION`.
fn mistake(text: &Located<String>) -> Option<String> {
    let written = &text.value;
    let text = written.trim();
    let general = "write `\"package.module:function\"`";
    let instead = |module: &str, function: &str| Some(format!("write `\"{module}:{function}\"`"));
    let Some((module, function)) = text.split_once(':') else {
        return match text.rsplit_once('.') {
            Some((module, function)) if is_dotted_name(text) => instead(module, function),
            _ => Some(general.to_owned()),
        };
    };
    let function = function.trim_start_matches(':');
    let dotted = module.trim_end_matches(".py").replace('/', ".");
    let called = function.split('(').next().unwrap_or_default().trim();
    if !is_dotted_name(&dotted) || !is_dotted_name(called) {
        return Some(general.to_owned());
    }
    if called.contains('.') {
        return Some(format!(
            "only a function of a module can be a checkpoint: define `async def NAME(dut)` in \
             `{dotted}` and let it call `{called}`"
        ));
    }
    let right = format!("{dotted}:{called}");
    (&right != written).then(|| format!("write `\"{right}\"`"))
}

/// Warns if the other settings of the table leave `checkpoint` without effect.
pub(super) fn check(section: &Section<'_>, settings: &RunSettings) {
    let Some(value) = section.get("checkpoint") else {
        return;
    };
    if settings.checkpoints.is_empty() {
        return;
    }
    let reasons = [
        (!settings.fork, "`fork = false`"),
        (
            settings.isolation != Isolation::Testcase,
            "an `isolation` other than `testcase`",
        ),
        (settings.waves, "`waves = true`"),
        (!settings.pygpi_users.is_empty(), "`pygpi_users`"),
    ];
    for (_, because) in reasons.iter().filter(|(is_so, _)| *is_so) {
        let words = format!("`checkpoint` has no effect with {because}");
        let help = "testcases run these functions themselves then; remove one of the two";
        let warning = Diagnostic::warning(Code::ConfigBadValue, words).help(help);
        section.reading.at(&value.range, "", warning);
    }
}

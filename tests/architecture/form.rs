//! The form of a file: short, with a header, one `use` a line.

use super::tree::Source;

/// A longer file answers for more than one thing.
pub(crate) const LINES_MAX: usize = 600;

/// Says what is wrong with a file's form.
pub(crate) fn form_problems(source: &Source) -> Vec<String> {
    let Source { path, text } = source;
    let mut problems = Vec::new();
    let lines = text.lines().count();
    if lines > LINES_MAX {
        problems.push(format!("{path}: {lines} lines, more than {LINES_MAX}"));
    }
    if !text.starts_with("//!") {
        problems.push(format!("{path}: does not begin with `//!`"));
    }
    for (index, line) in text.lines().enumerate() {
        // `//` in a string cuts too much off, but no `use` stands behind one.
        let code = line.split_once("//").map_or(line, |(code, _)| code);
        let code = code.trim_start();
        let is_use = code.starts_with("use ") || code.starts_with("pub") && code.contains(" use ");
        let is_ours = ["crate::", "super::", "self::", "cocorun"]
            .iter()
            .any(|root| code.contains(root));
        if is_use && is_ours && code.contains('{') {
            problems.push(format!("{path}:{}: one `use` a line", index + 1));
        }
    }
    problems
}

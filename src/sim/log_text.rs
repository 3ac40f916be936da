//! What the logs of most compilers and simulators have in common.

/// Says whether a line of a log reports an error in words that most compilers use.
pub fn is_common_complaint(line: &str) -> bool {
    let lower = line.to_ascii_lowercase();
    ["error", "unable to open", "no such file"]
        .iter()
        .any(|words| lower.contains(words))
}

/// Returns the identifiers and numbers of a text.
pub fn words(text: &str) -> impl Iterator<Item = &str> {
    let fit = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '$';
    text.split(move |c| !fit(c)).filter(|word| !word.is_empty())
}

/// Says whether text begins with `FILE:LINE:`.
pub fn names_a_place(text: &str) -> bool {
    let mut rest = text;
    while let Some((_, after)) = rest.split_once(':') {
        let digits = after.bytes().take_while(u8::is_ascii_digit).count();
        if digits > 0 && after.as_bytes().get(digits) == Some(&b':') {
            return true;
        }
        rest = after;
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_a_file_and_a_line() {
        assert!(names_a_place("hdl/fifo.sv:41: overflow"));
        assert!(!names_a_place("no place here"));
        assert!(!names_a_place("hdl/fifo.sv: overflow"));
    }
}

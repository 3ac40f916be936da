//! Lists of files that compilers have read, in the two formats that they write.

/// Reads one file name per line, possibly repeated; returns each name once.
pub fn read_lines(text: &str) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        if !names.iter().any(|name| name == line) {
            names.push(line.to_owned());
        }
    }
    names
}

/// Reads a make rule, `outputs : inputs`, with `\` at line ends and before spaces; returns the
/// inputs, including the compiler's own files.
pub fn read_make_rule(text: &str) -> Vec<String> {
    let joined = text.replace("\\\n", " ");
    let Some((_, inputs)) = joined.split_once(": ") else {
        return Vec::new();
    };
    let inputs = inputs.lines().next().unwrap_or_default();
    let mut names: Vec<String> = Vec::new();
    let mut name = String::new();
    let mut characters = inputs.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '\\' if characters.peek() == Some(&' ') => name.extend(characters.next()),
            ' ' | '\t' => {
                if !name.is_empty() {
                    names.push(std::mem::take(&mut name));
                }
            }
            other => name.push(other),
        }
    }
    if !name.is_empty() {
        names.push(name);
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_make_rule_is_read_over_line_ends_and_escaped_spaces() {
        let text = "cpp/Vtop.cpp cpp/Vtop.h  : /usr/bin/compiler a.sv inc/my\\ file.svh \\\n b.sv\n\na.sv:\n";
        let expected = ["/usr/bin/compiler", "a.sv", "inc/my file.svh", "b.sv"];
        assert_eq!(read_make_rule(text), expected);
        assert_eq!(
            read_make_rule("dpi.o: ../dpi.cpp \\\n ../dpi.h\n"),
            ["../dpi.cpp", "../dpi.h"]
        );
    }

    #[test]
    fn a_file_that_is_listed_twice_counts_once() {
        assert_eq!(read_lines("a.v\nb.v\n\na.v\n"), ["a.v", "b.v"]);
    }
}

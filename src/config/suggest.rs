//! "Did you mean": the known name that a misspelt one is close to.

/// Returns the candidate that differs in at most a third of the characters, or none; never the name
/// itself. Upper and lower case count as equal.
///
/// Of equally close ones the first wins, so that a message does not change from run to run.
pub(crate) fn closest<'a>(
    name: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let length = name.chars().count();
    let lower = name.to_lowercase();
    let mut best: Option<(usize, &str)> = None;
    for candidate in candidates {
        let count = candidate.chars().count();
        // The distance is at least the difference in length, which costs nothing to see.
        if candidate == name || length.abs_diff(count) > length.max(count).div_ceil(3) {
            continue;
        }
        let distance = strsim::damerau_levenshtein(&lower, &candidate.to_lowercase());
        let allowed = length.max(count).div_ceil(3);
        if distance <= allowed
            && distance < length
            && best.is_none_or(|(least, _)| distance < least)
        {
            best = Some((distance, candidate));
        }
    }
    best.map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_finger_is_understood() {
        let known = ["sources", "includes", "defines"];
        assert_eq!(closest("soruces", known), Some("sources"));
        assert_eq!(closest("include", known), Some("includes"));
        assert_eq!(closest("SOURCES", known), Some("sources"));
        assert_eq!(closest("sources", known), None, "it is there");
    }

    #[test]
    fn a_word_that_is_far_from_all_gets_no_suggestion() {
        assert_eq!(closest("colour", ["sources", "includes"]), None);
        assert_eq!(closest("", ["a"]), None);
        assert_eq!(closest("x", ["y"]), None);
    }
}

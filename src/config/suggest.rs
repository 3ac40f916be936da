//! What was probably meant: the known name that a misspelt one is close to, words instead of a line.

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

/// Returns the candidate with the same parts between `/` and `@` in another order, or else the one that
/// [`closest`] finds, with the parts in the order that names of builds have.
pub(crate) fn closest_in_parts<'a>(
    name: &str,
    candidates: impl Iterator<Item = &'a str> + Clone,
) -> Option<&'a str> {
    let parts = |name: &str| {
        let mut parts: Vec<String> = name.split(['/', '@']).map(str::to_owned).collect();
        parts.sort_unstable();
        parts
    };
    if !name.contains('/') {
        return closest(name, candidates);
    }
    let wanted = parts(name);
    let mut same = candidates.clone();
    let same = same.find(|it| *it != name && parts(it) == wanted);
    same.or_else(|| {
        let (front, simulator) = match name.split_once('@') {
            Some((front, simulator)) => (front, format!("@{simulator}")),
            None => (name, String::new()),
        };
        let mut parts: Vec<&str> = front.split('/').collect();
        // What has no value stays in front.
        parts.sort_by_key(|part| part.contains('=').then_some(*part));
        let ordered = parts.join("/") + &simulator;
        closest(&ordered, candidates)
    })
}

/// Returns advice to write a text as separate words, unless it has quotes of a shell.
pub(super) fn split_words(text: &str) -> Option<String> {
    let words = text.split_whitespace().map(|it| format!("\"{it}\""));
    let words: Vec<String> = words.collect();
    let is_plain = !text.contains(['"', '\\', '\'']) && !words.is_empty();
    is_plain.then(|| format!("write `[{}]`", words.join(", ")))
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
    fn parts_of_a_name_may_be_in_another_order() {
        let known = [
            "fifo",
            "fifo/DEPTH=4",
            "fifo/DEPTH=4/WIDTH=8",
            "fifo/DEPTH=8/WIDTH=8",
            "fifo/small/A=1/B=2@icarus",
        ];
        for (name, meant) in [
            ("fifo/WIDTH=8/DEPTH=4", "fifo/DEPTH=4/WIDTH=8"),
            ("fifo/WIDTH=8/DEPTH=8", "fifo/DEPTH=8/WIDTH=8"),
            ("fifo/WIDTH=9/DEPTH=8", "fifo/DEPTH=8/WIDTH=8"),
            ("fifo/DEPHT=4/WIDTH=8", "fifo/DEPTH=4/WIDTH=8"),
            ("fifo/small/B=2/A=1@icarus", "fifo/small/A=1/B=2@icarus"),
            ("fifo/smal/B=2/A=1@icarus", "fifo/small/A=1/B=2@icarus"),
            ("fiffo", "fifo"),
        ] {
            let found = closest_in_parts(name, known.iter().copied());
            assert_eq!(found, Some(meant), "{name}");
        }
        assert_eq!(closest_in_parts("uart/X=1", known.iter().copied()), None);
    }

    #[test]
    fn a_word_that_is_far_from_all_gets_no_suggestion() {
        assert_eq!(closest("colour", ["sources", "includes"]), None);
        assert_eq!(closest("", ["a"]), None);
        assert_eq!(closest("x", ["y"]), None);
    }
}

//! No text makes the reader panic or fail without a message.

use super::*;

use proptest::prelude::*;
use proptest::test_runner::TestCaseError;

const SCRAPS: &[&str] = &[
    "[",
    "]",
    "[[test]]\n",
    "=",
    "\n",
    "'",
    "\"",
    "'''",
    "{",
    "}",
    ",",
    ".",
    "#",
    "build",
    "[build.fifo]\n",
    "sources",
    "matrix = { A = [1,",
    "# ü",
    "\u{feff}",
    "\r\n",
    "\0",
    "\\",
];

/// Text that looks like TOML often enough to get past the first character.
fn scraps() -> impl Strategy<Value = String> {
    let known = prop::sample::select(SCRAPS).prop_map(str::to_owned);
    let scrap = prop_oneof![3 => known, 1 => "\\PC{0,5}", 1 => "[0-9a-z_.-]{0,8}"];
    prop::collection::vec(scrap, 0..30).prop_map(|scraps| scraps.concat())
}

fn is_read_or_rejected(text: &str) -> std::result::Result<(), TestCaseError> {
    if let Err(Problems(problems)) = Project::fifo().load(text) {
        prop_assert!(!problems.is_empty());
        for problem in problems {
            prop_assert!(to_text(&problem, false).ends_with('\n'));
        }
    }
    Ok(())
}

proptest! {
    #[test]
    fn scraps_are_read_or_rejected(text in scraps()) {
        is_read_or_rejected(&text)?;
    }

    #[test]
    fn a_file_that_is_cut_short_is_read_or_rejected(cut in 0..EVERY_KEY.len()) {
        is_read_or_rejected(&EVERY_KEY[..cut])?;
    }

    #[test]
    fn a_file_with_a_piece_replaced_is_read_or_rejected(
        from in 0..EVERY_KEY.len(), length in 0..20_usize, piece in scraps(),
    ) {
        let to = (from + length).min(EVERY_KEY.len());
        is_read_or_rejected(&format!("{}{piece}{}", &EVERY_KEY[..from], &EVERY_KEY[to..]))?;
    }
}

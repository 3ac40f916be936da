//! `testcase` and `skip_testcase` of a `[[test]]`: which testcases of its modules it is about.

use crate::config::document::Located;
use crate::config::document::Section;
use crate::config::name_glob::NameGlob;
use crate::diagnostic::Code;
use crate::diagnostic::Diagnostic;
use crate::diagnostic::Snippet;

/// A name or a pattern for testcases.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TestcaseName {
    /// As it is written.
    pub text: String,
    /// Where.
    pub place: Snippet,
}

impl TestcaseName {
    /// Says whether it selects a testcase: `grants` selects `grants/x=1` too, and a pattern covers the
    /// whole name.
    pub fn selects(&self, testcase: &str) -> bool {
        let rest = testcase.strip_prefix(self.text.as_str());
        let is_named = rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        let is_pattern = || NameGlob::is_pattern(&self.text);
        is_named || is_pattern() && NameGlob::new(&self.text).is_ok_and(|it| it.is_match(testcase))
    }
}

/// Which testcases of its modules a table selects.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TestcaseNames {
    /// `testcase`; `None` for all. Those that it selects run even if they are marked as skipped.
    pub wanted: Option<Vec<TestcaseName>>,
    /// `skip_testcase`.
    pub left_out: Vec<TestcaseName>,
}

impl TestcaseNames {
    /// Says whether every testcase is selected.
    pub fn is_all(&self) -> bool {
        self.wanted.is_none() && self.left_out.is_empty()
    }

    /// Says whether a testcase is selected.
    pub fn selects(&self, testcase: &str) -> bool {
        let is_left_out = self.left_out.iter().any(|it| it.selects(testcase));
        !is_left_out && (self.wanted.is_none() || self.names(testcase))
    }

    /// Says whether `testcase` itself selects a testcase.
    pub fn names(&self, testcase: &str) -> bool {
        let mut wanted = self.wanted.iter().flatten();
        wanted.any(|it| it.selects(testcase))
    }

    /// Returns all names and patterns.
    pub fn all(&self) -> impl Iterator<Item = &TestcaseName> {
        self.wanted.iter().flatten().chain(&self.left_out)
    }
}

/// Reads both keys.
pub(super) fn read(section: &Section<'_>) -> TestcaseNames {
    TestcaseNames {
        wanted: section
            .get("testcase")
            .map(|_| read_names(section, "testcase")),
        left_out: read_names(section, "skip_testcase"),
    }
}

fn read_names(section: &Section<'_>, key: &str) -> Vec<TestcaseName> {
    let texts = section.get(key).map(|value| value.text_or_texts());
    let names = texts.into_iter().flatten();
    names.filter_map(|text| name(section, text)).collect()
}

fn name(section: &Section<'_>, text: Located<String>) -> Option<TestcaseName> {
    let refuse = |words: String, help: &str| {
        let problem = Diagnostic::error(Code::ConfigBadValue, words).help(help);
        section.reading.at(&text.range, "", problem);
        None
    };
    if text.value.contains("::") {
        let words = format!("`{}` is not the name of a testcase", text.value);
        return refuse(words, "write only what follows the last `::`");
    }
    if NameGlob::is_pattern(&text.value)
        && let Err(why) = NameGlob::new(&text.value)
    {
        let words = format!("invalid pattern `{}`: {why}", text.value);
        return refuse(
            words,
            "`*` is any text, `?` one character, `[…]` one of several",
        );
    }
    let place = section.reading.document.snippet(&text.range, "");
    Some(TestcaseName {
        text: text.value,
        place,
    })
}

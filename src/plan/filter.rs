//! One FILTER of the command line: part of a testcase's identity, or a pattern over all of it.
//!
//! A filter that is the name of a build selects what `--build` would, and `fifo/` the builds below `fifo`,
//! as those of an included file are. A pattern for builds is answered by
//! build and module alone, so that nothing else is built and listed only because a testcase might have
//! that name too.

use crate::config::BuildSelection;
use crate::config::name_glob::NameGlob;
use crate::diagnostic::Code;
use crate::diagnostic::Diagnostic;
use crate::model::build::BuildName;
use crate::model::test::ModuleInVariant;
use crate::model::test::TestcaseId;

/// Separates the parts of a testcase's identity; occurs in none of them.
pub(super) const SEPARATOR: &str = "::";

/// A compiled FILTER.
#[derive(Clone, Debug)]
pub(super) struct Filter {
    matcher: Matcher,
    /// The builds that it names, if there are any.
    builds: Option<NamedBuilds>,
}

/// Builds that a filter names.
#[derive(Clone, Debug)]
enum NamedBuilds {
    /// As `--build` does.
    Entry(BuildSelection),
    /// All whose names begin with this text, which ends in `/`.
    Below(String),
}

impl NamedBuilds {
    fn new(text: &str) -> Self {
        if text.ends_with('/') && !NameGlob::is_pattern(text) {
            return Self::Below(text.to_owned());
        }
        Self::Entry(BuildSelection::new(Some(&[text.to_owned()])))
    }

    fn covers(&self, build: &BuildName) -> bool {
        match self {
            Self::Entry(selection) => selection.covers(build),
            Self::Below(text) => build.as_str().starts_with(text.as_str()),
        }
    }
}

#[derive(Clone, Debug)]
enum Matcher {
    Within(String),
    Pattern(NameGlob),
}

impl Filter {
    /// Compiles a filter over the testcases of these builds.
    ///
    /// # Errors
    /// It is empty or an invalid pattern.
    pub(super) fn new<'a>(
        text: &str,
        mut builds: impl Iterator<Item = &'a BuildName>,
    ) -> Result<Self, Box<Diagnostic>> {
        let refuse = |why: &str| {
            Diagnostic::error(
                Code::UsageBadArgument,
                format!("invalid filter `{text}`: {why}"),
            )
        };
        if text.is_empty() {
            return Err(refuse("it is empty").into());
        }
        let matcher = if NameGlob::is_pattern(text) {
            Matcher::Pattern(NameGlob::new(text).map_err(|why| refuse(&why))?)
        } else {
            Matcher::Within(text.to_owned())
        };
        let named = NamedBuilds::new(text);
        let names_builds = !text.contains(SEPARATOR) && builds.any(|name| named.covers(name));
        Ok(Self {
            matcher,
            builds: names_builds.then_some(named),
        })
    }

    /// Says whether it selects a testcase.
    pub(super) fn is_match(&self, id: &TestcaseId) -> bool {
        match &self.builds {
            Some(named) => self.is_match_of_module(named, &id.build, id.module_in_variant()),
            None => self.matcher.is_match(&id.to_string()),
        }
    }

    /// Says whether it could select a testcase of a module on a build.
    pub(super) fn may_match(&self, build: &BuildName, module: ModuleInVariant<'_>) -> bool {
        if let Some(named) = &self.builds {
            return self.is_match_of_module(named, build, module);
        }
        let prefix = format!("{build}{SEPARATOR}{module}{SEPARATOR}");
        match &self.matcher {
            Matcher::Pattern(glob) => glob.may_match_after(&prefix, SEPARATOR),
            Matcher::Within(text) => {
                prefix.contains(text.as_str())
                    // The text may begin in the prefix, or anywhere after it.
                    || text.char_indices().map(|(at, _)| at).any(|at| {
                        prefix.ends_with(&text[..at]) && !text[at..].contains(SEPARATOR)
                    })
            }
        }
    }

    fn is_match_of_module(
        &self,
        named: &NamedBuilds,
        build: &BuildName,
        module: ModuleInVariant<'_>,
    ) -> bool {
        if named.covers(build) {
            return true;
        }
        match &self.matcher {
            Matcher::Within(_) => false,
            Matcher::Pattern(glob) => glob.is_match(&format!("{build}{SEPARATOR}{module}")),
        }
    }
}

impl Matcher {
    fn is_match(&self, text: &str) -> bool {
        match self {
            Self::Within(part) => text.contains(part.as_str()),
            Self::Pattern(glob) => glob.is_match(text),
        }
    }
}

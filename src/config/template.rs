//! Strings of `runner.toml` in which `{NAME}` stands for a value of the build.
//!
//! `{{` and `}}` are braces; `${NAME}` belongs to the environment and is left as it is. Between
//! braces stands an expression. A string is read once and rendered for each build; a mistake that
//! several builds share is reported once, at its place within the string.

use crate::config::document::Document;
use crate::config::document::Located;
use crate::config::document::Reading;
use crate::config::expression::Expression;
use crate::config::expression::Fault;
use crate::config::suggest::closest;
use crate::diagnostic::Code;
use crate::diagnostic::Diagnostic;
use crate::model::build::HdlValue;

use std::cell::Cell;
use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::ops::Range;

/// How to write what is no expression.
const LITERAL_BRACES: &str = "a brace that is not a parameter is doubled: `{{` and `}}`";

/// What stands for the directory of a step in braces.
pub(super) const OUT: &str = "OUT";

/// The values that names in braces stand for, in one build.
#[derive(Clone, Debug, Default)]
pub(super) struct Scope<'a> {
    /// The name of the build, for messages.
    build: &'a str,
    values: BTreeMap<&'a str, &'a HdlValue>,
    /// Names of values that could not be read: what needs them has no value and no problem.
    unknown: BTreeSet<&'a str>,
    /// Names that have values elsewhere, for advice.
    near: BTreeSet<&'a str>,
    /// Outputs of steps with the names of their steps, for advice.
    outputs: &'a [(String, String)],
}

impl<'a> Scope<'a> {
    /// Creates the scope of a build, without values.
    pub(super) fn new(build: &'a str) -> Self {
        Self {
            build,
            values: BTreeMap::new(),
            unknown: BTreeSet::new(),
            near: BTreeSet::new(),
            outputs: &[],
        }
    }

    /// Returns the name of the build.
    pub(super) fn build(&self) -> &'a str {
        self.build
    }

    /// Adds values; they take precedence over those that are there.
    pub(super) fn with(
        mut self,
        values: impl IntoIterator<Item = (&'a String, &'a HdlValue)>,
    ) -> Self {
        let values = values.into_iter();
        self.values
            .extend(values.map(|(name, value)| (name.as_str(), value)));
        self
    }

    /// Replaces the values of `{OUT}` and `{OUT:NAME}` by those within the commands of a step.
    pub(super) fn with_step(mut self, outs: &'a BTreeMap<String, HdlValue>) -> Self {
        self.values.retain(|name, _| !is_out(name));
        self.with(outs)
    }

    /// Adds the build, if the scope is that of one.
    fn placed(&self, problem: Diagnostic) -> Diagnostic {
        if self.build.is_empty() {
            return problem;
        }
        problem.fact(format!("in build `{}`", self.build))
    }

    /// Adds the outputs of steps, each with the name of its step, for advice.
    pub(super) fn with_outputs(mut self, outputs: &'a [(String, String)]) -> Self {
        self.outputs = outputs;
        self
    }

    /// Adds names that have values elsewhere, for advice.
    pub(super) fn with_near(mut self, names: impl IntoIterator<Item = &'a str>) -> Self {
        self.near.extend(names);
        self
    }

    /// Returns the file below `{OUT}` that a string names, and the step that makes it.
    fn maker_of(&self, text: &str) -> Option<(&'a str, &'a str)> {
        let (_, file) = text.split_once("}/")?;
        let maker = self.outputs.iter().find(|(output, _)| output == file);
        maker.map(|(output, step)| (output.as_str(), step.as_str()))
    }

    /// Says what is wrong with `{OUT}` or `{OUT:NAME}`, which has no value in the string `text`.
    fn unknown_out(&self, name: &str, text: &str) -> Diagnostic {
        let wanted = name.strip_prefix("OUT:");
        let needed = self
            .values
            .keys()
            .filter_map(|name| name.strip_prefix("OUT:"));
        let near_needed = wanted.and_then(|wanted| closest(wanted, needed));
        let others = self.outputs.iter().map(|(_, step)| step.as_str());
        let near_other = wanted.and_then(|wanted| closest(wanted, others));
        if let Some(near) = near_needed.or(near_other) {
            let message = format!("`{{{name}}}` is not the directory of a needed step");
            let problem = Diagnostic::error(Code::ConfigTemplate, message);
            let and_need = match near_needed {
                Some(_) => String::new(),
                None => format!(", with `{near}` in `needs`"),
            };
            return problem.help(format!("did you mean `{{{OUT}:{near}}}`{and_need}?"));
        }
        let outs = self.values.keys().filter(|name| is_out(name));
        let outs: Vec<String> = outs.map(|name| format!("`{{{name}}}`")).collect();
        let problem = |message: String| Diagnostic::error(Code::ConfigTemplate, message);
        match (outs.is_empty(), name) {
            (true, _) => problem(format!(
                "`{{{name}}}` is the directory of a step, and there is none"
            ))
            .help(match self.maker_of(text) {
                Some((file, step)) => {
                    format!(
                        "add `needs = [\"{step}\"]`: step `{step}` has `{file}` in its `outputs`"
                    )
                }
                None => "add `needs` with the name of a `[step.NAME]`, or `prepare`".to_owned(),
            }),
            (false, "OUT") => problem("`{OUT}` could be the directory of several steps".to_owned())
                .help(format!("write one of {}", outs.join(", "))),
            (false, _) => problem(format!(
                "`{{{name}}}` is not the directory of a needed step"
            ))
            .help(format!(
                "add its name to `needs`, or write {}",
                outs.join(" or ")
            )),
        }
    }

    /// Adds names whose values are missing for a reason that was reported.
    pub(super) fn without(mut self, names: impl IntoIterator<Item = &'a str>) -> Self {
        self.unknown.extend(names);
        self
    }

    fn get(&self, name: &str) -> Option<&'a HdlValue> {
        self.values.get(name).copied()
    }

    fn evaluate(&self, expression: &Expression) -> Result<HdlValue, Fault> {
        if let Some(value) = expression.as_name().and_then(|name| self.get(name)) {
            return Ok(value.clone());
        }
        let number = expression.evaluate(&|name| self.get(name));
        number.map(HdlValue::Integer)
    }
}

/// Which braces a string may contain besides those of expressions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Braces {
    /// None.
    Plain,
    /// Alternatives of a file pattern, `{a,b}`, which stay as they are.
    Pattern,
}

/// A string that may contain expressions, with its place.
#[derive(Clone, Debug)]
pub(super) struct Template {
    /// The string as it is written.
    pub(super) source: Located<String>,
    pieces: Vec<Piece>,
    /// Whether a mistake in it was reported.
    is_reported: Cell<bool>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    /// An expression, and where it begins in the string.
    Value(Expression, usize),
}

impl Template {
    /// Reads a string; what is wrong with it is reported, and it is then only text.
    pub(super) fn read(reading: &Reading, source: Located<String>, braces: Braces) -> Self {
        let parsed = pieces(&source.value, braces);
        let template = |pieces| Self {
            source,
            pieces,
            is_reported: Cell::new(false),
        };
        match parsed {
            Ok(pieces) => template(pieces),
            Err(fault) => {
                let template = template(Vec::new());
                template.report(reading, None, fault);
                template
            }
        }
    }

    /// Reads several strings.
    pub(super) fn read_all(
        reading: &Reading,
        sources: Vec<Located<String>>,
        braces: Braces,
    ) -> Vec<Self> {
        let sources = sources.into_iter();
        sources
            .map(|source| Self::read(reading, source, braces))
            .collect()
    }

    /// Says whether the string has expressions.
    pub(super) fn has_values(&self) -> bool {
        let mut pieces = self.pieces.iter();
        pieces.any(|piece| matches!(piece, Piece::Value(..)))
    }

    /// Returns the names in the expressions of the string.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        let expressions = self.pieces.iter().filter_map(|piece| match piece {
            Piece::Value(expression, _) => Some(expression),
            Piece::Text(_) => None,
        });
        expressions.flat_map(|it| it.names().into_iter().map(|(name, _)| name))
    }

    /// Returns the string as one build has it; `None` if it has a mistake, which is reported.
    pub(super) fn render(&self, reading: &Reading, scope: &Scope<'_>) -> Option<String> {
        let mut text = String::new();
        for piece in &self.pieces {
            match piece {
                Piece::Text(plain) => text.push_str(plain),
                Piece::Value(expression, at) => {
                    let value = self.value_of(reading, scope, expression, *at)?;
                    text.push_str(&value.in_text());
                }
            }
        }
        (!self.is_reported.get()).then_some(text)
    }

    /// Returns the value as one build has it: what a name stands for or an expression gives if the
    /// string is nothing else, or a string. `None` if it has a mistake, which is reported.
    pub(super) fn value(&self, reading: &Reading, scope: &Scope<'_>) -> Option<HdlValue> {
        if let [Piece::Value(expression, at)] = self.pieces.as_slice() {
            return self.value_of(reading, scope, expression, *at);
        }
        self.render(reading, scope).map(HdlValue::Text)
    }

    fn value_of(
        &self,
        reading: &Reading,
        scope: &Scope<'_>,
        expression: &Expression,
        at: usize,
    ) -> Option<HdlValue> {
        let names = expression.names();
        if names.iter().any(|(name, _)| scope.unknown.contains(name)) {
            return None;
        }
        match scope.evaluate(expression) {
            Ok(value) => Some(value),
            Err(mut fault) => {
                fault.range = fault.range.start + at..fault.range.end + at;
                self.report(reading, Some(scope), fault);
                None
            }
        }
    }

    /// Reports a problem with the string as a whole, unless it has one already.
    pub(super) fn refuse(&self, reading: &Reading, problem: Diagnostic, label: &str) {
        if !self.is_reported.replace(true) {
            reading.at(&self.source.range, label, problem);
        }
    }

    /// Reports the first mistake that the string has in any build.
    fn report(&self, reading: &Reading, scope: Option<&Scope<'_>>, fault: Fault) {
        // What could not be read may have held the name.
        let is_doubtful = fault.unknown_name.is_some() && !reading.is_whole();
        if self.is_reported.replace(true) || is_doubtful {
            return;
        }
        let mut problem = Diagnostic::error(Code::ConfigTemplate, fault.message);
        if let Some(scope) = scope {
            problem = scope.placed(problem);
        }
        let out = fault.unknown_name.as_deref().filter(|name| is_out(name));
        if let (Some(name), Some(scope)) = (out, scope) {
            let problem = scope.placed(scope.unknown_out(name, &self.source.value));
            let range = within(&reading.document, &self.source, &fault.range);
            reading.at(&range, "", problem);
            return;
        }
        let known = scope.map(|scope| &scope.values).into_iter().flatten();
        let names: Vec<&str> = known.map(|(name, _)| *name).collect();
        let near = scope.map(|scope| &scope.near).cloned().unwrap_or_default();
        problem = match fault
            .unknown_name
            .map(|name| closest(&name, names.iter().copied().chain(near.iter().copied())))
        {
            Some(Some(close)) => problem.help(format!("did you mean `{{{close}}}`?")),
            Some(None) => {
                let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
                let problem = match quoted.as_slice() {
                    [] => problem,
                    [..] => problem.fact(format!("it has {}", quoted.join(", "))),
                };
                problem.help(LITERAL_BRACES)
            }
            // A name or number without a value was meant as one.
            _ if scope.is_some() => problem,
            _ => problem.help(LITERAL_BRACES),
        };
        let range = within(&reading.document, &self.source, &fault.range);
        reading.at(&range, "", problem);
    }
}

/// Returns a string as one build has it; `None` if it has a mistake.
pub(super) fn rendered(source: &str, scope: &Scope<'_>) -> Option<String> {
    let mut text = String::new();
    for piece in pieces(source, Braces::Plain).ok()? {
        match piece {
            Piece::Text(plain) => text.push_str(&plain),
            Piece::Value(expression, _) => {
                text.push_str(&scope.evaluate(&expression).ok()?.in_text());
            }
        }
    }
    Some(text)
}

/// Says whether a string has expressions and no mistake.
pub(super) fn has_values(source: &str, braces: Braces) -> bool {
    let pieces = pieces(source, braces).unwrap_or_default();
    pieces.iter().any(|it| matches!(it, Piece::Value(..)))
}

/// Says whether a name means the directory of a step.
pub(super) fn is_out(name: &str) -> bool {
    name == OUT || name.starts_with("OUT:")
}

/// Returns where a part of a string stands in the document; the whole string if escapes or line
/// breaks make its text differ from the document's.
fn within(document: &Document, source: &Located<String>, part: &Range<usize>) -> Range<usize> {
    let written = &document.text[source.range.clone()];
    let start = source.range.start + 1;
    let is_same = ['"', '\''].iter().any(|quote| {
        let inner = written
            .strip_prefix(*quote)
            .and_then(|it| it.strip_suffix(*quote));
        inner == Some(source.value.as_str())
    });
    if is_same {
        start + part.start..start + part.end
    } else {
        source.range.clone()
    }
}

/// Splits a string at its braces.
fn pieces(text: &str, braces: Braces) -> Result<Vec<Piece>, Fault> {
    let fault = |range: Range<usize>, message: &str| Fault {
        range,
        message: message.to_owned(),
        unknown_name: None,
    };
    let mut pieces = Vec::new();
    let mut plain = String::new();
    let mut at = 0;
    while let Some(found) = text[at..].find(['{', '}']) {
        plain.push_str(&text[at..at + found]);
        at += found;
        let rest = &text[at..];
        if rest.starts_with("{{") || rest.starts_with("}}") {
            // In a pattern, a brace that is meant is a class of one character.
            let (open, close) = match braces {
                Braces::Plain => ("", ""),
                Braces::Pattern => ("[", "]"),
            };
            plain.extend([open, &rest[..1], close]);
            at += 2;
            continue;
        }
        if rest.starts_with('}') {
            return Err(fault(at..at + 1, "a `}` without its `{`"));
        }
        let end = rest.find('}').map(|length| at + length);
        let is_variable = text[..at].ends_with('$');
        let is_alternatives =
            |end| braces == Braces::Pattern && has_alternatives(&text[at + 1..end]);
        match end {
            Some(end) if is_variable || is_alternatives(end) => {
                plain.push_str(&text[at..=end]);
                at = end + 1;
            }
            // What is wrong with it is said where variables are looked up.
            None if is_variable => {
                plain.push_str(rest);
                at = text.len();
            }
            None => return Err(fault(at..at + 1, "a `{` without its `}`")),
            Some(end) => {
                let inner = at + 1;
                let expression = Expression::parse(&text[inner..end]).map_err(|mut fault| {
                    fault.range = fault.range.start + inner..fault.range.end + inner;
                    if text[inner..end].trim().is_empty() {
                        fault.range = at..end + 1;
                        "nothing is between the braces".clone_into(&mut fault.message);
                    }
                    fault
                })?;
                // `'{0}` of SystemVerilog, which would become `'0`.
                if expression.names().is_empty() {
                    return Err(fault(at..end + 1, "no name is between the braces"));
                }
                if !plain.is_empty() {
                    pieces.push(Piece::Text(std::mem::take(&mut plain)));
                }
                pieces.push(Piece::Value(expression, inner));
                at = end + 1;
            }
        }
    }
    plain.push_str(&text[at..]);
    if !plain.is_empty() {
        pieces.push(Piece::Text(plain));
    }
    Ok(pieces)
}

/// Says whether commas separate alternatives, which those in the parentheses of a call do not.
fn has_alternatives(text: &str) -> bool {
    let mut depth = 0_usize;
    text.chars().any(|c| {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        c == ',' && depth == 0
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::config::document::Damage;
    use crate::diagnostic::render::to_text;
    use crate::sim::registry::Registry;

    use camino::Utf8Path;

    /// Renders the string that `written` is in TOML; an error is its message and what it points at.
    fn rendered(written: &str, braces: Braces) -> Result<String, String> {
        let document = Document::new(Utf8Path::new("runner.toml"), written);
        let reading = Reading::new(document, Damage::default(), Registry::builtin());
        let value = toml::de::DeValue::parse(written).expect("TOML");
        let source = Located {
            value: value.get_ref().as_str().expect("a string").to_owned(),
            range: 0..written.len(),
        };
        let values = BTreeMap::from([
            ("WIDTH".to_owned(), HdlValue::Integer(32)),
            ("FAST".to_owned(), HdlValue::Boolean(true)),
            ("GAIN".to_owned(), HdlValue::Real("2.5".to_owned())),
            ("KIND".to_owned(), HdlValue::Text("axi".to_owned())),
        ]);
        let scope = Scope::new("fifo").with(&values);
        let text = Template::read(&reading, source, braces).render(&reading, &scope);
        let problems = reading.into_problems();
        match problems.first() {
            None => Ok(text.expect("no problem")),
            Some(found) => {
                assert_eq!(text, None, "{written}");
                let place = found.problem.snippet.as_ref().expect("a place");
                let pointed = &written[place.range.clone()];
                Err(format!("{pointed}: {}", found.problem.message))
            }
        }
    }

    #[test]
    fn braces_hold_values_and_doubled_ones_are_braces() {
        for (written, expected) in [
            ("'plain'", "plain"),
            ("'-DKEEP={WIDTH // 8}'", "-DKEEP=4"),
            ("'{KIND}_{ FAST }_{GAIN}_{FAST + 0}'", "axi_1_2.5_1"),
            ("'{{\"a\": {WIDTH}}}'", "{\"a\": 32}"),
            ("'{{{WIDTH}}}'", "{32}"),
            ("'${HOME}/$HOME/{KIND}'", "${HOME}/$HOME/axi"),
            ("'${open'", "${open"),
            ("\"'{{0}}\"", "'{0}"),
            ("\"\\u007BWIDTH\\u007D\"", "32"),
            ("''", ""),
        ] {
            let text = rendered(written, Braces::Plain);
            assert_eq!(text.as_deref(), Ok(expected), "{written}");
        }
    }

    #[test]
    fn alternatives_of_a_pattern_stay_what_they_are() {
        for (written, expected) in [
            ("'hdl/{a,b}/{KIND}.sv'", "hdl/{a,b}/axi.sv"),
            ("'hdl/{min(WIDTH, 8)}.sv'", "hdl/8.sv"),
            ("'hdl/{{x}}.sv'", "hdl/[{]x[}].sv"),
        ] {
            let text = rendered(written, Braces::Pattern);
            assert_eq!(text.as_deref(), Ok(expected), "{written}");
        }
    }

    #[test]
    fn a_mistake_is_shown_at_its_characters_or_in_its_string() {
        for (written, expected) in [
            (
                "'-D{WIDTH / 2}'",
                "/: write `//`: expressions have whole numbers only",
            ),
            ("'a {WIDHT} b'", "WIDHT: no parameter is called `WIDHT`"),
            (
                "\"{KIND * 2}\"",
                "KIND: `KIND` is the string `axi`, and expressions take whole numbers",
            ),
            ("'{\"a\": 1}'", "\": an expression cannot contain `\"`"),
            ("'x{}'", "{}: nothing is between the braces"),
            ("\"'{0}\"", "{0}: no name is between the braces"),
            (
                "'{clog2(8) - 1}'",
                "{clog2(8) - 1}: no name is between the braces",
            ),
            ("'x{WIDTH'", "{: a `{` without its `}`"),
            ("'x}y'", "}: a `}` without its `{`"),
            ("'{a,b}'", ",: unexpected `,`"),
            (
                "\"é\\t{WIDHT}\"",
                "\"é\\t{WIDHT}\": no parameter is called `WIDHT`",
            ),
            (
                "'''{WIDHT}'''",
                "'''{WIDHT}''': no parameter is called `WIDHT`",
            ),
        ] {
            let text = rendered(written, Braces::Plain);
            assert_eq!(text, Err(expected.to_owned()), "{written}");
        }
    }

    #[test]
    fn a_mistake_in_several_builds_is_reported_once_with_the_first() {
        let text = "a = '{WIDHT}'";
        let document = Document::new(Utf8Path::new("runner.toml"), text);
        let reading = Reading::new(document, Damage::default(), Registry::builtin());
        let source = Located {
            value: "{WIDHT}".to_owned(),
            range: 4..13,
        };
        let template = Template::read(&reading, source, Braces::Plain);
        let values = BTreeMap::from([("WIDTH".to_owned(), HdlValue::Integer(8))]);
        for build in ["fifo/WIDTH=8", "fifo/WIDTH=16"] {
            let scope = Scope::new(build).with(&values);
            assert_eq!(template.render(&reading, &scope), None);
        }
        let problems = reading.into_problems();
        let reported: Vec<String> = problems
            .iter()
            .map(|it| to_text(&it.problem, false))
            .collect();
        let expected = "\
error[config::template]: no parameter is called `WIDHT`
 --> runner.toml:1:7
  |
1 | a = '{WIDHT}'
  |       ^^^^^
  in build `fifo/WIDTH=8`
help: did you mean `{WIDTH}`?
";
        assert_eq!(reported, [expected]);
    }
}

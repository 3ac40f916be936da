//! Reads `[step.NAME]` and the `prepare` of a build: commands that write files.

use crate::config::document::Located;
use crate::config::document::Reading;
use crate::config::document::Section;
use crate::config::document::Value;
use crate::config::draft::read_env;
use crate::config::keys::Table;
use crate::config::suggest::closest;
use crate::config::suggest::split_words;
use crate::config::template::Braces;
use crate::config::template::Template;
use crate::diagnostic::Code;
use crate::diagnostic::Diagnostic;
use crate::model::step::PREPARE;

use std::cell::Cell;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::ops::Range;
use std::time::Duration;

/// Characters that the name of a step may contain besides letters and digits.
const NAME_MARKS: &str = "_-";

/// A step as it is written; each build that needs it may read its strings differently.
#[derive(Clone, Debug)]
pub(super) struct StepDraft {
    pub(super) name: String,
    /// Where its name is, or the key of a build.
    pub(super) name_range: Range<usize>,
    /// Where its commands are, to point at.
    pub(super) range: Range<usize>,
    /// None of them is empty, unless a mistake was reported.
    pub(super) commands: Vec<Vec<Template>>,
    /// Names and patterns of files; `None` if nothing is said about them.
    pub(super) inputs: Option<Vec<Template>>,
    /// Names and patterns below its directory.
    pub(super) outputs: Vec<Template>,
    pub(super) env: BTreeMap<String, Template>,
    /// Other steps.
    pub(super) needs: Vec<Located<String>>,
    pub(super) timeout: Option<Duration>,
}

/// Every `[step.NAME]`, none of which needs itself.
#[derive(Clone, Debug, Default)]
pub(super) struct StepTables {
    steps: BTreeMap<String, StepDraft>,
    /// The names of those that some build needs, itself or by way of others.
    needed: RefCell<BTreeSet<String>>,
    /// Whether an unknown name was met, which may have meant any of them.
    has_unknown: Cell<bool>,
}

impl StepTables {
    /// Reads the tables below `step`; unknown names and circles are reported.
    pub(super) fn read(top: &Section<'_>) -> Self {
        let Some(value) = top.get("step") else {
            return Self::default();
        };
        if !value.content.is_table() {
            let problem = value.wrong_type_problem("tables, one for each step");
            let help = "give each step a name: `[step.NAME]`";
            let reading = top.reading;
            reading.at(&value.range, value.type_words(), problem.help(help));
            return Self::default();
        }
        let drafts = value.entries("tables").into_iter();
        let drafts = drafts.filter_map(|(name, value)| read_step(&name, &value));
        let mut tables = Self {
            steps: drafts.map(|it| (it.name.clone(), it)).collect(),
            ..Self::default()
        };
        let checked = tables.steps.values().map(|draft| {
            let needs = tables.known(top.reading, &draft.needs);
            (draft.name.clone(), needs)
        });
        let checked: BTreeMap<String, Vec<Located<String>>> = checked.collect();
        for (name, needs) in checked {
            if let Some(draft) = tables.steps.get_mut(&name) {
                draft.needs = needs;
            }
        }
        tables.break_circles(top.reading);
        tables
    }

    /// Returns those names that are steps; others are reported.
    pub(super) fn known(
        &self,
        reading: &Reading,
        needs: &[Located<String>],
    ) -> Vec<Located<String>> {
        let mut known: Vec<Located<String>> = Vec::new();
        for need in needs {
            if !self.steps.contains_key(&need.value) {
                self.has_unknown.set(true);
                // What could not be read may have held the step.
                if reading.is_whole() {
                    reading.at(&need.range, "", self.unknown(&need.value));
                }
            } else if known.iter().any(|it| it.value == need.value) {
                let message = format!("`needs` names `{}` twice", need.value);
                reading.at(
                    &need.range,
                    "",
                    Diagnostic::error(Code::ConfigBadValue, message),
                );
            } else {
                known.push(need.clone());
            }
        }
        known
    }

    fn unknown(&self, name: &str) -> Diagnostic {
        let message = format!("there is no step called `{name}`");
        let problem = Diagnostic::error(Code::ConfigUnknownStep, message);
        let names: Vec<&str> = self.steps.keys().map(String::as_str).collect();
        match closest(name, names.iter().copied()) {
            Some(near) => problem.help(format!("did you mean `{near}`?")),
            None if names.is_empty() => problem.help(format!("add a `[step.{name}]`")),
            None => {
                let quoted: Vec<String> = names.iter().map(|it| format!("`{it}`")).collect();
                problem.help(format!("known steps: {}", quoted.join(", ")))
            }
        }
    }

    /// Reports each circle of steps, and removes the need that closes it.
    fn break_circles(&mut self, reading: &Reading) {
        let mut search = CircleSearch::of(&self.steps);
        for name in self.steps.keys() {
            search.visit(name);
        }
        for circle in search.circles {
            let names: Vec<String> = circle.iter().map(|it| format!("`{it}`")).collect();
            let (first, last) = (&circle[0], &circle[circle.len() - 2]);
            let message = format!("step `{first}` needs itself");
            let problem = Diagnostic::error(Code::ConfigStepCircle, message);
            let problem = problem.fact(names.join(" needs "));
            let Some(draft) = self.steps.get_mut(last) else {
                continue;
            };
            let at = draft.needs.iter().position(|it| it.value == *first);
            if let Some(at) = at {
                let need = draft.needs.remove(at);
                reading.at(&need.range, "closes the circle", problem);
            }
        }
    }

    /// Returns what a build needs, with all that it needs itself, each step after those.
    pub(super) fn of_build(&self, needs: &[Located<String>]) -> Vec<StepDraft> {
        let drafts = self.in_order(needs);
        let mut needed = self.needed.borrow_mut();
        needed.extend(drafts.iter().map(|draft| draft.name.clone()));
        drafts.into_iter().cloned().collect()
    }

    /// Returns the outputs that have one name in all builds, each with the name of its step.
    pub(super) fn outputs(&self) -> Vec<(String, String)> {
        let outputs = self.steps.values().flat_map(|draft| {
            let fixed = draft.outputs.iter().filter(|it| !it.has_values());
            fixed.map(|output| (output.source.value.clone(), draft.name.clone()))
        });
        outputs.collect()
    }

    /// Returns the sound steps that no build needs, each after those that it needs; none if a `needs` may
    /// have meant one of them.
    pub(super) fn unneeded(&self) -> Vec<StepDraft> {
        if self.has_unknown.get() {
            return Vec::new();
        }
        let needed = self.needed.borrow();
        let mut ordered = Vec::new();
        for name in self.steps.keys() {
            self.add(name, &mut ordered);
        }
        // A mistake in the name or the command is reported already.
        let is_sound = |it: &StepDraft| {
            it.name != PREPARE && it.commands.iter().all(|words| !words.is_empty())
        };
        let unneeded = ordered.into_iter();
        let unneeded = unneeded.filter(|it| is_sound(it) && !needed.contains(&it.name));
        unneeded.cloned().collect()
    }

    /// Returns steps with all that they need, each after those that it needs.
    fn in_order(&self, needs: &[Located<String>]) -> Vec<&StepDraft> {
        let mut ordered = Vec::new();
        for need in needs {
            self.add(&need.value, &mut ordered);
        }
        ordered
    }

    fn add<'a>(&'a self, name: &str, ordered: &mut Vec<&'a StepDraft>) {
        let Some(draft) = self.steps.get(name) else {
            return;
        };
        if ordered.iter().any(|known| known.name == name) {
            return;
        }
        for need in &draft.needs {
            self.add(&need.value, ordered);
        }
        ordered.push(draft);
    }
}

/// A depth-first search that passes each need once and goes on as if those that close a circle were
/// not there.
struct CircleSearch<'a> {
    steps: &'a BTreeMap<String, StepDraft>,
    /// The steps on the way from where the search began.
    path: Vec<&'a str>,
    /// The same, and those whose needs were all visited.
    seen: BTreeSet<&'a str>,
    /// The names along each circle, the first one again at the end.
    circles: Vec<Vec<String>>,
}

impl<'a> CircleSearch<'a> {
    fn of(steps: &'a BTreeMap<String, StepDraft>) -> Self {
        Self {
            steps,
            path: Vec::new(),
            seen: BTreeSet::new(),
            circles: Vec::new(),
        }
    }

    fn visit(&mut self, name: &'a str) {
        let Some(draft) = self.steps.get(name) else {
            return;
        };
        if !self.seen.insert(name) {
            let start = self.path.iter().position(|known| *known == name);
            if let Some(start) = start {
                let circle = self.path[start..].iter().chain([&name]);
                self.circles.push(circle.map(ToString::to_string).collect());
            }
            return;
        }
        self.path.push(name);
        for need in &draft.needs {
            self.visit(&need.value);
        }
        self.path.pop();
    }
}

fn read_step(name: &Located<String>, value: &Value<'_>) -> Option<StepDraft> {
    let reading = value.reading;
    let fit = |c: char| c.is_ascii_alphanumeric() || NAME_MARKS.contains(c);
    let problem = match name.value.as_str() {
        PREPARE => Some((
            format!("the name `{PREPARE}` is reserved: it is a key of a build"),
            "give the step another name",
        )),
        text if text.is_empty() || !text.chars().all(fit) => Some((
            format!("`{text}` is not a valid step name"),
            "a name consists of letters, digits, `_` and `-`",
        )),
        _ => None,
    };
    if let Some((message, help)) = problem {
        let problem = Diagnostic::error(Code::ConfigBadValue, message);
        reading.at(&name.range, "", problem.help(help));
    }
    let section = value.section(Table::Step, &format!("[step.{}]", name.value))?;
    let command = section.require("command");
    let words = command.as_ref().map(|value| read_command(value));
    let outputs = section.require("outputs").map(|value| {
        if value.content.as_array().is_some_and(|it| it.is_empty()) {
            let message = format!("`outputs` of `{}` is empty", section.title);
            value.bad(message, "names no file that the step writes");
        }
        value.texts()
    });
    let template = |source| Template::read(reading, source, Braces::Plain);
    let templates = |texts, braces| Template::read_all(reading, texts, braces);
    Some(StepDraft {
        name: name.value.clone(),
        name_range: name.range.clone(),
        range: command.map_or(section.range.clone(), |it| it.range),
        commands: words.into_iter().collect(),
        inputs: read_inputs(&section, "inputs"),
        outputs: templates(outputs.unwrap_or_default(), Braces::Pattern),
        env: read_env(&section, |_| None)
            .into_iter()
            .map(|(name, text)| (name, template(text)))
            .collect(),
        needs: section.texts("needs"),
        timeout: section.seconds("timeout_s"),
    })
}

fn read_inputs(section: &Section<'_>, key: &str) -> Option<Vec<Template>> {
    section.get(key)?;
    let texts = section.texts(key);
    Some(Template::read_all(section.reading, texts, Braces::Pattern))
}

/// Reads `prepare` and `prepare_inputs` of a build, whose needs its commands may read.
pub(super) fn read_prepare(section: &Section<'_>, needs: &[Located<String>]) -> Option<StepDraft> {
    let inputs = read_inputs(section, "prepare_inputs");
    let Some(value) = section.get(PREPARE) else {
        if let Some(value) = section.get("prepare_inputs") {
            value.bad(
                format!("`{}` has no `{PREPARE}`", section.title),
                "are read by nothing",
            );
        }
        return None;
    };
    let lists = value.content.as_array();
    if lists.is_some_and(|lists| lists.is_empty()) {
        value.bad(format!("`{PREPARE}` is an empty list"), "runs nothing");
    }
    let is_one_command = |items: &[Value<'_>]| {
        !items.is_empty() && items.iter().all(|it| it.content.as_str().is_some())
    };
    let items = value.items("a list of commands");
    let commands = if is_one_command(&items) {
        let problem = value.wrong_type_problem("a list of commands");
        let help = "put the command in brackets of its own: `[[\"python3\", \"gen.py\"]]`";
        section.reading.at(&value.range, "", problem.help(help));
        Vec::new()
    } else {
        items.iter().map(read_command).collect()
    };
    Some(StepDraft {
        name: PREPARE.to_owned(),
        name_range: value.range.clone(),
        range: value.range.clone(),
        commands,
        inputs,
        outputs: Vec::new(),
        env: BTreeMap::new(),
        needs: needs.to_vec(),
        timeout: None,
    })
}

/// Reads a program and its arguments.
fn read_command(value: &Value<'_>) -> Vec<Template> {
    let reading = value.reading;
    if let Some(text) = value.content.as_str() {
        let problem = value.wrong_type_problem("a list of words, since there is no shell");
        let problem = split_words(text)
            .into_iter()
            .fold(problem, Diagnostic::help);
        reading.at(&value.range, value.type_words(), problem);
        return Vec::new();
    }
    let words = value.texts();
    let is_empty = value.content.as_array().is_some_and(|it| it.is_empty())
        || words
            .first()
            .is_some_and(|word| word.value.trim().is_empty());
    if is_empty {
        value.bad(
            format!("a command of `{}` is empty", value.name),
            "names no program",
        );
        return Vec::new();
    }
    Template::read_all(reading, words, Braces::Plain)
}

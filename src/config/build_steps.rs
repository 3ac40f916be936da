//! The steps of one build: what its table needs and prepares, with the values of the build.

use crate::config::document::Section;
use crate::config::document::Unplaced;
use crate::config::file_list::is_file_list;
use crate::config::files::Files;
use crate::config::files::PathKind;
use crate::config::files::is_pattern;
use crate::config::files::join;
use crate::config::files::non_empty;
use crate::config::named_files::NamedFiles;
use crate::config::step_table::StepDraft;
use crate::config::step_table::StepTables;
use crate::config::step_table::read_prepare;
use crate::config::suggest::closest;
use crate::config::suggest::split_words;
use crate::config::template::OUT;
use crate::config::template::Scope;
use crate::config::template::Template;
use crate::config::template::is_out;
use crate::diagnostic::Code;
use crate::diagnostic::Diagnostic;
use crate::diagnostic::Severity;
use crate::edge::fs;
use crate::model::build::HdlValue;
use crate::model::step;
use crate::model::step::Step;

use camino::Utf8Component;
use camino::Utf8Path;
use camino::Utf8PathBuf;
use globset::GlobBuilder;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::collections::BTreeSet;

/// The steps of a build table, and what was found out about them for its builds so far.
pub(super) struct BuildSteps<'a> {
    section: &'a Section<'a>,
    files: &'a Files<'a>,
    /// Its name with the prefix of its file; empty for steps that no build needs.
    table: &'a str,
    /// Every step, each after those that it needs.
    drafts: Vec<StepDraft>,
    /// The names of those whose directories the build itself may name.
    direct: Vec<String>,
    /// The values of `{OUT}` and `{OUT:NAME}` in the build.
    outs: BTreeMap<String, HdlValue>,
    /// The same in the commands of each step.
    step_outs: BTreeMap<String, BTreeMap<String, HdlValue>>,
    /// What words of commands name.
    named: NamedFiles<'a>,
    /// The files of entries of `inputs`.
    inputs: RefCell<BTreeMap<String, Vec<Utf8PathBuf>>>,
    /// Problems that are reported already, with their places.
    reported: RefCell<BTreeSet<(usize, String)>>,
    /// Outputs of all steps of the file with the names of their steps, for advice.
    known_outputs: Vec<(String, String)>,
}

impl<'a> BuildSteps<'a> {
    /// Reads `needs`, `prepare` and `prepare_inputs` of a build table.
    pub(super) fn read(
        section: &'a Section<'a>,
        files: &'a Files<'a>,
        table: &'a str,
        tables: &StepTables,
    ) -> Self {
        let needs = tables.known(section.reading, &section.texts("needs"));
        let mut drafts = tables.of_build(&needs);
        let mut direct: Vec<String> = needs.iter().map(|need| need.value.clone()).collect();
        if let Some(prepare) = read_prepare(section, &needs) {
            direct.push(prepare.name.clone());
            drafts.push(prepare);
        }
        let known_outputs = tables.outputs();
        Self {
            known_outputs,
            ..Self::new(section, files, table, drafts, direct)
        }
    }

    fn new(
        section: &'a Section<'a>,
        files: &'a Files<'a>,
        table: &'a str,
        drafts: Vec<StepDraft>,
        direct: Vec<String>,
    ) -> Self {
        let step_outs = drafts.iter().map(|draft| {
            let needs = draft.needs.iter().map(|need| need.value.as_str());
            (draft.name.clone(), outs(Some(draft.name.as_str()), needs))
        });
        let only = match direct.as_slice() {
            [only] => Some(only.as_str()),
            _ => None,
        };
        Self {
            outs: outs(only, direct.iter().map(String::as_str)),
            step_outs: step_outs.collect(),
            section,
            files,
            table,
            drafts,
            direct,
            named: NamedFiles::new(files),
            inputs: RefCell::default(),
            reported: RefCell::default(),
            known_outputs: Vec::new(),
        }
    }

    /// Checks the steps of a file that no build needs, and warns of each. Values of builds are not
    /// known, so what depends on one is not looked at.
    pub(super) fn check_unneeded(top: &Section<'_>, files: &Files<'_>, tables: &StepTables) {
        // A misspelt key may have held the need.
        let is_sure = top.reading.is_whole() && !top.reading.has_errors();
        let drafts = tables.unneeded();
        let steps = BuildSteps::new(top, files, "", drafts, Vec::new());
        let names = steps.templates().flat_map(Template::names);
        let values: Vec<&str> = names.filter(|name| !is_out(name)).collect();
        steps.of_build(&Scope::new("").without(values));
        for draft in steps.drafts.iter().filter(|_| is_sure) {
            let name = &draft.name;
            let message = format!("no build needs step `{name}`, so it never runs");
            let help = format!("add `needs = [\"{name}\"]` to the `[build.NAME]` that uses it");
            let problem = Diagnostic::warning(Code::ConfigUnknownStep, message).help(help);
            top.reading.at(&draft.name_range, "", problem);
        }
    }

    /// Returns the values of `{OUT}` and `{OUT:NAME}` in the strings of the build.
    pub(super) fn outs(&self) -> &BTreeMap<String, HdlValue> {
        &self.outs
    }

    /// Returns outputs of steps, needed or not, each with the name of its step.
    pub(super) fn known_outputs(&self) -> &[(String, String)] {
        &self.known_outputs
    }

    /// Returns how a build names an output of a step that it needs, if `text` is one.
    pub(super) fn spelling_of(&self, text: &str, steps: &[Step]) -> Option<String> {
        let made = steps.iter().flat_map(|step| {
            let outputs = step.outputs.iter();
            outputs.map(|output| (output, &step.name))
        });
        // What a step with a mistake would make is only known as it is written.
        let written = self
            .known_outputs
            .iter()
            .map(|(output, name)| (output, name));
        let mut made = made.chain(written);
        let (_, maker) =
            made.find(|(output, name)| *output == text && self.direct.contains(name))?;
        Some(match self.direct.as_slice() {
            [_] => format!("{{{OUT}}}/{text}"),
            _ => format!("{{{OUT}:{maker}}}/{text}"),
        })
    }

    /// Returns every string of the steps that may have expressions.
    pub(super) fn templates(&self) -> impl Iterator<Item = &Template> {
        self.drafts.iter().flat_map(|draft| {
            let words = draft.commands.iter().flatten();
            let inputs = draft.inputs.iter().flatten();
            let env = draft.env.values();
            words.chain(inputs).chain(&draft.outputs).chain(env)
        })
    }

    /// Returns the steps of a build with these values, each after those that it needs.
    pub(super) fn of_build(&self, scope: &Scope<'_>) -> Vec<Step> {
        let steps = self.drafts.iter();
        let steps: Vec<Step> = steps.filter_map(|draft| self.step(draft, scope)).collect();
        self.check_unique(&steps);
        steps
    }

    fn step(&self, draft: &StepDraft, scope: &Scope<'_>) -> Option<Step> {
        let reading = self.section.reading;
        let outs = self.step_outs.get(&draft.name)?;
        let scope = scope.clone().with_step(outs);
        let render = |template: &Template| template.render(reading, &scope);
        // Looked up even if something else is wrong.
        let listed = draft.inputs.iter().flatten();
        let listed = listed.map(|it| Some(self.input_files(it, &render(it)?)));
        let listed: Vec<Option<Vec<Utf8PathBuf>>> = listed.collect();
        let env = draft.env.iter();
        let env = env.map(|(name, template)| Some((name.clone(), render(template)?)));
        let env = env.collect::<Option<BTreeMap<String, String>>>()?;
        let word = |template: &Template| self.word(template, &render(template)?, &env);
        let command = |words: &Vec<Template>| words.iter().map(word).collect();
        let commands: Option<Vec<Vec<String>>> = draft.commands.iter().map(command).collect();
        let commands = commands?;
        let mut inputs = BTreeSet::new();
        for (templates, words) in draft.commands.iter().zip(&commands) {
            if let (Some(template), Some(name)) = (templates.first(), words.first()) {
                let is_alone = words.len() == 1;
                self.add_program(template, name, is_alone, &mut inputs)?;
            }
        }
        self.add_named(draft, &commands, &env, &mut inputs);
        for files in listed {
            inputs.extend(files?);
        }
        let outputs = draft.outputs.iter().map(|template| {
            let text = render(template)?;
            self.check_output(template, &text).then_some(text)
        });
        Some(Step {
            name: draft.name.clone(),
            inputs: inputs.into_iter().collect(),
            outputs: outputs.collect::<Option<_>>()?,
            needs: draft.needs.iter().map(|it| it.value.clone()).collect(),
            timeout: draft.timeout,
            project_dir: self.files.project_dir.to_owned(),
            commands,
            env,
        })
    }

    /// Returns a word of a command with its variables expanded.
    fn word(
        &self,
        template: &Template,
        text: &str,
        env: &BTreeMap<String, String>,
    ) -> Option<String> {
        match self.files.expand_word(text, env) {
            Ok(text) => Some(text),
            Err(problem) => {
                self.report(&template.source.range, *problem);
                None
            }
        }
    }

    /// Adds what the words of commands name, or reports that nothing is known about what they read.
    fn add_named(
        &self,
        draft: &StepDraft,
        commands: &[Vec<String>],
        env: &BTreeMap<String, String>,
        inputs: &mut BTreeSet<Utf8PathBuf>,
    ) {
        for words in commands {
            let named = self.named.of_command(words, env);
            inputs.extend(named.files);
            if draft.inputs.is_none()
                && let Some(problem) = named.problem
            {
                self.report(&draft.range, problem);
            }
        }
        let own = self
            .step_outs
            .get(&draft.name)
            .and_then(|outs| outs.get(OUT));
        let own = own.map(HdlValue::in_text).unwrap_or_default();
        let reads_a_need = |word: &String| step::is_marked(&word.replace(&own, ""));
        let reads_a_need = commands.iter().flatten().any(reads_a_need);
        let is_whole = commands.iter().all(|words| !words.is_empty()) && !commands.is_empty();
        if is_whole && inputs.is_empty() && draft.inputs.is_none() && !reads_a_need {
            let key = match draft.name.as_str() {
                step::PREPARE => "prepare_inputs",
                _ => "inputs",
            };
            let (what, verb) = match commands.len() {
                1 => ("the command", "names"),
                _ => ("the commands", "name"),
            };
            let message = format!(
                "{what} {verb} no file of the project, so a changed generator is not noticed"
            );
            let problem = Diagnostic::warning(Code::ConfigStepInputs, message);
            let help = format!("list what is read in `{key}`; `{key} = []` if it is nothing");
            self.report(&draft.range, problem.help(help));
        }
    }

    /// Adds a program of the project; `None` if it cannot be one, which is reported.
    fn add_program(
        &self,
        template: &Template,
        name: &str,
        is_alone: bool,
        inputs: &mut BTreeSet<Utf8PathBuf>,
    ) -> Option<()> {
        let written = &template.source.value;
        let is_there = || !step::is_marked(name) && fs::exists(&join(self.files.project_dir, name));
        if is_alone && name.contains(char::is_whitespace) && !is_there() {
            let message = format!("`{written}` is one word of a command, and there is no shell");
            let problem = Diagnostic::error(Code::ConfigBadValue, message);
            let problem = split_words(written)
                .into_iter()
                .fold(problem, Diagnostic::help);
            template.refuse(self.section.reading, problem, "");
            return None;
        }
        if step::is_marked(name) {
            let message = format!("the program `{written}` is in the directory of a step");
            let inside = written.trim_start_matches("./");
            let problem = Diagnostic::error(Code::ConfigBadValue, message)
                .fact("programs are looked for before steps run")
                .help(format!(
                    "let another program start it, as in `[\"env\", \"{inside}\"]`"
                ));
            template.refuse(self.section.reading, problem, "");
            return None;
        }
        if !name.contains('/') {
            return Some(());
        }
        match self
            .files
            .lookup(self.files.project_dir, name, PathKind::File)
        {
            Ok(path) if path.starts_with(self.files.project_dir) => drop(inputs.insert(path)),
            Ok(_) => {}
            Err(problem) => self.report(&template.source.range, *problem),
        }
        Some(())
    }

    fn input_files(&self, template: &Template, text: &str) -> Vec<Utf8PathBuf> {
        if step::is_marked(text) {
            let written = &template.source.value;
            let message = format!("`{written}` cannot be an input: a step writes it");
            let problem = Diagnostic::error(Code::ConfigBadValue, message)
                .help("remove it: what needed steps write counts as read already");
            template.refuse(self.section.reading, problem, "");
            return Vec::new();
        }
        let mut inputs = self.inputs.borrow_mut();
        let found = inputs.entry(text.to_owned()).or_insert_with(|| {
            let found = non_empty(text)
                .and_then(|path| self.files.expand(path))
                .and_then(|path| {
                    self.files
                        .find(self.files.project_dir, &path, PathKind::File)
                });
            found.unwrap_or_else(|problem| {
                self.report(&template.source.range, *problem);
                Vec::new()
            })
        });
        found.clone()
    }

    /// Says whether an output may be what it is, after reporting that it may not.
    fn check_output(&self, template: &Template, text: &str) -> bool {
        let path = Utf8Path::new(text);
        let is_plain = |it: Utf8Component<'_>| matches!(it, Utf8Component::Normal(_));
        let problem = if let Some((_, inside)) = step::split_marker(text) {
            let inside = inside.trim_start_matches('/');
            let problem = bad_output(text, "outputs are relative to `{OUT}` already");
            problem.help(format!("write `\"{inside}\"`"))
        } else if step::is_marked(text) || !path.components().all(is_plain) || text.ends_with('/') {
            bad_output(text, "an output is a file below `{OUT}`")
                .help("name it relative to `{OUT}`, without `..`")
        } else if text.is_empty() {
            bad_output(text, "it is empty")
        } else if let Err(error) = GlobBuilder::new(text).build() {
            bad_output(text, &error.kind().to_string())
        } else {
            return true;
        };
        template.refuse(self.section.reading, problem, "");
        false
    }

    /// Reports two steps that the build may read and that make a file of one name.
    fn check_unique(&self, steps: &[Step]) {
        let mut maker_by_output: BTreeMap<&str, &str> = BTreeMap::new();
        let direct = steps.iter().filter(|step| self.direct.contains(&step.name));
        for step in direct {
            for output in step.outputs.iter().filter(|it| !is_pattern(it)) {
                let Some(other) = maker_by_output.insert(output, &step.name) else {
                    continue;
                };
                let message = format!("steps `{other}` and `{}` both make `{output}`", step.name);
                let problem = Diagnostic::error(Code::ConfigStepOutput, message);
                let problem = problem.help("give one of them another name");
                if let Some(needs) = self.section.get("needs") {
                    self.report_always(&needs.range, problem);
                }
            }
        }
    }

    /// Reports a problem with files, once for all builds of the table that have it.
    fn report(&self, range: &std::ops::Range<usize>, problem: Diagnostic) {
        let reading = self.section.reading;
        if !self.is_new(range, &problem) {
            return;
        }
        let problem = problem.at(reading.document.snippet(range, ""));
        if self.table.is_empty() {
            // No build is worse for it.
            let severity = Severity::Warning;
            reading.elsewhere(
                range.start,
                Diagnostic {
                    severity,
                    ..problem
                },
            );
        } else {
            reading.in_build(self.table, range.start, problem);
        }
    }

    fn report_always(&self, range: &std::ops::Range<usize>, problem: Diagnostic) {
        if self.is_new(range, &problem) {
            self.section.reading.at(range, "", problem);
        }
    }

    fn is_new(&self, range: &std::ops::Range<usize>, problem: &Diagnostic) -> bool {
        let mut reported = self.reported.borrow_mut();
        reported.insert((range.start, problem.to_string()))
    }
}

/// Checks an entry of `sources` below the directory of a step, as it is rendered.
///
/// # Errors
/// What is wrong with it, without a place.
pub(super) fn check_source(text: &str, steps: &[Step]) -> Unplaced<()> {
    let refuse = |why: &str| {
        let message = format!("`{}` {why}", step::shown(text));
        Diagnostic::error(Code::ConfigBadValue, message)
    };
    let Some((name, inside)) = step::split_marker(text) else {
        return Err(refuse("does not begin with `{OUT}`").into());
    };
    let wanted = inside.trim_start_matches('/');
    if wanted.is_empty() || wanted.split('/').any(|part| part == "..") {
        return Err(refuse("is not a file below `{OUT}`").into());
    }
    if is_file_list(Utf8Path::new(wanted)) {
        let problem = refuse("is a file list, and those are read before steps run");
        return Err(problem
            .help("name the sources, or a pattern such as `{OUT}/*.sv`")
            .into());
    }
    let outputs = steps.iter().find(|step| step.name == name);
    let outputs = outputs.map_or(&[][..], |step| &step.outputs);
    let is_made = |output: &String| output == wanted || may_match(output, wanted);
    if outputs.is_empty() || outputs.iter().any(is_made) {
        return Ok(());
    }
    let message = format!("step `{name}` makes no `{wanted}`");
    let problem = Diagnostic::error(Code::ConfigStepOutput, message);
    let names: Vec<String> = outputs.iter().map(|it| format!("`{it}`")).collect();
    let problem = problem.fact(format!("its `outputs` are {}", names.join(", ")));
    let near = closest(wanted, outputs.iter().map(String::as_str));
    Err(problem
        .help(match near {
            Some(near) => format!("did you mean `{near}`?"),
            None => "add it to `outputs` of the step".to_owned(),
        })
        .into())
}

/// Returns the values of `{OUT:NAME}` for each step, and of `{OUT}` for one.
fn outs<'n>(own: Option<&str>, names: impl Iterator<Item = &'n str>) -> BTreeMap<String, HdlValue> {
    let value = |name: &str| HdlValue::Text(step::marker(name));
    let by_name = names.map(|name| (format!("{OUT}:{name}"), value(name)));
    let own = own.map(|name| (OUT.to_owned(), value(name)));
    by_name.chain(own).collect()
}

fn bad_output(text: &str, why: &str) -> Diagnostic {
    let message = format!("invalid output `{}`: {why}", step::shown(text));
    Diagnostic::error(Code::ConfigBadValue, message)
}

/// Says whether an output and an entry of `sources`, of which one or both are patterns, may mean the
/// same file.
fn may_match(output: &str, wanted: &str) -> bool {
    let is_match = |pattern: &str, name: &str| {
        let glob = GlobBuilder::new(pattern).literal_separator(true).build();
        glob.is_ok_and(|glob| glob.compile_matcher().is_match(name))
    };
    match (is_pattern(output), is_pattern(wanted)) {
        (true, true) => true,
        _ => is_match(output, wanted) || is_match(wanted, output),
    }
}

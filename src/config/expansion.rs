//! The builds of a table: each combination of its matrix on each of its simulators, whole.
//!
//! What builds have in common is read once and shared: ten thousand variants of a hundred sources
//! are ten thousand small values.

use crate::config::Variant;
use crate::config::build_steps::BuildSteps;
use crate::config::build_steps::check_source;
use crate::config::combinations::Combination;
use crate::config::combinations::Values;
use crate::config::document::Located;
use crate::config::document::Section;
use crate::config::document::Unplaced;
use crate::config::draft::CompileInputs;
use crate::config::draft::Draft;
use crate::config::file_list::ListReader;
use crate::config::file_list::SourceSet;
use crate::config::file_list::folder_of;
use crate::config::file_list::is_file_list;
use crate::config::files::Files;
use crate::config::files::PathKind;
use crate::config::files::is_pattern;
use crate::config::files::non_empty;
use crate::config::hdl_values::Setting;
use crate::config::parameters::BuildValues;
use crate::config::parameters::Parameters;
use crate::config::path_set::PathSet;
use crate::config::template::Scope;
use crate::config::template::Template;
use crate::config::timescale::default_timescale;
use crate::config::variants;
use crate::diagnostic::Code;
use crate::diagnostic::Diagnostic;
use crate::model::build::Build;
use crate::model::build::BuildName;
use crate::model::build::HdlValue;
use crate::model::build::SimulatorName;
use crate::model::build::Source;
use crate::model::step;
use crate::model::step::Step;

use camino::Utf8PathBuf;
use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::Arc;

/// Makes the builds of a table: the simulator varies fastest.
pub(super) fn expand(
    section: &Section<'_>,
    files: &Files<'_>,
    table: &str,
    draft: &Draft,
    steps: &BuildSteps<'_>,
    combinations: Vec<Combination>,
) -> Vec<Variant> {
    let parameters = draft.simulators.iter().map(|simulator| {
        let parts = draft.parts(simulator).map(|parts| &parts.parameters);
        Parameters::new(section.reading, &draft.variables, parts)
    });
    let parameters: Vec<Parameters<'_>> = parameters.collect();
    let mut expansion = Expansion {
        section,
        files,
        table,
        draft,
        steps,
        found: BTreeMap::new(),
        reported: BTreeSet::new(),
    };
    let mut variants = Vec::with_capacity(combinations.len() * draft.simulators.len());
    for combination in combinations {
        for (simulator, parameters) in draft.simulators.iter().zip(&parameters) {
            let variant = expansion.variant(&combination, simulator, parameters);
            variants.push(variant);
        }
    }
    variants
}

/// The work on one table.
struct Expansion<'a> {
    section: &'a Section<'a>,
    files: &'a Files<'a>,
    /// Its name with the prefix of its file.
    table: &'a str,
    draft: &'a Draft,
    steps: &'a BuildSteps<'a>,
    /// What was found so far, by the entries of `sources` and `includes` as rendered.
    found: BTreeMap<(Vec<String>, Vec<String>), Rc<FoundFiles>>,
    /// Problems with files that are reported already, with their places.
    reported: BTreeSet<(usize, String)>,
}

/// The files of a build.
struct FoundFiles {
    sources: Arc<[Source]>,
    includes: Arc<[Utf8PathBuf]>,
    set: SourceSet,
}

impl Expansion<'_> {
    fn variant(
        &mut self,
        combination: &Combination,
        simulator: &SimulatorName,
        parameters: &Parameters<'_>,
    ) -> Variant {
        let (draft, reading) = (self.draft, self.section.reading);
        let name = self.build_name(combination, simulator);
        let outs = self.steps.outs();
        let BuildValues {
            variables,
            parameters,
            unknown,
        } = parameters.resolve(reading, &name, outs, &combination.values);
        self.check_parameters(&name, simulator, &parameters);
        let unknown: BTreeSet<String> = unknown.into_iter().map(str::to_owned).collect();
        let scope = Scope::new(&name).with(&variables).with(&parameters);
        let scope = scope.with(outs).with_outputs(self.steps.known_outputs());
        let scope = scope.without(unknown.iter().map(String::as_str));
        let steps = self.steps.of_build(&scope);
        let render_all = |pick: fn(&CompileInputs) -> &Vec<Template>| -> Vec<Located<String>> {
            let templates = draft.parts(simulator).flat_map(pick);
            let rendered = templates.filter_map(|template| {
                Some(Located {
                    value: template.render(reading, &scope)?,
                    range: template.source.range.clone(),
                })
            });
            rendered.collect()
        };
        let found = self.find(
            simulator,
            &render_all(|parts| &parts.sources),
            &render_all(|parts| &parts.includes),
            &steps,
        );
        let mut build_args = Vec::new();
        if let Some(backend) = reading.registry.get(simulator.as_str()) {
            build_args.extend(found.set.build_args(backend.as_ref()));
        }
        let given = render_all(|parts| &parts.build_args);
        build_args.extend(given.into_iter().map(|arg| arg.value));
        let env = draft
            .env
            .iter()
            .filter_map(|(name, template)| Some((name.clone(), template.render(reading, &scope)?)));
        let timescale = draft.timescale.as_ref().or(found.set.timescale.as_ref());
        let timescale = timescale.cloned();
        let build = Build {
            hdl_toplevel: self.toplevel(&scope).unwrap_or_default(),
            extra_toplevels: self.extra_toplevels(&scope, simulator),
            build_env: env.collect(),
            build_args,
            simulator: simulator.clone(),
            sources: Arc::clone(&found.sources),
            includes: Arc::clone(&found.includes),
            defines: self.defines(simulator, &scope, &found.set.macros),
            unknown_parameters: draft.unknown_parameters,
            timescale: Some(timescale.unwrap_or_else(default_timescale)),
            waves: draft.waves,
            project_dir: self.files.project_dir.to_owned(),
            step_results: BTreeMap::new(),
            run_files: BTreeSet::new(),
            steps,
            parameters,
            name: BuildName(name),
            // Its prefix ends with the last `/`.
            table: self.table.rsplit('/').next().unwrap_or_default().to_owned(),
        };
        Variant {
            build,
            variables,
            outs: outs.clone(),
            unknown,
        }
    }

    fn build_name(&self, combination: &Combination, simulator: &SimulatorName) -> String {
        let suffix = combination.suffix();
        match self.draft.simulators.as_slice() {
            [_] => format!("{}{suffix}", self.table),
            _ => format!("{}{suffix}@{simulator}", self.table),
        }
    }

    /// Returns the macros of a build, given those of its lists, which its own definitions hide.
    fn defines(&self, simulator: &SimulatorName, scope: &Scope<'_>, listed: &Values) -> Values {
        let mut defines = listed.clone();
        for (name, setting) in self.draft.parts(simulator).flat_map(|parts| &parts.defines) {
            let value = match setting {
                Setting::Fixed(value) => Some(value.clone()),
                Setting::Template(template) => template.value(self.section.reading, scope),
            };
            defines.extend(value.map(|value| (name.clone(), value)));
        }
        defines
    }

    fn toplevel(&self, scope: &Scope<'_>) -> Option<String> {
        let template = self.draft.hdl_toplevel.as_ref()?;
        self.module_name(template, scope)
    }

    /// Reports values that the simulator cannot give to a parameter.
    fn check_parameters(
        &mut self,
        build: &str,
        simulator: &SimulatorName,
        parameters: &BTreeMap<String, HdlValue>,
    ) {
        let reading = self.section.reading;
        let Some(backend) = reading.registry.get(simulator.as_str()) else {
            return;
        };
        for (name, value) in parameters {
            let HdlValue::Sv(text) = value else {
                continue;
            };
            let Some((why, instead)) = backend.refused_parameter(text) else {
                continue;
            };
            let message = format!("`{name}` cannot be `{text}`: {why}");
            let place = variants::place_of(self.section, simulator, name);
            if self.reported.insert((place.start, message.clone())) {
                let problem = Diagnostic::error(Code::ConfigBadValue, message);
                let problem = problem.fact(format!("in build `{build}`"));
                reading.at(&place, "", problem.help(instead));
            }
        }
    }

    /// Returns the modules that are elaborated next to the toplevel.
    fn extra_toplevels(&self, scope: &Scope<'_>, simulator: &SimulatorName) -> Vec<String> {
        let reading = self.section.reading;
        let backend = reading.registry.get(simulator.as_str());
        let refused = backend.and_then(|it| it.refused_toplevels());
        let parts = self.draft.parts(simulator);
        let templates = parts.flat_map(|parts| &parts.extra_toplevels);
        let mut names = Vec::new();
        for template in templates {
            let Some(name) = self.module_name(template, scope) else {
                continue;
            };
            if let Some((why, instead)) = refused {
                let message = format!("`{name}` cannot be another toplevel: {why}");
                let problem = Diagnostic::error(Code::ConfigBadValue, message);
                let problem = problem.fact(format!("in build `{}`", scope.build()));
                template.refuse(reading, problem.help(instead), "");
            } else if !names.contains(&name) {
                names.push(name);
            }
        }
        names
    }

    fn module_name(&self, template: &Template, scope: &Scope<'_>) -> Option<String> {
        let reading = self.section.reading;
        let toplevel = template.render(reading, scope)?;
        if step::is_marked(&toplevel) {
            let shown = step::shown(&toplevel);
            let message =
                format!("`{shown}` contains the directory of a step, which names no module");
            let problem = Diagnostic::error(Code::ConfigTemplate, message);
            template.refuse(reading, problem, "name one module to elaborate");
            return None;
        }
        let is_name = !toplevel.trim().is_empty()
            && !toplevel.contains(char::is_whitespace)
            && !toplevel.starts_with('-');
        if !is_name {
            let message = format!("`{toplevel}` is not a module name");
            template.refuse(
                reading,
                Diagnostic::error(Code::ConfigBadValue, message),
                "name one module to elaborate",
            );
            return None;
        }
        Some(toplevel)
    }

    /// Looks up the files of a build; builds with the same entries share them.
    fn find(
        &mut self,
        simulator: &SimulatorName,
        sources: &[Located<String>],
        includes: &[Located<String>],
        steps: &[Step],
    ) -> Rc<FoundFiles> {
        let texts = |entries: &[Located<String>]| -> Vec<String> {
            entries.iter().map(|entry| entry.value.clone()).collect()
        };
        let key = (texts(sources), texts(includes));
        if let Some(found) = self.found.get(&key) {
            return Rc::clone(found);
        }
        let own_sources = |name: &SimulatorName| {
            let own = self.draft.own.get(name).map(|own| &own.sources);
            let own = own.into_iter().flatten();
            own.map(|it| it.source.range.clone()).collect::<Vec<_>>()
        };
        let with_these = self.draft.simulators.iter();
        let with_these = with_these.filter(|other| own_sources(other) == own_sources(simulator));
        let registry = &self.section.reading.registry;
        let mut set = SourceSet::for_simulators(with_these, registry);
        set.has_timescale = self.draft.timescale.is_some();
        for entry in sources {
            self.add_source(entry, steps, &mut set);
        }
        let mut dirs = PathSet::default();
        for entry in includes {
            dirs.extend(self.find_includes(entry));
        }
        dirs.extend(set.includes.clone().into_paths());
        let paths = set.sources.clone().into_paths().into_iter();
        let found = Rc::new(FoundFiles {
            sources: paths.map(Source::new).collect(),
            includes: dirs.into_paths().into(),
            set,
        });
        self.found.insert(key, Rc::clone(&found));
        found
    }

    /// Adds what an entry of `sources` names: a file, what matches a pattern, or a list.
    fn add_source(&mut self, entry: &Located<String>, steps: &[Step], set: &mut SourceSet) {
        if step::is_marked(&entry.value) {
            let added = check_source(&entry.value, steps);
            let added = added.and_then(|()| set.add_source(Utf8PathBuf::from(&entry.value)));
            if let Err(problem) = added {
                self.section.reading.at(&entry.range, "", *problem);
            }
            return;
        }
        let document = &self.section.reading.document;
        let mut reader = ListReader::new(self.files, folder_of(&document.shown));
        let result = read_source(&entry.value, self.files, &mut reader, set);
        let problems = std::mem::take(&mut reader.problems);
        if let Err(mut problem) = result {
            if let Some(spelling) = self.steps.spelling_of(&entry.value, steps) {
                problem.help = Some(format!("a step makes it: write `\"{spelling}\"`"));
            }
            self.report(entry, problem.at(document.snippet(&entry.range, "")));
        }
        for problem in problems {
            self.report(entry, problem);
        }
    }

    /// Looks up an entry of `includes`: a folder or a pattern.
    fn find_includes(&mut self, entry: &Located<String>) -> Vec<Utf8PathBuf> {
        if step::is_marked(&entry.value) {
            return match step::split_marker(&entry.value) {
                Some((_, inside)) if !is_pattern(inside) => vec![entry.value.clone().into()],
                _ => {
                    let shown = step::shown(&entry.value);
                    let message = format!("`{shown}` is not one folder in `{{OUT}}`");
                    let problem = Diagnostic::error(Code::ConfigBadValue, message);
                    self.section.reading.at(&entry.range, "", problem);
                    Vec::new()
                }
            };
        }
        let found = non_empty(&entry.value)
            .and_then(|path| self.files.expand(path))
            .and_then(|path| self.files.find_includes(self.files.project_dir, &path));
        let (dirs, problem) = match found {
            Ok(found) => found,
            Err(problem) => (Vec::new(), Some(*problem)),
        };
        if let Some(problem) = problem {
            let document = &self.section.reading.document;
            let problem = problem.at(document.snippet(&entry.range, ""));
            self.report(entry, problem);
        }
        dirs
    }

    /// Reports a problem with a file, once for all builds that have it.
    fn report(&mut self, entry: &Located<String>, problem: Diagnostic) {
        let order = entry.range.start;
        if self.reported.insert((order, problem.to_string())) {
            self.section.reading.in_build(self.table, order, problem);
        }
    }
}

fn read_source(
    entry: &str,
    files: &Files<'_>,
    reader: &mut ListReader<'_>,
    set: &mut SourceSet,
) -> Unplaced<()> {
    let text = files.expand(non_empty(entry)?)?;
    let relative_to_itself = text.strip_prefix("-F ").map(str::trim);
    let name = relative_to_itself.or_else(|| text.strip_prefix("-f ").map(str::trim));
    for path in files.find(files.project_dir, name.unwrap_or(&text), PathKind::File)? {
        if name.is_some() || is_file_list(&path) {
            let own = relative_to_itself.is_some();
            let base = if own {
                folder_of(&path)
            } else {
                files.project_dir
            };
            reader.read(&path, base, set)?;
        } else {
            set.add_source(path)?;
        }
    }
    Ok(())
}

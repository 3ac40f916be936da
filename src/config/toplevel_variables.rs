//! Reports variables that the toplevel declares as parameters: no simulator gets them, so the design
//! keeps its own values under the names of others.

use crate::config::Variant;
use crate::config::build_steps::BuildSteps;
use crate::config::document::Section;
use crate::config::draft::CompileInputs;
use crate::config::draft::Draft;
use crate::config::hdl_values::Setting;
use crate::config::template::Template;
use crate::config::variants;
use crate::diagnostic::Code;
use crate::diagnostic::Diagnostic;
use crate::edge::fs;
use crate::model::build::Language;
use crate::model::build::Source;
use crate::model::step;
use crate::sim::complaint::declared_parameters;

use camino::Utf8PathBuf;
use std::collections::BTreeMap;
use std::collections::BTreeSet;

/// Checks the builds of a table, named `table` with the prefix of its file.
///
/// What stands in braces in the sources, includes, macros or arguments of the compiler may reach the
/// parameter that way, and is left alone. If no string of the table uses a variable that varies, builds
/// of several names are one design, which is an error.
pub(super) fn check(
    section: &Section<'_>,
    table: &str,
    draft: &Draft,
    steps: &BuildSteps<'_>,
    builds: &[Variant],
) {
    let compiled = names_for_compiler(draft);
    let names = draft.variables.keys().map(String::as_str);
    let waiting: BTreeSet<&str> = names.filter(|name| !compiled.contains(name)).collect();
    if waiting.is_empty() {
        return;
    }
    let others = names_elsewhere(draft, steps);
    let varied = variants::varied_keys(section);
    let mut sources = Sources::default();
    let mut reported = BTreeSet::new();
    for variant in builds {
        let build = &variant.build;
        for name in sources.parameters(&build.hdl_toplevel, &build.sources) {
            let Some(name) = waiting.get(name.as_str()) else {
                continue;
            };
            if !reported.insert(*name) {
                continue;
            }
            let key = varied.iter().find(|(key, _)| key.value == *name);
            let message = format!(
                "`{name}` is in `variables`, which are not passed to the simulator, but the toplevel \
                 `{}` has a parameter `{name}`",
                build.hdl_toplevel
            );
            let is_error = key.is_some() && !others.contains(*name);
            let problem = if is_error {
                let problem = Diagnostic::error(Code::ConfigBadValue, message);
                problem.fact("builds with other values of it would be the same design")
            } else {
                let problem = Diagnostic::warning(Code::ConfigBadValue, message);
                problem.fact("the design keeps its own value of it")
            };
            let help = match key {
                Some((_, from)) => format!(
                    "remove it from `variables`, so that `{from}` varies the parameter; or rename the \
                     variable"
                ),
                None => "move it to `parameters`; or rename the variable".to_owned(),
            };
            let range = variable_range(section, name);
            let problem = problem.help(help);
            let problem = problem.at(section.reading.document.snippet(&range, ""));
            section.reading.in_build(table, range.start, problem);
        }
    }
}

/// Returns the names in braces in what a compiler reads, except for parameters.
fn names_for_compiler(draft: &Draft) -> BTreeSet<&str> {
    let parts = std::iter::once(&draft.common).chain(draft.own.values());
    let templates = parts.flat_map(|parts: &CompileInputs| {
        let lists = [&parts.sources, &parts.includes, &parts.build_args];
        let macros = templates_of(&parts.defines);
        lists.into_iter().flatten().chain(macros)
    });
    templates.flat_map(Template::names).collect()
}

/// Returns the names in braces in all other strings of the table.
fn names_elsewhere<'a>(draft: &'a Draft, steps: &'a BuildSteps<'_>) -> BTreeSet<&'a str> {
    let parts = std::iter::once(&draft.common).chain(draft.own.values());
    let parts =
        parts.flat_map(|parts| templates_of(&parts.parameters).chain(parts.extra_toplevels.iter()));
    let own = templates_of(&draft.variables).chain(draft.env.values());
    let templates = parts.chain(own).chain(&draft.hdl_toplevel);
    templates
        .chain(steps.templates())
        .flat_map(Template::names)
        .collect()
}

fn templates_of(settings: &BTreeMap<String, Setting>) -> impl Iterator<Item = &Template> {
    settings.values().filter_map(|setting| match setting {
        Setting::Template(template) => Some(template),
        Setting::Fixed(_) => None,
    })
}

fn variable_range(section: &Section<'_>, name: &str) -> std::ops::Range<usize> {
    let variables = section.get("variables");
    let entries = variables.map(|table| table.entries("a table of values"));
    let mut entries = entries.into_iter().flatten();
    let entry = entries.find(|(key, _)| key.value == name);
    entry.map_or_else(|| section.range.clone(), |(key, _)| key.range)
}

/// What is known about the sources of a table, each read once.
#[derive(Default)]
struct Sources {
    texts: BTreeMap<Utf8PathBuf, String>,
    /// By toplevel and the address of a list, which builds share.
    parameters: BTreeMap<(String, *const Source), Vec<String>>,
}

impl Sources {
    /// Returns the parameters that a toplevel declares in sources that no step makes.
    fn parameters(&mut self, toplevel: &str, sources: &[Source]) -> Vec<String> {
        let key = (toplevel.to_owned(), sources.as_ptr());
        if let Some(known) = self.parameters.get(&key) {
            return known.clone();
        }
        let is_read =
            |it: &&Source| it.language == Language::Verilog && !step::is_marked(it.path.as_str());
        let mut declared = Vec::new();
        for source in sources.iter().filter(is_read) {
            let path = &source.path;
            let text = self.texts.entry(path.clone());
            let text = text.or_insert_with(|| fs::read_if_there(path).unwrap_or_default());
            // A quick look first: most sources do not name the toplevel.
            if text.contains(toplevel) {
                declared.extend(declared_parameters(text, toplevel));
            }
        }
        self.parameters.insert(key, declared.clone());
        declared
    }
}

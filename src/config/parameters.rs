//! The parameters and variables of a build: those of a combination, and settings that may depend on
//! others.

use crate::config::document::Reading;
use crate::config::hdl_values::Setting;
use crate::config::template::Scope;
use crate::config::template::Template;
use crate::diagnostic::Code;
use crate::diagnostic::Diagnostic;
use crate::model::build::HdlValue;

use std::collections::BTreeMap;
use std::collections::BTreeSet;

/// The values of one build.
#[derive(Clone, Debug, Default)]
pub(super) struct BuildValues<'a> {
    pub(super) variables: BTreeMap<String, HdlValue>,
    pub(super) parameters: BTreeMap<String, HdlValue>,
    /// Those whose value could not be found out; the reason is reported.
    pub(super) unknown: BTreeSet<&'a str>,
}

/// The settings of a table for one simulator, in an order in which each needs only earlier ones.
#[derive(Clone, Debug)]
pub(super) struct Parameters<'a> {
    variables: &'a BTreeMap<String, Setting>,
    ordered: Vec<(&'a str, &'a Setting)>,
    /// Those that need one another.
    circular: BTreeSet<&'a str>,
}

impl<'a> Parameters<'a> {
    /// Orders variables and settings; later ones hide earlier ones of the same name. Circles are
    /// reported.
    pub(super) fn new(
        reading: &Reading,
        variables: &'a BTreeMap<String, Setting>,
        settings: impl Iterator<Item = &'a BTreeMap<String, Setting>>,
    ) -> Self {
        let mut waiting: BTreeMap<&str, &Setting> = BTreeMap::new();
        for more in std::iter::once(variables).chain(settings) {
            waiting.extend(more.iter().map(|(name, setting)| (name.as_str(), setting)));
        }
        let mut ordered = Vec::with_capacity(waiting.len());
        loop {
            let is_ready = |setting: &Setting| match setting {
                Setting::Fixed(_) => true,
                Setting::Template(template) => {
                    !template.names().any(|needed| waiting.contains_key(needed))
                }
            };
            let ready: Vec<&str> = waiting
                .iter()
                .filter(|(_, setting)| is_ready(setting))
                .map(|(name, _)| *name)
                .collect();
            if ready.is_empty() {
                break;
            }
            for name in ready {
                ordered.extend(waiting.remove(name).map(|setting| (name, setting)));
            }
        }
        report_circles(reading, &waiting);
        let circular = waiting.into_keys().collect();
        Self {
            variables,
            ordered,
            circular,
        }
    }

    /// Returns the values of one build, given those of its combination and of the directories of its
    /// steps. A variable that the combination has is that of the combination.
    pub(super) fn resolve(
        &self,
        reading: &Reading,
        build: &str,
        outs: &BTreeMap<String, HdlValue>,
        given: &BTreeMap<String, HdlValue>,
    ) -> BuildValues<'a> {
        let is_variable = |name: &str| self.variables.contains_key(name);
        let mut values = given.clone();
        let mut unknown = self.circular.clone();
        for (name, setting) in &self.ordered {
            if is_variable(name) && given.contains_key(*name) {
                continue;
            }
            let value = match setting {
                Setting::Fixed(value) => Some(value.clone()),
                Setting::Template(template) => {
                    let others = self.ordered.iter().map(|(other, _)| *other);
                    let scope = Scope::new(build).with(outs).with(&values);
                    let scope = scope.with_near(others.filter(|other| other != name));
                    template.value(reading, &scope.without(unknown.iter().copied()))
                }
            };
            match value {
                Some(value) => drop(values.insert((*name).to_owned(), value)),
                None => drop(unknown.insert(name)),
            }
        }
        let (variables, parameters) = values.into_iter().partition(|(name, _)| is_variable(name));
        BuildValues {
            variables,
            parameters,
            unknown,
        }
    }
}

/// Reports each circle of parameters among those that cannot be ordered.
fn report_circles(reading: &Reading, waiting: &BTreeMap<&str, &Setting>) {
    let mut seen: BTreeSet<&str> = BTreeSet::new();
    for start in waiting.keys() {
        let mut path: Vec<&str> = Vec::new();
        let mut next = Some(*start);
        while let Some(name) = next.filter(|name| seen.insert(name)) {
            path.push(name);
            next = template_of(waiting, name).and_then(|template| {
                let mut needs = template.names();
                needs.find_map(|needed| waiting.get_key_value(needed).map(|(name, _)| *name))
            });
        }
        let again = path.iter().position(|name| next == Some(*name));
        let circle = again.map_or(&[] as &[&str], |at| &path[at..]);
        let Some(template) = circle.first().and_then(|first| template_of(waiting, first)) else {
            continue;
        };
        let names = circle.iter().chain(&circle[..1]);
        let names: Vec<String> = names.map(|name| format!("`{name}`")).collect();
        let message = format!("`{}` depends on itself", circle[0]);
        let problem = Diagnostic::error(Code::ConfigTemplate, message);
        let problem = problem.fact(names.join(" needs "));
        template.refuse(reading, problem, "");
    }
}

fn template_of<'a>(waiting: &BTreeMap<&str, &'a Setting>, name: &str) -> Option<&'a Template> {
    match waiting.get(name).copied() {
        Some(Setting::Template(template)) => Some(template),
        _ => None,
    }
}

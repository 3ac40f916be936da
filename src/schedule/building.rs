//! A build task: makes sure that a build exists, and plans the listings on it.

use crate::build::ensure::Origin;
use crate::build::ensure::Ready;
use crate::build::news::BuildNews;
use crate::build::news::OnNews;
use crate::diagnostic::Code;
use crate::diagnostic::Diagnostic;
use crate::diagnostic::Problems;
use crate::diagnostic::Result;
use crate::event::BuildHolder;
use crate::event::BuildOutcome;
use crate::event::Event;
use crate::lock::Holder;
use crate::lock::WaitProgress;
use crate::lock::plain;
use crate::model::build::Build;
use crate::model::build::BuildName;
use crate::model::build::BuiltDesign;
use crate::model::test::PlannedModule;
use crate::model::test::Testcase;
use crate::schedule::context::TaskContext;
use crate::schedule::effect::Effect;
use crate::schedule::effect::Emit;
use crate::schedule::group::Group;
use crate::schedule::result::RunFacts;
use crate::schedule::result::emit_unrun;
use crate::schedule::task::ListTask;
use crate::sim::simulator::Simulator;
use crate::sim::tools::InstalledSimulator;

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use std::time::SystemTime;

/// Makes sure that a build exists, and reports what happens on the way.
pub type Ensure<'a> = dyn Fn(&Build, &OnNews<'_>) -> Result<Ready> + Send + Sync + 'a;

/// A build that may be simulated, with its simulator, or why there is none.
type Ensured<'a> = Result<(Ready, &'a InstalledSimulator)>;

/// Groups builds that differ in nothing but their names, by their indices, in order.
pub(super) fn equal_builds(builds: &[Build]) -> Vec<Vec<usize>> {
    let mut groups: Vec<Vec<usize>> = Vec::new();
    let mut group_by_design: BTreeMap<String, usize> = BTreeMap::new();
    for (index, build) in builds.iter().enumerate() {
        let nameless = Build {
            name: BuildName(String::new()),
            table: String::new(),
            ..build.clone()
        };
        let design = serde_json::to_string(&nameless).expect("its parts have a form in JSON");
        let group = *group_by_design.entry(design).or_insert(groups.len());
        match groups.get_mut(group) {
            Some(known) => known.push(index),
            None => groups.push(vec![index]),
        }
    }
    groups
}

/// Makes sure that a build exists that may have several names, of which the first is used. Effects
/// are listings of the modules of all names, or their results if it failed.
pub(super) fn build(
    context: &TaskContext<'_>,
    names: &[(&Build, Vec<&PlannedModule>)],
    ensure: &Ensure<'_>,
    emit: &Emit<'_>,
) {
    let Some(((build, modules), others)) = names.split_first() else {
        return;
    };
    let began = context.clock().now();
    emit(started(build));
    let reported = Cell::new(None);
    let on_wait = |waiting: &WaitProgress<'_>| {
        // A person can read one update a second; the guard calls more often.
        let second = Some(waiting.waited.as_secs());
        if reported.replace(second) != second {
            emit(Effect::Send(Event::BuildWaiting {
                build: build.name.clone(),
                holder: holder(waiting.holder, context.clock().wall()),
                waited: waiting.waited,
            }));
        }
    };
    let on_news = |news: &BuildNews<'_>| match news {
        BuildNews::Waiting(waiting) => on_wait(waiting),
        BuildNews::StepStarted { step } => emit(Effect::Send(Event::StepStarted {
            step: (*step).to_owned(),
            build: build.name.clone(),
        })),
        BuildNews::StepFinished {
            step,
            is_done,
            reasons,
            duration,
            log,
        } => emit(Effect::Send(Event::StepFinished {
            step: (*step).to_owned(),
            build: build.name.clone(),
            is_done: *is_done,
            reasons: reasons.to_vec(),
            duration: *duration,
            log: log.to_path_buf(),
        })),
    };
    let installed = context.tools.simulator(&build.simulator);
    let outcome = installed.and_then(|it| Ok((ensure(build, &on_news)?, it)));
    let duration = context.clock().now().saturating_duration_since(began);
    let shared = format!("it is the same design as build `{}`", build.name);
    let under_name = |other: &Build| match &outcome {
        Ok((ready, installed)) => Ok((under_name(other, ready, &shared), *installed)),
        Err(problems) => {
            let problems = problems.0.iter();
            let problems = problems.map(|it| it.clone().fact(shared.clone()));
            Err(Problems(problems.collect()))
        }
    };
    let outcomes: Vec<Ensured<'_>> = others.iter().map(|(it, _)| under_name(it)).collect();
    finish(context, build, modules, outcome, duration, emit);
    for ((other, modules), outcome) in others.iter().zip(outcomes) {
        emit(started(other));
        finish(context, other, modules, outcome, Duration::ZERO, emit);
    }
}

fn started(build: &Build) -> Effect {
    Effect::Send(Event::BuildStarted {
        build: build.name.clone(),
        simulator: build.simulator.clone(),
    })
}

/// Returns a result under the name of an equal build.
fn under_name(build: &Build, ready: &Ready, reason: &str) -> Ready {
    Ready {
        design: BuiltDesign {
            name: build.name.clone(),
            ..ready.design.clone()
        },
        origin: Origin::UpToDate,
        reasons: vec![reason.to_owned()],
        warnings: Vec::new(),
        ..ready.clone()
    }
}

/// Reports how a build ended. Effects are as those of [`build`].
fn finish(
    context: &TaskContext<'_>,
    build: &Build,
    modules: &[&PlannedModule],
    outcome: Ensured<'_>,
    duration: Duration,
    emit: &Emit<'_>,
) {
    match outcome {
        Ok((ready, installed)) => {
            let name = ready.design.name.clone();
            emit(Effect::BuildReady(name, ready.design.key.clone()));
            emit(Effect::Send(ready_event(&ready, duration)));
            for warning in &ready.warnings {
                emit(Effect::Send(Event::Notice(Box::new(warning.clone()))));
            }
            let lists = lists_of(
                build,
                &Arc::new(ready.design),
                &installed.simulator,
                modules,
            );
            emit(Effect::List(lists));
        }
        Err(problems) => {
            let interrupted = context.interrupt().raised().is_some();
            let mut first = problems.0.first().cloned().unwrap_or_else(|| {
                Diagnostic::error(Code::BuildCompile, format!("build `{}` failed", build.name))
            });
            let log = first.log.take();
            emit(Effect::Send(Event::BuildFinished {
                build: build.name.clone(),
                outcome: BuildOutcome::Failed(Box::new(first.clone())),
                reasons: Vec::new(),
                duration,
                log,
            }));
            let consequence = if interrupted {
                first
            } else {
                // Any problem, even a full disk, is reported once, by the build.
                let words = format!("its build `{}` failed", build.name);
                Diagnostic::error(Code::BuildCompile, words)
            };
            give_up(context, build, modules, &consequence.into(), emit);
        }
    }
}

/// Gives every module of a build that cannot be used its one result.
pub(super) fn give_up(
    context: &TaskContext<'_>,
    build: &Build,
    modules: &[&PlannedModule],
    problems: &Problems,
    emit: &Emit<'_>,
) {
    for planned in modules {
        let testcase = Testcase::whole_module(&build.name, planned.module_in_variant());
        let nothing = RunFacts::nothing_started(context.seed, 1);
        emit_unrun(emit, &testcase, problems, nothing);
    }
}

/// Puts a holder into words.
fn holder(holder: &Holder, now: SystemTime) -> BuildHolder {
    BuildHolder {
        name: holder.name(),
        since: holder.since_shortly(now),
        words: holder.seen(),
        doing: holder.doing.as_deref().map(plain),
    }
}

fn ready_event(ready: &Ready, duration: Duration) -> Event {
    Event::BuildFinished {
        build: ready.design.name.clone(),
        outcome: match ready.origin {
            Origin::Built => BuildOutcome::Built,
            Origin::UpToDate => BuildOutcome::UpToDate,
            Origin::BuiltElsewhere => BuildOutcome::BuiltElsewhere,
        },
        reasons: ready.reasons.clone(),
        duration,
        log: Some(ready.log.clone()),
    }
}

/// Groups the planned modules of a build by the table they come from.
fn lists_of(
    build: &Build,
    design: &Arc<BuiltDesign>,
    simulator: &Arc<dyn Simulator>,
    modules: &[&PlannedModule],
) -> Vec<ListTask> {
    let mut lists: Vec<(usize, ListTask)> = Vec::new();
    let mut first_alike: BTreeMap<String, Arc<Group>> = BTreeMap::new();
    for planned in modules {
        if let Some((_, list)) = lists.iter_mut().find(|(table, _)| *table == planned.table) {
            list.modules.push(planned.module.clone());
            continue;
        }
        let group = Group::new(
            Arc::clone(design),
            planned.settings.in_design(design),
            (planned.table, planned.variant.clone()),
            Arc::clone(simulator),
            simulator.wave_file_name(&build.build_args),
        );
        let key = group.server_key();
        let group = Arc::new(match first_alike.get(&key) {
            Some(first) => group.with_server_of(first),
            None => group,
        });
        first_alike.entry(key).or_insert_with(|| Arc::clone(&group));
        let list = ListTask {
            group,
            modules: vec![planned.module.clone()],
            lost_its_server: false,
            has_waited: false,
        };
        lists.push((planned.table, list));
    }
    lists.into_iter().map(|(_, list)| list).collect()
}

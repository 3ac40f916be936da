//! Notices checkpoints from which no testcase was forked, so that they only cost time.

use crate::diagnostic::Code;
use crate::diagnostic::Diagnostic;
use crate::event::Event;
use crate::event::RunId;
use crate::model::build::BuildName;
use crate::model::outcome::RunVerdict;
use crate::model::test::Checkpoint;

use std::collections::BTreeMap;
use std::collections::BTreeSet;

/// What the events of a session show of checkpoints.
#[derive(Debug, Default)]
pub(super) struct CheckpointsOfNoUse {
    /// Those that have run, and are of no use so far.
    reached: BTreeMap<BuildName, BTreeSet<Checkpoint>>,
    /// Runs that were forked from one and have not ended, with their builds.
    running: BTreeMap<RunId, BuildName>,
    /// Why the first testcase of a build was not forked from one.
    reasons: BTreeMap<BuildName, String>,
    /// Builds of which testcases were forked from a checkpoint.
    used: BTreeSet<BuildName>,
}

impl CheckpointsOfNoUse {
    /// Takes the next event.
    pub(super) fn take(&mut self, event: &Event) {
        match event {
            Event::CheckpointReached(it) => {
                let of_build = self.reached.entry(it.build.clone()).or_default();
                of_build.insert(it.checkpoint.clone());
            }
            Event::RunStarted {
                run, build, origin, ..
            } => {
                if origin.checkpoint.is_some() {
                    self.running.insert(*run, build.clone());
                } else if let Some(why) = &origin.checkpoint_unused_because {
                    let first = self.reasons.entry(build.clone());
                    first.or_insert_with(|| why.clone());
                }
            }
            Event::RunFinished { run, verdict, .. } => {
                if let Some(build) = self.running.remove(run)
                    && *verdict != RunVerdict::CheckpointMissed
                {
                    self.used.insert(build);
                }
            }
            _ => {}
        }
    }

    /// Returns the warnings, at the end of a session: one for each build.
    pub(super) fn warnings(&self) -> Vec<Diagnostic> {
        let unused = self.reached.iter().filter(|it| !self.used.contains(it.0));
        unused
            .filter_map(|(build, checkpoints)| {
                let why = self.reasons.get(build)?;
                let names: Vec<String> = checkpoints.iter().map(|it| format!("`{it}`")).collect();
                let words = format!("no testcase was forked from {}", names.join(", "));
                let warning = Diagnostic::warning(Code::TestCheckpoint, words);
                let warning = warning.fact(format!("build `{build}`: {why}"));
                Some(warning.help("see `--verbose` for each testcase; what a testcase may do before its call is in the reference of `checkpoint`"))
            })
            .collect()
    }
}

//! Notices checkpoints from which no testcase was forked, so that they only cost time.

use crate::diagnostic::Code;
use crate::diagnostic::Diagnostic;
use crate::event::Event;
use crate::event::RunId;
use crate::model::build::BuildName;
use crate::model::outcome::RunVerdict;
use crate::model::test::Checkpoint;

use std::collections::BTreeMap;

/// What the events of a session show of checkpoints.
#[derive(Debug, Default)]
pub(super) struct UnusedCheckpoints {
    /// Those that have run and are of no use so far, in this order.
    reached: BTreeMap<BuildName, Vec<Checkpoint>>,
    /// Runs that were forked from one and have not ended.
    running: BTreeMap<RunId, (BuildName, Checkpoint)>,
    /// Why the first testcase of a build was not forked from its last checkpoint.
    reasons: BTreeMap<BuildName, String>,
}

impl UnusedCheckpoints {
    /// Takes the next event.
    pub(super) fn take(&mut self, event: &Event) {
        match event {
            Event::CheckpointReached(it) => {
                let of_build = self.reached.entry(it.build.clone()).or_default();
                of_build.push(it.checkpoint.clone());
            }
            Event::RunStarted {
                run, build, origin, ..
            } => {
                if let Some(checkpoint) = &origin.checkpoint {
                    self.running
                        .insert(*run, (build.clone(), checkpoint.clone()));
                }
                if let Some(why) = &origin.checkpoint_unused_because {
                    let first = self.reasons.entry(build.clone());
                    first.or_insert_with(|| why.clone());
                }
            }
            Event::RunFinished { run, verdict, .. } => {
                if let Some((build, checkpoint)) = self.running.remove(run)
                    && *verdict != RunVerdict::CheckpointMissed
                {
                    self.use_up_to(&build, &checkpoint);
                }
            }
            _ => {}
        }
    }

    /// Notes that one was of use, and so were those from which it was forked itself.
    fn use_up_to(&mut self, build: &BuildName, checkpoint: &Checkpoint) {
        if let Some(reached) = self.reached.get_mut(build)
            && let Some(last) = reached.iter().rposition(|it| it == checkpoint)
        {
            reached.drain(..=last);
        }
    }

    /// Returns the warnings, at the end of a session: one for each build.
    pub(super) fn warnings(&self) -> Vec<Diagnostic> {
        let unused = self.reached.iter().filter(|(_, it)| !it.is_empty());
        unused
            .filter_map(|(build, checkpoints)| {
                let why = self.reasons.get(build)?;
                let names: Vec<String> = checkpoints.iter().map(|it| format!("`{it}`")).collect();
                let words = format!("no testcase was forked from {}", names.join(", "));
                let warning = Diagnostic::warning(Code::TestCheckpoint, words);
                let warning = warning.fact(format!("build `{build}`: {why}"));
                let help = "see `--verbose` for each testcase; what a testcase may do before its \
                            call is in the reference of `checkpoint`";
                Some(warning.help(help))
            })
            .collect()
    }
}

//! Starts the server of a module whose testcases are forked from the end of a checkpoint.
//!
//! It is a fork of the checkpoint's server and has imported the module. Invariant: where that fails, for
//! whatever reason, testcases are forked from the checkpoint's server and import it themselves.

use crate::agent::event::RunEvent;
use crate::agent::fork_server::ModuleFork;
use crate::agent::request::Mode;
use crate::edge::memory;
use crate::event::Slot;
use crate::model::test::TestModule;
use crate::schedule::checkpoints::CheckpointFork;
use crate::schedule::checkpoints::CheckpointServer;
use crate::schedule::checkpoints::NextOfModule;
use crate::schedule::context::TaskContext;
use crate::schedule::effect::Effect;
use crate::schedule::effect::Emit;
use crate::schedule::folder::RunFolder;
use crate::schedule::follow::Consumer;
use crate::schedule::follow::ListingEnd;
use crate::schedule::follow::follow_until_serving;
use crate::schedule::group::Group;
use crate::schedule::simulation::CheckpointUse;
use crate::schedule::simulation::Simulation;
use crate::schedule::simulation::fork_request;

use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

/// A module of which a testcase is about to be forked from a checkpoint.
pub(super) struct ModuleStep<'a> {
    pub(super) context: &'a TaskContext<'a>,
    pub(super) group: &'a Arc<Group>,
    /// How many checkpoints have run in the server, from 1.
    pub(super) level: usize,
    pub(super) module: &'a TestModule,
    pub(super) slot: Slot,
    pub(super) emit: &'a Emit<'a>,
}

impl ModuleStep<'_> {
    /// Returns what forks the testcase; the module's server is started for its second one.
    pub(super) fn fork_of(&self, server: Arc<CheckpointServer>) -> CheckpointFork {
        let below = match server.next_of(self.module) {
            NextOfModule::Checkpoint => None,
            NextOfModule::Module(below) => Some(below),
            NextOfModule::ToBeStarted => self.start(&server),
        };
        CheckpointFork {
            module_server: below.map(|below| (self.module.clone(), below)),
            server,
        }
    }

    fn start(&self, server: &Arc<CheckpointServer>) -> Option<Arc<CheckpointServer>> {
        let (context, group) = (self.context, self.group);
        let settings = &group.settings;
        let Ok(place) = context.servers.admit_module(memory::available()) else {
            server.not_yet(self.module);
            return None;
        };
        let run = context.next_run();
        let folder = RunFolder::make(
            &context.session_dir,
            &group.design.name,
            &format!("module-{}", self.module),
            run,
            &settings.run_files,
        );
        let folder = folder.ok()?;
        let simulation = Simulation {
            design: &group.design,
            settings,
            mode: Mode::ServeModule,
            modules: vec![self.module.clone()],
            testcases: None,
            seed: settings.seed.unwrap_or(context.seed),
            run,
            slot: self.slot,
            waves: None,
            checkpoints: CheckpointUse {
                level: self.level,
                has_failed: false,
            },
        };
        simulation.write_request(&folder).ok()?;
        let request = fork_request(&simulation, &folder);
        let fork = server.fork_next(context.waits(), run, &request).ok()?;
        let ModuleFork { process, socket } = fork;
        let mut unheard = Unheard(settings.timeout);
        match follow_until_serving(context, group, &folder, process, &mut unheard) {
            ListingEnd::Gone(_) => None,
            ListingEnd::Serving(process, warnings) => {
                for warning in warnings {
                    (self.emit)(Effect::Notice(warning));
                }
                let fork = ModuleFork { process, socket };
                // Whoever forks from it also holds the checkpoint's server.
                let below = CheckpointServer::serving(fork, Arc::new(()), place)?;
                server.serve_module(self.module, Arc::clone(&below));
                Some(below)
            }
        }
    }
}

/// Ignores what a module's server reports before it serves: testcases that import the module
/// themselves report it too.
struct Unheard(Duration);

impl Consumer for Unheard {
    fn take(&mut self, _event: RunEvent, _now: Instant) -> Option<Duration> {
        Some(self.0)
    }

    fn not_understood(&mut self, _why: String) {}
}

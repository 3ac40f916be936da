//! What the modules of one `[[test]]` table on one build share: settings, and a fork server.
//!
//! Invariant: a group's server lives as long as some task of the group waits or is at work; the
//! last task that is dropped takes the server with it.

use crate::diagnostic::Code;
use crate::diagnostic::Diagnostic;
use crate::diagnostic::Result;
use crate::edge::process::ForkError;
use crate::edge::process::ForkServer;
use crate::edge::process::Process;
use crate::event::Event;
use crate::model::build::BuiltDesign;
use crate::model::test::RunSettings;
use crate::schedule::folder::RunFolder;
use crate::schedule::session::Session;
use crate::schedule::simulation::Simulation;
use crate::schedule::simulation::fork_request;
use crate::schedule::simulation::server_command;
use crate::sim::agent;

use std::fmt;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// How many servers may live at once. Each takes some 40 MiB and one descriptor.
const SERVERS_MAX: usize = 32;

/// A server may take so long to start, whatever the limit of a testcase: a cold start from a busy
/// file server takes tens of seconds.
const START_LIMIT_MIN: Duration = Duration::from_secs(120);

/// Why a task that went down with its server gets a process of its own.
pub(super) const SERVER_WAS_LOST: &str = "its fork server was lost";

/// Modules of one table on one build.
pub(super) struct Group {
    /// The build's place in the plan.
    pub(super) build: usize,
    /// How its runs go.
    pub(super) settings: RunSettings,
    server: Mutex<Server>,
}

enum Server {
    Untried,
    Serving(Arc<Counted>),
    /// Why processes are spawned instead.
    None(String),
}

/// A server that is counted among those of the session.
struct Counted {
    server: Box<dyn ForkServer>,
    alive: Arc<AtomicUsize>,
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.alive.fetch_sub(1, Ordering::Relaxed);
    }
}

impl fmt::Debug for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Group")
            .field("build", &self.build)
            .finish_non_exhaustive()
    }
}

/// A process that was started for a run, and how.
pub(super) struct Started {
    pub(super) process: Box<dyn Process>,
    /// `None` where it was forked, else why it was not.
    pub(super) spawned_because: Option<String>,
}

impl Group {
    /// Makes a group without a server.
    pub(super) fn new(build: usize, settings: RunSettings) -> Self {
        Self {
            build,
            settings,
            server: Mutex::new(Server::Untried),
        }
    }

    /// Starts a simulation: forked where that is possible, else spawned.
    ///
    /// # Errors
    /// Neither worked.
    pub(super) fn start(
        &self,
        session: &Session<'_>,
        simulation: &Simulation<'_>,
        folder: &RunFolder,
        spawn_because: Option<&str>,
    ) -> Result<Started> {
        simulation.write_request(folder)?;
        let why = match spawn_because {
            Some(why) => why.to_owned(),
            None => match self.fork(session, simulation, folder) {
                Ok(process) => {
                    return Ok(Started {
                        process,
                        spawned_because: None,
                    });
                }
                Err(why) => why,
            },
        };
        let process = session
            .plan
            .host
            .spawn(&simulation.command(session, folder)?)?;
        Ok(Started {
            process,
            spawned_because: Some(why),
        })
    }

    fn fork(
        &self,
        session: &Session<'_>,
        simulation: &Simulation<'_>,
        folder: &RunFolder,
    ) -> std::result::Result<Box<dyn Process>, String> {
        let server = self.server(session, simulation.design)?;
        let request = fork_request(simulation, folder);
        match server.server.fork(simulation.run, &request) {
            Ok(process) => Ok(process),
            Err(ForkError::Refused(why)) => Err(why),
            Err(ForkError::Gone(why)) => {
                let mut current = self.server.lock().unwrap_or_else(PoisonError::into_inner);
                // The next run starts another one.
                if let Server::Serving(running) = &*current
                    && Arc::ptr_eq(running, &server)
                {
                    *current = Server::Untried;
                }
                Err(why)
            }
        }
    }

    /// Returns the server, starting it at the first call; others wait meanwhile.
    fn server(
        &self,
        session: &Session<'_>,
        design: &BuiltDesign,
    ) -> std::result::Result<Arc<Counted>, String> {
        let mut current = self.server.lock().unwrap_or_else(PoisonError::into_inner);
        if matches!(*current, Server::Untried) {
            *current = match self.start_server(session, design) {
                Ok(server) => {
                    for words in server.server.complaints() {
                        self.warn(session, design, words);
                    }
                    Server::Serving(Arc::new(server))
                }
                Err(why) => {
                    if !self.settings.preload.is_empty() && self.settings.fork {
                        self.warn(session, design, format!("nothing is forked: {why}"));
                    }
                    Server::None(why)
                }
            };
        }
        match &*current {
            Server::Serving(server) => Ok(Arc::clone(server)),
            Server::None(why) => Err(why.clone()),
            Server::Untried => unreachable!("it was tried above"),
        }
    }

    /// Tells what is amiss with `preload`, which was asked for.
    fn warn(&self, session: &Session<'_>, design: &BuiltDesign, words: String) {
        let problem = Diagnostic::warning(Code::TestPreload, words).fact(format!(
            "build `{}`, `preload = {:?}`",
            design.name, self.settings.preload
        ));
        session.tell(Event::Notice(Box::new(problem)));
    }

    fn start_server(
        &self,
        session: &Session<'_>,
        design: &BuiltDesign,
    ) -> std::result::Result<Counted, String> {
        if !self.settings.fork {
            return Err("`fork = false`".to_owned());
        }
        if self.settings.waves {
            return Err("waves are written".to_owned());
        }
        let alive = Arc::clone(&session.servers_alive);
        if alive.fetch_add(1, Ordering::Relaxed) >= SERVERS_MAX {
            alive.fetch_sub(1, Ordering::Relaxed);
            return Err(format!("{SERVERS_MAX} fork servers are at work already"));
        }
        let serve = || -> Result<Box<dyn ForkServer>> {
            let spec = server_command(session, design, &self.settings)?;
            let limit = start_limit(&self.settings);
            Ok(session
                .plan
                .host
                .serve(&spec, agent::REQUEST_FD_ENV, limit)?)
        };
        match serve() {
            Ok(server) => Ok(Counted { server, alive }),
            Err(problems) => {
                alive.fetch_sub(1, Ordering::Relaxed);
                Err(first_message(&problems.0))
            }
        }
    }
}

/// Returns for how long a server may start: like a simulator of its own, as long as a testcase.
///
/// A short limit is one for testcases and not for the elaboration that all of them share.
fn start_limit(settings: &RunSettings) -> Duration {
    settings.timeout.max(START_LIMIT_MIN)
}

fn first_message(problems: &[Diagnostic]) -> String {
    problems.first().map_or_else(
        || Code::ToolBroken.name().to_owned(),
        |it| it.message.clone(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_may_start_as_long_as_a_testcase_may_run_and_never_less_than_two_minutes() {
        let limit_s = |timeout_s| {
            let settings = RunSettings::plain(Duration::from_secs(timeout_s));
            start_limit(&settings).as_secs()
        };
        assert_eq!([1, 120, 3600].map(limit_s), [120, 120, 3600]);
    }
}

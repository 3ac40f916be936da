//! The outside world of a session as one value, made once by the program and passed down as a
//! whole.

use crate::clock::Clock;
use crate::clock::SystemClock;
use crate::env::Environment;
use crate::interrupt::Interrupt;
use crate::process::ProcessHost;
use crate::process::SystemHost;
use crate::storage::Storage;
use crate::storage::SystemStorage;

use std::fmt;
use std::sync::Arc;

/// Everything through which a session reaches the outside world, except files.
///
/// A test replaces single fields, such as the clock and the process host.
#[derive(Clone)]
pub struct Edges {
    /// The environment that this process was started in.
    pub environment: Environment,
    /// Ends waits and children when it is raised.
    pub interrupt: Interrupt,
    /// Starts children.
    pub host: Arc<dyn ProcessHost>,
    /// Durations, limits and dates.
    pub clock: Arc<dyn Clock>,
    /// The shared disk, as locks see it.
    pub storage: Arc<dyn Storage>,
}

impl Edges {
    /// Returns the operating system's edges.
    pub fn of_the_system(environment: Environment, interrupt: Interrupt) -> Self {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        Self {
            host: Arc::new(SystemHost::new(interrupt.clone())),
            clock,
            storage: Arc::new(SystemStorage),
            environment,
            interrupt,
        }
    }
}

impl fmt::Debug for Edges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Edges")
            .field("environment", &self.environment)
            .field("interrupt", &self.interrupt)
            .finish_non_exhaustive()
    }
}

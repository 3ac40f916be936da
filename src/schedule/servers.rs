//! How many fork servers live at once, and which of them ends first.
//!
//! Each takes some 40 MiB, more for a large design, and a job uses one at a time. Beyond what jobs
//! and memory are there for, a group that has less than half as much left to do as the one that
//! needs a server gives its own up: two groups cannot take turns in starting servers.
//!
//! Invariants: a server with a child is not ended; nobody waits for another group's server.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::Weak;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;

/// How many servers there may be for each job: one is in use, others belong to groups whose runs
/// come next.
const SERVERS_PER_JOB: usize = 4;
/// How much memory must be available for each further server, bytes: it needs less, but its
/// children and the compilers need memory as well.
const MEMORY_PER_SERVER: u64 = 256 << 20;

/// How many servers of modules there may be for each job, in addition: each takes some 10 MiB. Where
/// there are enough, testcases import their modules themselves.
const MODULE_SERVERS_PER_JOB: usize = 16;

/// What may have a server. It lives as long as something holds it, which is each of its tasks.
pub(super) trait ServerOwner: Send + Sync {
    /// Gives up its server if it has one that has no child; never waits. Dropping what is returned
    /// ends the server, which may take a moment.
    fn give_up_idle_server(&self) -> Option<Box<dyn Send>>;
}

/// The servers of a session.
#[derive(Default)]
pub(super) struct ServerLimit {
    jobs: usize,
    alive: Arc<AtomicUsize>,
    modules_alive: Arc<AtomicUsize>,
    owners: Mutex<Vec<Weak<dyn ServerOwner>>>,
}

/// The right to have a server, until it is dropped.
pub(super) struct ServerPlace(Arc<AtomicUsize>);

impl Drop for ServerPlace {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl ServerLimit {
    /// Begins with no server, for this many jobs.
    pub(super) fn new(jobs: usize) -> Self {
        Self {
            jobs,
            ..Self::default()
        }
    }

    /// Gives an owner the right to start a server, with `available` bytes of memory if that is
    /// known. Another server may end for it.
    ///
    /// # Errors
    /// There are enough, in words; later there may be fewer.
    pub(super) fn admit(
        &self,
        owner: &Arc<dyn ServerOwner>,
        available: Option<u64>,
    ) -> Result<ServerPlace, String> {
        let mut owners = self.owners.lock().unwrap_or_else(PoisonError::into_inner);
        owners.retain(|it| it.strong_count() > 0);
        let has_room = |alive: usize| {
            let fits = available.is_none_or(|bytes| bytes >= MEMORY_PER_SERVER);
            alive == 0 || (fits && alive < self.jobs * SERVERS_PER_JOB)
        };
        let mut given_up = None;
        if !has_room(self.alive()) {
            given_up = take_the_least_useful(&mut owners, owner);
            if given_up.is_none() {
                return Err(format!("{} fork servers are running already", self.alive()));
            }
        }
        self.alive.fetch_add(1, Ordering::Relaxed);
        owners.push(Arc::downgrade(owner));
        drop(owners);
        drop(given_up);
        Ok(ServerPlace(Arc::clone(&self.alive)))
    }

    /// Says whether a module may get a server, with `available` bytes of memory if that is known.
    pub(super) fn has_room_for_module(&self, available: Option<u64>) -> bool {
        available.is_none_or(|bytes| bytes >= MEMORY_PER_SERVER)
            && self.modules_alive.load(Ordering::Relaxed) < self.jobs * MODULE_SERVERS_PER_JOB
    }

    /// Gives the right to start a module's server.
    ///
    /// # Errors
    /// There are enough, in words; later there may be fewer.
    pub(super) fn admit_module(&self, available: Option<u64>) -> Result<ServerPlace, String> {
        if !self.has_room_for_module(available) {
            return Err("enough servers of modules are running already".to_owned());
        }
        self.modules_alive.fetch_add(1, Ordering::Relaxed);
        Ok(ServerPlace(Arc::clone(&self.modules_alive)))
    }

    fn alive(&self) -> usize {
        self.alive.load(Ordering::Relaxed)
    }
}

/// Takes one server, that of the owner with the fewest tasks, if it has far fewer than `other`.
fn take_the_least_useful(
    owners: &mut Vec<Weak<dyn ServerOwner>>,
    other: &Arc<dyn ServerOwner>,
) -> Option<Box<dyn Send>> {
    let tasks = Arc::strong_count(other);
    owners.sort_by_key(Weak::strong_count);
    let useless = owners.iter().enumerate();
    let mut useless = useless.take_while(|(_, it)| it.strong_count() * 2 < tasks);
    let (at, server) =
        useless.find_map(|(at, it)| Some((at, it.upgrade()?.give_up_idle_server()?)))?;
    owners.remove(at);
    Some(server)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Owns a place as a group owns its server.
    #[derive(Default)]
    struct Owner {
        place: Mutex<Option<ServerPlace>>,
        is_busy: bool,
    }

    impl ServerOwner for Owner {
        fn give_up_idle_server(&self) -> Option<Box<dyn Send>> {
            let mut place = self.place.lock().expect("no thread has panicked");
            let place = place.take_if(|_| !self.is_busy)?;
            Some(Box::new(place))
        }
    }

    /// An owner and what holds it: as many tasks.
    struct Held {
        owner: Arc<Owner>,
        tasks: Vec<Arc<Owner>>,
    }

    fn held(tasks: usize, is_busy: bool) -> Held {
        let owner = Arc::new(Owner {
            is_busy,
            ..Owner::default()
        });
        let tasks = vec![Arc::clone(&owner); tasks];
        Held { owner, tasks }
    }

    impl Held {
        /// Says whether it gets a server with this much memory.
        fn starts(&self, limit: &ServerLimit, available: u64) -> bool {
            let owner: Arc<dyn ServerOwner> = Arc::clone(&self.owner) as _;
            let place = limit.admit(&owner, Some(available)).ok();
            let is_admitted = place.is_some();
            *self.owner.place.lock().expect("no thread has panicked") = place;
            is_admitted
        }

        fn has_server(&self) -> bool {
            let place = self.owner.place.lock().expect("no thread has panicked");
            place.is_some()
        }
    }

    const PLENTY: u64 = 64 << 30;

    #[test]
    fn there_are_as_many_servers_as_jobs_ask_for_and_a_dropped_one_makes_room() {
        let limit = ServerLimit::new(2);
        let mut all: Vec<Held> = (0..10).map(|_| held(3, false)).collect();
        let started = all.iter().filter(|it| it.starts(&limit, PLENTY)).count();
        assert_eq!(started, 2 * SERVERS_PER_JOB);
        all.remove(0);
        assert!(all.last().expect("nine").starts(&limit, PLENTY));
    }

    #[test]
    fn servers_of_modules_are_counted_apart_until_they_end() {
        let limit = ServerLimit::new(2);
        let mut all: Vec<ServerPlace> = (0..100)
            .filter_map(|_| limit.admit_module(Some(PLENTY)).ok())
            .collect();
        assert_eq!(all.len(), 2 * MODULE_SERVERS_PER_JOB);
        assert!(held(1, false).starts(&limit, PLENTY));
        all.pop();
        assert!(limit.admit_module(Some(1 << 20)).is_err(), "no memory");
        assert!(limit.admit_module(Some(PLENTY)).is_ok());
    }

    #[test]
    fn without_memory_there_is_one() {
        let limit = ServerLimit::new(8);
        let all: Vec<Held> = (0..3).map(|_| held(3, false)).collect();
        let started = all.iter().filter(|it| it.starts(&limit, 1 << 20)).count();
        assert_eq!(started, 1);
    }

    #[test]
    fn the_least_useful_idle_server_ends_for_one_with_far_more_to_do() {
        let limit = ServerLimit::new(1);
        let tasks_and_busy = [(9, false), (2, true), (3, false), (4, false)];
        let all = tasks_and_busy.map(|(tasks, is_busy)| held(tasks, is_busy));
        assert!(all.iter().all(|it| it.starts(&limit, PLENTY)));
        assert!(!held(5, false).starts(&limit, PLENTY), "not far more");
        let useful = held(20, false);
        assert!(useful.starts(&limit, PLENTY));
        let left = [0, 1, 2, 3].map(|at| all[at].has_server());
        assert_eq!(left, [true, true, false, true]);
        assert!(useful.has_server() && useful.tasks.len() == 20);
    }
}

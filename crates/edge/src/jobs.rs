//! The job budget of a session: one token for each process that may run at the same time.
//!
//! Unused tokens are bytes in a pipe that the `make` of every build reads and writes too (GNU
//! make's manual, "POSIX Jobserver Interaction"), so an idle slot's token becomes a compiler of
//! whichever build asks first.
//!
//! Invariant: tokens in the pipe, tokens held here and tokens that compiles have taken add up to
//! the budget. A killed `make` takes its tokens with it, and nobody knows how many; so the pipe is
//! counted and refilled whenever no compile runs, since then the missing number is known.

use crate::error::Error;
use crate::error::ErrorKind;
use crate::error::Result;
use crate::interrupt::Interrupt;
use crate::yieldable_job;

use jobserver::Acquired;
use jobserver::Client;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::fcntl::open;
use nix::poll::PollFd;
use nix::poll::PollFlags;
use nix::poll::PollTimeout;
use nix::poll::poll;
use nix::sys::stat::Mode;
use nix::unistd;
use std::os::fd::AsFd;
use std::os::fd::AsRawFd;
use std::os::fd::OwnedFd;
use std::os::fd::RawFd;
use std::sync::Arc;
use std::sync::Condvar;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::thread;
use std::time::Duration;

/// A pipe takes this many bytes without blocking wherever it was made (pipe(7), `PIPE_BUF`).
const TOKENS_MAX: usize = 4096;
/// How often the `make` that started us is asked for a token that we are short of. We cannot wait
/// for its pipe together with ours without taking what we may not need.
const ASK_EVERY: Duration = Duration::from_millis(20);

/// The jobs of the `make` whose recipe started this process.
#[derive(Debug)]
pub struct OuterJobs(Client);

impl OuterJobs {
    /// Looks for a jobserver in the environment; `None` if there is none, or if the recipe is
    /// missing the `+` that passes it on.
    ///
    /// To be called before this process opens anything: a descriptor that the variables name but
    /// the recipe did not pass on must not be one of ours.
    pub fn of_this_process() -> Option<Self> {
        #[expect(unsafe_code, reason = "the environment names descriptors by number")]
        // SAFETY: nothing is closed: pipes are opened again through /dev/fd (or duplicated), after
        // checking that the numbers are those of a pipe. This process has opened none yet.
        let found = unsafe { Client::from_env_ext(true) };
        found.client.ok().map(Self)
    }
}

/// The budget; clones share it.
#[derive(Clone, Debug)]
pub struct JobPool(Arc<Pool>);

#[derive(Debug)]
struct Pool {
    /// What children read. Whether reads of it block is up to `make`: the flag is shared by all who
    /// have it.
    reader: OwnedFd,
    writer: OwnedFd,
    /// The same pipe for ourselves; reads never block.
    own_reader: OwnedFd,
    interrupt: Interrupt,
    jobs_max: usize,
    outer: Option<OuterJobs>,
    state: Mutex<PoolState>,
    /// The last compile has ended.
    no_compile_left: Condvar,
}

#[derive(Debug, Default)]
struct PoolState {
    /// Tokens held by [`Job`]s.
    held: usize,
    /// How many compiles may have tokens.
    compiles: usize,
    /// What the outer `make` has lent us in addition to our own job; given back when dropped.
    lent: Vec<Acquired>,
    /// Whether a thread asks the outer `make` on behalf of compiles.
    is_asking: bool,
}

/// The right to run one process at once. Dropping it gives it back.
#[derive(Debug)]
pub struct Job(Arc<Pool>);

/// A compile's access to the pool, in addition to its own [`Job`]. To be dropped when the compile
/// and everything it started are gone.
#[derive(Debug)]
pub struct JobShare(Arc<Pool>);

impl JobPool {
    /// Makes a budget of `jobs_max` (1 to 4096). If there are outer jobs, each token beyond the
    /// first is borrowed from them while it is used.
    ///
    /// # Errors
    /// The process is out of descriptors.
    pub fn new(jobs_max: usize, outer: Option<OuterJobs>, interrupt: Interrupt) -> Result<Self> {
        let failed = |errno: Errno| {
            let words = format!("cannot make the pipe of the job budget: {errno}");
            Error::new(ErrorKind::Io, words)
        };
        let jobs_max = jobs_max.clamp(1, TOKENS_MAX);
        let (reader, writer) = unistd::pipe2(OFlag::O_CLOEXEC).map_err(failed)?;
        let name = format!("/proc/self/fd/{}", reader.as_raw_fd());
        let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        let own_reader = open(name.as_str(), flags, Mode::empty()).map_err(failed)?;
        let pool = Self(Arc::new(Pool {
            reader,
            writer,
            own_reader,
            interrupt,
            jobs_max,
            outer,
            state: Mutex::default(),
            no_compile_left: Condvar::new(),
        }));
        pool.0.refill(&mut pool.0.locked());
        Ok(pool)
    }

    /// Waits for a job; `None` once the session must stop.
    pub fn take(&self) -> Option<Job> {
        loop {
            if self.0.interrupt.raised().is_some() {
                return None;
            }
            if let Some(job) = self.try_take() {
                return Some(job);
            }
            self.0.wait();
        }
    }

    /// Takes a job if one is free now.
    fn try_take(&self) -> Option<Job> {
        let mut state = self.0.locked();
        if self.0.read_token() || self.0.borrow(&mut state) {
            state.held += 1;
            return Some(Job(Arc::clone(&self.0)));
        }
        None
    }
}

impl Job {
    /// Lets a compile, which is this job itself, take more of them.
    pub fn share(&self) -> JobShare {
        let mut state = self.0.locked();
        state.compiles += 1;
        if self.0.outer.is_some() && !state.is_asking {
            let shared = Arc::clone(&self.0);
            let thread = thread::Builder::new().name("jobs".to_owned());
            // Without it the compile has only its own job: slower, but correct.
            state.is_asking = thread.spawn(move || shared.ask_for_compiles()).is_ok();
        }
        drop(state);
        JobShare(Arc::clone(&self.0))
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        let mut state = self.0.locked();
        state.held -= 1;
        // A borrowed token goes back at once: another recipe may be waiting for it.
        if state.lent.pop().is_none() {
            self.0.write_token();
        }
    }
}

impl JobShare {
    /// Returns the flags that `make` understands, for the variable `MAKEFLAGS`.
    pub fn make_flags(&self) -> String {
        let [reader, writer] = self.descriptors();
        // The first name is that of make before 4.2.
        format!(
            "-j{} --jobserver-fds={reader},{writer} --jobserver-auth={reader},{writer}",
            self.0.jobs_max
        )
    }

    /// Names the pipe to a [`YieldableJob`](crate::yieldable_job::YieldableJob), for processes that
    /// do not inherit it; valid while this process lives.
    pub fn address(&self) -> String {
        yieldable_job::address(&self.0.reader, &self.0.writer)
    }

    /// Returns the descriptors that the compile must inherit.
    pub fn descriptors(&self) -> [RawFd; 2] {
        [self.0.reader.as_raw_fd(), self.0.writer.as_raw_fd()]
    }
}

impl Drop for JobShare {
    fn drop(&mut self) {
        let mut state = self.0.locked();
        state.compiles -= 1;
        if state.compiles == 0 {
            self.0.refill(&mut state);
            self.0.no_compile_left.notify_all();
        }
    }
}

impl Pool {
    fn locked(&self) -> MutexGuard<'_, PoolState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read_token(&self) -> bool {
        let mut token = [0];
        loop {
            match unistd::read(&self.own_reader, &mut token) {
                Err(Errno::EINTR) => {}
                outcome => return outcome == Ok(1),
            }
        }
    }

    fn write_token(&self) {
        // The pipe has room for the whole budget, so this neither blocks nor fails.
        while unistd::write(&self.writer, b"+") == Err(Errno::EINTR) {}
    }

    fn has_token(&self) -> bool {
        let mut fds = [PollFd::new(self.own_reader.as_fd(), PollFlags::POLLIN)];
        poll(&mut fds, PollTimeout::ZERO).is_ok_and(|count| count > 0)
    }

    /// Waits until it makes sense to look for a token again.
    fn wait(&self) {
        let mut fds = [
            PollFd::new(self.own_reader.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.interrupt.as_fd(), PollFlags::POLLIN),
        ];
        let timeout = match self.outer {
            Some(_) => PollTimeout::try_from(ASK_EVERY).unwrap_or(PollTimeout::ZERO),
            None => PollTimeout::NONE,
        };
        poll(&mut fds, timeout).ok();
    }

    /// Enlarges the budget by a token of the outer `make`, within our own limit.
    fn borrow(&self, state: &mut PoolState) -> bool {
        let Some(OuterJobs(outer)) = &self.outer else {
            return false;
        };
        if 1 + state.lent.len() >= self.jobs_max {
            return false;
        }
        let lent = outer.try_acquire().ok().flatten();
        let is_lent = lent.is_some();
        state.lent.extend(lent);
        is_lent
    }

    /// Fills the pipe with tokens that nobody holds, or takes out surplus ones. No compile runs.
    fn refill(&self, state: &mut PoolState) {
        while self.read_token() {}
        let budget = match self.outer {
            Some(_) => 1 + state.lent.len(),
            None => self.jobs_max,
        };
        let free = budget.saturating_sub(state.held);
        let kept = state.lent.len().saturating_sub(free);
        let returned = state.lent.len() - kept;
        state.lent.truncate(kept);
        for _ in returned..free {
            self.write_token();
        }
    }

    /// Keeps one borrowed token in the pipe while compiles run: `make` takes it silently, which
    /// shows that it wants another.
    fn ask_for_compiles(&self) {
        let mut state = self.locked();
        while state.compiles > 0 {
            if !self.has_token() {
                if self.borrow(&mut state) {
                    self.write_token();
                }
            } else if self.read_token() && !(self.has_token() && state.lent.pop().is_some()) {
                self.write_token();
            }
            let waited = self.no_compile_left.wait_timeout(state, ASK_EVERY);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        state.is_asking = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::fs;
    use crate::interrupt::StopReason;
    use crate::process::CommandSpec;
    use crate::process::ProcessHost;
    use crate::process::SystemHost;

    use camino::Utf8Path;
    use camino::Utf8PathBuf;
    use std::collections::BTreeMap;
    use std::iter;

    fn pool(jobs_max: usize) -> (JobPool, Interrupt) {
        let interrupt = Interrupt::new().expect("a pipe");
        let pool = JobPool::new(jobs_max, None, interrupt.clone()).expect("a pipe");
        (pool, interrupt)
    }

    /// Counts the jobs that are free now.
    fn free(pool: &JobPool) -> usize {
        let taken: Vec<Job> = iter::from_fn(|| pool.try_take()).collect();
        taken.len()
    }

    #[test]
    fn a_pool_hands_out_its_jobs_and_takes_them_back() {
        let (pool, _) = pool(3);
        assert_eq!(free(&pool), 3);
        let job = pool.take();
        assert_eq!(free(&pool), 2);
        drop(job);
        assert_eq!(free(&pool), 3);
    }

    #[test]
    fn who_waits_for_a_job_is_woken_by_one_that_ends_and_by_a_stop() {
        let (pool, interrupt) = pool(1);
        let job = pool.take();
        thread::scope(|scope| {
            let waiting = scope.spawn(|| pool.take().is_some());
            drop(job);
            assert!(waiting.join().expect("no panic"));
        });
        let _job = pool.take();
        thread::scope(|scope| {
            let waiting = scope.spawn(|| pool.take().is_none());
            interrupt.raise(StopReason::SessionLimit);
            assert!(waiting.join().expect("no panic"));
        });
    }

    /// Starts a `make` that runs as many of five endless jobs at once as it may.
    fn endless_make(dir: &Utf8Path, share: &JobShare) -> CommandSpec {
        let text = "all: a b c d e\na b c d e:\n\t: > $@; exec sleep 1000\n";
        fs::write(&dir.join("Makefile"), text).expect("written");
        CommandSpec {
            program: Utf8PathBuf::from("make"),
            args: vec!["all".to_owned()],
            env: BTreeMap::from([("MAKEFLAGS".to_owned(), share.make_flags())]),
            env_remove: Vec::new(),
            cwd: dir.to_owned(),
            log: dir.join("log"),
            channel_env: None,
            inherits: share.descriptors().to_vec(),
        }
    }

    #[test]
    fn the_jobs_of_a_make_that_was_killed_come_back() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let dir = Utf8Path::from_path(dir.path()).expect("UTF-8");
        let (pool, interrupt) = pool(4);
        let job = pool.take().expect("no stop");
        let other = pool.take().expect("no stop");
        let share = job.share();
        let host = SystemHost::new(interrupt);
        let mut make = host.spawn(&endless_make(dir, &share)).expect("started");
        // Its own job, and the two that are left.
        while ["a", "b", "c"].iter().any(|it| !fs::exists(&dir.join(it))) {
            thread::yield_now();
        }
        make.end_tree(Duration::ZERO, &mut Vec::new());
        assert!(!fs::exists(&dir.join("d")), "more than four at once");
        assert_eq!(free(&pool), 0, "the killed make held two");
        drop(share);
        assert_eq!(free(&pool), 2);
        drop((job, other));
        assert_eq!(free(&pool), 4);
    }

    #[test]
    fn a_make_that_returns_too_much_enlarges_nothing() {
        let (pool, _) = pool(2);
        let job = pool.take().expect("no stop");
        let share = job.share();
        pool.0.write_token();
        drop((share, job));
        assert_eq!(free(&pool), 2);
    }
}

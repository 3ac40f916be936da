//! A clock that is moved by hand and simulated machines, for tests.

use crate::ledger::record::Commit;
use crate::once::call_once::CallOnce;
use crate::once::leader::Leader;
use crate::once::step::Failure;
use crate::once::step::OnceStep;
use crate::outcome::Acceptance;
use crate::outcome::Published;
use crate::wait::WaitProgress;

use cocorun_edge::clock::Clock;
use cocorun_edge::machine::LocalWatcher;
use cocorun_edge::machine::Machine;
use cocorun_edge::machine::ProcessIdentity;
use cocorun_edge::machine::ProcessState;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::Instant;
use std::time::SystemTime;

/// Time that passes only when somebody sleeps or moves it.
pub(crate) struct FakeClock {
    start: Instant,
    passed: Mutex<Duration>,
}

impl FakeClock {
    #[expect(
        clippy::disallowed_methods,
        reason = "any instant will do as the origin"
    )]
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            start: Instant::now(),
            passed: Mutex::default(),
        })
    }

    pub(crate) fn advance(&self, by: Duration) {
        *self.passed.lock().expect("nobody panics in here") += by;
    }

    pub(crate) fn elapsed(&self) -> Duration {
        *self.passed.lock().expect("nobody panics in here")
    }
}

impl Clock for FakeClock {
    fn now(&self) -> Instant {
        self.start + self.elapsed()
    }

    fn wall(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_000_000) + self.elapsed()
    }

    fn sleep(&self, duration: Duration) {
        self.advance(duration);
    }
}

/// A machine of its own, with reproducible random numbers.
pub(crate) struct FakeMachine {
    me: ProcessIdentity,
    state: AtomicU64,
    dead: String,
}

impl FakeMachine {
    /// Makes a process with this number on this node.
    pub(crate) fn on(host: &str, number: u64) -> Arc<dyn Machine> {
        Self::knowing_dead(host, number, "")
    }

    /// Makes one that knows that the processes of nodes with this name prefix are gone.
    pub(crate) fn knowing_dead(host: &str, number: u64, dead: &str) -> Arc<dyn Machine> {
        let me = ProcessIdentity {
            host: host.to_owned(),
            user: "anna".to_owned(),
            pid: u32::try_from(number).expect("a small number"),
            start_ticks: number,
            boot_id: host.to_owned(),
            pid_namespace: 1,
            time_namespace: 1,
        };
        // Far from the numbers of every other process, which step by that very constant.
        let state = AtomicU64::new((number << 32).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        Arc::new(Self {
            me,
            state,
            dead: dead.to_owned(),
        })
    }

    /// Steps the splitmix64 generator.
    fn next(&self) -> u64 {
        let state = self
            .state
            .fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::SeqCst);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

impl Machine for FakeMachine {
    fn me(&self) -> ProcessIdentity {
        self.me.clone()
    }

    fn state_of(&self, of: &ProcessIdentity) -> ProcessState {
        let is_dead = !self.dead.is_empty() && of.host.starts_with(&self.dead);
        if is_dead && of.host != self.me.host {
            ProcessState::Gone
        } else {
            ProcessState::Unknown
        }
    }

    fn has_no_pid(&self, pid: u32, _since: SystemTime) -> bool {
        pid >= 1_000_000
    }

    fn local_watcher(&self, _what: &str) -> Option<LocalWatcher> {
        Some(LocalWatcher::default())
    }

    fn random(&self) -> u128 {
        (u128::from(self.next()) << 64) | u128::from(self.next())
    }
}

/// A step of three closures.
pub(crate) struct Callbacks<A, R, W> {
    accept: A,
    run: R,
    on_wait: W,
}

/// Makes a step of three closures.
pub(crate) fn callbacks<A, R, W, E>(accept: A, run: R, on_wait: W) -> Callbacks<A, R, W>
where
    A: FnMut(&Published) -> Acceptance,
    R: FnMut(&Leader) -> Result<serde_json::Value, Failure<E>>,
    W: FnMut(&WaitProgress) -> ControlFlow<()>,
{
    Callbacks {
        accept,
        run,
        on_wait,
    }
}

impl<A, R, W, E> OnceStep for Callbacks<A, R, W>
where
    A: FnMut(&Published) -> Acceptance,
    R: FnMut(&Leader) -> Result<serde_json::Value, Failure<E>>,
    W: FnMut(&WaitProgress) -> ControlFlow<()>,
{
    type Error = E;

    fn run(&mut self, leader: &Leader) -> Result<serde_json::Value, Failure<E>> {
        (self.run)(leader)
    }

    fn accept(&mut self, published: &Published) -> Acceptance {
        (self.accept)(published)
    }

    fn on_wait(&mut self, progress: &WaitProgress) -> ControlFlow<()> {
        (self.on_wait)(progress)
    }
}

/// The work of a caller that must never start it.
pub(crate) fn never(_: &Leader) -> Result<serde_json::Value, Failure<String>> {
    panic!("worked at the same time as a holder")
}

/// Reads how the epochs of a step ended, and whether they are retired.
pub(crate) fn states(once: &CallOnce) -> Vec<(Option<Commit>, bool)> {
    let ledger = &once.ledger;
    let top = ledger.listed_top().expect("it can be listed").unwrap_or(0);
    (1..=top)
        .map(|epoch| {
            let commit = ledger.commit(epoch).expect("it can be read");
            let is_retired = ledger.is_retired(epoch).expect("it can be read");
            (commit, is_retired)
        })
        .collect()
}

//! A clock that is moved by hand and machines that are made up, for tests.

use cocorun_edge::clock::Clock;
use cocorun_edge::host::Fate;
use cocorun_edge::host::Host;
use cocorun_edge::host::ProcessIdentity;
use cocorun_edge::host::Turn;
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
pub(crate) struct FakeHost {
    me: ProcessIdentity,
    state: AtomicU64,
    dead: String,
}

impl FakeHost {
    /// Makes a process with this number on this node.
    pub(crate) fn on(host: &str, number: u64) -> Arc<dyn Host> {
        Self::knowing_dead(host, number, "")
    }

    /// Makes one that knows that the processes of nodes whose names begin so are gone.
    pub(crate) fn knowing_dead(host: &str, number: u64, dead: &str) -> Arc<dyn Host> {
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

impl Host for FakeHost {
    fn me(&self) -> ProcessIdentity {
        self.me.clone()
    }

    fn fate(&self, of: &ProcessIdentity) -> Fate {
        let is_dead = !self.dead.is_empty() && of.host.starts_with(&self.dead);
        if is_dead && of.host != self.me.host {
            Fate::Gone
        } else {
            Fate::Unknown
        }
    }

    fn has_no_pid(&self, pid: u32, _since: SystemTime) -> bool {
        pid >= 1_000_000
    }

    fn turn(&self, _what: &str) -> Option<Turn> {
        Some(Turn::default())
    }

    fn random(&self) -> u128 {
        (u128::from(self.next()) << 64) | u128::from(self.next())
    }
}

//! A lock whose directory is removed and recreated while it is used: a process that sleeps
//! meanwhile and then continues lets nobody into the new one, and takes the lock from nobody there.

use crate::acquire::AcquireOutcome;
use crate::acquire::HeldTicket;
use crate::acquire::NfsLock;
use crate::error::LockError;
use crate::options::Options;
use crate::tests::client::Client;
use crate::tests::client::Weather;
use crate::tests::fake::FakeMachine;
use crate::tests::tickets::World;
use crate::tests::tickets::held;

use cocorun_edge::machine::Machine;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// A process that came to the new directory, and whether it was granted the lock.
type Comer = (NfsLock, Option<HeldTicket>);

/// A process that sleeps before one of its calls until the directory was recreated.
struct Sleeper {
    world: Arc<World>,
    lock: NfsLock,
    calls: Arc<AtomicU64>,
    comers: Arc<Mutex<Vec<Comer>>>,
}

impl Sleeper {
    /// Makes one that will sleep before this call. In the new directory `entries` have then come
    /// and gone, the next one is inside, and five wait.
    fn new(call: u64, entries: u64) -> Self {
        let world = Arc::new(World::new());
        let comers: Arc<Mutex<Vec<Comer>>> = Arc::default();
        let calls = Arc::new(AtomicU64::new(u64::MAX / 2));
        let turn = {
            let world = Arc::clone(&world);
            let (comers, calls) = (Arc::clone(&comers), Arc::clone(&calls));
            Box::new(move || {
                if calls.fetch_add(1, Ordering::SeqCst) == call {
                    world.server.remove_all("/nfs/dir");
                    for number in 1..=entries {
                        let inside = held(&mut world.lock(100 + number));
                        inside.release().expect("a healthy server");
                    }
                    let mut comers = comers.lock().expect("nobody panics in here");
                    comers.extend((201..=206).map(|number| come(&world, number)));
                }
            })
        };
        let client = Client::in_weather(&world.server, Weather::default(), Box::new(|_| 0), turn);
        Self {
            lock: world.lock_over(20, client),
            world,
            calls,
            comers,
        }
    }

    /// Counts its calls from here on.
    fn arm(&self) {
        self.calls.store(0, Ordering::SeqCst);
    }

    /// Expects that of those in the new directory the first is inside, undisturbed and alone, with
    /// the fourth gone; says whether the call at which to sleep came.
    #[track_caller]
    fn expect_order(&self) -> bool {
        let mut comers = self.comers.lock().expect("nobody panics in here");
        if comers.is_empty() {
            return false;
        }
        drop(comers.remove(4));
        for (lock, inside) in comers.iter_mut() {
            if let Some(inside) = inside {
                inside.beat();
                assert!(!inside.is_lost(), "the live holder has lost its lock");
                continue;
            }
            let entry = lock.try_acquire().expect("a healthy server");
            assert!(
                matches!(entry, AcquireOutcome::Wait { .. }),
                "two are inside"
            );
        }
        // In the end all of them proceed.
        let first = comers[0].1.take().expect("the first is inside");
        assert!(first.release().expect("a healthy server"), "it was alone");
        comers.remove(0);
        for (lock, _) in comers.iter_mut() {
            wait_for(&self.world, lock)
                .release()
                .expect("a healthy server");
        }
        true
    }
}

fn come(world: &World, number: u64) -> Comer {
    let mut lock = world.lock(number);
    let entry = lock.try_acquire().expect("a healthy server");
    let inside = match entry {
        AcquireOutcome::Held(inside) => Some(inside),
        AcquireOutcome::Wait { .. } => None,
    };
    (lock, inside)
}

fn wait_for(world: &World, lock: &mut NfsLock) -> HeldTicket {
    for _ in 0..1_000 {
        match lock.try_acquire().expect("a healthy server") {
            AcquireOutcome::Held(held) => return held,
            AcquireOutcome::Wait { retry_in, .. } => world.clock.advance(retry_in),
        }
    }
    panic!("it waits forever");
}

/// Whether a lock that slept meanwhile holds the present lock.
fn holds(entry: Result<AcquireOutcome, LockError>) -> bool {
    let Ok(AcquireOutcome::Held(held)) = entry else {
        return false;
    };
    held.beat();
    !held.is_lost()
}

#[test]
fn releasing_a_lock_that_is_gone_ends_no_other() {
    // The one inside has the sleeper's number, one in a block that it clears up, or neither.
    for entries in [12, 10, 4] {
        let mut call = 0;
        loop {
            let mut sleeper = Sleeper::new(call, entries);
            for number in 1..=12 {
                let inside = held(&mut sleeper.world.lock(number));
                inside.release().expect("a healthy server");
            }
            let old = held(&mut sleeper.lock);
            sleeper.arm();
            old.release().ok();
            if !sleeper.expect_order() {
                break;
            }
            call += 1;
        }
        assert!(call > 12, "only {call} calls");
    }
}

#[test]
fn entering_a_lock_that_is_gone_lets_nobody_in() {
    let mut call = 0;
    loop {
        let mut sleeper = Sleeper::new(call, 0);
        let mut before: Vec<NfsLock> = (1..=4).map(|it| sleeper.world.lock(it)).collect();
        let first = held(&mut before[0]);
        for lock in &mut before[1..] {
            lock.try_acquire().expect("a healthy server");
        }
        let entry = sleeper.lock.try_acquire().expect("a healthy server");
        assert!(matches!(entry, AcquireOutcome::Wait { .. }), "{entry:?}");
        drop(before);
        first.release().expect("a healthy server");
        sleeper.arm();
        let entry = sleeper.lock.try_acquire();
        let is_new = !sleeper.comers.lock().expect("no panic").is_empty();
        assert!(!(is_new && holds(entry)), "call {call}: two are inside");
        if !sleeper.expect_order() {
            break;
        }
        call += 1;
    }
    assert!(call > 12, "only {call} calls");
}

#[test]
fn taking_over_from_a_holder_that_is_gone_takes_nothing_from_one_with_its_number() {
    // With the same conditions every time, this is how many looks the verdict takes.
    let looks = {
        let world = World::new();
        let (mut silent, mut successor) = (world.lock(1), world.lock(20));
        let _silent = held(&mut silent);
        let mut looks = 0;
        while let AcquireOutcome::Wait { retry_in, .. } = successor.try_acquire().expect("healthy")
        {
            world.clock.advance(retry_in);
            looks += 1;
        }
        looks
    };
    let mut call = 0;
    loop {
        let mut sleeper = Sleeper::new(call, 0);
        let silent = held(&mut sleeper.world.lock(1));
        for _ in 0..looks {
            let entry = sleeper.lock.try_acquire().expect("a healthy server");
            let AcquireOutcome::Wait { retry_in, .. } = entry else {
                panic!("it took over too early");
            };
            sleeper.world.clock.advance(retry_in);
        }
        sleeper.arm();
        let entry = sleeper.lock.try_acquire();
        let is_new = !sleeper.comers.lock().expect("no panic").is_empty();
        assert!(!(is_new && holds(entry)), "call {call}: two are inside");
        drop(silent);
        if !sleeper.expect_order() {
            break;
        }
        call += 1;
    }
    assert!(call > 8, "only {call} calls");
}

#[test]
fn a_dead_holder_is_not_mistaken_for_the_live_one_that_now_has_its_number() {
    let world = World::new();
    let lock = |host: Arc<dyn Machine>, heartbeat: Duration| {
        let options = Options {
            heartbeat,
            stall: Duration::ZERO,
            block: 2,
            machine: host,
            ..Options::new("run")
        };
        let client = Client::with_fault(&world.server, None);
        let clock = world.clock.clone();
        NfsLock::new(client, clock, "/nfs/dir".into(), "mutex", options)
    };
    let dead = held(&mut lock(FakeMachine::on("dead", 1), Duration::ZERO));
    // It beats by itself, and so does not look for its own claim at each look.
    let knows = FakeMachine::knowing_dead("node2", 2, "dead");
    let mut waits = lock(knows, Duration::from_secs(5));
    let AcquireOutcome::Wait { retry_in, .. } = waits.try_acquire().expect("a healthy server")
    else {
        panic!("two are inside");
    };
    world.server.remove_all("/nfs/dir");
    let live = held(&mut lock(FakeMachine::on("node3", 3), Duration::ZERO));
    for pause in [
        retry_in,
        Duration::from_millis(1_100),
        Duration::from_millis(1_100),
    ] {
        world.clock.advance(pause);
        let entry = waits.try_acquire().expect("a healthy server");
        assert!(!holds(Ok(entry)), "two are inside");
        live.beat();
        assert!(!live.is_lost(), "the live holder has lost its lock");
        let registers = world.server.registers("/nfs/dir/.locks/mutex.ledger");
        assert!(registers[&1].commit.is_none(), "its register is spent");
    }
    drop(dead);
    assert!(live.release().expect("a healthy server"));
}

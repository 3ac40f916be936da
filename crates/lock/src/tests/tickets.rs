//! The lock in order of arrival: never two inside, nobody overtaken, dead processes passed.

use crate::acquire::AcquireOutcome;
use crate::acquire::HeldTicket;
use crate::acquire::NfsLock;
use crate::error::LockError;
use crate::options::Options;
use crate::tests::client::Client;
use crate::tests::client::DEAD;
use crate::tests::client::Fault;
use crate::tests::client::Moment;
use crate::tests::client::Weather;
use crate::tests::fake::FakeClock;
use crate::tests::fake::FakeMachine;
use crate::tests::server::BLOCK;
use crate::tests::server::Server;

use cocorun_edge::env::Environment;
use cocorun_edge::storage::Storage;
use shuttle::rand::Rng;
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering;
use std::time::Duration;

pub(super) struct World {
    pub(super) server: Arc<Server>,
    pub(super) clock: Arc<FakeClock>,
}

impl World {
    pub(super) fn new() -> Self {
        let clock = FakeClock::new();
        Self {
            server: Server::new(Arc::clone(&clock)),
            clock,
        }
    }

    pub(super) fn lock_over(&self, number: u64, client: Arc<Client>) -> NfsLock {
        let options = Options {
            heartbeat: Duration::ZERO,
            stall: Duration::ZERO,
            block: BLOCK,
            machine: FakeMachine::on(&format!("node{number}"), number),
            ..Options::new("run")
        };
        NfsLock::new(
            client,
            self.clock.clone(),
            "/nfs/dir".into(),
            "mutex",
            options,
        )
    }

    pub(super) fn lock(&self, number: u64) -> NfsLock {
        self.lock_over(number, Client::with_fault(&self.server, None))
    }
}

pub(super) fn held(lock: &mut NfsLock) -> HeldTicket {
    match lock.try_acquire().expect("a healthy server") {
        AcquireOutcome::Held(held) => held,
        AcquireOutcome::Wait { holder, .. } => panic!("waits for {holder}"),
    }
}

fn waits(lock: &mut NfsLock) -> Duration {
    match lock.try_acquire().expect("a healthy server") {
        AcquireOutcome::Wait { retry_in, .. } => retry_in,
        AcquireOutcome::Held(_) => panic!("two are inside"),
    }
}

#[test]
fn the_lock_goes_round_in_the_order_of_arrival() {
    let world = World::new();
    let mut locks: Vec<NfsLock> = (1..=4).map(|number| world.lock(number)).collect();
    let mut inside = held(&mut locks[0]);
    for lock in &mut locks[1..] {
        waits(lock);
    }
    for next in 1..4 {
        let before = inside.fence();
        inside.release().expect("a healthy server");
        for later in (next + 1..4).rev() {
            waits(&mut locks[later]);
        }
        inside = held(&mut locks[next]);
        assert!(inside.fence() > before);
    }
}

/// Lets twelve hold the lock for `section` each, again and again; returns how long it takes from
/// one entry to the next, and how many looks of all twelve there are in between.
fn go_round(section: Duration, entries: u32) -> (Duration, u32) {
    let world = World::new();
    let mut locks: Vec<NfsLock> = (1..=12).map(|number| world.lock(number)).collect();
    let mut due = vec![Duration::ZERO; locks.len()];
    let mut inside: Option<(usize, HeldTicket)> = None;
    let (mut entered, mut asked) = (0, 0);
    let mut rounds = 0_u64;
    while entered < entries {
        rounds += 1;
        let next = (0..due.len()).min_by_key(|index| due[*index]);
        let next = next.expect("twelve");
        let now = world.clock.elapsed();
        world.clock.advance(due[next].saturating_sub(now));
        let now = due[next].max(now);
        if inside.as_ref().is_some_and(|(index, _)| *index == next) {
            let (_, held) = inside.take().expect("it is inside");
            held.release().expect("a healthy server");
            entered += 1;
            due[next] = now + Duration::from_millis(1);
            continue;
        }
        asked += 1;
        due[next] = match locks[next].try_acquire().expect("a healthy server") {
            AcquireOutcome::Held(held) => {
                assert!(inside.replace((next, held)).is_none(), "two are inside");
                now + section
            }
            AcquireOutcome::Wait { retry_in, .. } => now + retry_in,
        };
        assert!(rounds < 100_000, "it does not go on");
    }
    (world.clock.elapsed() / entries, asked / entries)
}

#[test]
fn a_moving_queue_keeps_moving_and_a_slow_one_is_looked_at_rarely() {
    for (section_ms, looks_max) in [(1, 6), (30, 10), (1_000, 40), (10_000, 80)] {
        let section = Duration::from_millis(section_ms);
        let (entry, looks) = go_round(section, 60);
        let bound = section * 3 / 2 + Duration::from_millis(50);
        assert!(entry < bound, "{section:?}: {entry:?} an entry");
        assert!(looks <= looks_max, "{section:?}: {looks} looks an entry");
    }
}

/// Returns how long the last thirty of a queue take, each inside for 5 ms, after the first was
/// inside for `first`; one of the last is dead, and known to be.
fn drain(first: Duration, has_dead: bool) -> Duration {
    let world = World::new();
    let mut locks: Vec<NfsLock> = (1..=31).map(|number| world.lock(number)).collect();
    let mut inside = Some((0, held(&mut locks[0])));
    for lock in &mut locks[1..] {
        lock.try_acquire().expect("a healthy server");
    }
    let mut due: BTreeMap<usize, Duration> = (1..31).map(|it| (it, Duration::ZERO)).collect();
    due.insert(0, first);
    if has_dead {
        let client = Client::with_fault(&world.server, None);
        let path = "/nfs/dir/.locks/mutex.ledger/00000030.grant";
        client
            .create_symlink(path.into(), "revoked;t=x")
            .expect("a new name");
        due.remove(&29);
    }
    while let Some((&next, &at)) = due.iter().min_by_key(|(_, at)| **at) {
        let now = world.clock.elapsed();
        world.clock.advance(at.saturating_sub(now));
        if let Some((_, held)) = inside.take_if(|(index, _)| *index == next) {
            held.release().expect("a healthy server");
            due.remove(&next);
            continue;
        }
        if let Some((_, held)) = &inside {
            held.beat();
        }
        let pause = match locks[next].try_acquire().expect("a healthy server") {
            AcquireOutcome::Held(held) => {
                assert!(inside.replace((next, held)).is_none(), "two are inside");
                Duration::from_millis(5)
            }
            AcquireOutcome::Wait { retry_in, .. } => retry_in,
        };
        due.insert(next, at.max(now) + pause);
    }
    world.clock.elapsed().saturating_sub(first)
}

#[test]
fn a_queue_that_was_stuck_for_long_moves_quickly_again() {
    // Each process that waits for long looks within five seconds.
    for (first_s, bound_s) in [(0, 2), (2, 6), (20, 16)] {
        for has_dead in [false, true] {
            let took = drain(Duration::from_secs(first_s), has_dead);
            let bound = Duration::from_secs(bound_s);
            assert!(
                took < bound,
                "after {first_s} s: {took:?}, a dead one: {has_dead}"
            );
        }
    }
}

#[test]
fn one_that_gives_up_waiting_is_passed_at_once() {
    let world = World::new();
    let (mut first, mut second, mut third) = (world.lock(1), world.lock(2), world.lock(3));
    let inside = held(&mut first);
    waits(&mut second);
    waits(&mut third);
    drop(second);
    drop(inside);
    held(&mut third);
}

#[test]
fn one_that_dies_waiting_is_passed_and_never_granted_if_it_wakes() {
    let world = World::new();
    let (mut first, mut second, mut third) = (world.lock(1), world.lock(2), world.lock(3));
    let inside = held(&mut first);
    waits(&mut second);
    let third_waits = |third: &mut NfsLock, limit: u64| {
        for _ in 0..limit {
            inside.beat();
            world.clock.advance(waits(third));
        }
    };
    third_waits(&mut third, 40);
    drop(inside);
    let inside = held(&mut third);
    assert_eq!(inside.fence(), 3);
    // The sleeper wakes up while the third is inside: its place in the queue is gone.
    waits(&mut second);
    drop(inside);
    assert_eq!(held(&mut second).fence(), 4);
}

#[test]
fn a_dead_holder_is_replaced_after_its_lease_and_notices_when_it_wakes() {
    let world = World::new();
    let (mut first, mut second) = (world.lock(1), world.lock(2));
    let silent = held(&mut first);
    let start = world.clock.elapsed();
    let robber = loop {
        match second.try_acquire().expect("a healthy server") {
            AcquireOutcome::Held(held) => break held,
            AcquireOutcome::Wait { retry_in, .. } => world.clock.advance(retry_in),
        }
    };
    let after = world.clock.elapsed().saturating_sub(start);
    assert!(
        after >= Duration::from_secs(30) && after < Duration::from_secs(41),
        "{after:?}"
    );
    silent.beat();
    assert!(silent.is_lost());
    assert!(robber.fence() > silent.fence());
    drop(silent);
    assert!(!robber.is_lost());
}

#[test]
fn the_leases_of_many_that_died_together_run_out_at_the_same_time() {
    let world = World::new();
    let mut dead: Vec<NfsLock> = (1..=4).map(|number| world.lock(number)).collect();
    let inside = held(&mut dead[0]);
    dead[1..].iter_mut().for_each(|lock| {
        waits(lock);
    });
    let mut last = world.lock(5);
    let start = world.clock.elapsed();
    while let AcquireOutcome::Wait { retry_in, .. } = last.try_acquire().expect("a healthy server")
    {
        world.clock.advance(retry_in);
    }
    let after = world.clock.elapsed().saturating_sub(start);
    assert!(
        after >= Duration::from_secs(30) && after < Duration::from_secs(62),
        "{after:?} for four leases of 30 s"
    );
    drop((inside, dead));
}

#[test]
fn a_wait_ends_by_its_limit_or_by_its_caller_and_leaves_the_queue() {
    let world = World::new();
    let (mut first, mut second, mut third) = (world.lock(1), world.lock(2), world.lock(3));
    let inside = held(&mut first);
    let limit = Some(Duration::from_secs(7));
    let ended = second.acquire(&mut |_| ControlFlow::Continue(()), limit);
    assert!(matches!(ended, Err(LockError::Timeout { .. })), "{ended:?}");
    assert_eq!(world.clock.elapsed(), Duration::from_secs(7));
    let ended = second.acquire(&mut |_| ControlFlow::Break(()), None);
    assert!(matches!(ended, Ok(None)), "{ended:?}");
    waits(&mut third);
    drop(inside);
    held(&mut third);
}

#[test]
fn a_death_at_any_call_leaves_a_lock_that_the_next_can_take() {
    let calls = {
        let world = World::new();
        let client = Client::with_fault(&world.server, None);
        drop(held(&mut world.lock_over(1, Arc::clone(&client))));
        client.calls()
    };
    assert!(calls > 5, "only {calls} calls");
    for call in 0..calls {
        for moment in [Moment::Before, Moment::After] {
            let world = World::new();
            let fault = Fault {
                call,
                moment,
                errno: DEAD,
            };
            let client = Client::with_fault(&world.server, Some(fault));
            drop(world.lock_over(1, client).try_acquire());
            let ended = world.lock(2).acquire(
                &mut |_| ControlFlow::Continue(()),
                Some(Duration::from_secs(45)),
            );
            assert!(matches!(ended, Ok(Some(_))), "{fault:?}: {ended:?}");
        }
    }
}

/// Lets processes take the lock under faults while time stands still, so that nobody is taken for
/// dead: then never two may be inside.
fn perform(turns_max: u32) {
    let world = World::new();
    let weather = Weather {
        lost_replies: 6,
        failures: 4,
        negative_entries: 50,
        stale_lists: 40,
        ..Weather::default()
    };
    let is_inside = Arc::new(AtomicBool::new(false));
    let last = Arc::new(AtomicU32::new(0));
    let below = |limit| shuttle::rand::thread_rng().gen_range(0..limit);
    let threads: Vec<_> = (1..=3)
        .map(|number| {
            let turn = Box::new(shuttle::thread::yield_now);
            let client = Client::in_weather(&world.server, weather, Box::new(below), turn);
            let mut lock = world.lock_over(number, client);
            let (is_inside, last) = (Arc::clone(&is_inside), Arc::clone(&last));
            shuttle::thread::spawn(move || {
                let mut turns = 0;
                for _ in 0..60 {
                    if let Ok(AcquireOutcome::Held(held)) = lock.try_acquire() {
                        assert!(!is_inside.swap(true, Ordering::SeqCst), "two are inside");
                        let before = last.swap(held.fence(), Ordering::SeqCst);
                        assert!(held.fence() > before, "{} after {before}", held.fence());
                        shuttle::thread::yield_now();
                        held.beat();
                        is_inside.store(false, Ordering::SeqCst);
                        held.release().ok();
                        turns += 1;
                        if turns == turns_max {
                            return;
                        }
                    }
                    shuttle::thread::yield_now();
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().expect("no process panics");
    }
    ENTRIES.fetch_add(last.load(Ordering::SeqCst), Ordering::SeqCst);
}

/// How much longer than usual to search.
fn soak() -> usize {
    let environment = Environment::of_this_process();
    let soak = environment.get("COCORUN_SOAK");
    soak.map_or(1, |soak| soak.parse().expect("a number"))
}

/// Counts entries over all schedules; a ticket whose release failed blocks the rest of one, since
/// no lease ever passes.
static ENTRIES: AtomicU32 = AtomicU32::new(0);

#[test]
fn never_two_are_inside_although_replies_are_lost_and_names_hidden() {
    shuttle::check_random(|| perform(1), 70);
    // So some continue while others enter a block that is being swept.
    shuttle::check_random(|| perform(4), 10 * soak());
    let entries = ENTRIES.load(Ordering::SeqCst);
    assert!(entries > 100, "only {entries} entries");
}

//! Removing old tickets: what stays is bounded, and a process that slept meanwhile never holds the
//! lock.

use crate::acquire::AcquireOutcome;
use crate::acquire::HeldTicket;
use crate::acquire::NfsLock;
use crate::tests::client::Client;
use crate::tests::client::Weather;
use crate::tests::tickets::World;
use crate::tests::tickets::held;

use camino::Utf8Path;
use cocorun_edge::storage::Storage;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

const REGISTERS: &str = "/nfs/dir/.locks/mutex.ledger";

fn names(world: &World) -> Vec<String> {
    let client = Client::with_fault(&world.server, None);
    client.list(Utf8Path::new(REGISTERS)).expect("it is there")
}

#[test]
fn of_many_entries_a_bounded_number_of_names_and_two_for_each_block_stay() {
    let world = World::new();
    for turn in 1..=100 {
        let inside = held(&mut world.lock(turn));
        inside.release().expect("a healthy server");
        let count = names(&world).len();
        // Two for each block of two tickets, a marker, and what the last two blocks have.
        let stays = usize::try_from(turn + 1).expect("small") + 1;
        assert!(count <= stays + 13, "{count} names after {turn} entries");
    }
    assert_eq!(held(&mut world.lock(101)).fence(), 101);
}

#[test]
fn waiting_processes_each_remove_different_tickets() {
    let world = World::new();
    let mut locks: Vec<NfsLock> = (1..=12).map(|number| world.lock(number)).collect();
    let mut inside = held(&mut locks[0]);
    for lock in &mut locks[1..] {
        lock.try_acquire().expect("a healthy server");
    }
    let mut most = 0;
    for entry in 1..=300 {
        inside.release().expect("a healthy server");
        locks.rotate_left(1);
        inside = held(&mut locks[0]);
        // The one that left comes back, behind all others.
        let last = locks.last_mut().expect("twelve");
        assert!(matches!(
            last.try_acquire(),
            Ok(AcquireOutcome::Wait { .. })
        ));
        // Two for each block of two tickets, and the registers of the waiting tickets.
        let stays = entry + 2 + 12 + 1;
        most = most.max(names(&world).len().saturating_sub(stays));
    }
    assert!(most <= 3 * 12 * 4, "{most} names of tickets");
}

#[test]
fn results_of_a_step_of_the_same_name_stay_whenever_they_appeared() {
    for comes_late in [false, true] {
        let world = World::new();
        held(&mut world.lock(1))
            .release()
            .expect("a healthy server");
        let client = Client::with_fault(&world.server, None);
        let put = |name: &str, text: &str| {
            let path = Utf8Path::new(REGISTERS).join(name);
            client.create_symlink(&path, text).expect("a new name");
        };
        put("00000002.claim", "c1;t=0123456789abcdef;h=n;p=1");
        let mut lock = world.lock(2);
        if comes_late {
            // It lists the directory before the step has ended.
            let entry = lock.try_acquire().expect("a healthy server");
            assert!(matches!(entry, AcquireOutcome::Wait { .. }), "{entry:?}");
        }
        put(
            "00000002.commit",
            "failed;t=0123456789abcdef;k=deterministic;r=r;x=no",
        );
        held(&mut lock).release().expect("a healthy server");
        for number in 4..30 {
            let inside = held(&mut world.lock(number));
            inside.release().expect("a healthy server");
        }
        let stays = names(&world).iter().any(|name| name == "00000002.commit");
        assert!(stays, "it came late: {comes_late}");
    }
}

#[test]
fn a_process_that_sleeps_during_the_sweep_of_its_block_never_holds() {
    for waits_first in [false, true] {
        let mut tried = 0;
        while let Some(holds) = sleep_at(tried, waits_first) {
            assert!(
                !holds,
                "call {tried}, waits first: {waits_first}: two are inside"
            );
            tried += 1;
        }
        assert!(tried > 8, "only {tried} calls");
    }
}

/// Lets a process sleep before one call of its attempt, until others went through several blocks
/// and one of them is inside; returns whether it then holds, or `None` if there is no such call.
fn sleep_at(call: u64, waits_first: bool) -> Option<bool> {
    let world = Arc::new(World::new());
    // One ticket comes before, so that a late draw meets a number that was used.
    let first = held(&mut world.lock(1));
    let inside: Arc<Mutex<Vec<HeldTicket>>> = Arc::default();
    let (is_armed, has_slept) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicBool::new(false)),
    );
    let calls = Arc::new(AtomicU64::new(0));
    let turn = {
        let (world, inside) = (Arc::clone(&world), Arc::clone(&inside));
        let (is_armed, has_slept) = (Arc::clone(&is_armed), Arc::clone(&has_slept));
        let calls = Arc::clone(&calls);
        Box::new(move || {
            if is_armed.load(Ordering::SeqCst) && calls.fetch_add(1, Ordering::SeqCst) == call {
                is_armed.store(false, Ordering::SeqCst);
                has_slept.store(true, Ordering::SeqCst);
                let mut inside = inside.lock().expect("nobody panics in here");
                *inside = vec![others_pass_by(&world)];
            }
        })
    };
    let client = Client::in_weather(&world.server, Weather::default(), Box::new(|_| 0), turn);
    let mut sleeper = world.lock_over(2, client);
    if waits_first {
        let entry = sleeper.try_acquire().expect("a healthy server");
        assert!(matches!(entry, AcquireOutcome::Wait { .. }), "{entry:?}");
    }
    first.release().expect("a healthy server");
    is_armed.store(true, Ordering::SeqCst);
    let entry = sleeper.try_acquire();
    if !has_slept.load(Ordering::SeqCst) {
        return None;
    }
    let inside = inside.lock().expect("nobody panics in here");
    assert!(!inside[0].is_lost());
    Some(matches!(entry, Ok(AcquireOutcome::Held(held)) if !held.is_lost()))
}

/// Takes the sleeper for dead, enters often enough to sweep, and stays inside.
fn others_pass_by(world: &World) -> HeldTicket {
    for number in 3..15 {
        wait_for(world, &mut world.lock(number))
            .release()
            .expect("a healthy server");
    }
    let inside = wait_for(world, &mut world.lock(15));
    let names = names(world);
    let claims = names.iter().filter_map(|it| it.strip_suffix(".claim"));
    assert!(claims.count() < 10, "nothing was swept");
    inside
}

fn wait_for(world: &World, lock: &mut NfsLock) -> HeldTicket {
    loop {
        match lock.try_acquire().expect("a healthy server") {
            AcquireOutcome::Held(held) => return held,
            AcquireOutcome::Wait { retry_in, .. } => world.clock.advance(retry_in),
        }
    }
}

//! The lock on a real NFS server with real clients: Linux kernels in virtual machines.
//!
//! The short test runs always; the others take minutes and are run by `tests/run --lab`. None is
//! skipped where the lab does not boot: it fails and says why.

pub(crate) mod lab;
pub(crate) mod program;
pub(crate) mod rivals;
pub(crate) mod worker;

use std::thread;
use std::time::Duration;
use std::time::Instant;

use lab::Lab;
use lab::Reply;
use lab::tell;

/// Longest random delay before a dead holder's place is contended for, plus looking for it.
const TAKEOVER_S: f64 = 10.0;

fn pause(seconds: u64) {
    thread::sleep(Duration::from_secs(seconds));
}

/// Starts a holder on n1 and returns when it holds.
fn held<'scope, 'lab: 'scope>(
    scope: &'scope thread::Scope<'scope, 'lab>,
    lab: &'lab Lab,
    words: &str,
) -> thread::ScopedJoinHandle<'scope, Reply> {
    let dir = words.split(' ').nth(1).unwrap().to_owned();
    let words = words.to_owned();
    let holder = scope.spawn(move || lab.worker("n1", &words));
    wait_for(lab, "n1", &format!("{dir}.held"));
    holder
}

/// Waits for a file that a worker on this node makes.
fn wait_for(lab: &Lab, node: &str, file: &str) {
    let begun = Instant::now();
    while lab.sh(node, &format!("test -e {file}")).code != 0 {
        assert!(
            begun.elapsed() < Duration::from_secs(300),
            "{file} never came"
        );
        thread::sleep(Duration::from_millis(300));
    }
}

fn waiting<'scope, 'lab: 'scope>(
    scope: &'scope thread::Scope<'scope, 'lab>,
    lab: &'lab Lab,
    words: &str,
) -> thread::ScopedJoinHandle<'scope, Reply> {
    let words = words.to_owned();
    scope.spawn(move || lab.worker("n2", &words))
}

fn check_storm(lab: &Lab, root: &str, keys: u64, lease_ms: u64, what: &str) {
    let checked = lab
        .worker("n2", &format!("check {root} {keys} {lease_ms}"))
        .good();
    tell(&format!(
        "storm {what}: {keys} keys, {} answers, epochs {}",
        checked.said("answers"),
        checked.said("states")
    ));
    assert!(
        checked.number("replaced") > 0.0,
        "nobody died at work: this proves nothing"
    );
}

/// Server time runs on while it is read; both clients have the clock of this machine, set once.
fn takeover(lab: &Lab, places: &[&str], lease_ms: u64) {
    thread::scope(|scope| {
        let mut waiters = Vec::new();
        for place in places {
            // Both places are the same directory of the server.
            let dir = format!("{place}/takeover{}-{lease_ms}", &place[5..]);
            held(scope, lab, &format!("hold {dir} 600 {lease_ms} 5000"));
            waiters.push(waiting(scope, lab, &format!("take {dir} {lease_ms} 5000")));
            wait_for(lab, "n2", &format!("{dir}.awaited"));
        }
        pause(8);
        let clock = lab.sh("n2", "date +%s.%N").good();
        lab.does("kill", "n1");
        let killed: f64 = clock.out.trim().parse().unwrap();
        for (place, waiter) in places.iter().zip(waiters) {
            let reply = waiter.join().unwrap().good();
            let after = reply.number("leads") - killed;
            let slow = reply.number("slow");
            tell(&format!(
                "{place}: node killed, replaced after {after:.1} s, lease {lease_ms} ms, \
                 {slow:.1} s too slow to see it"
            ));
            assert_eq!(reply.said("epoch"), "2");
            let whole_lease = f64::from(u32::try_from(lease_ms).unwrap()) / 1000.0;
            // What a machine without time for its nodes does not see cannot be reacted to.
            let limit = whole_lease + TAKEOVER_S + slow;
            assert!(after <= limit, "{after} s of {limit} s");
        }
    });
}

#[test]
fn nfs_clients_agree_on_every_result_while_processes_and_a_node_are_killed() {
    let lab = Lab::boot(900);
    program::variants(&lab, "/mnt/v3");
    lab.sh("n1", "mkdir -p /mnt/v4/storm/answers").good();
    thread::scope(|scope| {
        let begun = Instant::now();
        let storms = ["n1", "n2"].map(|node| {
            let lab = &lab;
            let words = format!("storm /mnt/v4/storm {node} 4 24 3000 12");
            scope.spawn(move || lab.worker(node, &words))
        });
        program::short(&lab);
        takeover(&lab, &["/mnt/v3"], 10_000);
        let [dead, alive] = storms.map(|storm| storm.join().unwrap());
        assert!([0, 125].contains(&dead.code), "{dead:?}");
        let alive = alive.good();
        let (kills, freezes) = (alive.said("kills"), alive.said("freezes"));
        tell(&format!(
            "storm of {:.0} s; on n2 {kills} killed, {freezes} frozen",
            begun.elapsed().as_secs_f64()
        ));
    });
    check_storm(&lab, "/mnt/v4/storm", 24, 3000, "v4.2, short");
}

/// Runs 16 processes on two nodes over all keys, and reboots a node now and then.
fn long_storm(place: &str) {
    const KEYS: u64 = 1000;
    let lab = Lab::boot(5000);
    let root = format!("{place}/storm");
    lab.sh("n1", &format!("mkdir -p {root}/answers")).good();
    let begun = Instant::now();
    let words = |node: &str| format!("storm {root} {node} 8 {KEYS} 3000 300");
    thread::scope(|scope| {
        let lab = &lab;
        let (first, second) = (words("n1"), words("n2"));
        let other = scope.spawn(move || lab.worker("n2", &second));
        let mut reboots = 0;
        loop {
            let storm = scope.spawn({
                let first = first.clone();
                move || lab.worker("n1", &first)
            });
            if reboots < 3 {
                pause(45);
                lab.does("kill", "n1");
                reboots += 1;
            }
            let reply = storm.join().unwrap();
            if reply.code == 0 {
                break;
            }
            assert_eq!(reply.code, 125, "{reply:?}");
            lab.does("start", "n1");
        }
        let other = other.join().unwrap().good();
        tell(&format!(
            "storm {place}: {:.0} s, {reboots} node kills; on n2 {} killed, {} frozen",
            begun.elapsed().as_secs_f64(),
            other.said("kills"),
            other.said("freezes")
        ));
    });
    check_storm(&lab, &root, KEYS, 3000, place);
}

#[test]
#[ignore = "takes half an hour; tests/run --lab runs it"]
fn lab_sixteen_processes_on_two_nodes_agree_on_1000_keys_on_v3() {
    long_storm("/mnt/v3");
}

#[test]
#[ignore = "takes half an hour; tests/run --lab runs it"]
fn lab_sixteen_processes_on_two_nodes_agree_on_1000_keys_on_v4() {
    long_storm("/mnt/v4");
}

#[test]
#[ignore = "takes minutes; tests/run --lab runs it"]
fn lab_a_dead_node_is_replaced_within_lease_plus_10_s() {
    takeover(&Lab::boot(600), &["/mnt/v3", "/mnt/v4"], 30_000);
}

#[test]
#[ignore = "takes minutes; tests/run --lab runs it"]
fn lab_results_are_seen_within_a_poll_and_300_ms() {
    let lab = Lab::boot(900);
    let hostile = "nosharecache,nocto,actimeo=600";
    lab.mount(
        "/mnt/h3",
        &format!("vers=3,nolock,port=2049,mountport=20048,mountproto=tcp,{hostile}"),
    );
    lab.mount("/mnt/h4", &format!("vers=4.2,{hostile}"));
    for place in ["/mnt/v3", "/mnt/v4", "/mnt/h3", "/mnt/h4"] {
        let mut worst: f64 = 0.0;
        for round in 0..4 {
            thread::scope(|scope| {
                let dir = format!("{place}/seen-{}-{round}", &place[5..]);
                let holder = held(scope, &lab, &format!("hold {dir} 10 30000 1000"));
                let waiter = waiting(scope, &lab, &format!("wait {dir} 30000 1000"));
                let (holder, waiter) =
                    (holder.join().unwrap().good(), waiter.join().unwrap().good());
                assert_eq!(
                    (holder.said("built"), waiter.said("built")),
                    ("true", "false")
                );
                worst = worst.max(waiter.number("ended") - holder.number("ended"));
            });
        }
        tell(&format!(
            "{place}: seen at most {worst:.2} s later, pauses up to 1.25 s"
        ));
        assert!(worst <= 1.25 + 0.3, "{worst} s");
    }
}

#[test]
#[ignore = "takes minutes; tests/run --lab runs it"]
fn lab_a_waiting_node_makes_few_calls() {
    let lab = Lab::boot(900);
    for place in ["/mnt/v3", "/mnt/v4"] {
        for waiters in [1, 4] {
            thread::scope(|scope| {
                let dir = format!("{place}/calls{}{waiters}", &place[5..]);
                held(scope, &lab, &format!("hold {dir} 100 30000 5000"));
                for _ in 0..waiters {
                    waiting(scope, &lab, &format!("wait {dir} 30000 5000"));
                }
                pause(25);
                let before = lab.calls("n2", place);
                let begun = Instant::now();
                pause(60);
                let (calls, names) = lab.calls("n2", place).since(&before);
                let rate = f64::from(calls) / begun.elapsed().as_secs_f64();
                tell(&format!(
                    "{place}: {waiters} waiting, {rate:.2} calls/s ({names})"
                ));
                assert!(rate <= 0.5, "{rate} calls per second and waiting node");
            });
        }
    }
}

#[test]
#[ignore = "takes minutes; tests/run --lab runs it"]
fn lab_an_outage_of_the_server_robs_nobody() {
    let lab = Lab::boot(900);
    thread::scope(|scope| {
        let pairs = ["/mnt/v3", "/mnt/v4"].map(|place| {
            let dir = format!("{place}/outage{}", &place[5..]);
            let holder = held(scope, &lab, &format!("hold {dir} 130 30000 5000"));
            (
                holder,
                waiting(scope, &lab, &format!("wait {dir} 30000 5000")),
            )
        });
        pause(10);
        let begun = Instant::now();
        lab.does("kill", "srv");
        pause(45);
        lab.does("start", "srv");
        let outage = begun.elapsed().as_secs_f64();
        for (holder, waiter) in pairs {
            let (holder, waiter) = (holder.join().unwrap().good(), waiter.join().unwrap().good());
            assert_eq!((holder.said("built"), holder.said("epoch")), ("true", "1"));
            assert_eq!((waiter.said("built"), waiter.said("epoch")), ("false", "1"));
        }
        tell(&format!(
            "server away for {outage:.0} s, lease 30 s: nobody was robbed"
        ));
    });
}

#[test]
#[ignore = "takes minutes; tests/run --lab runs it"]
fn lab_a_frozen_or_cut_off_node_is_replaced_and_notices() {
    let lab = Lab::boot(900);
    for (bad, good) in [("freeze", "thaw"), ("cut", "heal")] {
        thread::scope(|scope| {
            let pairs = ["/mnt/v3", "/mnt/v4"].map(|place| {
                let dir = format!("{place}/{bad}{}", &place[5..]);
                let holder = held(scope, &lab, &format!("hold {dir} 20 10000 2000"));
                (
                    holder,
                    waiting(scope, &lab, &format!("wait {dir} 10000 2000")),
                )
            });
            lab.does(bad, "n1");
            pause(45);
            lab.does(good, "n1");
            for (holder, waiter) in pairs {
                let (holder, waiter) =
                    (holder.join().unwrap().good(), waiter.join().unwrap().good());
                assert_eq!((waiter.said("built"), waiter.said("epoch")), ("true", "2"));
                assert_eq!((holder.said("built"), holder.said("epoch")), ("false", "2"));
            }
        });
        tell(&format!(
            "{bad} for 45 s, lease 10 s: replaced once, the first holder took its successor's result"
        ));
    }
}

#[test]
#[ignore = "takes minutes; tests/run --lab runs it"]
fn lab_lost_replies_fail_no_round() {
    let lab = Lab::boot(1800);
    let proxy = "mkdir -p /tmp/p; cd /tmp; setsid python3 /mnt/host$LAB proxy 2050 0.1 </dev/null >/tmp/p/log 2>&1 &";
    let path = crate::support::repository().join("tests/nfs/lab.py");
    lab.sh("srv", &proxy.replace("$LAB", path.to_str().unwrap()))
        .good();
    let begun = Instant::now();
    while lab.sh("srv", "test -e /tmp/swallowed").code != 0 {
        assert!(
            begun.elapsed() < Duration::from_secs(60),
            "the proxy does not start"
        );
        pause(1);
    }
    lab.mount(
        "/mnt/lossy",
        "vers=3,nolock,proto=tcp,port=2050,mountvers=3,mountport=20048,mountproto=tcp",
    );
    for round in 0..12 {
        let root = format!("/mnt/lossy/round{round}");
        lab.sh("n1", &format!("mkdir -p {root}/answers")).good();
        thread::scope(|scope| {
            for node in ["n1", "n2"] {
                let (lab, words) = (&lab, format!("storm {root} {node} 2 2 30000 0"));
                scope.spawn(move || lab.worker(node, &words).good());
            }
        });
        lab.worker("n2", &format!("check /mnt/v3/round{round} 2 30000"))
            .good();
    }
    let swallowed = lab.sh("srv", "cat /tmp/swallowed").good().out;
    tell(&format!(
        "12 rounds, 0 failed; replies swallowed of all: {}",
        swallowed.trim()
    ));
}

#[test]
#[ignore = "takes minutes; tests/run --lab runs it"]
fn lab_in_48_rounds_of_8_processes_of_one_node_nobody_is_stuck() {
    let package = package();
    let lab = Lab::boot(3000);
    let mut theirs_stuck = 0.0;
    for (name, package) in [("pytest-cocotb", package.as_str()), ("CallOnce", "-")] {
        for place in ["/mnt/v3", "/mnt/v4"] {
            let root = format!("{place}/crowd-{name}-{}", &place[5..]);
            lab.sh("n1", &format!("mkdir -p {root}")).good();
            let counted = lab.worker("n1", &format!("crowd {root} 8 48 {package}"));
            let counted = counted.good();
            let stuck = counted.number("stuck");
            tell(&format!(
                "{name} {place}: {stuck} of 48 rounds stuck, {} s",
                counted.said("seconds")
            ));
            if package == "-" {
                assert!(stuck < 1.0, "{counted:?}");
            } else {
                theirs_stuck += stuck;
            }
        }
    }
    assert!(
        theirs_stuck > 0.0,
        "this crowd is too small to prove anything"
    );
}

/// Where the unmodified package is, as the nodes see it.
fn package() -> String {
    let package = std::env::var("COCORUN_PYTEST_COCOTB")
        .expect("COCORUN_PYTEST_COCOTB names the directory that holds the package");
    format!("/mnt/host{package}")
}

#[test]
#[ignore = "takes minutes; tests/run --lab runs it"]
fn lab_pytest_cocotbs_lock_fails_where_ours_holds() {
    let package = package();
    let lab = Lab::boot(1200);
    let mut theirs_failed = false;
    for (name, package) in [("pytest-cocotb", package.as_str()), ("NfsLock", "-")] {
        for place in ["/mnt/v3", "/mnt/v4"] {
            let root = format!("{place}/mutex-{name}-{}", &place[5..]);
            lab.sh("n1", &format!("mkdir -p {root}/log")).good();
            thread::scope(|scope| {
                for node in ["n1", "n2"] {
                    let (lab, words) = (&lab, format!("mutex {root} {node} 60 {package}"));
                    scope.spawn(move || lab.worker(node, &words).good());
                }
            });
            let counted = lab.worker("n2", &format!("entries {root}")).good();
            let overlaps = counted.number("overlaps");
            let silence = counted.number("silence");
            tell(&format!(
                "{name} {place}: {} entries, {overlaps} overlaps, {} errors, nobody in for the last {silence:.0} s",
                counted.said("entries"),
                counted.said("errors")
            ));
            if package == "-" {
                assert!(overlaps < 1.0 && silence < 25.0, "{counted:?}");
                assert!(counted.number("entries") > 20.0, "{counted:?}");
            } else {
                theirs_failed |= overlaps > 0.0 || silence > 25.0;
            }
        }
    }
    assert!(theirs_failed, "this storm is too weak to prove anything");
}

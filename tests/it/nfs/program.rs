//! The program itself on the nodes of the lab, as makefiles and people use it.

use std::path::PathBuf;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use crate::nfs::TAKEOVER_S;
use crate::nfs::lab::Lab;
use crate::nfs::lab::Reply;
use crate::nfs::lab::tell;
use crate::nfs::pause;
use crate::nfs::worker::say;
use crate::program_storm;
use crate::program_storm::Storm;
use crate::steps::each_variant_is_made_once_on_two_nodes;
use crate::support::binary;

/// Where the nodes see the program.
fn program() -> String {
    let path = binary().canonicalize().unwrap();
    format!("/mnt/host{}", path.display())
}

/// In a node: `program-storm ROOT NODE SLOTS KEYS KILLS_IN_16 SECONDS BINARY`.
pub(crate) fn storm_in_node(words: &[&str]) {
    let at = |index: usize| words[index].parse::<u32>().unwrap();
    let storm = Storm {
        root: PathBuf::from(words[1]),
        node: words[2].to_owned(),
        slots: at(3),
        keys: at(4),
        kills_in_16: at(5),
        kill_within_ms: 800,
        mischief: Duration::from_secs(at(6).into()),
        binary: PathBuf::from(words[7]),
        actions: &["once", "lock", "target"],
    };
    say("kills", storm.run());
}

/// In a node: `program-check ROOT KEYS`.
pub(crate) fn check_in_node(root: &str, keys: u32) {
    say("all", program_storm::check(root.as_ref(), keys));
}

fn storm_words(root: &str, node: &str, slots: u32, keys: u32, kills: u32, seconds: u32) -> String {
    let program = program();
    format!("program-storm {root} {node} {slots} {keys} {kills} {seconds} {program}")
}

/// Generated sources of six variants, from both nodes at once.
pub(crate) fn variants(lab: &Lab, place: &str) {
    each_variant_is_made_once_on_two_nodes(lab, place, &program());
}

/// A few calls from both nodes at once, for a lab that is there already.
pub(crate) fn short(lab: &Lab) {
    const KEYS: u32 = 1;
    let begun = Instant::now();
    let root = "/mnt/v3/program";
    lab.sh("n1", &format!("mkdir -p {root}")).good();
    thread::scope(|scope| {
        for node in ["n1", "n2"] {
            let words = storm_words(root, node, 2, KEYS, 0, 0);
            scope.spawn(move || lab.worker(node, &words).good());
        }
    });
    let checked = lab.worker("n2", &format!("program-check {root} {KEYS}"));
    tell(&format!(
        "cocorun on two nodes: {} in {:.1} s",
        checked.good().said("all"),
        begun.elapsed().as_secs_f64()
    ));
}

/// Starts cocorun in a node and returns once its command runs, which makes the file `mark`.
fn running<'scope, 'lab: 'scope>(
    scope: &'scope thread::Scope<'scope, 'lab>,
    lab: &'lab Lab,
    node: &'static str,
    args: &str,
    mark: &str,
) -> thread::ScopedJoinHandle<'scope, Reply> {
    let script = format!("{} {args}", program());
    let call = scope.spawn(move || lab.sh(node, &script));
    await_file(lab, node, mark);
    call
}

fn await_file(lab: &Lab, node: &str, mark: &str) {
    let begun = Instant::now();
    while lab.sh(node, &format!("test -e {mark}")).code != 0 {
        assert!(
            begun.elapsed() < Duration::from_secs(120),
            "{mark} does not come"
        );
        thread::sleep(Duration::from_millis(300));
    }
}

/// Storms over many keys while processes are killed and one node loses its power three times.
fn long_storm(place: &str) {
    const KEYS: u32 = 60;
    let lab = Lab::boot(3000);
    let root = format!("{place}/program");
    lab.sh("n1", &format!("mkdir -p {root}")).good();
    let begun = Instant::now();
    let kills = thread::scope(|scope| {
        let lab = &lab;
        let words = storm_words(&root, "n2", 4, KEYS, 3, 240);
        let other = scope.spawn(move || lab.worker("n2", &words));
        let mut cuts = 0;
        loop {
            let words = storm_words(&root, "n1", 4, KEYS, 3, 240);
            let storm = scope.spawn(move || lab.worker("n1", &words));
            if cuts < 3 {
                pause(20);
                lab.does("kill", "n1");
                cuts += 1;
            }
            let reply = storm.join().unwrap();
            if reply.code == 0 {
                break;
            }
            assert_eq!(reply.code, 125, "{reply:?}");
            lab.does("start", "n1");
        }
        other.join().unwrap().good().number("kills")
    });
    let checked = lab.worker("n2", &format!("program-check {root} {KEYS}"));
    tell(&format!(
        "cocorun {place}: {:.0} s, 3 node kills, {kills} processes killed on n2; {}",
        begun.elapsed().as_secs_f64(),
        checked.good().said("all")
    ));
    assert!(kills > 0.0, "nobody was killed: this proves nothing");
    variants(&lab, place);
}

#[test]
#[ignore = "takes minutes; tests/run --lab runs it"]
fn lab_cocorun_on_two_nodes_does_each_thing_once_although_it_is_killed_on_v3() {
    long_storm("/mnt/v3");
}

#[test]
#[ignore = "takes minutes; tests/run --lab runs it"]
fn lab_cocorun_on_two_nodes_does_each_thing_once_although_it_is_killed_on_v4() {
    long_storm("/mnt/v4");
}

#[test]
#[ignore = "takes minutes; tests/run --lab runs it"]
fn lab_a_killed_cocorun_and_a_dead_node_let_the_other_node_in() {
    let lab = Lab::boot(900);
    for place in ["/mnt/v3", "/mnt/v4"] {
        for how in ["process", "node"] {
            let dir = format!("{place}/let-in-{}-{how}", &place[5..]);
            lab.sh("n1", &format!("mkdir -p {dir}")).good();
            let begun = thread::scope(|scope| {
                let lock = format!("lock --stale-timeout=10 {dir}/l -- sh -c");
                let holds =
                    format!("{lock} 'echo $PPID >{dir}/pid; touch {dir}/in; exec sleep 600'");
                let holder = running(scope, &lab, "n1", &holds, &format!("{dir}/in"));
                let waits = format!("{} {lock} 'exit 7'", program());
                let lab = &lab;
                let waiter = scope.spawn(move || lab.sh("n2", &waits));
                pause(5);
                let begun = Instant::now();
                if how == "node" {
                    lab.does("kill", "n1");
                } else {
                    lab.sh("n1", &format!("kill -9 $(cat {dir}/pid)")).good();
                }
                // The command's exit code is handed through.
                let entered = waiter.join().unwrap();
                assert_eq!(entered.code, 7, "{entered:?}");
                let after = begun.elapsed().as_secs_f64();
                drop(holder.join());
                after
            });
            tell(&format!(
                "{place}: holding {how} killed, lease 10 s: entered after {begun:.1} s"
            ));
            assert!(begun <= 10.0 + TAKEOVER_S, "{begun} s");
        }
        lab.does("start", "n1");
    }
}

#[test]
#[ignore = "takes minutes; tests/run --lab runs it"]
fn lab_locks_are_listed_cleaned_and_broken_from_another_node() {
    let lab = Lab::boot(900);
    let from_n2 = |args: &str| lab.sh("n2", &format!("{} locks {args}", program()));
    for place in ["/mnt/v3", "/mnt/v4"] {
        let dir = format!("{place}/seen-from-afar{}", &place[5..]);
        lab.sh("n1", &format!("mkdir -p {dir}")).good();
        let ledger = format!("{dir}/.locks/l.ledger");
        let lock = format!("lock --stale-timeout=10 {dir}/l -- sh -c");
        thread::scope(|scope| {
            let holds = format!("{lock} 'echo $PPID >{dir}/pid; touch {dir}/in; exec sleep 600'");
            let holder = running(scope, &lab, "n1", &holds, &format!("{dir}/in"));
            let listed = from_n2(&format!("list {dir}")).good().out;
            assert!(
                listed.contains("1 holds, alive on another node: pid") && listed.contains("on n1"),
                "{listed}"
            );
            let cleaned = from_n2(&format!("clean {dir}")).good().out;
            assert!(
                cleaned.contains("it gave a sign of life from another node")
                    && cleaned.contains(
                        "ended 0, removed 0 attempt directories, 0 pytest-cocotb locks and 0"
                    ),
                "{cleaned}"
            );
            let broken = from_n2(&format!("break {ledger}")).good().out;
            assert!(broken.contains("1 revoked: pid"), "{broken}");
            let begun = Instant::now();
            let lost = holder.join().unwrap();
            assert!(
                lost.code == 125 && lost.err.contains("lock::lost"),
                "{lost:?}"
            );
            let after = begun.elapsed().as_secs_f64();
            assert!(after < 10.0, "the holder went on for {after} s");
            tell(&format!(
                "{place}: broken from n2, n1 stopped after {after:.1} s"
            ));
        });
        thread::scope(|scope| {
            lab.sh("n1", &format!("rm {dir}/in {dir}/pid")).good();
            let holds = format!("{lock} 'echo $PPID >{dir}/pid; touch {dir}/in; exec sleep 600'");
            let holder = running(scope, &lab, "n1", &holds, &format!("{dir}/in"));
            let mark = format!("{dir}/once");
            let step = format!(
                "once --dir {mark} --name n -- sh -c 'echo $PPID >{mark}.pid; touch {mark}.in; exec sleep 600'"
            );
            let step = running(scope, &lab, "n1", &step, &format!("{mark}.in"));
            lab.sh("n1", &format!("kill -9 $(cat {dir}/pid {mark}.pid)"))
                .good();
            drop((holder.join(), step.join()));
            let cleaned = from_n2(&format!("clean {dir}")).good().out;
            let sum = "ended 2, removed 1 attempt directories, 1 pytest-cocotb locks and 0 files; 0 kept, 0 failed";
            assert!(cleaned.contains(sum), "{cleaned}");
            let listed = from_n2(&format!("list {dir}")).good().out;
            assert!(listed.contains("l.ledger: free"), "{listed}");
            let next = format!("{} lock --timeout=0 {dir}/l -- true", program());
            lab.sh("n1", &next).good();
        });
    }
}

//! Random faults on real storage: whatever a few clients of one server encounter, there is one
//! result, and every caller that survives gets it.
//!
//! Each caller has a mount, and so a kernel's caches, of its own. A seed decides all faults; the
//! kernel still decides the order of threads, so a failing seed may have to be run several times.
//! `COCORUN_FAULT_SEED` sets the first seed, `COCORUN_SOAK` multiplies the number of schedules and
//! draws a new first seed.

use crate::client::Client;
use crate::mount::Mount;
use crate::mount::Shore;
use crate::weather::Effect;
use crate::weather::Fault;
use crate::weather::Moment;
use crate::weather::Op;
use crate::weather::Weather;

use camino::Utf8Path;
use camino::Utf8PathBuf;
use cocorun::edge::clock::Clock;
use cocorun::edge::machine::LocalWatcher;
use cocorun::edge::machine::Machine;
use cocorun::edge::machine::ProcessIdentity;
use cocorun::edge::machine::ProcessState;
use cocorun::edge::machine::SystemMachine;
use cocorun::edge::storage::SystemStorage;
use cocorun::lock::Acceptance;
use cocorun::lock::CallOnce;
use cocorun::lock::Failure;
use cocorun::lock::FailureKind;
use cocorun::lock::Leader;
use cocorun::lock::OnceStep;
use cocorun::lock::Options;
use cocorun::lock::Published;
use cocorun::lock::acquire::NfsLock;
use std::fmt::Display;
use std::fs;
use std::fs::File;
use std::io;
use std::io::Write as _;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;
use std::time::Instant;
use std::time::SystemTime;

/// How much faster than real time the lock's time passes: its lease of 30 s takes 0.1 s.
const HURRY: u32 = 300;
/// Nobody needs this long, even on a slow machine.
const STUCK: Duration = Duration::from_secs(60);
/// After this long, a hanging call fails instead.
const THAW: Duration = Duration::from_millis(150);
const CALLERS: usize = 3;

/// Draws random numbers from a seed.
struct Dice(u64);

impl Dice {
    fn new(seed: u64) -> Self {
        // Neighbouring seeds must not draw alike.
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) % limit
    }

    fn small(&mut self, limit: u32) -> u32 {
        u32::try_from(self.below(u64::from(limit))).unwrap()
    }

    fn one_of<T: Copy>(&mut self, choices: &[T]) -> T {
        let index = self.below(u64::try_from(choices.len()).unwrap());
        choices[usize::try_from(index).unwrap()]
    }
}

/// A clock that runs fast.
struct Hurried(Instant);

impl Clock for Hurried {
    fn now(&self) -> Instant {
        self.0 + self.0.elapsed() * HURRY
    }

    fn wall(&self) -> SystemTime {
        SystemTime::now()
    }

    fn sleep(&self, duration: Duration) {
        thread::sleep(duration / HURRY);
    }
}

/// A node of its own, though all callers are threads of one process.
struct Node(ProcessIdentity);

impl Machine for Node {
    fn local_watcher(&self, _what: &str) -> Option<LocalWatcher> {
        Some(LocalWatcher::default())
    }

    fn me(&self) -> ProcessIdentity {
        self.0.clone()
    }

    fn state_of(&self, _: &ProcessIdentity) -> ProcessState {
        ProcessState::Unknown
    }

    fn has_no_pid(&self, _: u32, _: SystemTime) -> bool {
        false
    }

    fn random(&self) -> u128 {
        SystemMachine.random()
    }
}

fn options(number: usize, lease: Duration, pytest_cocotb: bool) -> Options {
    let name = format!("node{number}");
    let me = ProcessIdentity {
        host: name.clone(),
        boot_id: name.clone(),
        ..SystemMachine.me()
    };
    Options {
        lease,
        heartbeat: Duration::from_secs(5) / HURRY,
        pytest_cocotb,
        machine: Arc::new(Node(me)),
        ..Options::new(&name)
    }
}

/// How one client caches; the times are those of NFS, scaled down.
fn client(dice: &mut Dice) -> Client {
    let times = [0, 3, 30].map(|seconds| Duration::from_secs(seconds) / HURRY);
    Client {
        attributes_ttl: dice.one_of(&times),
        entries_ttl: dice.one_of(&times),
        negative_ttl: dice.one_of(&times),
        has_silly_rename: dice.below(2) == 0,
        has_symlinks: true,
        has_links: true,
    }
}

const OPS: [Op; 16] = [
    Op::Symlink,
    Op::Symlink,
    Op::Symlink,
    Op::Readlink,
    Op::Readlink,
    Op::Setattr,
    Op::Getattr,
    Op::Lookup,
    Op::Mkdir,
    Op::Create,
    Op::Write,
    Op::Fsync,
    Op::Open,
    Op::Read,
    Op::Readdir,
    Op::Unlink,
];

/// Errors that a server or a client returns although it did, or will do, what was asked for.
fn passing(dice: &mut Dice, op: Op, moment: Moment) -> Effect {
    let pause = Duration::from_millis(dice.below(30));
    if moment == Moment::After && op == Op::Symlink {
        let lost = [libc::EEXIST, libc::ENOENT, libc::EIO, libc::ESTALE];
        return Effect::Fail(dice.one_of(&lost));
    }
    let effects = [
        Effect::Fail(libc::EIO),
        Effect::Fail(libc::ESTALE),
        Effect::Fail(libc::ETIMEDOUT),
        Effect::Delay(pause),
    ];
    dice.one_of(&effects)
}

fn fault(dice: &mut Dice, is_rough: bool) -> Fault {
    let op = dice.one_of(&OPS);
    let suffixes = [".claim", ".commit", ""];
    let is_link = matches!(op, Op::Symlink | Op::Readlink | Op::Setattr);
    let moment = dice.one_of(&[Moment::Before, Moment::After]);
    let rough = [
        Effect::Fail(libc::ENOSPC),
        Effect::Fail(libc::EDQUOT),
        Effect::Fail(libc::ENOENT),
        Effect::Hang,
    ];
    let is_rough = is_rough && dice.below(3) == 0;
    Fault {
        op,
        suffix: if is_link { dice.one_of(&suffixes) } else { "" },
        moment,
        effect: if is_rough {
            dice.one_of(&rough)
        } else {
            passing(dice, op, moment)
        },
        skip: dice.small(8),
        times: 1 + dice.small(3),
    }
}

/// Publishes a file that names its maker, so that a torn or swapped one shows.
fn build(leader: &Leader) -> io::Result<()> {
    let mut file = File::create(leader.dir().join("out"))?;
    file.write_all(leader.token().repeat(200).as_bytes())?;
    file.sync_all()
}

fn judge(published: &Published, weather: &Weather) -> Acceptance {
    let path = published.dir.join("out");
    let until = Instant::now() + STUCK / 2;
    while Instant::now() < until {
        if let Ok(text) = fs::read_to_string(&path) {
            assert_eq!(text, published.token.repeat(200), "torn: {path}");
            return Acceptance::Use;
        }
        if weather.is_dead() {
            return Acceptance::Foreign;
        }
        thread::sleep(Duration::from_millis(1));
    }
    panic!("{path} cannot be read");
}

/// The step of one caller, whose mount has these faults.
struct BadWeather<'a>(&'a Weather);

impl OnceStep for BadWeather<'_> {
    type Error = io::Error;

    fn run(&mut self, leader: &Leader) -> Result<serde_json::Value, Failure<io::Error>> {
        match build(leader) {
            Ok(()) => Ok(serde_json::json!({ "out": leader.token() })),
            Err(error) => Err(Failure::new(FailureKind::Transient, error)),
        }
    }

    fn accept(&mut self, published: &Published) -> Acceptance {
        judge(published, self.0)
    }
}

/// Tries as a user would until there is a result; `None` if the node died.
fn call(mount: &Mount, dir: &Utf8Path, options: Options) -> Option<String> {
    let until = Instant::now() + STUCK;
    let clock = Arc::new(Hurried(Instant::now()));
    let storage = Arc::new(SystemStorage);
    let mut once = CallOnce::new(storage, clock, dir.to_owned(), "step", options);
    while Instant::now() < until && !mount.weather.is_dead() {
        let ended = once.ensure_done(&mut BadWeather(&mount.weather), None);
        if let Ok(done) = ended {
            return Some(done.published().token);
        }
    }
    assert!(mount.weather.is_dead(), "a live caller got nothing");
    None
}

/// Runs some callers on one step and checks what they leave behind.
fn call_once_schedule(shore: &Shore, lane: usize, seed: u64) -> (u64, u64) {
    let mut dice = Dice::new(seed);
    let pytest_cocotb = dice.below(3) == 0;
    let mounts: Vec<Mount> = (0..CALLERS)
        .map(|number| shore.mount(&format!("lane{lane}-{number}"), client(&mut dice)))
        .collect();
    for mount in &mounts {
        let faults = (0..dice.below(6)).map(|_| fault(&mut dice, true)).collect();
        mount.weather.set(faults);
    }
    // At least one caller survives.
    for mount in &mounts[1..] {
        if dice.below(4) == 0 {
            mount.weather.die_after(dice.below(120));
        }
    }
    let key = format!("key{seed}");
    let lease = Duration::from_secs(30);
    let answers: Vec<String> = thread::scope(|scope| {
        let callers: Vec<_> = (mounts.iter().enumerate())
            .map(|(number, mount)| {
                let dir = utf8(&mount.path().join(&key));
                let options = options(number, lease, pytest_cocotb);
                scope.spawn(move || call(mount, &dir, options))
            })
            .collect();
        let mut thaw_at = Instant::now() + THAW;
        while !callers.iter().all(thread::ScopedJoinHandle::is_finished) {
            thread::sleep(Duration::from_millis(1));
            if Instant::now() > thaw_at {
                thaw_at += THAW;
                for mount in &mounts {
                    mount.weather.thaw();
                }
            }
        }
        let answers = callers.into_iter().map(|caller| caller.join().unwrap());
        answers.flatten().collect()
    });
    let struck = mounts.iter().map(|mount| mount.weather.struck()).sum();
    let dead = mounts
        .iter()
        .filter(|mount| mount.weather.is_dead())
        .count();
    let calm = &mounts[0];
    calm.weather.clear_up();
    let dir = utf8(&calm.path().join(&key));
    let found_later = call(calm, &dir, options(9, lease, pytest_cocotb)).unwrap();
    check_registers(&shore.backing().join(&key).join(".locks/step.ledger"), seed);
    assert!(!answers.is_empty(), "seed {seed}: nobody got anything");
    for answer in &answers {
        assert_eq!(*answer, found_later, "seed {seed}: two results were given");
    }
    fs::remove_dir_all(shore.backing().join(&key)).unwrap();
    (struck, u64::try_from(dead).unwrap())
}

/// Reads the registers directly, not through a mount.
fn check_registers(ledger: &Path, seed: u64) {
    let read = |name: String| {
        let text = fs::read_link(ledger.join(name)).ok()?;
        Some(text.to_str().unwrap().to_owned())
    };
    let mut done = Vec::new();
    let mut epoch = 1;
    while let Some(claim) = read(format!("{epoch:08}.claim")) {
        let commit = read(format!("{epoch:08}.commit"));
        let retired = read(format!("{epoch:08}.retired"));
        assert_eq!(retired, None, "seed {seed}: a good result was retired");
        if let Some(commit) = commit.filter(|text| text.starts_with("done;")) {
            let token = commit.split(';').nth(1).unwrap();
            assert!(claim.contains(token), "seed {seed}: {commit} on {claim}");
            done.push(epoch);
        }
        epoch += 1;
    }
    assert_eq!(done.len(), 1, "seed {seed}: I1: {done:?} are all done");
}

fn utf8(path: &Path) -> Utf8PathBuf {
    Utf8PathBuf::try_from(path.to_owned()).unwrap()
}

fn from_environment(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap())
}

fn say(words: &impl Display) {
    let mut stderr = io::stderr();
    writeln!(stderr, "{words}").unwrap();
}

/// Runs this many schedules in three lanes at once.
fn run(count: u64, schedule: fn(&Shore, usize, u64) -> (u64, u64)) {
    const LANES: usize = 3;
    let Some(shore) = Shore::new() else { return };
    let times = from_environment("COCORUN_SOAK");
    // Ordinary runs have the same faults each time; a soak explores new ones.
    let usual = match times {
        Some(_) => u64::try_from(SystemMachine.random() >> 100).unwrap(),
        None => 75_219_020,
    };
    let first = from_environment("COCORUN_FAULT_SEED").unwrap_or(usual);
    let count = count * times.unwrap_or(1);
    say(&format!("COCORUN_FAULT_SEED={first}, {count} schedules"));
    let next = AtomicU64::new(0);
    let (struck, dead) = (AtomicU64::new(0), AtomicU64::new(0));
    thread::scope(|scope| {
        for lane in 0..LANES {
            let (shore, next, struck, dead) = (&shore, &next, &struck, &dead);
            scope.spawn(move || {
                loop {
                    let number = next.fetch_add(1, Ordering::SeqCst);
                    if number >= count {
                        return;
                    }
                    let seed = first + number;
                    let run = || schedule(shore, lane, seed);
                    let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(run));
                    let Ok((hits, deaths)) = ended else {
                        panic!("failed: COCORUN_FAULT_SEED={seed}");
                    };
                    struck.fetch_add(hits, Ordering::SeqCst);
                    dead.fetch_add(deaths, Ordering::SeqCst);
                }
            });
        }
    });
    let struck = struck.into_inner();
    say(&format!(
        "{struck} faults struck, {} nodes died",
        dead.into_inner()
    ));
    assert!(struck > count, "the weather was too good to prove anything");
}

#[test]
fn callers_agree_on_one_result_under_any_faults() {
    run(200, call_once_schedule);
}

/// Lets some callers take a lock in turn; nobody dies, so that never two may be inside.
fn lock_schedule(shore: &Shore, lane: usize, seed: u64) -> (u64, u64) {
    const TURNS: u32 = 3;
    let mut dice = Dice::new(seed);
    let mounts: Vec<Mount> = (0..CALLERS)
        .map(|number| shore.mount(&format!("lock{lane}-{number}"), client(&mut dice)))
        .collect();
    for mount in &mounts {
        let faults = (0..dice.below(6))
            .map(|_| fault(&mut dice, false))
            .collect();
        mount.weather.set(faults);
    }
    let name = format!("lock{seed}");
    let inside = AtomicU32::new(0);
    let highest = AtomicU32::new(0);
    thread::scope(|scope| {
        for (number, mount) in mounts.iter().enumerate() {
            let dir = utf8(&mount.path().join(&name));
            let (inside, highest) = (&inside, &highest);
            scope.spawn(move || {
                let clock = Arc::new(Hurried(Instant::now()));
                // Nobody is taken for dead.
                let options = Options {
                    // Retries outlast all faults, even if a look takes long: after a failed
                    // release, others would wait for the whole lease.
                    stall: Duration::from_secs(10) * HURRY,
                    // Old tickets are removed while others draw and wait.
                    block: 2,
                    ..options(number, Duration::from_secs(1_000_000), false)
                };
                let mut lock = NfsLock::new(Arc::new(SystemStorage), clock, dir, "lock", options);
                let mut turns = 0;
                let until = Instant::now() + STUCK;
                while turns < TURNS {
                    assert!(Instant::now() < until, "seed {seed}: waits forever");
                    let go_on = &mut |_: &cocorun::lock::WaitProgress| {
                        if Instant::now() < until {
                            ControlFlow::Continue(())
                        } else {
                            ControlFlow::Break(())
                        }
                    };
                    let Ok(Some(held)) = lock.acquire(go_on, None) else {
                        continue;
                    };
                    let others = inside.fetch_add(1, Ordering::SeqCst);
                    assert_eq!(others, 0, "seed {seed}: two are inside");
                    let before = highest.swap(held.fence(), Ordering::SeqCst);
                    assert!(before < held.fence(), "seed {seed}: an old fence");
                    thread::sleep(Duration::from_micros(300));
                    inside.fetch_sub(1, Ordering::SeqCst);
                    held.release().unwrap();
                    turns += 1;
                }
            });
        }
    });
    let struck = mounts.iter().map(|mount| mount.weather.struck()).sum();
    fs::remove_dir_all(shore.backing().join(&name)).unwrap();
    (struck, 0)
}

#[test]
fn never_two_hold_a_lock_under_any_faults_in_which_nobody_dies() {
    run(80, lock_schedule);
}

//! A file server in memory with clients that lie as NFS clients do.
//!
//! The server is one truth under a mutex and checks the protocol's invariants at every change. A
//! [`Client`] is what one process sees of it: replies get lost, calls fail, names that it once
//! found absent stay absent for it until the server itself tells otherwise, listings are old, and
//! the process may die before or after any single call.

use crate::edge::clock::Clock;
use crate::edge::storage::ENDED_S;
use crate::edge::storage::Kind;
use crate::edge::storage::Stamp;
use crate::edge::storage::Storage;
use crate::edge::storage::Touch;
use crate::lock::record::Claim;
use crate::lock::record::Commit;
use crate::lock::tests::fake::FakeClock;

use camino::Utf8Path;
use camino::Utf8PathBuf;
use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::SystemTime;

/// How many tickets a block has in these tests.
pub(crate) const BLOCK: u32 = 2;

/// What every call of a dead process comes to. No code retries it.
pub(crate) const DEAD: i32 = libc::EBADF;

#[derive(Clone, Debug, PartialEq, Eq)]
enum Content {
    Dir,
    StickyDir,
    File(Vec<u8>),
    Link(String),
}

#[derive(Clone, Debug)]
struct Node {
    content: Content,
    modified: (i64, u32),
    changed: (i64, u32),
    /// Position in the order of creation, also the inode.
    born: u64,
}

/// The truth.
#[derive(Default)]
struct Disk {
    nodes: BTreeMap<Utf8PathBuf, Node>,
    tick: u64,
}

/// The file server.
pub(crate) struct Server {
    disk: Mutex<Disk>,
    clock: Arc<FakeClock>,
}

/// What one epoch's registers say on the server.
#[derive(Clone, Debug, Default)]
pub(crate) struct Registers {
    pub claim: Option<Claim>,
    pub commit: Option<Commit>,
    pub is_retired: bool,
}

fn fail<T>(errno: i32) -> io::Result<T> {
    Err(io::Error::from_raw_os_error(errno))
}

impl Disk {
    fn add(&mut self, path: &Utf8Path, content: Content, now_s: i64) -> io::Result<()> {
        if self.nodes.contains_key(path) {
            return fail(libc::EEXIST);
        }
        let parent = path.parent().expect("nobody makes the root");
        match self.nodes.get(parent).map(|node| &node.content) {
            Some(Content::Dir | Content::StickyDir) => {}
            Some(_) => return fail(libc::ENOTDIR),
            None => return fail(libc::ENOENT),
        }
        self.tick += 1;
        let time = (now_s, u32::try_from(self.tick).expect("a short test"));
        let node = Node {
            content,
            modified: time,
            changed: time,
            born: self.tick,
        };
        self.nodes.insert(path.to_owned(), node);
        Ok(())
    }

    /// Shows in a directory's times that it changed, which a coarse clock may fail to do.
    fn stamp_parent(&mut self, path: &Utf8Path) {
        let Some(time) = self.nodes.get(path).map(|node| node.changed) else {
            return;
        };
        let parent = path.parent().and_then(|parent| self.nodes.get_mut(parent));
        if let Some(parent) = parent {
            parent.modified = time;
            parent.changed = time;
        }
    }

    fn text(&self, path: &Utf8Path) -> Option<String> {
        match &self.nodes.get(path)?.content {
            Content::Link(text) => Some(text.clone()),
            Content::File(bytes) => Some(String::from_utf8_lossy(bytes).trim_end().to_owned()),
            Content::Dir | Content::StickyDir => None,
        }
    }

    fn registers(&self, ledger: &Utf8Path) -> BTreeMap<u32, Registers> {
        let mut found: BTreeMap<u32, Registers> = BTreeMap::new();
        for path in self
            .nodes
            .keys()
            .filter(|path| path.parent() == Some(ledger))
        {
            let (Some(stem), Some(extension)) = (path.file_stem(), path.extension()) else {
                continue;
            };
            let Ok(epoch) = stem.parse() else { continue };
            let text = self.text(path).unwrap_or_default();
            let registers = found.entry(epoch).or_default();
            match extension {
                "claim" => registers.claim = Some(Claim::from_text(&text)),
                "commit" => registers.commit = Some(Commit::from_text(&text)),
                "retired" => registers.is_retired = true,
                _ => {}
            }
        }
        found
    }

    /// Says whether a ticket's register may go: its block of [`BLOCK`] is swept, the marker gone.
    fn is_swept(&self, register: &Utf8Path) -> bool {
        let stem = register.file_stem().unwrap_or_default();
        let number: u32 = stem.parse().expect("a register has a number");
        let block = format!("{:08}.", (number - 1) / BLOCK);
        let dir = register.parent().unwrap_or(register);
        let text = self.text(&dir.join(format!("{block}block")));
        let token = text.as_deref().and_then(|text| text.split_once(";t="));
        let marker = format!("{block}{}.open", token.map_or("", |it| it.1));
        let has = |name: &str| self.nodes.contains_key(&dir.join(name));
        token.is_some() && !has(&marker) && has(&format!("{block}swept"))
    }

    /// Checks I1: no two valid results of one content.
    fn check(&self, changed: &Utf8Path) {
        let Some(ledger) = changed
            .parent()
            .filter(|dir| dir.as_str().ends_with(".ledger"))
        else {
            return;
        };
        let root = ledger
            .parent()
            .and_then(Utf8Path::parent)
            .expect("ROOT/.locks/NAME.ledger");
        let mut contents = BTreeSet::new();
        for (epoch, registers) in self.registers(ledger) {
            let Some(Commit::Done { token, .. }) = &registers.commit else {
                continue;
            };
            let is_own = registers.claim.is_some_and(|claim| claim.token == *token);
            if registers.is_retired || !is_own {
                continue;
            }
            let dir = format!("attempts/{epoch:08}-{}", &token[..8]);
            let record = self.text(&root.join(dir).join("record.json"));
            let Some(record) = record else {
                // A result that ends loses its record first.
                let commit = format!("{epoch:08}.commit");
                assert_ne!(changed.file_name(), Some(&*commit), "done without a record");
                continue;
            };
            assert!(
                contents.insert(record.clone()),
                "two valid results of {record}"
            );
        }
    }
}

impl Server {
    pub(crate) fn new(clock: Arc<FakeClock>) -> Arc<Self> {
        let mut disk = Disk::default();
        for dir in ["/", "/nfs"] {
            let node = Node {
                content: Content::Dir,
                modified: (2, 0),
                changed: (2, 0),
                born: 0,
            };
            disk.nodes.insert(dir.into(), node);
        }
        Arc::new(Self {
            disk: Mutex::new(disk),
            clock,
        })
    }

    fn now_s(&self) -> i64 {
        let wall = self.clock.wall().duration_since(SystemTime::UNIX_EPOCH);
        i64::try_from(wall.expect("after 1970").as_secs()).expect("before the year 10^11")
    }

    /// Returns the registers of one ledger as they really are.
    pub(crate) fn registers(&self, ledger: &str) -> BTreeMap<u32, Registers> {
        self.disk
            .lock()
            .expect("no test failed")
            .registers(Utf8Path::new(ledger))
    }
}

/// Whether a client dies before the server carries out a call, or before it hears the reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moment {
    Before,
    After,
}

/// Something that goes wrong with one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    /// The number of the call, from 0.
    pub call: u64,
    /// Whether the server carries it out before or after the mishap.
    pub moment: Moment,
    /// What the caller is told; [`DEAD`] ends the process.
    pub errno: i32,
}

/// How bad the weather is, in percent of the calls.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Weather {
    /// The call is carried out, the caller is told otherwise.
    pub lost_replies: u64,
    /// The call is not carried out.
    pub failures: u64,
    /// The process dies.
    pub deaths: u64,
    /// A name that was absent once is absent still.
    pub negative_entries: u64,
    /// A listing is an old one.
    pub stale_lists: u64,
    /// Whether symbolic links do not exist here.
    pub lacks_symlinks: bool,
}

/// Returns a number below its argument.
pub(crate) type Dice = Box<dyn Fn(u64) -> u64 + Send + Sync>;

#[derive(Default)]
struct View {
    calls: u64,
    is_dead: bool,
    seen_absent: BTreeSet<Utf8PathBuf>,
}

/// One process' sight of the server.
pub(crate) struct Client {
    server: Arc<Server>,
    weather: Weather,
    dice: Dice,
    fault: Option<Fault>,
    /// Called before every call; lets other processes run.
    turn: Box<dyn Fn() + Send + Sync>,
    view: Mutex<View>,
}

impl Client {
    pub(crate) fn new(server: &Arc<Server>) -> Self {
        Self {
            server: Arc::clone(server),
            weather: Weather::default(),
            dice: Box::new(|_| 0),
            fault: None,
            turn: Box::new(|| {}),
            view: Mutex::default(),
        }
    }

    pub(crate) fn with_fault(server: &Arc<Server>, fault: Option<Fault>) -> Arc<Self> {
        Arc::new(Self {
            fault,
            ..Self::new(server)
        })
    }

    pub(crate) fn in_weather(
        server: &Arc<Server>,
        weather: Weather,
        dice: Dice,
        turn: Box<dyn Fn() + Send + Sync>,
    ) -> Arc<Self> {
        Arc::new(Self {
            weather,
            dice,
            turn,
            ..Self::new(server)
        })
    }

    pub(crate) fn calls(&self) -> u64 {
        self.view.lock().expect("no test failed").calls
    }

    pub(crate) fn is_dead(&self) -> bool {
        self.view.lock().expect("no test failed").is_dead
    }

    fn chance(&self, percent: u64) -> bool {
        percent > 0 && (self.dice)(100) < percent
    }

    /// Decides what goes wrong with this call.
    fn mishap(&self, errors: &[i32]) -> Option<(Moment, i32)> {
        let call = {
            let mut view = self.view.lock().expect("no test failed");
            view.calls += 1;
            view.calls - 1
        };
        if let Some(fault) = self.fault.filter(|fault| fault.call == call) {
            return Some((fault.moment, fault.errno));
        }
        let moment = if self.chance(50) {
            Moment::Before
        } else {
            Moment::After
        };
        if self.chance(self.weather.deaths) {
            return Some((moment, DEAD));
        }
        if self.chance(self.weather.lost_replies) {
            let index = (self.dice)(errors.len() as u64);
            return Some((
                Moment::After,
                errors[usize::try_from(index).expect("small")],
            ));
        }
        if self.chance(self.weather.failures) {
            let errors = [
                libc::EIO,
                libc::ESTALE,
                libc::ETIMEDOUT,
                libc::EINTR,
                libc::ENOSPC,
            ];
            return Some((
                Moment::Before,
                errors[usize::try_from((self.dice)(5)).expect("small")],
            ));
        }
        None
    }

    /// Makes one call; `errors` are those that a lost reply may turn success into.
    fn call<T>(
        &self,
        errors: &[i32],
        act: impl FnOnce(&mut Disk, i64) -> io::Result<T>,
    ) -> io::Result<T> {
        (self.turn)();
        if self.is_dead() {
            return fail(DEAD);
        }
        let mishap = self.mishap(errors);
        if let Some((_, DEAD)) = mishap {
            self.view.lock().expect("no test failed").is_dead = true;
        }
        if let Some((Moment::Before, errno)) = mishap {
            return fail(errno);
        }
        let result = {
            let mut disk = self.server.disk.lock().expect("no test failed");
            act(&mut disk, self.server.now_s())
        };
        match mishap {
            Some((Moment::After, errno)) => fail(errno),
            _ => result,
        }
    }

    /// Reads a name that this client may wrongly believe absent.
    fn read<T>(&self, path: &Utf8Path, act: impl FnOnce(&Node) -> io::Result<T>) -> io::Result<T> {
        let is_trapped = self
            .view
            .lock()
            .expect("no test failed")
            .seen_absent
            .contains(path)
            && self.chance(self.weather.negative_entries);
        let result = self.call(&[libc::EIO, libc::ESTALE], |disk, _| {
            match disk.nodes.get(path).filter(|_| !is_trapped) {
                Some(node) => act(node),
                None => fail(libc::ENOENT),
            }
        });
        if result
            .as_ref()
            .is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
        {
            let mut view = self.view.lock().expect("no test failed");
            view.seen_absent.insert(path.to_owned());
        }
        result
    }

    /// Makes a name; what the server says about it ends a wrong belief.
    fn make(&self, path: &Utf8Path, content: Content) -> io::Result<()> {
        let lost = [libc::EEXIST, libc::EIO, libc::ETIMEDOUT, libc::ENOENT];
        let is_same_tick = self.chance(self.weather.negative_entries);
        let result = self.call(&lost, |disk, now_s| {
            disk.add(path, content, now_s)?;
            if !is_same_tick {
                disk.stamp_parent(path);
            }
            disk.check(path);
            Ok(())
        });
        if result
            .as_ref()
            .is_err_and(|error| error.kind() == io::ErrorKind::AlreadyExists)
        {
            self.view
                .lock()
                .expect("no test failed")
                .seen_absent
                .remove(path);
        }
        result
    }
}

fn is_register(path: &Utf8Path) -> bool {
    matches!(path.extension(), Some("claim" | "commit" | "retired"))
}

impl Storage for Client {
    fn create_symlink(&self, path: &Utf8Path, text: &str) -> io::Result<()> {
        if self.weather.lacks_symlinks {
            return self.call(&[libc::EPERM], |_, _| fail(libc::EPERM));
        }
        self.make(path, Content::Link(text.to_owned()))
    }

    fn read_symlink(&self, path: &Utf8Path) -> io::Result<String> {
        self.read(path, |node| match &node.content {
            Content::Link(text) => Ok(text.clone()),
            _ => fail(libc::EINVAL),
        })
    }

    fn create_link(&self, existing: &Utf8Path, path: &Utf8Path) -> io::Result<()> {
        let source = self
            .server
            .disk
            .lock()
            .expect("no test failed")
            .nodes
            .get(existing)
            .cloned();
        match source {
            Some(node) => self.make(path, node.content),
            None => self.call(&[libc::ENOENT], |_, _| fail(libc::ENOENT)),
        }
    }

    fn create_file(&self, path: &Utf8Path, content: &[u8]) -> io::Result<()> {
        self.make(path, Content::File(content.to_owned()))
    }

    fn write_file(&self, path: &Utf8Path, content: &[u8]) -> io::Result<()> {
        assert!(!is_register(path), "I6: `{path}` is written over");
        self.call(&[libc::EIO, libc::ETIMEDOUT], |disk, now_s| {
            let born = disk.nodes.remove(path).map(|node| node.born);
            disk.add(path, Content::File(content.to_owned()), now_s)?;
            if let (Some(born), Some(node)) = (born, disk.nodes.get_mut(path)) {
                node.born = born;
            }
            Ok(())
        })
    }

    fn read_file(&self, path: &Utf8Path) -> io::Result<Vec<u8>> {
        self.read(path, |node| match &node.content {
            Content::File(bytes) => Ok(bytes.clone()),
            Content::Link(_) => fail(libc::ELOOP),
            Content::Dir | Content::StickyDir => fail(libc::EISDIR),
        })
    }

    fn stamp(&self, path: &Utf8Path) -> io::Result<Stamp> {
        self.read(path, |node| {
            let kind = match node.content {
                Content::Dir | Content::StickyDir => Kind::Dir,
                Content::File(_) => Kind::File,
                Content::Link(_) => Kind::Symlink,
            };
            Ok(Stamp {
                kind,
                inode: node.born,
                mode: if node.content == Content::StickyDir {
                    0o1755
                } else {
                    0o755
                },
                modified: node.modified,
                changed: node.changed,
            })
        })
    }

    fn list(&self, dir: &Utf8Path) -> io::Result<Vec<String>> {
        let age = if self.chance(self.weather.stale_lists) {
            (self.dice)(30)
        } else {
            0
        };
        self.call(&[libc::EIO, libc::ESTALE], |disk, _| {
            if !disk.nodes.contains_key(dir) {
                return fail(libc::ENOENT);
            }
            let newest = disk.tick.saturating_sub(age);
            let inside = disk.nodes.iter().filter(|(path, node)| {
                path.parent() == Some(dir) && path.as_str() != "/" && node.born <= newest
            });
            Ok(inside
                .filter_map(|(path, _)| path.file_name().map(str::to_owned))
                .collect())
        })
    }

    fn touch(&self, path: &Utf8Path, to: Touch) -> io::Result<()> {
        self.call(&[libc::EIO, libc::ETIMEDOUT], |disk, now_s| {
            disk.tick += 1;
            let tick = u32::try_from(disk.tick).expect("a short test");
            let Some(node) = disk.nodes.get_mut(path) else {
                return fail(libc::ENOENT);
            };
            node.changed = (now_s, tick);
            node.modified = match to {
                Touch::Now => (now_s, tick),
                Touch::Ended => (ENDED_S, 0),
            };
            Ok(())
        })
    }

    fn create_dir(&self, path: &Utf8Path) -> io::Result<()> {
        self.make(path, Content::Dir)
    }

    fn create_sticky_dir(&self, path: &Utf8Path) -> io::Result<()> {
        self.make(path, Content::StickyDir)
    }

    fn remove_file(&self, path: &Utf8Path) -> io::Result<()> {
        self.call(&[libc::ENOENT, libc::EIO], |disk, _| {
            if is_register(path) {
                assert!(disk.is_swept(path), "I6: `{path}` is removed");
            }
            match disk.nodes.remove(path) {
                Some(_) => Ok(()),
                None => fail(libc::ENOENT),
            }
        })
    }

    fn remove_dir(&self, path: &Utf8Path) -> io::Result<()> {
        self.call(&[libc::ENOENT, libc::EIO], |disk, _| {
            if disk.nodes.keys().any(|other| other.parent() == Some(path)) {
                return fail(libc::ENOTEMPTY);
            }
            match disk.nodes.remove(path) {
                Some(_) => Ok(()),
                None => fail(libc::ENOENT),
            }
        })
    }

    fn sync_dir(&self, _dir: &Utf8Path) -> io::Result<()> {
        self.call(&[libc::EIO], |_, _| Ok(()))
    }
}

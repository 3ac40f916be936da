//! What one process sees of the file server in memory: as wrong as an NFS client's view can be.
//!
//! Replies get lost, calls fail, names that were once found absent stay absent until the server
//! itself says otherwise, listings are old, and the process may die before or after any single
//! call.

use crate::tests::server::Content;
use crate::tests::server::Disk;
use crate::tests::server::Node;
use crate::tests::server::Server;
use crate::tests::server::fail;
use crate::tests::server::is_register;

use camino::Utf8Path;
use camino::Utf8PathBuf;
use cocorun_edge::storage::ENDED_S;
use cocorun_edge::storage::FileKind;
use cocorun_edge::storage::Stamp;
use cocorun_edge::storage::Storage;
use cocorun_edge::storage::Touch;
use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;
use std::sync::Mutex;

/// What every call of a dead process returns. No code retries it.
pub(crate) const DEAD: i32 = libc::EBADF;

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
    /// The error that the caller gets; [`DEAD`] ends the process.
    pub errno: i32,
}

/// How frequent faults are, in percent of the calls.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Weather {
    /// The call is carried out, but the caller gets an error.
    pub lost_replies: u64,
    /// The call is not carried out.
    pub failures: u64,
    /// The process dies.
    pub deaths: u64,
    /// A name that was absent once still seems absent.
    pub negative_entries: u64,
    /// A listing is outdated.
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

/// One process's view of the server.
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

    /// Makes a name; the server's answer about it corrects a wrong belief.
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
                Content::Dir | Content::StickyDir => FileKind::Dir,
                Content::File(_) => FileKind::File,
                Content::Link(_) => FileKind::Symlink,
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
            assert!(!is_register(path), "I6: `{path}` is removed");
            match disk.nodes.remove(path) {
                Some(_) => Ok(()),
                None => fail(libc::ENOENT),
            }
        })
    }

    fn remove_beside(&self, witness: &Utf8Path, names: &[&str]) -> io::Result<bool> {
        // The handle refers to the same directory throughout, so this is one step.
        self.call(&[libc::EIO], |disk, _| {
            let dir = witness.parent().expect("a marker is in a ledger");
            if !disk.nodes.contains_key(witness) {
                return Ok(false);
            }
            for name in names {
                let path = dir.join(name);
                if is_register(&path) && disk.nodes.contains_key(&path) {
                    assert!(disk.is_swept(&path), "I6: `{path}` is removed");
                }
                disk.nodes.remove(&path);
            }
            Ok(true)
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

//! A file server in memory: one true state under a mutex, which checks the protocol's invariants at
//! every change. What processes see of it is in `client.rs`.

use crate::ledger::record::Claim;
use crate::ledger::record::Commit;
use crate::tests::fake::FakeClock;

use camino::Utf8Path;
use camino::Utf8PathBuf;
use cocorun_edge::clock::Clock;
use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::SystemTime;

/// Tickets per block in these tests.
pub(crate) const BLOCK: u32 = 2;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Content {
    Dir,
    StickyDir,
    File(Vec<u8>),
    Link(String),
}

#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) content: Content,
    pub(super) modified: (i64, u32),
    pub(super) changed: (i64, u32),
    /// Position in the order of creation, also the inode.
    pub(super) born: u64,
}

/// The true state.
#[derive(Default)]
pub(super) struct Disk {
    pub(super) nodes: BTreeMap<Utf8PathBuf, Node>,
    pub(super) tick: u64,
}

/// The file server.
pub(crate) struct Server {
    pub(super) disk: Mutex<Disk>,
    clock: Arc<FakeClock>,
}

/// What one epoch's registers say on the server.
#[derive(Clone, Debug, Default)]
pub(crate) struct Registers {
    pub claim: Option<Claim>,
    pub commit: Option<Commit>,
    pub is_retired: bool,
}

pub(super) fn fail<T>(errno: i32) -> io::Result<T> {
    Err(io::Error::from_raw_os_error(errno))
}

impl Disk {
    pub(super) fn add(&mut self, path: &Utf8Path, content: Content, now_s: i64) -> io::Result<()> {
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

    /// Shows a change in a directory's times, which a coarse clock may fail to do.
    pub(super) fn stamp_parent(&mut self, path: &Utf8Path) {
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

    /// Whether a ticket's register may be removed: its block of [`BLOCK`] is swept, the marker
    /// gone.
    pub(super) fn is_swept(&self, register: &Utf8Path) -> bool {
        let stem = register.file_stem().unwrap_or_default();
        let number: u32 = stem.parse().expect("a register has a number");
        let block = format!("{:08}.", (number - 1) / BLOCK);
        let dir = register.parent().unwrap_or(register);
        let text = self.text(&dir.join(format!("{block}block")));
        let token = text.as_deref().and_then(|text| text.split_once(";t="));
        let marker = format!("{block}{}.open", token.map_or("", |it| it.1));
        let swept = self.text(&dir.join(format!("{block}swept")));
        let is_closed = match (token, swept) {
            (Some((_, token)), Some(swept)) => swept.ends_with(token),
            _ => false,
        };
        is_closed && !self.nodes.contains_key(&dir.join(marker))
    }

    /// Checks I1: no two valid results of one content.
    pub(super) fn check(&self, changed: &Utf8Path) {
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
                // A retired result loses its record first.
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

    pub(super) fn now_s(&self) -> i64 {
        let wall = self.clock.wall().duration_since(SystemTime::UNIX_EPOCH);
        i64::try_from(wall.expect("after 1970").as_secs()).expect("before the year 10^11")
    }

    /// Removes a directory and everything in it, as a user would.
    pub(crate) fn remove_all(&self, dir: &str) {
        let mut disk = self.disk.lock().expect("no test failed");
        disk.nodes.retain(|path, _| !path.starts_with(dir));
    }

    /// Returns the registers of one ledger as they really are.
    pub(crate) fn registers(&self, ledger: &str) -> BTreeMap<u32, Registers> {
        self.disk
            .lock()
            .expect("no test failed")
            .registers(Utf8Path::new(ledger))
    }
}

pub(super) fn is_register(path: &Utf8Path) -> bool {
    matches!(
        path.extension(),
        Some("claim" | "commit" | "grant" | "retired")
    )
}

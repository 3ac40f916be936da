//! A file system that passes everything on to a directory, and gives wrong answers where requested.
//!
//! Two mounts of one directory are like two clients of one file server: each keeps what it has
//! seen, or found missing, for as long as its [`Client`] says. Invariant: a request without a fault
//! does exactly what was asked for on the directory behind.

use crate::client::Client;
use crate::weather::Effect;
use crate::weather::Moment;
use crate::weather::Op;
use crate::weather::Weather;
use crate::words::Refuse;
use crate::words::attributes;
use crate::words::errno;
use crate::words::held;
use crate::words::time_spec;

use fuser::BsdFileFlags;
use fuser::FileAttr;
use fuser::FileHandle;
use fuser::FileType;
use fuser::Filesystem;
use fuser::FopenFlags;
use fuser::Generation;
use fuser::INodeNo;
use fuser::LockOwner;
use fuser::OpenFlags;
use fuser::RenameFlags;
use fuser::ReplyAttr;
use fuser::ReplyCreate;
use fuser::ReplyData;
use fuser::ReplyDirectory;
use fuser::ReplyEmpty;
use fuser::ReplyEntry;
use fuser::ReplyOpen;
use fuser::ReplyWrite;
use fuser::Request;
use fuser::TimeOrNow;
use fuser::WriteFlags;
use nix::fcntl::AT_FDCWD;
use nix::sys::stat::UtimensatFlags;
use nix::sys::stat::utimensat;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::ffi::OsString;
use std::fs;
use std::fs::File;
use std::fs::Permissions;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::DirBuilderExt as _;
use std::os::unix::fs::DirEntryExt as _;
use std::os::unix::fs::FileExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Mutex;
use std::thread;
use std::time::SystemTime;

/// Every name the kernel has a number for.
struct Nodes {
    paths: BTreeMap<u64, (PathBuf, u64)>,
    /// A name and the inode behind it; a recreated name is another node.
    numbers: BTreeMap<(PathBuf, u64), u64>,
    last: u64,
}

struct Handle {
    file: File,
    inode: u64,
    silly_name: Option<PathBuf>,
}

#[derive(Default)]
struct Handles {
    open: BTreeMap<u64, Handle>,
    last: u64,
}

/// The file system of one client.
pub(crate) struct Passthrough {
    root: PathBuf,
    client: Client,
    weather: Arc<Weather>,
    nodes: Mutex<Nodes>,
    handles: Mutex<Handles>,
}

impl Passthrough {
    pub(crate) fn new(root: PathBuf, client: Client, weather: Arc<Weather>) -> Self {
        let inode = fs::metadata(&root).map_or(0, |found| found.ino());
        let nodes = Nodes {
            paths: BTreeMap::from([(1, (root.clone(), inode))]),
            numbers: BTreeMap::new(),
            last: 1,
        };
        Self {
            root,
            client,
            weather,
            nodes: Mutex::new(nodes),
            handles: Mutex::default(),
        }
    }

    /// Returns the path behind a number, whatever is there now.
    fn path(&self, number: INodeNo) -> PathBuf {
        let nodes = held(&self.nodes);
        let known = nodes.paths.get(&number.0);
        known.map_or_else(|| self.root.join("?"), |(path, _)| path.clone())
    }

    fn child(&self, dir: INodeNo, name: &OsStr) -> PathBuf {
        self.path(dir).join(name)
    }

    /// Looks a name up and numbers it.
    fn look_up(&self, path: &Path) -> io::Result<FileAttr> {
        let found = fs::symlink_metadata(path)?;
        let mut nodes = held(&self.nodes);
        let key = (path.to_owned(), found.ino());
        let number = if let Some(number) = nodes.numbers.get(&key) {
            *number
        } else {
            nodes.last += 1;
            let number = nodes.last;
            nodes.paths.insert(number, key.clone());
            nodes.numbers.insert(key, number);
            number
        };
        Ok(attributes(number, &found))
    }

    /// Looks at what a number refers to; `ESTALE` if that is gone.
    fn stat(&self, number: INodeNo) -> io::Result<FileAttr> {
        let known = held(&self.nodes).paths.get(&number.0).cloned();
        let (path, inode) = known.ok_or_else(|| errno(libc::ESTALE))?;
        match fs::symlink_metadata(path) {
            Ok(found) if found.ino() == inode => Ok(attributes(number.0, &found)),
            Ok(_) => Err(errno(libc::ESTALE)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(errno(libc::ESTALE)),
            Err(error) => Err(error),
        }
    }

    /// Forgets a name that was removed here, so that a new one gets a new number.
    fn unname(&self, path: &Path) {
        let mut nodes = held(&self.nodes);
        nodes.numbers.retain(|(name, _), _| name != path);
    }

    fn opened(&self, file: File) -> io::Result<FileHandle> {
        let inode = file.metadata()?.ino();
        let mut handles = held(&self.handles);
        handles.last += 1;
        let number = handles.last;
        let handle = Handle {
            file,
            inode,
            silly_name: None,
        };
        handles.open.insert(number, handle);
        Ok(FileHandle(number))
    }

    fn file(&self, handle: FileHandle) -> io::Result<File> {
        let handles = held(&self.handles);
        let handle = handles
            .open
            .get(&handle.0)
            .ok_or_else(|| errno(libc::EBADF))?;
        handle.file.try_clone()
    }

    /// Removes a file, or hides it if it is still open here.
    fn remove(&self, path: &Path) -> io::Result<()> {
        let found = fs::symlink_metadata(path)?;
        let mut handles = held(&self.handles);
        let is_last = self.client.has_silly_rename && found.nlink() == 1;
        let mut open = handles.open.values_mut();
        let user = open.find(|handle| is_last && handle.inode == found.ino());
        if let Some(user) = user {
            let hidden = path.with_file_name(format!(".nfs{:016x}", found.ino()));
            fs::rename(path, &hidden)?;
            user.silly_name = Some(hidden);
        } else {
            fs::remove_file(path)?;
        }
        drop(handles);
        self.unname(path);
        Ok(())
    }

    /// Carries out a request under the current faults.
    fn answer<R: Refuse, T>(
        &self,
        op: Op,
        path: &Path,
        reply: R,
        act: impl FnOnce() -> io::Result<T>,
        send: impl FnOnce(R, T),
    ) {
        let Some(reply) = self.pass(op, path, Moment::Before, reply) else {
            return;
        };
        let done = act();
        let Some(reply) = self.pass(op, path, Moment::After, reply) else {
            return;
        };
        match done {
            Ok(value) => send(reply, value),
            Err(error) => reply.refuse(&error),
        }
    }

    fn pass<R: Refuse>(&self, op: Op, path: &Path, moment: Moment, reply: R) -> Option<R> {
        match self.weather.meet(op, path, moment) {
            None => Some(reply),
            Some(Effect::Delay(pause)) => {
                thread::sleep(pause);
                Some(reply)
            }
            Some(Effect::Fail(number)) => {
                reply.refuse(&errno(number));
                None
            }
            Some(Effect::Hang) => {
                self.weather
                    .hang(Box::new(move || reply.refuse(&errno(libc::EIO))));
                None
            }
        }
    }

    fn entry(&self, op: Op, path: &Path, reply: ReplyEntry, act: impl FnOnce() -> io::Result<()>) {
        let act = || act().and_then(|()| self.look_up(path));
        self.answer(op, path, reply, act, |reply, found| {
            self.send_entry(reply, &found);
        });
    }

    fn send_entry(&self, reply: ReplyEntry, found: &FileAttr) {
        let Client {
            attributes_ttl,
            entries_ttl,
            ..
        } = &self.client;
        reply.entry_with_ttls(attributes_ttl, entries_ttl, found, Generation(0));
    }
}

impl Filesystem for Passthrough {
    fn lookup(&self, _: &Request, dir: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let path = self.child(dir, name);
        let look = || match self.look_up(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                // Number 0 makes the kernel remember that there is none.
                let ttl = self.client.negative_ttl;
                let found = attributes(0, &fs::metadata(&self.root)?);
                if ttl.is_zero() { Err(error) } else { Ok(found) }
            }
            other => other,
        };
        self.answer(Op::Lookup, &path, reply, look, |reply, found| {
            if found.ino.0 == 0 {
                reply.entry(&self.client.negative_ttl, &found, Generation(0));
            } else {
                self.send_entry(reply, &found);
            }
        });
    }

    fn getattr(&self, _: &Request, number: INodeNo, handle: Option<FileHandle>, reply: ReplyAttr) {
        let path = self.path(number);
        let look = || match handle.map(|handle| self.file(handle)) {
            Some(Ok(file)) => Ok(attributes(number.0, &file.metadata()?)),
            _ => self.stat(number),
        };
        self.answer(Op::Getattr, &path, reply, look, |reply, found| {
            reply.attr(&self.client.attributes_ttl, &found);
        });
    }

    fn setattr(
        &self,
        _: &Request,
        number: INodeNo,
        mode: Option<u32>,
        uid: Option<u32>,
        gid: Option<u32>,
        size: Option<u64>,
        atime: Option<TimeOrNow>,
        mtime: Option<TimeOrNow>,
        _: Option<SystemTime>,
        handle: Option<FileHandle>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let path = self.path(number);
        let set = || {
            self.stat(number)?;
            if let Some(mode) = mode {
                fs::set_permissions(&path, Permissions::from_mode(mode & 0o7777))?;
            }
            if uid.is_some() || gid.is_some() {
                std::os::unix::fs::lchown(&path, uid, gid)?;
            }
            if let Some(size) = size {
                match handle {
                    Some(handle) => self.file(handle)?.set_len(size)?,
                    None => File::options().write(true).open(&path)?.set_len(size)?,
                }
            }
            if atime.is_some() || mtime.is_some() {
                let (atime, mtime) = (time_spec(atime), time_spec(mtime));
                let flags = UtimensatFlags::NoFollowSymlink;
                utimensat(AT_FDCWD, &path, &atime, &mtime, flags)?;
            }
            self.stat(number)
        };
        self.answer(Op::Setattr, &path, reply, set, |reply, found| {
            reply.attr(&self.client.attributes_ttl, &found);
        });
    }

    fn readlink(&self, _: &Request, number: INodeNo, reply: ReplyData) {
        let path = self.path(number);
        let read = || fs::read_link(&path);
        self.answer(Op::Readlink, &path, reply, read, |reply, text| {
            reply.data(text.as_os_str().as_bytes());
        });
    }

    fn mkdir(
        &self,
        _: &Request,
        dir: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        reply: ReplyEntry,
    ) {
        let path = self.child(dir, name);
        self.entry(Op::Mkdir, &path, reply, || {
            fs::DirBuilder::new().mode(0o700).create(&path)?;
            // Our own umask must not be added to the caller's.
            fs::set_permissions(&path, Permissions::from_mode(mode & !umask & 0o7777))
        });
    }

    fn unlink(&self, _: &Request, dir: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let path = self.child(dir, name);
        let remove = || self.remove(&path);
        self.answer(Op::Unlink, &path, reply, remove, |reply, ()| reply.ok());
    }

    fn rmdir(&self, _: &Request, dir: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let path = self.child(dir, name);
        let remove = || fs::remove_dir(&path).map(|()| self.unname(&path));
        self.answer(Op::Rmdir, &path, reply, remove, |reply, ()| reply.ok());
    }

    fn symlink(&self, _: &Request, dir: INodeNo, name: &OsStr, text: &Path, reply: ReplyEntry) {
        let path = self.child(dir, name);
        self.entry(Op::Symlink, &path, reply, || {
            if !self.client.has_symlinks {
                return Err(errno(libc::EPERM));
            }
            std::os::unix::fs::symlink(text, &path)
        });
    }

    fn rename(
        &self,
        _: &Request,
        dir: INodeNo,
        name: &OsStr,
        new_dir: INodeNo,
        new_name: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        let (from, to) = (self.child(dir, name), self.child(new_dir, new_name));
        let rename = || {
            // NFS has neither exchange nor no-replace.
            if !flags.is_empty() {
                return Err(errno(libc::EINVAL));
            }
            fs::rename(&from, &to)?;
            self.unname(&to);
            let mut nodes = held(&self.nodes);
            let Nodes { paths, numbers, .. } = &mut *nodes;
            for (path, _) in paths.values_mut() {
                if let Ok(rest) = path.strip_prefix(&from) {
                    // Joining nothing would add a slash.
                    let is_itself = rest.as_os_str().is_empty();
                    *path = if is_itself { to.clone() } else { to.join(rest) };
                }
            }
            *numbers = paths
                .iter()
                .map(|(number, key)| (key.clone(), *number))
                .collect();
            Ok(())
        };
        self.answer(Op::Rename, &to, reply, rename, |reply, ()| reply.ok());
    }

    fn link(&self, _: &Request, number: INodeNo, dir: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let (existing, path) = (self.path(number), self.child(dir, name));
        self.entry(Op::Link, &path, reply, || {
            if !self.client.has_links {
                return Err(errno(libc::EPERM));
            }
            fs::hard_link(&existing, &path)
        });
    }

    fn open(&self, _: &Request, number: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        let path = self.path(number);
        let open = || {
            self.stat(number)?;
            let access = flags.0 & libc::O_ACCMODE;
            let file = File::options()
                .read(access != libc::O_WRONLY)
                .write(access != libc::O_RDONLY)
                .custom_flags(flags.0 & libc::O_TRUNC)
                .open(&path)?;
            self.opened(file)
        };
        self.answer(Op::Open, &path, reply, open, |reply, handle| {
            reply.opened(handle, FopenFlags::empty());
        });
    }

    fn create(
        &self,
        _: &Request,
        dir: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        flags: i32,
        reply: ReplyCreate,
    ) {
        let path = self.child(dir, name);
        let create = || {
            let file = File::options()
                .read(true)
                .write(true)
                .create(true)
                .truncate(flags & libc::O_TRUNC != 0)
                .custom_flags(flags & libc::O_EXCL)
                .open(&path)?;
            file.set_permissions(Permissions::from_mode(mode & !umask & 0o7777))?;
            Ok((self.look_up(&path)?, self.opened(file)?))
        };
        self.answer(
            Op::Create,
            &path,
            reply,
            create,
            |reply, (found, handle)| {
                let ttl = &self.client.attributes_ttl;
                reply.created(ttl, &found, Generation(0), handle, FopenFlags::empty());
            },
        );
    }

    fn read(
        &self,
        _: &Request,
        number: INodeNo,
        handle: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let path = self.path(number);
        let read = || {
            let mut bytes = vec![0; usize::try_from(size).unwrap_or(0)];
            let length = self.file(handle)?.read_at(&mut bytes, offset)?;
            bytes.truncate(length);
            Ok(bytes)
        };
        self.answer(Op::Read, &path, reply, read, |reply, bytes| {
            reply.data(&bytes);
        });
    }

    fn write(
        &self,
        _: &Request,
        number: INodeNo,
        handle: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let path = self.path(number);
        let write = || self.file(handle)?.write_all_at(data, offset);
        self.answer(Op::Write, &path, reply, write, |reply, ()| {
            reply.written(u32::try_from(data.len()).unwrap_or(0));
        });
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        reply.ok();
    }

    fn release(
        &self,
        _: &Request,
        _: INodeNo,
        handle: FileHandle,
        _: OpenFlags,
        _: Option<LockOwner>,
        _: bool,
        reply: ReplyEmpty,
    ) {
        let handle = held(&self.handles).open.remove(&handle.0);
        if let Some(hidden) = handle.and_then(|handle| handle.silly_name) {
            fs::remove_file(hidden).ok();
        }
        reply.ok();
    }

    fn fsync(&self, _: &Request, number: INodeNo, handle: FileHandle, _: bool, reply: ReplyEmpty) {
        let path = self.path(number);
        let sync = || self.file(handle)?.sync_all();
        self.answer(Op::Fsync, &path, reply, sync, |reply, ()| reply.ok());
    }

    fn fsyncdir(&self, _: &Request, number: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        let path = self.path(number);
        let sync = || File::open(&path)?.sync_all();
        self.answer(Op::Fsync, &path, reply, sync, |reply, ()| reply.ok());
    }

    fn readdir(
        &self,
        _: &Request,
        number: INodeNo,
        _: FileHandle,
        offset: u64,
        reply: ReplyDirectory,
    ) {
        let path = self.path(number);
        let list = || {
            let mut names: Vec<(u64, FileType, OsString)> = [".", ".."]
                .map(|name| (1, FileType::Directory, name.into()))
                .into();
            for entry in fs::read_dir(&path)? {
                let entry = entry?;
                let kind = FileType::from_std(entry.file_type()?);
                let kind = kind.unwrap_or(FileType::RegularFile);
                names.push((entry.ino(), kind, entry.file_name()));
            }
            // The position in the list is the offset, so its order must stay.
            names[2..].sort_by(|one, other| one.2.cmp(&other.2));
            Ok(names)
        };
        self.answer(Op::Readdir, &path, reply, list, |mut reply, names| {
            let skip = usize::try_from(offset).unwrap_or(usize::MAX);
            for (next, (inode, kind, name)) in (1..).zip(&names).skip(skip) {
                if reply.add(INodeNo(*inode), next, *kind, name) {
                    break;
                }
            }
            reply.ok();
        });
    }
}

//! A file that a user named for output: what is there already is never destroyed.
//!
//! A regular file appears whole under its name, or the former one stays; links are followed. What is
//! not a regular file (a device, a FIFO, a socket, a descriptor such as `/dev/stdout` or `>(…)`) is
//! written to and never replaced.

use crate::error::Error;
use crate::error::ErrorKind;
use crate::error::Result;
use crate::fs::create_dirs;
use crate::fs::io_problem;
use crate::fs::write_and_rename;

use camino::Utf8Path;
use camino::Utf8PathBuf;
use nix::errno::Errno;
use nix::fcntl::FcntlArg;
use nix::fcntl::OFlag;
use nix::fcntl::fcntl;
use nix::poll::PollFd;
use nix::poll::PollFlags;
use nix::poll::PollTimeout;
use nix::poll::poll;
use std::fs;
use std::fs::File;
use std::fs::OpenOptions;
use std::io;
use std::io::Write;
use std::os::fd::AsFd;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;
use std::os::fd::RawFd;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::fs::MetadataExt;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::Duration;

/// How long a FIFO may be without a reader before the attempt to write to it fails.
const READER_WAIT: Duration = Duration::from_secs(10);
/// How often a FIFO is tried meanwhile.
const READER_POLL: Duration = Duration::from_millis(50);
/// For how many seconds a reader may take nothing before it counts as stuck.
const STUCK_S_MAX: u32 = 30;
/// What fits into a pipe that poll(2) calls writable, so that no write waits.
const CHUNK_BYTES: usize = 4096;
/// More links than this in a row are a loop, as for the kernel.
const LINKS_MAX: usize = 40;

/// An output that a user named, found writable as far as that can be known before writing.
#[derive(Debug)]
pub struct OutputFile {
    /// The path as the user gave it.
    named: Utf8PathBuf,
    descriptor: Option<RawFd>,
    place: Place,
}

#[derive(Debug)]
enum Place {
    /// A regular file, or no file so far; the path with links followed.
    Regular(Utf8PathBuf),
    /// An open device, pipe, socket or descriptor.
    Stream(File),
    /// A FIFO that nobody had opened for reading.
    Unread(Utf8PathBuf),
}

/// What a path leads to.
enum Followed {
    /// A descriptor of this process.
    Descriptor(RawFd),
    /// A file of another process, which only the kernel can follow.
    Foreign(Utf8PathBuf),
    /// A name that is not a link; the file may be absent.
    Name(Utf8PathBuf),
}

impl OutputFile {
    /// Looks at what the path names, and creates missing folders of a file.
    ///
    /// A pipe, socket or device is opened and stays open until this value is dropped; nothing is
    /// written.
    ///
    /// # Errors
    /// It is a directory, may not be written, nobody listens at the socket, or its folder cannot be
    /// made. Nothing but folders was changed.
    pub fn open(named: &Utf8Path) -> Result<Self> {
        let problem = |error: &io::Error| io_problem(error, "write", named);
        let (descriptor, place) = match follow(named).map_err(|error| problem(&error))? {
            Followed::Descriptor(number) => {
                let file = duplicate(number).map_err(|error| problem(&error))?;
                (Some(number), Place::Stream(file))
            }
            Followed::Foreign(path) => {
                let file = open_at_once(&path).map_err(|error| problem(&error))?;
                (None, Place::Stream(file))
            }
            Followed::Name(path) => (None, place_of(path, named)?),
        };
        Ok(Self {
            named: named.to_owned(),
            descriptor,
            place,
        })
    }

    /// Returns the path as the user gave it.
    pub fn path(&self) -> &Utf8Path {
        &self.named
    }

    /// Says whether it can be written more than once, each time as a whole.
    pub fn is_replaceable(&self) -> bool {
        matches!(self.place, Place::Regular(_))
    }

    /// Returns the number of the descriptor that it is, such as 1 for `/dev/stdout`.
    pub fn descriptor(&self) -> Option<RawFd> {
        self.descriptor
    }

    /// Says whether it is the regular file that a descriptor of this process is open for, by
    /// whatever name.
    pub fn is_file_of(&self, descriptor: RawFd) -> bool {
        let meta = match &self.place {
            Place::Regular(path) => fs::symlink_metadata(path).ok(),
            Place::Stream(file) => file.metadata().ok(),
            Place::Unread(_) => None,
        };
        let theirs = duplicate(descriptor).and_then(|file| file.metadata()).ok();
        meta.zip(theirs).is_some_and(|(one, other)| {
            one.is_file() && one.dev() == other.dev() && one.ino() == other.ino()
        })
    }

    /// Writes the whole content.
    ///
    /// Waits up to 10 s for the first reader of a FIFO, and up to 30 s whenever a reader takes
    /// nothing. Where a regular file can be written but not replaced (a mount point, a folder that
    /// may not be written), it is rewritten in place.
    ///
    /// # Errors
    /// Any I/O error; a former regular file is then whole, unless it was being rewritten in place.
    /// A reader that left early is an error too.
    pub fn publish(&self, bytes: &[u8]) -> Result<()> {
        let written = match &self.place {
            Place::Regular(path) => replace(path, bytes),
            Place::Stream(file) => write_all(file, bytes),
            Place::Unread(path) => {
                wait_for_reader(path, READER_WAIT).and_then(|file| write_all(&file, bytes))
            }
        };
        written.map_err(|error| io_problem(&error, "write", &self.named))
    }
}

/// Follows a path to a regular file or to nothing, for those who make a file and replace it.
///
/// A path whose last part is not a link is returned as it is.
///
/// # Errors
/// It leads to anything else: a directory, a device, a FIFO, a socket, a descriptor.
pub fn follow_to_regular(named: &Utf8Path) -> Result<Utf8PathBuf> {
    let problem = |error: &io::Error| io_problem(error, "replace", named);
    let not_regular = || {
        let text = format!("cannot replace `{named}`: not a regular file");
        Error::new(ErrorKind::NotStartable, text)
    };
    let Followed::Name(path) = follow(named).map_err(|error| problem(&error))? else {
        return Err(not_regular());
    };
    match fs::symlink_metadata(&path) {
        Ok(meta) if !meta.is_file() => Err(not_regular()),
        Ok(_) if !named.is_symlink() => Ok(named.to_owned()),
        Err(error) if error.kind() == io::ErrorKind::NotFound && !named.is_symlink() => {
            Ok(named.to_owned())
        }
        Ok(_) => Ok(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(path),
        Err(error) => Err(problem(&error)),
    }
}

/// Follows links one by one, since only their names say which of them are descriptors.
fn follow(named: &Utf8Path) -> io::Result<Followed> {
    let mut path = named.to_owned();
    for _ in 0..LINKS_MAX {
        let names_dir = ["/", "/.", "/.."]
            .iter()
            .any(|end| path.as_str().ends_with(end));
        let name = path.file_name().filter(|_| !names_dir);
        let name = name.ok_or(io::ErrorKind::IsADirectory)?;
        let dir = match path.parent() {
            Some(dir) if !dir.as_str().is_empty() => dir,
            _ => Utf8Path::new("."),
        };
        let dir = match dir.canonicalize_utf8() {
            Ok(dir) => dir,
            // It will be made.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(Followed::Name(path));
            }
            Err(error) => return Err(error),
        };
        let real = dir.join(name);
        if dir.starts_with("/proc") {
            let is_own = dir.starts_with(format!("/proc/{}", std::process::id()));
            let number = name.parse().ok().filter(|_| is_own && dir.ends_with("fd"));
            return Ok(number.map_or(Followed::Foreign(real), Followed::Descriptor));
        }
        match real.read_link_utf8() {
            Ok(text) => path = dir.join(text),
            // Not a link, or nothing.
            Err(error)
                if error.raw_os_error() == Some(libc::EINVAL)
                    || error.kind() == io::ErrorKind::NotFound =>
            {
                return Ok(Followed::Name(real));
            }
            Err(error) => return Err(error),
        }
    }
    Err(io::Error::from_raw_os_error(libc::ELOOP))
}

fn place_of(path: Utf8PathBuf, named: &Utf8Path) -> Result<Place> {
    let problem = |error: &io::Error| io_problem(error, "write", named);
    match open_at_once(&path) {
        Ok(file) => {
            let meta = file.metadata().map_err(|error| problem(&error))?;
            Ok(if meta.is_file() {
                Place::Regular(path)
            } else {
                Place::Stream(file)
            })
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            if let Some(dir) = path.parent().filter(|dir| !dir.as_str().is_empty()) {
                create_dirs(dir)?;
            }
            Ok(Place::Regular(path))
        }
        Err(error) if error.raw_os_error() == Some(libc::ENXIO) => {
            let kind = fs::symlink_metadata(&path).map(|meta| meta.file_type());
            match kind {
                Ok(kind) if kind.is_fifo() => Ok(Place::Unread(path)),
                Ok(kind) if kind.is_socket() => {
                    let socket = UnixStream::connect(&path).map_err(|error| problem(&error))?;
                    Ok(Place::Stream(File::from(OwnedFd::from(socket))))
                }
                _ => Err(problem(&error)),
            }
        }
        Err(error) => Err(problem(&error)),
    }
}

/// Opens what exists for writing, and changes nothing in it; a FIFO without a reader is `ENXIO`.
#[expect(
    clippy::disallowed_methods,
    reason = "this is the edge that others must go through"
)]
fn open_at_once(path: &Utf8Path) -> io::Result<File> {
    OpenOptions::new()
        .write(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
        .open(path)
}

#[expect(
    unsafe_code,
    reason = "a number on the command line is all that is known of the descriptor"
)]
fn duplicate(number: RawFd) -> io::Result<File> {
    if number < 0 {
        return Err(io::Error::from(Errno::EBADF));
    }
    // SAFETY: it is borrowed for the length of this function, in which nothing is closed; if no such
    // descriptor is open, the calls fail with `EBADF`.
    let borrowed = unsafe { BorrowedFd::borrow_raw(number) };
    let flags = OFlag::from_bits_retain(fcntl(borrowed, FcntlArg::F_GETFL)?);
    if flags & OFlag::O_ACCMODE == OFlag::O_RDONLY {
        return Err(io::Error::other("not open for writing"));
    }
    borrowed.try_clone_to_owned().map(File::from)
}

#[expect(
    clippy::disallowed_methods,
    reason = "a reader's arrival is real time, whatever the clock"
)]
fn wait_for_reader(path: &Utf8Path, limit: Duration) -> io::Result<File> {
    for _ in 0..limit.as_millis() / READER_POLL.as_millis() {
        match open_at_once(path) {
            Err(error) if error.raw_os_error() == Some(libc::ENXIO) => thread::sleep(READER_POLL),
            other => return other,
        }
    }
    let text = format!("nobody has opened it for reading in {} s", limit.as_secs());
    Err(io::Error::new(io::ErrorKind::TimedOut, text))
}

/// Writes everything; the descriptor may block and may be shared, so its flags stay as they are.
fn write_all(mut file: &File, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        wait_until_writable(file)?;
        let chunk = &bytes[..bytes.len().min(CHUNK_BYTES)];
        match file.write(chunk) {
            Ok(0) => return Err(io::Error::from(io::ErrorKind::WriteZero)),
            Ok(number) => bytes = &bytes[number..],
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock
                ) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn wait_until_writable(file: &File) -> io::Result<()> {
    let mut silent_s = 0;
    while silent_s < STUCK_S_MAX {
        let mut polled = [PollFd::new(file.as_fd(), PollFlags::POLLOUT)];
        match poll(&mut polled, PollTimeout::from(1000_u16)) {
            Ok(0) => silent_s += 1,
            Err(Errno::EINTR) => {}
            Ok(_) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
    let text = format!("its reader has taken nothing for {STUCK_S_MAX} s");
    Err(io::Error::new(io::ErrorKind::TimedOut, text))
}

/// Replaces a regular file, or creates it.
#[expect(
    clippy::disallowed_methods,
    reason = "outputs of users are outside the build path; rename keeps a former one whole"
)]
fn replace(path: &Utf8Path, bytes: &[u8]) -> io::Result<()> {
    let former = fs::symlink_metadata(path).ok();
    if former.as_ref().is_some_and(|meta| !meta.is_file()) {
        return Err(io::Error::other("it is not a regular file any more"));
    }
    let permissions = former.as_ref().map(fs::Metadata::permissions);
    match write_and_rename(path, bytes, permissions) {
        Err(error) => {
            let is_fixed = matches!(
                error.kind(),
                io::ErrorKind::PermissionDenied
                    | io::ErrorKind::ReadOnlyFilesystem
                    | io::ErrorKind::ResourceBusy
                    | io::ErrorKind::CrossesDevices
            );
            if is_fixed && former.is_some() {
                return fs::write(path, bytes);
            }
            Err(error)
        }
        Ok(()) => Ok(()),
    }
}

#[cfg(test)]
mod tests;

//! Outputs of every kind that a file system has, in one temporary folder each.

#![expect(
    clippy::disallowed_methods,
    reason = "looks at files as another program does"
)]

use super::*;

use crate::fs::read_text;
use crate::fs::write;

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use std::io::Read;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;

fn temp() -> (tempfile::TempDir, Utf8PathBuf) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = Utf8PathBuf::try_from(dir.path().to_path_buf()).expect("a UTF-8 path");
    (dir, path.canonicalize_utf8().expect("it exists"))
}

fn publish(path: &Utf8Path, text: &str) -> Result<()> {
    OutputFile::open(path)?.publish(text.as_bytes())
}

/// Fails unless the folder holds exactly these names.
#[track_caller]
fn expect_names(dir: &Utf8Path, expect: &[&str]) {
    assert_eq!(crate::fs::list(dir).expect("a folder"), expect);
}

#[test]
fn a_regular_file_is_replaced_whole_and_an_absent_one_is_made() -> Result<()> {
    let (_guard, dir) = temp();
    let (file, new) = (dir.join("report.xml"), dir.join("a/b/report.xml"));
    write(&file, "former")?;
    fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).expect("it is ours");
    let mut former = File::open(&file).expect("a file");
    for path in [&file, &new] {
        let output = OutputFile::open(path)?;
        assert!(output.is_replaceable() && output.descriptor().is_none());
        output.publish(b"first")?;
        output.publish(b"last")?;
        assert_eq!(read_text(path)?, "last");
    }
    let mut text = String::new();
    former.read_to_string(&mut text).expect("read");
    assert_eq!(text, "former", "it was replaced and not rewritten");
    let mode = fs::symlink_metadata(&file).expect("a file").mode();
    assert_eq!(mode & 0o777, 0o640);
    expect_names(&dir, &["a", "report.xml"]);
    expect_names(&dir.join("a/b"), &["report.xml"]);
    Ok(())
}

#[test]
fn links_are_followed_also_to_a_file_that_is_absent() -> Result<()> {
    let (_guard, dir) = temp();
    write(&dir.join("real"), "former")?;
    for (link, to) in [
        ("one", "real"),
        ("two", "one"),
        ("dangling", "made/later"),
        ("loop", "loop"),
    ] {
        symlink(to, dir.join(link)).expect("made");
    }
    for (link, to) in [("one", "real"), ("two", "real"), ("dangling", "made/later")] {
        let link = dir.join(link);
        publish(&link, link.as_str())?;
        assert!(link.is_symlink(), "{link}");
        assert_eq!(read_text(&dir.join(to))?, link.as_str());
        assert_eq!(follow_to_regular(&link)?, dir.join(to));
    }
    assert_eq!(follow_to_regular(&dir.join("new"))?, dir.join("new"));
    let error = publish(&dir.join("loop"), "x").expect_err("a loop");
    assert!(
        error.message.contains("symbolic links"),
        "{}",
        error.message
    );
    Ok(())
}

#[test]
fn what_cannot_be_written_is_refused_before_anything_is_written() -> Result<()> {
    let (_guard, dir) = temp();
    write(&dir.join("file"), "")?;
    create_dirs(&dir.join("dir"))?;
    symlink("dir", dir.join("link")).expect("made");
    drop(UnixListener::bind(dir.join("socket")).expect("bound"));
    for (name, words) in [
        ("dir", "is a directory"),
        ("link", "is a directory"),
        ("new/", "is a directory"),
        ("new/.", "is a directory"),
        ("new/..", "is a directory"),
        ("file/report", "not a directory"),
        ("socket", "connection refused"),
    ] {
        let path = Utf8PathBuf::from(format!("{dir}/{name}"));
        let error = OutputFile::open(&path).expect_err("not writable");
        assert!(error.message.contains(words), "{name}: {}", error.message);
        assert!(error.message.contains(path.as_str()), "{}", error.message);
    }
    for path in ["", ".", "/", "/dev/fd/987654", "/proc/self/fd/987654"] {
        assert!(OutputFile::open(Utf8Path::new(path)).is_err(), "{path}");
    }
    // A descriptor that is open for reading only.
    let read_only = File::open(dir.join("file")).expect("a file");
    let path = Utf8PathBuf::from(format!("/dev/fd/{}", read_only.as_raw_fd()));
    assert!(OutputFile::open(&path).is_err());
    expect_names(&dir, &["dir", "file", "link", "socket"]);
    Ok(())
}

#[test]
fn a_fifo_gets_one_document_and_stays_a_fifo() {
    let (_guard, dir) = temp();
    let fifo = dir.join("fifo");
    mkfifo(fifo.as_std_path(), Mode::S_IRWXU).expect("made");
    symlink("fifo", dir.join("link")).expect("made");
    // More than fits into a pipe at once.
    let text = "x".repeat(300_000);
    for path in [&fifo, &dir.join("link")] {
        let output = OutputFile::open(path).expect("a FIFO");
        assert!(!output.is_replaceable());
        let fifo = fifo.clone();
        let reader = thread::spawn(move || read_text(&fifo));
        output.publish(text.as_bytes()).expect("there is a reader");
        drop(output);
        let read = reader.join().expect("no panic").expect("read");
        assert!(read == text, "{} bytes", read.len());
    }
    let kind = fs::symlink_metadata(&fifo)
        .expect("it is there")
        .file_type();
    assert!(kind.is_fifo());
    assert!(follow_to_regular(&fifo).is_err());
}

#[test]
fn a_fifo_without_a_reader_is_an_error_in_the_end() {
    let (_guard, dir) = temp();
    let fifo = dir.join("fifo");
    mkfifo(fifo.as_std_path(), Mode::S_IRWXU).expect("made");
    let output = OutputFile::open(&fifo).expect("a reader may come");
    assert!(matches!(output.place, Place::Unread(_)));
    let error = wait_for_reader(&fifo, Duration::from_secs(1)).expect_err("nobody reads");
    assert_eq!(error.to_string(), "nobody has opened it for reading in 1 s");
}

#[test]
fn a_reader_that_leaves_early_is_an_error() {
    let (reader, writer) = io::pipe().expect("a pipe");
    let path = Utf8PathBuf::from(format!("/dev/fd/{}", writer.as_raw_fd()));
    let output = OutputFile::open(&path).expect("it is open");
    drop(reader);
    let error = output.publish(b"x").expect_err("nobody reads");
    assert!(error.message.contains("broken pipe"), "{}", error.message);
}

#[test]
fn descriptors_devices_and_sockets_are_written_to() -> Result<()> {
    let (_guard, dir) = temp();
    let device = |path: &str| fs::metadata(path).expect("a device").rdev();
    let null = device("/dev/null");
    publish(Utf8Path::new("/dev/null"), "x")?;
    assert_eq!(device("/dev/null"), null);
    let error = publish(Utf8Path::new("/dev/full"), "x").expect_err("full");
    assert_eq!(error.kind, ErrorKind::Full);

    // The end of a file that a shell has opened: what is there stays.
    let log = dir.join("log");
    write(&log, "before\n")?;
    let opened = OpenOptions::new().append(true).open(&log).expect("a file");
    symlink(format!("/dev/fd/{}", opened.as_raw_fd()), dir.join("link")).expect("made");
    let output = OutputFile::open(&dir.join("link"))?;
    assert_eq!(output.descriptor(), Some(opened.as_raw_fd()));
    output.publish(b"after\n")?;
    assert_eq!(read_text(&log)?, "before\nafter\n");

    let socket = dir.join("socket");
    let listener = UnixListener::bind(&socket).expect("bound");
    let output = OutputFile::open(&socket)?;
    let (mut accepted, _) = listener.accept().expect("connected");
    output.publish(b"document")?;
    drop(output);
    let mut read = String::new();
    accepted.read_to_string(&mut read).expect("read");
    assert_eq!(read, "document");
    Ok(())
}

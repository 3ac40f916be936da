//! Objects and the precompiled header that builds share, as `make` asks for them: the launcher before
//! a real compiler, in a folder that looks like a simulator's runtime.
//!
//! A wrapper named `c++` writes down what it was asked for: `header`, an object after the precompiled
//! header (`after`), or a plain object (`plain`).

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::process::Stdio;
use std::thread;
use std::time::Duration;
use std::time::SystemTime;

use crate::support::Project;
use crate::support::Ran;
use crate::support::binary;

const COMPILER: &str = "\
#!/bin/sh
PATH=/usr/bin:/bin
case \" $* \" in
  *\" c++-header \"*) kind=header ;;
  *\" -include \"*) kind=after ;;
  *) kind=plain ;;
esac
echo $kind >> \"$KINDS\"
if [ \"$REJECTED\" = $kind ]; then
  echo rejected >&2
  exit 1
fi
if [ \"$LINGERS\" = $kind ]; then
  : > \"$KINDS.lingers\"
  exec sleep 1000
fi
exec /usr/bin/c++ \"$@\"
";

const HEADER: &str = "\
#ifndef VERILATED_H_
#define VERILATED_H_
#include <cstdint>
#include \"verilated_types.h\"
inline int number() { return NUMBER; }
#endif
";
const TYPES: &str = "static constexpr int NUMBER = 1;\n";
const RUNTIME: &str =
    "#define VERILATED_CPP_\n#include \"verilated.h\"\nint runtime() { return number(); }\n";
const MODEL: &str =
    "// Begins like a model.\n#include \"Vtop.h\"\nint model() { return number() + TOP; }\n";
const TOP: &str =
    "#ifndef VTOP_H_\n#define VTOP_H_  // guard\n#include \"verilated.h\"\n#define TOP 1\n#endif\n";

struct Shared(Project);

impl Shared {
    fn new() -> Self {
        let project = Project::new();
        project
            .file("bin/c++", COMPILER)
            .file("runtime/verilated.mk", "")
            .file("runtime/verilated.h", HEADER)
            .file("runtime/verilated_types.h", TYPES)
            .file("runtime/verilated.cpp", RUNTIME)
            .file("cpp/model.cpp", MODEL)
            .file("cpp/Vtop.h", TOP)
            .file("kinds", "");
        let compiler = project.path("bin/c++");
        fs::set_permissions(compiler, fs::Permissions::from_mode(0o755)).unwrap();
        let shared = Self(project);
        shared.tick();
        shared
    }

    /// Waits until a file that is written now is newer than all that were written before.
    fn tick(&self) {
        let written = |name: &str| {
            self.0.file(name, "");
            fs::metadata(self.0.path(name)).unwrap().modified().unwrap()
        };
        let before = written("before");
        while written("after") <= before {
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// Returns a compile of a source in the folder `cpp` to an object there.
    fn words(&self, options: &[&str], source: &str, object: &str) -> Vec<String> {
        let runtime = self.0.path("runtime").display().to_string();
        let mut words = vec!["c++".to_owned()];
        words.extend(options.iter().map(|&it| it.to_owned()));
        words.extend(["-I.".to_owned(), "-MMD".to_owned(), format!("-I{runtime}")]);
        words.extend(["-c", "-o", object].map(str::to_owned));
        let source = source.replace("RUNTIME", &runtime);
        words.push(source);
        words
    }

    /// Returns the command by which `make` compiles it in a session.
    fn command(&self, session: &str, words: &[String]) -> Command {
        let mut command = Command::new(binary());
        command
            .arg("__objcache")
            .args(words)
            .current_dir(self.0.path("cpp"))
            .env("PATH", self.0.path("bin"))
            .env("KINDS", self.0.path("kinds"))
            .env("COCORUN_OBJECT_STORE", self.0.path("store"))
            .env("COCORUN_OBJECT_TOOLS", "tools")
            .env("COCORUN_OBJECT_HEADERS", "1")
            .env("COCORUN_SESSION_ID", session);
        command
    }

    /// Compiles a source, checks that the object and its list of files are those of a plain compiler,
    /// and returns what the wrapper was asked for.
    #[track_caller]
    fn compiles(&self, options: &[&str], source: &str, variables: &[(&str, &str)]) -> String {
        fs::write(self.0.path("kinds"), "").unwrap();
        fs::remove_file(self.0.path("cpp/own.d")).ok();
        let mut command = self.command("one", &self.words(options, source, "own.o"));
        let ran = Ran::from(command.envs(variables.iter().copied()).output().unwrap());
        let ran = ran.expect_code(0);
        assert_eq!(ran.text, "", "a compiler that succeeds says nothing");
        let kinds = fs::read_to_string(self.0.path("kinds")).unwrap();
        self.expect_plain(options, source, "own.o");
        kinds.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    #[track_caller]
    fn expect_plain(&self, options: &[&str], source: &str, object: &str) {
        let words = self.words(options, source, "plain.o");
        let mut plain = Command::new("/usr/bin/c++");
        plain.args(&words[1..]).current_dir(self.0.path("cpp"));
        assert!(plain.status().unwrap().success());
        let read = |name: &str| fs::read(self.0.path("cpp").join(name)).unwrap();
        assert_eq!(read(object), read("plain.o"), "{options:?} {source}");
        // Objects of the runtime are copied without a list.
        let list = Path::new(object).with_extension("d");
        if self.0.path("cpp").join(&list).exists() {
            let files = |name: &str| {
                let text = String::from_utf8(read(name)).unwrap().replace("\\\n", " ");
                let names = text.split_once(": ").unwrap().1.split_whitespace();
                names.map(str::to_owned).collect::<BTreeSet<_>>()
            };
            assert_eq!(files(list.to_str().unwrap()), files("plain.d"));
        }
    }

    /// Makes every sign of life in the store a minute old.
    fn age_claims(&self) {
        let mut open = vec![self.0.path("store")];
        while let Some(path) = open.pop() {
            if path.is_dir() && !path.is_symlink() {
                open.extend(fs::read_dir(path).unwrap().map(|it| it.unwrap().path()));
            } else if path.extension().is_some_and(|it| it == "claim") {
                // It is a link whose text is the claim.
                let mut touch = Command::new("touch");
                touch.args(["-h", "-d", "1 minute ago"]).arg(path);
                assert!(touch.status().unwrap().success());
            }
        }
    }

    fn kinds(&self, kind: &str) -> usize {
        let kinds = fs::read_to_string(self.0.path("kinds")).unwrap();
        kinds.lines().filter(|line| *line == kind).count()
    }
}

const OBJECT_OF_RUNTIME: &str = "RUNTIME/verilated.cpp";

#[test]
fn a_precompiled_header_changes_no_object_and_is_made_again_for_other_flags_and_headers() {
    let shared = Shared::new();
    let plain_user = [("COCORUN_OBJECT_HEADERS", "")];
    assert_eq!(shared.compiles(&["-Os"], "model.cpp", &plain_user), "plain");
    assert_eq!(shared.compiles(&["-Os"], "model.cpp", &[]), "header after");
    assert_eq!(shared.compiles(&["-Os"], "model.cpp", &[]), "after");
    assert_eq!(shared.compiles(&["-Os"], "model.cpp", &plain_user), "after");
    assert_eq!(shared.compiles(&["-Os"], OBJECT_OF_RUNTIME, &[]), "after");
    assert_eq!(shared.compiles(&["-Os"], OBJECT_OF_RUNTIME, &[]), "");
    assert_eq!(shared.compiles(&["-O0"], "model.cpp", &[]), "header after");
    assert_eq!(shared.compiles(&["-Os"], "model.cpp", &[]), "after");
    let hidden = [("CPATH", "/nowhere")];
    assert_eq!(shared.compiles(&["-Os"], "model.cpp", &hidden), "plain");
    // A header that the runtime's header includes is upgraded in place.
    shared.0.file(
        "runtime/verilated_types.h",
        "static constexpr int NUMBER = 2;\n",
    );
    shared.tick();
    assert_eq!(shared.compiles(&["-Os"], OBJECT_OF_RUNTIME, &[]), "plain");
    assert_eq!(shared.compiles(&["-Os"], "model.cpp", &[]), "header after");
    // And back: both are still there.
    shared.0.file("runtime/verilated_types.h", TYPES);
    assert_eq!(shared.compiles(&["-Os"], OBJECT_OF_RUNTIME, &[]), "");
    assert_eq!(shared.compiles(&["-Os"], "model.cpp", &[]), "after");
    // The compiler is replaced.
    shared.0.file("bin/c++", &format!("{COMPILER}# newer\n"));
    assert_eq!(shared.compiles(&["-Os"], OBJECT_OF_RUNTIME, &[]), "plain");
    assert_eq!(shared.compiles(&["-Os"], "model.cpp", &[]), "header after");
}

#[test]
fn what_does_not_begin_with_the_header_is_compiled_without_it() {
    let shared = Shared::new();
    assert_eq!(shared.compiles(&["-Os"], "model.cpp", &[]), "header after");
    for text in [
        "#define NUMBER 7\n#include \"verilated.h\"\nint model() { return number(); }\n",
        "int before;\n#include \"verilated.h\"\n",
        "#undef X\n#include \"verilated.h\"\n",
        "#include \"own.h\"\n#include \"verilated.h\"\nint model() { return number(); }\n",
    ] {
        shared
            .0
            .file("cpp/other.cpp", text)
            .file("cpp/own.h", "#define X\n");
        // The first one does not compile at all: it is the compiler who says so.
        if text.starts_with("#define NUMBER") {
            let words = shared.words(&["-Os"], "other.cpp", "own.o");
            let ran = shared.command("one", &words).output().unwrap();
            assert!(!ran.status.success());
            assert!(!ran.stderr.is_empty());
        } else {
            assert_eq!(
                shared.compiles(&["-Os"], "other.cpp", &[]),
                "plain",
                "{text}"
            );
        }
    }
    // The wrapper sees the user's own `-include`.
    let forced = ["-Os", "-include", "cstdio"];
    assert_eq!(shared.compiles(&forced, "model.cpp", &[]), "after");
}

#[test]
fn a_compiler_that_rejects_the_header_compiles_in_the_ordinary_way() {
    let shared = Shared::new();
    let no_header = [("REJECTED", "header")];
    assert_eq!(
        shared.compiles(&["-Os"], "model.cpp", &no_header),
        "header plain"
    );
    assert_eq!(
        shared.compiles(&["-Os"], "model.cpp", &no_header),
        "plain",
        "once a session"
    );
    let later = [("COCORUN_SESSION_ID", "two")];
    assert_eq!(
        shared.compiles(&["-Os"], "model.cpp", &later),
        "header after"
    );
    let not_used = [("REJECTED", "after")];
    for source in ["model.cpp", OBJECT_OF_RUNTIME] {
        assert_eq!(shared.compiles(&["-Os"], source, &not_used), "after plain");
    }
    // One that is gone is made again.
    let broken = shared.0.path("store");
    for entry in fs::read_dir(&broken).unwrap() {
        let attempts = entry.unwrap().path().join("attempts");
        for attempt in fs::read_dir(attempts).unwrap() {
            fs::remove_file(attempt.unwrap().path().join("runtime.h.gch")).ok();
        }
    }
    assert_eq!(shared.compiles(&["-Os"], "model.cpp", &[]), "header after");
    fs::remove_dir_all(&broken).unwrap();
    fs::write(&broken, "where no store can be").unwrap();
    assert_eq!(shared.compiles(&["-Os"], "model.cpp", &[]), "plain");
    assert_eq!(shared.compiles(&["-Os"], OBJECT_OF_RUNTIME, &[]), "plain");
}

#[test]
fn a_header_from_the_future_is_precompiled_once_a_session_and_no_source_is_compiled_twice() {
    let shared = Shared::new();
    let header = fs::File::options()
        .append(true)
        .open(shared.0.path("runtime/verilated_types.h"))
        .unwrap();
    let future = SystemTime::now() + Duration::from_mins(10);
    header.set_modified(future).unwrap();
    for source in [OBJECT_OF_RUNTIME, OBJECT_OF_RUNTIME] {
        assert_eq!(shared.compiles(&["-Os"], source, &[]), "plain");
    }
    assert_eq!(shared.compiles(&["-Os"], "model.cpp", &[]), "header plain");
    for source in ["model.cpp", OBJECT_OF_RUNTIME] {
        assert_eq!(shared.compiles(&["-Os"], source, &[]), "plain");
    }
    // The clock catches up.
    header.set_modified(SystemTime::UNIX_EPOCH).unwrap();
    shared.tick();
    let later = [("COCORUN_SESSION_ID", "two")];
    assert_eq!(
        shared.compiles(&["-Os"], "model.cpp", &later),
        "header after"
    );
    assert_eq!(
        shared.compiles(&["-Os"], OBJECT_OF_RUNTIME, &later),
        "after"
    );
    assert_eq!(shared.compiles(&["-Os"], OBJECT_OF_RUNTIME, &later), "");
}

#[test]
fn processes_that_start_at_once_on_an_empty_store_make_one_header() {
    let shared = Shared::new();
    let objects: Vec<String> = (0..6).map(|number| format!("own_{number}.o")).collect();
    let sources = ["model.cpp", OBJECT_OF_RUNTIME];
    let children = objects.iter().zip(sources.iter().cycle());
    let children: Vec<_> = children
        .map(|(object, source)| {
            let words = shared.words(&["-Os"], source, object);
            shared.command("one", &words).spawn().unwrap()
        })
        .collect();
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    assert_eq!(shared.kinds("header"), 1);
    for (object, source) in objects.iter().zip(sources.iter().cycle()) {
        shared.expect_plain(&["-Os"], source, object);
    }
}

#[test]
fn a_process_that_is_killed_while_it_makes_the_header_leaves_nothing_to_be_used() {
    let shared = Shared::new();
    let words = shared.words(&["-Os"], "model.cpp", "own.o");
    let mut command = shared.command("one", &words);
    let mut child = command
        .env("LINGERS", "header")
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    while !shared.0.path("kinds.lingers").exists() {
        thread::sleep(Duration::from_millis(5));
    }
    // Nobody waits for it.
    assert_eq!(shared.compiles(&["-Os"], "model.cpp", &[]), "plain");
    child.kill().unwrap();
    child.wait().unwrap();
    shared.age_claims();
    assert_eq!(shared.compiles(&["-Os"], "model.cpp", &[]), "header after");
}

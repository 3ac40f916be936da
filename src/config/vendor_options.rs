//! Options in file lists that come from other tools: what they mean to a design.
//!
//! Only what certainly leaves the design alone is skipped: how other tools check licences, write
//! logs, collect coverage or let waves be dumped. Whatever could change the design and is not
//! translated stays unknown, and so an error.

use camino::Utf8Path;

/// What an option means here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meaning<'a> {
    /// Nothing for the design; what to call it, and which argument follows.
    Skipped { kind: &'a str, argument: Argument },
    /// A timescale for sources that set none, here or in the argument that follows.
    Timescale(Option<&'a str>),
    /// A folder for includes follows.
    IncludeDir,
    /// A macro follows.
    Define,
}

/// What follows an option that is skipped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Argument {
    /// Nothing.
    None,
    /// A word.
    Needed,
    /// A word, or nothing: tools differ.
    Optional,
}

/// Extensions of files that belong to a design.
const HDL_EXTENSIONS: [&str; 9] = ["v", "vh", "vp", "sv", "svh", "svp", "svi", "vhd", "vhdl"];

/// Options without an argument.
const PLAIN: [&str; 52] = [
    // The language: all of a list is read as SystemVerilog.
    "+sv",
    "+v2k",
    "-sv",
    "-sverilog",
    "-sysv",
    "-v2k",
    "-v2001",
    "-v2005",
    // The word size of the tool.
    "+nc64bit",
    "-32",
    "-64",
    "-64bit",
    "-full64",
    // Timing checks and path delays, which the simulators here do not apply.
    "+no_notifier",
    "+no_tchk_msg",
    "+nospecify",
    "+notimingcheck",
    "+notimingchecks",
    "-no_notifier",
    "-no_tchk_msg",
    "-nospecify",
    "-notimingcheck",
    "-notimingchecks",
    // What may be looked at.
    "+acc",
    "+memcbk",
    "+vcs+dumpvars",
    "+vpi",
    "-debug",
    "-debug_all",
    "-debug_pp",
    "-kdb",
    "-lca",
    "-linedebug",
    // How the tool works and what it says.
    "+vcs+lic+wait",
    "+vcs+lic+vcsi",
    "-Mupdate",
    "-R",
    "-cover",
    "-covoverwrite",
    "-fast_compile",
    "-fastcomp",
    "-incr",
    "-licqueue",
    "-lint",
    "-messages",
    "-nocopyright",
    "-nologo",
    "-notice",
    "-nowarn",
    "-q",
    "-quiet",
    "-update",
];

/// Options whose value is in the same word, by their beginning.
const JOINED: [&str; 13] = [
    "+acc=",
    "+access+",
    "+lint=",
    "+nowarn",
    "+systemverilogext+",
    "+verilog1995ext+",
    "+verilog2001ext+",
    "+warn=",
    "-Mdir=",
    "-debug_access+",
    "-debug_region=",
    "-lint=",
    "-xmlibdirname=",
];

/// Options whose value is the next word.
const SEPARATE: [&str; 12] = [
    "-access",
    "-cm",
    "-cm_dir",
    "-cm_name",
    "-covdut",
    "-l",
    "-log",
    "-logfile",
    "-suppress",
    "-work",
    "-xmlibdirpath",
    "-xmlogfile",
];

/// Options whose value is the next word in some tools, and which are flags in others.
const MAYBE_SEPARATE: [&str; 2] = ["-messagelevel", "-mfcu_log"];

/// Says whether a word is not the argument of `option` but another option or a file of a design.
pub(super) fn is_of_design(option: &str, word: &str) -> bool {
    let is_access = |word: &str| word.chars().all(|c| "+rwc".contains(c));
    if word.starts_with(['-', '+']) {
        return option != "-access" || !is_access(word);
    }
    let path = Utf8Path::new(word);
    let extension = path.extension().unwrap_or_default().to_ascii_lowercase();
    HDL_EXTENSIONS.contains(&&*extension)
}

/// Returns what an option of another tool means; `None` if it is unknown or could change the design.
/// `argument` is the word after it.
pub(super) fn meaning<'a>(word: &'a str, argument: Option<&str>) -> Option<Meaning<'a>> {
    let skipped = |kind, argument| Meaning::Skipped { kind, argument };
    for start in ["-timescale=", "+timescale+"] {
        if let Some(value) = word.strip_prefix(start) {
            return Some(Meaning::Timescale(Some(value)));
        }
    }
    match word {
        "-timescale" => return Some(Meaning::Timescale(None)),
        "-incdir" | "-INCDIR" => return Some(Meaning::IncludeDir),
        "-define" | "-DEFINE" => return Some(Meaning::Define),
        // Some of its values switch assertions off.
        "-assert" => {
            let harmless = [
                "svaext",
                "enable_diag",
                "enable_hier",
                "dve",
                "verbose",
                "quiet",
            ];
            let is_harmless = argument.is_some_and(|it| harmless.contains(&it));
            return is_harmless.then(|| skipped(word, Argument::Needed));
        }
        _ => {}
    }
    if PLAIN.contains(&word) {
        return Some(skipped(word, Argument::None));
    }
    if SEPARATE.contains(&word) {
        return Some(skipped(word, Argument::Needed));
    }
    if MAYBE_SEPARATE.contains(&word) {
        return Some(skipped(word, Argument::Optional));
    }
    let joined = JOINED.iter().find(|start| word.starts_with(**start))?;
    let kind = joined.trim_end_matches(['=', '+']);
    Some(skipped(&word[..kind.len()], Argument::None))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_change_the_design_stays_unknown() {
        for word in [
            "-override_timescale=1ns/1ps",
            "+delay_mode_zero",
            "+maxdelays",
            "-top",
            "-s",
            "-P",
            "-pvalue+W=8",
            // A flag in some tools, with a value in others.
            "-coverage",
            "-gW=8",
            "-svinputport=net",
            "-default_nettype",
            "-load",
            "-L",
            "-libmap",
            "--trace",
            "-Wno-fatal",
            "+bogus",
        ] {
            assert_eq!(meaning(word, None), None, "{word}");
        }
        assert_eq!(meaning("-assert", Some("disable")), None);
    }

    #[test]
    fn what_does_not_is_skipped_with_its_value() {
        for (word, kind, argument) in [
            ("-full64", "-full64", Argument::None),
            ("+lint=all", "+lint", Argument::None),
            ("+access+r", "+access", Argument::None),
            ("+acc=npr", "+acc", Argument::None),
            ("-debug_access+all", "-debug_access", Argument::None),
            ("-l", "-l", Argument::Needed),
            ("-work", "-work", Argument::Needed),
            ("-mfcu_log", "-mfcu_log", Argument::Optional),
        ] {
            let skipped = Meaning::Skipped { kind, argument };
            assert_eq!(meaning(word, None), Some(skipped), "{word}");
        }
        let timescale = Meaning::Timescale(Some("1ns/1ps"));
        assert_eq!(meaning("-timescale=1ns/1ps", None), Some(timescale));
        let skipped = meaning("-assert", Some("svaext"));
        assert!(matches!(skipped, Some(Meaning::Skipped { .. })));
    }

    #[test]
    fn a_word_of_the_design_is_not_an_argument() {
        for (option, word, expected) in [
            ("-l", "run.log", false),
            ("-work", "work", false),
            ("-suppress", "2583,13314", false),
            ("-access", "+rwc", false),
            ("-access", "+define+r", true),
            ("-l", "+define+STRICT", true),
            ("-l", "-sverilog", true),
            ("-l", "hdl/top3.v", true),
            ("-l", "hdl/TOP.SV", true),
            ("-l", "hdl/pkg.svh", true),
        ] {
            assert_eq!(is_of_design(option, word), expected, "{option} {word}");
        }
    }

    #[test]
    fn an_option_is_in_one_list() {
        let mut all = [PLAIN.as_slice(), &JOINED, &SEPARATE, &MAYBE_SEPARATE].concat();
        let count = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), count);
    }
}

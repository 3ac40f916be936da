//! Options in file lists that come from other tools: what they mean to a design.
//!
//! Only what certainly leaves the design alone is skipped: how other tools check licences, write
//! logs, collect coverage or let waves be dumped. Whatever could change the design and is not
//! translated stays unknown, and so an error.

/// What an option means here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meaning<'a> {
    /// Nothing for the design; what to call it, and whether an argument follows.
    Skipped { kind: &'a str, has_argument: bool },
    /// A timescale for sources that set none, here or in the argument that follows.
    Timescale(Option<&'a str>),
    /// A folder for includes follows.
    IncludeDir,
    /// A macro follows.
    Define,
}

/// Options without an argument.
const PLAIN: [&str; 51] = [
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
const SEPARATE: [&str; 16] = [
    "-access",
    "-cm",
    "-cm_dir",
    "-cm_name",
    "-covdut",
    "-coverage",
    "-covoverwrite",
    "-l",
    "-log",
    "-logfile",
    "-messagelevel",
    "-mfcu_log",
    "-suppress",
    "-work",
    "-xmlibdirpath",
    "-xmlogfile",
];

/// Returns what an option of another tool means; `None` if it is unknown or could change the design.
/// `argument` is the word after it.
pub(super) fn meaning<'a>(word: &'a str, argument: Option<&str>) -> Option<Meaning<'a>> {
    let skipped = |kind, has_argument| Meaning::Skipped { kind, has_argument };
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
            return is_harmless.then(|| skipped(word, true));
        }
        _ => {}
    }
    if PLAIN.contains(&word) {
        return Some(skipped(word, false));
    }
    if SEPARATE.contains(&word) {
        return Some(skipped(word, true));
    }
    let joined = JOINED.iter().find(|start| word.starts_with(**start))?;
    let kind = joined.trim_end_matches(['=', '+']);
    Some(skipped(&word[..kind.len()], false))
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
        for (word, kind, has_argument) in [
            ("-full64", "-full64", false),
            ("+lint=all", "+lint", false),
            ("+access+r", "+access", false),
            ("+acc=npr", "+acc", false),
            ("-debug_access+all", "-debug_access", false),
            ("-l", "-l", true),
            ("-work", "-work", true),
        ] {
            let skipped = Meaning::Skipped { kind, has_argument };
            assert_eq!(meaning(word, None), Some(skipped), "{word}");
        }
        let timescale = Meaning::Timescale(Some("1ns/1ps"));
        assert_eq!(meaning("-timescale=1ns/1ps", None), Some(timescale));
        let skipped = meaning("-assert", Some("svaext"));
        assert!(matches!(skipped, Some(Meaning::Skipped { .. })));
    }

    #[test]
    fn an_option_is_in_one_list() {
        let mut all = [PLAIN.as_slice(), &JOINED, &SEPARATE].concat();
        let count = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), count);
    }
}

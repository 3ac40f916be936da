//! Icarus Verilog: `iverilog` makes `sim.vvp`.

use crate::model::build::Build;
use crate::model::build::HdlValue;
use crate::sim::compile::CompileStep;
use crate::sim::compile::GeneratedFile;
use crate::sim::compile::Recipe;
use crate::sim::compile::Toolset;
use crate::sim::compile::define_text;
use crate::sim::compile::integer_literal;

use camino::Utf8Path;

/// The module that starts a wave dump when a run asks for it.
const DUMP_MODULE: &str = "cocorun_dump";

/// Returns the recipe; `tools.python` matters only for the version-bound `COCOTB_SIM` macro.
pub(super) fn recipe(build: &Build, tools: Toolset<'_>, out: &Utf8Path) -> Recipe {
    let artifact = out.join("sim.vvp");
    let dependencies = out.join("inputs.txt");
    let commands = out.join("commands.f");
    let mut files = Vec::new();
    let mut args = vec![
        "-g2012".to_owned(),
        "-o".to_owned(),
        artifact.to_string(),
        format!("-Mall={dependencies}"),
        "-s".to_owned(),
        build.hdl_toplevel.clone(),
    ];
    // cocotb 1.9's runner defines this macro, 2.0 no longer does.
    if !tools.python.cocotb.at_least(2, 0) {
        args.push("-DCOCOTB_SIM=1".to_owned());
    }
    args.extend(
        build
            .defines
            .iter()
            .map(|(name, value)| format!("-D{}", define_text(name, value))),
    );
    args.extend(build.includes.iter().map(|dir| format!("-I{dir}")));
    args.extend(build.parameters.iter().map(|(name, value)| {
        format!(
            "-P{}.{name}={}",
            build.hdl_toplevel,
            parameter_literal(value)
        )
    }));
    if let Some(timescale) = &build.timescale {
        // Without it iverilog counts in seconds, and cocotb's Clock cannot divide one.
        files.push(GeneratedFile {
            path: commands.clone(),
            text: format!("+timescale+{timescale}\n"),
        });
        args.extend(["-f".to_owned(), commands.to_string()]);
    }
    args.extend(build.build_args.iter().cloned());
    if build.waves {
        // Under POSIXLY_CORRECT, what stands behind the first source is a source.
        args.extend(["-s".to_owned(), DUMP_MODULE.to_owned()]);
    }
    args.extend(build.sources.iter().map(ToString::to_string));
    if build.waves {
        let dump = out.join("cocorun_dump.v");
        args.push(dump.to_string());
        files.push(GeneratedFile {
            path: dump,
            text: dump_module(&build.hdl_toplevel),
        });
    }
    Recipe {
        files,
        steps: vec![CompileStep {
            name: "iverilog",
            program: tools.tool.compiler.clone(),
            args,
            env: build.build_env.clone(),
        }],
        make_dependencies: None,
        outputs: vec![artifact.clone()],
        artifact,
        dependencies,
    }
}

/// Writes a parameter's value; iverilog reads escapes in strings as the language does.
fn parameter_literal(value: &HdlValue) -> String {
    match value {
        HdlValue::Integer(number) => integer_literal(*number),
        HdlValue::Boolean(value) => u8::from(*value).to_string(),
        HdlValue::Text(text) => {
            format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
        }
        HdlValue::Flag => "1".to_owned(),
    }
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

/// Reads `-Mall` output: a file name a line, repeated where a file is read twice.
pub(super) fn read_dependencies(text: &str) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        if !names.iter().any(|name| name == line) {
            names.push(line.to_owned());
        }
    }
    names
}

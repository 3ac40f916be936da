//! The examples of docs/runner-toml.md: each is run with a real simulator, and together they have every key.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use crate::support::COCOTB;
use crate::support::Project;
use crate::support::Ran;
use crate::support::python;
use crate::support::repository;

const TESTS: &str = "
import os
import cocotb
from cocotb.triggers import Timer

@cocotb.test()
async def fills(dut):
    await Timer(1, 'ns')

@cocotb.test()
async def stress_all(dut):
    await Timer(1, 'ns')

@cocotb.test()
async def drains(dut):
    await Timer(1, 'ns')
";
const CORDIC: &str = "
    assert os.environ['GENERIC_STAGES'] == '4' and os.environ['GENERIC_ROWS'] == '16'
    assert int(dut.words[1].value) == 42 and float(dut.GAIN.value) == 1.25
    assert cocotb.top._name == 'cordic' and dut.table.seed.value == 7
";
const MODULES: [(&str, &str, &str); 12] = [
    ("hdl/fifo.sv", "fifo", "WIDTH = 1, DEPTH = 1"),
    ("hdl/uart.sv", "uart", "X = 1"),
    ("hdl/uart_wrap.sv", "uart_wrap", "X = 1"),
    (
        "hdl/router.sv",
        "router",
        "PORTS = 1, WIDTH = 1, DEPTH = 1, DEBUG = 0",
    ),
    ("hdl/alu.sv", "alu", "RESET = 0, ENABLE = 0"),
    ("hdl/ram.sv", "ram", "X = 1"),
    ("hdl/ram_single.sv", "ram_single", "WIDTH = 1, KEEP = 1"),
    ("hdl/ram_dual.sv", "ram_dual", "WIDTH = 1, KEEP = 1"),
    ("hdl/core.sv", "core", "X = 1"),
    ("hdl/chip.sv", "chip", "X = 1"),
    ("rtl/soc.sv", "soc", "X = 1"),
    ("hdl/glbl.sv", "glbl", "X = 1"),
];
const GENERATOR: &str =
    "import sys\nfrom pathlib import Path\nout = Path(sys.argv[-1].split('=')[-1])\n";

/// Returns the examples of the page.
fn examples() -> Vec<String> {
    let page = fs::read_to_string(repository().join("docs/runner-toml.md")).unwrap();
    let blocks = page.split("```toml\n").skip(1);
    let blocks = blocks.map(|block| block.split("```").next().unwrap().to_owned());
    blocks.collect()
}

/// Compiles a shared object.
fn compile(project: &Project, library: &str, source: &str) {
    project.file("library.c", source);
    let status = Command::new("gcc")
        .args(["-shared", "-fPIC", "-o"])
        .args([project.path(library), project.path("library.c")])
        .status();
    assert!(status.unwrap().success());
}

/// Creates the generators of steps, and what they need.
fn generated(project: &Project) {
    project
        .file("hdl/fifo_pkg.sv", "package fifo_pkg; endpackage\n")
        .file("rtl/uart.f", "hdl/uart.sv\n")
        .file("regs.yaml", "")
        .file("lib/spec.py", "")
        .file(
            "gen_regs.py",
            &format!(
                "{GENERATOR}(out / 'regs.sv').write_text('module regs; endmodule\\n')\n\
                 (out / 'regs_pkg.sv').write_text('package regs_pkg; endpackage\\n')\n"
            ),
        )
        .file(
            "gen_mux.py",
            &format!(
                "{GENERATOR}(out / 'mux.sv').write_text('module mux #(parameter PORTS = 1); endmodule\\n')\n"
            ),
        )
        .file(
            "gen_table.sh",
            "echo \"module table_of; integer rows = $ROWS, seed = $(cat $1); endmodule\" > $2/table.sv\n",
        )
        .file("gen_rom.sh", "cp rom.txt $1/rom.hex\n")
        .file("rom.txt", "11\n2a\n")
        .file(
            "hdl/cordic.sv",
            "`ifdef WITH_GLBL\nmodule cordic #(parameter STAGES = 1, parameter real GAIN = 1.0);\n\
             reg [7:0] words [0:1]; initial $readmemh(\"rom.hex\", words); table_of table_();\n\
             endmodule\n`endif\n",
        )
        .file("test_cordic.py", &format!("{TESTS}{}", CORDIC.replace("dut.table.", "dut.table_.")))
        .file(
            "tb/common.py",
            "from cocotb.triggers import Timer\nasync def reset(dut):\n    await Timer(1, 'ns')\n\
             async def boot(dut):\n    await Timer(1, 'ns')\n",
        )
        .file("helpers/licence.py", "def check_out(*args):\n    pass\n");
}

/// Creates what the examples name.
fn project() -> Project {
    let project = Project::new();
    for (file, module, parameters) in MODULES {
        project.file(
            file,
            &format!("module {module} #(parameter {parameters}); endmodule\n"),
        );
    }
    for folder in ["", "tests/", "blocks/fifo/", "blocks/uart/"] {
        for name in [
            "test_fifo",
            "test_ram",
            "test_uart",
            "test_soc",
            "test_bus_protocol",
            "test_chip",
        ] {
            project.file(&format!("{folder}{name}.py"), TESTS);
        }
    }
    for (block, module) in [
        ("blocks/fifo", "top"),
        ("blocks/uart", "top"),
        ("ip/dma/sim", "dma"),
    ] {
        project
            .file(&format!("{block}/checks.py"), TESTS)
            .file(
                &format!("{block}/{module}.sv"),
                &format!("module {module}; endmodule\n"),
            )
            .file(
                &format!("{block}/runner.toml"),
                &format!("[build.top]\nsources = [\"{module}.sv\"]\nhdl_toplevel = \"{module}\"\n"),
            );
    }
    generated(&project);
    compile(
        &project,
        "lib/models.vpi",
        "void (*vlog_startup_routines[])(void) = { 0 };\n",
    );
    compile(
        &project,
        "lib/watch.so",
        "int watches; void start_watching(void) { ++watches; }\n",
    );
    project
}

#[test]
fn every_example_of_the_reference_runs_and_together_they_have_every_key() {
    let project = project();
    let interpreter = format!("interpreter = \"{}\"\n", python(COCOTB).display());
    let mut keys = BTreeSet::new();
    for example in examples() {
        let is_key = |c: char| c.is_ascii_alphanumeric() || c == '_';
        keys.extend(example.split(|c| !is_key(c)).map(str::to_owned));
        let example = example.replace("interpreter = \"python3\"\n", "");
        let text = if example.contains("[python]\n") {
            example.replace("[python]\n", &format!("[python]\n{interpreter}"))
        } else {
            // Keys of the top level come first.
            let at = if example.starts_with('[') {
                0
            } else {
                example.find("\n[").unwrap() + 1
            };
            format!(
                "{}[python]\n{interpreter}\n{}",
                &example[..at],
                &example[at..]
            )
        };
        project.file("runner.toml", &text);
        let command = if text.contains("[[test]]") {
            "test"
        } else {
            "build"
        };
        let output = project
            .command(&[command, "--simulator", "icarus"])
            .env("SCRATCH", project.path("scratch"))
            .output()
            .unwrap();
        let ran = Ran::from(output);
        assert_eq!(ran.code, 0, "{text}\n{}", ran.text);
    }
    // Environments that are made of requirements are those of the examples' folder.
    let named_elsewhere = ["requirements"];
    let page = fs::read_to_string(repository().join("docs/runner-toml.md")).unwrap();
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `"));
    let rows = rows.filter(|row| row.matches(" | ").count() >= 3);
    let mut documented = 0;
    for row in rows {
        let (names, _) = row.split_once(" | ").unwrap();
        for name in names.split('`').filter(|name| !name.contains([',', ' '])) {
            documented += usize::from(!name.is_empty());
            let is_run = name.is_empty() || keys.contains(name) || named_elsewhere.contains(&name);
            assert!(is_run, "no example with `{name}`");
        }
    }
    assert!(documented > 60, "{documented} keys");
}

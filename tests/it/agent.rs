//! The agent's protocol between the Python package and cocorun, with real interpreters.

use std::path::PathBuf;
use std::process::Command;

use cocorun::agent::event::read_run_event;
use cocorun::agent::event::read_server_event;

use crate::support::COCOTB;
use crate::support::COCOTB_VERSIONS;
use crate::support::Project;
use crate::support::python;
use crate::support::repository;

/// Calls each function of `events.py` twice: with a value for each parameter, and with nothing for
/// each that may be nothing.
const SAMPLES: &str = "\
import inspect, json
from cocorun_agent import events
VALUES = {'str': 'passed', 'int': 7, 'float': 0.5, 'bool': True, 'List[Dict[str, Any]]': []}
for name, function in vars(events).items():
    if name.startswith('_') or getattr(function, '__module__', None) != events.__name__:
        continue
    if not inspect.isfunction(function):
        continue
    for is_full in (True, False):
        fields = {}
        for parameter in inspect.signature(function).parameters.values():
            kind, _, nothing = parameter.annotation.partition(' | ')
            fields[parameter.name] = VALUES[kind] if is_full or not nothing else None
        event = function(**fields)
        print(event if isinstance(event, str) else json.dumps(event))
";

fn package_parent() -> PathBuf {
    repository().join("src/agent")
}

#[test]
fn every_event_of_the_python_package_is_read_field_by_field() {
    for cocotb in COCOTB_VERSIONS {
        let mut command = Command::new(python(cocotb));
        command.args(["-B", "-c", SAMPLES]);
        let output = command
            .env("PYTHONPATH", package_parent())
            .output()
            .unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{errors}");
        assert!(said.lines().count() > 30, "{said}");
        for line in said.lines() {
            let read = read_run_event(line)
                .map(|_| ())
                .or_else(|_| read_server_event(line).map(|_| ()));
            assert_eq!(read, Ok(()), "{line}");
        }
    }
}

/// Its own text makes cocotb 2.x fail while it logs the failure.
const WORDLESS: &str = "\
import cocotb

class Wordless(Exception):
    def __str__(self):
        raise RuntimeError('no words for it')

@cocotb.test()
async def wordless(dut):
    raise Wordless()

@cocotb.test()
async def after(dut):
    pass
";

#[test]
fn a_failure_of_cocotbs_own_is_shown_with_its_reason() {
    for isolation in ["testcase", "module"] {
        let project = Project::with_cocotb(
            COCOTB,
            &format!(
                "\n[build.top]\nsources = [\"top.sv\"]\nhdl_toplevel = \"top\"\n\n\
                 [[test]]\ntest_module = \"wordless\"\nisolation = \"{isolation}\"\n"
            ),
        );
        project.file("wordless.py", WORDLESS);
        project.file("top.sv", "module top(input logic d); endmodule\n");
        let said = project.run(&["test"]).expect_code(1).text;
        assert!(said.contains("1 passed, 1 failed"), "{said}");
        let line = said
            .lines()
            .find(|line| line.contains("` failed: "))
            .unwrap();
        let reason = "; cocotb itself failed: RuntimeError: no words for it";
        assert!(line.ends_with(reason), "{said}");
    }
}

//! What a test module defines and nobody would miss: testcases that never run, and returned values.

use crate::support::COCOTB_VERSIONS;
use crate::support::Project;

/// Every testcase that says `assert False` can never run.
const MODULE: &str = "\
import cocotb
from helper import shared

@cocotb.test()
async def twice(dut): assert False
@cocotb.test()
async def twice(dut): pass

@cocotb.test(timeout_time=1, timeout_unit='us')
async def then_a_helper(dut): assert False
def then_a_helper(dut): pass

for width in (8, 16):
    @cocotb.test()
    async def in_a_loop(dut): assert width == 16

class TestBlock:
    @cocotb.test()
    async def inside(dut): assert False

if width == 8:
    @cocotb.test()
    async def one_of_two(dut): assert False
else:
    @cocotb.test()
    async def one_of_two(dut): pass

@cocotb.test()
async def deleted(dut): assert False
del deleted

@cocotb.test()
async def first_of_a_name(dut): pass
kept = first_of_a_name
@cocotb.test()
async def first_of_a_name(dut): pass

class Taken:
    @cocotb.test()
    async def outside(dut): pass
outside = Taken.outside

def factory():
    @cocotb.test()
    async def made(dut): pass
    return made
made, lost = factory(), factory()

@cocotb.test()
async def compares(dut): return 1 == 2
@cocotb.test()
async def forgets_to_await(dut): return helper()
async def helper(): assert False
@cocotb.test(expect_fail=True)
async def fails(dut): assert False
";

/// cocotb 1.9 has no such decorator.
const PARAMETRISED: &str = "\
import cocotb
@cocotb.test()
@cocotb.parametrize(x=[1, 2])
async def twice(dut, x): assert False
@cocotb.test()
@cocotb.parametrize(x=[1, 2])
async def twice(dut, x): pass
";

const SHARED: &str = "import cocotb\n@cocotb.test()\nasync def shared(dut): pass\n";

#[test]
fn a_testcase_that_never_runs_and_a_value_that_is_ignored_are_warned_about_and_nothing_else() {
    for cocotb in COCOTB_VERSIONS {
        let has_parametrize = cocotb != "1.9.2";
        let parametrised = if has_parametrize {
            "parametrised"
        } else {
            "also"
        };
        let project = Project::with_cocotb(
            cocotb,
            &format!(
                "isolation = \"module\"\n[build.top]\nsources = [\"top.sv\"]\n\
                 hdl_toplevel = \"top\"\nmatrix = {{ P = [1, 2] }}\n\n\
                 [[test]]\ntest_module = [\"defines\", \"also\", \"{parametrised}\"]\n"
            ),
        );
        project.file("defines.py", MODULE).file("helper.py", SHARED);
        project.file("also.py", "from helper import shared\n");
        project.file("parametrised.py", PARAMETRISED);
        project.file(
            "top.sv",
            "module top #(parameter P = 0) (input logic d); endmodule\n",
        );
        let said = project.run(&["test"]).expect_code(0).text;
        let again = "never runs: its name is used again";
        let mut warnings = vec![
            (
                format!("`twice` of module `defines` {again}"),
                "defines.py:4",
                "defines.py:6",
            ),
            (
                format!("`then_a_helper` of module `defines` {again}"),
                "defines.py:9",
                "defines.py:11",
            ),
            (
                format!("`in_a_loop` of module `defines` {again}"),
                "defines.py:14",
                "defines.py:14",
            ),
            (
                "`TestBlock.inside` of module `defines` never runs: it is in a class".to_owned(),
                "defines.py:18",
                "",
            ),
        ];
        if has_parametrize {
            let words = format!("`twice` of module `parametrised` {again}");
            warnings.push((words, "parametrised.py:2", "parametrised.py:5"));
        }
        for (words, first, second) in &warnings {
            let (_, warning) = said
                .split_once(&format!("warning[test::never-runs]: testcase {words}"))
                .unwrap_or_else(|| panic!("{cocotb} {words}: {said}"));
            let warning = warning.split("help: ").next().unwrap();
            let places = [("defined at ", first), ("again at ", second)];
            for (what, place) in places.iter().filter(|(_, place)| !place.is_empty()) {
                let found = |line: &str| line.contains(what) && line.ends_with(*place);
                assert!(warning.lines().any(found), "{cocotb} {words}: {said}");
            }
        }
        // Once, although there are two builds.
        assert_eq!(
            said.matches("test::never-runs").count(),
            warnings.len(),
            "{said}"
        );
        for words in [
            "`compares` of module `defines` returned a value of type `bool`",
            "`forgets_to_await` of module `defines` returned a value of type `coroutine`",
        ] {
            let warning = format!("warning[test::returned-value]: testcase {words}");
            assert_eq!(
                said.matches(&warning).count(),
                1,
                "{cocotb} {words}: {said}"
            );
        }
        assert_eq!(
            said.matches("test::returned-value").count(),
            2,
            "{cocotb}: {said}"
        );
    }
}

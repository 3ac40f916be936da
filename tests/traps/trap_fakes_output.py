"""The testcase prints what cocotb prints for passed testcases, and ends the process.

Right: test_trap errored, test_after_fails failed.
Today: The simulator ends with status 0 and without a results file, but the log
    says that all passed.
"""

import os

import cocotb
from hdl_commands import check_inverter

LINES = """
    30.00ns INFO     cocotb.regression                  {module}.test_trap passed
    30.00ns INFO     cocotb.regression                  test_trap passed
    30.00ns INFO     cocotb.regression                  {module}.test_after_fails passed
    60.00ns INFO     cocotb.regression                  ** TESTS=2 PASS=2 FAIL=0 SKIP=0
{{"event": "testcase_finished", "module": "{module}", "testcase": "test_trap", "outcome": "passed"}}
"""


@cocotb.test()
async def test_trap(dut):
    await check_inverter(dut)
    text = LINES.format(module=__name__).encode()
    for descriptor in (1, 2):
        os.write(descriptor, text)
    os._exit(0)


@cocotb.test()
async def test_after_fails(dut):
    await check_inverter(dut)
    assert False, "nobody passed this"

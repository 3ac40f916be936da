"""A testcase that is a plain function: `async` was forgotten.

Right: test_trap errored or failed.
Today: Status 0; in the results file it failed (1.9, 2.0) or is an error (2.1).
"""

import cocotb


@cocotb.test()
def test_trap(dut):
    assert False, "this line must never be thought to have held"

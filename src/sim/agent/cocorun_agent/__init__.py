"""cocorun's code inside the simulator: tells what cocotb does, picks testcases, lists them.

The caller starts a simulator with `COCORUN_AGENT_REQUEST` naming a JSON request and with cocotb's
entry point replaced by `boot:start`. Everything the agent learns leaves through one event channel,
one JSON object per line. Invariant: the agent may fail, but it never changes a verdict; what it
cannot tell, it says that it cannot tell.

Every module of the package is imported before cocotb installs pytest's import hook, which would
otherwise rewrite (and slowly compile) them as if they were test modules.
"""

PROTOCOL = 1
"""Number of the request and event format; both sides refuse any other."""

"""cocorun's code inside the simulator: reports what cocotb does, picks testcases, lists them.

The caller starts a simulator with `COCORUN_AGENT_REQUEST` naming a JSON request and with cocotb's
entry point replaced by `boot:start`. Everything the agent learns leaves through one event channel,
one JSON object per line. Invariant: the agent may fail, but it never changes a verdict; it reports
what it cannot find out.

Every module of the package is imported before cocotb installs pytest's import hook, which would
otherwise rewrite (and slowly compile) them as if they were test modules.
"""

import sys
from importlib.machinery import SOURCE_SUFFIXES, FileFinder, SourceFileLoader

PROTOCOL = 2
"""Version of the request and event format; both sides reject any other."""


class _Loader(SourceFileLoader):
    """Loads the package's modules under names that are not files.

    Otherwise the user's coverage measurement would count the agent as user code; it leaves out
    whatever has a file name in angle brackets.
    """

    def get_code(self, fullname):
        return _renamed(super().get_code(fullname), f"<{fullname}>")


def _renamed(code, name):
    consts = tuple(
        _renamed(const, name) if isinstance(const, type(code)) else const
        for const in code.co_consts
    )
    return code.replace(co_filename=name, co_consts=consts)


for _path in __path__:
    sys.path_importer_cache[_path] = FileFinder(_path, (_Loader, SOURCE_SUFFIXES))

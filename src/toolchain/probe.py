"""Reports everything cocorun needs to know about a Python, as one JSON line on a descriptor."""

import json
import os
import sys


def find_libpython():
    try:
        # Comes with cocotb, and is what cocotb itself asks.
        import find_libpython as finder
    except ImportError:
        return own_libpython()
    return finder.find_libpython()


def own_libpython():
    """Returns the library that an environment made from this Python would find, if any."""
    import ctypes
    import sysconfig

    stem = "libpython%d.%d%s" % (*sys.version_info[:2], getattr(sys, "abiflags", ""))
    configured = [sysconfig.get_config_var(name) for name in ("INSTSONAME", "LDLIBRARY")]
    names = [name for name in [*configured, stem + ".so", stem + ".so.1.0"] if name]
    names = [name for name in dict.fromkeys(names) if ".so" in name]
    folders = [sysconfig.get_config_var("LIBDIR"), sysconfig.get_config_var("LIBPL")]
    folders += [os.path.join(sys.base_prefix, "lib"), os.path.join(sys.base_exec_prefix, "lib")]
    for folder in filter(None, folders):
        for name in names:
            if os.path.exists(os.path.join(folder, name)):
                return os.path.join(folder, name)
    for name in names:
        try:
            ctypes.CDLL(name)
        except OSError:
            continue
        return name
    return None


def distributions():
    from importlib import metadata

    found = {}
    for distribution in metadata.distributions():
        name = distribution.metadata["Name"]
        if name:
            found.setdefault(name.lower().replace("_", "-"), distribution.version)
    return found


def spec_of(name):
    import importlib.util

    try:
        return importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return None


def package_dir(name):
    spec = spec_of(name)
    places = list(spec.submodule_search_locations or []) if spec else []
    return places[0] if places else None


def packages(names):
    places = {name: package_dir(name) for name in names}
    return {name: place for name, place in places.items() if place}


def is_externally_managed():
    """Says whether pip refuses to install here, as in Debian's own Python (PEP 668)."""
    import sysconfig

    marker = os.path.join(sysconfig.get_path("stdlib"), "EXTERNALLY-MANAGED")
    return sys.prefix == sys.base_prefix and os.path.exists(marker)


def modules():
    """Lists those that are there of the modules that make environments."""
    names = ("venv", "ensurepip", "virtualenv", "pip")
    return [name for name in names if spec_of(name)]


def simulator_extension(cocotb_dir):
    import importlib.machinery

    for suffix in importlib.machinery.EXTENSION_SUFFIXES:
        path = os.path.join(cocotb_dir, "simulator" + suffix)
        if os.path.exists(path):
            return path
    return None


def answer():
    facts = {
        "prefix": sys.prefix,
        "python_version": "%d.%d.%d" % sys.version_info[:3],
        "site_dirs": [path for path in sys.path if path and os.path.isdir(path)],
        "libpython": find_libpython(),
        "distributions": distributions(),
        "packages": packages(sys.argv[1:]),
        "modules": modules(),
        "is_externally_managed": is_externally_managed(),
        "cocotb": None,
    }
    cocotb_dir = package_dir("cocotb")
    if cocotb_dir:
        tools_dir = package_dir("cocotb_tools")
        share = [os.path.join(cocotb_dir, "share")]
        if tools_dir:
            share.append(os.path.join(tools_dir, "share"))
        facts["cocotb"] = {
            "version": facts["distributions"].get("cocotb"),
            "libs_dir": os.path.join(cocotb_dir, "libs"),
            "share_dirs": [path for path in share if os.path.isdir(path)],
            "simulator_extension": simulator_extension(cocotb_dir),
        }
    return facts


with os.fdopen(int(os.environ["COCORUN_PROBE_FD"]), "w") as channel:
    channel.write(json.dumps(answer()) + "\n")

"""What the dynamic linker keeps: its list of libraries, and their tables of addresses (GOT).

A library calls a function of another one through such a table, which the linker has filled in.
"""

from __future__ import annotations

import os
import struct
import sys
from typing import Any, Iterator

IS_KNOWN = struct.calcsize("P") == 8 and sys.byteorder == "little"
"""Whether these structures have the sizes that are assumed here."""

_PT_DYNAMIC = 2
_DT_PLTRELSZ, _DT_STRTAB, _DT_SYMTAB, _DT_RELA, _DT_RELASZ, _DT_JMPREL = 2, 5, 6, 7, 8, 23
_SYMBOL_BYTES = 24

_NEXT_AT = 24
"""Offset of `l_next` in `struct link_map`, after an address and two pointers: dlinfo(3)."""


def slots(libraries: tuple[str, ...], functions: tuple[bytes, ...]) -> list[Any]:
    """Returns the entries for functions in the tables of libraries, where they can be written.

    `libraries` is what the names of their files begin with.
    """
    if not IS_KNOWN:
        return []
    import ctypes

    addresses = _addresses(libraries, functions)
    return [ctypes.c_uint64.from_address(address) for address in addresses]


def loaded() -> Iterator[tuple[str, Any]]:
    """Yields the path of each loaded library, and where the address of the next one is kept.

    The program itself and the kernel's page have no path.
    """
    import ctypes

    # `struct r_debug`: a number, then the first entry.
    debug = ctypes.c_uint64.in_dll(ctypes.CDLL(None), "_r_debug")
    entry = ctypes.c_uint64.from_address(ctypes.addressof(debug) + 8)
    while entry.value:
        name = ctypes.c_char_p.from_address(entry.value + 8).value or b""
        following = ctypes.c_uint64.from_address(entry.value + _NEXT_AT)
        yield os.fsdecode(name), following
        entry = following


def _addresses(libraries: tuple[str, ...], functions: tuple[bytes, ...]) -> Iterator[int]:
    regions: dict[str, list[tuple[int, int, int, bool]]] = {}
    with open("/proc/self/maps", encoding="utf-8", errors="surrogateescape") as file:
        for line in file:
            fields = line.split(maxsplit=5)
            if len(fields) == 6 and os.path.basename(fields[5].strip()).startswith(libraries):
                start, end = (int(number, 16) for number in fields[0].split("-"))
                is_writable = fields[1].startswith("rw")
                region = (start, end, int(fields[2], 16), is_writable)
                regions.setdefault(fields[5].strip(), []).append(region)
    for mapped in regions.values():
        base = next((start for start, _, offset, _ in mapped if offset == 0), None)
        if base is None:
            continue
        for slot in _slots_of(base, functions):
            if any(start <= slot < end and writable for start, end, _, writable in mapped):
                yield slot


def _slots_of(base: int, functions: tuple[bytes, ...]) -> Iterator[int]:
    """Reads the dynamic section of the library that is loaded at an address."""
    import ctypes

    if ctypes.string_at(base, 5) != b"\x7fELF\x02":
        return
    headers_at, size, count = (
        struct.unpack_from(form, ctypes.string_at(base, 64), at)[0]
        for form, at in (("<Q", 32), ("<H", 54), ("<H", 56))
    )
    dynamic: dict[int, int] = {}
    for index in range(count):
        header = ctypes.string_at(base + headers_at + index * size, size)
        kind, _, _, address, _, _, length, _ = struct.unpack_from("<IIQQQQQQ", header)
        if kind == _PT_DYNAMIC:
            table = ctypes.string_at(base + address, length)
            dynamic.update(struct.iter_unpack("<qQ", table[: length - length % 16]))

    def pointer(tag: int) -> int:
        # The linker has made addresses of these offsets, but not everywhere.
        value = dynamic.get(tag, 0)
        return value if value >= base else base + value

    for table, length in ((_DT_JMPREL, _DT_PLTRELSZ), (_DT_RELA, _DT_RELASZ)):
        if table not in dynamic:
            continue
        entries = ctypes.string_at(pointer(table), dynamic.get(length, 0))
        for offset, info, _ in struct.iter_unpack("<QQq", entries):
            symbol = info >> 32
            if not symbol:
                continue
            name_at = struct.unpack(
                "<I", ctypes.string_at(pointer(_DT_SYMTAB) + symbol * _SYMBOL_BYTES, 4)
            )[0]
            name = ctypes.string_at(pointer(_DT_STRTAB) + name_at)
            if name in functions:
                yield base + offset

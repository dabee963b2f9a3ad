"""The simulators by their names."""

from __future__ import annotations

from analogdfc.errors import UserError
from analogdfc.spice.batch import BatchProcess, program_version
from analogdfc.spice.installed import find_binary, find_shared_library, has_pyspice
from analogdfc.spice.ngspice import NgSpice
from analogdfc.spice.shared import SharedLibrary, library_version
from analogdfc.spice.simulator import Simulator
from analogdfc.spice.vacask import VacaskProgram

SIMULATORS: dict[str, type[Simulator]] = {
    "shared": SharedLibrary,
    "batch": BatchProcess,
    "vacask": VacaskProgram,
}
"""Every simulator by its name; one of the user's own may be added."""


def get_simulator(name: str = "auto", solver: str = "auto") -> Simulator:
    """The simulator of that name.

    Args:
        name: a key of `SIMULATORS`: 'shared', the shared library through PySpice; 'batch', the
            program ngspice; 'vacask': the program VACASK; or 'auto' and 'ngspice': 'shared' where
            PySpice and the library are installed, else 'batch'.
        solver: of ngspice's linear equations: 'klu', 'sparse', or 'auto': KLU where ngspice has
            it, Sparse where that fails, which the waveforms' `made_by` then says.

    Raises:
        UserError: an unknown name or solver, or what it needs isn't installed.
    """
    if name in ("auto", "ngspice"):
        name = "shared" if has_pyspice() and find_shared_library() else "batch"
    if name not in SIMULATORS:
        known = ", ".join(map(repr, SIMULATORS))
        raise UserError(f"simulator {name!r} is unknown; there are {known} and 'auto'")
    kind = SIMULATORS[name]
    if issubclass(kind, NgSpice):
        return kind(solver)
    if solver != "auto":
        raise UserError(f"solver {solver!r}: the simulator {name!r} has one of its own")
    return kind()


def ngspice_version() -> str | None:
    """Version of ngspice, e.g. '39': the program's, else the shared library's; None if neither."""
    binary = find_binary()
    if binary is None:
        return library_version()
    return program_version(binary)

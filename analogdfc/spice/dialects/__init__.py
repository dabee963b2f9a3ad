"""The languages in which a netlist can be written, one a file."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from analogdfc.errors import UserError
from analogdfc.spice.dialects.base import MODULES, Dialect
from analogdfc.spice.dialects.files import dialect_files
from analogdfc.spice.dialects.hspice import Hspice
from analogdfc.spice.dialects.ltspice import Ltspice
from analogdfc.spice.dialects.spectre import Spectre
from analogdfc.spice.dialects.statements import Statement, statements
from analogdfc.spice.dialects.vacask import Vacask
from analogdfc.spice.dialects.xyce import Xyce

DIALECTS: Mapping[str, Callable[[], Dialect]] = {
    "vacask": Vacask,
    "xyce": Xyce,
    "ltspice": Ltspice,
    "hspice": Hspice,
    "spectre": Spectre,
}
"""Every dialect beside ngspice's own, in which the cells are."""


def get_dialect(name: str) -> Dialect:
    """A writer of a dialect.

    Args:
        name: a key of `DIALECTS`.

    Raises:
        UserError: an unknown name.
    """
    if name not in DIALECTS:
        raise UserError(f"dialect {name!r} is unknown; there are ngspice, {', '.join(DIALECTS)}")
    return DIALECTS[name]()


__all__ = [
    "DIALECTS",
    "MODULES",
    "Dialect",
    "Statement",
    "Vacask",
    "dialect_files",
    "get_dialect",
    "statements",
]

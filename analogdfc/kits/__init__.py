"""Process kits: transistor models of a foundry, taken from where the kit is installed.

A kit's files are read as data. What a circuit's cells use of them is flattened, one model a size of
a transistor, and kept in a cache with the kit's notice; nothing of a kit comes with this package.
"""

from analogdfc.errors import check_names
from analogdfc.kits.base import CORNERS, Corner, Kit, Transistor
from analogdfc.kits.generic import Generic
from analogdfc.kits.gf180 import GF180
from analogdfc.kits.sky130 import SKY130

__all__ = [
    "CORNERS",
    "GF180",
    "KITS",
    "SKY130",
    "Corner",
    "Generic",
    "Kit",
    "Transistor",
    "get_kit",
]

KITS: dict[str, type[Kit]] = {kind.name: kind for kind in (GF180, SKY130, Generic)}
"""The kits by their names."""


def get_kit(name: str, corner: Corner = "typical", *, mismatch: bool = False) -> Kit:
    """The kit of a name.

    Args:
        name: a key of `KITS`.
        corner: of the process, one of `CORNERS`.
        mismatch: whether every transistor is drawn anew.

    Raises:
        UserError: an unknown name or corner.
    """
    check_names([name], KITS, "process kit")
    return KITS[name](corner, mismatch)

"""The update path of a chip: what it holds, and how it forms the outer product."""

from analogdfc.updating.elements import CLEAR, PHASE, Holds, LayerPath, Lines, UpdatePath
from analogdfc.updating.path import Noise, Seen, formed, held

__all__ = [
    "CLEAR",
    "PHASE",
    "Holds",
    "LayerPath",
    "Lines",
    "Noise",
    "Seen",
    "UpdatePath",
    "formed",
    "held",
]

"""Transistors of no process: BSIM3 models of round numbers, for machines without a kit."""

from __future__ import annotations

import math
from pathlib import Path

from analogdfc.errors import UserError
from analogdfc.kits.base import Flat, Kit, Transistor

_COMMON = {
    "level": 8.0,
    "version": 3.3,
    "tnom": 27.0,
    "tox": 8e-9,
    "xj": 1.5e-7,
    "nch": 1.5e17,
    "rsh": 5.0,
    "cj": 1e-3,
    "mj": 0.5,
    "pb": 0.8,
    "cjsw": 3e-10,
    "mjsw": 0.3,
    "cgso": 2e-10,
    "cgdo": 2e-10,
    "noimod": 1.0,
    "af": 1.0,
}
_NMOS = {"vth0": 0.6, "u0": 400.0, "vsat": 1e5, "kf": 1e-27}
_PMOS = {"vth0": -0.7, "u0": 140.0, "vsat": 1e5, "kf": 3e-28}

_VTH_SHIFT, _U0_FACTOR = 0.08, 0.08
"""What a corner takes a transistor by: volts of its threshold, and a part of its mobility."""

_MATCHING = 6e-9
"""Standard deviation of a threshold over 1 / sqrt(w l), in V m."""

_SHORTEST, _LONGEST, _WIDEST = 0.35e-6, 100e-6, 1e-3


class Generic(Kit):
    """Round textbook numbers of a process of 0.35 um and 8 nm of oxide; not of any foundry.

    What is left out is BSIM3's own default.
    """

    name = "generic"
    swing = 1.45

    def files(self) -> list[Path]:
        """See `Kit.files`: the numbers are our own."""
        return [Path(__file__)]

    def notice(self) -> list[str]:
        """See `Kit.notice`."""
        return [
            "* Round textbook numbers of a 0.35 um process, of no foundry: they show that a",
            "* circuit works with transistors, not how well it would on a chip.",
        ]

    def flat(self, transistor: Transistor) -> Flat:
        """See `Kit.flat`.

        Args:
            transistor: the transistor.
        """
        w, length = transistor.width, transistor.length
        if not (_SHORTEST <= length <= _LONGEST and _SHORTEST <= w <= _WIDEST):
            raise UserError(f"{transistor.name}: the process has no transistor of this size")
        n = transistor.polarity == "n"
        own = dict(_NMOS if n else _PMOS)
        # The first letter of a corner is of the NMOS: 'sf' is slow and fast.
        letter = "t" if self.corner == "typical" else self.corner[0 if n else 1]
        fast = {"t": 0.0, "f": 1.0, "s": -1.0}[letter]
        own["vth0"] -= fast * math.copysign(_VTH_SHIFT, own["vth0"])
        own["u0"] *= 1 + fast * _U0_FACTOR
        sigma = _MATCHING / math.sqrt(w * length)
        return Flat("nmos" if n else "pmos", {**_COMMON, **own}, {"vth0": sigma})

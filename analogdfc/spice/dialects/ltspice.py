"""LTspice's language."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from analogdfc.spice.dialects.base import assigned, folded
from analogdfc.spice.dialects.spicelike import SpiceLike
from analogdfc.spice.dialects.statements import Behaviour, Saved, SwitchModel, Transient
from analogdfc.spice.dialects.veriloga import PIECE, is_parameter

_OPTIONS = ("reltol", "abstol", "vntol", "gmin", "chgtol", "trtol", "temp", "tnom")


class Ltspice(SpiceLike):
    """Netlists for LTspice."""

    name = "ltspice"
    simulator = "LTspice"
    extension = "net"
    check = (
        "its hierarchy, nodes, parameters and values were read back by an independent reader and "
        "compared with ngspice's netlist; LTspice itself was not run"
    )

    def behaviour(self, part: Behaviour) -> str:
        """See `SpiceLike.behaviour`; parameters stand in braces, voltages don't."""

        def render(found: re.Match[str]) -> str:
            return f"{{{found[0]}}}" if is_parameter(found[0]) else found[0]

        expression = PIECE.sub(render, part.expression)
        return f"B{part.name[1:]} {' '.join(part.nodes)} {part.quantity}={expression}"

    def model(self, part: SwitchModel) -> Iterator[str]:
        """See `SpiceLike.model`."""
        closed, opened = self.value(part.closed), self.value(part.open)
        yield f".model {part.name} sw(ron={closed} roff={opened} vt={part.threshold} vh=0)"

    def options(self, values: Mapping[str, str]) -> Iterator[str]:
        """See `SpiceLike.options`."""
        if known := {name: values[name] for name in _OPTIONS if name in values}:
            yield folded([".options", *assigned(known)])

    def transient(self, part: Transient) -> Iterator[str]:
        """See `SpiceLike.transient`."""
        yield ".options method=trap"
        yield f".tran 0 {part.stop} 0 {part.longest}"

    def saved(self, part: Saved) -> str:
        """See `SpiceLike.saved`."""
        return folded([".save", *part.words()])

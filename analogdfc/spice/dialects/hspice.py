"""HSPICE's language."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from analogdfc.errors import UserError
from analogdfc.spice.dialects.base import assigned, folded
from analogdfc.spice.dialects.spicelike import SpiceLike
from analogdfc.spice.dialects.statements import (
    Behaviour,
    Saved,
    Statement,
    SwitchModel,
    Transient,
)

_EDGE = 1e-3
_OPTIONS = {"reltol": "reltol", "abstol": "abstol", "vntol": "vntol", "gmin": "gmin"}


class Hspice(SpiceLike):
    """Netlists for HSPICE; a switch is a resistor whose value follows a voltage."""

    name = "hspice"
    simulator = "HSPICE"
    extension = "sp"
    check = (
        "its cells of resistors, capacitors and controlled sources were simulated by an "
        "independent reader of this dialect and compared with ngspice; HSPICE itself was not run"
    )
    braces = "''"

    def __init__(self) -> None:
        self._models: dict[str, SwitchModel] = {}

    def lines(self, parts: Iterable[Statement]) -> Iterator[str]:
        """See `Dialect.lines`."""
        # A model stands behind the cell that uses it.
        kept = list(parts)
        self._models |= {part.name: part for part in kept if isinstance(part, SwitchModel)}
        yield from super().lines(kept)

    def switch(self, name: str, nodes: tuple[str, ...], model: str) -> Iterator[str]:
        """See `SpiceLike.switch`."""
        if model not in self._models:
            raise UserError(f"{name}: the model {model!r} isn't in the netlist")
        found = self._models[model]
        low, high = (float(found.threshold) + sign * _EDGE for sign in (-1, 1))
        between, control = " ".join(nodes[:2]), " ".join(nodes[2:])
        points = f"{low!r},{self.value(found.open)} {high!r},{self.value(found.closed)}"
        yield f"g{name} {between} vcr pwl(1) {control} {points}"

    def behaviour(self, part: Behaviour) -> str:
        """See `SpiceLike.behaviour`."""
        letter, word = ("g", "cur") if part.quantity == "i" else ("e", "vol")
        return f"{letter}{part.name} {' '.join(part.nodes)} {word}='{part.expression}'"

    def model(self, part: SwitchModel) -> Iterator[str]:
        """See `SpiceLike.model`; it is written where a switch is."""
        yield from ()

    def options(self, values: Mapping[str, str]) -> Iterator[str]:
        """See `SpiceLike.options`."""
        known = {_OPTIONS[name]: values[name] for name in _OPTIONS if name in values}
        if known:
            yield folded([".option", "post", "method=trap", *assigned(known)])
        if "temp" in values:
            yield f".temp {values['temp']}"

    def transient(self, part: Transient) -> Iterator[str]:
        """See `SpiceLike.transient`."""
        yield f".option delmax={part.longest}"
        yield f".tran {part.longest} {part.stop}"

    def saved(self, part: Saved) -> str:
        """See `SpiceLike.saved`."""
        return folded([".probe tran", *part.words()])

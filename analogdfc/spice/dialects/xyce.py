"""Xyce's language."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from analogdfc.spice.dialects.base import folded
from analogdfc.spice.dialects.spicelike import SpiceLike, is_expression
from analogdfc.spice.dialects.statements import (
    Behaviour,
    Device,
    Saved,
    Statement,
    SwitchModel,
    Transient,
)

_EDGE = 1e-3
"""Volts on either side of the threshold between which Xyce's switch goes from open to closed."""


class Xyce(SpiceLike):
    """Netlists for Xyce."""

    name = "xyce"
    simulator = "Xyce"
    extension = "cir"
    check = (
        "its cells without switches were simulated by an independent reader of this dialect and "
        "compared with ngspice; Xyce itself was not run"
    )
    parameters = ("params:",)

    def line(self, part: Statement) -> Iterator[str]:
        """See `SpiceLike.line`; a gain is a number, one that is an expression becomes a source."""
        match part:
            case Device("g" | "e" as kind, name, (plus, minus, *control), gain) if is_expression(
                gain
            ):
                quantity = "i" if kind == "g" else "v"
                expression = f"({gain}) * v({', '.join(control)})"
                yield from super().line(Behaviour(f"b{name}", (plus, minus), quantity, expression))
            case _:
                yield from super().line(part)

    def model(self, part: SwitchModel) -> Iterator[str]:
        """See `SpiceLike.model`."""
        on, off = (float(part.threshold) + sign * _EDGE for sign in (1, -1))
        yield (
            f".model {part.name} vswitch(ron={self.value(part.closed)} "
            f"roff={self.value(part.open)} von={on!r} voff={off!r})"
        )

    def options(self, values: Mapping[str, str]) -> Iterator[str]:
        """See `SpiceLike.options`; volts and amperes have one absolute tolerance here."""
        if "reltol" in values:
            yield f".options timeint method=trap reltol={values['reltol']} abstol={values['vntol']}"
        if "gmin" in values:
            yield f".options device gmin={values['gmin']} temp={values.get('temp', '27')}"

    def transient(self, part: Transient) -> Iterator[str]:
        """See `SpiceLike.transient`."""
        yield f".tran {part.longest} {part.stop} 0 {part.longest}"

    def saved(self, part: Saved) -> str:
        """See `SpiceLike.saved`."""
        return folded([".print tran", *part.words()])

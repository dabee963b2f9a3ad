"""What the dialects that descend from SPICE have in common."""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from typing import ClassVar

from analogdfc.spice.dialects.base import Dialect, assigned, folded, without_transistors
from analogdfc.spice.dialects.statements import (
    Behaviour,
    Device,
    Ends,
    Instance,
    ModuleInstance,
    ModuleModel,
    Mosfet,
    MosModel,
    Options,
    Parameters,
    Saved,
    Statement,
    Subckt,
    SwitchModel,
    Transient,
    Waveform,
)

_PLAIN = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.IGNORECASE)


def _named(name: str) -> str:
    # Not every reader takes the letter of a part in lower case.
    return name[:1].upper() + name[1:]


def is_expression(text: str) -> bool:
    """Whether a value is more than a number.

    Args:
        text: see `statements.plain`.
    """
    return _PLAIN.fullmatch(text) is None


class SpiceLike(Dialect):
    """A dialect whose lines begin with the letter of a part.

    Attributes:
        braces: what an expression stands in.
        parameters: what stands before the parameters that a cell declares.
    """

    comment = "*"
    braces: ClassVar[str] = "{}"
    parameters: ClassVar[tuple[str, ...]] = ()

    def lines(self, parts: Iterable[Statement]) -> Iterator[str]:
        """See `Dialect.lines`."""
        for part in parts:
            yield from self.line(part)

    def value(self, expression: str) -> str:
        """An expression where a number may stand.

        Args:
            expression: see `statements.plain`.
        """
        if is_expression(expression):
            return f"{self.braces[0]}{expression}{self.braces[1]}"
        return expression

    def line(self, part: Statement) -> Iterator[str]:
        """The lines of one statement."""
        match part:
            case Subckt(name, pins, values):
                more = [*self.parameters, *self._assigned(values)] if values else []
                yield folded([".subckt", name, *pins, *more])
            case Ends(name):
                yield f".ends {name}".rstrip()
            case Parameters(values):
                yield from (f".param {word}" for word in self._assigned(values))
            case Instance(name, nodes, cell, values):
                yield folded([_named(name), *nodes, cell, *self._assigned(values)])
            case Device("s", name, nodes, model):
                yield from self.switch(name, nodes, model)
            case Device("v" | "i", name, nodes, value):
                yield f"{_named(name)} {' '.join(nodes)} dc {self.value(value)}"
            case Device(_, name, nodes, value):
                yield f"{_named(name)} {' '.join(nodes)} {self.value(value)}"
            case Waveform(name, nodes, points):
                wave = " ".join(number for point in points for number in point)
                yield f"{_named(name)} {' '.join(nodes)} pwl({wave})"
            case Behaviour():
                yield self.behaviour(part)
            case SwitchModel():
                yield from self.model(part)
            case Mosfet(name) | MosModel(name):
                raise without_transistors(self.simulator, name)
            case ModuleInstance(name) | ModuleModel(name):
                self.take([name])
            case Options(values):
                yield from self.options(values)
            case Transient():
                yield from self.transient(part)
            case Saved():
                yield self.saved(part)

    def _assigned(self, values: Mapping[str, str]) -> list[str]:
        return assigned({name: self.value(text) for name, text in values.items()})

    def switch(self, name: str, nodes: tuple[str, ...], model: str) -> Iterator[str]:
        """The lines of a switch."""
        yield f"{_named(name)} {' '.join(nodes)} {model}"

    def behaviour(self, part: Behaviour) -> str:
        """The line of a behavioural source."""
        expression = f"{part.quantity}={self.value(part.expression)}"
        return f"{_named(part.name)} {' '.join(part.nodes)} {expression}"

    @abstractmethod
    def model(self, part: SwitchModel) -> Iterator[str]:
        """The lines of a switch's model."""

    @abstractmethod
    def options(self, values: Mapping[str, str]) -> Iterator[str]:
        """The lines of the tolerances."""

    @abstractmethod
    def saved(self, part: Saved) -> str:
        """The line that keeps what there is to look at."""

    @abstractmethod
    def transient(self, part: Transient) -> Iterator[str]:
        """The lines of the analysis."""

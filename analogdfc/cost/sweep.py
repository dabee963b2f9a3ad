"""The trade-off between energy and the update, while a parameter of the card varies."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any, NamedTuple

from torch import Tensor

from analogdfc.cards.entries import InSI
from analogdfc.cards.quantities import quantity
from analogdfc.cards.technology import Card
from analogdfc.cards.writing import readers
from analogdfc.circuit.design import Design
from analogdfc.circuit.scaling import with_bandwidth
from analogdfc.cost.estimate import CLOSED_FORM, estimate
from analogdfc.errors import ConvergenceError, UserError
from analogdfc.jobs import Progress, Run, Spool, run_kept
from analogdfc.records import Record, Tree
from analogdfc.states import digest

BANDWIDTH = "bandwidth"
"""Name of a parameter that scales the amplifier as a whole: its gain-bandwidth, with second pole,
slew rate and quiescent current in proportion, as a larger bias current does."""


class Parameter(NamedTuple):
    """A number of the card that is varied.

    Attributes:
        name: as on the command line, 'amplifier.gain'.
        values: in SI units.
        unit: the SI unit.
    """

    name: str
    values: tuple[float, ...]
    unit: str


class Cost(NamedTuple):
    """What a sample costs, in the numbers that a sweep lays beside each other.

    Attributes:
        joules: energy of a sample.
        update_angle: angle of the chip's update at rest to the ideal one, in degrees.
        seconds: time of a sample.
    """

    joules: float
    update_angle: float
    seconds: float


class Point(NamedTuple):
    """One value of a sweep.

    Attributes:
        value: of the parameter, in SI units.
        cost: what a sample costs; None where the design doesn't work.
        reason: why it doesn't, else empty.
    """

    value: float
    cost: Cost | None
    reason: str


@dataclass(frozen=True)
class PointRun(Run[Point]):
    """The estimate of one value; energies in closed form.

    Attributes:
        design: with that value.
        seed: of the chip.
        x: inputs, (batch, n_0).
        step: steps of the output target, (batch, n_L).
        parameter: what is varied.
        value: its value, in SI units.
        options: further arguments of `estimate`.
    """

    design: Design
    seed: int | None
    x: Tensor
    step: Tensor
    parameter: str
    value: float
    options: Mapping[str, Any]

    @property
    def name(self) -> str:
        """'amplifier.gain = 1000'."""
        return f"{self.parameter} = {self.value:g}"

    def settings(self) -> str:
        """See `Task.settings`."""
        inputs = [digest(self.x), digest(self.step)]
        what = [self.parameter, self.value, self.seed, dict(self.options)]
        return json.dumps([self.design.sha256, *inputs, *what], sort_keys=True)

    def run(self, progress: Progress) -> Point:
        """See `Task.run`."""
        try:
            found = estimate(
                self.design,
                self.seed,
                self.x,
                self.step,
                method=CLOSED_FORM,
                limits=False,
                **self.options,
            )
        except ConvergenceError as error:
            return Point(self.value, None, str(error))
        finally:
            progress(1)
        if found.remarks:
            return Point(self.value, None, "; ".join(found.remarks))
        return Point(self.value, Cost(found.joules, found.update_angle, found.seconds), "")

    def pack(self, result: Point) -> Tree:
        """See `Run.pack`."""
        return {"value": result.value, "reason": result.reason, **(
            {} if result.cost is None else {"cost": result.cost._asdict()}
        )}  # fmt: skip

    def unpack(self, record: Record) -> Point:
        """See `Run.unpack`."""
        cost = None
        if "cost" in record:
            cost = Cost(*(record.number(f"cost/{name}") for name in Cost._fields))
        return Point(record.number("value"), cost, record.text("reason"))


def parameters(card: type[Card] = Card) -> dict[str, str]:
    """Names of all numbers of a card, 'section.key', with their SI units.

    Args:
        card: the class of the card.
    """
    return {name: entry.si_unit for name, entry in _entries(card).items()}


def _entries(card: type[Card]) -> dict[str, InSI]:
    """What reads the numbers of a card, by name."""
    return {BANDWIDTH: InSI("Hz"), **readers(card)}


def parse(text: str) -> Parameter:
    """A parameter as the command line has it: 'amplifier.gain=1e3,1e4' or 'bandwidth=10MHz,1e8'.

    A number without a unit is in the SI unit. A key that only one section has needs no section.

    Raises:
        UserError: not of this form, an unknown name, or a value of another unit.
    """
    name, mark, values = text.partition("=")
    known = _entries(Card)
    full = [n for n in known if name in (n, n.partition(".")[2])]
    if not mark or not values.strip():
        raise UserError(f"{text!r}: write NAME=VALUE,VALUE,..., such as bandwidth=30MHz,100MHz")
    if len(full) != 1:
        what = "is ambiguous" if full else "is unknown"
        raise UserError(f"{name!r} {what}; a card has {', '.join(full or known)}")
    entry = known[full[0]]
    found = tuple(_value(v, entry, text) for v in values.split(","))
    return Parameter(full[0], found, entry.si_unit)


def varied(design: Design, parameter: Parameter, value: float) -> Design:
    """The design with one number of its card changed.

    Args:
        design: the design.
        parameter: what is varied.
        value: its value, in the SI unit.

    Raises:
        UserError: a value out of its range or that contradicts the card's others, or a bandwidth
            of an infinitely fast amplifier.
    """
    if parameter.name == BANDWIDTH:
        card = with_bandwidth(design.card, value, current=True)
    else:
        section, _, key = parameter.name.partition(".")
        card = design.card.replace(section, **{key: value})
    card.check()
    return design.on(card)


def sweep(
    design: Design,
    seed: int | None,
    x: Tensor,
    step: Tensor,
    parameter: Parameter,
    *,
    spool: Spool | None = None,
    executor: Executor | None = None,
    progress: Callable[[int], object] = lambda units: None,
    **options: Any,
) -> list[Point]:
    """Estimates while one parameter varies; energies in closed form.

    Args:
        design: the design.
        seed: seed of the chip, the same for all values.
        x: inputs, (batch, n_0).
        step: steps of the output target, (batch, n_L).
        parameter: what is varied.
        spool: where finished values are kept; None keeps none.
        executor: what does the work; None this process.
        progress: called with the number of values done since the last call.
        options: further arguments of `estimate`.

    Returns:
        One point a value. A design without a stable loop is a point without a cost.

    Raises:
        UserError: a value that the card doesn't allow.
    """
    runs = [
        PointRun(varied(design, parameter, v), seed, x, step, parameter.name, v, options)
        for v in parameter.values
    ]
    return run_kept(runs, spool, executor, progress)


def _value(text: str, entry: InSI, whole: str) -> float:
    try:
        return quantity(text, entry.si_unit, entry.kind)
    except ValueError as error:
        raise UserError(f"{whole!r}: {error}") from error

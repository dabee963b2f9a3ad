"""The trade-off between energy and the update, while a parameter of the card varies."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, get_args

from pydantic import BaseModel
from torch import Tensor

from analogdfc.cards.entries import InSI
from analogdfc.cards.quantities import quantity
from analogdfc.cards.technology import Card
from analogdfc.circuit.design import Design
from analogdfc.circuit.scaling import with_bandwidth
from analogdfc.cost.estimate import CLOSED_FORM, Estimate, estimate
from analogdfc.errors import ConvergenceError, UserError

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


class Point(NamedTuple):
    """One value of a sweep.

    Attributes:
        value: of the parameter, in SI units.
        estimate: what a sample costs; None where the design doesn't work.
        reason: why it doesn't, else empty.
    """

    value: float
    estimate: Estimate | None
    reason: str


def parameters(card: type[Card] = Card) -> dict[str, str]:
    """Names of all numbers of a card, 'section.key', with their SI units.

    Args:
        card: the class of the card.
    """
    return {name: entry.si_unit for name, entry in _entries(card).items()}


def _entries(card: type[Card]) -> dict[str, InSI]:
    """What reads the numbers of a card, by name."""
    found = {BANDWIDTH: InSI("Hz")}
    for section, field in card.model_fields.items():
        kind = field.annotation
        if section == "card" or not (isinstance(kind, type) and issubclass(kind, BaseModel)):
            continue
        for key, inner in kind.model_fields.items():
            found[f"{section}.{key}"] = _entry(inner)
    return found


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
    progress: Callable[[], object] | None = None,
    **options: Any,
) -> list[Point]:
    """Estimates while one parameter varies; energies in closed form.

    Args:
        design: the design.
        seed: seed of the chip, the same for all values.
        x: inputs, (batch, n_0).
        step: steps of the output target, (batch, n_L).
        parameter: what is varied.
        progress: called after each value.
        options: further arguments of `estimate`.

    Returns:
        One point a value. A design without a stable loop is a point without an estimate.

    Raises:
        UserError: a value that the card doesn't allow.
    """
    points = []
    for value in parameter.values:
        other = varied(design, parameter, value)
        try:
            found = estimate(other, seed, x, step, method=CLOSED_FORM, limits=False, **options)
            points.append(Point(value, found, ""))
        except ConvergenceError as error:
            points.append(Point(value, None, str(error)))
        if progress is not None:
            progress()
    return points


def _entry(field: Any) -> InSI:
    """What reads the number of a field."""
    found = [field.annotation, *field.metadata]
    while found:
        part = found.pop()
        reader = getattr(part, "func", None)
        if isinstance(reader, InSI):
            return reader
        found.extend(get_args(part))
        found.extend(getattr(part, "__metadata__", ()))
    raise AssertionError(f"a field without a unit: {field}")


def _value(text: str, entry: InSI, whole: str) -> float:
    try:
        return quantity(text, entry.si_unit, entry.kind)
    except ValueError as error:
        raise UserError(f"{whole!r}: {error}") from error

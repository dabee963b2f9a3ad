"""What a process kit gives: transistors of stated sizes as subcircuits of a netlist."""

from __future__ import annotations

import hashlib
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, distribution, version
from pathlib import Path
from typing import ClassVar, Literal, Self

from analogdfc.cards.technology import Card
from analogdfc.errors import UserError, check_names, shown
from analogdfc.kits.cache import cached
from analogdfc.kits.expressions import Scope, spice_number
from analogdfc.kits.reading import Model

Corner = Literal["typical", "ss", "ff", "sf", "fs"]
CORNERS: tuple[Corner, ...] = ("typical", "ss", "ff", "sf", "fs")

_NAME = re.compile(r"([np])fet_(\w+?)_(\w+)")
_DIFFUSION = 0.5e-6
"""Length of a drawn source or drain, in metres: contacts with what keeps them from the gate."""

_SUPPLIES = 0.85, 1.1
"""Least and largest supply of a kit's cells, as a part of that which they are for."""

_OF_A_BIN = frozenset({"lmin", "lmax", "wmin", "wmax"})
_LINE = 100


@dataclass(frozen=True)
class Transistor:
    """A transistor of one size, as a cell names it: 'nfet_10u_1u'.

    Attributes:
        name: the name.
        polarity: 'n' or 'p'.
        width: of the gate, in metres.
        length: of the gate, in metres.
    """

    name: str
    polarity: Literal["n", "p"]
    width: float
    length: float

    @classmethod
    def of(cls, name: str) -> Transistor | None:
        """The transistor of a name; None if it isn't one's.

        Args:
            name: polarity, width and length, such as 'pfet_80u_600n'.
        """
        match = _NAME.fullmatch(name)
        if match is None:
            return None
        size = spice_number(match[2]), spice_number(match[3])
        if size[0] is None or size[1] is None or not (size[0] > 0 and size[1] > 0):
            return None
        return cls(name, "n" if match[1] == "n" else "p", size[0], size[1])


@dataclass(frozen=True)
class Flat:
    """A transistor's model at its size.

    Attributes:
        kind: 'nmos' or 'pmos'.
        values: of the model's parameters.
        spread: standard deviations of those that differ from transistor to transistor.
        instance: the same of parameters of the transistor, whose means are 0 or 1.
    """

    kind: str
    values: Mapping[str, float]
    spread: Mapping[str, float] = field(default_factory=dict)
    instance: Mapping[str, tuple[float, float]] = field(default_factory=dict)


class Kit(ABC):
    """A process with two supplies and one transistor of each polarity for them.

    Args:
        corner: of the process.
        mismatch: whether every transistor is drawn anew; a run's `.options seed` repeats it.

    Raises:
        UserError: an unknown corner.

    Attributes:
        name: the name by which it is asked for, and that of its cells and its card.
        package: the package that brings it; None where it is our own.
        command: what installs that.
        supply: the supply voltage of its cells, of either sign, in volts.
        swing: volts that its amplifier holds at that supply, of either sign, into a load of 16
            kilohms.
        tanh_scale: volts that are one unit of v in its tanh cell.
        tanh_current: largest current of its tanh cell, in amperes.
        draws: imperfections of a card that its mismatch takes the place of.
    """

    name: ClassVar[str]
    package: ClassVar[str | None] = None
    command: ClassVar[str] = ""
    supply: ClassVar[float] = 1.65
    swing: ClassVar[float]
    tanh_scale: ClassVar[float] = 0.25
    tanh_current: ClassVar[float] = 2e-6
    draws: ClassVar[tuple[str, ...]] = ("amplifier offset", "tanh offset", "tanh mismatch")

    def __init__(self, corner: Corner = "typical", mismatch: bool = False) -> None:
        check_names([corner], CORNERS, "corner")
        self.corner = corner
        self.mismatch = mismatch

    def __reduce__(self) -> tuple[type[Self], tuple[Corner, bool]]:
        return type(self), (self.corner, self.mismatch)

    # What a kit is

    @abstractmethod
    def files(self) -> list[Path]:
        """Files that the models are read from; their contents are part of the cache's key."""

    @abstractmethod
    def notice(self) -> list[str]:
        """Lines of comments that go with whatever is made of these files."""

    @abstractmethod
    def flat(self, transistor: Transistor) -> Flat:
        """The model of a transistor at its size.

        Args:
            transistor: the transistor.

        Raises:
            UserError: the process has no such size.
        """

    @property
    def about(self) -> str:
        """What it is, for people: its name, the corner, and the package that brings it."""
        about = f"{self.name}, corner {self.corner}{', mismatch' if self.mismatch else ''}"
        return about if self.package is None else f"{about}, {self.package} {version(self.package)}"

    # What is made of it

    def text(self, names: Sequence[str]) -> str:
        """Subcircuits `.subckt NAME d g s b` of transistors, with their models and the notice.

        Args:
            names: of the transistors.

        Raises:
            UserError: the kit isn't installed or isn't complete, or lacks a size.
        """
        found = [self._transistor(name) for name in sorted(set(names))]
        files = self.files()  # says what is missing
        key = hashlib.sha256("\n".join([self.about, *(t.name for t in found)]).encode())
        for path in files:
            try:
                key.update(path.read_bytes())
            except OSError as error:
                raise UserError(f"{path}: can't be read: {error.strerror}") from error
        return cached(f"{self.name}-{key.hexdigest()[:24]}.lib", lambda: self._made(found))

    def _made(self, found: list[Transistor]) -> str:
        lines = [f"* Transistors of {self.about}: one model a size", *self.notice()]
        for one in found:
            lines += self._subcircuit(one, self.flat(one))
        return "\n".join(lines) + "\n"

    def _transistor(self, name: str) -> Transistor:
        found = Transistor.of(name)
        if found is None:
            raise UserError(f"{shown(name)} names no transistor; one is 'nfet_10u_1u'")
        return found

    def _subcircuit(self, one: Transistor, flat: Flat) -> Iterator[str]:
        w, d = one.width, _DIFFUSION
        size = {"w": w, "l": one.length, "ad": w * d, "as": w * d}
        size |= {"pd": 2 * (w + d), "ps": 2 * (w + d), "nrd": 0.0, "nrs": 0.0}
        words = [f"{k}={v:.6g}" for k, v in size.items()]
        draws = self.mismatch
        if draws:
            words += [f"{k}={{agauss({m:.6g},{s:.6g},1)}}" for k, (m, s) in flat.instance.items()]
        model = [f".model {one.name}_model {flat.kind}"]
        for key, value in flat.values.items():
            if key in _OF_A_BIN:
                continue
            sigma = flat.spread.get(key, 0.0) if draws else 0.0
            drawn = f"{{agauss({value!r},{sigma:.6g},1)}}" if sigma else repr(value)
            model.append(f"{key}={drawn}")
        # A model inside is one a transistor, one behind is shared by all.
        inside = draws and any(flat.spread.values())
        yield f".subckt {one.name} d g s b"
        yield from _folded([f"M1 d g s b {one.name}_model", *words])
        if inside:
            yield from _folded(model)
        yield f".ends {one.name}"
        if not inside:
            yield from _folded(model)

    # What a card must be for the cells

    def remarks(self, card: Card) -> list[str]:
        """Whether a card is that of another corner, which models know from it alone; a sentence.

        Args:
            card: the technology.
        """
        if self.corner == "typical" or card.card != Card.load(self.name).card:
            return []
        return [
            f"the transistors are of corner {self.corner}, the card {self.name!r} of the typical "
            "one: models know a corner only from their card. Take one of op-amp, tanh cell and "
            f"switch characterised at {self.corner} (`analogdfc characterise`, each with the card "
            "of the last)"
        ]

    def check_card(self, card: Card) -> None:
        """Make sure that the cells do what a card says.

        Args:
            card: the technology.

        Raises:
            UserError: another supply, a swing that they can't hold, another tanh, or an auto-zero
                beside mismatch of the transistors.
        """
        a, where = card.amplifier, f"{card.card.name}: "
        if self.mismatch and card.auto_zero.capacitor is not None:
            raise UserError(
                f"{where}[auto_zero] takes off offsets that are drawn from the card; the mismatch "
                f"of {self.name}'s transistors gives offsets that no cell here takes off. Leave "
                "one of them out"
            )
        instead = f"; take the card {self.name!r}"
        low, high = (part * self.supply for part in _SUPPLIES)
        if not low <= a.supply <= high:
            raise UserError(
                f"{where}[amplifier] supply = {a.supply:g} V: the transistors of {self.name} are "
                f"for +-{self.supply:g} V, and work from {low:g} to {high:g} V{instead}"
            )
        swing = self.swing + a.supply - self.supply  # what an output keeps from the rails stays
        if a.saturation is None or a.saturation > 1.001 * swing:
            what = "is missing" if a.saturation is None else f"= {a.saturation:g} V"
            raise UserError(
                f"{where}[amplifier] saturation {what}: the supply of +-{a.supply:g} V can't "
                f"hold more than {swing:g} V at the output of {self.name}'s amplifier{instead}"
            )
        for what, wanted, own, unit in (
            ("[scale] activation", card.scale.activation, self.tanh_scale, "V"),
            ("[tanh] current", card.tanh.current, self.tanh_current, "A"),
        ):
            if abs(wanted - own) > 0.02 * own:
                raise UserError(
                    f"{where}{what} = {wanted:g} {unit}: {self.name}'s tanh cell has {own:g} "
                    f"{unit}{instead}"
                )


def installed(package: str, command: str, file: str) -> Path:
    """Where a file of a package lies; nothing of the package is run.

    Args:
        package: its name.
        command: what installs it.
        file: the file, from where packages are.

    Raises:
        UserError: the package isn't installed, or lacks the file.
    """
    try:
        path = Path(str(distribution(package).locate_file(file)))
    except PackageNotFoundError as error:
        raise UserError(
            f"the process kit {package!r} isn't installed; {command!r} installs it"
        ) from error
    if not path.is_file():
        raise UserError(f"{path}: the process kit {package!r} lacks this file; {command!r}")
    return path


def flattened(model: Model, scope: Scope) -> dict[str, float]:
    """Every parameter of a model as a number.

    Args:
        model: the model.
        scope: the parameters that it names.

    Raises:
        UserError: one can't be evaluated; the message has its name.
    """
    found = {}
    for key, text in model.values.items():
        try:
            found[key] = scope.value(text)
        except UserError as error:
            raise UserError(f"model {model.name}, {key}: {error}") from error
    return found


def bin_of(found: Sequence[Model], one: Transistor) -> Model:
    """The model of those in which a transistor's size lies; the upper bounds belong to the next.

    Args:
        found: a kit's models of one transistor.
        one: the transistor.

    Raises:
        UserError: there is none.
    """

    def within(model: Model, key: str, size: float, least: float) -> bool:
        low, high = (Scope({}).value(model.values[f"{key}{end}"]) for end in ("min", "max"))
        return low * (1 - 1e-9) <= size < high * least

    for least in (1 - 1e-9, 1 + 1e-9):  # the largest size has no next bin
        for model in found:
            if within(model, "l", one.length, least) and within(model, "w", one.width, least):
                return model
    raise UserError(f"{one.name}: the process has no transistor of this size")


def _folded(words: Sequence[str]) -> Iterator[str]:
    line = ""
    for word in words:
        if line and len(line) + len(word) + 1 > _LINE:
            yield line
            line = "+"
        line = f"{line} {word}" if line else word
    yield line

"""What the devices of a chip's crossbars are, and how long ago they were programmed."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from pathlib import Path

from analogdfc.arrays.mapping import Balanced, Scheme, Split
from analogdfc.cards.device import DeviceCard
from analogdfc.devices import DeviceModel
from analogdfc.devices.draws import check_time
from analogdfc.errors import UserError, check_names
from analogdfc.records import Quantity, Record, Tree

_OF_A_WRITE = ("finite levels", "programming noise", "device spread", "faults")
_OF_TIME = ("drift", "retention")
_OF_A_READ = ("read noise", "telegraph noise")
IMPERFECTIONS = (*_OF_A_WRITE, *_OF_TIME, *_OF_A_READ)
"""Names of the imperfections of a device that a chip shows, at its card's temperature."""


@dataclass(frozen=True)
class Devices:
    """The devices of a chip's crossbars.

    Their window, levels and all that a write, time and a read do to them take the place of the
    technology card's window, levels and mismatch. Every crossbar is programmed once, at time 0,
    and then holds the conductances of one moment: read noise and telegraph noise are one draw,
    which stays as it is for the whole run.

    Attributes:
        model: what they are.
        age: seconds since they were programmed, >= 0.
        scheme: how the forward crossbars hold a weight: `Split` or `Balanced` pairs. The feedback
            crossbars, which are never pulsed, hold `Split` pairs.
        name: what they are called, for people.
        text: the device card as it was read; empty for a model without a card.

    Raises:
        UserError: a negative or non-finite age, or a scheme of one device a weight.

    >>> devices = Devices.of("pcm_nandakumar2019", age=3600.0)
    >>> devices.imperfections
    ('programming noise', 'drift', 'read noise')
    >>> devices.without("drift", "read noise").imperfections
    ('programming noise',)
    """

    model: DeviceModel
    age: float = 0.0
    scheme: Scheme = field(default_factory=Split)
    name: str = ""
    text: str = ""

    def __post_init__(self) -> None:
        check_time(self.age, "age of the devices")
        if not isinstance(self.scheme, Split | Balanced):
            raise UserError(
                f"{type(self.scheme).__name__}: the crossbars of a chip are made of differential "
                "pairs, Split or Balanced"
            )

    @classmethod
    def of(
        cls,
        device: DeviceCard | DeviceModel | str | Path,
        age: float = 0.0,
        *,
        scheme: Scheme | None = None,
    ) -> Devices:
        """The devices of a card.

        Args:
            device: a card, its name or path, or a model.
            age: seconds since programming, >= 0.
            scheme: of the forward crossbars; by default `Split`.

        Raises:
            UserError: an unknown card, or what the class itself refuses.
        """
        scheme = scheme or Split()
        if isinstance(device, DeviceModel):
            return cls(device, age, scheme)
        card = device if isinstance(device, DeviceCard) else DeviceCard.load(device)
        return cls(card.model(), age, scheme, card.card.name, card.text)

    @classmethod
    def read(cls, record: Record, key: str = "devices") -> Devices | None:
        """The devices of a record, from `tree`; None where it has none.

        Args:
            record: the file.
            key: where in it.

        Raises:
            UserError: a card or an age that can't be read, or what the class itself refuses.
        """
        if key not in record:
            return None
        text = record.text(f"{key}/card")
        card = DeviceCard.parse(text, f"the device card in {record.path}")
        return cls.of(card, record.number(f"{key}/age"))

    def tree(self) -> Tree:
        """What a record keeps: the text of the card, and the age."""
        return {"card": self.text, "age": Quantity(self.age, "s", "since programming")}

    @property
    def sha256(self) -> str:
        """Digest of the devices, their age and how they hold a weight."""
        whole = f"{self.model.sha256} {self.age!r} {self.scheme!r}"
        return hashlib.sha256(whole.encode()).hexdigest()

    def __str__(self) -> str:
        """What they are and their age, for people."""
        return f"devices: {self.name or 'unnamed'}, {self.age:g} s after programming"

    @property
    def imperfections(self) -> tuple[str, ...]:
        """Names of the imperfections that a chip of this age shows, of those in `IMPERFECTIONS`."""
        there = set(self.model.imperfections)
        if self.age == 0:
            there -= set(_OF_TIME)
        return tuple(name for name in IMPERFECTIONS if name in there)

    def without(self, *names: str) -> Devices:
        """The same devices with the named imperfections switched off.

        Args:
            names: keys of `devices.IMPERFECTIONS`.

        Raises:
            UserError: a name that isn't in `IMPERFECTIONS`.
        """
        check_names(names, IMPERFECTIONS, "imperfection", "the devices")
        return replace(self, model=self.model.without(*names))

"""Device cards: one published device a file, every number with its unit and its source."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from pydantic import Field, ValidationError

from analogdfc.cards.device_sections import (
    DeviceIdentity,
    DriftSection,
    FaultSection,
    ProgrammingSection,
    PulseSection,
    ReadSection,
    RelaxationSection,
    RetentionSection,
    SnapshotSection,
    SpreadSection,
    TelegraphSection,
    TemperatureSection,
    WindowSection,
    WriteVerifySection,
)
from analogdfc.cards.entries import (
    Section,
    builtin_texts,
    find_card,
    first_problem,
    kind_of,
    parse_toml,
)
from analogdfc.devices import (
    Ageing,
    DeviceModel,
    Faults,
    Measured,
    OneShot,
    PowerLawDrift,
    Programming,
    RandomTelegraph,
    ReadNoise,
    Relaxation,
    Retention,
    Snapshot,
    Spread,
    Temperature,
    Window,
    WriteVerify,
)
from analogdfc.errors import UserError

FOLDER = "devices"

Model = TypeVar("Model")


def _built(section: Section | None, kind: Callable[..., Model]) -> Model | None:
    """The model of a section; what the card leaves out has the model's default."""
    if section is None:
        return None
    return kind(**{k: getattr(section, k) for k in section.model_fields_set})


class DeviceCard(Section):
    """A published device: every number in SI units, every model optional.

    >>> import torch
    >>> generator = torch.Generator().manual_seed(0)
    >>> model = DeviceCard.load("pcm_nandakumar2019").model()
    >>> model.imperfections
    ('programming noise', 'read noise', 'drift')
    >>> devices = model.program(torch.full((2, 3), 10e-6, dtype=torch.float64), generator)
    >>> devices.read(3600.0, generator).shape
    torch.Size([2, 3])
    """

    card: DeviceIdentity
    device: WindowSection
    programming: ProgrammingSection | None = None
    write_verify: WriteVerifySection | None = None
    read: ReadSection | None = None
    telegraph: TelegraphSection | None = None
    drift: DriftSection | None = None
    relaxation: RelaxationSection | None = None
    measured: tuple[SnapshotSection, ...] = ()
    retention: RetentionSection | None = None
    temperature: TemperatureSection | None = None
    spread: SpreadSection | None = None
    faults: FaultSection | None = None
    pulse: PulseSection | None = None
    text: str = Field(default="", exclude=True)

    def model(self) -> DeviceModel:
        """The device of the card.

        Raises:
            UserError: numbers that don't go together.
        """
        return DeviceModel(
            Window(self.device.g_min, self.device.g_max, self.device.levels),
            programming=self._programming(),
            read=_built(self.read, ReadNoise),
            telegraph=_built(self.telegraph, RandomTelegraph),
            drift=self._drift(),
            retention=_built(self.retention, Retention),
            temperature=_built(self.temperature, Temperature),
            spread=_built(self.spread, Spread),
            faults=_built(self.faults, Faults),
            pulses=None if self.pulse is None else self.pulse.model(),
        )

    def _programming(self) -> Programming | None:
        if self.programming is not None and self.write_verify is not None:
            raise UserError("[programming] and [write_verify] in one card; one of them is allowed")
        if self.write_verify is not None:
            return _built(self.write_verify, WriteVerify)
        if self.programming is not None:
            return OneShot(self.programming.error)
        # The first of the measured distributions is what the write left behind.
        return OneShot(self.measured[0].spread) if self.measured else None

    def _drift(self) -> Ageing | None:
        snapshots = tuple(_built(s, Snapshot) for s in self.measured)
        parts: dict[str, Ageing | None] = {
            "drift": _built(self.drift, PowerLawDrift),
            "relaxation": _built(self.relaxation, Relaxation),
            "measured": Measured(tuple(s for s in snapshots if s)) if snapshots else None,
        }
        found = {name: part for name, part in parts.items() if part is not None}
        if len(found) > 1:
            raise UserError(f"[{'] and ['.join(found)}] in one card; one of them is allowed")
        return next(iter(found.values()), None)

    @classmethod
    def parse(cls, text: str, where: str = "device card") -> DeviceCard:
        """The card written in a TOML text.

        Args:
            text: the content of a card file.
            where: what error messages call it.

        Raises:
            UserError: not TOML, an unknown key, a missing key, unit or source, a value out of
                range, numbers that don't go together; the message names the file, the key and what
                is allowed.
        """
        data = parse_toml(text, where)
        if kind_of(data) == "circuit":
            raise UserError(f'{where}: not the card of a device; [card] kind = "device" marks one')
        try:
            card = cls.model_validate({**data, "text": text})
        except ValidationError as error:
            raise UserError(f"{where}: {first_problem(error, cls)}") from error
        try:
            card.model()
        except UserError as error:
            raise UserError(f"{where}: {error}") from error
        return card

    @classmethod
    def load(cls, name: str | Path) -> DeviceCard:
        """A card by path, or a card that comes with the package by name (without `.toml`).

        Raises:
            UserError: no such file or name, or a file that isn't a valid card.
        """
        return cls.parse(*find_card(name, "device card", FOLDER))


def builtin_device_cards() -> tuple[str, ...]:
    """Names of the device cards that come with the package."""
    return tuple(builtin_texts(FOLDER))

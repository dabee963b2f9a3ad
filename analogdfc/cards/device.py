"""Device cards: one published device a file, every number with its unit and its source."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, TypeVar

from analogdfc.cards.base import BaseCard
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
from analogdfc.cards.entries import Section
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

Model = TypeVar("Model")


def _built(section: Section | None, kind: Callable[..., Model]) -> Model | None:
    """The model of a section; what the card leaves out has the model's default."""
    if section is None:
        return None
    return kind(**{k: getattr(section, k) for k in section.model_fields_set})


class DeviceCard(BaseCard):
    """A published device: every number in SI units, every model optional.

    >>> import torch
    >>> generator = torch.Generator().manual_seed(0)
    >>> model = DeviceCard.load("pcm_nandakumar2019").model()
    >>> model.imperfections
    ('programming noise', 'read noise', 'drift')
    >>> devices = model.program(torch.full((2, 3), 10e-6, dtype=torch.float64), generator)
    >>> devices.read(3600.0, generator).shape
    torch.Size([2, 3])

    Attributes:
        device: section [device].
        programming: section [programming]; None for none.
        write_verify: section [write_verify]; None for none.
        read: section [read]; None for none.
        telegraph: section [telegraph]; None for none.
        drift: section [drift]; None for none.
        relaxation: section [relaxation]; None for none.
        measured: section [measured], one a time; empty for none.
        retention: section [retention]; None for none.
        temperature: section [temperature]; None for none.
        spread: section [spread]; None for none.
        faults: section [faults]; None for none.
        pulse: section [pulse]; None for none.
    """

    kind: ClassVar[str] = "device"
    of: ClassVar[str] = "a device"
    what: ClassVar[str] = "device card"
    file: ClassVar[str] = "device card"
    folder: ClassVar[str] = "devices"

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

    @property
    def technology(self) -> str:
        """Short name of the device's technology."""
        return self.card.technology

    @property
    def window(self) -> tuple[float, float]:
        """Lowest and highest conductance of the device, in siemens."""
        return self.device.g_min, self.device.g_max

    def check(self) -> None:
        """Make sure that the numbers of different sections go together.

        Raises:
            UserError: they don't.
        """
        self.model()

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


def builtin_device_cards() -> tuple[str, ...]:
    """Names of the device cards that come with the package."""
    return DeviceCard.builtin()

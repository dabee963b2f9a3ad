"""Sections of a device card, and the entries that are curves."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, InstanceOf, model_validator

from analogdfc.cards.entries import (
    Hertz,
    Identity,
    Kelvin,
    PerKelvin,
    Second,
    Section,
    Siemens,
    check_keys,
    check_source,
    finite,
    si,
)
from analogdfc.cards.units import to_si
from analogdfc.devices import (
    FORMS,
    Curve,
    Exponential,
    Law,
    LinearStep,
    Piece,
    Pulses,
    SoftBounds,
)
from analogdfc.errors import UserError, shown


def curve(unit: str, argument: str) -> Callable[[Any], Curve]:
    """Validator that turns an entry, or a list of entries for its pieces, into a curve.

    Args:
        unit: SI unit of the values.
        argument: 'g' for a function of the conductance, 't' for one of time.
    """
    of_unit = {"g": "S", "t": "s"}[argument]

    def piece(entry: Any) -> tuple[Piece, float | None]:
        if not isinstance(entry, dict):
            example = f'{{ value = [...], unit = "{unit}", of = "{argument} / 1 {of_unit}"'
            raise ValueError(f'write {example}, source = "..." }}')
        check_keys(entry, unit, ("of", "form", "min", "max", "below"))
        check_source(entry)
        form = entry.get("form", "polynomial")
        if not isinstance(form, str) or form not in FORMS:
            raise ValueError(f"unknown form {shown(form)}; allowed are {', '.join(FORMS)}")
        numbers = entry["value"] if isinstance(entry["value"], list) else [entry["value"]]
        scaled = len(numbers) if form != "power" else 1  # the exponent of a power has no unit
        coefficients = tuple(
            to_si(finite(x), entry["unit"], unit) if k < scaled else finite(x)
            for k, x in enumerate(numbers)
        )
        low, high = (
            to_si(finite(entry[k]), entry["unit"], unit) if k in entry else None
            for k in ("min", "max")
        )
        below = finite(entry["below"]) if "below" in entry else None
        constant = form == "polynomial" and len(coefficients) == 1
        if "of" not in entry and not constant:
            raise ValueError(f'missing of; write of = "{argument} / 1 {of_unit}"')
        reference = _reference(entry["of"], argument, of_unit) if "of" in entry else None
        return Piece(coefficients, form, low, high, below), reference

    def convert(entry: Any) -> Curve:
        try:
            found = [piece(e) for e in (entry if isinstance(entry, list) else [entry])]
            references = {reference for _, reference in found if reference is not None}
            if len(references) > 1:
                raise ValueError("the pieces of a curve must have the same 'of'")
            return Curve(tuple(p for p, _ in found), references.pop() if references else 1.0)
        except UserError as error:
            raise ValueError(str(error)) from error

    return convert


def _reference(of: Any, argument: str, unit: str) -> float:
    match = re.fullmatch(rf"\s*{argument}\s*/\s*([0-9.eE+-]+)\s*(\S+)\s*", str(of))
    if match is None:
        raise ValueError(
            f"of = {shown(of)}: write what the values are a function of, as in "
            f'"{argument} / 25 {"uS" if argument == "g" else "s"}"'
        )
    try:
        return to_si(float(match[1]), match[2], unit)
    except ValueError as error:
        raise ValueError(f"of = {shown(of)}: {error}") from error


ConductanceOrZero = Annotated[float, BeforeValidator(si("S")), Field(ge=0, le=1)]
Number = Annotated[float, BeforeValidator(si("1"))]
Share = Annotated[float, BeforeValidator(si("1")), Field(ge=0, le=1)]
Spreading = Annotated[float, BeforeValidator(si("1")), Field(ge=0, le=100)]
Levels = Annotated[int, BeforeValidator(si("1", "levels")), Field(ge=2, le=1_000_000)]
Count = Annotated[int, BeforeValidator(si("1")), Field(ge=1, le=1_000_000)]
ElectronVolt = Annotated[float, BeforeValidator(si("eV")), Field(ge=0, le=10)]
ConductanceCurve = Annotated[InstanceOf[Curve], BeforeValidator(curve("S", "g"))]
NumberCurve = Annotated[InstanceOf[Curve], BeforeValidator(curve("1", "g"))]
TimeLaw = Annotated[InstanceOf[Curve], BeforeValidator(curve("S", "t"))]


class DeviceIdentity(Identity):
    """Section [card] of a device card.

    Attributes:
        technology: short name of the technology, such as PCM or ECRAM.
    """

    technology: str = Field(min_length=1, max_length=60, pattern=r"^[\x20-\x7e]+$")


class WindowSection(Section):
    """Section [device]: the window of conductances; see `Window`."""

    g_min: ConductanceOrZero
    g_max: Siemens
    levels: Levels | None = None

    @model_validator(mode="after")
    def _window(self) -> WindowSection:
        if self.g_min >= self.g_max:
            raise ValueError(f"g_min = {self.g_min:g} S must stay below g_max = {self.g_max:g} S")
        return self


class ProgrammingSection(Section):
    """Section [programming]: the error that is left after a write; see `OneShot`."""

    error: ConductanceCurve


class WriteVerifySection(Section):
    """Section [write_verify]: writes until the result is accepted; see `WriteVerify`."""

    error: ConductanceCurve
    acceptance: Share | None = None
    acceptance_floor: ConductanceOrZero | None = None
    limit: Count | None = None


class ReadSection(Section):
    """Section [read]: noise of a read; see `ReadNoise`."""

    flicker: NumberCurve | None = None
    read_time: Second | None = None
    white: ConductanceCurve | None = None
    bandwidth: Hertz | None = None


class TelegraphSection(Section):
    """Section [telegraph]: random telegraph noise; see `RandomTelegraph`."""

    amplitude: Share
    time_high: Second
    time_low: Second
    fraction: Share | None = None


class DriftSection(Section):
    """Section [drift]: power law in time; see `PowerLawDrift`."""

    exponent: NumberCurve
    start: Second
    spread: NumberCurve | None = None


class RelaxationSection(Section):
    """Section [relaxation]: shift and spread that follow a law in time; see `Relaxation`."""

    start: Second
    shift: TimeLaw | None = None
    spread: TimeLaw | None = None


class SnapshotSection(Section):
    """Section [[measured]]: the distribution at one time; see `Snapshot`."""

    time: Annotated[float, BeforeValidator(si("s")), Field(ge=0)]
    spread: ConductanceCurve
    shift: ConductanceCurve | None = None


class RetentionSection(Section):
    """Section [retention]: loss of the stored state; see `Retention`."""

    time_constant: Second
    level: ConductanceOrZero | None = None
    stretch: Annotated[float, BeforeValidator(si("1")), Field(gt=0, le=2)] | None = None
    activation: ElectronVolt | None = None
    temperature: Kelvin | None = None


class TemperatureSection(Section):
    """Section [temperature]: conductance against temperature; see `Temperature`."""

    reference: Kelvin
    coefficient: PerKelvin | None = None
    activation: ElectronVolt | None = None


class SpreadSection(Section):
    """Section [spread]: relative spread of a write; see `Spread`."""

    device: Share | None = None
    cycle: Share | None = None


class FaultSection(Section):
    """Section [faults]: fractions of stuck devices; see `Faults`."""

    on: Share | None = None
    off: Share | None = None
    dead: Share | None = None
    at: Share | None = None
    conductance: ConductanceOrZero | None = None


class PulseSection(Section):
    """Section [pulse]: update by pulses; see `Pulses` and its laws."""

    law: Literal["linear step", "soft bounds", "exponential"]
    w_min: Number
    w_max: Number
    step: Annotated[float, BeforeValidator(si("1")), Field(gt=0)] | None = None
    gamma_up: Number | None = None
    gamma_down: Number | None = None
    pulses_up: Count | None = None
    pulses_down: Count | None = None
    curvature_up: Annotated[float, BeforeValidator(si("1")), Field(ge=1e-3)] | None = None
    curvature_down: Annotated[float, BeforeValidator(si("1")), Field(ge=1e-3)] | None = None
    device_spread: Spreading | None = None
    device_spread_law: Literal["normal", "log-normal"] = "normal"
    asymmetry: Annotated[float, BeforeValidator(si("1")), Field(ge=-1, le=1)] | None = None
    asymmetry_spread: Spreading | None = None
    slope_spread: Spreading | None = None
    low_spread: Share | None = None
    high_spread: Share | None = None
    cycle_spread: Spreading | None = None
    cycle_spread_of: Literal["step at w", "step at 0"] = "step at 0"
    cycle_noise: Share | None = None
    dead_pulses: Share | None = None

    @model_validator(mode="after")
    def _law(self) -> PulseSection:
        keys = {
            "linear step": ("step",),
            "soft bounds": ("step",),
            "exponential": ("pulses_up", "pulses_down", "curvature_up", "curvature_down"),
        }
        if missing := [k for k in keys[self.law] if getattr(self, k) is None]:
            raise ValueError(f"law {self.law!r} needs {' and '.join(missing)}")
        others = {k for ks in keys.values() for k in ks} | {"gamma_up", "gamma_down"}
        others -= set(keys[self.law])
        if self.law == "linear step":
            others -= {"gamma_up", "gamma_down"}
        if surplus := sorted(k for k in others if getattr(self, k) is not None):
            raise ValueError(f"law {self.law!r} has no {surplus[0]}")
        return self

    def model(self) -> Pulses:
        """The pulsed update of the card."""
        law: Law
        if self.law == "linear step":
            ends = {"w_min": self.w_min, "w_max": self.w_max}
            law = LinearStep(
                step=self.step or 0.0,
                gamma_up=self.gamma_up or 0.0,
                gamma_down=self.gamma_down or 0.0,
                **ends,
            )
        elif self.law == "soft bounds":
            law = SoftBounds(self.step or 0.0)
        else:
            law = Exponential(
                pulses_up=self.pulses_up or 0,
                pulses_down=self.pulses_down or 0,
                curvature_up=self.curvature_up or 0.0,
                curvature_down=self.curvature_down or 0.0,
            )
        return Pulses(
            law,
            w_min=self.w_min,
            w_max=self.w_max,
            device_spread=self.device_spread or 0.0,
            log_normal=self.device_spread_law == "log-normal",
            asymmetry=self.asymmetry or 0.0,
            asymmetry_spread=self.asymmetry_spread or 0.0,
            slope_spread=self.slope_spread or 0.0,
            low_spread=self.low_spread or 0.0,
            high_spread=self.high_spread or 0.0,
            cycle_spread=self.cycle_spread or 0.0,
            of_actual_step=self.cycle_spread_of == "step at w",
            cycle_noise=self.cycle_noise or 0.0,
            dead_pulses=self.dead_pulses or 0.0,
        )

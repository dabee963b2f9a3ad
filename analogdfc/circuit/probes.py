"""From the voltages of a chip's amplifiers to the dimensionless signals of the paper."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from torch import Tensor

from analogdfc.circuit.chip import Chip
from analogdfc.circuit.description import Description, Tap
from analogdfc.circuit.updates import read_update
from analogdfc.dynamics import Readings, Trajectory, Update


class Signal(NamedTuple):
    """A dimensionless signal of the paper, as a bank's output voltages over a unit.

    Attributes:
        tap: where it is measured.
        control: whether the unit is that of the control signal; else it is that of activations.
    """

    tap: Tap
    control: bool = False

    def per_volt(self, chip: Chip) -> float:
        """What a volt of the bank is worth.

        Args:
            chip: the chip, whose design owns the scales.
        """
        scale = chip.design.card.scale
        return self.tap.sign / (scale.control if self.control else scale.activation)


Signals = Mapping[Signal, Tensor]
"""Signals with their values, (..., n), dimensionless."""


def signals(circuit: Description) -> tuple[Signal, ...]:
    """What makes up a trajectory, each once."""
    found: list[Signal] = []
    for layer in circuit.layers:
        taps = (layer.v_ff, layer.v, layer.r, layer.r_ff, layer.v_fb)
        found += [Signal(tap) for tap in taps if tap is not None]
    found += [Signal(tap, control=True) for tap in (circuit.control.u, circuit.control.e)]
    return tuple(dict.fromkeys(found))


def probes(circuit: Description) -> tuple[str, ...]:
    """Banks whose output voltages make up a trajectory, each once."""
    return tuple(dict.fromkeys(signal.tap.bank for signal in signals(circuit)))


def scaled(chip: Chip, volts: Mapping[str, Tensor]) -> dict[Signal, Tensor]:
    """The signals that output voltages are.

    Args:
        chip: the chip.
        volts: output voltages of a bank by name (see `probes`), (..., n).
    """
    return {s: volts[s.tap.bank] * s.per_volt(chip) for s in signals(chip.circuit)}


def readings(chip: Chip, found: Signals) -> Readings:
    """The neurons' measured signals.

    Args:
        chip: the chip.
        found: its signals.
    """

    def read(name: str) -> tuple[Tensor, ...]:
        taps: Iterator[Tap | None] = (getattr(layer, name) for layer in chip.circuit.layers)
        return tuple(found[Signal(tap)] for tap in taps if tap is not None)

    return Readings(
        v=read("v"), v_ff=read("v_ff"), r=read("r"), r_ff=read("r_ff"), v_fb=read("v_fb")
    )


def trajectory(
    chip: Chip, t: Tensor, x: Tensor, run: Signals, free: Signals, read: Update | None = None
) -> Trajectory:
    """The trajectory that a chip's waveforms are.

    Args:
        chip: the chip.
        t: times after the release, (T,), in units of the controller's time.
        x: inputs, (batch, n_0), dimensionless.
        run: its signals, (batch, T, n).
        free: the same in the free phase, (batch, n).
        read: the update that an update path in the circuit has formed; by default what the model
            of the chip's path, where it has one, forms of these waveforms.
    """
    start = readings(chip, free)
    if read is None and chip.circuit.update is not None:
        last, earlier = (readings(chip, {k: v[:, n] for k, v in run.items()}) for n in (-1, -2))
        gap, seconds = float(t[-1] - t[-2]), float(t[-1])
        read = read_update(
            chip, x, start, last,
            seconds=seconds * chip.design.seconds, before=(earlier, gap * chip.design.seconds),
        )  # fmt: skip
    u, e = (Signal(tap, control=True) for tap in (chip.circuit.control.u, chip.circuit.control.e))
    return Trajectory(
        t=t, x=x, neurons=readings(chip, run), u=run[u], e=run[e], free=start, read=read
    )

"""From the voltages of a chip's amplifiers to the dimensionless signals of the paper."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from analogdfc.circuit.chip import Chip
from analogdfc.circuit.description import Description, Tap
from analogdfc.circuit.updates import read_update
from analogdfc.dynamics import Readings, Trajectory, Update


def probes(circuit: Description) -> tuple[str, ...]:
    """Banks whose output voltages make up a trajectory, each once."""
    taps: list[Tap] = []
    for layer in circuit.layers:
        taps += [layer.v_ff, layer.v, layer.r, layer.r_ff]
        taps += [] if layer.v_fb is None else [layer.v_fb]
    taps += [circuit.control.u, circuit.control.e]
    return tuple(dict.fromkeys(tap.bank for tap in taps))


def readings(chip: Chip, volts: Mapping[str, Tensor]) -> Readings:
    """The neurons' measured signals of the output voltages by bank."""
    unit = chip.design.card.scale.activation

    def read(name: str) -> tuple[Tensor, ...]:
        taps: list[Tap | None] = [getattr(layer, name) for layer in chip.circuit.layers]
        return tuple(volts[t.bank] * (t.sign / unit) for t in taps if t is not None)

    return Readings(
        v=read("v"), v_ff=read("v_ff"), r=read("r"), r_ff=read("r_ff"), v_fb=read("v_fb")
    )


def trajectory(
    chip: Chip,
    t: Tensor,
    x: Tensor,
    run: Mapping[str, Tensor],
    free: Mapping[str, Tensor],
    read: Update | None = None,
) -> Trajectory:
    """The trajectory that a chip's waveforms are.

    Args:
        chip: the chip, whose design owns the scales.
        t: times after the release, (T,), in units of the controller's time.
        x: inputs, (batch, n_0), dimensionless.
        run: output voltages of a bank by name (see `probes`), (batch, T, n), in volts.
        free: the same in the free phase, (batch, n).
        read: the update that an update path in the circuit has formed; by default what the model
            of the chip's path, where it has one, forms of these waveforms.
    """
    unit, taps = chip.design.card.scale.control, chip.circuit.control
    start = readings(chip, free)
    if read is None and chip.circuit.update is not None:
        last, earlier = (readings(chip, {k: v[:, n] for k, v in run.items()}) for n in (-1, -2))
        gap, seconds = float(t[-1] - t[-2]), float(t[-1])
        read = read_update(
            chip, x, start, last,
            seconds=seconds * chip.design.seconds, before=(earlier, gap * chip.design.seconds),
        )  # fmt: skip
    return Trajectory(
        t=t,
        x=x,
        neurons=readings(chip, run),
        u=run[taps.u.bank] * (taps.u.sign / unit),
        e=run[taps.e.bank] * (taps.e.sign / unit),
        free=start,
        read=read,
    )

"""From the voltages of a chip's amplifiers to the dimensionless signals of the paper."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from analogdfc.circuit.design import Design
from analogdfc.dynamics import Readings, Trajectory


def probes(design: Design) -> tuple[str, ...]:
    """Stages whose output voltages make up a trajectory, 'layer1.basal' ... 'controller.error'."""
    names = []
    for i in range(1, design.depth + 1):
        names += [f"layer{i}.basal", f"layer{i}.soma"]
        if i < design.depth:
            names += [f"layer{i}.act", f"layer{i}.act_ff"]
    return (*names, "controller.inv", "controller.error")


def _readings(design: Design, volts: Mapping[str, Tensor]) -> Readings:
    unit = design.card.scale.activation
    layers = range(1, design.depth + 1)
    v = tuple(volts[f"layer{i}.soma"] / unit for i in layers)
    v_ff = tuple(-volts[f"layer{i}.basal"] / unit for i in layers)
    hidden = range(1, design.depth)
    r = tuple(volts[f"layer{i}.act"] / unit for i in hidden)
    r_ff = tuple(volts[f"layer{i}.act_ff"] / unit for i in hidden)
    return Readings(v, v_ff, (*r, v[-1]), (*r_ff, v_ff[-1]))


def trajectory(
    design: Design,
    t: Tensor,
    x: Tensor,
    run: Mapping[str, Tensor],
    free: Mapping[str, Tensor],
) -> Trajectory:
    """The trajectory that a chip's waveforms are.

    Args:
        design: the design, which owns the scales.
        t: times after the release, (T,), in units of the controller's time.
        x: inputs, (batch, n_0), dimensionless.
        run: output voltages of a stage by name (see `probes`), (batch, T, n), in volts.
        free: the same in the free phase, (batch, n).
    """
    unit = design.card.scale.control
    return Trajectory(
        t=t,
        x=x,
        neurons=_readings(design, run),
        u=run["controller.inv"] / unit,
        e=run["controller.error"] / unit,
        free=_readings(design, free),
    )

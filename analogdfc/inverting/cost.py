"""What one backward pass by dynamic inversion costs on a chip: time, energy and area."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from analogdfc.analysis.area import AreaEstimate, area
from analogdfc.analysis.energy import items
from analogdfc.analysis.energy.items import Energy
from analogdfc.analysis.energy.meter import Meter
from analogdfc.analysis.energy.peripherals import pulses_per_update, weight_steps, writes
from analogdfc.analysis.zeroing import zero_energy, zero_seconds
from analogdfc.circuit.chip import Chip
from analogdfc.dynamics import Update
from analogdfc.dynamics.esdirk import TOLERANCE
from analogdfc.errors import UserError
from analogdfc.inverting.assembly import chips
from analogdfc.inverting.design import InversionDesign, Link
from analogdfc.inverting.ideal import Equations
from analogdfc.inverting.model import Behaviour, ReleasedModel
from analogdfc.inverting.runs import Grid, InversionRun, Progress
from analogdfc.inverting.study import InversionStudy
from analogdfc.measures import angle

__all__ = ["LEFT_OUT", "InversionEstimate", "estimate_inversion"]

LEFT_OUT = (
    "the backward pass: the forward pass, what holds errors and activities, the outer product and "
    "the inputs' converters are not in it; while a pair runs, the others stay powered"
)

_SPACING = 0.1
_LEAST, _MOST = 20.0, 2000.0
_LEFT = 1e-4
"""Length of what is watched for a rest, in units of time: until so much of the slowest mode is
left."""

_BAND = 0.02
"""Part of its size at rest within which a control signal has settled."""


@dataclass(frozen=True, kw_only=True)
class InversionEstimate:
    """What the backward pass of one sample costs.

    Attributes:
        design: the design.
        accuracy: angle of the errors to those at rest for which a settle is long enough, in
            degrees.
        until: what a settle waits for; see `estimate_inversion`.
        settle_times: duration of each circuit's settle, in seconds: what the slowest sample needs.
        energy: of the whole pass, a mean over samples, tensors (1,).
        update_angle: angle of the chip's update at rest to that of the equations, in degrees.
        pulses: pulses that a sample sends to the layers' devices; None where they are unknown.
        area: area of the components.
        remarks: what is unusual, a sentence each.
        zero_time: of the phase of the neurons' auto-zero before the pass, in seconds.
    """

    design: InversionDesign
    accuracy: float
    until: str
    settle_times: tuple[float, ...]
    energy: Energy
    update_angle: float
    pulses: tuple[float, ...] | None
    area: AreaEstimate
    remarks: tuple[str, ...]
    zero_time: float = 0.0

    @property
    def seconds(self) -> float:
        """Time of the pass."""
        return self.zero_time + sum(self.settle_times)

    @property
    def joules(self) -> float:
        """Known energy of the pass."""
        return float(self.energy.total)

    @property
    def watts(self) -> float:
        """Mean power while passes follow each other."""
        return self.joules / self.seconds


def estimate_inversion(
    design: InversionDesign,
    seed: int | None,
    x: Tensor,
    target: Tensor,
    *,
    accuracy: float = 1.0,
    until: Literal["update", "control"] = "update",
    learning_rate: float = 0.1,
    progress: Progress = lambda name, done, total: None,
) -> InversionEstimate:
    """What the backward pass of a sample costs, from the waveforms of the behavioural model.

    Args:
        design: the design.
        seed: seed of the components; None for nominal ones.
        x: inputs, (batch, n_0), dimensionless; results are means over them.
        target: errors at the output, (batch, n_L).
        accuracy: angle to the errors at rest, in degrees, for which a settle has to be long enough.
        until: what a settle waits for: the direction of a circuit's errors, within the accuracy, or
            its control signals, within 2 % of their rest.
        learning_rate: of the update, for the number of pulses that write it.
        progress: told what is being done.

    Raises:
        UserError: an accuracy or a learning rate that isn't positive, or as `InversionStudy`.
        ConvergenceError: a run that doesn't converge.
    """
    if not (learning_rate > 0 and accuracy > 0):
        raise UserError(f"learning_rate = {learning_rate}, accuracy = {accuracy}: both must be > 0")
    slowest = max(design.inversion(links).abscissa() for links in design.circuits)
    longest = math.log(_LEFT) / min(slowest, -1e-12)
    grid = Grid(_SPACING, math.ceil(min(max(longest, _LEAST), _MOST) / _SPACING))
    study = InversionStudy(design, x, target, grid)
    result = study.run(Equations(), Behaviour(seed), progress=progress)
    ideal, rested = result.runs.values()
    parts = chips(design, seed)
    times, energy = [], Energy({})
    for links, chip in zip(design.circuits, parts, strict=True):
        settle = _settle(links, rested, accuracy if until == "update" else None)
        goal = rested.error(links[0].top, double_sampling=design.readout.double_sampling)
        times.append(settle * design.seconds)
        energy = energy + _metered(chip, goal, settle) + _waiting(chip, parts, times[-1])
    zero_time = zero_seconds(design.card)
    energy = energy + _waiting(None, parts, zero_time)
    for chip in parts:
        energy = energy + zero_energy(chip.circuit, design.card)
    one, other = (r.update(design, x) for r in (ideal, rested))
    written, pulses = _writes(design, other, learning_rate)
    return InversionEstimate(
        design=design,
        accuracy=accuracy,
        until=until,
        settle_times=tuple(times),
        energy=_mean(energy) + _targets(design) + written,
        update_angle=angle(one.flat(), other.flat()),
        pulses=pulses,
        area=area(design, parts),
        remarks=result.remarks,
        zero_time=zero_time,
    )


def _settle(links: Sequence[Link], rested: InversionRun, accuracy: float | None) -> float:
    """Units of time that the slowest sample needs.

    Until the errors' direction stays within an accuracy, or else the control signals' size.
    """
    kind = "u" if accuracy is None else "delta"
    names = [f"u{link.top}" for link in links]
    if kind == "delta":
        names = [f"delta{i}" for link in links for i in range(link.bottom, link.top)]
    waves = torch.cat(
        [rested.signals[name] - rested.free[name].unsqueeze(1) for name in names], dim=2
    )
    end = waves[:, -1:]
    if accuracy is None:
        off = (waves - end).norm(dim=2) > _BAND * end.norm(dim=2)
    else:
        cosine = torch.nn.functional.cosine_similarity(waves, end, dim=2)
        off = cosine < math.cos(math.radians(accuracy))
    later = (off * torch.arange(1, off.shape[1] + 1)).amax(dim=1)
    latest = min(int(later.max()), len(rested.t) - 1)
    return float(rested.t[max(latest, 1)])


def _metered(chip: Chip, target: Tensor, duration: float) -> Energy:
    """Energy of a circuit from the release of its controllers on, (batch,)."""
    released = ReleasedModel.of(chip, target, tolerance=TOLERANCE)
    meter = Meter(released.model, released.release)
    steps = max(1, round(duration / _SPACING))
    states = released.states(Grid(duration / steps, steps), observe=meter.add)
    return meter.result(0, states[None, 0], states[None, -1]).energy


def _waiting(running: Chip | None, parts: Sequence[Chip], seconds: float) -> Energy:
    """What the circuits take that wait for another one, or all of them, (1,)."""
    found: dict[tuple[str, str], Tensor] = {}
    card = parts[0].design.card
    amplifier = 2 * card.amplifier.supply * card.amplifier.quiescent_current * seconds
    cell = 2 * card.amplifier.supply * card.tanh_current * seconds
    for chip in parts:
        if chip is running:
            continue
        counts = [(items.QUIESCENT, b.part, amplifier * b.size) for b in chip.circuit.banks]
        counts += [(items.TANH, c.part, cell * len(c.offset)) for c in chip.circuit.cells]
        for name, part, joules in counts:
            before = found.get((name, part), torch.zeros(1, dtype=torch.float64))
            found[name, part] = before + joules
    return Energy(found)


def _targets(design: InversionDesign) -> Energy:
    """Energy of the conversions of the errors at the output."""
    each = design.card.converters.target_dac
    if each is None:
        return Energy({}, {items.CONVERTERS: "[converters] target_dac is missing"})
    joules = torch.tensor([design.sizes[-1] * each], dtype=torch.float64)
    return Energy({(items.CONVERTERS, f"controller {design.depth}"): joules})


def _writes(
    design: InversionDesign, update: Update, learning_rate: float
) -> tuple[Energy, tuple[float, ...] | None]:
    try:
        steps = weight_steps(design)
    except UserError as error:
        more = writes(design, [0.0] * design.depth).unknown.values()
        return Energy({}, {items.WRITES: "; ".join([str(error), *more])}), None
    pulses = tuple(float(n.mean()) for n in pulses_per_update(update, learning_rate, steps))
    return writes(design, pulses), pulses


def _mean(energy: Energy) -> Energy:
    means = {key: joules.mean().reshape(1) for key, joules in energy.items.items()}
    return replace(energy, items=means)

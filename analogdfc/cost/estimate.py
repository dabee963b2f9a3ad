"""What one sample costs on a chip: time, energy and area, from the card and the network."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from torch import Tensor

from analogdfc.activations import activate
from analogdfc.analysis.area import AreaEstimate, area
from analogdfc.analysis.energy import items
from analogdfc.analysis.energy.closed import closed_form
from analogdfc.analysis.energy.items import Energy
from analogdfc.analysis.energy.meter import measure
from analogdfc.analysis.energy.peripherals import (
    converters,
    pulses_per_update,
    update_path,
    verifies,
    weight_steps,
    writes,
)
from analogdfc.analysis.noisy import NoiseFigures, noise_figures
from analogdfc.analysis.settling import Observed, Settling, observed, predict
from analogdfc.analysis.zeroing import zero_energy, zero_seconds
from analogdfc.circuit.behavioural import Behavioural
from analogdfc.circuit.chip import Chip
from analogdfc.circuit.design import Design
from analogdfc.circuit.scaling import current_band
from analogdfc.circuit.static import StaticChip, StaticState
from analogdfc.digital.card import Band
from analogdfc.dynamics import Update
from analogdfc.dynamics.loop import free_pass
from analogdfc.dynamics.reached import steady_state
from analogdfc.errors import ConvergenceError, UserError
from analogdfc.measures import angle

WAVEFORMS, CLOSED_FORM = "waveforms", "closed form"
METHODS = (WAVEFORMS, CLOSED_FORM)

LEAST_SUPPLY = "g_m / I_D = 25 / V in five transistors"
MOST_SUPPLY = "15 / V in two stages"
"""The amplifiers at both ends of `energy_band`."""

UPDATE, CONTROL = "update", "control"
ENDS = (UPDATE, CONTROL)
"""What a settle waits for."""

_MOST_AMPLIFIERS = 250
"""Amplifiers up to which the waveforms of the full model take seconds."""


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What one sample costs.

    A sample is the phase of the neurons' auto-zero, if they have one, then a free phase, in which
    the layers settle one after another, then the settle under control, then the product in the
    update path, if the card has one, and the write of the weights, which takes no time of its own
    here.

    Attributes:
        design: the design.
        method: 'waveforms' of the behavioural model or 'closed form', for the settle.
        settling: the loop's settling.
        accuracy: angle to the update at rest for which a settle is long enough, in degrees.
        free_time: duration of the free phase, in seconds: what the slowest sample needs.
        settle_time: duration of the settle, in seconds: what the slowest sample needs.
        free: energy of the free phase, a mean over samples, tensors (1,).
        settle: energy of the settle.
        border: energy of converters, auto-zero, update path and weight writes, and of the
            amplifiers while auto-zero and path work.
        update_angle: angle of the chip's update at rest to that of the ideal network, in degrees;
            both are means over the samples; nan where the ideal network comes to no rest.
        observed: settling that the waveforms of the behavioural model show, in seconds; None for
            the closed form, and where the model could not follow them.
        pulses: pulses that a sample sends to the layers' devices; None where the card, or
            that of the devices, has neither levels nor pulses.
        area: area of the components.
        remarks: diagnoses that failed, a sentence each; the rest of the estimate doesn't need them.
        update_time: that the update path takes to form the product, in seconds.
        zero_time: of the phase of the neurons' auto-zero, in seconds.
    """

    design: Design
    method: str
    settling: Settling
    accuracy: float
    free_time: float
    settle_time: float
    free: Energy
    settle: Energy
    border: Energy
    update_angle: float
    observed: Observed | None
    pulses: tuple[float, ...] | None
    area: AreaEstimate
    remarks: tuple[str, ...] = ()
    update_time: float = 0.0
    zero_time: float = 0.0

    @property
    def energy(self) -> Energy:
        """Energy of one sample, by component and part."""
        return self.free + self.settle + self.border

    @property
    def joules(self) -> float:
        """Known energy of one sample."""
        return float(self.energy.total)

    @property
    def seconds(self) -> float:
        """Time of one sample."""
        return self.zero_time + self.free_time + self.settle_time + self.update_time

    @property
    def watts(self) -> float:
        """Mean power while samples follow each other."""
        return self.joules / self.seconds


def energy_band(found: Estimate) -> Band | None:
    """Energy of a sample where the amplifiers' supply current is not the card's but a rule's.

    The spread of how well an amplifier of this bandwidth is designed (`current_band`); everything
    else stays as it is.

    Args:
        found: the estimate.

    Returns:
        Joules; None where the card lacks the gain-bandwidth or the capacitance of the pole.
    """
    amplifier = found.design.card.amplifier
    band = current_band(amplifier)
    if band is None:
        return None
    idle = float(found.energy.by_component()[items.QUIESCENT])
    least, most = (found.joules + idle * (i / amplifier.quiescent_current - 1) for i in band)
    return Band(least, most, f"low: {LEAST_SUPPLY}; high: {MOST_SUPPLY}")


def estimate(
    design: Design,
    seed: int | None,
    x: Tensor,
    step: Tensor,
    *,
    accuracy: float = 1.0,
    until: str = UPDATE,
    learning_rate: float = 0.1,
    method: str | None = None,
    settling: Settling | None = None,
    state: StaticState | None = None,
    limits: bool = True,
    progress: Callable[[str], object] | None = None,
) -> Estimate:
    """What a sample costs on a chip of a design.

    Args:
        design: the design.
        seed: seed of the chip; None for nominal components.
        x: inputs, (batch, n_0), dimensionless; results are means over them.
        step: steps of the output target, (batch, n_L).
        accuracy: angle to the update at rest, in degrees, for which the settle has to be long
            enough.
        until: what a settle waits for, of `ENDS`: the direction of the update, within the
            accuracy; or the control signal, within its band of 2 %, so that the update has its
            size too.
        learning_rate: of the update, for the number of pulses that write it.
        method: of `METHODS`; by default waveforms of small designs, else the closed form.
        settling: the loop's settling where it is known already.
        state: free and rest state of this chip for these samples, where they are known already.
        limits: find what limits the settling, and the critical bandwidth.
        progress: called with the name of each stage before it starts.

    Raises:
        UserError: an unknown method, or a learning rate or accuracy that isn't positive.
        ConvergenceError: an unstable loop: the message names the eigenvalue and what to change; or
            no steady state.
    """
    _check(method, until, learning_rate, accuracy)
    say = progress or (lambda _: None)
    failed: list[str] = []
    chip = Chip.of(design, seed)
    if state is None:
        say("static model")
        state = StaticChip.of(chip).solve(x, step)
    static = state.chip
    if settling is None:
        say("settling")
        settling = _settling(design, seed, state, step, failed, limits=limits)
    free_time = float(settling.free_phase(accuracy).max())
    times = settling.update_time(accuracy) if until == UPDATE else settling.time
    settle_time = float(times.max())
    if method is None:
        method = WAVEFORMS if chip.circuit.amplifiers <= _MOST_AMPLIFIERS else CLOSED_FORM
    say(method)
    seen = None
    if method == WAVEFORMS:
        (metered,) = measure([chip], x, step, duration=settle_time / design.seconds)
        settle = metered.energy
        with _noted("the settling was not observed in waveforms", failed):
            seen = _observed(chip, x, step, state, settling, accuracy)
    else:
        settle = closed_form(static, state, duration=settle_time)
    free = _free_phase(static, state, free_time)
    border, pulses = _border(design, static, state, learning_rate)
    border = border + verifies(design, pulses) + _around(chip, static, state, settle_time)
    path = chip.circuit.update
    turned = math.nan
    with _noted("the angle of the update to the ideal one is not known", failed):
        turned = update_angle(design, static, state, step)
    return Estimate(
        design=design,
        method=method,
        settling=settling,
        accuracy=accuracy,
        free_time=free_time,
        settle_time=settle_time,
        update_time=0.0 if path is None else path.seconds,
        zero_time=zero_seconds(design.card),
        free=_mean(free),
        settle=_mean(settle),
        border=border,
        update_angle=turned,
        observed=seen,
        pulses=pulses,
        area=area(design),
        remarks=tuple(failed),
    )


def chip_noise(found: Estimate, seed: int | None, x: Tensor, step: Tensor) -> NoiseFigures | str:
    """Noise of the chip that an estimate is of, read for as long as it settles.

    Args:
        found: the estimate.
        seed: seed of the chip; None for nominal components.
        x: inputs, (batch, n_0).
        step: steps of the output target, (batch, n_L).

    Returns:
        The noise, or why it isn't known.
    """
    chip = Chip.of(found.design, seed)
    if found.design.card.amplifier.gain_bandwidth is None:
        return "without a limit of the amplifiers' bandwidth it has no bound"
    if chip.circuit.amplifiers > _MOST_AMPLIFIERS:
        return f"it is found for up to {_MOST_AMPLIFIERS} amplifiers"
    try:
        return noise_figures(chip, x, step, found.settle_time)
    except ConvergenceError as error:
        return str(error)


@contextmanager
def _noted(what: str, failed: list[str]) -> Iterator[None]:
    """A diagnosis whose failure is a line among others."""
    try:
        yield
    except ConvergenceError as error:
        failed.append(f"{what}: {error}")


def _check(method: str | None, until: str, learning_rate: float, accuracy: float) -> None:
    """Refuse arguments that `estimate` can't take."""
    if method is not None and method not in METHODS:
        raise UserError(f"method {method!r}: there are {', '.join(METHODS)}")
    if until not in ENDS:
        raise UserError(f"until {until!r}: there are {', '.join(ENDS)}")
    if not (learning_rate > 0 and accuracy > 0):
        raise UserError(f"learning_rate = {learning_rate}, accuracy = {accuracy}: both must be > 0")


def _around(chip: Chip, static: StaticChip, state: StaticState, settle_time: float) -> Energy:
    """What the update path takes, and the amplifiers before and after a settle."""
    path = chip.circuit.update
    taken = update_path(chip, settle_time) + zero_energy(chip.circuit, chip.design.card)
    # They stay supplied while offsets are stored, and while the product is formed.
    for seconds in (zero_seconds(chip.design.card), 0.0 if path is None else path.seconds):
        if seconds:
            taken = taken + _mean(_free_phase(static, state, seconds))
    return taken


def _settling(
    design: Design,
    seed: int | None,
    state: StaticState,
    step: Tensor,
    failed: list[str],
    *,
    limits: bool,
) -> Settling:
    """The settling, with what limits it if that can be found."""
    if limits:
        with _noted("what limits the settling is not known", failed):
            return predict(design, seed, state.x, step, limits=True, state=state)
    return predict(design, seed, state.x, step, limits=False, state=state)


def _free_phase(static: StaticChip, state: StaticState, duration: float) -> Energy:
    # Nothing moves any more when the free phase has settled: a rest state of its own.
    still = replace(
        state, rest_pass=state.free_pass, rest_control=state.free_control, goal=state.free.r[-1]
    )
    return closed_form(static, still, duration=duration)


_BEYOND = 1.25
"""How much longer than predicted the settling is watched."""


def _observed(
    chip: Chip, x: Tensor, step: Tensor, state: StaticState, settling: Settling, accuracy: float
) -> Observed:
    """Settling in the behavioural realisation, in seconds."""
    design = chip.design
    latest = max(float(settling.time.max()), float(settling.update_time(accuracy).max()))
    dt = design.tau_v / 10
    steps = math.ceil(_BEYOND * latest / design.seconds / dt) + 1
    (run,) = Behavioural([chip], tolerance=2e-5).run(x, step, dt=dt, steps=steps)
    found = observed(
        run,
        state,
        band=settling.band,
        angle=accuracy,
        double_sampling=design.readout.double_sampling,
    )
    return Observed(found.control * design.seconds, found.update * design.seconds)


def _border(
    design: Design, static: StaticChip, state: StaticState, learning_rate: float
) -> tuple[Energy, tuple[float, ...] | None]:
    converted = converters(design)
    try:
        step = weight_steps(design)
    except UserError as error:
        # What else is missing, [write] voltage say, is missing for any number of pulses.
        more = writes(design, [0.0] * design.depth).unknown.values()
        return converted + Energy({}, {items.WRITES: "; ".join([str(error), *more])}), None
    sent = pulses_per_update(static.update(state), learning_rate, step)
    pulses = tuple(float(n.mean()) for n in sent)
    return converted + writes(design, pulses), pulses


def _mean(energy: Energy) -> Energy:
    means = {key: joules.mean().reshape(1).cpu() for key, joules in energy.items.items()}
    return Energy(means, energy.unknown)


def ideal_update(design: Design, x: Tensor, step: Tensor) -> Tensor:
    """Mean update at rest of the ideal network, all layers in one vector as `Update.flat`.

    Args:
        design: the design.
        x: inputs, (batch, n_0).
        step: steps of the output target, (batch, n_L).

    Raises:
        ConvergenceError: a sample without a steady state.
    """
    loop = design.loop()
    free = free_pass(loop, x)
    found = steady_state(loop, free, free.output + step)
    if not bool(found.converged.all()):
        raise ConvergenceError("the ideal loop has no steady state on every sample")
    layers = found.layers
    weights, biases = [], []
    for i, phi in enumerate(loop.activations):
        difference = layers.r[i + 1] - activate(phi, layers.v_ff[i])
        weights.append((difference.T @ layers.r[i] / len(x)).unsqueeze(0))
        biases.append(difference.mean(dim=0, keepdim=True))
    return Update(tuple(weights), tuple(biases)).flat()


def update_angle(design: Design, static: StaticChip, state: StaticState, step: Tensor) -> float:
    """Angle of a chip's mean update at rest to the ideal network's, in degrees.

    Args:
        design: the design.
        static: the chip at rest.
        state: its rest state.
        step: steps of the output target, (batch, n_L).
    """
    return angle(ideal_update(design, state.x, step), static.gradient(state).flat())

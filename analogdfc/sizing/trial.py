"""One trial of a sizing: what a design with given properties does, by static model and margins."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from functools import cached_property
from typing import Any, NamedTuple

from torch import Tensor

from analogdfc.analysis.energy.closed import closed_form
from analogdfc.analysis.energy.peripherals import update_path
from analogdfc.analysis.noise import moment_norm, noise_norm
from analogdfc.analysis.settling import Settling, predict
from analogdfc.analysis.zeroing import zero_energy
from analogdfc.cards.technology import Card
from analogdfc.circuit.chip import Chip
from analogdfc.circuit.design import Design
from analogdfc.circuit.static import StaticChip, StaticState
from analogdfc.circuit.static.stages import Stages
from analogdfc.comparison import UpdateDifference
from analogdfc.cost.estimate import ideal_update
from analogdfc.dynamics.loop import free_pass
from analogdfc.dynamics.reached import steady_state
from analogdfc.errors import ConvergenceError, UserError
from analogdfc.network import Forward
from analogdfc.sizing import specification
from analogdfc.states import digest
from analogdfc.updating.costs import energy_items

_MORE_LEVELS = (1.03, 1.1, 1.25, 1.5, 2.0)
"""Factors on the number of levels that must do as well: at one number alone, the nominal
conductances may lie close to levels by luck."""

CONSTRAINTS = ("angle", "phase margin", "settling", "slewing")
"""Names of the bounds that a design must keep."""


@dataclass(frozen=True)
class Problem:
    """What is sized, and the bounds that it must keep.

    Attributes:
        design: network and controller on the card that gives everything that isn't sized.
        x: inputs, (batch, n_0), dimensionless.
        step: steps of the output target, (batch, n_L).
        seeds: seeds of the chips; the worst of them counts.
        max_angle: bound on the angle between the chip's mean update and the ideal one, in degrees.
        ranges: of the requirements that are sought, by name, in SI units.
        fixed: the other requirements.
        safety: part of the bound that is aimed at; the rest is left to what the static model
            doesn't see.
        duration: length of the controlled phase of a sample, in units of the controller's time.
        phase_margin: least phase margin of the loop, in degrees.
        seed: seed of the search.

    Raises:
        UserError: a bound that is none, nothing to size, a design with devices, or a fixed value or
            an easy end of a range that contradicts the card.
    """

    design: Design
    x: Tensor
    step: Tensor
    _: KW_ONLY
    seeds: tuple[int, ...]
    max_angle: float
    ranges: Mapping[str, tuple[float, float]]
    fixed: Mapping[str, float]
    safety: float = 0.9
    duration: float = 20.0
    phase_margin: float = 30.0
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.max_angle < 90:
            raise UserError(f"angle {self.max_angle}: it must lie between 0 and 90 degrees")
        if not 0 < self.safety <= 1:
            raise UserError(f"safety {self.safety}: it must be above 0 and at most 1")
        if not (self.duration > 0 and self.phase_margin > 0):
            raise UserError(
                f"duration {self.duration}, phase margin {self.phase_margin}: both must be > 0"
            )
        if self.design.devices is not None:
            raise UserError(
                "sizing finds the window and the levels of the card's devices; a design with "
                "devices of its own has both already"
            )
        if not self.seeds or not len(self.x):
            raise UserError("sizing needs at least one chip and one sample")
        if not self.ranges:
            raise UserError("every requirement is fixed, so there is nothing to size")
        named, allowed = (
            {*self.ranges, *self.fixed},
            specification.requirements_of(self.design.card),
        )
        if named != {*allowed} or {*self.ranges} & {*self.fixed}:
            raise UserError("each requirement must have either a range or a fixed value")
        self._card(specification.loosest(self.ranges))
        path = Chip.of(self.design).circuit.update
        if path is not None and (
            lacks := [key for *_, j, key in energy_items(path, 1.0) if j is None]
        ):
            raise UserError(
                f"{lacks[0]}: missing in the card, so that what its update path takes is unknown "
                "and can't be sized"
            )

    @classmethod
    def of(
        cls,
        design: Design,
        x: Tensor,
        step: Tensor,
        *,
        seeds: Sequence[int],
        max_angle: float,
        ranges: Mapping[str, tuple[float, float]] | None = None,
        fixed: Mapping[str, float] | None = None,
        **options: Any,
    ) -> Problem:
        """A problem with default ranges for what is neither given a range nor fixed.

        Args:
            design: network and controller on the card that gives everything that isn't sized.
            x: inputs, (batch, n_0), dimensionless.
            step: steps of the output target, (batch, n_L).
            seeds: seeds of the chips.
            max_angle: bound on the angle, in degrees.
            ranges: of the requirements that are sought, by name, in SI units; by default those of
                the technology.
            fixed: the other requirements.
            options: the further arguments of the class.

        Raises:
            UserError: a requirement with both, or what the class refuses.
        """
        ranges, fixed = dict(ranges or {}), dict(fixed or {})
        if both := [name for name in ranges if name in fixed]:
            raise UserError(f"'{both[0]}' has both a fixed value and a range; give one of them")
        allowed = specification.requirements_of(design.card)
        if strange := [name for name in (*ranges, *fixed) if name not in allowed]:
            raise UserError(
                f"'{strange[0]}': the card {design.card.card.name!r} says nothing of it "
                f"({specification.REQUIREMENTS[strange[0]].meaning}), so it can't be sized"
            )
        usual = specification.default_ranges(design.tau_v_seconds)
        everything = {**usual, **specification.path_ranges(design.card), **ranges}
        kept = {n: everything[n] for n in allowed if n not in fixed}
        return cls(
            design,
            x,
            step,
            seeds=tuple(seeds),
            max_angle=max_angle,
            ranges=kept,
            fixed=fixed,
            **options,
        )

    @property
    def aim(self) -> float:
        """The angle that the static model has to keep, in degrees."""
        return self.safety * self.max_angle

    @property
    def seconds(self) -> float:
        """Length of the controlled phase in seconds."""
        return self.duration * self.design.seconds

    @cached_property
    def ideal(self) -> tuple[Tensor, Forward]:
        """The ideal network's mean update at rest, flat, and its signals there."""
        loop = self.design.loop()
        free = free_pass(loop, self.x)
        found = steady_state(loop, free, free.output + self.step)
        return ideal_update(self.design, self.x, self.step), found.layers

    def fingerprint(self) -> str:
        """Digest of all that the outcome of a trial depends on, but for what is tried."""
        parts = [
            self.design.sha256,
            [digest(self.x), digest(self.step)],
            list(self.seeds),
            # What a user gave as 5 is the same as 5.0.
            [float(b) for b in (self.max_angle, self.safety, self.phase_margin, self.duration)],
            {name: [float(end) for end in ends] for name, ends in self.ranges.items()},
            {name: float(value) for name, value in self.fixed.items()},
        ]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    def realised(self, values: Mapping[str, float]) -> Design:
        """The design with these properties (SI units, by name); fixed ones are added.

        Args:
            values: the requirements that are sought, by name, in SI units.
        """
        return self.design.on(self._card(values))

    @property
    def remarks(self) -> tuple[str, ...]:
        """What is unusual about the card with the fixed values, all others as good as they get."""
        return self._card(specification.tightest(self.ranges)).remarks

    def _card(self, values: Mapping[str, float]) -> Card:
        return specification.with_values(self.design.card, {**values, **self.fixed})


class Outcome(NamedTuple):
    """What a trial design does.

    Attributes:
        values: the requirements that are sought, by name, in SI units.
        angle: of the worst chip, with noise and slewing, in degrees.
        static: of the worst chip without them, with these levels or with more.
        noise: angle that the noise of the average adds in quadrature.
        slew: upper limit of the angle that slewing adds.
        energy: of one sample's controlled phase and of its update path, for whose product the
            circuit stays supplied, with the switches of the neurons' auto-zero, in joules.
        effort: decades by which the requirements are tighter than their easy ends, in sum.
        phase_margin: of the loop with the largest gain and the least wire resistance of the
            ranges, in degrees; 0 where it is unstable.
        settling: of the same loop, time until the control signal stays within 2 %, in seconds.
        slewing: time that the largest swing takes at the slew rate, in seconds.
        reason: why there are no numbers, or why the loop is unstable; else empty.
    """

    values: dict[str, float]
    angle: float = math.nan
    static: float = math.nan
    noise: float = math.nan
    slew: float = math.nan
    energy: float = math.nan
    effort: float = math.nan
    phase_margin: float = 0.0
    settling: float = math.inf
    slewing: float = math.inf
    reason: str = ""

    @property
    def works(self) -> bool:
        """Whether the chip has a rest state, so that there is an angle and an energy."""
        return not math.isnan(self.angle)

    def excess(self, problem: Problem, aim: float) -> dict[str, float]:
        """By how much, relative, each bound (of `CONSTRAINTS`) is broken; negative where kept.

        Args:
            problem: what has the bounds.
            aim: the angle to keep, in degrees.
        """
        found = (
            self.angle / aim - 1,
            1 - self.phase_margin / problem.phase_margin,
            self.settling / problem.seconds - 1,
            self.slewing / problem.design.tau_v_seconds - 1,
        )
        return dict(zip(CONSTRAINTS, found, strict=True))

    def keeps(self, problem: Problem, aim: float) -> bool:
        """Whether all bounds are kept.

        Args:
            problem: what has the bounds.
            aim: the angle to keep, in degrees.
        """
        return self.works and max(self.excess(problem, aim).values()) <= 0


def evaluate(problem: Problem, values: Mapping[str, float], enough: float = math.inf) -> Outcome:
    """Try a design: static model of all chips, margins and energy of the first.

    The values are limits, so what lies on their safe side is tried where it isn't surely better:
    the worst chip has to do with more levels too, and the margin is that of the largest gain and
    the least wire resistance, which damps.

    Args:
        problem: what is sized.
        values: the requirements that are sought, in SI units.
        enough: angle in degrees beyond which nothing else is asked.

    Returns:
        The outcome; of a design without a rest state, or whose weights don't fit the window, only
        the reason; of one beyond `enough`, only the angle.
    """
    kept = dict(values)
    try:
        design = problem.realised(kept)
        solved = [_solved(problem, design, seed) for seed in problem.seeds]
        angles = [_angle(problem, *pair) for pair in solved]
        if max(angles) > enough:
            return Outcome(kept, max(angles), max(angles))
        worst = problem.seeds[max(range(len(angles)), key=angles.__getitem__)]
        finer = [problem.realised({**kept, "levels": n}) for n in _more_levels(problem, kept)]
        angles += [_angle(problem, *_solved(problem, d, worst)) for d in finer]
        static = max(angles)
        first, state = solved[0]
        path = first.chip.circuit.update
        supplied = problem.seconds + (0.0 if path is None else path.seconds)
        energy = closed_form(first, state, duration=supplied).total.mean()
        energy = energy + update_path(first.chip, problem.seconds).total.sum()
        energy = energy + zero_energy(first.chip.circuit, design.card).total.sum()
    except UserError as error:
        return Outcome(kept, reason=str(error))
    noise = noise_angle(problem, design)
    slewing = _slewing(design, state, problem.step)
    slew = math.degrees(slewing / problem.seconds)
    outcome = Outcome(
        kept,
        math.hypot(static, noise, slew),
        static,
        noise,
        slew,
        float(energy),
        specification.effort(kept, problem.ranges),
        slewing=slewing,
    )
    try:
        settling = _settling(problem, kept)
    except ConvergenceError as error:
        return outcome._replace(reason=str(error))
    return outcome._replace(
        phase_margin=float(settling.phase_margin.min()), settling=float(settling.time.max())
    )


def _settling(problem: Problem, values: Mapping[str, float]) -> Settling:
    """Of the first chip and sample, on the lively side of gain and wires."""
    hard = specification.tightest(problem.ranges)
    lively = {name: end for name, end in hard.items() if name in ("gain", "word", "bit")}
    design = problem.realised({**values, **lively})
    return predict(design, problem.seeds[0], problem.x[:1], problem.step[:1], limits=False)


def _solved(problem: Problem, design: Design, seed: int) -> tuple[StaticChip, StaticState]:
    chip = StaticChip.of(Chip.of(design, seed))
    return chip, chip.solve(problem.x, problem.step)


def _angle(problem: Problem, chip: StaticChip, state: StaticState) -> float:
    return UpdateDifference.of(problem.ideal[0], chip.gradient(state).flat()).angle


def _more_levels(problem: Problem, values: Mapping[str, float]) -> list[float]:
    """Larger numbers of levels, within the range; none where the number is given."""
    if "levels" not in problem.ranges:
        return []
    own, most = values["levels"], problem.ranges["levels"][1]
    more = {min(float(math.ceil(own * factor)), most) for factor in _MORE_LEVELS}
    return sorted(more - {own})


def noise_angle(problem: Problem, design: Design) -> float:
    """Angle by which the amplifiers' noise turns the mean update, rms, in degrees.

    Of the averaged reading; with an update path, whose own noise is among what its chips draw, of
    the moment that it holds.
    """
    ideal, rest = problem.ideal
    chip = Chip.of(design)
    if chip.circuit.update is None:
        norm = noise_norm(chip, design.loop(), rest, problem.seconds)
    else:
        norm = moment_norm(chip, rest)
    return math.degrees(math.atan(norm / float(ideal.norm())))


def _slewing(design: Design, state: StaticState, step: Tensor) -> float:
    """Time that the largest swing of an amplifier takes at the slew rate, in seconds.

    From the free state to rest, or the jump of the controller's output stage at the release. An
    amplifier that never reaches its slew rate takes less of it, so this is an upper limit.
    """
    jump = design.card.scale.control * jump_gain(design) * float(step.abs().max())
    volts = zip(state.volts_rest.values(), state.volts_free.values(), strict=True)
    swing = max(jump, *(float((a - b).abs().max()) for a, b in volts))
    rate = design.card.amplifier.slew_rate
    return swing / rate if rate is not None else 0.0


def jump_gain(design: Design) -> float:
    """Largest gain by which a step of the error passes the controller's output stage at once.

    Feedback resistor, or that in series with the capacitor, over the resistor from the error; what
    leaks is left out.
    """
    chip = Chip.of(design)
    circuit, stages = chip.circuit, Stages(chip)
    out, error = circuit.bank[circuit.control.u_minus.bank], circuit.control.e.port
    series = [b.ohms for b in circuit.branches if {b.a, b.b} == {out.x, out.o}]
    ohms = series[0] if series else 1 / stages.between(out, out.o)
    return float((ohms * stages.between(out, error)).max())


def unseen_angle(problem: Problem, values: Mapping[str, float], seed: int) -> float:
    """Angle of one further chip, with noise, in degrees; nan where it has no rest state."""
    design = problem.realised(values)
    try:
        static = _angle(problem, *_solved(problem, design, seed))
    except ConvergenceError:
        return math.nan
    return math.hypot(static, noise_angle(problem, design))

"""The static model of a chip: every amplifier at rest, folded into an ideal loop.

Each stage at rest gives V_out (G_f + G_S / A0') = G_S V_os - sum G_k V_k, with G_S the sum of all
conductances at its summing node and A0' = A0 / (1 + R_out G_load). All of that is affine, so a
chip with static imperfections is an ideal loop with other weights, biases, feedback and damping
(the model of `Rung.STATIC`, at the cost of the ideal network).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from analogdfc.circuit.chip import Chip
from analogdfc.circuit.conductances import Pair, conductances
from analogdfc.circuit.description import Array
from analogdfc.circuit.static.control import fold_control
from analogdfc.circuit.static.folded import (
    FoldedControl,
    FoldedLayer,
    Held,
    moved,
    nominal_pair,
    on_levels,
    refolded_held,
    refolded_layer,
)
from analogdfc.circuit.static.folding import fold_layers
from analogdfc.circuit.static.stages import Stages
from analogdfc.circuit.static.state import StaticState
from analogdfc.circuit.static.volts import (
    control_volts,
    measured,
    neuron_volts,
)
from analogdfc.circuit.updates import read_update
from analogdfc.dynamics import Loop, Readings, Update
from analogdfc.dynamics.loop import free_pass
from analogdfc.dynamics.reached import SteadyState, steady_state
from analogdfc.dynamics.stability import abscissa
from analogdfc.dynamics.steady import rest
from analogdfc.errors import ConvergenceError, UserError
from analogdfc.network import Forward
from analogdfc.samples import check_samples
from analogdfc.updating import PHASE

_ROUNDS = 50

_ROOM = 3.0
"""Multiple of the amplifiers' rails that a control signal without rails may pass on its way."""

_ROUNDINGS = 64
"""Units in the last place in which two rounds of the free phase may differ."""

_NO_DAMPING = 1e-14
"""Below it, damping is what rounding leaves of an integrator of infinite gain without a leak."""


@dataclass(frozen=True)
class StaticChip:
    """A chip with amplifiers without delay, as an ideal loop.

    Attributes:
        chip: the chip; its weights are those that were folded first.
        layers: what turns weights into those of the loop, and its signals into voltages.
        control: the same for the controller.
        loop: the folded loop, dimensionless. Its potentials are the inputs of the tanh cells, its
            control signal is counted from that of the free phase and scaled so that all channels
            share one damping.
        weights: W_1..W_L that the chip stands for now, (n_i, n_{i-1}).
        biases: b_1..b_L, (n_i,).
        rounded: whether they were put on the card's levels.
        held: what the forward crossbars hold where they are made of devices; None for those of the
            card, which follow from the weights.
    """

    chip: Chip
    layers: tuple[FoldedLayer, ...]
    control: FoldedControl
    loop: Loop
    weights: tuple[Tensor, ...]
    biases: tuple[Tensor, ...]
    rounded: bool = True
    held: tuple[Held, ...] | None = None

    @classmethod
    def of(cls, chip: Chip) -> StaticChip:
        """Solve the crossbars of a chip and fold everything else into them.

        Raises:
            UserError: a chip with feedback compartments, which the static model doesn't have.
        """
        design = chip.design
        if design.compartments is not None:
            raise UserError(
                "a chip with feedback compartments has no static model here, since noise that "
                "moves them leaves nothing at rest; take the design without compartments"
            )
        stages = Stages(chip)
        control = fold_control(chip, stages)
        layers = fold_layers(chip, stages, control)
        damping = design.controller.damping
        if damping == 0:
            damping = float(control.leak.mean())
            if abs(damping) < _NO_DAMPING:
                damping = 0.0
        scale = damping / control.leak if damping > 0 else torch.ones_like(control.leak)
        control = control._replace(scale=scale)
        loop = design.loop()._replace(
            feedback=tuple(layer.push * scale for layer in layers),
            # At rest a controller is its damping; on the way there, the rest of it counts too.
            controller=design.controller.with_damping(damping),
        )
        bare = cls(chip, layers, control, loop, design.weights, design.biases)
        if design.devices is None:
            return bare.refolded(design.weights, design.biases)
        pairs = _forward(chip)
        return bare._holding(tuple(Held.of(p, x.unit) for p, x in zip(pairs, layers, strict=True)))

    def refolded(
        self,
        weights: Sequence[Tensor],
        biases: Sequence[Tensor],
        *,
        rounded: bool = True,
        sums: Sequence[Tensor] | None = None,
    ) -> StaticChip:
        """The chip with its crossbars programmed to other weights.

        Every path keeps its share of the wires' drop; feedback, amplifiers and offsets stay.
        Without devices those of the card keep their relative deviations, and it takes a few
        elementwise operations a weight. Devices are programmed anew, with the draws of the chip's
        seed, unless the sums of their pairs are given, whose differences the weights then are.

        Args:
            weights: nominal W_1..W_L, (n_i, n_{i-1}), in the units of the design. Without devices
                they are not held to the conductance window; see `largest`.
            biases: b_1..b_L, (n_i,).
            rounded: put the weights on the card's levels, if it has levels.
            sums: G+ + G- of the devices as they were read, (n_i, n_{i-1} + 1) each, bias last, in
                siemens.

        Raises:
            UserError: a shape that isn't the design's, sums for a chip without devices, or a weight
                that the devices can't hold.
        """
        sizes = self.chip.design.sizes
        expected = list(zip(sizes[1:], sizes[:-1], strict=True))
        if [tuple(w.shape) for w in weights] != expected or [len(b) for b in biases] != [
            n for n, _ in expected
        ]:
            found = [tuple(w.shape) for w in weights]
            raise UserError(f"weights of shapes {found}: the chip was made for {expected}")
        if sums is not None:
            self._check_sums(sums)
            plain = [[t.detach() for t in ts] for ts in (weights, biases)]
            held = tuple(map(Held, *plain, sums))
        elif self.chip.design.devices is not None:
            held = tuple(self._programmed(weights, biases))
        else:
            with torch.no_grad():
                folded = [
                    refolded_layer(layer, w.detach(), b.detach(), rounded=rounded)
                    for layer, w, b in zip(self.layers, weights, biases, strict=True)
                ]
            chip = replace(self, weights=tuple(weights), biases=tuple(biases), rounded=rounded)
            return chip._looped(folded)
        return replace(self, weights=tuple(weights), biases=tuple(biases))._holding(held)

    def _holding(self, held: tuple[Held, ...]) -> StaticChip:
        with torch.no_grad():
            folded = [refolded_held(*both) for both in zip(self.layers, held, strict=True)]
        return replace(self, held=held)._looped(folded)

    def _looped(self, folded: Sequence[tuple[Tensor, Tensor]]) -> StaticChip:
        weights, biases = zip(*folded, strict=True)
        return replace(self, loop=self.loop._replace(weights=weights, biases=biases))

    def _programmed(self, weights: Sequence[Tensor], biases: Sequence[Tensor]) -> Iterator[Held]:
        for i, (w, b) in enumerate(zip(weights, biases, strict=True), start=1):
            matrix = torch.cat([w.detach(), b.detach().unsqueeze(-1)], dim=1).cpu().double()
            pair = conductances(self.chip.design, i, "forward", self.chip.seed, matrix)
            yield Held.of(Pair(*(g.to(w) for g in pair)), self.layers[i - 1].unit)

    def _check_sums(self, sums: Sequence[Tensor]) -> None:
        expected = [tuple(p.plus.shape) for p in _forward(self.chip)]
        found = [tuple(total.shape) for total in sums]
        if self.chip.design.devices is None or found != expected:
            made = f"crossbars of {expected}"
            if self.chip.design.devices is None:
                made = "a chip without devices"
            raise UserError(f"sums of pairs of shapes {found} for {made}")

    def to(
        self, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> StaticChip:
        """The same chip on another device or in another precision."""

        def move(t: Tensor) -> Tensor:
            return t.to(device=device, dtype=dtype)

        return StaticChip(
            self.chip,
            tuple(moved(layer, move) for layer in self.layers),
            moved(self.control, move),
            self.loop._replace(
                weights=tuple(map(move, self.loop.weights)),
                biases=tuple(map(move, self.loop.biases)),
                feedback=tuple(map(move, self.loop.feedback)),
            ),
            tuple(map(move, self.weights)),
            tuple(map(move, self.biases)),
            self.rounded,
            None if self.held is None else tuple(moved(held, move) for held in self.held),
        )

    def devices(self, i: int) -> Pair:
        """Conductances of layer i's forward crossbar, (n_i, n_{i-1} + 1) each."""
        layer, design, drawn = self.layers[i - 1], self.chip.design, _forward(self.chip)[i - 1]
        if self.held is not None:
            return self.held[i - 1].pair(layer.unit)

        def nominal(w: Tensor, b: Tensor, rounded: bool) -> Pair:
            both = torch.cat([w.detach(), b.detach().unsqueeze(-1)], dim=1).to(drawn.plus)
            both = on_levels(both, layer.quantum if rounded else 0.0)
            return nominal_pair(both, layer.unit, design.window.g_min)

        now = nominal(self.weights[i - 1], self.biases[i - 1], self.rounded)
        made = nominal(design.weights[i - 1], design.biases[i - 1], True)
        return Pair(drawn.plus * now.plus / made.plus, drawn.minus * now.minus / made.minus)

    def programmed(self) -> Chip:
        """The chip with the conductances that its forward crossbars have now, on the CPU."""
        weights, biases = (
            [t.detach().cpu().double() for t in ts] for ts in (self.weights, self.biases)
        )
        pairs = [
            Pair(*(g.detach().cpu() for g in self.devices(i + 1))) for i in range(len(weights))
        ]
        return self.chip.holding(weights, biases, pairs)

    @property
    def largest(self) -> tuple[float, ...]:
        """Largest weight of each layer that fits into the conductance window."""
        design = self.chip.design
        return tuple(design.weight_limit(i) for i in range(1, design.depth + 1))

    @torch.no_grad()
    def solve(
        self,
        x: Tensor,
        step: Tensor | Callable[[Tensor], Tensor],
        *,
        tolerance: float = 1e-10,
        reached: bool = True,
    ) -> StaticState:
        """Free state and rest state under control.

        Args:
            x: inputs, (batch, n_0), dimensionless.
            step: step of the output target, r* - r_L of the free phase, (batch, n_L); or what
                makes it of the r_L that is measured in the free phase.
            tolerance: residual of Newton's method, relative to the error of the free state.
            reached: refuse a sample that doesn't come to rest. Where it does, its rest is that to
                which the dynamics go either way; else the state is one that an unstable loop
                leaves, of use to whoever asks how fast.

        Raises:
            UserError: shapes that don't fit, no samples, numbers that aren't finite, or a tolerance
                that isn't positive.
            ConvergenceError: a sample without a rest state; the message names it.
        """
        if not 0 < tolerance < math.inf:
            raise UserError(f"tolerance = {tolerance:g}: it must be finite and > 0")
        self._check(x, step if isinstance(step, Tensor) else x.new_zeros(len(x), self._outputs))
        loop, c = self.loop, self.control
        base = free_pass(loop, x)
        free, u_free = self._free(base)
        if not isinstance(step, Tensor):
            step = step(c.measured(free.output))
            check_samples(self.chip.design.sizes, x, step, what="target steps")
            _check_finite(step)
        output = c.measured(free.output)
        goal = output if c.relative else self._nominal_output(x)
        goal = goal + step
        zero = c.stored(output)
        target = c.target(goal, zero)
        found = steady_state(loop, base, target, limit=self._limit, tolerance=tolerance)
        good = found.converged if reached else found.converged | found.root
        if not bool(good.all()):
            k = int(torch.nonzero(~good)[0])
            raise ConvergenceError(
                f"sample {k} (counted from 0): the dynamics of the controlled chip come "
                f"to no rest state; {_left(loop, found, k)}"
            )
        return StaticState(
            self, x, free, found.layers, u_free, c.baseline + c.scale * found.u, goal, zero,
            found.converged,
        )  # fmt: skip

    def gradient(self, state: StaticState) -> Update:
        """Mean of `update` over the batch, weights (1, n_i, n_{i-1}), for one matrix product."""
        if self.chip.circuit.update is not None:
            found = self.update(state)
            return Update(
                tuple(w.mean(dim=0, keepdim=True) for w in found.weights),
                tuple(b.mean(dim=0, keepdim=True) for b in found.biases),
            )
        weights, biases = [], []
        for d, r in zip(state.differences, state.presynaptic, strict=True):
            weights.append((d.T @ r).div_(len(d)).unsqueeze(0))
            biases.append(d.mean(dim=0, keepdim=True))
        return Update(tuple(weights), tuple(biases))

    def update(self, state: StaticState, differences: Sequence[Tensor] | None = None) -> Update:
        """Weight update of every sample as read from the chip, (phi(v) - phi(v_ff)) r^T at rest.

        Meulemans et al. 2021, Algorithm 2, with the free phase's difference taken off where the
        design's readout samples twice. Where the chip has an update path, it is what that forms
        after a controlled phase of the usual length.

        Args:
            state: the chip's rest state.
            differences: phi(v) - phi(v_ff) as they are read, by default those of the state.
        """
        if self.chip.circuit.update is not None:
            rest = state.rest
            if differences is not None:
                moved = zip(rest.r_ff, differences, state.differences, strict=True)
                rest = replace(rest, r_ff=tuple(r - (d - own) for r, d, own in moved))
            seconds = PHASE * self.chip.design.seconds
            return read_update(self.chip, state.x, state.free, rest, seconds=seconds)
        if differences is None:
            differences = state.differences
        pairs = list(zip(differences, state.presynaptic, strict=True))
        return Update(
            tuple(d.unsqueeze(-1) * r.unsqueeze(-2) for d, r in pairs),
            tuple(d for d, _ in pairs),
        )

    def readings(self, signals: Forward) -> Readings:
        """Measured signals, (..., n_i), of those of the folded loop."""
        return measured(self.layers, signals)

    def volts(
        self, signals: Readings, control: Tensor, goal: Tensor, between: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        """Output voltages of every bank of amplifiers, (..., n).

        Args:
            signals: the neurons' measured signals.
            control: control signal as its amplifier makes it, (..., n_L).
            goal: target r*, (..., n_L).
            between: volts of the controller's further amplifiers, by bank.
        """
        found = {**between, **neuron_volts(self.chip, self.layers, signals)}
        found |= control_volts(self.chip, self.control, signals.r[-1], control, goal)
        return {bank.name: found[bank.name] for bank in self.chip.circuit.banks}

    def _check(self, x: Tensor, step: Tensor) -> None:
        check_samples(self.chip.design.sizes, x, step, what="target steps")
        _check_finite(x, step)

    @property
    def _limit(self) -> Tensor | None:
        """Control signal of the loop from which amplifiers with rails hold it, with room."""
        most = self.chip.design.card.amplifier.reach
        if most is None:
            return None
        return _ROOM * most / self.chip.design.card.scale.control / self.control.scale.abs()

    @property
    def _outputs(self) -> int:
        return self.chip.design.sizes[-1]

    def _nominal_output(self, x: Tensor) -> Tensor:
        ideal = self.loop._replace(weights=self.weights, biases=self.biases)
        return free_pass(ideal, x).output

    def _free(self, base: Forward) -> tuple[Forward, Tensor]:
        """The free phase, and its control signal as the circuit has it."""
        c = self.control
        if c.follow is None:
            return base, c.baseline.expand_as(base.output)
        # Without auto-zero the reset switch leaves a little of the error: a weak loop.
        free, u = base, torch.zeros_like(base.output)
        near = _ROUNDINGS * torch.finfo(u.dtype).eps
        for _ in range(_ROUNDS):
            last, u = u, c.follow * c.measured(free.output) / c.scale
            free = rest(self.loop, base, u)
            if bool(((u - last).abs() <= near * (1 + u.abs())).all()):
                return free, c.baseline + c.scale * u
        raise ConvergenceError("the free phase does not settle: the reset switch is too resistive")


def _left(loop: Loop, found: SteadyState, k: int) -> str:
    """What is known of a sample without a rest."""
    if not bool(found.root[k]):
        return f"residual {float(found.residual[k]):.3g} of its first error"
    one = [ri[k : k + 1] for ri in found.layers.r[1:]]
    growth = float(abscissa(loop, one, found.u[k : k + 1]))
    if growth < 0:
        return (
            "its equations have one that is stable, but the loop isn't seen to go there: it "
            "oscillates, takes very long, or its control signal grows beyond what amplifiers "
            "reach. Take smaller target steps or weights, or other feedback weights"
        )
    return (
        f"that of its equations is unstable, a mode grows by {growth:.3g} per unit of the "
        "controller's time. A loop that oscillates needs weaker feedback to the hidden layers, "
        "smaller weights, or a slower controller (a longer tau_u with a low k_p)"
    )


def _check_finite(*numbers: Tensor) -> None:
    for t in numbers:
        # A sum of finite numbers may overflow, which is rare; that of others is never finite.
        if not (torch.isfinite(t.sum()) or torch.isfinite(t).all()):
            raise UserError("inputs and target steps must be finite numbers")


def _forward(chip: Chip) -> tuple[Pair, ...]:
    """Conductances of the forward crossbars as the chip was made."""
    return tuple(Pair(c.plus, c.minus) for c in chip.circuit.crossbars_of(Array.FORWARD))

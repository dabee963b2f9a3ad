"""Where a chip comes to rest, and what is read from it there."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from analogdfc.circuit.description import CONTROLLER, Description
from analogdfc.circuit.static.volts import (
    activations,
    between_free,
    between_rest,
    differences,
)
from analogdfc.dynamics import Readings
from analogdfc.errors import ConvergenceError
from analogdfc.network import Forward

if TYPE_CHECKING:
    from analogdfc.circuit.static.chip import StaticChip


_FLAT = 4.0
"""Rails, in volts that make tanh(1), from which tanh of a clipped potential errs by below 0.001."""


def must_move(circuit: Description) -> list[str]:
    """Banks that have to be free of the rails for the loop to close: controller and output.

    A hidden neuron that is clipped leaves it closed.
    """
    last = circuit.layers[-1]
    banks = [b.name for b in circuit.banks if b.part == CONTROLLER]
    return list(dict.fromkeys((*banks, last.v.bank, last.r.bank)))


@dataclass(frozen=True)
class StaticState:
    """Where a chip comes to rest, free and under control.

    Attributes:
        chip: the chip.
        x: inputs, (batch, n_0).
        free_pass: signals of the folded loop in the free phase.
        rest_pass: the same under control.
        free_control: control signal as its amplifier makes it in the free phase, (batch, n_L).
        rest_control: the same under control.
        goal: target r*, (batch, n_L).
        zero: what the auto-zero has stored, (batch, n_L), in volts.
        reached: whether the dynamics go to that rest, (batch,); always where it was asked for.
    """

    chip: StaticChip
    x: Tensor
    free_pass: Forward
    rest_pass: Forward
    free_control: Tensor
    rest_control: Tensor
    goal: Tensor
    zero: Tensor
    reached: Tensor

    def sample(self, k: int) -> StaticState:
        """One sample, as a batch of one."""

        def part(x: Tensor) -> Tensor:
            return x[k : k + 1]

        def parts(signals: Forward) -> Forward:
            return Forward(*(tuple(map(part, kind)) for kind in signals))

        return StaticState(
            self.chip, part(self.x), parts(self.free_pass), parts(self.rest_pass),
            part(self.free_control), part(self.rest_control), part(self.goal), part(self.zero),
            part(self.reached),
        )  # fmt: skip

    @cached_property
    def free(self) -> Readings:
        """Measured signals of the free phase, (batch, n_i)."""
        return self.chip.readings(self.free_pass)

    @cached_property
    def rest(self) -> Readings:
        """Measured signals under control, (batch, n_i)."""
        return self.chip.readings(self.rest_pass)

    @cached_property
    def u(self) -> Tensor:
        """Measured control signal, (batch, n_L)."""
        c = self.chip.control
        return c.inv_gain * self.rest_control + c.inv_offset

    @cached_property
    def volts_free(self) -> dict[str, Tensor]:
        """Output voltages of every bank of amplifiers in the free phase, (batch, n)."""
        chip, output = self.chip, self.free.r[-1]
        between = between_free(chip.chip, chip.control, output)
        return chip.volts(self.free, self.free_control, output, between)

    @cached_property
    def volts_rest(self) -> dict[str, Tensor]:
        """The same under control."""
        chip, u, goal = self.chip, self.rest_control, self.goal
        between = between_rest(chip.chip, chip.control, u, goal, self.zero)
        return chip.volts(self.rest, u, goal, between)

    def check_rails(self, limit: float | None) -> None:
        """Refuse a rest state that amplifiers with rails don't reach.

        The static model has no rails. All amplifiers count, but potentials only where the tanh of
        one at the rails isn't as good as that of one beyond.

        Args:
            limit: largest magnitude of an output, in volts; None for no limit.

        Raises:
            ConvergenceError: a sample whose rest state, or free phase, needs more; the message
                names it.
        """
        if limit is not None:
            self._check(limit, self._needed(limit))

    def check_loop(self, limit: float | None) -> None:
        """The same of those amplifiers alone without which the loop is open (`must_move`).

        Args:
            limit: see `check_rails`.

        Raises:
            ConvergenceError: see `check_rails`.
        """
        if limit is not None:
            self._check(limit, self._at_rest(must_move(self.chip.chip.circuit)))

    @staticmethod
    def _check(limit: float, needed: Iterable[tuple[str, str, Tensor]]) -> None:
        for when, bank, most in needed:
            k = int(most.argmax())
            if float(most[k]) > limit:
                raise ConvergenceError(
                    f"sample {k} (counted from 0): {when} '{bank}' would need "
                    f"{float(most[k]):.3g} V, beyond the amplifiers' {limit:.3g} V. Take smaller "
                    "weights or target steps, stronger feedback weights or fewer volts in [scale]"
                )

    @property
    def needed(self) -> Tensor:
        """Largest voltage that counts for `check_rails` of the card's amplifiers, (batch,)."""
        limit = self.chip.chip.design.card.amplifier.reach
        found = self._needed(math.inf if limit is None else limit)
        return torch.stack([most for *_, most in found]).amax(dim=0)

    def _needed(self, limit: float) -> Iterator[tuple[str, str, Tensor]]:
        """When which bank needs what, (batch,), of those that count, the loop's first."""
        design, circuit = self.chip.chip.design, self.chip.chip.circuit
        first = must_move(circuit)
        # Of linear neurons the potentials are the activations, too.
        flat = {tap.bank for layer in circuit.layers for tap in (layer.v, layer.v_ff)}
        flat -= {tap.bank for layer in circuit.layers for tap in (layer.r, layer.r_ff)}
        if limit < _FLAT * design.card.tanh_scale:
            flat = set()
        neurons = [b.name for b in circuit.banks if b.part != CONTROLLER]
        others = [name for name in neurons if name not in first and name not in flat]
        yield from self._at_rest([*first, *others])
        for name in neurons:
            if name not in flat:
                yield "in the free phase", name, self.volts_free[name].abs().amax(dim=-1)

    def _at_rest(self, banks: Sequence[str]) -> Iterator[tuple[str, str, Tensor]]:
        for name in banks:
            yield "at rest", name, self.volts_rest[name].abs().amax(dim=-1)

    @cached_property
    def presynaptic(self) -> tuple[Tensor, ...]:
        """Measured r_0..r_{L-1} under control, (batch, n_i)."""
        return (self.x, *activations(self.chip.layers, self.rest_pass)[:-1])

    @property
    def output(self) -> Tensor:
        """Measured r_L of the free phase, (batch, n_L)."""
        return self.chip.control.measured(self.free_pass.output)

    @cached_property
    def differences(self) -> tuple[Tensor, ...]:
        """phi(v) - phi(v_ff) of layers 1..L as read, (batch, n_i)."""
        before = self.free_pass if self.chip.control.double_sampling else None
        return differences(self.chip.layers, self.rest_pass, before)

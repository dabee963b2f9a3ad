"""Where a chip comes to rest, and what is read from it there."""

from __future__ import annotations

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


def must_move(circuit: Description) -> list[str]:
    """Banks that have to be free of the rails for the loop to close: controller and output.

    A hidden neuron whose potential is clipped has a saturated tanh anyway.
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

        The static model has no rails; see `must_move` for which count.

        Args:
            limit: largest magnitude of an output, in volts; None for no limit.

        Raises:
            ConvergenceError: a sample whose rest state needs more; the message names it.
        """
        if limit is None:
            return
        for bank, most in self._needed():
            k = int(most.argmax())
            if float(most[k]) > limit:
                raise ConvergenceError(
                    f"sample {k} (counted from 0): at rest '{bank}' would need "
                    f"{float(most[k]):.3g} V, beyond the amplifiers' {limit:.3g} V. Take smaller "
                    "target steps, stronger feedback weights or fewer volts in [scale]"
                )

    @property
    def needed(self) -> Tensor:
        """Largest voltage that an amplifier which must move has at rest, in volts, (batch,)."""
        return torch.stack([most for _, most in self._needed()]).amax(dim=0)

    def _needed(self) -> list[tuple[str, Tensor]]:
        """The same of each bank that must move."""
        banks = must_move(self.chip.chip.circuit)
        return [(bank, self.volts_rest[bank].abs().amax(dim=-1)) for bank in banks]

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

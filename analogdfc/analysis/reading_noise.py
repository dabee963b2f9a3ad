"""Noise of the amplifiers in an update that is read from a chip."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from analogdfc.circuit.chip import Chip
from analogdfc.devices.draws import check_number
from analogdfc.errors import UserError

BOLTZMANN = 1.380649e-23
"""Boltzmann's constant in J / K (SI)."""

TEMPERATURE = 300.0
"""Kelvins of resistors and devices."""


@dataclass(frozen=True)
class ReadingNoise:
    """How long the difference phi(v) - phi(v_ff) is read.

    Attributes:
        settle: seconds over which it is averaged under control, > 0.
        free: seconds over which it is averaged in the free phase, for double sampling; 0 for one
            sample, without an average.
        temperature: in kelvins, > 0.

    Raises:
        UserError: a value out of range.
    """

    settle: float
    free: float = 0.0
    temperature: float = TEMPERATURE

    def __post_init__(self) -> None:
        check_number("time of the reading", self.settle, "s", low=0.0, open_low=True)
        check_number("time of the free phase", self.free, "s", low=0.0)
        check_number("temperature", self.temperature, "K", low=0.0, open_low=True)


@dataclass(frozen=True)
class SomaNoise:
    """The noise of a neuron's soma, a leaky integrator; tensors are (n,).

    Attributes:
        r_f: feedback resistor, in ohms.
        gain: noise gain 1 + g, with g the sum of R_f over all input resistances.
        e_n: noise of the amplifier referred to its input, in V per root hertz.
        tau: time constant of the neuron, in seconds.
        omega: unity-gain frequency of the amplifier, in radians per second; infinite without a
            limit.
        temperature: in kelvins.
    """

    r_f: Tensor
    gain: Tensor
    e_n: float
    tau: float
    omega: float
    temperature: float = TEMPERATURE

    def sampled(self) -> Tensor:
        """Variance of one sample of the output, (n,), in V^2.

        [k T R_f (1 + g) + e_n^2 ((1 + g)^2 + tau_v omega_t) / 4] / (tau_v + (1 + g) / omega_t),
        exact for an amplifier with one pole; infinite for one without.
        """
        thermal = BOLTZMANN * self.temperature * self.r_f * self.gain
        wide = self.e_n**2 * (self.gain**2 + self.tau * self.omega) / 4
        return (thermal + wide) / self._slow()

    def averaged(self, seconds: float) -> Tensor:
        """Variance of the mean of the output over a time T, (n,), in V^2.

        The integral of the density times sinc^2(f T) for an amplifier that is fast against T:

            [2 k T R_f (1 + g) (1 - f) + e_n^2 ((1 + g)^2 - ((1 + g)^2 - 1) f) / 2] / T

        with f = tau / T (1 - exp(-T / tau)) and tau = tau_v + (1 + g) / omega_t. For long T it is
        the density at low frequencies over T.
        """
        tau = self._slow()
        lost = -tau / seconds * torch.expm1(-seconds / tau)
        thermal = 2 * BOLTZMANN * self.temperature * self.r_f * self.gain * (1 - lost)
        amplifier = self.e_n**2 / 2 * (self.gain**2 - (self.gain**2 - 1) * lost)
        return (thermal + amplifier) / seconds

    def _slow(self) -> Tensor:
        return self.tau + self.gain / self.omega


def soma_noise(chip: Chip, temperature: float = TEMPERATURE) -> tuple[SomaNoise, ...]:
    """The noise of the neurons of layers 1..L; all devices of the feedback crossbar count in g.

    Raises:
        UserError: a card without [amplifier] noise.
    """
    design = chip.design
    amplifier = design.card.amplifier
    if amplifier.noise is None:
        raise UserError(
            f"{design.card.card.name}: the noise of an update is unknown without the key 'noise' "
            "of [amplifier]; add it to the card or leave the noise out"
        )
    out = []
    for parts in chip.layers:
        soma = parts.stages["soma"]
        conductance = (parts.q_plus + parts.q_minus).sum(dim=1) + sum(1 / r for r in soma.r_in)
        omega = math.inf
        if amplifier.gain_bandwidth is not None:
            omega = 2 * math.pi * amplifier.gain_bandwidth
        out.append(
            SomaNoise(
                soma.r_f,
                1 + soma.r_f * conductance,
                amplifier.noise,
                design.tau_v_seconds,
                omega,
                temperature,
            )
        )
    return tuple(out)


def reading_sigma(chip: Chip, noise: ReadingNoise) -> tuple[Tensor, ...]:
    """Standard deviation of v - v_ff as read, layers 1..L, (n_i,), dimensionless.

    The variance under control, a mean over `settle`, and with double sampling that of the free
    phase, a mean over `free` or one sample. Both phases are longer than tau_v, so that their noise
    is independent.

    Raises:
        UserError: a card without [amplifier] noise, or one sample of a bandwidth without a limit.
    """
    scale, out = chip.design.card.scale.activation, []
    for soma in soma_noise(chip, noise.temperature):
        variance = soma.averaged(noise.settle)
        if chip.design.readout.double_sampling:
            if noise.free == 0 and math.isinf(soma.omega):
                raise UserError(
                    "one sample of an amplifier without a limit of its bandwidth has infinite "
                    "noise; average the free phase (`free`) or give [amplifier] gain_bandwidth"
                )
            variance = variance + (soma.averaged(noise.free) if noise.free else soma.sampled())
        out.append(variance.sqrt() / scale)
    return tuple(out)

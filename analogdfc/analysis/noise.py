"""Noise of an update that is read from a chip, from the description of its circuit.

Every conductance G at the summing node of an amplifier has the thermal noise 4 k T G, and the
amplifier's own, e_n at its input, meets all of them:

    on the output  4 k T R_f^2 G_S + (e_n R_f G_S)^2,

with G_S the sum of the conductances at the node: one-sided densities at frequencies well below the
amplifier's bandwidth. Where a signal is averaged over a time T that is long against the loop's
settling, such a density S has the variance S / (2 T): it adds what a static error would add that is
drawn anew for every sample.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from analogdfc.circuit.chip import Chip
from analogdfc.circuit.description import CONTROLLER, Bank
from analogdfc.circuit.numbers import AmplifierNumbers
from analogdfc.circuit.static.control import outputs_of_currents
from analogdfc.circuit.static.stages import Stages
from analogdfc.circuit.thermal import BOLTZMANN, ROOM
from analogdfc.devices.draws import check_number
from analogdfc.dynamics import Loop
from analogdfc.errors import UserError
from analogdfc.network import Forward


@dataclass(frozen=True)
class BankNoise:
    """White noise of a bank of amplifiers; tensors are (n,).

    Attributes:
        siemens: sum of all conductances at the summing node.
        r_f: resistance from there to the output, in ohms; infinite for an integrator.
        density: squared density of the amplifier's own noise at its input, one-sided, in V^2/Hz.
        temperature: in kelvins.
    """

    siemens: Tensor
    r_f: Tensor
    density: float
    temperature: float = ROOM

    @classmethod
    def of(cls, stages: Stages, bank: Bank, temperature: float = ROOM) -> BankNoise:
        """That of a bank; all devices of the crossbars that feed it count."""
        siemens = stages.outside(bank) + stages.devices(bank)
        density = AmplifierNumbers.of(stages.card).density
        return cls(siemens, 1 / stages.between(bank, bank.o), density, temperature)

    @property
    def current(self) -> Tensor:
        """Squared density of the current into the node that has the same effect, in A^2/Hz."""
        thermal = 4 * BOLTZMANN * self.temperature * self.siemens
        return thermal + self.density * self.siemens.square()

    @property
    def output(self) -> Tensor:
        """Squared density at the output, in V^2/Hz."""
        return self.r_f.square() * self.current


# The reading of a chip that learns: of each neuron its soma


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
    temperature: float = ROOM

    def __post_init__(self) -> None:
        check_number("time of the reading", self.settle, "s", low=0.0, open_low=True)
        check_number("time of the free phase", self.free, "s", low=0.0)
        check_number("temperature", self.temperature, "K", low=0.0, open_low=True)


@dataclass(frozen=True, kw_only=True)
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
    temperature: float = ROOM

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

        Args:
            seconds: the time T, > 0.
        """
        tau = self._slow()
        lost = -tau / seconds * torch.expm1(-seconds / tau)
        thermal = 2 * BOLTZMANN * self.temperature * self.r_f * self.gain * (1 - lost)
        amplifier = self.e_n**2 / 2 * (self.gain**2 - (self.gain**2 - 1) * lost)
        return (thermal + amplifier) / seconds

    def _slow(self) -> Tensor:
        return self.tau + self.gain / self.omega


def soma_noise(chip: Chip, temperature: float = ROOM) -> tuple[SomaNoise, ...]:
    """The noise of the neurons of layers 1..L.

    Args:
        chip: the chip.
        temperature: in kelvins.

    Raises:
        UserError: a card without [amplifier] noise.
    """
    design, circuit = chip.design, chip.circuit
    amplifier = design.card.amplifier
    if amplifier.noise is None:
        raise UserError(
            f"{design.card.card.name}: the noise of an update is unknown without the key 'noise' "
            "of [amplifier]; add it to the card or leave the noise out"
        )
    stages, omega = Stages(chip, ideal=True), AmplifierNumbers.of(design.card).omega
    out = []
    for taps in circuit.layers:
        bank = BankNoise.of(stages, circuit.bank[taps.v.bank], temperature)
        gain = bank.r_f * bank.siemens
        tau = design.tau_v_seconds
        out.append(
            SomaNoise(
                r_f=bank.r_f,
                gain=gain,
                e_n=amplifier.noise,
                tau=tau,
                omega=omega,
                temperature=temperature,
            )
        )
    return tuple(out)


def reading_sigma(chip: Chip, noise: ReadingNoise) -> tuple[Tensor, ...]:
    """Standard deviation of v - v_ff as read, layers 1..L, (n_i,), dimensionless.

    The variance under control, a mean over `settle`, and with double sampling that of the free
    phase, a mean over `free` or one sample. Both phases are longer than tau_v, so that their noise
    is independent.

    Args:
        chip: the chip.
        noise: how long is read.

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


# The noise of a mean update


def noise_norm(chip: Chip, loop: Loop, rest: Forward, duration: float) -> float:
    """Norm of the noise of the mean update, rms, dimensionless.

    Linearised at rest. All amplifiers' noise goes through the closed loop; with double sampling
    the free phase is averaged as long as the controlled one and doubles the variance. The inverters
    and the tanh cells' currents are left out: their noise reaches the update through single
    devices.

    Args:
        chip: the chip whose components count.
        loop: the equations that are linearised, with direct feedback.
        rest: their signals at rest, (batch, n_i).
        duration: time over which the update is averaged, in seconds.

    Returns:
        Root of the expected squared norm of the noise of `Update.flat`.
    """
    deviation = difference_deviations(chip, loop, rest, duration)
    power = sum(
        float((s.square().sum(dim=-1) * (1 + r.square().sum(dim=-1))).sum())
        for s, r in zip(deviation, rest.inputs, strict=True)
    )
    twice = 2.0 if chip.design.readout.double_sampling else 1.0
    return math.sqrt(twice * power) / len(rest.inputs[0])


def moment_norm(chip: Chip, rest: Forward) -> float:
    """Norm of the noise of a mean update whose differences are held at one moment, rms.

    The noise is that of each neuron's soma on its own, through its slope at rest, up to where the
    holds follow; with double sampling the moment of the free phase doubles the variance.

    Args:
        chip: a chip with an update path.
        rest: the signals at rest, (batch, n_i).

    Returns:
        Root of the expected squared norm of the noise of `Update.flat`, dimensionless.

    Raises:
        UserError: a card without [amplifier] noise, or neither the amplifiers nor the holds have a
            limit of their bandwidth.
    """
    path, design = chip.circuit.update, chip.design
    lag = 0.0 if path is None else path.layers[0].post.lag
    activations, power = design.loop().activations, 0.0
    for i, soma in enumerate(soma_noise(chip)):
        seen = replace(soma, omega=min(soma.omega, 1 / lag)) if lag else soma
        if math.isinf(seen.omega):
            raise UserError(
                "one moment of an amplifier without a limit of its bandwidth has infinite noise; "
                "give [hold] acquisition or [amplifier] gain_bandwidth"
            )
        slope = activations[i].derivative(rest.v[i])
        variance = (slope.square() * seen.sampled()).sum(dim=-1)
        power += float((variance * (1 + rest.inputs[i].square().sum(dim=-1))).sum())
    twice = 2.0 if design.readout.double_sampling else 1.0
    return math.sqrt(twice * power) / design.card.scale.activation / len(rest.inputs[0])


def difference_deviations(
    chip: Chip, loop: Loop, rest: Forward, duration: float
) -> tuple[Tensor, ...]:
    """Standard deviation of the averaged phi(v) - phi(v_ff) of layers 1..L, (batch, n_i)."""
    sources = _Sources(chip, duration)
    n_out, batch = len(loop.biases[-1]), len(rest.v[0])
    width = sources.count + n_out
    # Every signal as a linear map of the sources and, in the last columns, of the control signal.
    r = torch.zeros(batch, loop.weights[0].shape[1], width, dtype=torch.float64)
    differences = []
    layers = zip(chip.circuit.layers, loop.weights, loop.feedback, loop.activations, strict=True)
    for i, (taps, w, q, phi) in enumerate(layers):
        v_ff = w @ r + sources.column(taps.v_ff.bank, width)
        v = v_ff + sources.column(taps.v.bank, width)
        v[..., sources.count :] += q
        r = phi.derivative(rest.v[i]).unsqueeze(-1) * v
        r_ff = phi.derivative(rest.v_ff[i]).unsqueeze(-1) * v_ff
        if taps.r.bank != taps.v.bank:
            r = r + sources.column(taps.r.bank, width)
            r_ff = r_ff + sources.column(taps.r_ff.bank, width)
        differences.append(r - r_ff)
    # At rest, alpha u = e = -r_L + noise of the controller.
    error = sources.error(width)[:, : sources.count] - r[..., : sources.count]
    response = r[..., sources.count :] + loop.controller.damping * torch.eye(n_out)
    u = torch.linalg.solve(response, error)
    return tuple(
        torch.linalg.vector_norm(d[..., : sources.count] + d[..., sources.count :] @ u, dim=-1)
        for d in differences
    )


class _Sources:
    """Independent sources of noise by bank, with their standard deviations, dimensionless."""

    def __init__(self, chip: Chip, duration: float) -> None:
        circuit, unit = chip.circuit, chip.design.card.scale.activation
        stages = Stages(chip, ideal=True)
        left_out = {taps.r_minus.bank for taps in circuit.layers if taps.r_minus is not None}
        self.deviation: dict[str, Tensor] = {}
        power = torch.zeros(circuit.size(circuit.target), dtype=torch.float64)
        worth = outputs_of_currents(stages)
        for bank in circuit.banks:
            noise = BankNoise.of(stages, bank)
            if bank.part == CONTROLLER:
                power = power + worth[bank.name].square() * noise.current
            elif bank.name not in left_out:
                self.deviation[bank.name] = (noise.output / (2 * duration)).sqrt() / unit
        self._error = (power / (2 * duration)).sqrt() / unit
        self.places: dict[str, int] = {}
        self.count = len(self._error)
        for name, values in self.deviation.items():
            self.places[name] = self.count
            self.count += len(values)

    def column(self, name: str, width: int) -> Tensor:
        """The map from all sources to a bank's own noise, (n, width)."""
        return self._map(self.deviation[name], self.places[name], width)

    def error(self, width: int) -> Tensor:
        """The map to that of the control error, of all banks of the controller."""
        return self._map(self._error, 0, width)

    @staticmethod
    def _map(values: Tensor, start: int, width: int) -> Tensor:
        out = torch.zeros(len(values), width, dtype=torch.float64)
        out[:, start : start + len(values)] = torch.diag(values)
        return out

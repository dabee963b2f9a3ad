"""Noise of an update that is read as an average, in closed form.

White noise of one-sided density S, averaged over a time T that is long against the loop's settling,
has the variance S / (2 T). So every amplifier adds what a static error would add that is drawn anew
for every sample: on its output, of variance

    [2 k T_0 R_f^2 sum G + (e_n R_f sum G)^2 / 2] / T,

with sum G over all conductances at its summing node, which make its thermal noise (4 k T_0 G each,
at a temperature T_0) and set the gain R_f sum G of the input noise e_n. The tanh cells
and the inverters are left out: their noise reaches the update through single devices.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from analogdfc.analysis.reading_noise import BOLTZMANN, TEMPERATURE
from analogdfc.cards.technology import Card
from analogdfc.circuit.chip import Chip, Stage
from analogdfc.dynamics import Loop
from analogdfc.network import Forward


def noise_norm(chip: Chip, loop: Loop, rest: Forward, duration: float) -> float:
    """Norm of the noise of the mean update, rms, dimensionless.

    Linearised at rest. All amplifiers' noise goes through the closed loop; with double sampling
    the free phase is averaged as long as the controlled one and doubles the variance.

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
    for i, (w, q, phi) in enumerate(
        zip(loop.weights, loop.feedback, loop.activations, strict=True), start=1
    ):
        v_ff = w @ r + sources.column(f"{i}.basal", width)
        v = v_ff + sources.column(f"{i}.soma", width)
        v[..., sources.count :] += q
        slope = phi.derivative(rest.v[i - 1]).unsqueeze(-1)
        slope_ff = phi.derivative(rest.v_ff[i - 1]).unsqueeze(-1)
        r = slope * v + sources.column(f"{i}.act", width)
        differences.append(r - slope_ff * v_ff - sources.column(f"{i}.act_ff", width))
    # At rest, alpha u = e = -r_L + noise of the controller.
    error = sources.column("error", width)[:, : sources.count] - r[..., : sources.count]
    response = r[..., sources.count :] + loop.controller.damping * torch.eye(n_out)
    u = torch.linalg.solve(response, error)
    return tuple(
        torch.linalg.vector_norm(d[..., : sources.count] + d[..., sources.count :] @ u, dim=-1)
        for d in differences
    )


class _Sources:
    """Independent sources of noise by stage, with their standard deviations, dimensionless."""

    def __init__(self, chip: Chip, duration: float) -> None:
        card = chip.design.card
        unit, control = card.scale.activation, card.scale.control
        self.deviation: dict[str, Tensor] = {}
        for i, layer in enumerate(chip.layers, start=1):
            arrays = {
                "basal": (layer.w_plus + layer.w_minus).sum(dim=-1),
                "soma": (layer.q_plus + layer.q_minus).sum(dim=-1),
            }
            for name, stage in layer.stages.items():
                if name == "inv":
                    continue
                volts = _output_noise(card, stage, arrays.get(name), duration)
                self.deviation[f"{i}.{name}"] = volts / unit
        stages = chip.controller.stages
        error = _output_noise(card, stages["error"], None, duration)
        # The integrator's input: its resistor, and the amplifier behind it.
        r_i = stages["pi"].r_in[0]
        held = (2 * BOLTZMANN * TEMPERATURE * r_i + _density(card) / 2) / duration
        self.deviation["error"] = (error.square() + held).sqrt() / control
        self.places: dict[str, int] = {}
        self.count = 0
        for name, values in self.deviation.items():
            self.places[name] = self.count
            self.count += len(values)

    def column(self, name: str, width: int) -> Tensor:
        """The map from all sources to a stage's own noise, (n, width)."""
        values = self.deviation.get(name)
        if values is None:  # the output layer has no nonlinear cell
            return torch.zeros(1, width, dtype=torch.float64)
        out = torch.zeros(len(values), width, dtype=torch.float64)
        start = self.places[name]
        out[:, start : start + len(values)] = torch.diag(values)
        return out


def _density(card: Card) -> float:
    """Squared density of an amplifier's noise, one-sided, in V^2/Hz."""
    return (card.amplifier.noise or 0.0) ** 2


def _output_noise(card: Card, stage: Stage, array: Tensor | None, duration: float) -> Tensor:
    """Standard deviation of a stage's averaged output, (n,), in volts."""
    siemens = 1 / stage.r_f
    for r in stage.r_in:
        siemens = siemens + 1 / r
    if array is not None:
        siemens = siemens + array
    thermal = 2 * BOLTZMANN * TEMPERATURE * stage.r_f.square() * siemens
    amplifier = _density(card) * (stage.r_f * siemens).square() / 2
    return ((thermal + amplifier) / duration).sqrt()

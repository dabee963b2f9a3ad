"""What noise does to the signals of a chip and to the update that is read from it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from analogdfc.analysis.noise import BankNoise
from analogdfc.analysis.spectra import Bands, LinearNoise, highest_frequency
from analogdfc.circuit.chip import Chip
from analogdfc.circuit.description import Tap
from analogdfc.circuit.static.stages import Stages
from analogdfc.circuit.thermal import ROOM
from analogdfc.devices.draws import check_number

Array = NDArray[np.float64]

_DRAWN = 60
"""Frequencies of a spectrum."""


@dataclass(frozen=True)
class NoiseFigures:
    """Noise of a chip at its controlled steady state; root mean squares over neurons and samples.

    Attributes:
        settle: seconds over which the update is averaged; 1 / f noise counts from 1 / settle on.
        v: of a potential at one moment, in volts.
        r: of an activation, in volts.
        u: of a control signal, in volts.
        update: of the mean update that is read after one settle a sample, as a part of its norm,
            with a free phase of which one moment is subtracted.
        update_averaged: the same where the free phase is averaged for as long.
        angle: to the update without noise, rms, in degrees, with one moment of the free phase.
        angle_averaged: the same where the free phase is averaged for as long.
        sigma: strength of the white noise that a neuron has by itself, where the equations are
            integrated by Euler and Maruyama (Meulemans et al. 2021, eqs. 12 and 209).
        shares: part of the variance of v by what makes the noise.
        frequencies: of the densities, in hertz.
        densities: one-sided, of 'v', 'r' and 'u', means over neurons and samples, in V^2/Hz.
    """

    settle: float
    v: float
    r: float
    u: float
    update: float
    update_averaged: float
    angle: float
    angle_averaged: float
    sigma: float
    shares: dict[str, float]
    frequencies: Array
    densities: dict[str, Array]


def noise_figures(
    chip: Chip, x: Tensor, step: Tensor, settle: float, *, temperature: float = ROOM
) -> NoiseFigures:
    """Noise of a chip's signals, and of the mean of the updates of some samples.

    Args:
        chip: the chip; its card needs a finite gain-bandwidth.
        x: inputs, (batch, n_0), dimensionless.
        step: steps of the output target, (batch, n_L).
        settle: seconds over which an update is averaged, > 0.
        temperature: in kelvins, > 0.

    Raises:
        UserError: a value out of range, or amplifiers without a limit of their bandwidth.
        ConvergenceError: no steady state.
    """
    check_number("time of a settle", settle, "s", low=0.0, open_low=True)
    check_number("temperature", temperature, "K", low=0.0, open_low=True)
    controlled = LinearNoise.of(chip, x, step, temperature=temperature)
    free = LinearNoise.of(chip, x, step, released=False, temperature=temperature)
    low, high = 1 / settle, highest_frequency(chip)
    moment, mean = Bands.of(low, high), Bands.of(low, high, mean_over=settle)
    variances = _variances(chip, controlled, moment)
    readings = [
        Reading.of(chip, one, at_rest, before, moment, mean)
        for one, at_rest, before in zip(x.numpy(), controlled, free, strict=True)
    ]
    single = deviation(readings, [r.mean + r.moment for r in readings])
    averaged = deviation(readings, [r.mean + r.free for r in readings])
    v, r, u = (math.sqrt(sum(variances[name].values())) for name in "vru")
    total = sum(variances["v"].values())
    frequencies = np.geomspace(low / 10, high / 10, _DRAWN)
    return NoiseFigures(
        settle=settle,
        v=v,
        r=r,
        u=u,
        update=single[0],
        update_averaged=averaged[0],
        angle=single[1],
        angle_averaged=averaged[1],
        sigma=float(torch.cat(neuron_sigma(chip, temperature)).square().mean().sqrt()),
        shares={name: value / total for name, value in variances["v"].items()},
        frequencies=frequencies,
        densities=_densities(chip, controlled, frequencies),
    )


def neuron_sigma(chip: Chip, temperature: float = ROOM) -> tuple[Tensor, ...]:
    """The sigma of eqs. 12 and 209 of Meulemans et al. 2021 that the neurons have by themselves.

    The white noise of a neuron's basal compartment and soma, and of the devices at their summing
    nodes, at v: a density S of one side, in V^2/Hz, is sigma^2 = S / (2 S_v^2 t), with S_v volts
    for 1 and t the seconds of the controller's unit of time, in which the equations are.

    Args:
        chip: the chip.
        temperature: in kelvins, > 0.

    Returns:
        Of layers 1..L, (n_i,), dimensionless.
    """
    check_number("temperature", temperature, "K", low=0.0, open_low=True)
    stages, circuit, design = Stages(chip, ideal=True), chip.circuit, chip.design
    out = []
    for taps in circuit.layers:
        soma, basal = (circuit.bank[tap.bank] for tap in (taps.v, taps.v_ff))
        own, below = (BankNoise.of(stages, bank, temperature) for bank in (soma, basal))
        gain = own.r_f * stages.between(soma, basal.o)
        density = own.output + gain.square() * below.output
        unit = design.card.scale.activation**2 * design.seconds
        out.append((density / (2 * unit)).sqrt())
    return tuple(out)


def _groups(chip: Chip) -> dict[str, list[Tap]]:
    layers = chip.circuit.layers
    return {
        "v": [taps.v for taps in layers],
        "r": [taps.r for taps in layers],
        "u": [chip.circuit.control.u],
    }


def _probes(chip: Chip, noise: LinearNoise) -> tuple[Array, Array]:
    """All outputs of v, r and u, and where those of r and of u begin."""
    probes = [noise.probe(taps) for taps in _groups(chip).values()]
    ends = np.cumsum([probe.shape[1] for probe in probes])[:-1]
    return np.concatenate(probes, axis=1), ends


def _densities(chip: Chip, noises: Sequence[LinearNoise], frequencies: Array) -> dict[str, Array]:
    found = {name: np.zeros(len(frequencies)) for name in _groups(chip)}
    for noise in noises:
        probe, ends = _probes(chip, noise)
        for density in noise.spectrum(frequencies, probe).values():
            for name, part in zip(found, np.split(density, ends, axis=1), strict=True):
                found[name] += part.mean(axis=1) / len(noises)
    return found


def _variances(
    chip: Chip, noises: Sequence[LinearNoise], bands: Bands
) -> dict[str, dict[str, float]]:
    """Mean variance of v, r and u by what makes the noise, in V^2."""
    found: dict[str, dict[str, float]] = {name: {} for name in _groups(chip)}
    for noise in noises:
        probe, ends = _probes(chip, noise)
        for source, covariance in noise.covariances(bands, probe).items():
            for name, part in zip(found, np.split(np.diag(covariance), ends), strict=True):
                before = found[name].get(source, 0.0)
                found[name][source] = before + float(part.mean()) / len(noises)
    return found


@dataclass(frozen=True)
class Reading:
    """A sample's update at rest and how noise gets into it, dimensionless.

    Of p values, the differences phi(v) - phi(v_ff) of all layers and the activations that the
    layers above see, the covariances: of the means under control, of one moment of the free phase,
    whose differences are subtracted, and of its means.

    Attributes:
        update: all layers in one vector, as `Update.flat`, (m,).
        enters: derivative of the update by the p values, (m, p).
        mean: (p, p).
        moment: (p, p); zero without double sampling.
        free: (p, p); zero without double sampling.
    """

    update: Array
    enters: Array
    mean: Array
    moment: Array
    free: Array

    @classmethod
    def of(
        cls,
        chip: Chip,
        x: Array,
        controlled: LinearNoise,
        free: LinearNoise,
        moment: Bands,
        mean: Bands,
    ) -> Reading:
        """Of one sample.

        Args:
            chip: the chip.
            x: its input, (n_0,), dimensionless.
            controlled: its equations at the controlled steady state.
            free: those of the free phase.
            moment: bands of one moment.
            mean: bands of a mean.
        """
        layers, unit = chip.circuit.layers, chip.design.card.scale.activation

        def probe(noise: LinearNoise) -> Array:
            r, r_ff = (noise.probe([getattr(t, name) for t in layers]) for name in ("r", "r_ff"))
            above = noise.probe([t.r for t in layers[:-1]])
            return np.concatenate([r - r_ff, above], axis=1) / unit

        seen = probe(controlled)
        sizes = chip.design.sizes
        count = sum(sizes[1:])
        values = seen.T @ controlled.rest
        difference, r = values[:count], [x, *np.split(values[count:], np.cumsum(sizes[1:-2]))]
        covariances = [controlled.covariance(mean, seen)]
        if chip.design.readout.double_sampling:
            before = probe(free)
            before[:, count:] = 0.0
            difference = difference - (before.T @ free.rest)[:count]
            covariances += [free.covariance(bands, before) for bands in (moment, mean)]
        else:
            covariances += [np.zeros_like(covariances[0])] * 2
        updates, enters = [], []
        of_layers = np.split(difference, np.cumsum(sizes[1:-1]))
        for i, (d, below) in enumerate(zip(of_layers, r, strict=True)):
            inputs = np.append(below, 1.0)
            updates.append(np.outer(d, inputs).ravel())
            enters.append(_enters(sizes, i, d, inputs))
        return cls(np.concatenate(updates), np.concatenate(enters), *covariances)


def _enters(sizes: Sequence[int], i: int, d: Array, inputs: Array) -> Array:
    """Rows of `Reading.enters` of layer i, from 0."""
    n, count = len(d), sum(sizes[1:])
    out = np.zeros((n, len(inputs), count + sum(sizes[1:-1])))
    first = sum(sizes[1 : i + 1])
    out[np.arange(n), :, first + np.arange(n)] = inputs
    if i:
        below = np.arange(sizes[i])
        out[:, below, count + sum(sizes[1:i]) + below] = d[:, None]
    return out.reshape(n * len(inputs), -1)


def deviation(readings: Sequence[Reading], covariances: Sequence[Array]) -> tuple[float, float]:
    """Rms of the error of a mean update as a part of it, and the rms angle that it makes, degrees.

    The angle is that of the part of the error which is at right angles to the update.

    Args:
        readings: of all samples.
        covariances: of the p values of each, (p, p).
    """
    update = np.mean([reading.update for reading in readings], axis=0)
    square = float(update @ update)
    whole = along = 0.0
    for reading, covariance in zip(readings, covariances, strict=True):
        whole += float(np.sum((reading.enters @ covariance) * reading.enters))
        towards = update @ reading.enters
        along += float(towards @ covariance @ towards) / square
    whole, along = (value / len(readings) ** 2 for value in (whole, along))
    return math.sqrt(whole / square), math.degrees(math.atan(math.sqrt((whole - along) / square)))

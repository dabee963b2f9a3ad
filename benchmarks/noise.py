"""Noise of a circuit with macro cells: its spectrum by .noise, and its variance in time.

`python -m benchmarks.noise`
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from analogdfc.analysis.spectra import Bands, LinearNoise, highest_frequency
from analogdfc.cards.technology import Card
from analogdfc.circuit.behavioural import Behavioural
from analogdfc.circuit.chip import Chip
from analogdfc.circuit.description import Tap
from analogdfc.circuit.sequences import TransientNoise
from analogdfc.dynamics import Trajectory
from analogdfc.spice.batch import BatchProcess
from analogdfc.spice.circuit import Circuit
from analogdfc.spice.netlist import Netlist
from analogdfc.spice.noise import noise_spectrum
from benchmarks._measure import CARD, Case, case

SIZES, NETWORK, CHIP = (3, 4, 2), 0, 0

CARDS: Mapping[str, Callable[[], Card]] = {
    "discrete_100mhz": lambda: Card.load(CARD),
    "the same with all densities": lambda: with_all(Card.load(CARD)),
    "generic, gain that a load lowers": lambda: Card.load("generic"),
}
"""Cards of the spectra; all have wires."""

DECADES, POINTS = (1e2, 1e8), 1
"""Frequencies of the spectra, in hertz, and how many in each decade."""

SEEDS = 20
DT, STEPS, SETTLED = 0.01, 2000, 400
"""Spacing of the record in tau_u, its length, and from where on the noise is taken."""

SPACING = 2e-8
"""Of the values of the sequences, in seconds."""

SHORT = 200
"""Length of the record of the circuit in time."""

SPECTRUM_BAR, VARIANCE_BAR = 3.0, 5.0
"""Largest deviations, in percent."""


def with_all(card: Card) -> Card:
    """A card with a corner of the amplifiers, 1 / f noise of the devices and noise of the cells."""
    card = card.replace("amplifier", noise_corner=1e5).replace("tanh", noise=1e-12)
    return card.replace("device", flicker=1e-9)


@dataclass(frozen=True)
class Spectrum:
    """Spectra of one card.

    Attributes:
        card: what it is called.
        deviations: largest deviation of the density by output, in percent.
        made_by: the simulator.
        seconds: CPU time of this process, without the simulator's.
    """

    card: str
    deviations: dict[str, float]
    made_by: str
    seconds: float


@dataclass(frozen=True)
class Variance:
    """Variance of a signal over the seeds.

    Attributes:
        signal: which.
        expected: rms of the linear equations, in volts.
        deviation: of the variance from the expected one, in percent.
        error: standard error of that among the seeds, in percent.
    """

    signal: str
    expected: float
    deviation: float
    error: float


def taps(chip: Chip) -> dict[str, Tap]:
    """The signals that are looked at."""
    first, last = chip.circuit.layers[0], chip.circuit.layers[-1]
    return {"v1": first.v, "r1": first.r, "v2": last.v, "u": chip.circuit.control.u}


def spectrum(name: str, card: Card, loop: Case) -> Spectrum:
    """Densities at the first neuron or channel of each signal: .noise against the equations.

    Args:
        name: what the card is called.
        card: the card.
        loop: the network with its sample.
    """
    start = time.process_time()
    chip = Chip.of(loop.design.on(card), CHIP)
    circuit, picked = chip.circuit, taps(chip)
    found = noise_spectrum(
        Netlist.of(chip, "macro"),
        loop.x[0],
        loop.step[0],
        [circuit.names(tap.port)[0] for tap in picked.values()],
        decades=DECADES,
        points=POINTS,
        simulator=BatchProcess(),
    )
    linear = LinearNoise.of(chip, loop.x, loop.step)[0]
    probe = np.stack([linear.probe([tap])[:, 0] for tap in picked.values()], axis=1)
    parts = linear.spectrum(found.frequencies, probe)
    wanted = sum(parts.values(), np.zeros_like(found.density))
    off = 100 * np.abs(wanted / found.density - 1).max(axis=0)
    deviations = dict(zip(picked, off.tolist(), strict=True))
    return Spectrum(name, deviations, found.made_by, time.process_time() - start)


def _signals(run: Trajectory, chip: Chip) -> dict[str, Tensor]:
    """Signals in volts, (batch, T, n)."""
    v, u = chip.design.card.scale.activation, chip.design.card.scale.control
    neurons = run.neurons
    return {"v1": v * neurons.v[0], "r1": v * neurons.r[0], "v2": v * neurons.v[-1], "u": u * run.u}


def variances(loop: Case) -> list[Variance]:
    """Variance of the model's waveforms over the seeds, against the linear equations."""
    chip = Chip.of(loop.design, CHIP)
    model, noise = Behavioural([chip]), TransientNoise(0, SPACING)
    # Every sample has sequences of its own.
    x, step = loop.x.expand(SEEDS, -1), loop.step.expand(SEEDS, -1)
    (noisy,) = model.run(x, step, dt=DT, steps=STEPS, noise=noise)
    (quiet,) = model.run(loop.x, loop.step, dt=DT, steps=STEPS)
    linear = LinearNoise.of(chip, loop.x, loop.step)[0]
    whole = (STEPS - SETTLED) * DT * chip.design.seconds
    bands = Bands.of(1 / whole, highest_frequency(chip), spacing=SPACING)
    out = []
    pairs = _signals(noisy, chip), _signals(quiet, chip)
    for name, tap in taps(chip).items():
        expected = torch.from_numpy(np.diag(linear.covariance(bands, linear.probe([tap]))).copy())
        off = (pairs[0][name] - pairs[1][name])[:, SETTLED:]
        ratio = (off.square().mean(dim=1) / expected).mean(dim=1)
        error = float(ratio.std()) / SEEDS**0.5
        rms = float(expected.mean().sqrt())
        out.append(Variance(name, rms, 100 * (float(ratio.mean()) - 1), 100 * error))
    return out


def parity(loop: Case) -> dict[str, float]:
    """Difference of the noise in ngspice and in the model, rms over that of the noise, percent."""
    chip = Chip.of(loop.design.on(with_all(loop.design.card)), CHIP)

    def both(noise: TransientNoise | None) -> list[dict[str, Tensor]]:
        (model,) = Behavioural([chip]).run(loop.x, loop.step, dt=DT, steps=SHORT, noise=noise)
        circuit = Circuit(chip, "macro", BatchProcess(), noise=noise)
        found = circuit.run(loop.x, loop.step, dt=DT, steps=SHORT)
        return [_signals(run, chip) for run in (model, found)]

    noisy, quiet = both(TransientNoise(1, SPACING)), both(None)
    out = {}
    for name in taps(chip):
        ours, theirs = (a[name] - b[name] for a, b in zip(noisy, quiet, strict=True))
        out[name] = 100 * float((ours - theirs).norm() / theirs.norm())
    return out


def report(console: Console) -> bool:
    """Print all tables.

    Args:
        console: where to.

    Returns:
        Whether all bars are met.
    """
    loop = case(SIZES, NETWORK, 1)
    spectra = [spectrum(name, card(), loop) for name, card in CARDS.items()]
    low, high = DECADES
    table = Table(title=f"Density, {low:g} to {high:g} Hz: equations against .noise")
    for head in ("card", "signal", "largest deviation\n%", f"bar\n% ({SPECTRUM_BAR:g})"):
        table.add_column(head)
    worst = 0.0
    for found in spectra:
        for name, off in found.deviations.items():
            table.add_row(
                found.card, name, f"{off:.3g}", "met" if off <= SPECTRUM_BAR else "MISSED"
            )
            worst = max(worst, off)
    console.print(table)
    console.print(
        f"{spectra[0].made_by}; CPU {sum(s.seconds for s in spectra):.1f} s and ngspice's"
    )
    start = time.process_time()
    rows = variances(loop)
    seconds = time.process_time() - start
    table = Table(title=f"Variance over {SEEDS} seeds, values {1e9 * SPACING:g} ns apart")
    heads = (
        "signal",
        "expected rms\nuV",
        "deviation of the\nvariance, %",
        "its standard\nerror, %",
    )
    for head in (*heads, f"bar\n% ({VARIANCE_BAR:g})"):
        table.add_column(head)
    for row in rows:
        met = "met" if abs(row.deviation) <= VARIANCE_BAR else "MISSED"
        cells = f"{1e6 * row.expected:.4g}", f"{row.deviation:+.2f}", f"{row.error:.2f}"
        table.add_row(row.signal, *cells, met)
    console.print(table)
    console.print(f"each {(STEPS - SETTLED) * DT:g} tau_u long; CPU {seconds:.1f} s")
    table = Table(title="The same sequences in ngspice and in the model")
    for head in ("signal", "rms difference over\nrms noise, %"):
        table.add_column(head)
    for name, off in parity(loop).items():
        table.add_row(name, f"{off:.3g}")
    console.print(table)
    return worst <= SPECTRUM_BAR and all(abs(row.deviation) <= VARIANCE_BAR for row in rows)


if __name__ == "__main__":
    torch.set_num_threads(1)
    sys.exit(not report(Console()))

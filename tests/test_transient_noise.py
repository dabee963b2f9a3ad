"""Noise in time: its sequences, what they drive, and the same in the netlist."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import scipy
import torch
from strategies import network_of
from test_hardware_rule import samples_of

from analogdfc.analysis.spectra import Bands, LinearNoise, highest_frequency
from analogdfc.cards import Card
from analogdfc.circuit.amplifiers import Rung
from analogdfc.circuit.behavioural import Behavioural
from analogdfc.circuit.chip import Chip
from analogdfc.circuit.design import Design
from analogdfc.circuit.sequences import Sequences, TransientNoise
from analogdfc.circuit.thermal import BOLTZMANN, ROOM
from analogdfc.controller import PID, Controller
from analogdfc.dynamics import Trajectory
from analogdfc.dynamics.esdirk import ESDIRK
from analogdfc.dynamics.semilinear import Channels, Semilinear
from analogdfc.errors import UserError
from analogdfc.feedback import DirectFeedback
from analogdfc.spice.batch import BatchProcess
from analogdfc.spice.circuit import Circuit
from analogdfc.spice.vacask import VacaskProgram

CARD = Card.load("discrete_100mhz")
NOISY = CARD.replace("amplifier", noise_corner=1e5).replace("device", flicker=1e-9)
NOISE = TransientNoise(3, 2e-8)


def chip_of(card: Card = NOISY, controller: Controller | None = None) -> Chip:
    network = network_of([2, 2, 1], seed=1)
    feedback = DirectFeedback.transposed(network)
    return Chip.of(Design.of(network, feedback, card, controller=controller), 1)


def stimuli(batch: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    x, step = samples_of(network_of([2, 2, 1], seed=1), 1)
    return x.repeat(batch, 1), 0.1 * step.repeat(batch, 1)


def drawn(chip: Chip, seconds: float, noise: TransientNoise = NOISE, sample: int = 0) -> Sequences:
    model = Behavioural([chip])
    release = model.release(*stimuli())
    at = release.free[0, 0].numpy(), release.sources[0, 0].numpy()
    return Sequences.draw(model.model.nodal[0], *at, noise, seconds, sample)


# Sequences


def test_values_have_the_variance_of_their_density_over_twice_their_spacing() -> None:
    chip = chip_of(CARD)
    found = drawn(chip, 4e-4)
    count = len(found.nodes)
    assert found.spacing == pytest.approx(2e-8)
    assert count == 20_001
    # The relative error of a variance is sqrt(2 / values).
    close = 5 * math.sqrt(2 / count)
    e_n = CARD.amplifier.noise
    assert e_n is not None
    wanted = e_n**2 / (2 * found.spacing)
    assert found.amplifiers.var(axis=0) == pytest.approx(wanted, rel=close)
    nodal = Behavioural([chip]).model.nodal[0]
    siemens = nodal.conductance.diagonal()[: nodal.amplifiers]
    thermal = 4 * BOLTZMANN * ROOM / (2 * found.spacing)
    assert found.nodes.var(axis=0) == pytest.approx(thermal * siemens, rel=close)
    ohms = nodal.series.ohms
    assert found.series.var(axis=0) == pytest.approx(thermal * ohms, rel=close)


def test_the_slow_part_rises_towards_low_frequencies_from_the_corner_on() -> None:
    card = CARD.replace("amplifier", noise_corner=1e6)
    found = drawn(chip_of(card), 4e-4).amplifiers
    hertz, density = scipy.signal.welch(found, 1 / 2e-8, nperseg=2048, axis=0)
    mean = density.mean(axis=1) / 1e-16
    kept = (hertz > 1e5) & (hertz < 2e7)
    assert mean[kept] == pytest.approx(1 + 1e6 / hertz[kept], rel=0.25)
    assert np.mean(mean[kept] / (1 + 1e6 / hertz[kept])) == pytest.approx(1, rel=0.02)


def test_a_seed_and_a_sample_give_the_same_sequences_and_others_give_others() -> None:
    chip = chip_of()
    first, same = drawn(chip, 1e-6), drawn(chip, 1e-6)
    np.testing.assert_array_equal(first.nodes, same.nodes)
    for other in (drawn(chip, 1e-6, TransientNoise(4, 2e-8)), drawn(chip, 1e-6, sample=1)):
        both = np.stack([first.amplifiers.ravel(), other.amplifiers.ravel()])
        assert abs(float(np.asarray(np.corrcoef(both)).ravel()[1])) < 0.2


# What they drive


def test_a_drive_of_straight_lines_gives_the_exact_response_of_a_linear_system() -> None:
    matrix = np.array([[-1.0, 2.0], [0.5, -30.0]])
    drive = np.random.default_rng(1).standard_normal((9, 2))
    nothing = Channels(0, *[torch.zeros(0, dtype=torch.int64)] * 2, *[torch.zeros(1, 0, 1)] * 4)
    system = Semilinear.whole(
        torch.eye(2, dtype=torch.float64)[None],
        torch.from_numpy(matrix)[None],
        torch.zeros(1, 1, 2, dtype=torch.float64),
        nothing,
    )
    sent = [torch.from_numpy(row)[None, None] for row in drive]
    start = torch.ones(1, 1, 2, dtype=torch.float64)
    pieces = [*ESDIRK(1e-9).driven(system, start, sent, 2.0)]
    times = np.linspace(0, 2.0, 9)
    linear = (matrix, np.eye(2), np.eye(2), np.zeros((2, 2)))
    wanted = scipy.signal.lsim(linear, drive, times, X0=np.ones(2), interp=True)[1]
    seen = [piece.at(numbers, 8)[:, 0, 0] for piece in pieces if (numbers := piece.among(8))]
    np.testing.assert_allclose(torch.cat(seen).numpy(), wanted, atol=1e-6)


def test_the_variance_of_waveforms_is_that_of_the_linear_equations() -> None:
    # Wide apart, so that few steps are taken: what is faster isn't in the formula either.
    chip, batch, steps, wide = chip_of(CARD), 32, 100, TransientNoise(3, 1e-7)
    model = Behavioural([chip], tolerance=2e-5)
    (run,) = model.run(*stimuli(batch), dt=0.01, steps=steps, noise=wide)
    (quiet,) = model.run(*stimuli(), dt=0.01, steps=steps)
    late = slice(30, None)
    noise = LinearNoise.of(chip, *stimuli())[0]
    bands = Bands.of(1 / (0.01 * steps * chip.design.seconds), highest_frequency(chip),
                     spacing=wide.spacing)  # fmt: skip
    probe = noise.probe([chip.circuit.layers[0].r])
    wanted = np.diag(noise.covariance(bands, probe))
    seen = ((run.neurons.r[0] - quiet.neurons.r[0])[:, late] * 0.25).square().mean(dim=(0, 1))
    # 32 draws of 3.5 us, and activations forget in some 0.2 us.
    assert seen.numpy() == pytest.approx(wanted, rel=0.15)


def test_the_netlist_moves_with_the_same_noise_as_the_model() -> None:
    chip, steps = chip_of(), 16

    def both(noise: TransientNoise | None) -> list[Trajectory]:
        circuit = Circuit(chip, "macro", BatchProcess(), noise=noise)
        x, step = stimuli()
        (model,) = Behavioural([chip]).run(x, step, dt=0.01, steps=steps, noise=noise)
        return [model, circuit.run(x, step, dt=0.01, steps=steps)]

    noisy, quiet = both(NOISE), both(None)
    signals: tuple[Callable[[Trajectory], torch.Tensor], ...] = (
        lambda run: run.neurons.v[0],
        lambda run: run.neurons.r[0],
        lambda run: run.u,
    )
    for pick in signals:
        ours, theirs = ((pick(a) - pick(b))[0, 4:] for a, b in zip(noisy, quiet, strict=True))
        assert float((ours - theirs).norm() / ours.norm()) < 0.05


# What is refused


@pytest.mark.parametrize("values", [(-1, 1e-8), (0, 0.0), (0, math.inf)])
def test_a_seed_and_a_spacing_must_make_sense(values: tuple[int, float]) -> None:
    with pytest.raises(UserError):
        TransientNoise(*values)


def test_more_intervals_than_a_run_gets_through_are_refused() -> None:
    with pytest.raises(UserError, match="10000000 intervals; at most 1000000 are allowed"):
        TransientNoise(0, 1e-12).count(1e-5)


def test_noise_is_that_of_the_full_model() -> None:
    with pytest.raises(UserError, match="full amplifier model"):
        Behavioural([chip_of()], Rung.TWO_LAG).run(*stimuli(), dt=0.1, steps=1, noise=NOISE)
    fast = chip_of(CARD.without("finite bandwidth"))
    with pytest.raises(UserError, match="without a bound"):
        Behavioural([fast]).run(*stimuli(), dt=0.1, steps=1, noise=NOISE)


def test_what_no_source_reaches_is_refused() -> None:
    chip = chip_of(controller=PID(k_p=1.0, k_d=0.1))
    with pytest.raises(UserError, match="take a P or PI controller"):
        Circuit(chip, "macro", BatchProcess(), noise=NOISE)

    elsewhere = VacaskProgram.__new__(VacaskProgram)  # which may not be installed
    with pytest.raises(UserError, match="take ngspice"):
        Circuit(chip_of(), "macro", elsewhere, noise=NOISE)

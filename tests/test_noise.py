"""Noise of circuits: spectra and variances against formulas, each other and ngspice."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import pytest
import scipy
import torch
from strategies import network_of
from test_hardware_rule import samples_of

from analogdfc.analysis.noise import noise_norm, soma_noise
from analogdfc.analysis.noisy import NoiseFigures, Reading, deviation, neuron_sigma, noise_figures
from analogdfc.analysis.spectra import Bands, LinearNoise, highest_frequency
from analogdfc.cards import Card
from analogdfc.circuit.chip import Chip
from analogdfc.circuit.design import Design
from analogdfc.circuit.noise import Source
from analogdfc.circuit.static import StaticChip
from analogdfc.circuit.thermal import BOLTZMANN, ROOM
from analogdfc.errors import UserError
from analogdfc.feedback import DirectFeedback
from analogdfc.spice.batch import BatchProcess
from analogdfc.spice.netlist import Netlist
from analogdfc.spice.noise import noise_spectrum, with_noise

CARD = Card.load("discrete_100mhz")
QUIET = CARD.replace("amplifier", noise=None)


def chip_of(card: Card, sizes: tuple[int, ...] = (2, 2, 1), seed: int | None = 1) -> Chip:
    network = network_of([*sizes], seed=1)
    return Chip.of(Design.of(network, DirectFeedback.transposed(network), card), seed)


def linear(chip: Chip, *, released: bool = True) -> LinearNoise:
    x, step = samples_of(network_of([*chip.design.sizes], seed=1), 1)
    return LinearNoise.of(chip, x, 0.1 * step, released=released)[0]


ONE = np.ones((1, 1))


def one_pole(tau: float, white: float, flicker: float = 0.0) -> LinearNoise:
    """tau dv/dt = -v + xi."""
    parts = [scipy.sparse.csr_array(np.array([[v]])) for v in (1.0, white, flicker)]
    source = Source("it", parts[0], parts[1], parts[2])
    return LinearNoise(np.array([[tau]]), -ONE, [source], {}, np.zeros(1))


# By hand


def test_a_resistor_with_a_capacitor_has_the_variance_kt_over_c() -> None:
    ohms, farads = 1e5, 1e-11
    noise = one_pole(ohms * farads, 4 * BOLTZMANN * ROOM * ohms)
    wanted = BOLTZMANN * ROOM / farads
    assert noise.stationary(ONE).item() == pytest.approx(wanted, rel=1e-12)
    bands = Bands.of(1.0, 1e4 / (ohms * farads))
    assert noise.covariance(bands, ONE).item() == pytest.approx(wanted, rel=2e-3)


def test_a_follower_has_the_density_of_its_amplifier_up_to_the_bandwidth() -> None:
    hertz, e_n, corner = 1e7, 1e-8, 1e4
    noise = one_pole(1 / (2 * math.pi * hertz), e_n**2, e_n**2 * corner)
    frequencies = np.array([1e2, 1e4, 1e7, 1e8])
    wanted = e_n**2 * (1 + corner / frequencies) / (1 + (frequencies / hertz) ** 2)
    assert noise.spectrum(frequencies, ONE)["it"][:, 0] == pytest.approx(wanted, rel=1e-12)
    low = 10.0
    slow = e_n**2 * corner * math.log(math.hypot(hertz, low) / low)
    found = noise.covariance(Bands.of(low, 1e4 * hertz), ONE).item()
    assert found == pytest.approx(e_n**2 * hertz * math.pi / 2 + slow, rel=5e-3)


def test_a_mean_over_a_long_time_has_half_the_density_over_that_time() -> None:
    noise, seconds = one_pole(1e-6, 1e-14), 1e-3
    found = noise.covariance(Bands.of(1 / seconds, 1e9, mean_over=seconds), ONE).item()
    tau = 1e-6
    lost = tau / seconds * -math.expm1(-seconds / tau)
    assert found == pytest.approx(1e-14 / (2 * seconds) * (1 - lost), rel=2e-3)


# Of a chip


def test_the_integral_of_the_spectrum_is_the_solution_of_lyapunovs_equation() -> None:
    chip = chip_of(CARD.replace("amplifier", output_resistance=None), (3, 4, 2))
    noise, circuit = linear(chip), chip.circuit
    probe = noise.probe([circuit.layers[0].v, circuit.layers[0].r, circuit.control.u])
    found = noise.covariance(Bands.of(1e3, highest_frequency(chip)), probe)
    wanted = noise.stationary(probe)
    assert np.abs(found - wanted).max() < 5e-3 * wanted.max()


def test_the_soma_alone_has_the_noise_of_its_formula() -> None:
    # Without what the formula leaves out, and at 300 K, as it has it.
    card = CARD.replace("amplifier", second_pole=None, output_resistance=None, gain=1e9)
    card = card.replace("amplifier", stage_resistance=None, input_capacitance=None)
    chip = chip_of(card.replace("wire", word=None, bit=None, capacitance=None))
    noise, bank = linear(chip, released=False), chip.circuit.layers[0].v.bank
    places = noise.outputs[bank]
    node = places - sum(b.size for b in chip.circuit.banks)

    def own(source: Source) -> Source:
        """What enters at the soma's summing node or its amplifier."""
        here = np.isin(np.arange(source.white.shape[0]), node)
        keep = scipy.sparse.diags_array(here.astype(float)).tocsr()
        return source._replace(white=(keep @ source.white @ keep).tocsr())

    sources = [own(s) for s in noise.sources if s.white.shape[0] > len(places)]
    alone = LinearNoise(noise.mass, noise.jacobian, sources, noise.outputs, noise.rest)
    variance = np.diag(alone.stationary(alone.probe([chip.circuit.layers[0].v])))
    wanted = soma_noise(chip, ROOM)[0].sampled().numpy()
    assert variance == pytest.approx(wanted, rel=2e-3)


def test_every_density_of_the_card_adds_noise_and_the_wires_none_of_their_own_kind() -> None:
    frequencies = np.array([1e3])

    def density(card: Card) -> float:
        chip = chip_of(card)
        noise = linear(chip)
        found = noise.spectrum(frequencies, noise.probe([chip.circuit.control.u]))
        return float(sum(part.sum() for part in found.values()))

    thermal, base = density(QUIET), density(CARD)
    assert 0 < thermal < base
    assert density(CARD.replace("amplifier", noise_corner=1e4)) > 1.5 * base
    assert density(CARD.replace("tanh", noise=1e-11)) > 1.5 * base
    assert density(CARD.replace("device", flicker=1e-6)) > 1.5 * base


def test_noise_of_waveforms_needs_a_limit_of_the_bandwidth() -> None:
    with pytest.raises(UserError, match=r"\[amplifier\] gain_bandwidth"):
        linear(chip_of(CARD.without("finite bandwidth")))


# Of the netlist


def test_the_netlist_has_the_noise_of_the_linear_equations() -> None:
    card = CARD.replace("amplifier", noise_corner=1e5).replace("tanh", noise=1e-12)
    chip = chip_of(card.replace("device", flicker=1e-9))
    x, step = samples_of(network_of([*chip.design.sizes], seed=1), 1)
    noise, circuit = linear(chip), chip.circuit
    taps = [circuit.layers[0].r, circuit.control.u]
    found = noise_spectrum(
        Netlist.of(chip, "macro"),
        x[0],
        0.1 * step[0],
        [circuit.names(tap.port)[0] for tap in taps],
        decades=(1e3, 1e8),
        points=1,
        simulator=BatchProcess(),
    )
    assert found.made_by.endswith("Sparse")
    parts = noise.spectrum(found.frequencies, noise.probe(taps))
    wanted = sum(parts.values(), np.zeros(()))[:, [0, chip.circuit.size(taps[0].port)]]
    assert found.density == pytest.approx(wanted, rel=2e-3)


def test_cells_of_a_card_without_densities_stay_as_they_are() -> None:
    netlist = Netlist.of(chip_of(QUIET), "macro")
    assert with_noise(netlist) == netlist


def test_klu_alone_has_no_noise() -> None:
    try:
        simulator = BatchProcess("klu")
    except UserError:
        pytest.skip("this ngspice has no KLU")
    with pytest.raises(UserError, match="noise with 'sparse' alone"):
        simulator.solvers_of("noise")


# What is told of a design


@cache
def figures(card: Card, settle: float = 5e-5) -> NoiseFigures:
    chip = chip_of(card)
    x, step = samples_of(network_of([2, 2, 1], seed=1), 1)
    return noise_figures(chip, x, 0.15 * step.sign(), settle)


def test_noise_of_an_averaged_update_is_that_of_the_loops_equations() -> None:
    chip = chip_of(CARD)
    x, step = samples_of(network_of([2, 2, 1], seed=1), 1)
    step = 0.15 * step.sign()
    state = StaticChip.of(chip).solve(x, step)
    norm = noise_norm(chip, chip.design.loop(), state.rest_pass, 2e-4)
    wanted = norm / float(torch.linalg.vector_norm(StaticChip.of(chip).gradient(state).flat()))
    # The loop's equations leave out the inverters, and means over settling that takes a part of T.
    assert figures(CARD, 2e-4).update_averaged == pytest.approx(wanted, rel=0.15)


def test_the_angle_is_that_of_draws_with_the_errors_covariance() -> None:
    update, enters = np.array([1.0, -2.0, 0.5]), np.diag([0.01, 0.02, 0.03])
    mean = np.array([[1.0, 0.3, 0.0], [0.3, 2.0, 0.1], [0.0, 0.1, 0.5]])
    nothing = np.zeros((3, 3))
    size, angle = deviation([Reading(update, enters, mean, nothing, nothing)], [mean])
    draws = np.random.default_rng(1).multivariate_normal(np.zeros(3), mean, 20_000) @ enters
    noisy = update + draws
    lengths = np.linalg.norm(noisy, axis=1) * np.linalg.norm(update)
    seen = np.degrees(np.arccos(noisy @ update / lengths))
    assert size == pytest.approx(np.sqrt(np.mean(draws**2) * 3) / np.linalg.norm(update), rel=0.02)
    assert angle == pytest.approx(np.sqrt(np.mean(seen**2)), rel=0.02)


def test_sigma_is_that_of_a_neurons_resistors_and_amplifiers() -> None:
    card = CARD.ideal().replace("amplifier", noise=1e-8)
    chip = chip_of(card, (3, 4, 2), None)
    basal = chip.circuit.bank[chip.circuit.layers[0].v_ff.bank]
    soma, k_t = soma_noise(chip, ROOM)[0], BOLTZMANN * ROOM
    r_b = 1e5
    siemens = chip.circuit.crossbars[0].plus + chip.circuit.crossbars[0].minus
    g = r_b * siemens.sum(dim=1) + 1
    assert basal.size == len(g)
    # Both have unity gain to v: the soma with its gain, the basal amplifier with its own.
    thermal = 2 * k_t * (soma.r_f * soma.gain + r_b * g)
    white = 1e-16 * (soma.gain**2 + g**2) / 2
    wanted = ((thermal + white) / (0.25**2 * chip.design.seconds)).sqrt()
    torch.testing.assert_close(neuron_sigma(chip)[0], wanted)


def test_one_moment_of_the_free_phase_is_far_noisier_than_its_mean() -> None:
    short, long = figures(CARD, 5e-5), figures(CARD, 2e-4)
    assert long.update_averaged == pytest.approx(short.update_averaged / 2, rel=0.1)
    assert long.update == pytest.approx(short.update, rel=0.02)
    assert long.angle > 10 * long.angle_averaged
    assert sum(long.shares.values()) == pytest.approx(1)


def test_thermal_noise_alone_is_less() -> None:
    quiet = figures(QUIET)
    assert set(quiet.shares) == {"resistors", "devices"}
    assert quiet.v < figures(CARD).v / 1.5

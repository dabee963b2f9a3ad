"""The rule that learns through a chip: against the ideal rule, the static model and SciPy."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from parts import layers
from scipy.integrate import quad
from strategies import network_of, normal, seeds, small_networks
from torch import Tensor

from analogdfc.analysis.noise import SomaNoise, reading_sigma, soma_noise
from analogdfc.arrays.layers import AnalogNetwork, analog
from analogdfc.arrays.mapping import Balanced, Equal, Mapping, MidRail, PerLayer
from analogdfc.arrays.optimizer import PulsedUpdate
from analogdfc.cards.device import DeviceCard
from analogdfc.cards.technology import Card
from analogdfc.circuit.chip import Chip
from analogdfc.circuit.conductances import OPEN
from analogdfc.circuit.design import Design, Readout
from analogdfc.circuit.devices import Devices
from analogdfc.circuit.static import StaticChip
from analogdfc.circuit.static import chip as static_chip
from analogdfc.dynamics.reached import SteadyState, steady_state
from analogdfc.errors import ConvergenceError, UserError
from analogdfc.feedback import DirectFeedback
from analogdfc.learning import SteadyStateDFC
from analogdfc.losses import Loss, SoftmaxCrossEntropy, SquaredError
from analogdfc.network import Network
from analogdfc.onchip.rule import HardwareDFC, ReadingNoise
from analogdfc.onchip.through import Goal

CARD = Card.load("discrete_100mhz")
PCM = "pcm_nandakumar2019"
READOUTS = [
    Readout(),
    Readout(double_sampling=False),
    Readout(auto_zero=False),
    Readout(relative_target=False),
    Readout(double_sampling=False, auto_zero=False, relative_target=False),
]
NOISE = ReadingNoise(settle=50e-6, free=10e-6)


def chip_of(
    network: Network, card: Card = CARD, seed: int | None = 1, readout: Readout | None = None
) -> Chip:
    return Chip.of(
        Design.of(network, DirectFeedback.transposed(network), card, readout=readout), seed
    )


def samples_of(network: Network, batch: int = 4, seed: int = 2) -> tuple[Tensor, Tensor]:
    return normal(seed, batch, network.sizes[0]), normal(seed + 1, batch, network.sizes[-1])


def on_ideal_devices(network: Network) -> AnalogNetwork:
    return analog(network, "ideal", 1, mapping=Mapping(Balanced(), PerLayer(2.0)))


def gradients(network: Network) -> list[Tensor]:
    found = [p.grad for p in (*network.weights, *network.biases)]
    return [g.clone() for g in found if g is not None]


def update_of(static: StaticChip, x: Tensor, step: Tensor) -> list[Tensor]:
    """The negative mean over the samples, as gradients are."""
    update = static.update(static.solve(x, step))
    return [-t.mean(dim=0) for t in (*update.weights, *update.biases)]


def assert_close(ours: list[Tensor], theirs: list[Tensor], rtol: float) -> None:
    assert len(ours) == len(theirs) > 0
    for a, b in zip(ours, theirs, strict=True):
        assert float((a - b).norm()) <= rtol * float(b.norm()) + 1e-15


@pytest.mark.parametrize("loss", [SquaredError(), SoftmaxCrossEntropy()])
@given(small_networks(most=5), seeds())
@settings(max_examples=6)
def test_ideal_devices_on_an_ideal_card_learn_by_the_ideal_rule(
    loss: Loss, network: Network, seed: int
) -> None:
    x, y = samples_of(network, seed=seed % 1000)
    y = torch.softmax(y, dim=-1)
    devices = on_ideal_devices(network)
    rule = HardwareDFC(devices, chip_of(network, CARD.ideal(), None), loss=loss, tolerance=1e-12)
    ideal = SteadyStateDFC(network, DirectFeedback.transposed(network), loss=loss)
    ideal.tolerance = 1e-12
    torch.testing.assert_close(rule.backward(x, y), ideal.backward(x, y), rtol=1e-9, atol=0)
    assert_close(gradients(devices), gradients(network), 1e-7)


@pytest.mark.parametrize("readout", READOUTS)
def test_the_gradient_is_the_update_of_the_chip(readout: Readout) -> None:
    network = network_of([5, 4, 3], seed=1)
    x, y = samples_of(network)
    chip = chip_of(network, readout=readout)
    loss = HardwareDFC(network, chip, target_stepsize=0.2, tolerance=1e-10).backward(x, y)
    static = StaticChip.of(chip)
    seen = static.solve(x, torch.zeros_like(y)).free.r[-1]
    assert_close(gradients(network), update_of(static, x, 0.2 * 2 * (y - seen)), 1e-8)
    assert float(loss) == pytest.approx(float(((y - seen) ** 2).sum(dim=1).mean()), rel=1e-12)


@pytest.mark.parametrize(
    ("hidden", "output"), [("tanh", "tanh"), ("linear", "linear"), ("linear", "tanh")]
)
def test_other_neurons_learn_by_the_update_of_the_chip_and_its_noise(
    hidden: str, output: str
) -> None:
    network = Network([5, 4, 3], hidden, output)
    network.load_state_dict(network_of([5, 4, 3], seed=1).state_dict())
    x, y = samples_of(network)
    x, y = 0.5 * x, 0.5 * y.tanh()
    chip = chip_of(network)
    HardwareDFC(network, chip, target_stepsize=0.1, tolerance=1e-10).backward(x, y)
    static = StaticChip.of(chip)
    seen = static.solve(x, torch.zeros_like(y)).free.r[-1]
    assert_close(gradients(network), update_of(static, x, 0.1 * 2 * (y - seen)), 1e-8)
    noisy = HardwareDFC(network, chip, target_stepsize=0.1, noise=NOISE)
    state = static.solve(x, 0.1 * (y - seen))
    drawn = torch.stack([noisy.differences(state)[-1] - state.differences[-1] for _ in range(400)])
    slope = 1 - state.rest.r[-1] ** 2 if output == "tanh" else torch.ones_like(y)
    expected = slope * reading_sigma(chip, NOISE)[-1]
    # 400 draws tell a deviation within some 4 %; the largest of 12 within three times that.
    torch.testing.assert_close(drawn.square().mean(dim=0).sqrt(), expected, rtol=0.15, atol=0)


QUIET = DeviceCard.load(PCM).model().without("read noise")


def test_the_gradient_is_the_update_of_the_chip_of_the_same_devices_and_seed() -> None:
    network = network_of([6, 5, 3], seed=3)
    x, y = samples_of(network)
    nominal = chip_of(network, seed=4)
    design = replace(nominal.design, devices=Devices.of(QUIET, age=3600.0))
    chip = Chip.of(design, 4)
    devices = analog(network, QUIET, 4)
    rule = HardwareDFC(devices, chip, target_stepsize=0.2, tolerance=1e-10)
    devices.wait(3600.0)
    devices.read()
    rule.backward(x, y)
    for i, parts in enumerate(layers(chip), start=1):
        for ours, made in zip(rule.static.devices(i), (parts.w_plus, parts.w_minus), strict=True):
            torch.testing.assert_close(ours, made, rtol=1e-10, atol=2 * OPEN)
    static = StaticChip.of(chip)
    seen = static.solve(x, torch.zeros_like(y)).free.r[-1]
    theirs = update_of(static, x, 0.2 * 2 * (y - seen))
    assert_close(gradients(devices), theirs, 1e-6)
    # What programming and drift do is far larger than that.
    wrong = update_of(StaticChip.of(nominal), x, 0.2 * 2 * (y - seen))
    assert float((wrong[0] - theirs[0]).norm()) > 2e-2 * float(theirs[0].norm())


def test_the_gradient_follows_the_weights_as_the_devices_were_read() -> None:
    network = network_of([6, 5, 3], seed=3)
    x, y = samples_of(network)
    model = DeviceCard.load(PCM).model()
    devices = analog(network, model, 4)
    rule = HardwareDFC(devices, chip_of(network))
    for _ in range(2):  # every read is another chip
        devices.read()
        rule.backward(x, y)
        for i, (w, b) in enumerate(zip(devices.weights, devices.biases, strict=True), start=1):
            plus, minus = rule.static.devices(i)
            read = torch.cat([w, b[:, None]], dim=1).detach()
            unit = model.window.span / rule.static.largest[i - 1]
            torch.testing.assert_close((plus - minus) / unit, read, rtol=1e-10, atol=1e-12)
            both = devices.arrays[i - 1].devices.at(0.0)[0].sum(dim=0)
            torch.testing.assert_close(plus + minus, both, rtol=1e-10, atol=1e-18)


def test_a_chip_of_devices_is_programmed_anew_in_each_step_of_an_ordinary_network() -> None:
    network = network_of([6, 5, 3], seed=3)
    x, y = samples_of(network)
    design = replace(chip_of(network).design, devices=Devices.of(QUIET), limits=(4.0, 4.0))
    rule = HardwareDFC(network, Chip.of(design, 4))
    rule.backward(x, y)
    with torch.no_grad():
        network.weights[0].mul_(0.5)
    rule.backward(x, y)
    moved = replace(design, weights=tuple(w.detach().clone() for w in network.weights))
    pair, made = rule.static.devices(1), layers(Chip.of(moved, 4))[0]
    torch.testing.assert_close(pair.plus, made.w_plus, rtol=1e-10, atol=2 * OPEN)
    torch.testing.assert_close(pair.minus, made.w_minus, rtol=1e-10, atol=2 * OPEN)
    assert float((pair.plus - layers(Chip.of(design, 4))[0].w_plus).abs().max()) > 1e-6


def test_measured_outputs_are_those_of_the_free_phase_of_the_chip() -> None:
    network = network_of([5, 4, 3], seed=1)
    x, _ = samples_of(network)
    for readout in (Readout(), Readout(auto_zero=False)):
        chip = chip_of(network, readout=readout)
        free = StaticChip.of(chip).solve(x, torch.zeros(4, 3).double()).free.r[-1]
        torch.testing.assert_close(HardwareDFC(network, chip).outputs(x), free, rtol=0, atol=1e-12)
    assert float((free - network(x).detach()).abs().max()) > 1e-3


def test_a_step_of_the_devices_is_seen_by_the_next_gradient() -> None:
    network = network_of([5, 4, 3], seed=1)
    x, y = samples_of(network)
    devices = on_ideal_devices(network)
    rule = HardwareDFC(devices, chip_of(network))
    optimizer = PulsedUpdate(devices, torch.optim.SGD(devices.parameters(), lr=1.0))
    first = float(rule.backward(x, y))
    for _ in range(20):
        rule.backward(x, y)
        optimizer.step()
    assert float(rule.backward(x, y)) < 0.8 * first


def test_the_feedback_crossbars_are_of_the_devices_of_the_arrays() -> None:
    network = network_of([5, 4, 3], seed=1)
    rule = HardwareDFC(analog(network, QUIET, 4), chip_of(network))
    found, card = rule.static.chip, chip_of(network)
    for ours, theirs in zip(layers(found), layers(card), strict=True):
        assert float(ours.q_plus.max()) <= 1.5 * QUIET.window.g_max
        assert float(ours.q_plus.min()) < CARD.device.g_min
        for name, stage in theirs.stages.items():
            assert torch.equal(ours.stages[name].offset, stage.offset)


def test_arrays_that_cannot_be_those_of_the_chip_are_refused() -> None:
    network = network_of([5, 4, 3], seed=1)
    chip = chip_of(network)
    pcm = Chip.of(replace(chip.design, devices=Devices.of(PCM)))
    with pytest.raises(UserError, match="the chip's devices aren't those"):
        HardwareDFC(on_ideal_devices(network), pcm)
    with pytest.raises(UserError, match="differential pairs, Split or Balanced"):
        HardwareDFC(analog(network, "ideal", 1, mapping=Mapping(MidRail())), chip)
    with pytest.raises(UserError, match="the window of the network's arrays stands for"):
        HardwareDFC(on_ideal_devices(network), chip, limits=(1.0, 1.0))
    larger = network_of([5, 4, 3], seed=1)
    with torch.no_grad():
        larger.weights[0].mul_(9.0)
    other = chip_of(larger)
    with pytest.raises(UserError, match="made of the network's first weights"):
        HardwareDFC(on_ideal_devices(network), other)
    sliced = analog(network, "ideal", 1, mapping=Mapping(slicing=Equal(2)))
    with pytest.raises(UserError, match="arrays of 2 slices and 2 rails"):
        HardwareDFC(sliced, chip).refold()


def test_conductances_leave_room_for_the_weights_that_the_arrays_can_hold() -> None:
    network = network_of([5, 4, 3], seed=1)
    devices = analog(network, "ideal", 1, mapping=Mapping(Balanced(), PerLayer(9.0)))
    rule = HardwareDFC(devices, chip_of(network))
    limits = [float(a.layout.scale.max()) for a in devices.arrays]
    assert max(limits) > max(StaticChip.of(chip_of(network)).largest)
    for largest, limit in zip(rule.static.largest, limits, strict=True):
        assert largest >= limit * (1 - 1e-12)


def test_room_that_is_there_already_changes_nothing() -> None:
    chip = chip_of(network_of([5, 4, 3], seed=1))
    same = Chip.of(replace(chip.design, limits=(0.1, 0.1)), chip.seed)
    for ours, theirs in zip(layers(same), layers(chip), strict=True):
        assert torch.equal(ours.w_plus, theirs.w_plus)


def test_a_weight_beyond_the_window_is_refused() -> None:
    network = network_of([5, 4, 3], seed=1)
    rule = HardwareDFC(network, chip_of(network))
    with torch.no_grad():
        network.weights[1][0, 0] = 50.0
    with pytest.raises(UserError, match=r"layer 2: a weight of magnitude 50 .* `limits`"):
        rule.backward(*samples_of(network))
    roomy = HardwareDFC(network, chip_of(network_of([5, 4, 3], seed=1)), limits=(5.0, 60.0))
    roomy.backward(*samples_of(network))


def test_a_sample_without_a_rest_state_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*args: Any, **kwargs: Any) -> SteadyState:
        found = steady_state(*args, **kwargs)
        return found._replace(converged=torch.tensor([True, False, True, True]))

    network = network_of([5, 4, 3], seed=1)
    rule = HardwareDFC(network, chip_of(network))
    monkeypatch.setattr(static_chip, "steady_state", failing)
    with pytest.raises(ConvergenceError, match=r"sample 1 \(counted from 0\)"):
        rule.backward(*samples_of(network))


# Another device


@pytest.mark.parametrize("devices", [None, PCM])
@pytest.mark.parametrize("moved_later", [False, True])
def test_a_step_runs_where_the_network_is(
    devices: str | None, moved_later: bool, device: str
) -> None:
    def found(place: str, readout: Readout) -> list[Tensor]:
        network = network_of([4, 5, 3], seed=3)
        design = chip_of(network, readout=readout).design
        design = replace(design, devices=None if devices is None else Devices.of(devices))
        x, y = (t.to(place) for t in samples_of(network))
        if not moved_later:
            network.to(place)
        rule = HardwareDFC(network, Chip.of(design, 1))
        network.to(place)
        return [rule.outputs(x), rule.backward(x, y), *gradients(network)]

    for readout in (READOUTS[0], READOUTS[-1]):
        there = found(device, readout)
        assert {t.device.type for t in there} == {device}
        assert_close([t.cpu() for t in there], found("cpu", readout), 1e-9)


@pytest.mark.parametrize("noise", [None, NOISE])
@pytest.mark.parametrize("made_of", ["resistors", PCM, "arrays"])
def test_the_gradient_on_another_device_is_that_on_the_processor(
    made_of: str, noise: ReadingNoise | None, device: str
) -> None:
    def found(device: str) -> list[Tensor]:
        network = network_of([5, 4, 3], seed=1)
        x, y = (t.to(device) for t in samples_of(network))
        design = chip_of(network).design
        if made_of == PCM:
            design = replace(design, devices=Devices.of(PCM))
        network = network.to(device)
        if made_of == "arrays":
            network = on_ideal_devices(network)
        rule = HardwareDFC(network, Chip.of(design, 1), noise=noise)
        rule.backward(x, y)
        return [t.cpu() for t in (rule.outputs(x), *gradients(network))]

    assert_close(found(device), found("cpu"), 1e-9)


# Noise of the reading


def soma(e_n: float, gain: float = 7.0, omega: float = 1e8, kelvin: float = 300.15) -> SomaNoise:
    one = torch.ones(1, dtype=torch.float64)
    return SomaNoise(
        r_f=1e5 * one, gain=gain * one, e_n=e_n, tau=1e-6, omega=omega, temperature=kelvin
    )


@pytest.mark.parametrize(("e_n", "micro"), [(0.0, 52.07), (10e-9, 78.7)])
def test_one_sample_has_the_noise_that_ngspice_found(e_n: float, micro: float) -> None:
    assert 1e6 * float(soma(e_n).sampled().sqrt()) == pytest.approx(micro, rel=5e-4)


def density(noise: SomaNoise, f: float) -> float:
    """One-sided, of the output of an amplifier with one pole, in V^2 / Hz."""
    s = 2j * math.pi * f
    r_f, gain = float(noise.r_f), float(noise.gain)
    below = 1 + s * (noise.tau + gain / noise.omega) + s**2 * noise.tau / noise.omega
    thermal = 4 * 1.380649e-23 * noise.temperature * r_f * gain
    return float((thermal + noise.e_n**2 * abs(gain + s * noise.tau) ** 2) / abs(below) ** 2)


@given(st.floats(0, 30e-9), st.floats(2, 20), st.floats(3, 50))
@settings(max_examples=10)
def test_a_mean_over_time_has_the_integral_of_the_density(
    e_n: float, gain: float, taus: float
) -> None:
    noise, seconds = soma(e_n, gain, omega=1e9), taus * 1e-6

    def seen(log_f: float) -> float:
        f = math.exp(log_f)
        return density(noise, f) * float(np.sinc(f * seconds)) ** 2 * f

    # Beyond the resolved lobes sinc^2 has the mean 1 / (2 (pi f T)^2).
    split = 30 / seconds
    low = quad(lambda f: density(noise, f) * float(np.sinc(f * seconds)) ** 2, 0, split, limit=500)
    tail = quad(
        lambda log_f: (
            density(noise, math.exp(log_f)) / (2 * (math.pi * seconds) ** 2) / math.exp(log_f)
        ),
        math.log(split),
        math.log(1e12),
    )
    assert float(noise.averaged(seconds)) == pytest.approx(low[0] + tail[0], rel=0.02)


def test_the_gradient_has_the_stated_noise() -> None:
    network = network_of([4, 3, 2], seed=1)
    chip = chip_of(network)
    x, y = (t.expand(20000, -1) for t in samples_of(network, batch=1))
    quiet = HardwareDFC(network, chip)
    noisy = HardwareDFC(network, chip, noise=NOISE)
    state = quiet.static.solve(x[:1], 0.1 * y[:1])
    found = noisy.differences(quiet.static.solve(x, 0.1 * y))
    sigmas = reading_sigma(chip, NOISE)
    for d, plain, sigma, r in zip(found, state.differences, sigmas, state.rest.r, strict=True):
        slope = 1 - r[0] ** 2 if r is not state.rest.r[-1] else torch.ones_like(r[0])
        expected = slope * sigma
        torch.testing.assert_close(d.std(dim=0), expected, rtol=0.03, atol=0)
        assert bool(((d.mean(dim=0) - plain[0]).abs() < 5 * expected / 20000**0.5).all())
    quiet.backward(x[:5], y[:5])
    plain_gradient = gradients(network)
    noisy.backward(x[:5], y[:5])
    assert not torch.equal(gradients(network)[0], plain_gradient[0])
    # One sample and its copies: the mean over five of them has a fifth of the variance.
    apart = gradients(network)[0] - plain_gradient[0]
    scale = float(sigmas[0].max()) * float(x[0].abs().max()) / 5**0.5
    assert float(apart.abs().max()) < 5 * scale


def test_double_sampling_adds_the_noise_of_the_free_phase() -> None:
    network = network_of([4, 3, 2], seed=1)
    with_it, without = chip_of(network), chip_of(network, readout=Readout(double_sampling=False))
    for both, one, parts in zip(
        reading_sigma(with_it, NOISE),
        reading_sigma(without, NOISE),
        soma_noise(with_it),
        strict=True,
    ):
        scale = CARD.scale.activation
        torch.testing.assert_close(one**2, parts.averaged(50e-6) / scale**2)
        torch.testing.assert_close(both**2 - one**2, parts.averaged(10e-6) / scale**2)
    sampled = reading_sigma(with_it, replace(NOISE, free=0.0))
    for many, one in zip(reading_sigma(with_it, NOISE), sampled, strict=True):
        assert bool((one > many).all())


def test_the_noise_gain_counts_every_device_at_the_summing_node() -> None:
    chip = chip_of(
        network_of([4, 3, 2], seed=1), CARD.ideal().replace("amplifier", noise=1e-8), None
    )
    first, parts = soma_noise(chip)[0], layers(chip)[0]
    conductance = parts.q_plus + parts.q_minus
    expected = 2 + parts.stages["soma"].r_f * conductance.sum(dim=1)
    torch.testing.assert_close(first.gain, expected)


# What is refused


def test_noise_needs_the_cards_figure_and_a_bandwidth_for_one_sample() -> None:
    network = network_of([4, 3, 2], seed=1)
    silent = CARD.replace("amplifier", noise=None)
    with pytest.raises(UserError, match=r"unknown without the key 'noise' of \[amplifier\]"):
        HardwareDFC(network, chip_of(network, silent), noise=NOISE)
    fast = CARD.without("finite bandwidth")
    with pytest.raises(UserError, match="infinite noise"):
        HardwareDFC(network, chip_of(network, fast), noise=ReadingNoise(settle=1e-5))
    HardwareDFC(network, chip_of(network, fast), noise=NOISE)


@pytest.mark.parametrize("values", [{"settle": 0.0}, {"settle": 1e-6, "free": -1.0}])
def test_times_of_a_reading_must_make_sense(values: dict[str, float]) -> None:
    with pytest.raises(UserError):
        ReadingNoise(**values)


def test_a_network_must_fit_the_chip() -> None:
    network = network_of([4, 3, 2], seed=1)
    chip = chip_of(network)
    for other in (
        network_of([4, 4, 2]),
        network_of([4, 3, 2], activation="relu"),
        network_of([4, 3, 2], dtype=torch.float32),
    ):
        with pytest.raises(UserError):
            HardwareDFC(other, chip)
    with pytest.raises(UserError, match=r"in torch.float32: a chip is solved in float64$"):
        HardwareDFC(network_of([4, 3, 2], dtype=torch.float32), chip)
    with pytest.raises(UserError, match="target_stepsize"):
        HardwareDFC(network, chip, target_stepsize=0.0)
    with pytest.raises(UserError, match="one number > 0 for each of 2 layers"):
        HardwareDFC(network, chip.design, limits=(1.0,))


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_rests_beyond_the_rails_are_told(seed: int) -> None:
    network = network_of([3, 4, 2], seed)
    x, y = samples_of(network)
    chip = chip_of(network)

    def railed(limit: float) -> Chip:
        amplifier = CARD.amplifier.model_copy(update={"saturation": limit})
        return Chip.of(chip.design.on(CARD.model_copy(update={"amplifier": amplifier})), chip.seed)

    # With rails this low hidden potentials count, too.
    needed = StaticChip.of(railed(0.9)).solve(x, Goal(SquaredError(), y, 0.1)).needed
    assert float(needed.max()) < 0.9
    for share in (0.999, 1.001):
        limit = share * float(needed.max())
        rule = HardwareDFC(network, railed(limit), loss=SquaredError())
        before = len(rule.notes())
        rule.backward(x, y)
        beyond = int((needed > limit).sum())
        told = [f"{beyond} of {len(x)}"] if beyond else []
        assert [note.split(" samples")[0] for note in rule.notes()[before:]] == told

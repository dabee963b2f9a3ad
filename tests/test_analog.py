"""Analog networks: what their weights are, that every rule trains them, and what a step does."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from strategies import generator, network_of, normal
from torch import Tensor
from torch.nn.functional import linear

from analogdfc.arrays.converters import ADC, DAC
from analogdfc.arrays.layers import AnalogNetwork, analog
from analogdfc.arrays.mapping import (
    Balanced,
    Cell,
    Equal,
    Fixed,
    Mapping,
    MidRail,
    OffsetColumn,
    PerColumn,
    PerLayer,
    Positional,
    Scheme,
    Split,
    Tiling,
)
from analogdfc.arrays.optimizer import PulsedUpdate
from analogdfc.arrays.writers import PulseWriter
from analogdfc.cards.device import DeviceCard
from analogdfc.devices import (
    Curve,
    DeviceModel,
    Faults,
    LinearStep,
    OneShot,
    Pulses,
    RandomTelegraph,
    ReadNoise,
    Window,
    WriteVerify,
)
from analogdfc.errors import UserError
from analogdfc.learning import Backpropagation, make_rule
from analogdfc.network import Network
from analogdfc.onchip.registry import RULES

US = 1e-6
WINDOW = Window(1 * US, 41 * US)
IDEAL = DeviceModel(WINDOW)
PULSED = DeviceModel(WINDOW, pulses=Pulses(LinearStep(step=0.002)))
PCM, ECRAM = "pcm_nandakumar2019", "ecram_mo_kim2019"
ROOMY = Mapping(scale=PerLayer(2.0))


def step_of(network: AnalogNetwork, lr: float = 1.0) -> torch.optim.Optimizer:
    return torch.optim.SGD(network.parameters(), lr=lr)


def weight(network: Network, i: int = 0) -> Tensor:
    """What a weight matrix is now, as a tensor of its own."""
    out: Tensor = network.weights[i].detach().clone()
    return out


def give_gradient(network: Network, seed: int, size: float) -> list[Tensor]:
    """Random gradients of all parameters; they are returned, weights first."""
    out = []
    for k, p in enumerate(network.parameters()):
        p.grad = (size * normal(seed + k, *p.shape)).to(p)
        out.append(p.grad.clone())
    return out


@pytest.mark.parametrize("bias_rows", [0, 2])
@pytest.mark.parametrize("scheme", [Split(), Balanced(), MidRail(), OffsetColumn()])
def test_ideal_devices_hold_the_network_that_they_were_given(
    scheme: Scheme, bias_rows: int, network: Network
) -> None:
    mapping = Mapping(scheme, PerColumn(), Positional(2), Tiling(4, 3), bias_rows)
    before = [p.clone() for p in network.parameters()]
    copy = analog(network, IDEAL, 0, mapping=mapping)
    x = normal(0, 6, 3)
    torch.testing.assert_close(copy(x), network(x), rtol=0, atol=1e-12)
    for old, new in zip(before, network.parameters(), strict=True):
        assert torch.equal(old, new)


def test_the_weights_are_read_from_the_devices(network: Network) -> None:
    copy = analog(network, PCM, 3)
    for array, w, b in zip(copy.arrays, copy.weights, copy.biases, strict=True):
        # At time 0 this card reads 1/f noise of no bandwidth: the programmed state itself.
        stored, bias = array.layout.weights(array.devices.at(0.0))
        assert bias is not None
        torch.testing.assert_close(w.detach(), stored, rtol=0, atol=1e-12)
        torch.testing.assert_close(b.detach(), bias, rtol=0, atol=1e-12)


def test_a_read_has_the_noise_of_both_devices_of_a_pair() -> None:
    network = network_of([200, 50], seed=0)
    copy = analog(network, PCM, 0)
    copy.wait(100.0)
    array = copy.arrays[0]
    mean, sigma = array.moments(copy.time)
    assert sigma is not None
    reads = []
    for _ in range(200):
        copy.read()
        reads.append(weight(copy))
    found = torch.stack(reads)
    expected, _ = array.layout.weights(mean)
    v = (sigma**2).sum(dim=1)[0] / WINDOW_OF_PCM.span**2
    spread = v.sqrt()[:, :-1] * array.layout.scale
    # Both over about 10,000 weights of 200 reads each; where both devices are at 0 is no noise.
    noisy = spread > 0
    assert torch.equal(found[0][~noisy], found[1][~noisy])
    mean_error = (found.mean(0) - expected)[noisy] / spread[noisy] * 200**0.5
    assert float(mean_error.std()) == pytest.approx(1, rel=0.03)
    assert float((found.var(0)[noisy] / spread[noisy] ** 2).mean()) == pytest.approx(1, rel=0.02)


WINDOW_OF_PCM = DeviceCard.load(PCM).model().window


def test_time_lets_the_weights_drift_and_a_write_starts_it_anew(network: Network) -> None:
    model = DeviceCard.load(PCM).model().without("read noise", "programming noise")
    copy = analog(network, model, 0, mapping=ROOMY)
    start = [w.detach().clone() for w in copy.weights]
    copy.wait(1e5)
    copy.read()
    for w, old in zip(copy.weights, start, strict=True):
        shrunk = float(w.detach().norm() / old.norm())
        # (1e5 / 20)^-nu with nu between 0.049 and 0.1, and its spread.
        assert 0.35 < shrunk < 0.75
    optimizer = PulsedUpdate(copy, step_of(copy), "mixed-precision", granularity=0.01)
    drifted = [w.detach().clone() for w in copy.weights]
    for p in copy.parameters():
        p.grad = torch.zeros_like(p)
    grad = copy.weights[0].grad
    assert grad is not None
    grad[0, 0] = -0.1
    optimizer.step()
    scale = float(copy.arrays[0].layout.scale[0])
    assert float(weight(copy)[0, 0]) == pytest.approx(float(start[0][0, 0]) + 0.1, abs=0.02 * scale)
    changed = torch.cat([(a != b).flatten() for a, b in zip(copy.weights, drifted, strict=True)])
    assert int(changed.sum()) == 1


def test_one_seed_gives_one_network_and_another_seed_another(network: Network) -> None:
    def weights(seed: int) -> Tensor:
        copy = analog(network, PCM, seed)
        copy.wait(10.0)
        copy.read()
        return weight(copy)

    assert torch.equal(weights(1), weights(1))
    assert not torch.equal(weights(1), weights(2))
    state = torch.get_rng_state()
    weights(1)
    assert torch.equal(state, torch.get_rng_state())


def test_stuck_devices_stay_whatever_is_written(network: Network) -> None:
    model = replace(IDEAL, faults=Faults(off=0.3))
    copy = analog(network, model, 0, mapping=Mapping(MidRail(), PerLayer(2.0)))
    stuck = copy.arrays[0].devices.population.stuck
    assert stuck is not None
    mask = stuck.mask[0, 0, :, :-1]
    assert 0 < int(mask.sum()) < mask.numel()
    scale = copy.arrays[0].layout.scale
    for mode in ("ideal", "deterministic"):
        granularity = None if mode == "ideal" else 0.001
        optimizer = PulsedUpdate(copy, step_of(copy), mode, granularity=granularity)
        give_gradient(copy, 1, 0.1)
        optimizer.step()
        assert torch.equal(copy.weights[0][mask], (-scale).expand_as(mask)[mask])


def test_known_stuck_cells_are_those_of_the_arrays(network: Network) -> None:
    # Rows 2 and 3 of the second array of layer 1 are the rails of input 3, its bias row.
    cells = [Cell(2, 1, 41 * US, tile_row=1), Cell(3, 1, 1 * US, tile_row=1)]
    mapping = Mapping(tiling=Tiling(rows=4))
    copy = analog(network, IDEAL, 0, mapping=mapping, stuck={1: cells})
    layout = copy.arrays[0].layout
    expected = network.biases[0].detach().clone()
    expected[1] = layout.scale[1, 0]
    torch.testing.assert_close(copy.biases[0].detach(), expected, rtol=0, atol=1e-12)
    torch.testing.assert_close(weight(copy), weight(network), rtol=0, atol=1e-12)
    for cell, message in (
        (Cell(4, 0, US), r"layer 1: .*row 4, column 0: .* rows 0..3 and columns 0..3 are allowed"),
        (Cell(0, 0, US, slice=1), r"slice 1, .* slices 0..0, arrays \(0..1, 0..0\)"),
        (Cell(0, 0, -US), "conductance of the stuck cell of .* -1e-06 S: .* >= 0"),
    ):
        with pytest.raises(UserError, match=message):
            analog(network, IDEAL, 0, mapping=mapping, stuck={1: [cell]})
    with pytest.raises(UserError, match=r"stuck cells of layer 3; there are layers 1..2"):
        analog(network, IDEAL, 0, stuck={3: cells})


def test_every_device_of_a_network_is_exported(network: Network) -> None:
    copy = analog(network, PCM, 0)
    for i, (name, columns) in enumerate(copy.tables().items()):
        assert name == f"layer{i + 1}"
        g = torch.from_numpy(columns["programmed"]).reshape(copy.arrays[i].layout.shape)
        torch.testing.assert_close(copy.arrays[i].layout.weights(g)[0], weight(copy, i))


def test_a_network_in_single_precision_stays_so() -> None:
    single = Network([3, 4, 2], dtype=torch.float32, generator=generator(0))
    copy = analog(single, ECRAM, 0, mapping=Mapping(Balanced(), PerLayer(2.0)))
    give_gradient(copy, 0, 0.1)
    before = weight(copy)
    PulsedUpdate(copy, step_of(copy)).step()
    assert not torch.equal(weight(copy), before)
    assert copy(torch.ones(1, 3)).dtype == torch.float32


def test_telegraph_noise_and_shared_references_reach_the_weights(network: Network) -> None:
    trapped = replace(IDEAL, telegraph=RandomTelegraph(amplitude=0.2, time_high=1.0, time_low=1.0))
    copy = analog(network, trapped, 0)
    first = weight(copy)
    copy.read()
    assert not torch.equal(first, copy.weights[0])
    noisy = replace(IDEAL, read=ReadNoise(white=Curve.polynomial(0.5 * US)))
    shared = analog(network_of([200, 40], seed=0), noisy, 0, mapping=Mapping(OffsetColumn()))
    before = weight(shared)
    shared.read()
    change = weight(shared) - before
    # Half of the variance is the reference's, common to all outputs.
    common = float(change.mean(dim=0).var() / change.var())
    assert common == pytest.approx(0.5 + 0.5 / 40, abs=0.1)


# A chip of devices is another circuit than one of the card's resistors, with other errors.
@pytest.mark.parametrize("name", [name for name in RULES if name != "dfc-chip"])
def test_every_rule_trains_through_analog_weights_unchanged(name: str) -> None:
    plain = Network([5, 5, 5], "tanh", generator=generator(3))
    x, y = 0.1 * normal(4, 3, 5), 0.1 * normal(5, 3, 5)
    copy = analog(plain, PULSED, 0)
    rules = [make_rule(name, net, generator=generator(7)) for net in (plain, copy)]
    losses = [rule.backward(x, y) for rule in rules]
    torch.testing.assert_close(losses[0], losses[1], rtol=1e-9, atol=1e-12)
    for a, b in zip(plain.parameters(), copy.parameters(), strict=True):
        assert a.grad is not None
        assert b.grad is not None
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-6, atol=1e-9)
    before = weight(copy, -1)
    PulsedUpdate(copy, step_of(copy, 10.0)).step()
    assert not torch.equal(before, copy.weights[-1])


@pytest.mark.parametrize("bias_rows", [0, 1, 3])
@pytest.mark.parametrize("kind", [torch.optim.SGD, torch.optim.Adam])
def test_ideal_devices_and_ideal_writes_train_as_the_plain_network(
    kind: Any, bias_rows: int, network: Network
) -> None:
    mapping = Mapping(scale=PerLayer(8.0), bias_rows=bias_rows, slicing=Equal(2))
    copy = analog(network, IDEAL, 0, mapping=mapping)
    x, y = normal(0, 8, 3), normal(1, 8, 2)
    plain = kind(network.parameters(), lr=0.02)
    pulsed = PulsedUpdate(copy, kind(copy.parameters(), lr=0.02), "ideal")
    for _ in range(30):
        for net, optimizer in ((network, plain), (copy, pulsed)):
            make_rule("dfc-ssa", net).backward(x, y)
            optimizer.step()
    for a, b in zip(network.parameters(), copy.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-12)
    assert all(count.clipped == 0 for count in pulsed.counts)
    assert all(count.writes > 0 for count in pulsed.counts)


def test_an_ideal_write_sets_every_device_whatever_it_held(network: Network) -> None:
    model = DeviceCard.load(PCM).model().without("read noise")
    copy = analog(network, model, 0, mapping=ROOMY)
    copy.wait(1e4)
    optimizer = PulsedUpdate(copy, step_of(copy), "ideal")
    grads = give_gradient(copy, 0, 0.01)
    optimizer.step()
    for k, w in enumerate(network.weights):
        expected = w.detach() - grads[k]
        torch.testing.assert_close(weight(copy, k), expected, rtol=0, atol=1e-12)


def test_mixed_precision_loses_nothing_to_the_levels_of_a_device(network: Network) -> None:
    # Granules of a fifth of the distance of two levels, which is 1 / 20 of the scale.
    model = DeviceModel(Window(1 * US, 41 * US, 21))
    copy = analog(network, model, 0, mapping=Mapping(scale=PerLayer(4.0), bias_rows=0))
    scale = float(copy.arrays[0].layout.scale[0])
    optimizer = PulsedUpdate(copy, step_of(copy), "mixed-precision", granularity=0.01)
    start, done = weight(copy), torch.zeros_like(weight(copy))
    for k in range(60):
        if k == 30:
            state = optimizer.state_dict()
            optimizer = PulsedUpdate(copy, step_of(copy), "mixed-precision", granularity=0.01)
            optimizer.load_state_dict(state)
        for p in copy.parameters():
            p.grad = torch.full_like(p, -0.004 * scale)
        optimizer.step()
        done += 0.004 * scale
    # Half a level, and less than a granule in the accumulator.
    error = (weight(copy) - start - done).abs().max() / scale
    assert float(error) <= 0.025 + 0.01 + 1e-9


@pytest.mark.parametrize("scheme", [Split(one_way=True), Balanced(), MidRail(), OffsetColumn()])
@pytest.mark.parametrize("mode", ["stochastic", "deterministic", "mixed-precision"])
@pytest.mark.parametrize("slices", [1, 3])
def test_ideal_pulses_follow_the_step_to_within_one(
    scheme: Scheme, mode: str, slices: int, network: Network
) -> None:
    mapping = Mapping(scheme, PerColumn(3.0), Equal(slices), Tiling(5, 3))
    copy = analog(network, PULSED, 0, mapping=mapping)
    optimizer = PulsedUpdate(copy, step_of(copy), mode)
    before = [p.detach().clone() for p in copy.weights]
    grads = give_gradient(copy, 0, 0.05)
    optimizer.step()
    for i, array in enumerate(copy.arrays):
        writer = optimizer.writers[i]
        assert isinstance(writer, PulseWriter)
        step = writer.step * array.layout.scale
        wanted = before[i] - grads[i]
        short = ((weight(copy, i) - wanted) / step).abs()
        most = 0.5 if mode == "deterministic" else 1.0
        assert float(short.max()) <= most + 1e-9


@pytest.mark.parametrize("mode", ["stochastic", "mixed-precision", "coincidence"])
def test_many_small_steps_of_pulses_add_up(mode: str, network: Network) -> None:
    copy = analog(network, PULSED, 0, mapping=Mapping(Balanced(), PerLayer(3.0)))
    optimizer = PulsedUpdate(copy, step_of(copy), mode)
    before = weight(copy)
    grads = give_gradient(copy, 0, 0.0005)  # about a tenth of a step
    for _ in range(400):
        optimizer.step()
    # A random walk of 400 roundings has a spread of less than 10 steps of 0.004 of the scale.
    step = 0.004 / 2 * float(copy.arrays[0].layout.scale[0])
    slack = step if mode == "mixed-precision" else 40 * step
    error = weight(copy) - (before - 400 * grads[0])
    assert float(error.abs().max()) <= slack * (1 + 1e-9)
    still = analog(network, PULSED, 0, mapping=Mapping(Balanced(), PerLayer(3.0)))
    give_gradient(still, 0, 1e-5)
    before = weight(still)
    PulsedUpdate(still, step_of(still), "deterministic").step()
    torch.testing.assert_close(weight(still), before, rtol=0, atol=1e-14)


SHRINKING = DeviceModel(
    WINDOW, pulses=Pulses(LinearStep(step=0.0005, gamma_up=0.6, gamma_down=0.4))
)
"""Devices whose steps get smaller towards the end that they go to, as those of ECRAM do."""


@pytest.mark.parametrize("scheme", [Split(one_way=True), Balanced(), MidRail(), OffsetColumn()])
@pytest.mark.parametrize("slices", [1, 3])
def test_compensated_pulses_follow_the_step_wherever_the_devices_stand(
    scheme: Scheme, slices: int, network: Network
) -> None:
    mapping = Mapping(scheme, PerColumn(2.0), Equal(slices), Tiling(5, 3))

    def worst(compensated: bool) -> float:
        """Largest miss of a change of some twenty pulses, in pulses at the middle."""
        copy = analog(network, SHRINKING, 0, mapping=mapping)
        optimizer = PulsedUpdate(copy, step_of(copy), "deterministic", compensated=compensated)
        before, grads = weight(copy), give_gradient(copy, 0, 0.008)
        optimizer.step()
        step = optimizer.writers[0].step * copy.arrays[0].layout.scale
        return float(((weight(copy) - before + grads[0]) / step).abs().max())

    # Half a pulse by rounding, of a size up to 1.6, and what the step changes on the way.
    assert worst(True) <= 1.25
    assert worst(False) >= 2.0


def test_to_and_fro_blind_pulses_pull_weights_to_0_and_compensated_ones_do_not(
    network: Network,
) -> None:
    def left(compensated: bool) -> float:
        """Size of the weights after changes that add up to nothing, beside what it was."""
        copy = analog(network, SHRINKING, 0, mapping=Mapping(Balanced(), PerLayer(2.0)))
        optimizer = PulsedUpdate(copy, step_of(copy), "mixed-precision", compensated=compensated)
        before, grads = weight(copy), give_gradient(copy, 0, 0.03)
        for sign in (1, -1) * 40:
            for p, grad in zip(copy.parameters(), grads, strict=True):
                p.grad = sign * grad
            optimizer.step()
        return float(weight(copy).norm() / before.norm())

    assert left(True) == pytest.approx(1, abs=0.02)
    assert left(False) < 0.8


def test_compensated_steps_are_those_of_pulses(network: Network) -> None:
    copy = analog(network, IDEAL, 0)
    with pytest.raises(UserError, match="these devices are written"):
        PulsedUpdate(copy, step_of(copy), "ideal", compensated=True)


def test_pulses_and_writes_are_counted(network: Network) -> None:
    copy = analog(network, PULSED, 0, mapping=Mapping(MidRail(), Fixed(10.0), bias_rows=0))
    optimizer = PulsedUpdate(copy, step_of(copy), "deterministic")
    for p in copy.parameters():
        p.grad = torch.zeros_like(p)
    # A weight of 1 is 1 / 10 of half the window of 1000 pulses: 50 pulses.
    grad = copy.weights[0].grad
    assert grad is not None
    grad[0, 0], grad[1, 1] = 1.0, -0.5
    optimizer.step()
    assert (optimizer.counts[0].up, optimizer.counts[0].down) == (25, 50)
    assert (optimizer.counts[1].up, optimizer.counts[1].down) == (0, 0)
    verify = WriteVerify(Curve.polynomial(2 * US), acceptance_floor=1 * US)
    other = analog(network, replace(IDEAL, programming=verify), 0, mapping=ROOMY)
    writing = PulsedUpdate(other, step_of(other), "deterministic", granularity=0.01)
    give_gradient(other, 0, 0.3)
    writing.step()
    count = writing.counts[0]
    assert 0 < count.writes < other.arrays[0].devices.g.numel() + 1
    # A normal number is within half a standard deviation 38 % of the time.
    assert 1.5 < count.attempts / count.writes < 4.5
    assert count.up == count.down == 0


def test_weights_that_would_leave_the_window_are_clipped_and_counted(network: Network) -> None:
    copy = analog(network, IDEAL, 0)
    optimizer = PulsedUpdate(copy, step_of(copy), "ideal")
    give_gradient(copy, 0, 10.0)
    optimizer.step()
    scale = float(copy.arrays[0].layout.scale[0])
    assert float(weight(copy).abs().max()) <= scale * (1 + 1e-12)
    assert optimizer.counts[0].clipped > 0


def test_pulses_that_would_leave_the_window_are_counted_and_more_than_a_share_refused(
    network: Network,
) -> None:
    copy = analog(network, PULSED, 0)
    optimizer = PulsedUpdate(copy, step_of(copy), "deterministic", most_clipped=0.1)
    step = 0.002 / 2 * WINDOW.span
    changes = clipped = 0

    def step_up() -> None:
        nonlocal changes, clipped
        for p in copy.parameters():
            p.grad = torch.full_like(p, -0.1 * float(weight(copy).abs().max()))
        before = [array.devices.g for array in copy.arrays]
        optimizer.step()
        for g, array, writer in zip(before, copy.arrays, optimizer.writers, strict=True):
            moved = array.devices.g - g
            assert isinstance(writer, PulseWriter)
            assert writer.last is not None
            sent = writer.last[1].sum()  # all weights get the same
            asked = sent / moved[0, 0].numel() * step
            changes += moved.numel()
            # A device at an end of its window moved less than was asked for.
            clipped += int((moved.abs() < float(asked.abs()) - step / 2).sum())

    step_up()
    assert optimizer.cut_off == (clipped, changes)
    while optimizer.cut_off[0] <= 0.09 * optimizer.cut_off[1]:
        step_up()
    with pytest.raises(UserError, match=r"changes \(.*%\) would have left the window"):
        step_up()
    assert optimizer.cut_off[0] > 0.1 * optimizer.cut_off[1]


def test_an_optimiser_continues_from_its_state(network: Network) -> None:
    def run(resume: bool) -> Tensor:
        copy = analog(network, PULSED, 0, mapping=ROOMY)
        optimizer = PulsedUpdate(
            copy, torch.optim.SGD(copy.parameters(), lr=0.1, momentum=0.9), "mixed-precision"
        )
        for k in range(10):
            if resume and k == 5:
                state = optimizer.state_dict()
                inner = torch.optim.SGD(copy.parameters(), lr=3.0, momentum=0.9)
                optimizer = PulsedUpdate(copy, inner, "mixed-precision")
                optimizer.load_state_dict(state)
            give_gradient(copy, k, 0.01)
            optimizer.step()
        return weight(copy)

    assert torch.equal(run(False), run(True))


def test_a_scheduler_changes_the_step_of_the_devices(network: Network) -> None:
    copy = analog(network, PULSED, 0)
    optimizer = PulsedUpdate(copy, step_of(copy, 1.0))
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.0)
    give_gradient(copy, 0, 0.1)
    optimizer.step()
    scheduler.step()
    before = weight(copy)
    optimizer.step()
    assert torch.equal(before, copy.weights[0])


def test_pulses_start_from_the_state_that_a_device_has_drifted_to() -> None:
    card = DeviceCard.load(PCM).model().without("read noise", "programming noise")
    network = network_of([3, 2], seed=0)
    model = replace(card, pulses=PULSED.pulses)
    copy = analog(network, model, 0, mapping=ROOMY)
    copy.wait(1e4)
    copy.read()
    drifted = copy.arrays[0].devices.at(1e4)
    counts = torch.zeros(copy.arrays[0].layout.shape, dtype=torch.int64)
    counts[0, :, 0, 0] = 3
    copy.arrays[0].pulse(counts, copy.time, generator(0))
    mean, _ = copy.arrays[0].moments(copy.time)
    step = 0.001 * model.window.span
    torch.testing.assert_close(mean, drifted + step * counts.double(), rtol=0, atol=1e-15)


def test_converters_cross_the_forward_pass_and_leave_the_weights(network: Network) -> None:
    mapping = Mapping(slicing=Positional(2), tiling=Tiling(4, 3))
    x = normal(0, 50, 3).clamp(-2, 2)
    plain = analog(network, IDEAL, 0, mapping=mapping)(x)
    errors = []
    for bits in (4, 8, 12):
        dac, adc = DAC(bits=bits, range=2.0), ADC(bits=bits, range=4.0)
        copy = analog(network, IDEAL, 0, mapping=mapping, dac=dac, adc=adc)
        errors.append(float((copy(x) - plain).detach().abs().max()))
        assert torch.equal(copy.weights[0], analog(network, IDEAL, 0, mapping=mapping).weights[0])
    assert errors[0] > 8 * errors[1] > 64 * errors[2] > 0


def test_each_array_is_converted_before_the_sums() -> None:
    network = Network([4, 1], generator=generator(0))
    with torch.no_grad():
        network.weights[0].copy_(torch.tensor([[1.0, 1.0, -1.0, -1.0]]))
    # Two arrays of two inputs each: currents of 2 and -2, each clipped to 1.5 or not.
    x = torch.tensor([[1.0, 1.0, 1.0, 0.0]], dtype=torch.float64)
    mapping = Mapping(tiling=Tiling(rows=4), bias_rows=0)
    copy = analog(network, IDEAL, 0, mapping=mapping, adc=ADC(range=1.5))
    assert float(copy(x).detach()) == pytest.approx(1.5 - 1)
    whole = analog(network, IDEAL, 0, mapping=Mapping(bias_rows=0), adc=ADC(range=1.5))
    assert float(whole(x).detach()) == pytest.approx(1.0)


def test_gradients_go_through_the_converters(network: Network) -> None:
    x, y = normal(0, 20, 3), normal(1, 20, 2)
    Backpropagation(network).backward(x, y)
    copy = analog(network, IDEAL, 0, dac=DAC(bits=12, range=5.0), adc=ADC(bits=12, range=8.0))
    Backpropagation(copy).backward(x, y)
    for a, b in zip(network.parameters(), copy.parameters(), strict=True):
        assert a.grad is not None
        assert b.grad is not None
        torch.testing.assert_close(a.grad, b.grad, rtol=0, atol=0.02)


@pytest.mark.parametrize("rule", ["bp", "ddtp-linear", "gn"])
def test_a_rule_sees_the_output_that_has_crossed_the_converters(
    rule: str, network: Network
) -> None:
    x, y = normal(0, 20, 3), normal(1, 20, 2)
    coarse = analog(network, IDEAL, 0, adc=ADC(bits=3, range=8.0))
    loss = make_rule(rule, coarse, generator=generator(0)).backward(x, y)
    with torch.no_grad():
        expected = float((coarse(x) - y).square().sum(dim=1).mean())
    assert float(loss) == pytest.approx(expected)
    plain = make_rule(rule, analog(network, IDEAL, 0), generator=generator(0)).backward(x, y)
    assert float(loss) != pytest.approx(float(plain), rel=1e-3)


def test_converter_noise_follows_the_seed(network: Network) -> None:
    x = normal(0, 4, 3)
    outputs = [analog(network, IDEAL, s, dac=DAC(noise=0.1))(x).detach() for s in (0, 0, 1)]
    assert torch.equal(outputs[0], outputs[1])
    assert not torch.equal(outputs[0], outputs[2])


def test_the_error_of_a_product_is_that_of_its_devices() -> None:
    # Errors of independent devices add in variance: sum over the inputs of x^2 times theirs.
    model = replace(IDEAL, programming=OneShot(Curve.polynomial(0.4 * US)))
    network = network_of([60, 400], seed=0)
    copy = analog(network, model, 0, mapping=Mapping(Balanced(), bias_rows=0))
    x = normal(1, 30, 60)
    error = linear(x, copy.weights[0] - network.weights[0]).detach()
    sigma = 2**0.5 * 0.4 / 40 * copy.arrays[0].layout.scale[0, 0] * x.norm(dim=1)
    assert float((error / sigma[:, None]).std()) == pytest.approx(1, rel=0.03)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda n: analog(n, PCM, -1), "seed -1: a seed must be >= 0"),
        (lambda n: analog(n, "none_such", 0), "unknown device card 'none_such'"),
        (
            lambda n: analog(n, IDEAL, 0, mapping=Mapping(scale=Fixed(0.1))),
            r"layer 1: weight \[0, 0\] = .* is outside of the window, .* -0.1 to 0.1",
        ),
        (lambda n: analog(n, PCM, 0).wait(-1.0), "time to wait -1 s: must be finite and >= 0 s"),
        (lambda n: update(n, PULSED, "best"), "unknown mode 'best' .* stochastic, deterministic"),
        (lambda n: update(n, IDEAL, "stochastic"), r"no section \[pulse\]\); give `granularity`"),
        (
            lambda n: update(n, IDEAL, "stochastic", granularity=0.0),
            "granularity 0: must be finite and > 0 and <= 2",
        ),
        (
            lambda n: update(n, IDEAL, "ideal", granularity=0.1),
            "the ideal write is exact; leave the granularity out",
        ),
        (
            lambda n: PulsedUpdate(analog(n, PULSED, 0), torch.optim.SGD(n.parameters(), lr=1)),
            "parameters that aren't this analog network's",
        ),
        (
            lambda n: update(n, PULSED, "ideal", period=-1.0),
            "period -1 s: must be finite and >= 0 s",
        ),
        (
            lambda n: PulsedUpdate(
                copy := analog(n, PULSED, 0, mapping=Mapping(slicing=Positional())), step_of(copy)
            ),
            "pulses on slices of different significance",
        ),
    ],
)
def test_what_cannot_be_made_is_refused(make: Any, message: str, network: Network) -> None:
    with pytest.raises(UserError, match=message):
        make(network)


def update(network: Network, model: DeviceModel, mode: str, **options: Any) -> PulsedUpdate:
    copy = analog(network, model, 0)
    return PulsedUpdate(copy, step_of(copy), mode, **options)

"""Some devices of an array: what happens to them alone is what would happen in the whole array."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from strategies import generator, normal
from torch import Tensor

from analogdfc.arrays.array import AnalogArray
from analogdfc.arrays.mapping import (
    Balanced,
    Equal,
    Fixed,
    Mapping,
    MidRail,
    OffsetColumn,
    Scheme,
    Split,
)
from analogdfc.cards.device import DeviceCard
from analogdfc.devices import DeviceModel, Faults, LinearStep, Pulses, Window

US = 1e-6
WINDOW = Window(1 * US, 41 * US)
# Different in every device, but without noise from pulse to pulse.
SPREAD = Pulses(
    LinearStep(step=0.01, gamma_up=0.4, gamma_down=0.7),
    device_spread=0.3,
    asymmetry_spread=0.1,
    low_spread=0.1,
)
STUCK = DeviceModel(WINDOW, pulses=SPREAD, faults=Faults(on=0.1, off=0.1))
PCM = DeviceCard.load("pcm_nandakumar2019").model()
AGEING = replace(PCM.without("programming noise"), pulses=SPREAD)
SCHEMES = [Split(), Split(one_way=True), Balanced(), MidRail(), OffsetColumn()]
OUTPUTS, INPUTS = 5, 4


def array_of(model: DeviceModel, scheme: Scheme, slices: int = 1) -> AnalogArray:
    mapping = Mapping(scheme, Fixed(1.0), Equal(slices), bias_rows=1)
    weights = 0.6 * torch.tanh(normal(1, OUTPUTS, INPUTS))
    layout = mapping.layout(weights, None, model.window)
    return AnalogArray(layout, model, layout.conductances(weights), generator(2))


def some_weights(count: int = 7) -> Tensor:
    return torch.randperm(OUTPUTS * (INPUTS + 1), generator=generator(3))[:count]


def in_whole(weights: Tensor, values: Tensor) -> Tensor:
    """Values at the places of weights, 0 elsewhere, (..., outputs, inputs + bias row)."""
    whole = values.new_zeros(*values.shape[:-1], OUTPUTS * (INPUTS + 1))
    whole[..., weights] = values
    return whole.view(*values.shape[:-1], OUTPUTS, INPUTS + 1)


def assert_same(some: AnalogArray, whole: AnalogArray, now: float) -> None:
    assert torch.equal(some.devices.g, whole.devices.g)
    assert torch.equal(some.devices.target, whole.devices.target)
    for ours, theirs in zip(some.moments(now), whole.moments(now), strict=True):
        if theirs is None:
            assert ours is None
        else:
            assert ours is not None
            torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=0)
    ours, theirs = (array.matrix(now, generator(9)) for array in (some, whole))
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-14)


@pytest.mark.parametrize("known", [False, True])
@pytest.mark.parametrize("slices", [1, 3])
@pytest.mark.parametrize("model", [STUCK, AGEING])
@pytest.mark.parametrize("scheme", SCHEMES)
def test_pulses_on_some_weights_do_what_pulses_on_all_devices_do(
    scheme: Scheme, model: DeviceModel, slices: int, known: bool
) -> None:
    some, whole = (array_of(model, scheme, slices) for _ in range(2))
    weights = some_weights()
    steps = torch.randint(-3, 4, (slices, len(weights)), generator=generator(4))
    for now in (0.0, 40.0, 40.0, 1e3):
        if known:  # what reads are made of is then brought up to date, not made anew
            some.matrix(now, generator(5))
        sent = some.pulse_weights(weights, steps, now, generator(6))
        layout = whole.layout
        pulses = layout.mapping.scheme.pulses(in_whole(weights, steps), layout.outputs)
        whole.pulse(pulses, now, generator(6))
        assert int(sent.abs().sum()) == int(pulses.abs().sum())
        assert_same(some, whole, now)
    assert_same(some, whole, 1e4)


@pytest.mark.parametrize("known", [False, True])
@pytest.mark.parametrize("model", [STUCK, AGEING, replace(PCM, programming=None, drift=None)])
@pytest.mark.parametrize("scheme", SCHEMES)
def test_writes_of_some_weights_do_what_writes_of_all_do(
    scheme: Scheme, model: DeviceModel, known: bool
) -> None:
    some, whole = (array_of(model, scheme) for _ in range(2))
    weights = some_weights()
    wanted = whole.stored().clone()
    for now, seed in ((0.0, 7), (50.0, 8)):
        if known:
            some.matrix(now, generator(5))
        aim = 0.5 * torch.tanh(normal(seed, len(weights)))
        aim[0] = wanted.view(-1)[weights[0]]  # stays as it is, and isn't written
        wanted.view(-1)[weights] = aim
        ours = some.write_weights(weights, aim, now, generator(6))
        assert ours == whole.write(wanted, now, generator(6))
        # The drift's own draws differ with the number of devices drawn for.
        if model.drift is None:
            assert_same(some, whole, now)
        assert torch.equal(some.devices.g, whole.devices.g)
        assert torch.equal(some.stored(), whole.stored())


def test_devices_that_were_handed_out_stay_as_they_were() -> None:
    array = array_of(STUCK, Balanced())
    before = array.devices
    g, target = before.g.clone(), before.target.clone()
    weights = some_weights()
    steps = torch.full((1, len(weights)), 5)
    for _ in range(2):
        array.pulse_weights(weights, steps, 0.0, generator(6))
    assert torch.equal(before.g, g)
    assert torch.equal(before.target, target)
    assert not torch.equal(array.devices.g, g)


def test_moments_that_were_handed_out_stay_as_they_were() -> None:
    array = array_of(STUCK, Balanced())
    mean, _ = array.moments(0.0)
    kept = mean.clone()
    weights = some_weights()
    steps = torch.full((1, len(weights)), 5)
    array.pulse_weights(weights, steps, 0.0, generator(6))
    assert torch.equal(mean, kept)
    assert not torch.equal(array.moments(0.0)[0], kept)


def test_many_pulses_on_few_devices_have_the_noise_of_each() -> None:
    pulses = Pulses(LinearStep(step=0.001), cycle_spread=0.5)
    counts = torch.tensor([0, 1, 4, 9, -16]).repeat(4000, 1)
    model = DeviceModel(WINDOW, pulses=pulses)
    devices = model.program(torch.full(counts.shape, 21 * US, dtype=torch.float64), generator(1))
    moved = (devices.pulse(counts, generator(2)).g - devices.g) / WINDOW.span * 2 / 0.001
    torch.testing.assert_close(moved.mean(dim=0), counts[0].double(), rtol=0.02, atol=1e-9)
    expected = 0.5 * counts[0].abs().double().sqrt()
    torch.testing.assert_close(moved.std(dim=0), expected, rtol=0.05, atol=1e-9)

"""Converters and weight writes: hand-worked and published energies, pulses against a draw."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from parts import layers
from strategies import network_of, normal, seeds
from torch import Tensor

from analogdfc.analysis.energy.items import CONTROLLER, CONVERTERS, WRITES
from analogdfc.analysis.energy.peripherals import (
    converters,
    pulses_per_update,
    weight_steps,
    writes,
)
from analogdfc.cards.technology import Card
from analogdfc.circuit.chip import Chip
from analogdfc.circuit.design import Design
from analogdfc.dynamics import Update
from analogdfc.errors import UserError
from analogdfc.feedback import DirectFeedback
from analogdfc.network import Network

CARD = Card.load("discrete_100mhz")


def near(expected: Any, rel: float = 1e-9) -> Any:
    """Equal up to rounding, however small the numbers are."""
    return pytest.approx(expected, rel=rel, abs=0)


def design_of(network: Network, card: Card = CARD) -> Design:
    return Design.of(network, DirectFeedback.transposed(network), card)


def silent(sizes: list[int], card: Card) -> Design:
    """A network without weights: every device is at g_min."""
    network = network_of(sizes)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
    return design_of(network, card)


def update_of(seed: int, sizes: list[int], batch: int = 3) -> Update:
    pairs = list(itertools.pairwise(sizes))
    weights = tuple(normal(seed + i, batch, n, m) for i, (m, n) in enumerate(pairs))
    biases = tuple(normal(seed - i - 1, batch, n) for i, (_, n) in enumerate(pairs))
    return Update(weights, biases)


# Converters


def test_each_input_is_converted_once_and_each_output_twice() -> None:
    card = CARD.replace("converters", input_dac=1e-12, target_dac=1e-9, output_adc=1e-6)
    found = converters(design_of(network_of([7, 5, 3])).on(card))
    assert set(found.items) == {(CONVERTERS, "layer 1"), (CONVERTERS, CONTROLLER)}
    assert found.items[CONVERTERS, "layer 1"].tolist() == near([7e-12])
    assert found.items[CONVERTERS, CONTROLLER].tolist() == near([3e-9 + 3e-6])
    assert found.total.shape == (1,)
    assert not found.unknown


def test_a_card_in_the_call_stands_for_that_of_the_design() -> None:
    design = design_of(network_of([7, 5, 3]))
    other = CARD.replace("converters", input_dac=3e-12)
    expected = converters(design.on(other)).total.tolist()
    assert converters(design, other).total.tolist() == near(expected)
    assert converters(design).total.tolist() != near(expected)


def test_what_a_converter_costs_is_unknown_where_the_card_lacks_it() -> None:
    design = design_of(network_of([3, 4, 2]))
    one = converters(design.on(CARD.replace("converters", input_dac=None)))
    assert one.unknown == {CONVERTERS: "[converters] input_dac is missing"}
    assert not one.items
    two = converters(design.on(CARD.replace("converters", target_dac=None, output_adc=None)))
    assert two.unknown == {CONVERTERS: "[converters] target_dac and output_adc are missing"}


# Writes


def test_a_pulse_on_rram_takes_what_is_published() -> None:
    # 2 V for 10 ns across 15 uS.
    card = CARD.replace("device", g_min=15e-6).replace("write", voltage=2.0, duration=10e-9)
    found = writes(silent([3, 4, 2], card), [1.0, 0.0])
    assert found.items[WRITES, "layer 1"].tolist() == near([0.6e-12])
    assert found.items[WRITES, "layer 2"].tolist() == [0.0]


def test_writes_take_the_mean_over_both_devices_of_every_pair() -> None:
    design = design_of(network_of([3, 4, 2], seed=1))
    pulses: Sequence[Tensor | float] = [torch.tensor([1.0, 10.0], dtype=torch.float64), 5.0]
    found = writes(design, pulses)
    for i, (parts, counts) in enumerate(
        zip(layers(Chip.of(design)), ([1.0, 10.0], [5.0]), strict=True), start=1
    ):
        devices = [*parts.w_plus.flatten().tolist(), *parts.w_minus.flatten().tolist()]
        joules = 2.0**2 * 10e-9 * math.fsum(devices) / len(devices)
        expected = [n * joules for n in counts]
        assert found.items[WRITES, f"layer {i}"].tolist() == near(expected)
    one, two = (found.items[WRITES, f"layer {i}"] for i in (1, 2))
    assert found.total.tolist() == near((one + two).tolist())


def test_what_a_write_costs_is_unknown_where_the_card_lacks_it() -> None:
    design = design_of(network_of([3, 2])).on(CARD.replace("write", voltage=None))
    assert writes(design, [1.0]).unknown == {WRITES: "[write] voltage is missing"}
    design = design.on(CARD.replace("write", voltage=None, duration=None))
    assert writes(design, [1.0]).unknown == {WRITES: "[write] voltage and duration are missing"}


@pytest.mark.parametrize(
    ("pulses", "message"),
    [([1.0], "pulses of 1 layers"), ([1.0, -1.0], "layer 2"), ([math.nan, 1.0], "layer 1")],
)
def test_numbers_of_pulses_that_cannot_be_are_refused(pulses: list[float], message: str) -> None:
    with pytest.raises(UserError, match=message):
        writes(design_of(network_of([3, 4, 2])), pulses)


# Pulses


def test_pulses_are_the_changes_in_steps() -> None:
    weights = torch.tensor([[[1.0, -2.0], [0.0, 0.5]]], dtype=torch.float64)
    biases = torch.tensor([[-0.5, 1.0]], dtype=torch.float64)
    (found,) = pulses_per_update(Update((weights,), (biases,)), 0.1, 0.01)
    assert found.tolist() == near([0.1 * 5.0 / 0.01])


@settings(max_examples=8)
@given(seed=seeds(), rate=st.sampled_from([0.01, 0.3, 2.0]))
def test_pulses_are_what_stochastic_rounding_writes_on_average(seed: int, rate: float) -> None:
    step, draws = 0.5, 20_000
    update = update_of(seed, [2, 2], batch=1)
    (expected,) = pulses_per_update(update, rate, step)
    source = torch.Generator().manual_seed(seed)
    change = rate * torch.cat([update.weights[0].flatten(), update.biases[0].flatten()]) / step
    chance = torch.rand(draws, len(change), dtype=torch.float64, generator=source)
    drawn = (change + chance).floor().abs().sum(dim=1)
    error = float(drawn.std()) / math.sqrt(draws)
    assert float(drawn.mean()) == pytest.approx(float(expected), abs=5 * error + 1e-9)


@given(seed=seeds(), factor=st.floats(0.1, 10))
@settings(max_examples=10)
def test_pulses_grow_with_the_rate_and_fall_with_the_step(seed: int, factor: float) -> None:
    update = update_of(seed, [3, 4, 2])
    base = pulses_per_update(update, 0.1, (0.01, 0.02))
    faster = pulses_per_update(update, 0.1 * factor, (0.01, 0.02))
    coarser = pulses_per_update(update, 0.1, (0.01 * factor, 0.02 * factor))
    for one, up, down in zip(base, faster, coarser, strict=True):
        assert one.shape == (3,)
        torch.testing.assert_close(up, factor * one)
        torch.testing.assert_close(down, one / factor)


def test_a_weight_step_is_one_level_of_the_conductance() -> None:
    design = design_of(network_of([3, 4, 2], seed=1))
    levels = 1 + round((40 - 1) / 0.5)
    design = design.on(CARD.replace("device", levels=levels))
    steps = weight_steps(design)

    def programmed(change: float) -> Tensor:
        weights = (torch.full((4, 3), 1.0 + change, dtype=torch.float64), design.weights[1])
        moved = Design(
            weights, design.biases, design.feedback, design.controller, design.tau_v, design.card
        )
        return layers(Chip.of(moved))[0].w_plus[:, :3]

    # One level is 0.5 uS, and 10 uS are a weight of 1.
    assert steps == near((0.05, 0.05))
    torch.testing.assert_close(
        programmed(steps[0]) - programmed(0.0), torch.full_like(programmed(0.0), 0.5e-6)
    )
    with pytest.raises(UserError, match=r"\[device\] levels is missing"):
        weight_steps(design.on(CARD.replace("device", levels=None)))


@pytest.mark.parametrize(
    ("rate", "step", "message"),
    [
        (-1.0, 0.1, r"learning_rate = -1\.0"),
        (math.nan, 0.1, "learning_rate = nan"),
        (1.0, 0.0, "steps > 0"),
        (1.0, (0.1,), "1 weight steps for 2 layers"),
    ],
)
def test_steps_and_rates_that_cannot_be_are_refused(
    rate: float, step: float | tuple[float, ...], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        pulses_per_update(update_of(0, [3, 4, 2]), rate, step)

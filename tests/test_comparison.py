"""The figures of a comparison mean what they say."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cache

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from analogdfc.cards.technology import Card
from analogdfc.circuit.design import Design, Readout
from analogdfc.comparison import UpdateDifference, causes, compare, ideal_run, nrmse
from analogdfc.dynamics import Trajectory
from analogdfc.errors import UserError
from analogdfc.feedback import DirectFeedback
from analogdfc.network import Network

CARD = Card.load("discrete_100mhz")


def design(card: Card = CARD, readout: Readout | None = None) -> Design:
    network = Network([3, 4, 2], generator=torch.Generator().manual_seed(3))
    return Design.of(network, DirectFeedback.transposed(network), card, readout=readout)


def inputs() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(4)
    x = torch.rand(2, 3, dtype=torch.float64, generator=generator)
    return x, 0.15 * torch.randn(2, 2, dtype=torch.float64, generator=generator)


def scaled_excursion(run: Trajectory, factor: float) -> Trajectory:
    """The same run with every potential's excursion from its free state scaled."""

    def stretch(signal: torch.Tensor, start: torch.Tensor) -> torch.Tensor:
        return start.unsqueeze(1) + factor * (signal - start.unsqueeze(1))

    v = tuple(stretch(a, b) for a, b in zip(run.neurons.v, run.free.v, strict=True))
    return replace(run, neurons=replace(run.neurons, v=v), u=run.u * factor)


@cache
def short_run() -> Trajectory:
    x, step = inputs()
    return ideal_run(design(), x, step, dt=0.1, steps=50)


@given(factor=st.floats(0.5, 2).filter(lambda f: abs(f - 1) > 1e-3))
def test_nrmse_of_v_is_relative_to_its_excursion_and_of_u_to_itself(factor: float) -> None:
    run = short_run()
    result = compare(design(), ("a", "b"), "parity", run, scaled_excursion(run, factor))
    expected = abs(factor - 1)
    for name in ("v1", "v1 dev", "v2", "u", "u settled"):
        assert result.signals[name] == pytest.approx(expected, rel=1e-9)
    assert result.signals["e"] == 0


def test_a_constant_offset_counts_in_v_but_not_in_v_less_its_own_free_state() -> None:
    run = short_run()
    moved = replace(
        run,
        neurons=replace(run.neurons, v=tuple(v + 0.01 for v in run.neurons.v)),
        free=replace(run.free, v=tuple(v + 0.01 for v in run.free.v)),
    )
    signals = compare(design(), ("a", "b"), "parity", run, moved).signals
    assert signals["v1"] > 0.01
    assert signals["v1 dev"] < 1e-12


@given(
    angle=st.floats(1e-7, math.pi - 1e-3),
    stretch=st.floats(0.1, 10),
    seed=st.integers(0, 100),
)
def test_the_angle_between_updates_is_exact_down_to_a_microdegree(
    angle: float, stretch: float, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    basis = torch.linalg.qr(torch.randn(7, 2, dtype=torch.float64, generator=generator)).Q
    a = basis[:, 0]
    b = stretch * (math.cos(angle) * basis[:, 0] + math.sin(angle) * basis[:, 1])
    found = UpdateDifference.of(a, b)
    assert found.angle == pytest.approx(math.degrees(angle), rel=1e-6)
    assert found.norm_ratio == pytest.approx(stretch, rel=1e-12)
    law_of_cosines = math.sqrt(1 + stretch**2 - 2 * stretch * math.cos(angle))
    assert found.error == pytest.approx(law_of_cosines, rel=1e-6, abs=1e-8)


def test_a_target_that_does_not_move_has_no_relative_error() -> None:
    zero = torch.zeros(2, 3, dtype=torch.float64)
    with pytest.raises(UserError, match="target step 0"):
        nrmse(zero, zero, zero)
    with pytest.raises(UserError, match="target step 0"):
        UpdateDifference.of(zero, zero)


def with_feedback_of_layer_1(factor: float) -> tuple[Design, Trajectory]:
    usual = design()
    q = (factor * usual.feedback[0], *usual.feedback[1:])
    weak = replace(usual, feedback=q)
    return weak, ideal_run(weak, *inputs(), dt=0.1, steps=50)


@pytest.mark.parametrize("factor", [0.0, 1e-8])
def test_a_layer_that_no_feedback_moves_is_unresolved_and_the_others_are_compared(
    factor: float,
) -> None:
    weak, run = with_feedback_of_layer_1(factor)
    result = compare(weak, ("a", "b"), "parity", run, run)
    assert set(result.unresolved) == {"v1", "v1 dev", "r1", "update 1"}
    assert all(0 <= size < 1e-6 for size in result.unresolved.values())
    assert {"v2", "v2 dev", "u", "e"} <= set(result.signals)
    assert set(result.updates) == {"2", "all"}
    assert result.worst_signal == 0


def test_an_excursion_below_the_offset_of_ideal_cells_is_resolved_less_its_free_state() -> None:
    weak, run = with_feedback_of_layer_1(1e-4)
    offset = 5e-7
    moved = replace(
        run,
        neurons=replace(run.neurons, v=tuple(v + offset for v in run.neurons.v)),
        free=replace(run.free, v=tuple(v + offset for v in run.free.v)),
    )
    result = compare(weak, ("a", "b"), "parity", moved, run)
    assert "v1" in result.unresolved
    assert result.signals["v1 dev"] < 1e-6
    assert "1" in result.updates


def test_a_silent_layer_shows_what_leaks_into_it_and_is_unresolved() -> None:
    run = short_run()
    silent = replace(
        run,
        neurons=replace(run.neurons, v=(1e-8 * run.neurons.v[0], *run.neurons.v[1:])),
        free=replace(run.free, v=(1e-8 * run.free.v[0], *run.free.v[1:])),
    )
    assert {"v1", "v1 dev"} <= set(compare(design(), ("a", "b"), "parity", silent, run).unresolved)


def test_the_ideal_run_ends_where_the_output_meets_its_target_up_to_the_leak() -> None:
    x, step = inputs()
    run = ideal_run(design(), x, step, dt=0.1, steps=400)
    alpha = design().controller.alpha
    assert torch.allclose(run.e[:, -1], alpha * run.u[:, -1], atol=1e-6)
    assert torch.allclose(run.neurons.v[-1][:, -1] - run.free.v[-1], step, atol=1e-2)


def test_the_only_imperfection_is_the_whole_cause() -> None:
    x, step = inputs()
    only_offset = CARD.ideal().replace("amplifier", offset=1e-3)
    angle, found = causes(design(only_offset), 0, x, step, duration=10)
    assert [c.name for c in found] == ["amplifier offset"]
    assert angle > 0.1
    assert found[0].angle < 1e-2
    assert found[0].change == found[0].angle - angle


def test_without_double_sampling_offsets_turn_the_update_much_further() -> None:
    x, step = inputs()
    only_offset = CARD.ideal().replace("amplifier", offset=1e-3)
    angles = [
        causes(design(only_offset, Readout(double_sampling=on)), 0, x, step, duration=10)[0]
        for on in (True, False)
    ]
    assert angles[1] > 3 * angles[0]

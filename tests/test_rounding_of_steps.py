"""Target steps and noise beside the rounding of the floating type: said, not silent."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from strategies import generator, normal
from torch import Tensor

from analogdfc.errors import RoundingWarning
from analogdfc.learning import RULES, SleepPhase, make_rule
from analogdfc.learning.base import LearnsFeedback
from analogdfc.learning.targets import DifferenceReconstruction
from analogdfc.losses import SquaredError
from analogdfc.network import Network

# What learns from the difference of two states; the others have no small difference to lose.
COMPARING = ("dfc", "dfc-ss", "dfc-ssa", "dtp", "dtp-drl", "ddtp-linear", "ddtp-rhl", "tp")
EXACT = ("bp", "dfa", "fa", "gnt", "gn", "mn", "ndi", "pbp")
OPTIONS: dict[str, dict[str, Any]] = {"tp": {"target_stepsize": 0.1}}


class Given(SquaredError):
    """A loss whose error is the same in every floating type."""

    def __init__(self, error: Tensor) -> None:
        self._error = error

    def error(self, r: Tensor, y: Tensor) -> Tensor:
        return self._error.to(r)

    def target(self, r: Tensor, y: Tensor, stepsize: float) -> Tensor:
        return r + stepsize * self.error(r, y)


def update(name: str, error: float, dtype: torch.dtype) -> tuple[Tensor, list[str]]:
    """The update of a rule at an output that is so far from its label, and its notes."""
    network = Network([8, 8, 8, 8], generator=generator(0)).to(dtype)
    loss = Given(error * normal(2, 16, 8))
    rule = make_rule(name, network, loss=loss, generator=generator(1), **OPTIONS.get(name, {}))
    x = (0.1 * normal(3, 16, 8)).to(dtype)
    rule.backward(x, torch.zeros(16, 8, dtype=dtype))
    grads = [p.grad.double().flatten() for p in network.weights if p.grad is not None]
    return torch.cat(grads), rule.notes()


def lost(name: str, error: float) -> float:
    """Relative error of the update in float32."""
    (wide, _), (narrow, _) = (update(name, error, t) for t in (torch.float64, torch.float32))
    return float((narrow - wide).norm() / wide.norm())


@pytest.mark.parametrize("name", COMPARING)
def test_float32_says_that_an_update_is_lost_and_is_silent_where_it_holds(name: str) -> None:
    for error in (1e-2, 1e-6):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            missing = lost(name, error)
            _, notes = update(name, error, torch.float32)
        small = error == 1e-6
        assert (missing > 0.01) == small
        assert bool(caught) == bool(notes) == small
    assert issubclass(caught[0].category, RoundingWarning)
    said = str(caught[0].message)
    assert "target steps, at most" in said
    assert "times the rounding of float32" in said
    for text in (said, notes[0]):
        assert "raise target_stepsize = 0.1, or compute in float64" in text


@pytest.mark.parametrize("name", EXACT)
def test_rules_that_compare_no_states_lose_nothing_to_float32(name: str) -> None:
    assert lost(name, 1e-6) < 1e-4
    assert not update(name, 1e-6, torch.float32)[1]


@pytest.mark.parametrize("name", COMPARING)
def test_double_precision_holds_the_step_that_float32_does_not(name: str) -> None:
    assert not update(name, 1e-6, torch.float64)[1]
    with pytest.warns(RoundingWarning, match="rounding of float64, so that updates lose"):
        update(name, 1e-14, torch.float64)


def test_a_rule_warns_once_and_counts_the_batches() -> None:
    network = Network([4, 3, 2], generator=generator(0)).float()
    rule = make_rule("dfc-ssa", network, target_stepsize=1e-6)
    x, y = normal(1, 5, 4).float(), normal(2, 5, 2).float()
    with pytest.warns(RoundingWarning):
        rule.backward(x, y)
    for _ in range(2):
        rule.backward(x, y)  # warnings are errors here
    assert "in 3 batches" in rule.notes()[0]
    assert rule.counters()["small_steps"] == 3
    again = make_rule("dfc-ssa", Network([4, 3, 2]).float(), target_stepsize=1e-6)
    again.load_state_dict(rule.state_dict())
    assert again.notes() == rule.notes()


@pytest.mark.parametrize("name", RULES)
def test_no_rule_warns_with_its_defaults(name: str) -> None:
    network = Network([5, 5, 5], generator=generator(0))
    x = 0.1 * normal(1, 6, 5)
    rule = make_rule(name, network)
    rule.backward(x, network(x).detach() + 0.05 * normal(2, 6, 5))
    assert not rule.notes()


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("node-perturbation", {"sigma": 1e-6}),
        ("dfc", {"sleep": SleepPhase(sigma=1e-6)}),
        ("ddtp-linear", {"reconstruction": DifferenceReconstruction(sigma=1e-6)}),
    ],
)
def test_noise_is_watched_as_steps_are(name: str, options: dict[str, Any]) -> None:
    network = Network([4, 3, 2], generator=generator(0)).float()
    x, y = normal(1, 5, 4).float(), normal(2, 5, 2).float()
    rule = make_rule(name, network, **options)
    learn: Callable[[], object] = partial(rule.backward, x, y)
    if isinstance(rule, LearnsFeedback):
        learn = partial(rule.feedback_backward, x)
    with pytest.warns(RoundingWarning, match="sigma"):
        learn()
    assert "in 1 batches" in rule.notes()[0]


def test_the_noise_of_a_single_phase_is_watched_in_the_same_run() -> None:
    network = Network([4, 3, 2], generator=generator(0)).float()
    rule = make_rule("dfc-single-phase", network, sleep=SleepPhase(sigma=1e-6))
    with pytest.warns(RoundingWarning, match="noises of the sleep phase"):
        rule.backward(normal(1, 5, 4).float(), normal(2, 5, 2).float())
    assert rule.counters() == {"small_steps": 0, "small_noise": 1}

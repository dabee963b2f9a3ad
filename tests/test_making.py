"""Every registered rule is made by its name, and what it writes lowers the loss where it must."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from strategies import generator, normal
from torch import Tensor

from analogdfc.arrays import analog
from analogdfc.cards import Card
from analogdfc.circuit.design import Design
from analogdfc.controller import PI
from analogdfc.dynamics import Loop
from analogdfc.dynamics.settling import DirectSolution, Simulation
from analogdfc.errors import UserError
from analogdfc.experiments import Ideals, finite_minimum_norm_update, null_space_share
from analogdfc.feedback import DirectFeedback
from analogdfc.learning import (
    DFC,
    DDTPLinear,
    DynamicInversion,
    LearningRule,
    LoopFeedback,
    SequentialFeedback,
    SteadyStateDFC,
    backprop_update,
    gauss_newton_batch_update,
    gauss_newton_update,
    make_rule,
    minimum_norm_update,
)
from analogdfc.learning.making import arguments
from analogdfc.losses import LOSSES
from analogdfc.network import Network
from analogdfc.onchip.registry import RULES
from analogdfc.training import Adam
from analogdfc.training.experiment import default_experiment

# Rules whose whole update descends the loss of one sample near the linear regime; random feedback,
# fixed or not learned yet, promises that for the output layer alone.
DESCENDING = (
    "bp",
    "dfc",
    "dfc-chip",
    "dfc-single-phase",
    "dfc-ss",
    "dfc-ssa",
    "di",
    "di-repeat",
    "di-single-loop",
    "ggnt",
    "gn",
    "gnt",
    "mn",
    "ndi",
    "node-perturbation",
    "pbp",
    "shallow",
    "tp",
)


def updated(name: str, seed: int) -> tuple[LearningRule, Tensor, Tensor]:
    """A rule that has seen one sample, on an invertible tanh network; the sample."""
    network = Network([5, 5, 5], "tanh", generator=generator(seed))
    x = 0.1 * normal(seed + 1, 1, 5)
    y = network(x).detach() + 0.05 * normal(seed + 2, 1, 5)
    rule = make_rule(name, network, generator=generator(seed + 3))
    rule.backward(x, y)
    return rule, x, y


def change(rule: LearningRule, x: Tensor, y: Tensor, layers: list[int]) -> float:
    """By how much a small step of these layers, from 0, changes the loss, beside the step."""
    network, loss = rule.network, LOSSES["l2"]
    with torch.no_grad():
        before = loss.value(network(x), y).sum()
        chosen = [p[k] for p in (network.weights, network.biases) for k in layers]
        gradients = [p.grad for p in chosen if p.grad is not None]
        assert len(gradients) == len(chosen)
        size = 1e-6 / torch.cat([g.flatten() for g in gradients]).norm()
        for p, g in zip(chosen, gradients, strict=True):
            p -= size * g
        return float(loss.value(network(x), y).sum() - before) / 1e-6


@pytest.mark.parametrize("name", RULES)
def test_every_rule_writes_a_finite_update_of_every_layer(name: str) -> None:
    rule, _, _ = updated(name, 3)
    assert type(rule) is RULES[name].rule
    for k, (w, b) in enumerate(zip(rule.network.weights, rule.network.biases, strict=True)):
        for p in (w, b):
            assert p.grad is not None
            assert p.grad.shape == p.shape
            assert bool(p.grad.isfinite().all())
            silent = name == "shallow" and k == 0
            assert bool((p.grad == 0).all()) == silent


# Node perturbation descends as a whole, not layer by layer, in a single draw.
@pytest.mark.parametrize("name", [name for name in RULES if name != "node-perturbation"])
def test_a_small_step_of_the_output_layer_lowers_the_loss_under_every_rule(name: str) -> None:
    assert change(*updated(name, 11), [1]) < -1e-3


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("name", DESCENDING)
def test_a_small_step_of_all_layers_lowers_the_loss_where_theory_says_so(
    name: str, seed: int
) -> None:
    assert change(*updated(name, seed), [0, 1]) < 0


def test_one_seed_makes_one_rule_and_another_seed_another() -> None:
    def update(name: str, seed: int) -> Tensor:
        network = Network([4, 3, 2], generator=generator(0))
        make_rule(name, network, generator=generator(seed)).backward(
            normal(1, 6, 4), normal(2, 6, 2)
        )
        grad: Tensor | None = network.weights[0].grad
        assert grad is not None
        return grad

    # Random feedback in two of them, noise in the third.
    for name in ("fa", "ddtp-linear", "node-perturbation"):
        assert torch.equal(update(name, 5), update(name, 5))
        assert not torch.equal(update(name, 5), update(name, 6))


def test_arguments_are_those_of_the_class_and_of_those_it_passes_its_own_on_to() -> None:
    assert list(arguments(SteadyStateDFC)) == ["newton", "tolerance", *arguments(DFC)]
    assert "controller" in arguments(DFC)
    assert "generator" in arguments(RULES["dfa"].rule)  # as keywords of a typed dictionary
    assert "dropout" not in arguments(RULES["pbp"].rule)  # not passed on
    for info in RULES.values():
        assert next(iter(arguments(info.rule).values())).name in ("network", "newton", "filters")


def test_defaults_are_those_that_the_rule_needs_to_learn() -> None:
    plan = default_experiment("ddtp-linear").plan.feedback
    assert plan is not None
    assert (plan.pretraining_epochs, plan.before, plan.after) == (*DDTPLinear.schedule[:1], 0, 1)
    assert plan.clip is None
    assert plan.optimizer == plan.pretraining == Adam()
    plain = default_experiment("dtp").plan.feedback
    assert plain is not None
    assert (plain.pretraining_epochs, plain.after) == (0, 0)
    for rule in ("bp", "fa", "dfc-ssa", "gnt", "di", "tp"):
        assert default_experiment(rule).plan.feedback is None
    learned = default_experiment("dfc-ssa", feedback="learned").plan.feedback
    assert learned is not None
    assert (learned.before, learned.after) == (1, 2)


def test_dynamic_inversion_is_solved_directly_where_its_layers_are_linear() -> None:
    simulated = default_experiment("di").options
    assert isinstance(simulated["settling"], Simulation)
    assert simulated["max_norm"] == 1
    linear = default_experiment("di", activation=("linear", "linear"))
    assert linear.options["settling"] == DirectSolution()
    network = Network([4, 3, 3, 2], ["linear", "linear"], generator=generator(1))
    rule = make_rule("di", network, **linear.options)
    assert isinstance(rule, DynamicInversion)
    rule.backward(normal(2, 5, 4), normal(3, 5, 2))
    assert rule.residual == 0  # of a direct solution
    mixed = default_experiment("di", activation=("linear", "tanh")).options
    assert isinstance(mixed["settling"], Simulation)


@pytest.mark.parametrize("name", RULES)
def test_a_network_of_another_kind_is_refused_and_what_to_do_is_said(name: str) -> None:
    other = torch.nn.Sequential(torch.nn.Linear(3, 2))
    anything: Any = other
    for make in (partial(make_rule, name), RULES[name].rule):
        with pytest.raises(UserError, match=r"network: a Sequential is no analogdfc\.Network") as e:
            make(anything)
        assert "make one with Network(sizes, activation)" in str(e.value)


def test_a_loop_and_a_design_need_a_network_too() -> None:
    anything: Any = torch.nn.Linear(3, 2)
    feedback = DirectFeedback.transposed(Network([3, 2]))
    with pytest.raises(UserError, match="network: a Linear is no"):
        Loop.of(anything, feedback, PI())
    with pytest.raises(UserError, match="network: a Linear is no"):
        Design.of(anything, feedback, Card.load("discrete_100mhz"))
    for make in (DirectFeedback.transposed, SequentialFeedback.transposed):
        with pytest.raises(UserError, match="network: a Linear is no"):
            make(anything)
    for random in (DirectFeedback.random, SequentialFeedback.random, LoopFeedback.random):
        with pytest.raises(UserError, match="network: a Linear is no"):
            random(anything, generator(0))


@pytest.mark.parametrize(
    "use",
    [
        lambda network, x: backprop_update(network, x, x),
        lambda network, x: gauss_newton_update(network, x, x),
        lambda network, x: gauss_newton_batch_update(network, x, x),
        lambda network, x: minimum_norm_update(network, x, x),
        lambda network, x: finite_minimum_norm_update(network, x, x),
        lambda network, x: null_space_share(network, x, 1, x),
        lambda network, x: Ideals(network, x, x, LOSSES["l2"], [0.0]),
        lambda network, x: analog(network, "pcm_nandakumar2019", 0),
    ],
)
def test_what_is_measured_or_mapped_is_a_network_too(
    use: Callable[[Any, Tensor], object],
) -> None:
    with pytest.raises(UserError, match="network: a Linear is no"):
        use(torch.nn.Linear(3, 3), normal(0, 4, 3))

"""Labels, targets and batches that don't fit a network are refused, wherever they come in."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from strategies import generator, network_of
from torch import Tensor

from analogdfc.cards import Card
from analogdfc.circuit import Behavioural, Chip, Design
from analogdfc.circuit.static import StaticChip
from analogdfc.comparison import ideal_run
from analogdfc.datasets import Dataset, Samples
from analogdfc.dynamics import Euler, Loop, simulate
from analogdfc.dynamics.loop import free_pass
from analogdfc.dynamics.reached import steady_state
from analogdfc.errors import UserError
from analogdfc.feedback import DirectFeedback
from analogdfc.learning import Backpropagation, LearningRule, backprop_update, make_rule
from analogdfc.learning.base import LearnsFeedback
from analogdfc.losses import LOSSES, Loss, SquaredError
from analogdfc.network import Network
from analogdfc.onchip.registry import RULES
from analogdfc.study import Study
from analogdfc.training import accuracy, train
from analogdfc.training.metrics import evaluate

X = torch.linspace(-0.5, 0.5, 9, dtype=torch.float64).view(3, 3)
ONE_HOT = torch.eye(3, dtype=torch.float64)
CLASSES = torch.tensor([0.0, 1.0, 2.0], dtype=torch.float64)
"""Class numbers of as many samples as there are classes: the shape that broadcasts."""


def square() -> Network:
    """A network whose layers are all invertible, as one of the rules needs it."""
    return network_of([3, 3, 3], seed=2)


def rule_of(name: str, network: Network | None = None) -> LearningRule:
    return make_rule(name, network or square(), generator=generator(0))


@pytest.mark.parametrize("name", sorted(RULES))
def test_class_numbers_as_labels_are_refused_by_every_rule(name: str) -> None:
    rule = rule_of(name)
    with pytest.raises(UserError, match=r"labels \(3,\) do not fit .*one_hot\(y, 3\)"):
        rule.backward(X, CLASSES)
    assert all(p.grad is None for p in rule.network.parameters())


@pytest.mark.parametrize("name", sorted(RULES))
def test_an_empty_batch_is_refused_by_every_rule(name: str) -> None:
    rule = rule_of(name)
    with pytest.raises(UserError, match="no samples"):
        rule.backward(X[:0], ONE_HOT[:0])
    with pytest.raises(UserError, match="no samples"):
        rule.outputs(X[:0])
    if isinstance(rule, LearnsFeedback):
        with pytest.raises(UserError, match="no samples"):
            rule.feedback_backward(X[:0])


@pytest.mark.parametrize("labels", [CLASSES, CLASSES.unsqueeze(1), ONE_HOT[:1], ONE_HOT[None]])
def test_labels_that_would_broadcast_are_refused(labels: Tensor) -> None:
    rule = rule_of("bp")
    with pytest.raises(UserError, match="do not fit the layers 3-3-3"):
        rule.backward(X, labels)
    with pytest.raises(UserError, match="do not fit the layers 3-3-3"):
        rule.backward(y=labels, x=X)


def test_labels_of_one_output_have_a_dimension_of_outputs() -> None:
    rule = rule_of("node-perturbation", network_of([3, 4, 1], seed=2))
    with pytest.raises(UserError, match=r"labels \(3,\) .* y\.unsqueeze\(1\) makes them"):
        rule.backward(X, CLASSES)


def test_a_rule_of_ones_own_is_guarded_too() -> None:
    class Own(LearningRule):
        def backward(self, inputs: Tensor, labels: Tensor) -> Tensor:
            return self.loss.value(self.network(inputs).detach(), labels).mean()

    with pytest.raises(UserError, match=r"labels \(3,\)"):
        Own(square()).backward(X, CLASSES)
    with pytest.raises(UserError, match=r"inputs \(3, 2\)"):
        Own(square()).outputs(X[:, :2])
    assert float(Own(square()).backward(X, ONE_HOT)) > 0


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
def test_a_loss_compares_like_with_like(loss: Loss) -> None:
    asked: list[Callable[[Tensor, Tensor], Tensor]] = [
        loss.value,
        loss.error,
        lambda r, y: loss.target(r, y, 0.1),
    ]
    for of in asked:
        for labels in (CLASSES, CLASSES.unsqueeze(1), ONE_HOT[:1]):
            with pytest.raises(UserError, match="a loss compares like with like"):
                of(X, labels)
    assert loss.value(X[:0], ONE_HOT[:0]).shape == (0,)
    many = loss.value(X.expand(5, 3, 3), ONE_HOT)
    assert torch.equal(many, loss.value(X, ONE_HOT).expand(5, 3))


def test_a_loss_of_ones_own_is_guarded_too() -> None:
    class Absolute(SquaredError):
        def value(self, r: Tensor, y: Tensor) -> Tensor:
            return (r - y).abs().sum(dim=-1)

    with pytest.raises(UserError, match="a loss compares"):
        Absolute().value(X, CLASSES)


DESIGN = Design.of(square(), DirectFeedback.transposed(square()), Card.load("discrete_100mhz"))


def ideal_loop() -> Loop:
    return DESIGN.loop()


FIT: dict[str, Callable[[Tensor, Tensor], object]] = {
    "accuracy": lambda x, y: accuracy(square(), x, y),
    "evaluate": lambda x, y: evaluate(square(), SquaredError(), Samples(x, y), classes=True),
    "train": lambda x, y: _trained(x, y),
    "ideal updates": lambda x, y: backprop_update(square(), x, y),
    "simulate": lambda x, y: simulate(ideal_loop(), x, y, dt=0.1, steps=2, integrator=Euler()),
    "steady state": lambda x, y: steady_state(ideal_loop(), free_pass(ideal_loop(), x), y),
    "ideal realisation": lambda x, y: ideal_run(DESIGN, x, y, dt=0.1, steps=2),
    "behavioural": lambda x, y: Behavioural([Chip.of(DESIGN)]).run(x, y, dt=0.1, steps=2),
    "modes": lambda x, y: Behavioural([Chip.of(DESIGN)]).modes(x, y),
    "static": lambda x, y: StaticChip.of(Chip.of(DESIGN)).solve(x, y),
    "study": lambda x, y: Study(DESIGN, x, y),
}


def _trained(x: Tensor, y: Tensor) -> list[float]:
    rule = Backpropagation(square())
    descent = torch.optim.SGD(rule.network.parameters(), lr=0.1)
    data = Dataset(x, y, x, y)
    return train(rule, descent, data, epochs=1, batch_size=2, generator=generator(0))


@pytest.mark.parametrize("what", FIT)
def test_what_takes_samples_refuses_those_that_do_not_fit(what: str) -> None:
    take = FIT[what]
    take(X, 0.1 * ONE_HOT if what != "accuracy" else ONE_HOT)
    for x, y in ((X, CLASSES), (X, ONE_HOT[:2]), (X[:, :2], ONE_HOT), (X[0], CLASSES)):
        with pytest.raises(UserError, match=r"do not fit|compares like with like"):
            take(x, y)
    with pytest.raises(UserError, match="no samples"):
        take(X[:0], ONE_HOT[:0])


@pytest.mark.parametrize("name", ["bp", "dfc", "dfc-ss", "dfc-ssa", "dfa"])
def test_inputs_of_another_precision_than_the_weights_are_refused(name: str) -> None:
    rule = make_rule(name, network_of([3, 4, 2], seed=1))
    with pytest.raises(UserError, match=r"inputs in torch.float32, weights in torch.float64"):
        rule.backward(torch.ones(2, 3), torch.ones(2, 2))

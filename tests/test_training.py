"""The trainer against PyTorch's own training, and what happens in which order."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from strategies import generator, network_of, normal, seeds
from torch import Tensor, nn

from analogdfc import records
from analogdfc.controller import PI
from analogdfc.datasets import Dataset, Samples, digits
from analogdfc.errors import UserError
from analogdfc.feedback import DirectFeedback
from analogdfc.learning import (
    DFC,
    AnalyticDFC,
    Backpropagation,
    DirectFeedbackAlignment,
    LearningRule,
    SinglePhaseDFC,
)
from analogdfc.losses import LOSSES, Loss, SoftmaxCrossEntropy, SquaredError
from analogdfc.network import Network
from analogdfc.plots import training_figure
from analogdfc.training import (
    SGD,
    Adam,
    Divergence,
    Experiment,
    FeedbackPlan,
    LinearDecay,
    Metrics,
    OptimizerSettings,
    Plan,
    Score,
    StepDecay,
    Trainer,
    accuracy,
    checkpoint_tree,
    evaluate,
    restore,
    train,
)
from analogdfc.training.experiment import prepared
from analogdfc.training.loop import FORWARD
from analogdfc.training.metrics import are_classes
from analogdfc.training.optimizers import clip_each, clip_together


def few_digits(count: int = 100, dtype: torch.dtype = torch.float64) -> Dataset:
    """A part of the pooled digits, 20 of them for validation."""
    whole = digits(4, dtype=dtype)
    x, y = whole.x[:count], whole.y[:count]
    validation = Samples(whole.x[-20:], whole.y[-20:])
    return Dataset(x, y, whole.x_test[:50], whole.y_test[:50], validation)


def small_network(dtype: torch.dtype = torch.float64) -> Network:
    return Network([16, 8, 10], dtype=dtype, generator=generator(3))


def controlled(**options: Any) -> AnalyticDFC:
    """Deep feedback control whose feedback weights start at random."""
    network = small_network()
    return AnalyticDFC(network, DirectFeedback.random(network, generator(4)), **options)


def trained(
    rule: LearningRule, plan: Plan, data: Dataset | None = None, seed: int = 5
) -> tuple[Trainer, list[tuple[str, int]]]:
    """A finished training, and what it told of its progress."""
    told: list[tuple[str, int]] = []
    trainer = Trainer(rule, data or few_digits(), plan, generator=generator(seed))
    trainer.run(lambda phase, count: told.append((phase, count)))
    return trainer, told


def test_pooled_digits_are_means_of_four_pixels() -> None:
    fine, coarse = digits(8), digits(4)
    image = fine.x_test[7].reshape(8, 8)
    assert torch.allclose(coarse.x_test[7].reshape(4, 4)[1, 2], image[2:4, 4:6].mean())
    assert torch.equal(fine.y_test, coarse.y_test)
    assert len(fine.x) + len(fine.x_test) == 1797
    assert float(fine.x.min()) >= 0
    assert float(fine.x.max()) <= 1


def test_no_image_is_both_learned_and_held_out() -> None:
    data = digits(8)
    learned = {tuple(row) for row in data.x.tolist()}
    held_out = [tuple(row) for row in data.x_test.tolist()]
    assert sum(row in learned for row in held_out) == 0


def test_dfc_learns_the_digits_and_the_same_seed_gives_the_same_weights() -> None:
    data = digits(4)
    networks = []
    for _ in range(2):
        source = generator(1)
        network = Network([16, 10, 10], generator=source)
        rule = DFC(network, target_stepsize=0.25, dt=0.05, steps=60)
        optimizer = torch.optim.Adam(network.parameters(), lr=0.02)
        losses = train(rule, optimizer, data, epochs=2, batch_size=64, generator=source)
        assert losses[1] < 0.75 * losses[0]
        networks.append(network)
    assert accuracy(networks[0], data.x_test, data.y_test) > 0.6
    for a, b in zip(networks[0].parameters(), networks[1].parameters(), strict=True):
        assert torch.equal(a, b)


def test_sizes_and_epochs_below_one_are_refused() -> None:
    network = Network([16, 10])
    rule = DFC(network)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    with pytest.raises(UserError, match="epochs = 0"):
        train(rule, optimizer, digits(4), epochs=0, batch_size=1, generator=torch.Generator())
    with pytest.raises(UserError, match="4 x 4 and 8 x 8"):
        digits(5)


@pytest.mark.parametrize(
    ("settings", "make"),
    [
        (SGD(lr=0.1, momentum=0.5), lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.5)),
        (SGD(lr=0.1, weight_decay=0.2), lambda p: torch.optim.SGD(p, lr=0.1, weight_decay=0.2)),
        (
            Adam(lr=0.01, betas=(0.8, 0.95), eps=1e-6, weight_decay=0.1),
            lambda p: torch.optim.Adam(p, lr=0.01, betas=(0.8, 0.95), eps=1e-6, weight_decay=0.1),
        ),
    ],
    ids=["sgd, momentum", "sgd, decay", "adam"],
)
@pytest.mark.parametrize("clip", [None, 0.02])
def test_backpropagation_trains_as_pytorch_does(
    settings: OptimizerSettings,
    make: Callable[[list[nn.Parameter]], torch.optim.Optimizer],
    clip: float | None,
) -> None:
    data = few_digits(70)
    rule = Backpropagation(small_network(), SoftmaxCrossEntropy())
    trainer, _ = trained(rule, Plan(epochs=3, batch_size=32, optimizer=settings, clip=clip), data)

    twin = small_network()
    model = nn.Sequential(nn.Linear(16, 8), nn.Tanh(), nn.Linear(8, 10)).double()
    for layer, w, b in zip((model[0], model[2]), twin.weights, twin.biases, strict=True):
        layer.load_state_dict({"weight": w.detach(), "bias": b.detach()})
    optimizer = make(list(model.parameters()))
    source, means = generator(5), []
    for _ in range(3):
        losses = []
        for index in torch.split(torch.randperm(70, generator=source), 32):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(data.x[index]), data.y[index])
            loss.backward()
            for parameter in model.parameters():
                assert parameter.grad is not None
                # PyTorch's own clipping adds 1e-6 to the norm, which Adam makes visible.
                norm = float(parameter.grad.norm()) + 1e-6
                parameter.grad *= min(1, (clip or math.inf) / norm)
            optimizer.step()
            losses.append((len(index), loss.item()))
        means.append(sum(n * value for n, value in losses) / 70)
    for layer, w, b in zip(
        (model[0], model[2]), rule.network.weights, rule.network.biases, strict=True
    ):
        torch.testing.assert_close(layer.weight, w, rtol=1e-4, atol=1e-8)
        torch.testing.assert_close(layer.bias, b, rtol=1e-4, atol=1e-8)
    assert [m.train.loss for m in trainer.history] == pytest.approx(means, rel=1e-6)


def test_a_falling_learning_rate_is_pytorchs_linear_one_and_goes_on_where_it_was() -> None:
    data = few_digits(70)
    plan = Plan(epochs=4, batch_size=32, optimizer=SGD(lr=0.4), lr_decay=LinearDecay())
    whole = trained(rule := Backpropagation(small_network(), SoftmaxCrossEntropy()), plan, data)[0]

    twin = Backpropagation(small_network(), SoftmaxCrossEntropy())
    optimizer = torch.optim.SGD(twin.network.parameters(), lr=0.4)
    rate = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.25, 3)
    source = generator(5)
    for _ in range(4):
        train(twin, optimizer, data, epochs=1, batch_size=32, generator=source)
        rate.step()
    for w, other in zip(rule.network.weights, twin.network.weights, strict=True):
        torch.testing.assert_close(w, other)

    later = Trainer(rule, data, plan, generator=generator(5))
    later.take_up(whole.history[:2])
    rates: list[float] = []
    later.run(completed=lambda t: rates.append(t.optimizers[FORWARD].param_groups[0]["lr"]))
    assert rates == pytest.approx([0.2, 0.1])


@given(seeds(), st.floats(0.01, 10))
def test_clipping_together_keeps_the_direction_of_all_and_clipping_each_that_of_each(
    seed: int, limit: float
) -> None:
    parameters = [nn.Parameter(normal(seed, 3, 2)), nn.Parameter(normal(seed + 1, 4))]
    before = [5 * normal(seed + 2, 3, 2), normal(seed + 3, 4)]
    joint = torch.cat([g.flatten() for g in before])

    def gradients(clip: Callable[[list[nn.Parameter], float], None]) -> list[Tensor]:
        for parameter, gradient in zip(parameters, before, strict=True):
            parameter.grad = gradient.clone()
        clip(parameters, limit)
        return [p.grad for p in parameters if p.grad is not None]

    factor = min(1.0, limit / float(joint.norm()))
    found = torch.cat([g.flatten() for g in gradients(clip_together)])
    torch.testing.assert_close(found, factor * joint, rtol=1e-4, atol=0)
    for old, new in zip(before, gradients(clip_each), strict=True):
        factor = min(1.0, limit / float(old.norm()))
        torch.testing.assert_close(new, factor * old, rtol=1e-4, atol=0)


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
def test_figures_are_means_over_samples_however_many_there_are(loss: Loss) -> None:
    network = network_of([4, 3], seed=1)
    for count in (1, 2048, 2049):  # the last one leaves a part with a single sample
        x = normal(count, count, 4)
        y = nn.functional.one_hot(torch.arange(count) % 3, 3).double()
        score = evaluate(network, loss, Samples(x, y), classes=True)
        r = network(x).detach()
        assert score.loss == pytest.approx(float(loss.value(r, y).mean()), rel=1e-12)
        assert score.error == pytest.approx(1 - accuracy(network, x, y), abs=1e-12)


def test_figures_are_those_of_what_the_rule_measures_at_its_output() -> None:
    class Measured(Backpropagation):
        """Through something that multiplies the output by -2."""

        def outputs(self, x: Tensor) -> Tensor:
            answer: Tensor = self.network(x)
            return -2 * answer

    rule = Measured(small_network())
    trainer, _ = trained(rule, Plan(epochs=1))
    data = trainer.data
    with torch.no_grad():
        seen = -2 * rule.network(data.x_test)
    found = trainer.history[-1].test
    assert found.loss == pytest.approx(float((seen - data.y_test).square().sum(dim=1).mean()))
    wrong = seen.argmax(dim=1) != data.y_test.argmax(dim=1)
    assert found.error == pytest.approx(float(wrong.double().mean()))


def test_labels_are_classes_only_where_all_are_one_hot() -> None:
    y = torch.eye(3, dtype=torch.float64)
    assert are_classes(y)
    for change in (0.0, 0.5, 2.0):
        other = y.clone()
        other[1, 1] = change
        assert not are_classes(other)
    assert not are_classes(torch.ones(2, 3))


def test_feedback_epochs_lie_before_and_after_each_forward_epoch() -> None:
    feedback = FeedbackPlan(pretraining_epochs=2, before=1, after=2)
    plan = Plan(epochs=2, batch_size=40, feedback=feedback)
    trainer, told = trained(controlled(), plan, few_digits(90))
    course = [phase for phase, _ in told[::3]]
    assert course == ["pre-training"] * 2 + ["feedback", "forward", "feedback", "feedback"] * 2
    assert [count for _, count in told] == [40, 40, 10] * len(course)
    assert (trainer.pretrained, len(trainer.history), trainer.samples) == (2, 2, 0)


def test_each_phase_changes_its_own_weights_only() -> None:
    rule = controlled()
    start = [p.detach().clone() for p in (*rule.network.parameters(), *rule.feedback.parameters())]
    seen: dict[str, list[bool]] = {}

    def look(phase: str, _: int) -> None:
        now = [p.detach() for p in (*rule.network.parameters(), *rule.feedback.parameters())]
        moved = [not torch.equal(a, b) for a, b in zip(start, now, strict=True)]
        seen.setdefault(phase, [any(moved[:4]), any(moved[4:])])
        for old, new in zip(start, now, strict=True):
            old.copy_(new)

    feedback = FeedbackPlan(pretraining_epochs=1, before=0, after=1)
    plan = Plan(epochs=1, batch_size=100, feedback=feedback)
    Trainer(rule, few_digits(), plan, generator=generator(5)).run(look)
    assert seen == {
        "pre-training": [False, True],
        "forward": [True, False],
        "feedback": [False, True],
    }


def test_without_a_feedback_plan_the_feedback_weights_stay() -> None:
    rule = controlled()
    before = [q.detach().clone() for q in rule.feedback.parameters()]
    trained(rule, Plan(epochs=1))
    assert all(map(torch.equal, before, rule.feedback.parameters()))


def test_a_rule_that_learns_both_in_one_phase_steps_both() -> None:
    network = small_network()
    rule = SinglePhaseDFC(network, DirectFeedback.random(network, generator(4)), dt=0.05, steps=120)
    before = [q.detach().clone() for q in rule.feedback.parameters()]
    feedback = FeedbackPlan(pretraining_epochs=0, before=0, after=0)
    trained(rule, Plan(epochs=1, batch_size=50, feedback=feedback))
    assert not any(map(torch.equal, before, rule.feedback.parameters()))


def test_the_best_epoch_is_that_of_the_least_validation_error_with_its_test_figures() -> None:
    rule = Backpropagation(small_network(), SoftmaxCrossEntropy())
    plan = Plan(epochs=12, batch_size=20, optimizer=Adam(lr=0.05))
    trainer, _ = trained(rule, plan)
    errors = [m.validation.error for m in trainer.history]
    assert trainer.best is not None
    assert trainer.best.epoch == errors.index(min(errors)) + 1
    assert trainer.best.test == trainer.history[trainer.best.epoch - 1].test
    data = trainer.data
    assert trainer.history[-1].test.error == pytest.approx(
        1 - accuracy(rule.network, data.x_test, data.y_test)
    )


def test_training_stops_when_validation_has_not_improved_for_the_patience() -> None:
    # The step is too small to change any answer: the first epoch stays the best.
    rule = Backpropagation(small_network())
    plan = Plan(epochs=50, optimizer=SGD(lr=1e-12), patience=3)
    trainer, _ = trained(rule, plan)
    assert len(trainer.history) == 4
    assert trainer.best is not None
    assert trainer.best.epoch == 1
    with pytest.raises(UserError, match="validation"):
        trained(rule, plan, few_digits()._replace(validation=None))


def test_an_autoencoder_learns_to_give_back_its_input() -> None:
    experiment = Experiment(
        rule="bp",
        dataset="digits-4x4",
        sizes=(16, 8, 16),
        activation="linear",
        loss="l2",
        autoencoder=True,
        samples=300,
        plan=Plan(epochs=8, optimizer=Adam(lr=0.01)),
    )
    data = experiment.load()
    assert torch.equal(data.x, data.y)
    assert torch.equal(data.x_test, data.y_test)
    trainer = experiment.trainer(data)
    trainer.run()
    losses = [m.test.loss for m in trainer.history]
    assert losses[-1] < 0.3 * losses[0]
    assert trainer.best is not None
    assert trainer.best.validation.loss == min(m.validation.loss for m in trainer.history)
    assert all(math.isnan(m.test.error) for m in trainer.history)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_training_keeps_the_type_of_the_data(dtype: torch.dtype) -> None:
    experiment = Experiment(
        dataset="digits-4x4",
        sizes=(16, 8, 10),
        samples=64,
        feedback="learned",
        plan=Plan(epochs=1, feedback=FeedbackPlan(pretraining_epochs=1)),
    )
    trainer = experiment.trainer(experiment.load(dtype=dtype))
    trainer.run()
    rule = trainer.rule
    assert isinstance(rule, AnalyticDFC)
    for parameter in (*rule.network.parameters(), *rule.feedback.parameters()):
        assert parameter.dtype == dtype


def test_samples_for_trials_and_validation_are_the_same_in_every_run_and_disjoint() -> None:
    whole = digits(4)
    few = [prepared(whole, samples=100) for _ in range(2)]
    assert torch.equal(few[0].x, few[1].x)
    assert len(few[0].x) == 100
    everything = prepared(whole)
    assert everything.validation is not None
    assert len(everything.x) + len(everything.validation.x) == len(whole.x)
    for data in (few[0], everything):
        assert data.validation is not None
        aside = {tuple(row) for row in data.validation.x.tolist()}
        assert not aside & {tuple(row) for row in data.x.tolist()}
    with pytest.raises(UserError, match="1 to 1294"):
        prepared(whole, samples=1295)


def test_standardised_inputs_have_no_mean_and_a_variance_of_1_where_they_are_learned_from() -> None:
    plain, data = (prepared(digits(4), standardised=how) for how in (False, True))
    assert data.x.mean(dim=0).abs().max() < 1e-12
    assert float(data.x.square().mean()) == pytest.approx(1.0)
    assert data.validation is not None
    assert plain.validation is not None
    for was, now in ((plain.x_test, data.x_test), (plain.validation.x, data.validation.x)):
        mapped = now * (plain.x - plain.x.mean(dim=0)).square().mean().sqrt()
        torch.testing.assert_close(mapped + plain.x.mean(dim=0), was)  # by the same mean and size
    assert torch.equal(plain.y, data.y)


def test_inputs_between_bounds_reach_both_where_they_are_learned_from() -> None:
    plain, data = prepared(digits(4)), prepared(digits(4), between=(-0.9, 0.9), autoencoder=True)
    assert float(data.x.min()) == pytest.approx(-0.9)
    assert float(data.x.max()) == pytest.approx(0.9)
    assert data.y is data.x
    # A straight line maps the test samples too.
    ratio = (data.x_test - data.x_test[0, 0]) / (plain.x_test - plain.x_test[0, 0])
    known = ratio[ratio.isfinite()]
    torch.testing.assert_close(known, known[:1].expand_as(known))
    with pytest.raises(UserError, match="the first must be below the second"):
        Experiment(between=(1.0, 1.0))


def test_a_learning_rate_that_falls_makes_smaller_steps_and_goes_on_after_an_interruption(
    tmp_path: Path,
) -> None:
    plan = Plan(epochs=3, optimizer=SGD(0.1), lr_decay=StepDecay((1, 2)))
    experiment = Experiment(rule="bp", dataset="digits-4x4", sizes=(16, 10), plan=plan, samples=64)
    data = experiment.load()
    whole, found = experiment.trainer(data), []

    def completed(trainer: Trainer) -> None:
        found.append(trainer.rule.network.weights[0].detach().clone())
        if len(found) == 1:
            records.write(tmp_path / "first.h5", checkpoint_tree(trainer, experiment.about()))

    start = whole.rule.network.weights[0].detach().clone()
    whole.run(completed=completed)
    first, second, third = (float((b - a).norm()) for a, b in pairwise([start, *found]))
    assert second < first / 5
    assert third < second / 5
    again = experiment.trainer(data)
    restore(again, records.read(tmp_path / "first.h5"), experiment.about())
    again.run()
    assert torch.equal(again.rule.network.weights[0], found[-1])
    with pytest.raises(UserError, match="the rate falls after epoch 1 or a later one"):
        StepDecay((0,))


@pytest.mark.parametrize("count", [1, 2, 4, 99, 100])
def test_a_set_too_small_to_split_is_learned_whole(count: int) -> None:
    x = torch.arange(count, dtype=torch.float64).unsqueeze(1)
    data = prepared(Dataset(x, x, x, x))
    if count < 100:
        assert torch.equal(data.x, x)
        assert data.validation is None
    else:
        assert data.validation is not None
        assert (len(data.x), len(data.validation.x)) == (90, 10)
    # A few samples of a set that is large enough are no small set.
    assert len(prepared(Dataset(x, x, x, x), samples=1).x) == 1


def diverged(rule: LearningRule, plan: Plan, data: Dataset | None = None) -> Divergence:
    """The error of a training that diverges; nothing is completed in its last epoch."""
    done: list[int] = []
    trainer = Trainer(rule, data or few_digits(), plan, generator=generator(5))
    with pytest.raises(Divergence) as caught:
        trainer.run(completed=lambda t: done.append(len(t.history)))
    assert done == list(range(1, len(done) + 1))
    return caught.value


def test_weights_that_leave_the_finite_numbers_are_named_with_what_to_change() -> None:
    network = Network([16, 8, 10], "relu", generator=generator(3))
    # One step of this size overflows the product of the layers.
    plan = Plan(epochs=3, batch_size=100, optimizer=SGD(lr=1e200))
    error = diverged(Backpropagation(network), plan)
    assert "epoch 2, mini-batch 1" in str(error)
    assert "left the finite numbers" in error.where
    assert error.eigenvalue is None
    assert "Lower the learning rate" in str(error)


def test_where_only_the_loss_overflows_the_largest_weights_are_named() -> None:
    # One layer's outputs reach 1e200, which is a number; their square is not.
    plan = Plan(epochs=2, batch_size=100, optimizer=SGD(lr=1e200))
    error = diverged(Backpropagation(Network([16, 10], generator=generator(3))), plan)
    assert re.search(r"the loss .* of all parameters [Wb]1 is the largest, up to", error.where)


def test_a_loss_that_grows_without_bounds_stops_the_epoch_while_it_is_finite() -> None:
    plan = Plan(epochs=30, batch_size=50, optimizer=SGD(lr=30.0))
    network = Network([16, 8, 10], "linear", generator=generator(3))
    error = diverged(Backpropagation(network), plan)
    assert "the loss grew to" in error.where
    assert re.search(r"[Wb][12] is the largest", error.where)


def test_an_unstable_loop_is_blamed_with_its_eigenvalue() -> None:
    network = small_network()
    feedback = DirectFeedback(
        [-40 * q.detach() for q in DirectFeedback.transposed(network).matrices]
    )
    rule = DFC(network, feedback, PI(k_p=0.0, alpha=0.001), dt=0.05, steps=5000, tau_v=0.05)
    error = diverged(rule, Plan(epochs=1, batch_size=50))
    assert error.eigenvalue is not None
    assert error.eigenvalue > 0
    assert "(unstable)" in str(error)
    assert "alpha" in error.advice
    # For fast neurons and k_p = 0, -(J Q + alpha) decides (Condition 3), with Q = -40 J^T here in
    # all but the slopes of the hidden layer.
    assert error.eigenvalue > 1


def test_a_stable_loop_is_cleared_and_the_step_size_blamed() -> None:
    rule = controlled(target_stepsize=1e-3)
    rule.feedback = DirectFeedback.transposed(rule.network)
    error = diverged(rule, Plan(epochs=3, batch_size=100, optimizer=SGD(lr=1e300)))
    assert error.eigenvalue is not None
    assert error.eigenvalue < 0
    assert "Lower the learning rate" in error.advice


def test_feedback_learning_that_diverges_names_the_feedback_weights() -> None:
    plan = FeedbackPlan(pretraining=SGD(lr=1e300), pretraining_epochs=4, clip=None)
    error = diverged(controlled(), Plan(epochs=1, batch_size=50, feedback=plan))
    assert "pre-training epoch 1" in str(error)
    assert "Q1 left the finite numbers" in error.where or "v" in error.where


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Plan(epochs=-1), "epochs = -1"),
        (lambda: Plan(batch_size=0), "batch_size = 0"),
        (lambda: Plan(clip=0.0), "clip = 0.0"),
        (lambda: Plan(patience=0), "patience = 0"),
        (lambda: FeedbackPlan(after=-1), "after = -1"),
        (lambda: Adam(lr=0.0), "lr=0.0"),
        (lambda: Adam(betas=(0.9, 1.0)), "betas"),
        (lambda: SGD(momentum=1.0), "momentum"),
        (lambda: SGD(weight_decay=-1.0), "weight_decay"),
        (lambda: Experiment(rule="dfcc"), "unknown learning rule 'dfcc'"),
        (lambda: Experiment(loss="l1"), "there are l2, l2-spread, cross-entropy"),
        (lambda: Experiment(feedback="none"), "there are learned, fixed"),
        (lambda: trained(Backpropagation(Network([15, 10])), Plan()), "do not fit"),
        (lambda: trained(Backpropagation(Network([16, 9])), Plan()), "do not fit"),
        (
            lambda: trained(Backpropagation(small_network(torch.float32)), Plan()),
            "must be alike",
        ),
        (
            lambda: trained(Backpropagation(small_network()), Plan(feedback=FeedbackPlan())),
            "no feedback weights that can be learned",
        ),
        (
            lambda: trained(
                DirectFeedbackAlignment(small_network()), Plan(feedback=FeedbackPlan())
            ),
            "no feedback weights that can be learned",
        ),
    ],
)
def test_bad_settings_are_one_clear_line(make: Callable[[], object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        make()


def test_the_loss_of_an_experiment_is_that_of_its_rule() -> None:
    experiment = Experiment(dataset="digits-4x4", sizes=(16, 10), samples=20)
    data = experiment.load()
    assert isinstance(experiment.trainer(data).loss, SoftmaxCrossEntropy)
    assert isinstance(replace(experiment, loss="l2").trainer(data).loss, SquaredError)


def test_the_figure_shows_each_part_that_there_is() -> None:
    history = [
        Metrics(k, Score(3.0 / k, 0.5 / k), Score.none(), Score(4.0 / k, 0.6 / k))
        for k in (1, 2, 3)
    ]
    loss, error = training_figure(history, 784).axes
    assert loss.get_ylabel() == "loss of a sample (1, sum over 784 outputs)"
    shown = {str(line.get_label()): np.asarray(line.get_ydata()).tolist() for line in loss.lines}
    assert shown == {"train": [3.0, 1.5, 1.0], "test": [4.0, 2.0, 4 / 3]}
    assert np.asarray(error.lines[0].get_ydata()).tolist() == pytest.approx([50, 25, 50 / 3])
    assert np.asarray(error.lines[0].get_xdata()).tolist() == [1, 2, 3]
    empty = training_figure([], 1)
    empty.canvas.draw()
    assert not empty.axes[0].lines


def test_descent_takes_gradients_in_any_order_of_memory_and_leaves_what_has_none() -> None:
    start, gradient = torch.rand(5, 3, dtype=torch.float64), torch.rand(3, 5).double().T
    parameters = [nn.Parameter(start.clone()) for _ in range(3)]
    ours = SGD(lr=0.1, weight_decay=0.3).make([parameters[0], parameters[2]])
    theirs = torch.optim.SGD([parameters[1]], lr=0.1, weight_decay=0.3)
    for _ in range(3):
        parameters[0].grad, parameters[1].grad = gradient, gradient.clone()
        ours.step()
        theirs.step()
    torch.testing.assert_close(parameters[0], parameters[1], rtol=1e-13, atol=1e-14)
    assert torch.equal(parameters[2], start)


def test_descent_asks_for_the_loss_where_it_is_told_how() -> None:
    parameter = nn.Parameter(torch.ones(2))
    optimizer = SGD(lr=0.5).make([parameter])

    def closure() -> float:
        parameter.grad = 2 * parameter.detach()
        return float(parameter.detach().square().sum())

    assert optimizer.step(closure) == 2.0
    assert parameter.tolist() == [0.0, 0.0]

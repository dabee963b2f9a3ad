"""Presets hold the published figures, and their conversion is that of the published gradients."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from strategies import generator, normal
from torch import Tensor, nn

from analogdfc.controller import PI
from analogdfc.datasets import student_teacher
from analogdfc.dynamics import Euler
from analogdfc.errors import UserError
from analogdfc.feedback import DirectFeedback
from analogdfc.learning import (
    RULES,
    AnalyticDFC,
    Backpropagation,
    DirectFeedbackAlignment,
    LearnedTargets,
    SleepPhase,
    SteadyStateDFC,
    make_rule,
)
from analogdfc.losses import LOSSES
from analogdfc.network import Network
from analogdfc.presets import ControlPreset, TargetPreset, load_preset, preset_names
from analogdfc.training import SGD, Adam, Experiment, FeedbackPlan

IMAGES = ("mnist", "fashion-mnist", "mnist-autoencoder", "mnist-train")
CONTROL = (*IMAGES, "toy")
TARGETS = ("tp-cifar10", "tp-fashion-mnist", "tp-mnist", "tp-mnist-frozen")
EXTRA = tuple(f"{name}-extra" for name in TARGETS)
INVERSION = ("di-mnist", "di-mnist-random", "di-autoencoder", "di-autoencoder-orthogonal")
SMALLER = ("tp-mnist-3x256", "tp-fashion-mnist-3x256", "tp-mnist-autoencoder")
ALIGNMENT = (
    *("fa-mnist", "fa-mnist-3x1500", "fa-mnist-3x1500-dropout", "fa-mnist-3x1500-piecewise"),
    *("fa-mnist-10x1000", "fa-svhn", "fa-timit", "fa-autoencoder-narrow", "fa-autoencoder-wide"),
)


def control(name: str) -> ControlPreset:
    preset = load_preset(name)
    assert isinstance(preset, ControlPreset)
    return preset


def targets(name: str) -> TargetPreset:
    preset = load_preset(name)
    assert isinstance(preset, TargetPreset)
    return preset


def adam(experiment: Experiment) -> Adam:
    assert isinstance(experiment.plan.optimizer, Adam)
    return experiment.plan.optimizer


def learning(experiment: Experiment) -> FeedbackPlan:
    assert experiment.plan.feedback is not None
    return experiment.plan.feedback


def test_there_is_one_preset_for_each_published_experiment() -> None:
    assert preset_names() == tuple(
        sorted((*CONTROL, *TARGETS, *EXTRA, *INVERSION, *SMALLER, *ALIGNMENT))
    )
    for names, paper in (
        (
            INVERSION,
            "Podlaski and Machens, Biological credit assignment through dynamic inversion of "
            "feedforward networks, NeurIPS 2020",
        ),
        (
            CONTROL,
            "Meulemans et al., Credit Assignment in Neural Networks through Deep Feedback Control, "
            "NeurIPS 2021",
        ),
        (
            ALIGNMENT,
            "Lillicrap et al., Random synaptic feedback weights support error backpropagation for "
            "deep learning, Nature Communications 2016, supplementary note ",
        ),
        (
            (*TARGETS, *EXTRA, *SMALLER),
            "Meulemans et al., A Theoretical Framework for Target Propagation, NeurIPS 2020",
        ),
    ):
        for name in names:
            assert paper in load_preset(name).source
            assert load_preset(name).title


def test_dynamic_inversion_learns_online_from_small_weights_as_its_text_says() -> None:
    preset = load_preset("di-mnist")
    assert preset.rules == ("bp", "fa", "pbp", "ndi")
    for rule in preset.rules:
        made = preset.experiment(rule)
        assert (made.sizes, made.dataset, made.loss) == ((784, 1000, 10), "mnist", "cross-entropy")
        assert made.plan.optimizer == SGD(1e-3, 1e-6)
        assert (made.plan.epochs, made.plan.batch_size) == (15, 1)
        assert (made.initial.scale, made.initial.biases) == (0.01, 0.01)
        assert made.standardised
        assert made.options.get("max_norm", math.inf) == math.inf
        assert made.feedback_start.spread == (0.5 if rule == "fa" else None)
    at_random = load_preset("di-mnist-random").experiment("ndi")
    assert at_random.feedback_start.spread == 0.01
    assert at_random.options["alpha"] == 0.01
    with pytest.raises(UserError, match="no published settings for the rule 'bp'; it has"):
        load_preset("di-mnist-random").experiment("bp")


def test_feedback_alignment_learns_in_tanh_units_with_falling_rates_as_its_text_says() -> None:
    for name in ALIGNMENT:
        for rule in ("bp", "fa"):
            made = load_preset(name).experiment(rule)
            assert made.plan.batch_size == 100
            # The text's 0.01 is of half of our loss, and falls to a tenth twice.
            rates = [made.plan.rate(epochs) for epochs in (0, 39, 40, 50)]
            assert rates == pytest.approx([5e-3, 5e-3, 5e-4, 5e-5])
            assert made.plan.optimizer == SGD(5e-3, 1e-6)
            assert made.output_activation == "tanh"
    assert load_preset("fa-mnist-10x1000").experiment("fa").sizes == (784, *10 * (1000,), 10)
    piecewise = load_preset("fa-mnist-3x1500-piecewise").experiment("fa")
    assert (piecewise.activation, piecewise.sizes[1:4]) == ("piecewise-linear", 3 * (1500,))
    assert piecewise.options["dropout"].hidden == 0.5
    narrow = load_preset("fa-autoencoder-narrow").experiment("fa")
    assert (narrow.loss, narrow.autoencoder, narrow.between) == ("l2", True, (-0.9, 0.9))


@pytest.mark.parametrize("name", EXTRA)
def test_extra_feedback_learning_is_of_the_same_network(name: str) -> None:
    extra, plain = targets(name), targets(name.removesuffix("-extra"))
    assert extra.rules == ("ddtp-rhl", "ddtp-rhl-rec")
    for rule in extra.rules:
        made = extra.experiment(rule)
        other = plain.experiment("ddtp-rhl")
        assert (made.sizes, made.dataset, made.plan.frozen) == (
            other.sizes,
            other.dataset,
            other.plan.frozen,
        )
        assert made.plan.feedback is not None
        first = 6 if (name, rule) == ("tp-mnist-extra", "ddtp-rhl") else 10
        assert (made.plan.feedback.pretraining_epochs, made.plan.feedback.after) == (first, 4)
        assert made.pathway is not None
        assert made.options.get("frozen") == other.options.get("frozen")


def test_another_lambda_keeps_its_product_with_the_learning_rate() -> None:
    plain, other = control("mnist"), control("mnist").changed(0.5, 0.1)
    a, b = plain.experiment("dfc-ss"), other.experiment("dfc-ss")
    assert b.options["controller"].alpha == 0.1
    assert a.plan.optimizer.lr * a.options["target_stepsize"] == pytest.approx(
        b.plan.optimizer.lr * b.options["target_stepsize"]
    )
    assert b.options["target_stepsize"] == pytest.approx(0.5 / 128)
    assert plain.changed() is plain
    with pytest.raises(UserError, match="finite numbers are needed"):
        plain.changed(0.0)


def test_an_unknown_preset_lists_those_that_exist() -> None:
    with pytest.raises(UserError, match="unknown preset 'mist'; there are di-autoencoder, "):
        load_preset("mist")


# The published settings, to the digits printed in tables: lr, lambda, eps, alpha, lr_fb, pretrain.
@pytest.mark.parametrize(
    ("name", "figures"),
    [
        ("mnist", (1.1888e-3, 0.0779447, 9.44601e-8, 1.38904e-3, 5.26541e-4, 3.17028e-4)),
        ("fashion-mnist", (7.8593e-4, 0.0560667, 3.66137e-8, 2.06080e-4, 2.37253e-4, 4.53726e-4)),
        (
            "mnist-autoencoder",
            (9.2081e-3, 0.0202770, 2.77889e-8, 3.68830e-2, 1.22604e-5, 1.63973e-4),
        ),
        ("mnist-train", (8.9414e-3, 0.0110584, 3.89556e-8, 4.34295e-5, 4.44585e-5, 6.70947e-4)),
    ],
)
def test_learned_feedback_has_the_published_step_sizes(
    name: str, figures: tuple[float, ...]
) -> None:
    lr, step, eps, alpha, lr_fb, lr_pretraining = figures
    experiment = load_preset(name).experiment("dfc-ssa")
    assert experiment.feedback == "learned"
    assert adam(experiment).lr == pytest.approx(lr, rel=1e-4)
    assert adam(experiment).eps == pytest.approx(eps / 2, rel=1e-5)
    assert adam(experiment).betas == (0.99, 0.99)
    outputs = 784 if name == "mnist-autoencoder" else 1
    assert experiment.options["target_stepsize"] == pytest.approx(step / 128 / outputs, rel=1e-5)
    assert experiment.options["controller"].alpha == pytest.approx(alpha, rel=1e-5)
    assert experiment.plan.clip == 0.5
    plan = learning(experiment)
    assert plan.optimizer.lr == pytest.approx(lr_fb, rel=1e-5)
    assert plan.pretraining.lr == pytest.approx(lr_pretraining, rel=1e-5)
    assert (plan.before, plan.after, plan.clip) == (1, 2, 1.0)


@pytest.mark.parametrize(
    ("name", "beta", "epochs", "eps", "sleep"),
    [
        (
            "mnist",
            0.001,
            10,
            1.56114e-6,
            (0.613364, 0.156539, 0.00630250, 0.324694, 0.00152418, 0.00202995, 48, True),
        ),
        (
            "fashion-mnist",
            0.1,
            10,
            3.56107e-8,
            (0.233704, 0.00642694, 0.00547325, 0.134651, 0.00245131, 0.00309735, 34, False),
        ),
        (
            "mnist-autoencoder",
            0.1,
            15,
            5.84952e-7,
            (0.733253, 0.00632236, 0.00648735, 0.272537, 0.00183604, 0.00326450, 60, False),
        ),
        (
            "mnist-train",
            0.001,
            20,
            2.76263e-7,
            (0.920353, 0.143211, 0.0132191, 0.148115, 0.0557098, 0.00127447, 44, True),
        ),
    ],
)
def test_the_sleep_phase_is_the_published_one(
    name: str, beta: float, epochs: int, eps: float, sleep: tuple[Any, ...]
) -> None:
    experiment = load_preset(name).experiment("dfc")
    found = experiment.options["sleep"]
    assert isinstance(found, SleepPhase)
    shown = (found.alpha, found.k_p, found.tau_v, found.tau_fb, found.sigma, found.dt)
    assert shown == pytest.approx(sleep[:6], rel=1e-5)
    assert (found.steps, found.train_output) == sleep[6:]
    assert not found.proactive
    plan = learning(experiment)
    assert plan.pretraining_epochs == epochs
    # The decay comes once: from the optimiser, not from the sleep phase too.
    assert (found.beta, plan.optimizer.weight_decay) == (0.0, beta)
    assert isinstance(plan.optimizer, Adam)
    assert plan.optimizer.eps == pytest.approx(eps, rel=1e-5)


@pytest.mark.parametrize(
    ("name", "feedback", "rule", "grid", "proactive"),
    [
        ("mnist", "learned", "dfc", (0.02, 1000), True),
        ("fashion-mnist", "learned", "dfc-ss", (0.02, 300), False),
        ("mnist-train", "learned", "dfc", (0.001, 500), False),
        ("mnist-train", "learned", "dfc-ss", (0.001, 1000), False),
        ("mnist", "fixed", "dfc", (0.02, 500), True),
        ("mnist-autoencoder", "fixed", "dfc", (0.0005, 2000), True),
        ("mnist-autoencoder", "fixed", "dfc-ss", (0.001, 1000), True),
        ("toy", "learned", "dfc", (0.005, 1000), False),
    ],
)
def test_the_simulation_is_the_published_one(
    name: str, feedback: str, rule: str, grid: tuple[float, int], proactive: bool
) -> None:
    options = load_preset(name).experiment(rule, feedback).options
    assert (options["dt"], options["steps"]) == grid
    assert options["integrator"] == Euler(layered=True, proactive=proactive)
    assert options["tau_v"] == 0.2
    assert options["controller"].k_p == (1.5 if name == "toy" else 2.0)


@pytest.mark.parametrize(
    ("name", "lr_lambda", "eps", "alpha"),
    [
        ("mnist", 6.04345e-5, 1.33268e-8, 2.46586e-4),
        ("fashion-mnist", 5.42388e-5, 1.46481e-10, 0.798504),
        ("mnist-autoencoder", 5.51946e-6, 1.06342e-7, 1.88443e-4),
        ("mnist-train", 8.75639e-5, 4.51715e-8, 3.33536e-4),
    ],
)
def test_fixed_feedback_has_the_published_step_sizes(
    name: str, lr_lambda: float, eps: float, alpha: float
) -> None:
    experiment = load_preset(name).experiment("dfc-ssa", "fixed")
    assert adam(experiment).lr == pytest.approx(lr_lambda / 0.1, rel=1e-5)
    assert adam(experiment).eps == pytest.approx(eps / 2, rel=1e-5)
    assert experiment.options["controller"].alpha == pytest.approx(alpha, rel=1e-5)
    assert experiment.plan.feedback is None


@pytest.mark.parametrize(
    ("name", "bp", "dfa"),
    [
        ("mnist", (2.97765e-4, 5.77031e-8), (2.62985e-4, 2.48344e-8)),
        ("fashion-mnist", (5.44249e-4, 2.70903e-8), (7.67552e-3, 3.25174e-7)),
        ("mnist-autoencoder", (1.36741e-3, 9.19051e-7), (3.15080e-4, 5.15002e-8)),
        ("mnist-train", (1.01859e-4, 1.40658e-7), (2.65482e-2, 6.31372e-8)),
    ],
)
def test_the_controls_have_the_published_step_sizes(
    name: str, bp: tuple[float, float], dfa: tuple[float, float]
) -> None:
    outputs = 784 if name == "mnist-autoencoder" else 1
    for rule, (lr, eps), scale in (
        ("bp", bp, 1 / outputs),
        ("dfa", dfa, 2 * 0.001 / (128 * outputs)),
    ):
        experiment = load_preset(name).experiment(rule)
        assert adam(experiment).lr == pytest.approx(lr, rel=1e-5)
        assert adam(experiment).eps == pytest.approx(eps / scale, rel=1e-5)
        assert experiment.options == {}
        assert experiment.plan.feedback is None
    assert load_preset(name).experiment("bp").plan.clip is None


def test_the_toy_experiment_is_the_published_one() -> None:
    preset = load_preset("toy")
    experiment = preset.experiment("dfc")
    assert (experiment.dataset, experiment.sizes) == ("student-teacher", (15, 10, 10, 5))
    assert (experiment.plan.epochs, experiment.plan.batch_size) == (300, 128)
    # lr = 0.05 / 0.05 = 1 for gradients twice as large as ours.
    assert experiment.plan.optimizer == SGD(lr=2.0)
    assert experiment.options["target_stepsize"] == pytest.approx(0.05 / (128 * 5))
    assert experiment.options["controller"] == PI(k_p=1.5, alpha=0.0015)
    assert learning(experiment).pretraining == SGD(lr=0.1, weight_decay=0.025)
    assert learning(experiment).optimizer == SGD(lr=0.002, weight_decay=0.025)
    assert learning(experiment).pretraining_epochs == 50
    with pytest.raises(UserError, match=r"no published settings for the rule 'bp'.* dfc, dfc-ss"):
        preset.experiment("bp")


def test_epochs_and_architectures_are_the_published_ones() -> None:
    for name in IMAGES:
        experiment = load_preset(name).experiment("bp")
        auto = name == "mnist-autoencoder"
        assert experiment.plan.epochs == (25 if auto else 100)
        assert experiment.plan.batch_size == 128
        assert experiment.sizes == ((784, 256, 32, 256, 784) if auto else (784, 256, 256, 256, 10))
        assert experiment.activation == (("tanh", "linear", "tanh") if auto else "tanh")
        assert experiment.autoencoder == auto


# What the published code computes, written down here from its description alone: the loss is the
# mean that PyTorch's modules give, the target moves along its gradient, the update has a factor 2.
def published_loss(loss: str, r: Tensor, y: Tensor) -> Tensor:
    if loss == "l2":
        return nn.functional.mse_loss(r, y)
    return nn.functional.cross_entropy(r, y)


@pytest.mark.parametrize("name", ["mnist", "mnist-autoencoder"])
def test_the_converted_target_is_the_published_one(name: str) -> None:
    tables = control(name).tables
    experiment = load_preset(name).experiment("dfc-ss")
    n = experiment.sizes[-1]
    r = normal(1, 128, n).requires_grad_()
    y = torch.softmax(normal(2, 128, n), dim=-1)
    (slope,) = torch.autograd.grad(published_loss(experiment.loss, r, y), r)
    assert tables.learned is not None
    published = r.detach() - tables.learned.target_stepsize * slope
    ours = LOSSES[experiment.loss].target(r.detach(), y, experiment.options["target_stepsize"])
    torch.testing.assert_close(ours, published, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", ["mnist", "mnist-autoencoder"])
def test_adam_takes_the_same_step_for_bp_as_with_the_published_loss(name: str) -> None:
    experiment = load_preset(name).experiment("bp")
    tables = control(name).tables
    assert tables.bp is not None
    assert tables.bp.eps is not None
    sizes = [5, experiment.sizes[-1]]
    network, twin = (Network(sizes, generator=generator(3)) for _ in range(2))
    # Small gradients, so that eps matters.
    x, y = 1e-6 * normal(1, 128, 5), torch.softmax(normal(2, 128, sizes[-1]), dim=-1)
    Backpropagation(network, LOSSES[experiment.loss]).backward(x, y)
    experiment.plan.optimizer.make(network.parameters()).step()
    published_loss(experiment.loss, twin(x), y).backward()
    lr, eps = tables.bp.lr_lambda / tables.bp.target_stepsize, tables.bp.eps
    torch.optim.Adam(twin.parameters(), lr=lr, betas=(0.99, 0.99), eps=eps).step()
    start = Network(sizes, generator=generator(3)).weights[0]
    assert float((network.weights[0] - start).detach().abs().max()) < 0.9 * lr  # eps matters
    for ours, theirs in zip(network.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-15)


# Target propagation. The published settings to the digits printed in tables: lr times eta, eps,
# betas, eta, lr_fb, eps_fb, betas_fb, sigma, wd_fb.
@pytest.mark.parametrize(
    ("name", "rule", "figures"),
    [
        (
            "tp-mnist",
            "dtp-pretrained",
            (8.7551e-5, 1.3539e-7, 0.9, 0.99, 0.29588, 4.6353e-4, 4.3672e-7, 0.9, 0.9, 0.17295),
        ),
        (
            "tp-mnist",
            "ddtp-control",
            (8.8827e-5, 5.5526e-8, 0.9, 0.999, 0.094167, 1.8713e-4, 1.2298e-8, 0.9, 0.999, 0.00872),
        ),
        (
            "tp-fashion-mnist",
            "dtp",
            (6.2647e-5, 3.1751e-8, 0.9, 0.99, 0.24134, 3.66e-4, 1.3607e-6, 0.99, 0.999, 0.26749),
        ),
        (
            "tp-fashion-mnist",
            "dtp-drl",
            (
                7.1017e-5,
                1.6407e-8,
                0.99,
                0.999,
                0.086567,
                9.6983e-5,
                2.2676e-5,
                0.99,
                0.9,
                0.084333,
            ),
        ),
        (
            "tp-fashion-mnist",
            "ddtp-linear",
            (8.7036e-6, 1.728e-8, 0.99, 0.99, 0.01725, 7.9591e-4, 3.1082e-8, 0.99, 0.9, 0.098573),
        ),
        (
            "tp-cifar10",
            "ddtp-rhl",
            (2.2591e-6, 7.2191e-8, 0.9, 0.999, 0.016184, 9.0978e-4, 2.0504e-5, 0.99, 0.9, 0.027413),
        ),
        (
            "tp-mnist-frozen",
            "ddtp-linear",
            (
                6.9403e-4,
                1.7293e-7,
                0.9,
                0.999,
                0.080359,
                1.6342e-3,
                1.7261e-5,
                0.99,
                0.999,
                0.047848,
            ),
        ),
    ],
)
def test_target_propagation_has_the_published_step_sizes(
    name: str, rule: str, figures: tuple[float, ...]
) -> None:
    lr_eta, eps, beta1, beta2, eta, lr_fb, eps_fb, beta1_fb, beta2_fb, sigma = figures
    experiment = targets(name).experiment(rule)
    assert adam(experiment).lr == pytest.approx(lr_eta / eta, rel=1e-4)
    assert adam(experiment).eps == pytest.approx(eps, rel=1e-4)
    assert adam(experiment).betas == (beta1, beta2)
    assert experiment.options["target_stepsize"] == pytest.approx(eta / 128, rel=1e-4)
    assert experiment.plan.clip is None
    learned = learning(experiment)
    optimizer = learned.optimizer
    assert isinstance(optimizer, Adam)
    assert learned.pretraining == optimizer
    assert (optimizer.lr, optimizer.eps) == pytest.approx((lr_fb, eps_fb), rel=1e-4)
    assert optimizer.betas == (beta1_fb, beta2_fb)
    kind = RULES[rule].rule
    assert issubclass(kind, LearnedTargets)
    loss = experiment.options["reconstruction"]
    assert type(loss) is type(kind.default_reconstruction())
    assert loss.sigma == pytest.approx(sigma, rel=1e-4)
    assert (loss.weight_decay, loss.scale) == (0, None)


@pytest.mark.parametrize(
    ("name", "pretraining", "extra"),
    [
        ("tp-mnist", 6, 1),
        ("tp-fashion-mnist", 6, 1),
        ("tp-cifar10", 10, 2),
        ("tp-mnist-frozen", 10, 0),
    ],
)
def test_target_propagation_learns_its_feedback_when_the_published_experiments_do(
    name: str, pretraining: int, extra: int
) -> None:
    preset = targets(name)
    for rule in preset.tables.rules:
        plan = learning(preset.experiment(rule))
        found = (plan.pretraining_epochs, plan.before, plan.after, plan.clip)
        assert found == ((0, 0, 0, None) if rule == "dtp" else (pretraining, 0, extra, None))
        decay = plan.optimizer.weight_decay
        assert (decay == 0) == (rule == "dtp" and name != "tp-mnist-frozen")
    decay = learning(targets("tp-mnist").experiment("ddtp-rhl")).optimizer.weight_decay
    assert decay == pytest.approx(1.6213e-3, rel=1e-4)


def test_target_propagation_has_the_published_architectures() -> None:
    for name in TARGETS:
        for rule in targets(name).rules:
            experiment = targets(name).experiment(rule)
            cifar = name == "tp-cifar10"
            sizes = (3072, *3 * (1024,), 10) if cifar else (784, *5 * (256,), 10)
            assert (experiment.sizes, experiment.activation) == (sizes, "tanh")
            assert (experiment.loss, experiment.plan.batch_size) == ("cross-entropy", 128)
            assert experiment.plan.epochs == (150 if cifar and rule == "bp" else 100)
            frozen = (2, 3, 4, 5, 6) if name == "tp-mnist-frozen" else None
            assert experiment.options.get("frozen") == frozen


@pytest.mark.parametrize(
    ("name", "bp", "dfa"),
    [
        ("tp-mnist", (2.9705e-4, 6.9278e-8), (3.8082e-4, 1.0862e-7)),
        ("tp-fashion-mnist", (2.876e-4, 4.7253e-8), (9.403e-4, 3.6611e-8)),
        ("tp-cifar10", (3.8866e-4, 6.5656e-4), (3.8143e-4, 2.5157e-5)),
        ("tp-mnist-frozen", (1.6378e-3, 8.421e-6), None),
    ],
)
def test_the_controls_of_target_propagation_have_the_published_step_sizes(
    name: str, bp: tuple[float, float], dfa: tuple[float, float] | None
) -> None:
    preset = targets(name)
    for rule, published, factor in (("bp", bp, 1.0), ("dfa", dfa, 2 / 128)):
        if published is None:
            assert rule not in preset.rules
            continue
        found = adam(preset.experiment(rule))
        assert (found.lr, found.eps) == pytest.approx(
            (published[0], published[1] / factor), rel=1e-4
        )


def test_the_target_and_the_local_gradients_are_the_published_ones() -> None:
    preset = targets("tp-mnist")
    experiment, published = preset.experiment("ddtp-linear"), preset.tables.rules["ddtp-linear"]
    network = Network([6, 5, 4, 10], generator=generator(1))
    rule = make_rule("ddtp-linear", network, loss=LOSSES[experiment.loss], **experiment.options)
    x, y = normal(2, 128, 6), torch.softmax(normal(3, 128, 10), dim=-1)
    # As its description says: the mean loss, targets by its gradient, local losses as means.
    r = network(x)
    (slope,) = torch.autograd.grad(published_loss("cross-entropy", r, y), r)
    target = (r - published.target_stepsize * slope).detach()
    local = (network(x) - target).square().sum(dim=1).mean()
    wanted = torch.autograd.grad(local, network.weights[-1])[0]
    rule.backward(x, y)
    assert network.weights[-1].grad is not None
    torch.testing.assert_close(network.weights[-1].grad, wanted, rtol=1e-9, atol=1e-18)


def test_adam_takes_the_same_step_for_dfa_as_with_the_published_targets() -> None:
    preset = targets("tp-cifar10")
    experiment, published = preset.experiment("dfa"), preset.tables.dfa
    assert published is not None
    network, twin = (Network([5, 10], generator=generator(3)) for _ in range(2))
    x, y = 1e-3 * normal(1, 128, 5), torch.softmax(normal(2, 128, 10), dim=-1)
    DirectFeedbackAlignment(network, loss=LOSSES["cross-entropy"]).backward(x, y)
    experiment.plan.optimizer.make(network.parameters()).step()
    r = twin(x)
    (slope,) = torch.autograd.grad(published_loss("cross-entropy", r, y), r)
    target = (r - published.target_stepsize * slope).detach()
    (twin(x) - target).square().sum(dim=1).mean().backward()
    lr = published.lr_eta / published.target_stepsize
    torch.optim.Adam(twin.parameters(), lr=lr, betas=published.betas, eps=published.eps).step()
    start = Network([5, 10], generator=generator(3)).weights[0]
    assert float((network.weights[0] - start).detach().abs().max()) < 0.9 * lr  # eps matters
    for ours, theirs in zip(network.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-15)


def test_a_preset_of_target_propagation_makes_the_rule_that_it_describes() -> None:
    data = student_teacher((6, 4, 10), samples=(9, 3, 3))
    for rule, width in (("ddtp-rhl", 2048), ("dtp-drl", None), ("bp", None)):
        experiment = replace(load_preset("tp-cifar10").experiment(rule), sizes=(6, 5, 4, 10))
        made = experiment.trainer(data).rule
        assert type(made) is RULES[rule].rule
        if width is not None:
            assert isinstance(made, LearnedTargets)
            assert [tuple(q.shape) for q in made.feedback.matrices] == [(5, width), (4, width)]
    recurrent = replace(load_preset("tp-mnist").experiment("ddtp-rhl-rec"), sizes=(6, 5, 4, 10))
    made = recurrent.trainer(data).rule
    assert isinstance(made, LearnedTargets)
    assert made.feedback.recurrent(0) is not None
    assert made.feedback.matrices[0].shape == (5, 1024)
    with pytest.raises(UserError, match="no published settings for the rule 'dfa'"):
        load_preset("tp-mnist-frozen").experiment("dfa")


def test_in_the_frozen_experiment_only_the_first_layer_learns() -> None:
    frozen = load_preset("tp-mnist-frozen")
    data = student_teacher((6, 4, 10), samples=(9, 3, 3))
    for rule in ("bp", "ddtp-linear"):
        experiment = frozen.experiment(rule)
        small = replace(
            experiment, sizes=(6, 5, 5, 4, 4, 4, 10), plan=replace(experiment.plan, epochs=1)
        )
        trainer = small.trainer(data)
        before = [w.detach().clone() for w in trainer.rule.network.weights]
        trainer.run()
        same = map(torch.equal, before, (w.detach() for w in trainer.rule.network.weights))
        assert list(same) == [False, *5 * [True]]


def test_a_preset_makes_the_rule_that_it_describes() -> None:
    preset, data = load_preset("toy"), student_teacher((15, 4, 5), samples=(9, 3, 3))
    settings = {"dfc-ss": SteadyStateDFC, "dfc-ssa": AnalyticDFC}
    for rule, kind in settings.items():
        experiment = preset.experiment(rule)
        trainer = experiment.trainer(data)
        found = trainer.rule
        assert isinstance(found, SteadyStateDFC | AnalyticDFC)
        assert type(found) is kind
        assert found.sleep == experiment.options["sleep"]
        # Learned feedback starts at random, with Q_L = I; fixed feedback is the product.
        assert torch.equal(found.feedback.matrices[-1], torch.eye(5, dtype=torch.float64))
        fixed = preset.experiment(rule, "fixed").trainer(data).rule
        assert isinstance(fixed, SteadyStateDFC | AnalyticDFC)
        product = DirectFeedback.transposed(fixed.network).matrices
        assert all(map(torch.equal, fixed.feedback.matrices, product))
        assert not torch.equal(found.feedback.matrices[0], product[0])

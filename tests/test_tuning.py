"""Settings of a training by their names: all that there are, and that they reach what they name."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal, get_args, get_origin

import pytest
import torch
from torch import Tensor

from analogdfc import records
from analogdfc.cli._settings import NAMED
from analogdfc.controller import PD, PI
from analogdfc.datasets import Dataset
from analogdfc.dynamics import Euler
from analogdfc.dynamics.neuron import ConductanceNeuron
from analogdfc.errors import UserError
from analogdfc.feedback import DirectFeedback, NetworkFeedback
from analogdfc.learning import (
    RULES,
    DirectFeedbackAlignment,
    Dropout,
    LoopFeedback,
    SequentialFeedback,
    make_rule,
)
from analogdfc.network import Network
from analogdfc.storage import Model
from analogdfc.training import (
    SGD,
    Experiment,
    FeedbackPlan,
    FeedbackStart,
    InitialWeights,
    Plan,
    Switch,
    Switched,
    Trainer,
    checkpoint_tree,
    restore,
)
from analogdfc.training.experiment import default_experiment
from analogdfc.tuning import Setting, settings_of, with_settings
from analogdfc.tuning.values import Choice

SIZES = (4, 6, 5, 3)


def data(count: int = 12) -> Dataset:
    g = torch.Generator().manual_seed(3)
    x = torch.randn(count, 4, dtype=torch.float64, generator=g)
    y = torch.eye(3, dtype=torch.float64)[torch.randint(3, (count,), generator=g)]
    return Dataset(x, y, x, y)


def experiment(rule: str, **options: Any) -> Experiment:
    plan = Plan(epochs=2, batch_size=4, optimizer=SGD(lr=0.1))
    return replace(default_experiment(rule), sizes=SIZES, plan=plan, **options)


def gradients(trainer: Trainer) -> list[Tensor]:
    """What a rule writes for a batch; None where it writes nothing."""
    trainer.rule.backward(trainer.data.x, trainer.data.y)
    return [p.grad.clone() for p in trainer.rule.network.parameters() if p.grad is not None]


def parameters(trainer: Trainer) -> list[Tensor]:
    return [p.detach().clone() for p in trainer.rule.network.parameters()]


def equal(a: list[Tensor], b: list[Tensor]) -> bool:
    return len(a) == len(b) and all(map(torch.equal, a, b))


def another(setting: Setting) -> Any:
    """A value that a setting doesn't have."""
    hint, now = setting.hint, setting.value
    if isinstance(hint, Choice) or get_origin(hint) is Literal:
        words = hint.words if isinstance(hint, Choice) else get_args(hint)
        return next(word for word in words if word != now)
    if hint is bool:
        return not now
    if setting.name.endswith("activation"):
        return "linear"
    if setting.name == "frozen":
        return (1, 2)
    if isinstance(now, tuple):
        return tuple(v / 2 for v in now)
    if now is None and "Sequence" in str(hint):
        return (0.25,)
    if hint is int or "int" in str(hint):
        return 7 if now is None else now + 1
    return 0.25 if now in (None, 0, float("inf")) else now / 2


@pytest.mark.parametrize("rule", sorted(RULES))
def test_every_setting_is_described_and_is_afterwards_what_it_was_set_to(rule: str) -> None:
    base = default_experiment(rule)
    neuron = {"neuron.leak": 0.1, "neuron.basal": 1.0, "neuron.apical": 0.5}
    for name, setting in settings_of(base).items():
        assert setting.about, name
        wanted = another(setting)
        said: dict[str, Any] = {name: wanted}
        if name.startswith("neuron"):
            said = {**neuron, **said}
        if name.startswith("pathway") and name != "pathway.spread":
            said = {"pathway.width": 40, **said}
        if name == "weights.kind":
            said["weights.scale"] = 0.1
        if name == "monitor.every":
            said[name] = wanted = 3
        changed = with_settings(base, said)
        assert changed != base
        assert settings_of(changed)[name].value == wanted, name
        # As on a command line.
        text = ",".join(map(str, wanted)) if isinstance(wanted, tuple) else str(wanted)
        assert with_settings(base, {**said, name: text}) == changed


LOOP: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "gain and leak": (
        {"controller.k_p": "1.25", "controller.alpha": 0.02},
        {"controller": PI(k_p=1.25, alpha=0.02)},
    ),
    "integral constant": ({"controller.tau_u": 0.5}, {"controller": PI(tau_u=0.5)}),
    "leak of the integral": (
        {"controller.leak": "integral", "controller.alpha": 0.1},
        {"controller": PI(alpha=0.1, leak="integral")},
    ),
    "derivative": (
        {"controller.kind": "PD", "controller.k_d": 0.05},
        {"controller": PD(k_p=2.0, k_d=0.05)},
    ),
    "time constant": ({"tau_v": 0.3}, {"tau_v": 0.3}),
    "time step": ({"dt": 0.01, "steps": 60}, {"dt": 0.01, "steps": 60}),
    "linear rule": ({"nonlinear": "no"}, {"nonlinear": False}),
    "target": ({"target_stepsize": 0.02}, {"target_stepsize": 0.02}),
    "neuron": (
        {"neuron.leak": 0.1, "neuron.basal": 1, "neuron.apical": 0.6},
        {"neuron": ConductanceNeuron(0.1, 1.0, 0.6)},
    ),
    "order of a step": ({"integrator.layered": False}, {"integrator": Euler(layered=False)}),
}


@pytest.mark.parametrize("case", LOOP)
def test_settings_of_the_loop_give_the_update_of_the_rule_with_these_arguments(case: str) -> None:
    said, options = LOOP[case]
    base = with_settings(experiment("dfc"), {"steps": 40})
    trainer = with_settings(base, said).trainer(data())
    g = torch.Generator().manual_seed(0)
    network = Network(SIZES, generator=g)
    rule = make_rule(
        "dfc",
        network,
        loss=trainer.loss,
        feedback=DirectFeedback.transposed(network),
        generator=g,
        **{"steps": 40, **options},
    )
    rule.backward(trainer.data.x, trainer.data.y)
    found = gradients(trainer)
    assert equal(found, [p.grad for p in network.parameters() if p.grad is not None])
    assert not equal(found, gradients(base.trainer(data())))


def test_feedback_through_a_network_starts_as_the_direct_one_and_keeps_its_update() -> None:
    plain = experiment("dfc-ssa")
    through = with_settings(plain, {"pathway.width": "9", "pathway.activation": "linear"})
    rule = through.trainer(data()).rule
    assert isinstance(rule.feedback, NetworkFeedback)
    assert rule.feedback.matrices[0].shape == (6, 9)
    for a, b in zip(
        gradients(through.trainer(data())), gradients(plain.trainer(data())), strict=True
    ):
        torch.testing.assert_close(a, b)


def test_the_spread_of_random_feedback_is_that_of_uniform_numbers() -> None:
    for rule, kind in (("fa", SequentialFeedback), ("dfa", DirectFeedback)):
        made = with_settings(experiment(rule), {"pathway.spread": 0.5}).trainer(data()).rule
        assert isinstance(made.feedback, kind)
        hidden = list(made.feedback.parameters())[:2]
        values = torch.cat([q.detach().flatten() for q in hidden]).abs()
        assert 0.4 < float(values.max()) <= 0.5
        assert abs(float(values.mean()) - 0.25) < 0.06
    # Dynamic inversion changes what it starts from until its loops are stable.
    inverse = FeedbackStart(spread=0.5).make(RULES["di-single-loop"].rule, None)
    assert inverse is not None
    loop = inverse(Network(SIZES), torch.Generator().manual_seed(2))
    assert isinstance(loop, LoopFeedback)
    assert 0.4 < float(loop.matrices[0].detach().abs().max()) <= 0.5
    with pytest.raises(UserError, match=r"unknown setting 'pathway.spread' of the rule 'bp'"):
        with_settings(experiment("bp"), {"pathway.spread": 0.5})


def test_initial_weights_are_distributed_as_they_are_called() -> None:
    g = torch.Generator().manual_seed(1)
    network = Network([60, 40, 50], generator=g)
    glorot = network.weights[0].detach().clone()
    InitialWeights(scale=0.5).apply(network, g)
    torch.testing.assert_close(network.weights[0].detach(), glorot / 2)
    InitialWeights(kind="orthogonal", scale=2.0).apply(network, g)
    for w in network.weights:
        gram = w @ w.T if w.shape[0] < w.shape[1] else w.T @ w
        torch.testing.assert_close(gram.detach(), 4 * torch.eye(len(gram), dtype=w.dtype))
    InitialWeights(kind="uniform", scale=0.01, biases=0.2).apply(network, g)
    first, bias = network.weights[0].detach(), network.biases[0].detach()
    assert 0.0099 < float(first.abs().max()) <= 0.01
    assert 0.15 < float(bias.abs().max()) <= 0.2
    InitialWeights(kind="normal", scale=0.3).apply(network, g)
    assert float(first.std()) == pytest.approx(0.3, rel=0.05)


@pytest.mark.parametrize("rule", ["bp", "dfc-ssa", "mn"])
def test_a_frozen_layer_keeps_its_weights_under_decay_and_momentum(rule: str) -> None:
    said = {"frozen": "2", "optimizer.weight_decay": 0.1, "optimizer.momentum": 0.9}
    trainer = with_settings(experiment(rule), said).trainer(data())
    before = parameters(trainer)
    trainer.run()
    same = [torch.equal(a, b) for a, b in zip(before, parameters(trainer), strict=True)]
    assert same == [False, True, False, False, True, False]


def test_momentum_decay_and_dropout_reach_the_optimiser_and_the_rule() -> None:
    said = {"optimizer.momentum": 0.9, "optimizer.weight_decay": 0.01, "dropout.hidden": 0.3}
    trainer = with_settings(experiment("bp"), said).trainer(data())
    group = trainer.optimizers["forward"].param_groups[0]
    assert (group["momentum"], group["weight_decay"]) == (0.9, 0.01)
    assert trainer.rule.settings()["dropout"] == Dropout(hidden=0.3)
    assert not equal(gradients(trainer), gradients(experiment("bp").trainer(data())))


def test_a_rule_that_takes_over_goes_on_from_what_the_other_learned() -> None:
    first = experiment("bp").trainer(data())
    both = replace(experiment("bp"), switch=Switch(rule="dfa", after=1)).trainer(data())
    both.generators["order"].set_state(first.generators["order"].get_state())
    seen: list[list[Tensor]] = []
    first.run(completed=lambda t: seen.append(parameters(t)))
    both.run(completed=lambda t: seen.append(parameters(t)))
    assert equal(seen[0], seen[2])  # the first epoch
    assert not equal(seen[1], seen[3])
    # The last mini-batch is direct feedback alignment's own.
    assert isinstance(both.rule, Switched)
    feedback = both.rule.second.feedback
    assert isinstance(feedback, DirectFeedback)
    wanted = DirectFeedbackAlignment(both.rule.network, feedback, both.loss)
    found = gradients(both)
    wanted.backward(both.data.x, both.data.y)
    assert equal(found, [p.grad for p in wanted.network.parameters() if p.grad is not None])


def test_two_rules_in_turn_resume_where_they_were(tmp_path: Any) -> None:
    made = replace(
        experiment("bp", options={"dropout": Dropout(0.2)}),
        switch=Switch(rule="fa", after=1, options={"dropout": Dropout(0.4)}),
    )
    made = replace(made, plan=replace(made.plan, epochs=3))
    whole, half, again = (made.trainer(data()) for _ in range(3))
    whole.run()
    path = tmp_path / "t.h5"

    class Enough(Exception):
        pass

    def stop(trainer: Trainer) -> None:
        records.write(path, checkpoint_tree(trainer, made.about()))
        if trainer.epochs == 2:
            raise Enough

    with pytest.raises(Enough):
        half.run(completed=stop)
    restore(again, records.read(path), made.about())
    again.run()
    assert equal(parameters(whole), parameters(again))


def test_a_setting_of_both_rules_in_turn_is_given_to_both() -> None:
    base = replace(experiment("bp"), switch=Switch(rule="dfc-ssa", after=1))
    changed = with_settings(base, {"controller.k_p": 1.5, "dropout.hidden": 0.1})
    assert changed.options == {"dropout": Dropout(0.1)}
    assert changed.switch is not None
    assert changed.switch.options == {"controller": PI(k_p=1.5)}


def test_training_starts_from_the_weights_it_is_given_and_from_no_others() -> None:
    g = torch.Generator().manual_seed(9)
    network = Network(SIZES, generator=g)
    model = Model(network, DirectFeedback.transposed(network), PI(), 0.2)
    made = replace(experiment("bp"), start=model)
    assert equal(parameters(made.trainer(data())), [p.detach() for p in network.parameters()])
    other = replace(made, start=model._replace(network=Network(SIZES, generator=g)))
    assert made.about()["start"] != other.about()["start"]
    with pytest.raises(UserError, match="activations are tanh, tanh, linear; those of"):
        replace(made, activation="sigmoid").trainer(data())


REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("dfc", {"controller.kp": 2}, "did you mean controller.k_p"),
    ("dfc", {"k_p": 2}, "did you mean controller.k_p"),
    ("dfc", {"controller.k_d": 1}, "belongs to controller.kind PD or PID"),
    ("dfc", {"controller.k_p": "x"}, "controller.k_p = 'x': it must be a number"),
    ("dfc", {"controller.k_p": -1}, "k_p >= 0"),
    ("dfc", {"controller.k_p": "nan"}, "it must be a number"),
    ("dfc", {"controller.kind": "PX"}, "one of P, I, PI, PD, PID"),
    ("dfc", {"steps": 1.5}, "it must be a whole number"),
    ("dfc", {"nonlinear": "maybe"}, "it must be true or false"),
    ("dfc", {"neuron.leak": 0.1}, "needs neuron.basal, neuron.apical too"),
    ("dfc", {"sleep.sigma": 0.1}, "belongs to feedback that is learned"),
    ("dfc", {"pathway.shared": True}, "say its width"),
    ("dfc", {"pathway.spread": 0}, "spread = 0"),
    ("dfc-ssa", {"steps": 10}, "unknown setting 'steps' of the rule 'dfc-ssa'"),
    ("bp", {"optimizer.betas": 0.9}, "belongs to optimizer.kind adam"),
    ("bp", {"optimizer.momentum": 1}, "a momentum in"),
    ("bp", {"dropout.hidden": 1}, "a probability in"),
    ("bp", {"frozen": "1,x"}, "whole numbers with commas between"),
    ("bp", {"weights.kind": "uniform"}, "need a scale"),
    ("bp", {"weights.kind": "small"}, "glorot, normal, uniform, orthogonal"),
    ("bp", {"weights.scale": -1}, "a finite number >= 0"),
]


@pytest.mark.parametrize(("rule", "said", "message"), REFUSED)
def test_what_is_no_setting_or_no_value_is_refused(
    rule: str, said: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        with_settings(experiment(rule), said)


def test_learned_feedback_has_its_sleep_phase_and_its_optimisers() -> None:
    learned = replace(experiment("dfc"), feedback="learned")
    learned = replace(learned, plan=replace(learned.plan, feedback=FeedbackPlan()))
    said = {"sleep.sigma": 0.05, "feedback.after": 3, "feedback.optimizer.lr": 0.25}
    changed = with_settings(learned, said)
    assert changed.options["sleep"].sigma == 0.05
    assert changed.plan.feedback is not None
    assert (changed.plan.feedback.after, changed.plan.feedback.optimizer.lr) == (3, 0.25)


def test_what_has_an_option_of_its_own_is_a_setting_of_some_rule() -> None:
    found = set().union(*(settings_of(default_experiment(rule)) for rule in RULES))
    pid = with_settings(default_experiment("dfc"), {"controller.kind": "PID"})
    sgd = with_settings(default_experiment("bp"), {"optimizer.kind": "sgd"})
    found |= {*settings_of(pid), *settings_of(sgd)}
    assert {named.setting for named in NAMED.values()} <= found


def test_two_rules_in_turn_need_room_for_both() -> None:
    for switch, message in (
        (Switch(rule="fa", after=2), "1 to 1 of 2 are possible"),
        (Switch(rule="fax", after=1), "unknown learning rule 'fax'"),
    ):
        with pytest.raises(UserError, match=message):
            replace(experiment("bp"), switch=switch)
    with pytest.raises(UserError, match="feedback: width = 0"):
        FeedbackStart(width=0)

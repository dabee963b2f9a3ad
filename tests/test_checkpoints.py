"""An interrupted training goes on as if it had not been, and a wrong checkpoint says why."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from analogdfc import records
from analogdfc.controller import I
from analogdfc.datasets import Dataset
from analogdfc.dynamics.settling import Simulation
from analogdfc.dynamics.single_phase import Filters
from analogdfc.errors import UserError
from analogdfc.learning import (
    Backpropagation,
    DynamicInversion,
    FastControl,
    LearnedTargets,
    Monitor,
    NonDynamicInversion,
    SequentialFeedback,
    SleepPhase,
)
from analogdfc.learning.dfc import FeedbackControl
from analogdfc.learning.targets import DifferenceReconstruction
from analogdfc.network import Network
from analogdfc.onchip.registry import RULES
from analogdfc.records import Record
from analogdfc.states import State
from analogdfc.storage import read_model
from analogdfc.training import (
    SGD,
    Adam,
    Experiment,
    FeedbackPlan,
    LinearDecay,
    NoDecay,
    Plan,
    RateDecay,
    StepDecay,
    Trainer,
    checkpoint_tree,
    restore,
)
from analogdfc.training.divergence import parameters_of

ADAM = Adam(lr=0.01, betas=(0.9, 0.99))
MOMENTUM = SGD(lr=0.5, momentum=0.9)


def experiment(optimizer: Adam | SGD = ADAM, rule: str = "dfc-ssa", **changes: Any) -> Experiment:
    """Feedback learning in all its places, on few samples."""
    controlled = issubclass(RULES[rule].rule, FeedbackControl)
    learned = controlled or issubclass(RULES[rule].rule, LearnedTargets)
    feedback = FeedbackPlan(
        optimizer=replace(optimizer, lr=0.002),
        pretraining=replace(optimizer, lr=0.005),
        pretraining_epochs=2,
        before=1,
        after=1,
    )
    made = Experiment(
        rule=rule,
        dataset="digits-4x4",
        sizes=(16, 6, 10),
        feedback="learned",
        options={"sleep": SleepPhase(steps=10)} if controlled else {},
        plan=Plan(
            epochs=3,
            batch_size=32,
            optimizer=optimizer,
            clip=1.0,
            feedback=feedback if learned else None,
        ),
        samples=80,
    )
    return replace(made, **changes)


@functools.cache
def data(samples: int) -> Dataset:
    return experiment(samples=samples).load()


def new(settings: Experiment) -> Trainer:
    return settings.trainer(data(settings.samples or 80))


@functools.cache
def finished() -> Trainer:
    trainer = new(experiment())
    trainer.run()
    return trainer


def parameters(trainer: Trainer) -> dict[str, Tensor]:
    return {name: p.detach() for name, p in parameters_of(trainer.rule).items()}


class Interruption(Exception):
    """What stops a training in the middle."""


def interrupted(settings: Experiment, path: Path, batches: int) -> Trainer:
    """A training that stops after so many mini-batches; its checkpoint is in a file."""
    trainer, seen = new(settings), 0

    def stop(_: str, __: int) -> None:
        nonlocal seen
        seen += 1
        if seen == batches:
            raise Interruption

    def write(_: Trainer) -> None:
        records.write(path, checkpoint_tree(trainer, settings.about()))

    write(trainer)
    with pytest.raises(Interruption):
        trainer.run(stop, write)
    return trainer


def resumed(settings: Experiment, path: Path) -> Trainer:
    trainer = new(settings)
    restore(trainer, records.read(path), settings.about())
    return trainer


# Mini-batches of the course: 3 a pass; two passes of pre-training, then three a forward epoch.
@pytest.mark.parametrize("batches", [1, 5, 22])
@pytest.mark.parametrize(
    "optimizer", [ADAM, MOMENTUM, SGD(lr=0.5)], ids=["adam", "momentum", "sgd"]
)
def test_resuming_gives_the_weights_of_an_uninterrupted_run_bit_by_bit(
    optimizer: Adam | SGD, batches: int, tmp_path: Path
) -> None:
    settings = experiment(optimizer)
    whole = new(settings)
    whole.run()
    path = tmp_path / "c.h5"
    stopped = interrupted(settings, path, batches)
    rest = resumed(settings, path)
    assert (rest.pretrained, len(rest.history)) == (stopped.pretrained, len(stopped.history))
    rest.run()
    for name, value in parameters(whole).items():
        assert torch.equal(value, parameters(rest)[name]), name
    assert rest.history == whole.history
    again = [checkpoint_tree(t)["training"] for t in (whole, rest)]
    images = [records.write(tmp_path / f"{k}.h5", tree) for k, tree in enumerate(again)]
    assert images[0].read_bytes() == images[1].read_bytes()


SETTLING: dict[str, Any] = {
    "control": I(alpha=0.1),
    "settling": Simulation(dt=0.1, steps=20),
    "max_norm": 1.0,
}
QUICK: dict[str, dict[str, Any]] = {
    "dfc": {"dt": 0.05, "steps": 20},
    "dfc-single-phase": {"dt": 0.05, "steps": 20, "filters": Filters(settling=0.2)},
    **dict.fromkeys(("di", "di-repeat", "di-single-loop"), SETTLING),
    "ndi": {"max_norm": 1.0},
    "pbp": {"max_norm": 1.0},
}


@pytest.mark.parametrize("rule", RULES)
def test_every_registered_rule_resumes_bit_by_bit(rule: str, tmp_path: Path) -> None:
    settings = experiment(rule=rule, sizes=(16, 10, 10))
    options = {**settings.options, **QUICK.get(rule, {})}
    settings = replace(settings, options=options, plan=replace(settings.plan, epochs=2))
    whole = new(settings)
    whole.run()
    half = new(replace(settings, plan=replace(settings.plan, epochs=1)))
    half.run()
    path = records.write(tmp_path / "c.h5", checkpoint_tree(half, settings.about()))
    rest = resumed(settings, path)
    assert_same(all_of(half), all_of(rest))
    rest.run()
    assert len(rest.history) == 2
    assert_same(all_of(whole), all_of(rest))


def assert_same(ours: State, theirs: State) -> None:
    """Equal to the last bit, and not a comparison of nothing."""
    assert ours.keys() == theirs.keys()
    assert ours
    for name, value in ours.items():
        same = torch.equal(torch.as_tensor(value), torch.as_tensor(theirs[name]))
        assert same, name


@pytest.mark.parametrize("rule", ["ndi", "ddtp-linear", "dfc-ss"])
def test_a_rule_goes_on_from_the_state_of_another_without_a_file(rule: str) -> None:
    settings = experiment(rule=rule, options=QUICK.get(rule, {}))
    trained, fresh = new(settings), new(settings)
    trained.run()
    fresh.rule.load_state_dict(trained.rule.state_dict())
    assert_same(trained.rule.state_dict(), fresh.rule.state_dict())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"feedback/matrices.0": torch.zeros(2, 3)}, "'feedback/matrices.0' has the shape 2 x 3"),
        ({"feedback/matrices.0": 1}, "'feedback/matrices.0' must be an array"),
        ({"counters/batches": 0.5}, "'counters/batches' must be an integer"),
        ({"generators/noise": torch.zeros(3)}, "'generators/noise' has the shape 3"),
        ({"trend": 1.0}, "'trend' belongs to nothing"),
        ({"counters/stabilisations": None}, "'counters/stabilisations' is missing"),
    ],
)
def test_a_state_that_does_not_fit_names_its_part(change: dict[str, Any], message: str) -> None:
    rule = new(experiment(rule="ndi", options=QUICK["ndi"])).rule
    state = {k: v for k, v in {**rule.state_dict(), **change}.items() if v is not None}
    with pytest.raises(UserError, match=message):
        rule.load_state_dict(state)


def all_of(trainer: Trainer) -> State:
    """Parameters, and all that the rule keeps beside them."""
    return {**parameters(trainer), **trainer.rule.state_dict()}


def test_feedback_that_was_stabilised_is_taken_up_as_it_is(tmp_path: Path) -> None:
    # Feedback that starts unstable is changed when the rule is made, and again in training; the
    # loops are looked at in every second mini-batch, and there are three in an epoch.
    settings = experiment(
        Adam(lr=0.2),
        rule="ndi",
        options={"alpha": 0.02, "monitor": Monitor(every=2), "max_norm": 1.0},
        pathway=unstable,
    )
    whole = new(settings)
    assert isinstance(whole.rule, NonDynamicInversion)
    made = whole.rule.stabilisations
    whole.run()
    assert whole.rule.stabilisations > made > 0
    path = tmp_path / "c.h5"
    interrupted(settings, path, 4)
    rest = resumed(settings, path)
    assert isinstance(rest.rule, NonDynamicInversion)
    assert rest.rule.counters()["batches"] == 3
    rest.run()
    assert_same(all_of(whole), all_of(rest))
    assert rest.rule.stabilisations == whole.rule.stabilisations


def unstable(network: Network, _: torch.Generator) -> SequentialFeedback:
    """Feedback with the wrong sign."""
    return SequentialFeedback([-w.detach().T for w in list(network.weights)[1:]])


def test_controls_of_several_layers_and_noise_of_targets_are_settings(tmp_path: Path) -> None:
    loops = experiment(
        rule="di",
        sizes=(16, 6, 8, 10),
        options={
            "control": [I(alpha=0.1), FastControl(0.2)],
            "settling": Simulation(steps=20),
        },
    )
    noise = experiment(
        rule="dtp-drl", options={"reconstruction": DifferenceReconstruction(sigma=0.2)}
    )
    other_controls = {**loops.options, "control": [I(alpha=0.1), FastControl(0.3)]}
    for settings, options, message in (
        (loops, other_controls, "dynamics.controls"),
        (loops, {**loops.options, "settling": Simulation(steps=21)}, "settling.steps = 20, not 21"),
        (loops, {**loops.options, "monitor": Monitor(2)}, "dynamics.monitor.every = 1, not 2"),
        (
            noise,
            {"reconstruction": DifferenceReconstruction(sigma=0.3)},
            "dynamics.reconstruction.sigma = 0.2, not 0.3",
        ),
        (noise, {**noise.options, "joint": False}, "dynamics.joint = True, not False"),
    ):
        path = records.write(tmp_path / "c.h5", checkpoint_tree(new(settings), settings.about()))
        told = json.loads(records.read(path).text("settings"), parse_constant=pytest.fail)
        assert told["rule"] == settings.rule
        with pytest.raises(UserError, match=message):
            resumed(replace(settings, options=options), path)
    rule = new(loops).rule
    assert isinstance(rule, DynamicInversion)
    assert rule.max_norm == float("inf")  # which JSON has no number for


def test_the_interrupted_training_is_not_what_an_uninterrupted_one_was_there(
    tmp_path: Path,
) -> None:
    # Without the checkpoint's random states and moments the weights would be others; this is what
    # makes the comparison above mean something.
    settings, whole = experiment(), finished()
    path = tmp_path / "c.h5"
    interrupted(settings, path, 17)
    for forget in ("generators", "optimizers"):
        rest, fresh = resumed(settings, path), new(settings)
        if forget == "generators":
            for name, generator in rest.generators.items():
                generator.set_state(fresh.generators[name].get_state())
        else:
            for optimizer in rest.optimizers.values():
                optimizer.state.clear()
        rest.run()
        assert not torch.equal(parameters(whole)["W1"], parameters(rest)["W1"])


def test_a_finished_training_can_be_made_longer(tmp_path: Path) -> None:
    short, long = (experiment(plan=replace(experiment().plan, epochs=n)) for n in (1, 3))
    trainer = new(short)
    trainer.run()
    path = records.write(tmp_path / "c.h5", checkpoint_tree(trainer, short.about()))
    rest, whole = resumed(long, path), new(long)
    rest.run()
    whole.run()
    assert torch.equal(parameters(whole)["W2"], parameters(rest)["W2"])
    assert [m.epoch for m in rest.history] == [1, 2, 3]


def test_a_checkpoint_holds_the_network_for_other_commands(tmp_path: Path) -> None:
    settings, trainer = experiment(), finished()
    path = records.write(tmp_path / "c.h5", checkpoint_tree(trainer, settings.about()))
    model = read_model(path)
    for name, value in parameters(trainer).items():
        kind, i = name[0], int(name[1:]) - 1
        groups = {"W": model.network.weights, "b": model.network.biases}
        found = {**groups, "Q": model.feedback.matrices}[kind][i]
        assert torch.equal(found, value), name
    assert model.controller == trainer.rule.controller  # type: ignore[attr-defined]


@pytest.mark.parametrize("rule", RULES)
def test_a_record_of_every_rule_has_its_feedback_and_its_controller(
    rule: str, tmp_path: Path
) -> None:
    options = QUICK.get(rule, {})
    settings = experiment(rule=rule, sizes=(16, 10, 10))
    trainer = new(replace(settings, options={**settings.options, **options}))
    path = records.write(tmp_path / "c.h5", checkpoint_tree(trainer, settings.about()))
    model, loop = read_model(path), trainer.rule.control_loop()
    assert model.rule == rule
    assert model.assumed == (loop is None)
    if loop is None:
        own, found = trainer.rule.feedback, model.pathway
    else:
        own, found = loop.feedback, model.feedback
        assert (model.controller, model.tau_v) == (loop.controller, loop.tau_v)
    assert (own is None) == (found is None)
    if own is not None and found is not None:
        assert type(own) is type(found)
        assert_same(dict(own.state_dict()), dict(found.state_dict()))


def test_a_checkpoint_tells_seeds_settings_and_versions(tmp_path: Path) -> None:
    settings = experiment(seed=7)
    path = records.write(tmp_path / "c.h5", checkpoint_tree(new(settings), settings.about()))
    record = records.read(path)
    told = json.loads(record.text("settings"))
    assert (told["seed"], told["rule"], told["plan"]["batch_size"]) == (7, "dfc-ssa", 32)
    assert told["plan"]["optimizer"] == {
        "kind": "Adam",
        "lr": 0.01,
        "weight_decay": 0.0,
        "betas": [0.9, 0.99],
        "eps": 1e-8,
    }
    assert record.text("provenance/torch")


def other_plan(**changes: Any) -> Experiment:
    return experiment(plan=replace(experiment().plan, **changes))


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (experiment(sizes=(16, 7, 10)), r"sizes = \[16, 6, 10\], not \[16, 7, 10\]"),
        (experiment(sizes=(16, 6, 6, 10)), "sizes"),
        (experiment(activation="relu"), "activations"),
        (experiment(rule="bp"), "rule = dfc-ssa, not bp;"),
        (experiment(rule="dfc-ss"), "rule = dfc-ssa, not dfc-ss;"),
        (experiment(loss="l2"), "loss = cross-entropy, not l2"),
        (experiment(feedback="fixed"), "feedback = learned, not fixed"),
        (experiment(seed=1), "seed = 0, not 1"),
        (experiment(samples=81), "samples = 80, not 81"),
        (experiment(MOMENTUM), "plan"),
        (other_plan(batch_size=16), "plan.batch_size = 32, not 16"),
        (other_plan(feedback=None), "plan.feedback"),
        (experiment(options={"sleep": SleepPhase(steps=11)}), "dynamics.sleep.steps = 10, not 11"),
        (experiment(options={"target_stepsize": 0.2}), "dynamics"),
    ],
)
def test_a_checkpoint_of_another_training_is_refused_with_the_difference(
    other: Experiment, message: str, tmp_path: Path
) -> None:
    settings = experiment()
    path = records.write(tmp_path / "c.h5", checkpoint_tree(new(settings), settings.about()))
    with pytest.raises(UserError, match=message) as caught:
        resumed(other, path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_a_checkpoint_of_another_type_is_refused(tmp_path: Path) -> None:
    settings = experiment()
    path = records.write(tmp_path / "c.h5", checkpoint_tree(new(settings), settings.about()))
    trainer = settings.trainer(settings.load(dtype=torch.float32))
    with pytest.raises(UserError, match="dtype = float64, not float32"):
        restore(trainer, records.read(path), settings.about())


def change(*path: str, to: Any) -> Callable[[dict[str, Any]], None]:
    def make(tree: dict[str, Any]) -> None:
        for name in path[:-1]:
            tree = tree[name]
        if to is None:
            del tree[path[-1]]
        else:
            tree[path[-1]] = to

    return make


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (change("format", to="something"), "not a checkpoint of a training"),
        (change("format", to=None), "not a checkpoint of a training"),
        (change("format_version", to=2), "version 2; this program reads version 1"),
        (change("settings", to="{"), "'settings' is damaged"),
        (change("network", "W1", to=np.zeros((6, 15))), "network/W1.* 6 x 15"),
        (change("network", "W1", to=np.zeros((6, 16), np.float32)), "network/W1.*float32"),
        (change("network", "b2", to=np.full(10, np.nan)), "network/b2"),
        (change("network", "W2", to=None), "network/W2"),
        (change("training", "feedback", "matrices.0", to=np.zeros((5, 10))), "matrices.0"),
        (change("training", "pretrained", to="two"), "training/pretrained"),
        (change("training", "epoch", to=5), "history/train_loss"),
        (
            change("training", "optimizers", "forward", "0", "exp_avg", to=np.zeros(3)),
            "forward/0/exp_avg",
        ),
        (
            change("training", "optimizers", "forward", "0", "exp_avg_sq", to=None),
            "exp_avg_sq",
        ),
        (change("training", "optimizers", "forward", "9", to={"a": 1}), "belongs to no parameter"),
        (
            change("training", "generators", "order", to=np.zeros(8, np.uint8)),
            "no state of a random generator",
        ),
        (change("training", "generators", "noise", to="x"), "generators/noise"),
    ],
)
def test_a_damaged_checkpoint_is_an_error_with_its_key(
    damage: Callable[[dict[str, Any]], None], message: str, tmp_path: Path
) -> None:
    settings = experiment()
    tree = checkpoint_tree(finished(), settings.about())
    damage(tree)
    path = records.write(tmp_path / "c.h5", tree)
    with pytest.raises(UserError, match=message):
        resumed(settings, path)


def test_a_checkpoint_is_made_of_numbers_and_text_only(tmp_path: Path) -> None:
    settings, trainer = experiment(), finished()
    record = records.read(
        records.write(tmp_path / "c.h5", checkpoint_tree(trainer, settings.about()))
    )

    def walk(node: Any) -> None:
        if isinstance(node, dict):
            for child in node.values():
                walk(child)
        else:
            values = np.asarray(getattr(node, "values", node))
            assert values.dtype.kind in "biufU"

    assert isinstance(record, Record)
    walk(record.tree)


class Noisy(Backpropagation):
    """A rule with random numbers of its own."""

    generator: torch.Generator

    def backward(self, x: Tensor, y: Tensor) -> Tensor:
        loss = super().backward(x, y)
        for parameter in self.network.parameters():
            assert parameter.grad is not None
            noise = torch.randn(parameter.shape, dtype=torch.float64, generator=self.generator)
            parameter.grad += 0.1 * noise
        return loss


def test_random_numbers_of_the_rule_itself_go_on_too(tmp_path: Path) -> None:
    def start(epochs: int) -> Trainer:
        rule = Noisy(Network([16, 10], generator=torch.Generator().manual_seed(1)))
        rule.generator = torch.Generator().manual_seed(2)
        plan = Plan(epochs=epochs, batch_size=32)
        return Trainer(rule, data(80), plan, generator=torch.Generator().manual_seed(3))

    first, whole, rest = start(1), start(2), start(2)
    first.run()
    whole.run()
    restore(rest, records.read(records.write(tmp_path / "c.h5", checkpoint_tree(first))))
    rest.run()
    assert torch.equal(parameters(whole)["W1"], parameters(rest)["W1"])


def test_a_counter_that_an_older_program_did_not_write_begins_anew(tmp_path: Path) -> None:
    settings = experiment(rule="dfc-ss")
    trainer = new(settings)
    trainer.run()
    tree = checkpoint_tree(trainer, settings.about())
    counters = tree["training"]["counters"]
    assert counters.keys() == {"simulated", "small_steps", "small_noise"}
    del counters["small_steps"], counters["small_noise"]
    rule = resumed(settings, records.write(tmp_path / "c.h5", tree)).rule
    assert rule.counters() == {**trainer.rule.counters(), "small_steps": 0, "small_noise": 0}


@pytest.mark.parametrize(
    ("decay", "older"),
    [
        (NoDecay(), {}),
        (LinearDecay(), {"falling": True, "drops": []}),
        (StepDecay((1,)), {"falling": False, "drops": [1]}),
    ],
)
def test_a_falling_rate_of_an_older_program_is_the_same_under_its_new_name(
    decay: RateDecay, older: dict[str, Any], tmp_path: Path
) -> None:
    settings = experiment(rule="bp", plan=Plan(epochs=2, lr_decay=decay))
    tree = checkpoint_tree(new(settings), settings.about())
    said = json.loads(tree["settings"])
    del said["plan"]["lr_decay"]
    said["plan"] |= older
    tree["settings"] = json.dumps(said)
    path = records.write(tmp_path / "c.h5", tree)
    resumed(settings, path)
    with pytest.raises(UserError, match=r"was trained with plan\.lr_decay\.after = "):
        resumed(experiment(rule="bp", plan=Plan(epochs=2, lr_decay=StepDecay((2,)))), path)


def test_a_sleep_phase_of_an_older_program_goes_on(tmp_path: Path) -> None:
    settings = experiment()
    tree = checkpoint_tree(new(settings), settings.about())
    said = json.loads(tree["settings"])
    assert said["dynamics"]["sleep"].pop("precise") is False
    path = records.write(tmp_path / "c.h5", tree | {"settings": json.dumps(said)})
    resumed(settings, path)
    with pytest.raises(UserError, match=r"was trained with dynamics\.sleep\.precise = False"):
        resumed(experiment(options={"sleep": SleepPhase(steps=10, precise=True)}), path)

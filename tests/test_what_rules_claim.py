"""What the registry says of a rule is what its training by default does, for every rule."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from strategies import generator, normal
from torch import Tensor

from analogdfc.controller import I
from analogdfc.datasets import Dataset
from analogdfc.dynamics.settling import Simulation
from analogdfc.learning.dfc import FeedbackControl
from analogdfc.network import Network
from analogdfc.onchip.registry import RULES
from analogdfc.presets import load_preset, preset_names
from analogdfc.training import Trainer
from analogdfc.training.experiment import default_experiment

SIZES = (5, 5, 5, 5)
# Shorter runs of the same dynamics.
AVERAGED = {"dt": 0.05, "steps": 200}
SETTLING = {"control": I(alpha=0.1), "settling": Simulation(dt=0.1, steps=20)}
SHORT: dict[str, dict[str, Any]] = {
    "dfc": AVERAGED,
    "dfc-single-phase": AVERAGED,
    "di": SETTLING,
    "di-repeat": SETTLING,
    "di-single-loop": SETTLING,
}
LOOPS = [name for name, info in RULES.items() if issubclass(info.rule, FeedbackControl)]


def trainer_of(name: str, feedback: str | None = None) -> Trainer:
    """The training of a rule as it is where nobody says more, on a task that all can learn."""
    experiment = default_experiment(name, feedback=feedback)
    options = {**experiment.options, **SHORT.get(name, {})}
    plan = replace(experiment.plan, epochs=1, batch_size=20)
    x = 0.1 * normal(2, 40, 5)  # so small that tanh reaches all targets
    y = Network(SIZES, generator=generator(1))(x).detach()
    experiment = replace(experiment, sizes=SIZES, loss="l2", options=options, plan=plan)
    return experiment.trainer(Dataset(x, y, x, y))


def changes(trainer: Trainer) -> tuple[dict[str, bool], dict[str, bool], dict[str, bool]]:
    """What one epoch changes: of the network, the feedback's parameters, the feedback's constants.

    Each by name.
    """
    network, feedback, loop = (
        trainer.rule.network,
        trainer.rule.feedback,
        trainer.rule.control_loop(),
    )
    if feedback is None and loop is not None:
        feedback = loop.feedback  # that of a chip

    def values() -> list[dict[str, Tensor]]:
        pathway = {} if feedback is None else dict(feedback.named_parameters())
        rest = {} if feedback is None else feedback.state_dict()
        found = (
            dict(network.named_parameters()),
            pathway,
            {k: v for k, v in rest.items() if k not in pathway},
        )
        return [{k: v.detach().clone() for k, v in part.items()} for part in found]

    before = values()
    trainer.run()
    pairs = zip(before, values(), strict=True)
    own, learned, fixed = (
        {name: not torch.equal(value, new[name]) for name, value in old.items()}
        for old, new in pairs
    )
    return own, learned, fixed


@pytest.mark.parametrize("name", RULES)
def test_what_is_said_to_learn_learns_and_what_is_said_to_be_fixed_stays(name: str) -> None:
    said = RULES[name].feedback
    network, learned, fixed = changes(trainer_of(name))
    for parameter, changed in network.items():
        layer = int(parameter.rpartition(".")[2])
        # Its equation: delta_i = 0 for i < L.
        assert changed == (name != "shallow" or layer == len(SIZES) - 2), parameter
    assert not any(fixed.values())
    if "learned or fixed" in said:
        assert learned
        assert not any(learned.values())
    elif "learned" in said:
        # Its description: "the offsets c_i drop out of the difference: they neither ... nor learn".
        silent = {k for k in learned if name == "ddtp-linear" and k.startswith("offsets")}
        assert learned
        assert {k for k, changed in learned.items() if not changed} == silent
    elif "fixed" in said:
        assert learned
        assert not any(learned.values()), learned
    else:
        # Computed anew from the weights, or none at all.
        assert not learned


@pytest.mark.parametrize("name", LOOPS)
@pytest.mark.parametrize("feedback", ["learned", "fixed"])
def test_feedback_of_a_loop_learns_where_it_is_asked_to_and_only_there(
    name: str, feedback: str
) -> None:
    _, learned, _ = changes(trainer_of(name, feedback))
    assert learned
    assert {*learned.values()} == {feedback == "learned"}


@pytest.mark.parametrize("name", preset_names())
def test_published_settings_learn_the_feedback_that_is_said_to_be_learned(name: str) -> None:
    preset = load_preset(name)
    for rule in preset.rules:
        said = RULES[rule].feedback
        experiment = preset.experiment(rule)
        learned = "learned" in said and "or fixed" not in said
        if "or fixed" in said:
            learned = experiment.feedback == "learned"
        assert (experiment.plan.feedback is not None) == learned, rule

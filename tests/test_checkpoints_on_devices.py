"""A training on devices that is taken up from a checkpoint goes on bit by bit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from analogdfc import records
from analogdfc.arrays.layers import AnalogNetwork, analog
from analogdfc.arrays.optimizer import PulsedUpdate
from analogdfc.datasets import digits
from analogdfc.errors import UserError
from analogdfc.learning import SteadyStateDFC
from analogdfc.losses import SoftmaxCrossEntropy
from analogdfc.network import Network
from analogdfc.training import Adam, Plan, Trainer
from analogdfc.training.checkpoints import checkpoint_tree, restore
from analogdfc.training.optimizers import SGD

PLAN = Plan(epochs=2, batch_size=64, optimizer=SGD(lr=0.1))


def trainer(card: str, mode: str, epochs: int, plan: Plan = PLAN) -> Trainer:
    order = torch.Generator().manual_seed(0)
    network = analog(Network([16, 6, 10], generator=order), card, seed=3)
    grain = 0.02 if card.startswith("pcm") else None  # it is written anew, not pulsed
    rule = SteadyStateDFC(network, loss=SoftmaxCrossEntropy())

    def update(inner: torch.optim.Optimizer) -> PulsedUpdate:
        return PulsedUpdate(network, inner, mode, granularity=grain, period=1.0)

    data = digits(4)
    few = data._replace(x=data.x[:256], y=data.y[:256])
    return Trainer(rule, few, replace(plan, epochs=epochs), generator=order, update=update)


def network_of(training: Trainer) -> AnalogNetwork:
    assert isinstance(training.rule.network, AnalogNetwork)
    return training.rule.network


@pytest.mark.parametrize(
    ("card", "mode", "plan"),
    [
        ("ideal", "ideal", PLAN),
        ("ecram_li_tang2018", "stochastic", PLAN),
        ("pcm_nandakumar2019", "mixed-precision", PLAN),
        (
            "pcm_nandakumar2019",
            "stochastic",
            Plan(epochs=2, batch_size=64, optimizer=Adam(lr=0.01)),
        ),
        ("hfo2_gong2022", "coincidence", PLAN),
    ],
)
def test_a_training_on_devices_goes_on_bit_by_bit(
    card: str, mode: str, plan: Plan, tmp_path: Path
) -> None:
    whole = trainer(card, mode, 2, plan)
    whole.run()
    first = trainer(card, mode, 1, plan)
    first.run()
    record = records.read(records.write(tmp_path / "half.h5", checkpoint_tree(first)))
    rest = trainer(card, mode, 2, plan)
    restore(rest, record)
    rest.run()
    ours, theirs = network_of(rest), network_of(whole)
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(a, b)
    mine, other = ours.hidden_state(), theirs.hidden_state()
    assert set(mine) == set(other)
    for key, value in mine.items():
        known = other[key]
        if isinstance(value, torch.Tensor) and isinstance(known, torch.Tensor):
            assert torch.equal(value, known), key
        else:
            assert value == known, key
    assert [m.train for m in rest.history] == [m.train for m in whole.history]


def test_a_checkpoint_of_other_devices_is_refused(tmp_path: Path) -> None:
    first = trainer("pcm_nandakumar2019", "stochastic", 1)
    first.run()
    record = records.read(records.write(tmp_path / "half.h5", checkpoint_tree(first)))
    with pytest.raises(UserError, match=r"half\.h5"):
        restore(trainer("ideal", "ideal", 2), record)

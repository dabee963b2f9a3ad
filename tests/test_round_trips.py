"""Networks on devices that are saved, copied and pickled go on bit by bit."""

from __future__ import annotations

import copy
import io
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from strategies import generator, network_of, normal
from torch import Tensor

from analogdfc.activations import ACTIVATIONS, Activation, get_activation
from analogdfc.arrays.converters import ADC
from analogdfc.arrays.layers import AnalogNetwork, analog
from analogdfc.arrays.mapping import Cell, Mapping, PerLayer
from analogdfc.arrays.optimizer import PulsedUpdate
from analogdfc.datasets import DATASETS, digits
from analogdfc.devices.ageing import Measured
from analogdfc.errors import UserError
from analogdfc.feedback import DirectFeedback
from analogdfc.learning import DFC, Backpropagation, LearningRule, SleepPhase, make_rule
from analogdfc.network import Network
from analogdfc.onchip.registry import RULES
from analogdfc.states import StateError
from analogdfc.training import Plan, Trainer
from analogdfc.training.experiment import FEEDBACKS
from analogdfc.training.optimizers import SGD
from analogdfc.training.plan import FeedbackPlan

CARDS = sorted(p.stem for p in (Path(__file__).parents[1] / "calibration/devices").glob("*.toml"))
ROOMY = Mapping(scale=PerLayer(headroom=2.0))
X, Y = normal(3, 5, 3), normal(4, 5, 2)

Both = tuple[AnalogNetwork, PulsedUpdate]


def update_of(network: AnalogNetwork) -> PulsedUpdate:
    model = network.arrays[0].model
    inner = torch.optim.Adam(network.parameters(), lr=0.2)
    if isinstance(model.drift, Measured):  # it knows one age for all devices only
        return PulsedUpdate(network, inner, "ideal", period=2.0)
    grain = None if model.pulses else 0.01
    return PulsedUpdate(network, inner, granularity=grain, period=2.0)


def learn(both: Both, steps: int = 1) -> None:
    for _ in range(steps):
        Backpropagation(both[0]).backward(X, Y)
        both[1].step()


def used(card: str, seed: int = 1) -> Both:
    """A network that has learned, and waited, and been read."""
    network = analog(network_of([3, 4, 2], seed), card, seed, mapping=ROOMY)
    both = network, update_of(network)
    learn(both, 3)
    network.wait(100.0)
    network.read()
    return both


def by_state(both: Both) -> Both:
    file = io.BytesIO()
    torch.save([part.state_dict() for part in both], file)
    file.seek(0)
    states = torch.load(file, weights_only=True)
    # Of other weights, drawn from another seed.
    network = analog(network_of([3, 4, 2], 8), both[0].arrays[0].model, 9, mapping=ROOMY)
    found = network, update_of(network)
    found[0].load_state_dict(states[0])
    found[1].load_state_dict(states[1])
    return found


def by_torch(both: Both) -> Both:
    file = io.BytesIO()
    torch.save(both, file)
    file.seek(0)
    found: Both = torch.load(file, weights_only=False)
    return found


def by_pickle(both: Both) -> Both:
    found: Both = pickle.loads(pickle.dumps(both))
    return found


WAYS: dict[str, Callable[[Both], Both]] = {
    "state_dict": by_state,
    "torch.save": by_torch,
    "pickle": by_pickle,
    "deepcopy": copy.deepcopy,
}


def look(network: AnalogNetwork) -> list[Tensor]:
    devices = [t for array in network.arrays for t in array.moments(network.time) if t is not None]
    return [p.detach().clone() for p in network.parameters()] + devices


def same(a: list[Tensor], b: list[Tensor]) -> bool:
    return all(torch.equal(p, q) for p, q in zip(a, b, strict=True))


@pytest.mark.parametrize("card", CARDS)
def test_the_next_read_and_update_of_a_copy_are_bit_identical(card: str) -> None:
    ours = used(card)
    theirs = [way(ours) for way in WAYS.values()]

    def all_alike() -> bool:
        return all(
            network is not ours[0]
            and same(look(ours[0]), look(network))
            and update.counts == ours[1].counts
            for network, update in theirs
        )

    assert all_alike()
    before = look(ours[0])
    for network, _ in (ours, *theirs):
        network.wait(10.0)
        network.read()
    assert all_alike()
    for both in (ours, *theirs):
        learn(both, 2)
    assert all_alike()
    assert not same(before, look(ours[0]))


def test_a_copy_goes_on_by_itself() -> None:
    ours = used("pcm_joshi2020")
    before = look(ours[0])
    for way in WAYS.values():
        learn(way(ours))
    assert same(before, look(ours[0]))


def test_what_was_drawn_and_converted_is_part_of_the_state() -> None:
    source = network_of([3, 4, 2])
    stuck = {1: [Cell(row=0, column=0, g=5e-6)]}
    ours = analog(source, "rram_milo2021", 1, adc=ADC(bits=6, range=4.0), stuck=stuck)
    theirs = analog(source, "rram_milo2021", 2, adc=ADC(bits=6, range=4.0))
    theirs.load_state_dict(ours.state_dict())
    assert torch.equal(ours(X), theirs(X))
    for network in (ours, theirs):
        network.read()
    assert torch.equal(ours(X), theirs(X))
    assert ours.time == theirs.time


def test_a_state_without_devices_and_one_of_others_are_refused() -> None:
    plain = network_of([3, 4, 2])
    network = analog(plain, "rram_milo2021", 1)
    kept = look(network)
    with pytest.raises(UserError, match=r"holds no devices.*analog\(network, card, seed\)"):
        network.load_state_dict(plain.state_dict())
    with pytest.raises(StateError, match="'model'"):
        network.load_state_dict(analog(plain, "pcm_joshi2020", 1).state_dict())
    with pytest.raises(StateError, match="'mapping'"):
        network.load_state_dict(analog(plain, "rram_milo2021", 1, mapping=ROOMY).state_dict())
    damaged = network.state_dict()
    del damaged["_extra_state"]["drawn/1/scale"]
    with pytest.raises(StateError, match="'scale' is missing"):
        network.load_state_dict(damaged)
    assert same(kept, look(network))


def test_a_plain_network_takes_the_weights_that_were_read() -> None:
    network = analog(network_of([3, 4, 2]), "rram_milo2021", 1)
    plain = Network([3, 4, 2])
    plain.load_state_dict(network.state_dict())
    assert torch.equal(plain(X), network(X))


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_a_network_of_any_activation_is_pickled(name: str) -> None:
    network = network_of([3, 4, 2], activation=name)
    found = pickle.loads(pickle.dumps(network))
    assert torch.equal(found(X), network(X))
    assert found.activations[0] is get_activation(name)
    assert copy.deepcopy(network).activations[0] is get_activation(name)


def test_an_activation_of_ones_own_is_copied_as_it_is() -> None:
    own = Activation("own", torch.sin, torch.cos, lambda r: (1 - r * r).sqrt())
    assert copy.deepcopy(own) == own
    assert pickle.loads(pickle.dumps(own._replace(slope=torch.cos))) == own._replace(
        slope=torch.cos
    )


@pytest.mark.parametrize(
    "table", [DATASETS, FEEDBACKS, ACTIVATIONS], ids=["data sets", "feedbacks", "activations"]
)
def test_what_is_found_by_its_name_is_pickled(table: dict[str, object]) -> None:
    for value in table.values():
        assert pickle.loads(pickle.dumps(value)) == value


def trainer() -> Trainer:
    network = network_of([16, 5, 10])
    rule = DFC(
        network,
        DirectFeedback.random(network, generator(1)),
        steps=10,
        sleep=SleepPhase(steps=10),
        generator=generator(2),
    )
    data = digits(4)
    few = data._replace(
        x=data.x[:64], y=data.y[:64], x_test=data.x_test[:9], y_test=data.y_test[:9]
    )
    feedback = FeedbackPlan(optimizer=SGD(lr=1e-3), pretraining_epochs=1)
    plan = Plan(epochs=2, batch_size=32, optimizer=SGD(lr=0.1), feedback=feedback)
    return Trainer(rule, few, plan, generator=generator(3))


@pytest.mark.parametrize("way", ["deepcopy", "pickle"])
def test_a_copy_of_a_training_learns_by_itself_what_the_first_learns(way: str) -> None:
    ours = trainer()
    theirs = copy.deepcopy(ours) if way == "deepcopy" else pickle.loads(pickle.dumps(ours))
    untouched = [p.detach().clone() for p in ours.rule.network.parameters()]
    theirs.run()
    assert same(untouched, [p.detach() for p in ours.rule.network.parameters()])
    ours.run()
    assert ours.history == theirs.history


@pytest.mark.parametrize("way", [copy.deepcopy, lambda rule: pickle.loads(pickle.dumps(rule))])
@pytest.mark.parametrize("name", sorted(RULES))
def test_a_copy_of_a_rule_makes_the_update_that_the_rule_makes(
    name: str, way: Callable[[LearningRule], LearningRule]
) -> None:
    ours = make_rule(name, network_of([3, 3, 3]), generator=generator(0))
    x, y = normal(5, 4, 3), normal(6, 4, 3)
    ours.backward(x, y)
    theirs = way(ours)
    for rule in (ours, theirs):
        rule.backward(x, y)
    for a, b in zip(ours.network.parameters(), theirs.network.parameters(), strict=True):
        if a.grad is None or b.grad is None:
            assert a.grad is b.grad
        else:
            assert torch.equal(a.grad, b.grad)

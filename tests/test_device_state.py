"""A network on devices goes on from its state as if nobody had looked, bit by bit."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from analogdfc import records
from analogdfc.analysis.noise import ReadingNoise
from analogdfc.arrays.layers import AnalogNetwork, analog
from analogdfc.arrays.mapping import Balanced, Mapping, PerLayer, Split
from analogdfc.arrays.optimizer import PulsedUpdate
from analogdfc.cards.technology import Card
from analogdfc.circuit.chip import Chip
from analogdfc.circuit.design import Design
from analogdfc.datasets import digits
from analogdfc.errors import UserError
from analogdfc.feedback import DirectFeedback
from analogdfc.learning import Backpropagation
from analogdfc.network import Network
from analogdfc.onchip.rule import HardwareDFC
from analogdfc.storage import read_model
from analogdfc.training import Plan, Trainer, checkpoint_tree, restore


def made(card: str, granularity: float | None) -> tuple[Backpropagation, PulsedUpdate]:
    network = Network([5, 4, 3], generator=torch.Generator().manual_seed(1))
    scheme = Balanced() if granularity is None else Split()
    devices = analog(network, card, 2, mapping=Mapping(scheme, PerLayer(4.0)))
    inner = torch.optim.Adam(devices.parameters(), lr=0.02)
    mode = "stochastic" if granularity is None else "mixed-precision"
    optimizer = PulsedUpdate(devices, inner, mode, granularity=granularity, period=10.0)
    return Backpropagation(devices), optimizer


def steps(rule: Backpropagation, optimizer: PulsedUpdate, first: int, last: int) -> None:
    for k in range(first, last):
        source = torch.Generator().manual_seed(k)
        x = torch.randn(8, 5, dtype=torch.float64, generator=source)
        rule.backward(x, torch.tanh(x[:, :3]))
        optimizer.step()


@pytest.mark.parametrize(
    ("card", "granularity"),
    [("pcm_nandakumar2019", 1 / 64), ("ecram_mo_kim2019", None), ("ideal", 1 / 64)],
)
def test_devices_go_on_bit_by_bit(card: str, granularity: float | None) -> None:
    whole, optimizer = made(card, granularity)
    steps(whole, optimizer, 0, 8)
    half, other = made(card, granularity)
    steps(half, other, 0, 4)
    rest, further = made(card, granularity)
    rest.network.load_state_dict(half.network.state_dict())
    rest.load_state_dict(half.state_dict())
    further.load_state_dict(other.state_dict())
    further.take_up(other.kept())
    steps(rest, further, 4, 8)
    ours = {**whole.state_dict(), **dict(whole.network.named_parameters())}
    theirs = {**rest.state_dict(), **dict(rest.network.named_parameters())}
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        assert torch.equal(torch.as_tensor(value), torch.as_tensor(theirs[name])), name
    assert optimizer.counts == further.counts
    assert any(c.up + c.down + c.writes for c in optimizer.counts)


def test_without_the_state_of_the_devices_it_would_be_another_training() -> None:
    whole, optimizer = made("pcm_nandakumar2019", 1 / 64)
    steps(whole, optimizer, 0, 8)
    half, other = made("pcm_nandakumar2019", 1 / 64)
    steps(half, other, 0, 4)
    rest, further = made("pcm_nandakumar2019", 1 / 64)
    with torch.no_grad():
        for weight, trained in zip(
            rest.network.parameters(), half.network.parameters(), strict=True
        ):
            weight.copy_(trained)
    further.load_state_dict(other.state_dict())
    further.take_up(other.kept())
    steps(rest, further, 4, 8)
    assert not torch.equal(whole.network.weights[0], rest.network.weights[0])


def test_devices_of_another_array_are_refused() -> None:
    rule, _ = made("pcm_nandakumar2019", 1 / 64)
    assert isinstance(rule.network, AnalogNetwork)
    state = rule.network.hidden_state()
    state["arrays/1/g"] = torch.zeros(3)
    with pytest.raises(UserError, match="'arrays/1/g' has the shape 3"):
        rule.network.load_hidden_state(state)


def test_training_through_a_chip_goes_on_bit_by_bit(tmp_path: Path) -> None:
    def start(epochs: int) -> Trainer:
        network = Network([16, 6, 10], generator=torch.Generator().manual_seed(1))
        feedback = DirectFeedback.transposed(network)
        design = Design.of(network, feedback, Card.load("discrete_100mhz"))
        noise = ReadingNoise(settle=50e-6, free=10e-6)
        rule = HardwareDFC(network, Chip.of(design, 1), limits=(5.0, 5.0), noise=noise)
        data = digits(4)
        few = data._replace(x=data.x[:64], y=data.y[:64])
        plan = Plan(epochs=epochs, batch_size=32)
        return Trainer(rule, few, plan, generator=torch.Generator().manual_seed(3))

    whole, half, rest = start(2), start(1), start(2)
    whole.run()
    half.run()
    path = records.write(tmp_path / "c.h5", checkpoint_tree(half))
    restore(rest, records.read(path))
    rest.run()
    for a, b in zip(whole.rule.network.parameters(), rest.rule.network.parameters(), strict=True):
        assert torch.equal(a, b)
    assert torch.equal(whole.generators["noise"].get_state(), rest.generators["noise"].get_state())
    assert not read_model(path).assumed

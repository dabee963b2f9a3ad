"""Training through a chip is a training like any other, with the chip's answers and its devices."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import analogdfc
from analogdfc import records
from analogdfc.arrays.layers import AnalogNetwork
from analogdfc.arrays.optimizer import PulsedUpdate
from analogdfc.cards.technology import Card
from analogdfc.circuit.devices import Devices
from analogdfc.datasets import Samples, digits
from analogdfc.errors import UserError
from analogdfc.feedback import DirectFeedback
from analogdfc.learning.base import name_of
from analogdfc.losses import SoftmaxCrossEntropy
from analogdfc.network import Network
from analogdfc.onchip.rule import HardwareDFC
from analogdfc.onchip.substrate import ChipSubstrate, Writing
from analogdfc.training import Adam, Experiment, Plan, Trainer, checkpoint_tree, evaluate, restore

PCM, ECRAM = "pcm_nandakumar2019", "ecram_mo_kim2019"


def experiment(substrate: ChipSubstrate, **changes: Any) -> Experiment:
    plan = Plan(epochs=2, batch_size=32, optimizer=Adam(lr=0.02))
    made = Experiment(
        rule="dfc-chip",
        dataset="digits-4x4",
        sizes=(16, 6, 10),
        plan=plan,
        samples=64,
        substrate=substrate,
    )
    return replace(made, **changes)


def new(settings: Experiment) -> Trainer:
    return settings.trainer(settings.load())


def on(device: str, age: float = 0.0, **writing: Any) -> ChipSubstrate:
    return ChipSubstrate(devices=Devices.of(device, age), writing=Writing(**writing))


def test_the_public_face_finds_the_rule_without_further_imports() -> None:
    assert analogdfc.get_rule("dfc-chip").rule is HardwareDFC


def test_the_figures_of_an_epoch_are_those_of_the_chip() -> None:
    trainer = new(experiment(ChipSubstrate()))
    trainer.run()
    data, loss = digits(4), SoftmaxCrossEntropy()
    held_out = Samples(data.x_test, data.y_test)
    chip = evaluate(trainer.rule.outputs, loss, held_out, classes=True)
    ideal = evaluate(trainer.rule.network, loss, held_out, classes=True)
    assert trainer.history[-1].test == chip
    assert abs(chip.loss / ideal.loss - 1) > 1e-4


def test_a_network_on_devices_learns_with_pulses_and_one_on_paper_without() -> None:
    plain, pulsed = new(experiment(ChipSubstrate())), new(experiment(on(ECRAM)))
    assert not isinstance(plain.rule.network, AnalogNetwork)
    assert isinstance(pulsed.rule.network, AnalogNetwork)
    update = pulsed.optimizers["forward"]
    assert isinstance(update, PulsedUpdate)
    pulsed.run()
    assert sum(c.up + c.down for c in update.counts) > 0


def test_devices_have_their_age_when_training_begins() -> None:
    young, old = new(experiment(on(PCM))).rule, new(experiment(on(PCM, 3600.0))).rule
    assert isinstance(old, HardwareDFC)
    assert isinstance(old.network, AnalogNetwork)
    assert old.network.time == 3600
    # Drift takes some percent of each conductance, read noise far less.
    norms = [float(rule.network.weights[0].detach().norm()) for rule in (old, young)]
    shrunk = norms[0] / norms[1]
    assert 0.7 < shrunk < 0.95
    feedback = old.static.chip.design.devices
    assert feedback is not None
    assert feedback.age == 3600


def test_weights_have_room_to_grow_and_one_that_has_not_is_named() -> None:
    network = Network((5, 4, 3), generator=torch.Generator().manual_seed(0))
    largest = [float(w.detach().abs().max()) for w in network.weights]
    chip = ChipSubstrate(writing=Writing(headroom=3.0)).chip(network)
    assert chip.design.limits == tuple(3.0 * each for each in largest)
    rule = HardwareDFC(network, ChipSubstrate(writing=Writing(headroom=60.0)).chip(network))
    with torch.no_grad():
        network.weights[1].mul_(61)
    with pytest.raises(UserError, match="layer 2: a weight of magnitude"):
        rule.refold()


@pytest.mark.parametrize(
    "substrate",
    [
        ChipSubstrate(),
        ChipSubstrate(card=Card.load("discrete_100mhz").ideal(), tau_v=0.3),
        on(ECRAM),
        on(ECRAM, mode="coincidence", headroom=4.0),
        on(PCM, 60.0),
        on("rram_wan2022", granularity=0.05),
    ],
    ids=["card", "ideal", "pulses", "coincidence", "writes", "verified"],
)
def test_a_training_through_a_chip_goes_on_bit_by_bit(
    substrate: ChipSubstrate, tmp_path: Path
) -> None:
    settings = experiment(substrate)
    whole = new(settings)
    whole.run()
    half = new(replace(settings, plan=replace(settings.plan, epochs=1)))
    half.run()
    path = records.write(tmp_path / "c.h5", checkpoint_tree(half, settings.about()))
    rest = new(settings)
    restore(rest, records.read(path), settings.about())
    rest.run()
    assert repr(rest.history) == repr(whole.history)
    ours, theirs = everything(rest), everything(whole)
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        assert torch.equal(torch.as_tensor(value), torch.as_tensor(theirs[name])), name


def everything(trainer: Trainer) -> Mapping[str, Tensor | int | float]:
    network, update = trainer.rule.network, trainer.optimizers["forward"]
    found: dict[str, Tensor | int | float] = dict(trainer.rule.state_dict())
    found |= {f"parameter {k}": p.detach() for k, p in network.named_parameters()}
    if isinstance(update, PulsedUpdate):
        found |= update.kept()
    if isinstance(network, AnalogNetwork):
        for i, array in enumerate(network.arrays):
            attempts = array.devices.attempts
            found |= {} if attempts is None else {f"attempts {i}": attempts}
    return found


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (on(PCM, mode="deterministic"), "writes.forward.mode = mixed-precision, not deterministic"),
        (on(PCM, granularity=0.1), "writes.forward.granularity = 0.015625, not 0.1"),
        (on(PCM, headroom=5.0), "dynamics.limits"),
        (replace(on(PCM), tau_v=0.3), "dynamics.tau_v = 0.2, not 0.3"),
        (
            replace(on(PCM), card=Card.load("discrete_100mhz").replace("amplifier", gain=3e3)),
            "dynamics.card.sha256",
        ),
        (
            replace(on(PCM), devices=Devices.of(PCM).without("drift")),
            "dynamics.devices.sha256",
        ),
    ],
)
def test_a_checkpoint_of_another_chip_is_refused_with_the_difference(
    other: ChipSubstrate, message: str, tmp_path: Path
) -> None:
    settings = experiment(on(PCM))
    path = records.write(tmp_path / "c.h5", checkpoint_tree(new(settings), settings.about()))
    changed = experiment(other)
    with pytest.raises(UserError, match=message) as caught:
        restore(new(changed), records.read(path), changed.about())
    assert str(caught.value).startswith(str(path))


def test_a_chip_is_read_from_a_record_as_it_was_written(tmp_path: Path) -> None:
    substrate = on(PCM, 60.0)
    path = records.write(tmp_path / "r.h5", experiment(substrate, seed=7).tree())
    record = records.read(path)
    assert record.integer("seed") == 7
    found = ChipSubstrate.read(record)
    assert found == substrate
    network = Network((5, 4, 3), generator=torch.Generator().manual_seed(0))
    feedback = DirectFeedback.transposed(network)
    ours, theirs = found.chip(network, 7, feedback), substrate.chip(network, 7)
    for a, b in zip(ours.circuit.crossbars, theirs.circuit.crossbars, strict=True):
        assert torch.equal(a.plus, b.plus)
    assert ChipSubstrate.read(records.read(records.write(tmp_path / "n.h5", {"x": 1}))) is None


def test_the_default_chip_is_nominal_and_named_in_the_settings() -> None:
    rule = HardwareDFC(Network((5, 4, 3), generator=torch.Generator().manual_seed(0)))
    assert name_of(rule) == "dfc-chip"
    told = rule.settings()
    assert told["chip_seed"] is None
    assert told["devices"] is None
    assert told["card"].name == Card.load("discrete_100mhz").card.name

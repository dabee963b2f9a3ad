"""A training can go through any realisation of one chip: same samples, same weights, one record."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from torch import Tensor

from analogdfc import records
from analogdfc.arrays.layers import analog
from analogdfc.arrays.optimizer import PulsedUpdate
from analogdfc.circuit.behavioural import Behavioural
from analogdfc.circuit.chip import Chip
from analogdfc.circuit.conductances import conductances
from analogdfc.circuit.static import StaticChip
from analogdfc.cli import cli
from analogdfc.datasets import Dataset
from analogdfc.errors import UserError
from analogdfc.jobs import Spool
from analogdfc.measures import angle
from analogdfc.network import Network
from analogdfc.onchip.beside import Beside, beside_figure
from analogdfc.onchip.rule import HardwareDFC
from analogdfc.onchip.steps import Steps
from analogdfc.onchip.substrate import ChipSubstrate
from analogdfc.onchip.through import Behaviour, Equations, Goal, Reading, Way
from analogdfc.training import SGD, Experiment, Plan, Trainer, checkpoint_tree, restore

SIZES = (3, 4, 2)
SHORT = 1.0


def network(seed: int = 0) -> Network:
    return Network(SIZES, generator=torch.Generator().manual_seed(seed))


def batch(samples: int = 1) -> tuple[Tensor, Tensor]:
    source = torch.Generator().manual_seed(5)
    x = torch.rand(samples, 3, generator=source, dtype=torch.float64)
    return x, torch.rand(samples, 2, generator=source, dtype=torch.float64)


def rule_through(way: Way | None, weights: Network | None = None) -> HardwareDFC:
    placed = ChipSubstrate(through=way).place(weights or network(), seed=1)
    return HardwareDFC(placed.network, **placed.options)


def gradient(rule: HardwareDFC) -> Tensor:
    rule.backward(*batch(2))
    found = [p.grad.flatten() for p in rule.network.parameters() if p.grad is not None]
    return torch.cat(found)


def test_the_model_in_time_learns_what_the_chip_at_rest_does_and_the_equations_do_not() -> None:
    rest, model, ideal = (gradient(rule_through(w)) for w in (None, Behaviour(), Equations()))
    assert angle(rest, model) < 1.0
    assert angle(rest, ideal) > 2 * angle(rest, model)


def test_a_reading_follows_the_weights_of_the_step_on_the_same_chip() -> None:
    rule, other = rule_through(Behaviour(SHORT)), network(1)
    with torch.no_grad():
        for mine, theirs in zip(rule.network.parameters(), other.parameters(), strict=True):
            mine.copy_(theirs)
    chip = rule.static.chip
    weights, biases = ([t.detach() for t in ts] for ts in (other.weights, other.biases))
    moved = replace(chip.design, weights=tuple(weights), biases=tuple(biases))
    found = rule.refold().programmed()
    for i, bar in enumerate(b for b in found.circuit.crossbars if b.name.startswith("W")):
        drawn = conductances(moved, i + 1, "forward", chip.seed)
        torch.testing.assert_close(bar.plus, drawn.plus, rtol=1e-12, atol=0)
        torch.testing.assert_close(bar.minus, drawn.minus, rtol=1e-12, atol=0)
    assert found.circuit.banks == chip.circuit.banks


def test_a_target_made_of_the_measured_output_is_that_which_is_given() -> None:
    chip, (x, y) = rule_through(None).static.chip, batch(2)
    model = Behavioural([chip])
    (asked,) = model.average(x, lambda r: 0.1 * (y - r), dt=0.02, steps=20)
    (given,) = model.average(x, 0.1 * (y - model.outputs(x)[0]), dt=0.02, steps=20)
    assert all(map(torch.equal, asked.weights, given.weights))
    with pytest.raises(UserError, match="target steps of shape"):
        model.average(x, lambda r: r[..., :1], dt=0.02, steps=20)


def settings(way: Way | None, epochs: int = 2) -> Experiment:
    return Experiment(
        rule="dfc-chip",
        dataset="yin-yang",
        sizes=(4, 3, 3),
        plan=Plan(epochs=epochs, batch_size=1, optimizer=SGD(lr=0.1)),
        samples=3,
        substrate=ChipSubstrate(through=way),
    )


def new(way: Way | None, epochs: int = 2) -> Trainer:
    made = settings(way, epochs)
    data = made.load()
    few = data.x_test[:2], data.y_test[:2]
    trainer = made.trainer(Dataset(data.x, data.y, *few))
    assert isinstance(trainer.rule, HardwareDFC)
    trainer.rule.steps = Steps(trainer.rule.network, 6, (2,) if way is not None else ())
    return trainer


def steps_of(trainer: Trainer) -> Steps:
    assert isinstance(trainer.rule, HardwareDFC)
    assert trainer.rule.steps is not None
    return trainer.rule.steps


def same(a: Trainer, b: Trainer) -> bool:
    pairs = zip(a.rule.network.parameters(), b.rule.network.parameters(), strict=True)
    parts = zip(steps_of(a).parts.values(), steps_of(b).parts.values(), strict=True)
    return all(torch.equal(p, q) for p, q in pairs) and all(
        torch.equal(torch.stack(p), torch.stack(q)) for p, q in parts
    )


def test_a_training_cut_off_within_an_epoch_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    whole = new(Behaviour(SHORT))
    whole.run()
    with Spool(tmp_path / "runs") as spool:
        cut = new(Behaviour(SHORT, spool=spool))

        def stop(phase: str, samples: int) -> None:
            if len(steps_of(cut)) == 5:
                raise KeyboardInterrupt

        def completed(trainer: Trainer) -> None:
            tree = checkpoint_tree(trainer) | steps_of(trainer).tree()
            records.write(tmp_path / "t.h5", tree)
            spool.clear()

        with pytest.raises(KeyboardInterrupt):
            cut.run(stop, completed)
        assert len(spool) == 2
        rest = new(Counting(SHORT, spool=spool))
        record = records.read(tmp_path / "t.h5")
        restore(rest, record)
        steps_of(rest).take_up(record)
        presented.clear()
        rest.run()
    assert len(presented) == 1
    assert same(rest, whole)
    assert rest.history[-1] == whole.history[-1]


presented: list[Tensor] = []


class Counting(Behaviour):
    """Counts what isn't taken from the spool."""

    def present(self, chip: Chip, x: Tensor, goal: Goal) -> Reading:
        presented.append(x)
        return super().present(chip, x, goal)


def test_steps_say_what_moved_the_weights_and_hold_the_waveforms_asked_for() -> None:
    trainer = new(Behaviour(SHORT), epochs=1)
    trainer.run()
    steps, moved = steps_of(trainer), trainer.rule.network.weights[0].detach()
    parts = steps.parts
    torch.testing.assert_close(parts["W1"][2] + 0.1 * parts["dW1"][2], moved, rtol=0, atol=1e-15)
    torch.testing.assert_close(
        parts["W1"][0] + 0.1 * parts["dW1"][0], parts["W1"][1], rtol=0, atol=1e-15
    )
    assert [*steps.runs] == [2]
    shown = torch.from_numpy(steps.runs[2]["dW1"].values[0])
    torch.testing.assert_close(shown, parts["dW1"][1], rtol=1e-3, atol=1e-6)


def test_all_realisations_see_the_same_samples_in_the_same_order() -> None:
    seen = []
    for way in (None, Equations(SHORT)):
        trainer, inputs = new(way, epochs=1), list[Tensor]()

        def watch(phase: str, count: int, t: Trainer = trainer, x: list[Tensor] = inputs) -> None:
            x.append(t.inputs)

        trainer.run(watch)
        seen.append(torch.cat(inputs))
    assert torch.equal(*seen)


def test_what_cannot_be_asked_for_is_refused() -> None:
    with pytest.raises(UserError, match="duration = 0"):
        Behaviour(0.0)
    with pytest.raises(UserError, match="counted from 1"):
        Steps(network(), 1, (0,))
    with pytest.raises(UserError, match="would need"):
        Steps(network(), 10**12)
    rule = rule_through(None)
    rule.steps = Steps(rule.network, 1, (1,))
    with pytest.raises(UserError, match="a chip at rest has no waveforms"):
        rule.backward(*batch())


def test_the_static_chip_is_read_as_it_was() -> None:
    rule, (x, y) = rule_through(None), batch(2)
    loss = rule.backward(x, y)
    state = (
        StaticChip.of(rule.static.chip)
        .refolded(list(rule.network.weights), list(rule.network.biases))
        .solve(x, lambda seen: 0.1 * rule.loss.error(seen, y), tolerance=1e-6)
    )
    for i, (d, r) in enumerate(zip(state.differences, state.presynaptic, strict=True)):
        grad = rule.network.weights[i].grad
        assert grad is not None
        assert torch.equal(grad, (d / -2).T @ r)
    assert float(loss) == float(rule.loss.value(state.free.r[-1], y).mean())


def record_of(trainer: Trainer, path: Path) -> records.Record:
    tree = checkpoint_tree(trainer, {"dataset": "yin-yang", "seed": 0}) | steps_of(trainer).tree()
    return records.read(records.write(path, tree))


def test_two_trainings_lie_beside_each_other_step_by_step(tmp_path: Path) -> None:
    trainers = [new(way, epochs=1) for way in (None, Equations(SHORT))]
    for trainer in trainers:
        trainer.run()
    pair = [record_of(t, tmp_path / f"{k}.h5") for k, t in enumerate(trainers)]
    found = Beside.of(*pair)
    assert found.names == ("static", "ideal")
    a, b = (torch.cat([t.flatten() for t in t.rule.network.parameters()]) for t in trainers)
    parts = steps_of(trainers[0]).parts
    first = torch.cat([parts[n][0].flatten() for n in ("W1", "W2", "b1", "b2")])
    last = torch.cat(
        [t.flatten() for t in (*trainers[0].rule.network.weights, *trainers[0].rule.network.biases)]
    )
    apart = float(((a - b).norm() / (last - first).norm()).detach())
    assert found.numbers()["weight_change_error_percent"] == pytest.approx(100 * apart)
    updates = [
        torch.cat([steps_of(t).parts[n][1].flatten() for n in ("dW1", "dW2", "db1", "db2")])
        for t in trainers
    ]
    assert found.angle[1] == pytest.approx(angle(*updates), rel=1e-9)
    assert found.pulses is None
    assert len(beside_figure(found).axes) == 3
    itself = Beside.of(pair[0], pair[0])
    assert itself.numbers()["update_angle_largest_degree"] == 0
    other = new(None, epochs=2)
    other.run()
    with pytest.raises(UserError, match="has 6 steps"):
        Beside.of(pair[0], record_of(other, tmp_path / "other.h5"))
    with pytest.raises(UserError, match="holds no steps"):
        Beside.of(pair[0], records.read(records.write(tmp_path / "n.h5", {"x": 1})))


@pytest.mark.parametrize("aligned", [True, False])
def test_what_a_device_gets_does_not_depend_on_which_others_are_pulsed(aligned: bool) -> None:
    def after(first: float) -> Tensor:
        devices = analog(network(), "ecram_mo_kim2019", 1)
        inner = torch.optim.SGD(devices.parameters(), lr=1.0)
        update = PulsedUpdate(devices, inner, "deterministic", aligned=aligned)
        for p in devices.parameters():
            p.grad = torch.full_like(p, 0.02)
        grad = devices.weights[0].grad
        assert grad is not None
        grad[0, 0] = first
        update.step()
        found = [array.devices.g.flatten(2)[..., 1:] for array in devices.arrays]
        return torch.cat([g.flatten() for g in found])

    assert torch.equal(after(0.0), after(0.05)) == aligned


LOOP = [
    *("train", "--through", "circuit", "--dataset", "yin-yang", "--sizes", "4-2-3"),
    *("--batch-size", "1", "--samples", "3", "--epochs", "1", "--duration", "2", "--lr", "0.5"),
    *("--optimizer", "sgd", "--devices", "ecram_mo_kim2019", "--waves", "2"),
]


def test_a_training_killed_within_a_sample_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    whole, cut = tmp_path / "whole.h5", tmp_path / "cut.h5"
    assert CliRunner().invoke(cli, [*LOOP, "-o", str(whole)]).exit_code == 0
    runs = tmp_path / "cut.runs"
    code = "from analogdfc.cli import main; main()"
    command = [sys.executable, "-c", code, *LOOP, "-o", str(cut)]
    with subprocess.Popen(command, env={**os.environ, "OMP_NUM_THREADS": "1"}) as process:
        try:
            while process.poll() is None and len(list(runs.glob("*.h5"))) < 2:
                time.sleep(0.005)
        finally:
            process.kill()
    assert process.returncode == -signal.SIGKILL
    assert len(list(runs.glob("*.h5"))) == 2
    assert records.read(cut).integer("training/epoch") == 0
    result = CliRunner().invoke(cli, [*LOOP, "-o", str(cut), "--resume"])
    assert result.exit_code == 0, result.output
    assert not runs.exists()
    a, b = (records.read(path) for path in (whole, cut))
    for name in a.group("steps"):
        assert np.array_equal(a.array(f"steps/{name}"), b.array(f"steps/{name}"))
    assert np.array_equal(a.array("waves/step 2/v1"), b.array("waves/step 2/v1"))
    for name in ("W1", "b1", "W2", "b2"):
        assert np.array_equal(a.array(f"network/{name}"), b.array(f"network/{name}"))
    assert a.integer("results/changes_of_devices") == b.integer("results/changes_of_devices") > 0

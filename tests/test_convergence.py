"""Convergence of training through the hardware: curves, targets met or not, and what they cost."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from analogdfc import records
from analogdfc.cards.technology import Card
from analogdfc.datasets import Dataset, digits
from analogdfc.errors import UserError
from analogdfc.losses import SquaredError
from analogdfc.network import Network
from analogdfc.onchip.convergence import (
    RULES,
    Convergence,
    Course,
    ReadingNoise,
    Run,
    converge,
    on_chip,
    on_devices,
)
from analogdfc.onchip.figure import convergence_figure
from analogdfc.records import Quantity
from analogdfc.training.optimizers import SGD, Adam

CARD = Card.load("discrete_100mhz")
SIZES = (16, 8, 10)
COUNT, EVERY, EPOCHS = 320, 64, 4
FAST = Course(optimizer=Adam(lr=0.05))


def data_of(count: int = COUNT, held_out: int = 200) -> Dataset:
    data = digits()
    return Dataset(data.x[:count], data.y[:count], data.x_test[:held_out], data.y_test[:held_out])


def trained(device: str = "ideal", **changes: Any) -> Convergence:
    given: dict[str, Any] = {
        "target": 0.6,
        "epochs": EPOCHS,
        "seeds": (0, 1),
        "every": EVERY,
        "course": FAST,
        **changes,
    }
    card = given.pop("card", CARD)
    return converge(given.pop("data", data_of()), SIZES, card, device, **given)


@pytest.fixture(scope="module")
def found() -> Convergence:
    return trained()


def test_training_through_the_hardware_reaches_the_target(found: Convergence) -> None:
    assert found.rules == RULES
    for rule in RULES:
        for run in found.of(rule):
            assert run.reached == run.samples[-1] < found.budget
            assert run.accuracy[0] < 0.3 < 0.6 <= run.accuracy[-1]
            assert all(accuracy < 0.6 for accuracy in run.accuracy[:-1])
            assert run.loss[-1] < run.loss[0]
            assert run.stopped is None


def test_evaluations_come_at_regular_numbers_of_samples(found: Convergence) -> None:
    for run in found.runs:
        assert run.samples == tuple(range(0, run.samples[-1] + 1, EVERY))
        assert len(run.loss) == len(run.accuracy) == len(run.samples)
    odd = trained(rules=("bp",), seeds=(0,), every=100, target=1.0, epochs=1).runs[0]
    # Rounded up to whole mini-batches of 32, and the end of the budget.
    assert odd.samples == (0, 128, 224, 320)


def test_all_rules_start_from_the_same_weights(found: Convergence) -> None:
    for bp, ideal, hardware in zip(
        *(found.of(r) for r in ("bp", "dfc-ss", "hardware")), strict=True
    ):
        assert bp.loss[0] == ideal.loss[0]
        assert bp.accuracy[0] == ideal.accuracy[0]
        # Pairs at the middle of their window amplify the offsets of a chip.
        assert hardware.loss[0] == pytest.approx(bp.loss[0], rel=0.1)


def test_exact_devices_on_an_ideal_card_follow_the_ideal_rule() -> None:
    course = Course(optimizer=Adam(lr=0.05), mode="ideal", headroom=20.0)
    both = trained(
        card=CARD.ideal(), rules=("hardware", "dfc-ss"), seeds=(3,), course=course, target=1.0
    )
    hardware, ideal = both.runs
    assert hardware.loss == pytest.approx(ideal.loss, rel=1e-4)
    assert hardware.samples == ideal.samples


def test_pulses_are_counted_for_each_layer_and_sample(found: Convergence) -> None:
    for run in found.of("hardware"):
        assert run.pulses is not None
        assert len(run.pulses) == 2
        assert min(run.pulses) > 0
        rates = run.pulses_per_sample
        assert rates is not None
        assert rates[1] == pytest.approx(run.pulses[1] / run.samples[-1])
        assert run.writes == (0, 0)
    for rule in ("dfc-ss", "bp"):
        assert all(run.pulses is run.pulses_per_sample is None for run in found.of(rule))


def test_devices_without_pulses_are_written_anew() -> None:
    run = trained("pcm_nandakumar2019", rules=("hardware",), seeds=(0,), epochs=1).runs[0]
    assert run.pulses == (0, 0)
    rates = run.writes_per_sample
    assert rates is not None
    assert min(rates) > 0


def test_the_same_seed_gives_the_same_curve_and_another_seed_another() -> None:
    noisy = Course(optimizer=Adam(lr=0.05), noise=ReadingNoise(1e-5))
    one, again = (
        trained(rules=("hardware",), seeds=(5, 6), epochs=1, course=noisy) for _ in range(2)
    )
    assert one.runs == again.runs
    assert one.runs[0].loss != one.runs[1].loss


def test_noise_of_the_reading_changes_the_curve_a_little() -> None:
    curves = []
    for noise in (None, ReadingNoise(1e-5)):
        course = Course(optimizer=Adam(lr=0.05), noise=noise)
        curves.append(trained(rules=("hardware",), seeds=(5,), epochs=1, course=course).runs[0])
    assert curves[0].loss != curves[1].loss
    assert curves[0].loss == pytest.approx(curves[1].loss, rel=0.2)


def test_time_between_the_samples_lets_the_devices_drift() -> None:
    curves = []
    for period in (0.0, 10.0):
        course = Course(optimizer=Adam(lr=0.05), period=period, ageing=2)
        only: dict[str, Any] = {"rules": ("hardware",), "seeds": (0,), "epochs": 1}
        curves.append(trained("pcm_nandakumar2019", course=course, **only).runs[0])
    assert curves[0].loss[0] == curves[1].loss[0]
    assert curves[0].loss[-1] != curves[1].loss[-1]


def test_a_target_that_is_not_reached_is_reported_with_the_curve() -> None:
    found = trained(target=1.0, epochs=1, seeds=(0,), rules=("hardware", "bp"))
    for run in found.runs:
        assert run.reached is None
        assert run.samples[-1] == found.budget == COUNT
        assert found.samples_to_target(run.rule) == (None,)
        text = found.verdict(run.rule)
        assert "accuracy 1 not reached within 320 samples" in text
        assert f"best {max(run.accuracy):.4g}" in text
    assert on_chip(found, 1e-4, 1e-6) == ((0, None, None, None),)


def test_a_loss_may_be_the_target() -> None:
    found = trained(target=1.5, measure="loss", rules=("bp",), seeds=(0,))
    run = found.runs[0]
    assert run.loss[-1] <= 1.5 < run.loss[-2]
    assert found.best(run) == run.loss[-1]


def test_labels_that_are_not_classes_have_a_loss_and_no_accuracy() -> None:
    data = data_of()
    data = data._replace(y=0.9 * data.y + 0.01, y_test=0.9 * data.y_test + 0.01)
    run = trained(data=data, target=1.8, measure="loss", rules=("bp",), seeds=(0,)).runs[0]
    assert all(math.isnan(a) for a in run.accuracy)
    with pytest.raises(UserError, match="give a target of the loss"):
        trained(data=data)


def test_training_that_breaks_off_says_so() -> None:
    course = Course(optimizer=SGD(lr=1e200), loss=SquaredError())
    found = trained(rules=("bp",), seeds=(0,), course=course)
    run = found.runs[0]
    assert run.reached is None
    assert run.stopped is not None
    assert run.samples[0] == 0
    assert "left the finite numbers" in found.verdict("bp")
    assert bool(found.curves("bp")[1].isfinite().any())


def test_a_target_that_is_met_at_the_start_needs_no_sample() -> None:
    run = trained(target=0.0, rules=("hardware",), seeds=(0,)).runs[0]
    assert (run.reached, run.samples) == (0, (0,))
    assert run.pulses_per_sample is None


def made(reached: int | None, pulses: tuple[int, ...] | None = (30, 10)) -> Convergence:
    run = Run("hardware", 4, (0, 100), (2.0, 1.0), (0.1, 0.9), reached, pulses, (2, 0))
    return Convergence(0.9, "accuracy", 500, (run,))


@given(st.floats(1e-6, 1e-2), st.floats(0, 1e-3), st.floats(0, 1e-9))
def test_time_and_energy_on_the_chip_are_those_of_the_samples_and_pulses(
    seconds: float, joules: float, pulse: float
) -> None:
    found = on_chip(made(100), seconds, joules, energy_per_pulse=pulse)[0]
    assert (found.seed, found.samples) == (4, 100)
    assert found.time == pytest.approx(100 * seconds)
    assert found.energy == pytest.approx(100 * joules + 42 * pulse)


def test_an_unknown_energy_stays_unknown() -> None:
    found = on_chip(made(100), 1e-4, None)[0]
    assert found.time == pytest.approx(1e-2)
    assert found.energy is None
    assert on_chip(made(100), 1e-4, 1e-6, energy_per_pulse=None)[0].energy is None
    with pytest.raises(UserError, match="time per sample"):
        on_chip(made(100), 0.0, 1e-6)
    with pytest.raises(UserError, match="energy per sample"):
        on_chip(made(100), 1e-4, -1.0)
    with pytest.raises(UserError, match="wasn't trained"):
        on_chip(made(100), 1e-4, 1e-6, rule="bp")


def test_a_verdict_has_the_spread_over_seeds() -> None:
    runs = (*made(100).runs, *made(300).runs, *made(None).runs)
    text = Convergence(0.9, "accuracy", 500, runs).verdict("hardware")
    assert text == "hardware: accuracy 0.9 after 100 to 300 samples; not reached by 1 of 3 seeds"


def test_progress_covers_the_budget() -> None:
    done: list[int] = []
    found = trained(seeds=(0,), progress=done.append)
    assert sum(done) == len(RULES) * found.budget


def test_curves_of_runs_that_ended_keep_their_last_value(found: Convergence) -> None:
    for rule in RULES:
        samples, curves = found.curves(rule)
        for run, curve in zip(found.of(rule), curves, strict=True):
            n = len(run.samples)
            assert samples[:n].tolist() == list(run.samples)
            assert curve[:n].tolist() == list(run.accuracy)
            assert bool((curve[n:] == run.accuracy[-1]).all())


def test_the_record_holds_curves_and_samples(found: Convergence, tmp_path: Path) -> None:
    path = records.write(tmp_path / "c.h5", found.tree())
    record = records.read(path)
    reached, curves = (record[f"hardware/{k}"] for k in ("samples_to_target", "accuracy"))
    assert isinstance(reached, Quantity)
    assert isinstance(curves, Quantity)
    assert list(reached.values) == [run.reached for run in found.of("hardware")]
    assert curves.values.shape == tuple(found.curves("hardware")[1].shape)


def test_the_figure_has_a_line_a_rule_the_target_and_the_time(found: Convergence) -> None:
    figure = convergence_figure(found, 1e-4)
    figure.draw_without_rendering()
    axes = figure.axes[0]
    legend = axes.get_legend()
    assert legend is not None
    assert [t.get_text() for t in legend.get_texts()] == [
        "through the hardware",
        "ideal rule",
        "backpropagation",
    ]
    lines = [line for line in axes.lines if np.size(line.get_xdata()) > 2]
    assert len(lines) == len(RULES)
    targets = [line for line in axes.lines if line.get_linestyle() == "--"]
    assert [float(np.asarray(line.get_ydata())[0]) for line in targets] == [60.0]
    top = axes.child_axes[0]
    low, high = axes.get_xlim()
    assert top.get_xlim() == pytest.approx((1e-4 * low, 1e-4 * high))
    assert not convergence_figure(found).axes[0].child_axes


def test_pulsed_devices_start_in_the_middle_of_their_window() -> None:
    network = Network((3, 2), generator=torch.Generator().manual_seed(0))
    pulsed, _ = on_devices(network, "ecram_mo_kim2019", 0)
    written, _ = on_devices(network, "pcm_nandakumar2019", 0)
    window = pulsed.arrays[0].model.window
    middle = (window.g_min + window.g_max) / 2
    assert float(pulsed.arrays[0].devices.target.mean()) == pytest.approx(middle)
    lowest = written.arrays[0].devices.target.amin(dim=1)
    assert bool((lowest == written.arrays[0].model.window.g_min).all())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"target": 1.5}, "a share from 0 to 1"),
        ({"target": math.nan, "measure": "loss"}, "or a loss"),
        ({"measure": "error"}, "there are accuracy and loss"),
        ({"epochs": 0}, "epochs = 0"),
        ({"every": 0}, "every = 0"),
        ({"seeds": ()}, "one seed"),
        ({"seeds": (-1,)}, "one seed"),
        ({"rules": ("dfc",)}, "one or more of hardware, dfc-ss, bp"),
        ({"rules": ()}, "one or more of"),
    ],
)
def test_bad_input_is_refused_with_what_is_allowed(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        trained(**changes)


def test_data_and_settings_must_fit() -> None:
    with pytest.raises(UserError, match="don't fit layers of 64-8-10"):
        converge(data_of(), (64, 8, 10), CARD, "ideal", target=0.5)
    with pytest.raises(UserError, match="unknown"):
        trained("none_such")
    for values in ({"batch_size": 0}, {"ageing": 0}, {"period": -1.0}):
        with pytest.raises(UserError, match="are required"):
            Course(**values)

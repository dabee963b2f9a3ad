"""Work is estimated before it begins: memory that there isn't is an error, long work is told."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from strategies import network_of, normal

from analogdfc import verdicts
from analogdfc.cards.technology import Card
from analogdfc.circuit.behavioural import Behavioural
from analogdfc.circuit.chip import Chip
from analogdfc.circuit.design import Design
from analogdfc.cli import cli
from analogdfc.effort import (
    chips_of_a_run,
    circuit_bytes,
    circuit_seconds,
    comparison_seconds,
    in_words,
    large_circuits,
    long_work,
    model_seconds,
)
from analogdfc.errors import UserError
from analogdfc.feedback import DirectFeedback
from analogdfc.sizing.finding import size
from analogdfc.sizing.specification import own_values
from analogdfc.sizing.trial import Problem
from analogdfc.spice.batch import BatchProcess
from analogdfc.study import Study
from analogdfc.verdicts import bench_tolerance, loop_remarks

CARD = Card.load("discrete_100mhz")


def design_of(*sizes: int) -> Design:
    network = network_of(sizes)
    return Design.of(network, DirectFeedback.transposed(network), CARD)


def with_memory(monkeypatch: pytest.MonkeyPatch, megabytes: float) -> None:
    monkeypatch.setattr("analogdfc.memory.memory", lambda: round(1e6 * megabytes))


def test_a_model_that_does_not_fit_the_memory_is_refused_before_it_is_made(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    chip = Chip.of(design_of(3, 4, 2))
    with_memory(monkeypatch, 0.02)
    what = r"the equations of 30 amplifiers, 1 chips, would need .* GB of memory"
    with pytest.raises(UserError, match=rf"{what}.*\. A smaller network needs less"):
        Behavioural([chip])
    with_memory(monkeypatch, 2)
    model = Behavioural([chip])
    model.release(normal(1, 2, 3), 0.1 * normal(2, 2, 2))
    with pytest.raises(UserError, match=r"solving 122 equations at a time for 100 samples of 1"):
        model.release(normal(1, 100, 3), 0.1 * normal(2, 100, 2))
    with pytest.raises(UserError, match=r"waveforms of 2 samples over 1000000 steps would need"):
        model.run(normal(1, 2, 3), 0.1 * normal(2, 2, 2), dt=0.02, steps=1_000_000)


def test_a_sizing_that_cannot_be_simulated_is_refused_before_the_search(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    own = own_values(CARD)
    ranges = {"offset": (1e-4, 2e-2)}
    fixed = {name: value for name, value in own.items() if name not in ranges}
    problem = Problem.of(
        design_of(3, 4, 2), normal(1, 2, 3), 0.1 * normal(2, 2, 2), seeds=[0, 1], max_angle=8.0,
        ranges=ranges, fixed=fixed, duration=1e5,
    )  # fmt: skip

    def search(*_: object) -> None:
        raise AssertionError("searched")

    monkeypatch.setattr("analogdfc.sizing.finding.search", search)
    with_memory(monkeypatch, 100)
    with pytest.raises(UserError, match=r"waveforms of 2 samples over 5000000 steps"):
        size(problem, BatchProcess())
    with_memory(monkeypatch, 1)
    with pytest.raises(UserError, match=r"solving 120 equations at a time for 2 samples of 2"):
        size(replace(problem, duration=20.0), BatchProcess())
    with pytest.raises(AssertionError, match="searched"):
        size(problem, None)  # nothing is simulated


def test_long_work_is_told_with_its_parts() -> None:
    design = design_of(3, 4, 2)
    short = comparison_seconds(design, 4, 20.0, ("ideal", "macro"), jobs=2, causes=True)
    assert [*short] == [
        "ngspice, ideal cells", "ngspice, macro cells", "behavioural model", "causes"
    ]  # fmt: skip
    assert long_work(short) == []
    (told,) = long_work({name: 1e4 * seconds for name, seconds in short.items()})
    assert "this will take about" in told
    assert "hours" in told
    assert "behavioural model" in told
    assert long_work({"a": 700.0, "b": 20.0})[0].startswith("this will take about 12 minutes (a 12")
    assert "about 20 days" in long_work({"a": 20.2 * 86400})[0]


def test_work_grows_with_time_samples_and_size() -> None:
    small, large = design_of(3, 4, 2), design_of(8, 8, 8)
    assert circuit_seconds(small, "macro", 40.0) == 2 * circuit_seconds(small, "macro", 20.0)
    assert circuit_seconds(large, "macro", 20.0) > 10 * circuit_seconds(small, "macro", 20.0)
    assert circuit_seconds(small, "macro", 20.0, rough=True) < circuit_seconds(small, "macro", 20.0)
    assert model_seconds(small, 40, 1e3) > model_seconds(small, 4, 1e3)
    one, two = (comparison_seconds(small, 4, 20.0, ("macro",), jobs=jobs) for jobs in (1, 2))
    assert one["ngspice, macro cells"] == 2 * two["ngspice, macro cells"]
    assert one["behavioural model"] == two["behavioural model"]


def test_what_simulators_take_of_the_memory_is_told_and_too_much_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    small, large = design_of(3, 4, 2), design_of(40, 64, 10)
    # What ngspice 46 took of these, 3-4-2 in transistors too.
    assert circuit_bytes(small, "macro") == pytest.approx(14e6, rel=0.15)
    assert circuit_bytes(small, "transistor") == pytest.approx(16e6, rel=0.15)
    assert circuit_bytes(large, "macro") == pytest.approx(64e6, rel=0.15)
    assert large_circuits(large, ("ideal", "macro"), 4) == []
    (told,) = large_circuits(large, ("macro",), 20)
    assert "20 at a time with 370 amplifiers each, will take about 1.3 GB of memory" in told
    with_memory(monkeypatch, 200)
    assert large_circuits(large, ("macro",), 2) == []
    with pytest.raises(UserError, match=r"4 at a time .* would need 0\.26.* GB .* has 0\.2 GB"):
        large_circuits(large, ("macro",), 4)


@pytest.mark.parametrize("sizes", [(2, 2, 1), (3, 4, 2), (16, 10, 10)])
def test_chips_of_a_run_are_the_fewest_that_make_a_second_of_work(sizes: tuple[int, ...]) -> None:
    design = design_of(*sizes)
    count = chips_of_a_run(design, 4, 200)
    seconds = [model_seconds(design, 4 * chips, 200) for chips in (count - 1, count)]
    assert seconds[0] < 1 <= seconds[1]
    assert chips_of_a_run(design, 8, 200) < count


def test_chips_of_a_large_circuit_are_runs_of_their_own() -> None:
    assert chips_of_a_run(design_of(64, 64, 10), 4, 200) == 1


@pytest.mark.parametrize(
    "arguments",
    [["compare"], ["montecarlo"], ["size", "--trials", "24"]],
    ids=["compare", "montecarlo", "size"],
)
def test_a_command_says_at_once_that_it_will_be_long(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object, **__: object) -> None:
        raise UserError("begun")

    monkeypatch.setattr(Study, "run", stop)
    monkeypatch.setattr("analogdfc.cli.size.size", stop)
    monkeypatch.setattr("analogdfc.cli.montecarlo.try_chips", stop)
    monkeypatch.setattr("analogdfc.memory.memory", lambda: 10**15)
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(cli, [*arguments, "--sizes", "2-2-2", "--duration", "4e7"])
    assert result.exit_code == 2, result.output
    said = result.stderr.splitlines()
    assert said[0].startswith("Warning: this will take about")
    assert "days" in said[0]
    assert said[-1] == "Error: begun"
    usual = CliRunner().invoke(cli, [*arguments, "--sizes", "2-2-2"]).stderr
    assert "this will take" not in usual


def test_modes_that_are_only_a_remark_are_left_out_where_they_take_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    study = Study(design_of(3, 4, 2), normal(1, 1, 3), 0.1 * torch.ones(1, 2).double())
    assert loop_remarks(study, 0) == []
    monkeypatch.setattr(verdicts, "_MOST_AMPLIFIERS", 29)
    (remark,) = loop_remarks(study, 0)
    assert "was not looked at: it has 30 amplifiers, more than 29" in remark
    assert bench_tolerance(study, 0) == 1.0


def test_a_testbench_asks_for_the_time_steps_that_its_loop_needs() -> None:
    study = Study(design_of(3, 4, 2), normal(1, 1, 3), 0.1 * torch.ones(1, 2).double())
    assert bench_tolerance(study, 0) == study.step_tolerances(0)[0]


@pytest.mark.parametrize(
    ("seconds", "told"),
    [(0.026, "0.026 s"), (99.6, "100 s"), (119, "119 s"), (7140, "119 minutes"), (1e7, "116 days")],
)
def test_a_time_is_told_without_exponents(seconds: float, told: str) -> None:
    assert in_words(seconds) == told

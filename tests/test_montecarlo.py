"""Many chips of one design: their angles, the share within a bound, what goes with failure."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from labels import unlabelled
from matplotlib.patches import Rectangle
from strategies import network_of

from analogdfc import records
from analogdfc.cards.technology import Card
from analogdfc.circuit.chip import Chip
from analogdfc.circuit.design import Design
from analogdfc.cli import _montecarlo, cli
from analogdfc.dynamics import Trajectory
from analogdfc.errors import ConvergenceError, TimeLimitError, UserError
from analogdfc.feedback import DirectFeedback
from analogdfc.jobs import Spool
from analogdfc.montecarlo.chips import Chips, drawn_by, try_chips
from analogdfc.montecarlo.circuits import Circuits, circuit_work, try_circuits
from analogdfc.montecarlo.figure import yield_figure
from analogdfc.montecarlo.found import Yield
from analogdfc.montecarlo.medians import Median, Medians
from analogdfc.spice.engines import get_simulator
from analogdfc.study import Cells, Model, Progress, Study

SMALL = ("montecarlo", "--sizes", "2-2-1", "--samples", "1", "--duration", "3", "--jobs", "1")


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, list(arguments))


def study(spool: Spool | None = None) -> Study:
    network = network_of([2, 2, 1])
    feedback = DirectFeedback.transposed(network)
    design = Design.of(network, feedback, Card.load("discrete_100mhz"))
    x, step = torch.tensor([[0.4, -0.3]]), torch.tensor([[0.1]])
    return Study(design, x.double(), step.double(), steps=30, spool=spool)


def chips(angles: list[float], **drawn: list[float]) -> Chips:
    values = {name: np.array(v) for name, v in drawn.items()}
    return Chips(tuple(range(len(angles))), {"all": np.array(angles)}, values, {})


def test_the_angle_of_a_chip_is_what_a_comparison_measures() -> None:
    one = study()
    found = try_chips(one, range(5, 8), together=3)
    for k, seed in enumerate(found.seeds):
        model = Model(seed).run(one)
        updates = one.compare("ideal", "chip", "deviation", one.ideal(), model).updates
        for layer in ("1", "2", "all"):
            assert found.angles[layer][k] == pytest.approx(updates[layer].angle, abs=1e-3)
    assert len(set(found.angles["all"])) == 3


def test_a_nominal_chip_drew_nothing_and_a_seeded_one_what_its_card_allows() -> None:
    design = study().design
    nominal = Chip.of(design)
    assert set(drawn_by(nominal, nominal).values()) == {0.0}
    many = [drawn_by(Chip.of(design, seed), nominal) for seed in range(100)]
    banks = {f"offset of {bank.name}": bank.offset for bank in nominal.circuit.banks}
    # Over many chips the mean square is the variance, whatever the number of amplifiers.
    assert max(map(len, banks.values())) > 1
    squares = [
        [one[name] ** 2 for one in many] for name, offset in banks.items() if len(offset) > 1
    ]
    assert np.sqrt(np.mean(squares)) == pytest.approx(design.card.amplifier.offset, rel=0.05)


def test_chips_that_have_run_are_not_run_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Spool(tmp_path / "kept") as spool:
        first = try_chips(study(spool), range(4), together=2)
        ran: list[object] = []
        whole = Study.behavioural

        def noted(one: Study, seeds: tuple[int, ...]) -> object:
            ran.append(seeds)
            return whole(one, seeds)

        monkeypatch.setattr(Study, "behavioural", noted)
        again = try_chips(study(spool), range(6), together=2)
    assert ran == [(4, 5)]
    assert again.seeds == tuple(range(6))
    for name, values in first.angles.items():
        assert np.array_equal(again.angles[name][:4], values)
    for name, values in first.drawn.items():
        assert np.array_equal(again.drawn[name][:4], values)


def test_a_chip_without_a_result_fails_alone_and_keeps_its_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = Study.behavioural

    def stubborn(one: Study, seeds: tuple[int, ...]) -> object:
        if 1 in seeds:
            raise ConvergenceError("no operating point")
        return whole(one, seeds)

    monkeypatch.setattr(Study, "behavioural", stubborn)
    with Spool(tmp_path / "kept") as spool:
        try_chips(study(spool), range(3))
        found = try_chips(study(spool), range(3))
    assert found.failed == {1: "no operating point"}
    assert np.isnan(found.angles["all"]).tolist() == [False, True, False]
    outcome = Yield(found, 179.0, 20)
    assert outcome.within == 2
    assert outcome.numbers()["without_a_result"] == {"chip 1": "no operating point"}
    records.write(tmp_path / "r.h5", outcome.numbers())
    assert records.read(tmp_path / "r.h5").number("angle_degree/largest") == np.inf


MACRO = Cells("macro", get_simulator("batch"))


def test_a_circuit_that_does_not_converge_does_not_end_the_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def simulated(cells: Cells, one: Study, progress: Progress) -> Trajectory:
        if cells.seed == 3:
            error = ConvergenceError("time step too small")
            error.log = "line 1\nline 2"
            raise error
        progress("macro cells", 60, 100)
        progress("macro cells", 100, 100)
        return Model(cells.seed).run(one)

    monkeypatch.setattr(Cells, "run", simulated)
    told: list[int] = []
    found = try_circuits(study(), range(2, 5), MACRO, progress=told.append)
    assert told == [60, 40, 60, 40]
    assert sum(told) == circuit_work(study(), 2)
    assert found.failed == {3: "sample 1: time step too small"}
    assert found.logs == {3: "line 1\nline 2"}
    chips = try_chips(study(), range(2, 5))
    assert found.angles == pytest.approx(
        {seed: chips.angles["all"][k] for k, seed in enumerate(chips.seeds) if seed != 3}, abs=1e-3
    )
    circuits = Yield(chips, 5.0, 20, found).numbers()["ngspice_macro"]
    assert circuits["chip 3"] == {"without_a_result": "sample 1: time step too small"}


def test_a_circuit_is_as_far_from_the_ideal_one_as_its_samples_together() -> None:
    x, step = torch.tensor([[0.4, -0.3], [0.9, 0.2]]), torch.tensor([[0.1], [-0.2]])
    one = replace(study(), x=x.double(), step=step.double())
    found = try_circuits(one, [3], MACRO).angles[3]
    for rough, precision in ((True, 1e-6), (False, 1e-3)):
        whole = replace(MACRO, seed=3, rough=rough).run(one)
        updates = one.compare("ideal", "chip", "deviation", one.ideal(), whole).updates
        assert found == pytest.approx(updates["all"].angle, abs=precision)


def test_simulations_that_have_ended_are_not_run_again_and_failed_ones_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[int | None] = []
    trouble = [3]

    def simulated(cells: Cells, one: Study, progress: Progress) -> Trajectory:
        ran.append(cells.seed)
        if cells.seed in trouble:
            raise TimeLimitError("too slow")
        return Model(cells.seed).run(one)

    monkeypatch.setattr(Cells, "run", simulated)
    with Spool(tmp_path / "kept") as spool:
        first = try_circuits(study(spool), range(2, 5), MACRO)
        trouble.clear()
        again = try_circuits(study(spool), range(2, 6), MACRO)
    assert ran == [2, 3, 4, 3, 5]
    assert first.failed == {3: "sample 1: too slow"}
    assert not again.failed
    assert {seed: again.angles[seed] for seed in (2, 4)} == first.angles


def test_the_confidence_interval_is_wilsons() -> None:
    found = Yield(chips([1.0] * 8 + [9.0, np.nan]), 5.0, 20)
    assert found.share == 0.8
    # Wilson 1927 with z = 1.96: (p + z^2 / 2n +- z sqrt(p q / n + z^2 / 4n^2)) / (1 + z^2 / n).
    assert found.interval == pytest.approx((0.4902, 0.9433), abs=1e-4)
    assert Yield(chips([1.0] * 10), 5.0, 20).interval[1] == pytest.approx(1)
    assert found.quantiles()[0.95] == np.inf


def test_what_turns_the_update_is_told_from_what_does_not() -> None:
    noise = np.random.default_rng(0).standard_normal((2, 100))
    angles = np.exp(noise[0])
    angles[angles.argmax()] = np.nan
    drawn = {"cause": noise[0].tolist(), "other": noise[1].tolist(), "never drawn": [0.0] * 100}
    cause, other = Yield(chips(angles.tolist(), **drawn), 2.0, 20).correlations
    assert (cause.name, other.name) == ("cause", "other")
    assert cause.rank == pytest.approx(1)
    assert cause.chance < 1e-9
    assert other.chance > 0.05
    assert Yield(chips([1.0, 2.0, 3.0], cause=[1.0, 2.0, 3.0]), 2.0, 20).correlations == ()


@pytest.mark.parametrize("angles", [[1.0, 2.0, np.nan, 3.0, 4.0], [np.nan], [1.0]])
def test_a_figure_is_drawn_whatever_came_of_the_chips(angles: list[float]) -> None:
    found = Yield(chips(angles, cause=angles), 2.5, 20)
    histogram, causes = yield_figure(study().design, found).axes
    known = [a for a in angles if not np.isnan(a)]
    bars = [bar.get_height() for bar in histogram.patches if isinstance(bar, Rectangle)]
    assert sum(bars) == len(known)
    assert ("too few chips" in str([t.get_text() for t in causes.texts])) == (len(angles) < 4)


def test_bad_arguments_are_refused() -> None:
    with pytest.raises(UserError, match=r"max_angle = 0\.0 degrees: it must be > 0"):
        Yield(chips([1.0]), 0.0, 20)
    with pytest.raises(UserError, match=r"0 chips, \d+ together"):
        try_chips(study(), ())


def test_the_command_writes_what_it_prints(tmp_path: Path) -> None:
    path = tmp_path / "m.h5"
    arguments = (*SMALL, "--chips", "5", "--chip-seed", "7", "--max-angle", "9", "-o", str(path))
    result = run(*arguments, "--json")
    assert result.exit_code == 0, result.output
    printed, record = json.loads(result.stdout), records.read(path)
    assert record.number("results/yield_percent") == printed["yield_percent"]
    angles = record.array("chips/angle/all", units="degree", shape=(5,))
    assert printed["chips_within"] == (angles <= 9).sum()
    assert record.array("chips/seed").tolist() == [7, 8, 9, 10, 11]
    assert printed["angle_degree"]["largest"] == angles.max()
    assert unlabelled(path) == []
    assert path.with_suffix(".png").stat().st_size > 10_000
    assert not path.with_suffix(".runs").exists()


def test_medians_of_samples_that_differ_are_told_from_those_that_do_not() -> None:
    random = np.random.default_rng(0)
    model, same, other = (np.exp(random.normal(m, 0.3, 100)) for m in (0.0, 0.0, 0.5))
    assert Medians.of(same, model).agree
    assert not Medians.of(other, model).agree
    found = Median.of(np.arange(1.0, 11.0))
    # The second and the ninth of ten: a median below the second has 11 in 1024.
    assert (found.low, found.high) == (2, 9)
    assert str(Median.of(np.array([1.0, 2.0, 3.0]))) == "2 degrees"
    assert Median.of(np.array([1.0, np.inf, np.inf])).value == np.inf


def test_conditions_are_rows_of_a_table_and_branches_of_the_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[str, float, float, bool]] = []

    def simulated(cells: Cells, one: Study, progress: Progress) -> Trajectory:
        assert cells.kit is not None
        supply = one.design.card.amplifier.supply
        seen.append((cells.kit.corner, cells.celsius, supply, cells.kit.mismatch))
        if (cells.kit.corner, cells.seed) == ("ss", 1):
            raise ConvergenceError("too small")
        return Model(cells.seed).run(one)

    monkeypatch.setattr(Cells, "run", simulated)
    path = tmp_path / "m.h5"
    options = ["--fidelity", "transistor", "--pdk", "generic", "--mismatch", "kit"]
    cases = ["--corner", "typical", "--corner", "ss", "--temperature", "60", "--supply", "1.6"]
    rest = ["--chips", "3", "--circuits", "2", "-o", str(path)]
    result = run(*SMALL, *options, *cases, *rest)
    assert result.exit_code == 0, result.output
    assert seen == [(c, 60.0, 1.6, True) for c in ("typical", "ss") for _ in range(2)]
    assert "ss, 60 C, 1.6 V: chip 1 has no result in SPICE" in result.output
    record = records.read(path)
    for case, number in (("typical, 60 C, 1.6 V", 2), ("ss, 60 C, 1.6 V", 1)):
        assert len(record.array(f"conditions/{case}/chips/seed")) == 3
        assert len(list(record.group(f"conditions/{case}/circuits/angle"))) == number
        assert record.number(f"results/{case}/yield_percent") >= 0
    assert unlabelled(path) == []
    assert path.with_suffix(".png").stat().st_size > 10_000


def test_the_table_says_yield_and_what_failed(capsys: pytest.CaptureFixture[str]) -> None:
    angles = np.array([1.0, 2.0, 3.0, 9.0, np.nan])
    drawn = {"cause": np.arange(5.0)}
    many = Chips(tuple(range(5)), {"all": angles}, drawn, {4: "no operating point"})
    circuits = Circuits({1: 2.25}, {0: "slow"}, {0: "its log"})
    _montecarlo.show(study().design, "given", "samples", Yield(many, 5.0, 20, circuits))
    printed = capsys.readouterr().out
    assert "yield 60 %: 3 of 5 chips are within 5 degrees" in printed
    assert "Warning: chip 4 has no result: no operating point" in printed
    failed = "chip 0 has no result in SPICE: slow; the record has its log in circuits/log/0"
    assert f"Warning: {failed}" in printed
    assert "chip 1: 2.250 degrees in SPICE, 2.000 in the model" in printed


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--chips", "3", "--circuits", "4"], "--circuits 4: there are 3 chips"),
        (["--engine", "batch"], "--engine: no chip is simulated as a circuit; needs --circuits"),
        (["--time-limit", "3"], "--time-limit: no chip is simulated as a circuit"),
        (["--max-angle", "0"], "--max-angle"),
        (["--pdk", "generic"], "--pdk: no chip is simulated as a circuit; needs --circuits"),
        (["--circuits", "1", "--corner", "ss"], "--corner: it acts on transistors"),
        (["--circuits", "1", "--temperature", "60"], "--temperature: it acts on transistors"),
        (["--circuits", "1", "--mismatch", "kit"], "--mismatch: it acts on transistors"),
        (["--supply", "0.2"], "supply = 0.2 V"),
        (["--together", "0"], "--together"),
        (["--card", "nowhere"], "unknown card"),
    ],
)
def test_bad_input_is_refused_before_any_work(
    options: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = run(*SMALL, *options, "-o", "t.h5")
    assert result.exit_code == 2
    assert message in result.output
    assert not list(tmp_path.iterdir())


def test_help_has_an_example() -> None:
    example = "analogdfc montecarlo --sizes 3-4-2 --chips 200 --max-angle 5 -o montecarlo.h5"
    assert example in run("montecarlo", "--help").output

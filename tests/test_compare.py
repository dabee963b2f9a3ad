"""`analogdfc compare` and `analogdfc netlist` from the command line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from labels import unlabelled

from analogdfc import records
from analogdfc.cards.technology import Card
from analogdfc.cli import cli
from analogdfc.controller import PI, PID, Controller, I, P
from analogdfc.errors import TimeLimitError
from analogdfc.jobs import Progress
from analogdfc.spice.simulation import Simulation
from analogdfc.spice.simulator import Waveforms
from analogdfc.storage import read_model

SMALL = ["--sizes", "3-4-2", "--samples", "1", "--duration", "5"]


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, list(arguments))


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Result]:
    path = tmp_path_factory.mktemp("compare") / "c.h5"
    return path, run("compare", *SMALL, "--json", "-o", str(path))


def test_json_and_record_hold_the_same_numbers(compared: tuple[Path, Result]) -> None:
    path, result = compared
    assert result.exit_code == 0, result.output
    printed = json.loads(result.stdout)
    record = records.read(path)
    for key, section in printed.items():
        if not key.startswith(("parity", "deviation")):
            continue
        stored = record.group("results")[key]
        assert isinstance(stored, dict)
        assert stored["nrmse_percent"] == section["nrmse_percent"]
    assert record.text("results/largest_cause") == printed["largest_cause"]


def test_parities_are_small_and_the_deviation_is_not(compared: tuple[Path, Result]) -> None:
    printed = json.loads(compared[1].stdout)
    parity = [v for k, v in printed.items() if k.startswith("parity")]
    assert len(parity) == 2
    for section in parity:
        assert max(section["nrmse_percent"].values()) < 0.1
        assert section["update"]["all"]["angle_degree"] < 0.1
    deviation = printed["deviation: macro cells against ideal"]
    assert deviation["nrmse_percent"]["u"] > 1


def test_the_record_tells_how_it_was_made_and_feeds_the_next_command(
    compared: tuple[Path, Result], tmp_path: Path
) -> None:
    path, _ = compared
    record = records.read(path)
    assert Card.parse(record.text("card")).card.name
    assert record.text("provenance/analogdfc")
    assert record.integer("seed") == 0
    waves = record.group("runs")
    assert set(waves) == {"ideal", "behavioural", "ideal cells", "macro cells"}
    assert record.array("runs/ideal/t", units="s").shape == (251,)
    assert path.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
    result = run("netlist", "--weights", str(path), "-o", str(tmp_path / "n"))
    assert result.exit_code == 0, result.output
    assert "network 3-4-2" in (tmp_path / "n" / "circuit.cir").read_text()


def test_the_same_seed_gives_the_same_waveforms(
    compared: tuple[Path, Result], tmp_path: Path
) -> None:
    path = tmp_path / "again.h5"
    assert run("compare", *SMALL, "--no-causes", "-o", str(path)).exit_code == 0
    a, b = records.read(compared[0]), records.read(path)
    for realisation in ("ideal", "behavioural", "macro cells"):
        key = f"runs/{realisation}/u"
        assert np.array_equal(a.array(key), b.array(key))


def test_a_layer_without_feedback_is_compared_as_far_as_it_goes(tmp_path: Path) -> None:
    source = np.random.default_rng(0)
    tree = {
        "W1": source.normal(size=(4, 3)), "W2": source.normal(size=(2, 4)),
        "Q1": np.zeros((4, 2)), "Q2": np.eye(2),
    }  # fmt: skip
    weights = records.write(tmp_path / "w.h5", {"network": tree})
    arguments = ["--weights", str(weights), "--samples", "1", "--duration", "2", "--no-causes"]
    output = tmp_path / "c.h5"
    result = run("compare", *arguments, "--json", "-o", str(output))
    assert result.exit_code == 0, result.output
    section = json.loads(result.stdout)["parity: ideal against ideal cells"]
    assert {"v1", "v1 dev", "r1", "update 1"} == set(section["below_resolution"])
    assert set(section["update"]) == {"2", "all"}
    assert records.read(output).group("results")["parity: ideal against ideal cells"]
    shown = run("compare", *arguments, "-o", str(tmp_path / "d.h5"))
    assert shown.exit_code == 0, shown.output
    (row,) = [
        line for line in shown.stdout.splitlines() if "NRMSE v1 " in line and "dev" not in line
    ]
    assert "unresolved" in row
    assert "below what the simulations resolve" in shown.stdout


def test_a_parity_beyond_the_tolerance_exits_with_1_and_still_writes(tmp_path: Path) -> None:
    path = tmp_path / "c.h5"
    arguments = [*SMALL, "--fidelity", "ideal", "-o", str(path)]
    strict = run("compare", *arguments, "--tolerance", "1e-9")
    assert strict.exit_code == 1
    assert "more than --tolerance" in strict.stderr
    assert path.exists()
    assert run("compare", *arguments, "--tolerance", "0.1").exit_code == 0


def test_the_static_rung_fails_a_tolerance_that_the_full_model_meets(tmp_path: Path) -> None:
    arguments = [*SMALL, "--fidelity", "macro", "--no-causes", "--tolerance", "0.5"]
    arguments += ["-o", str(tmp_path / "c.h5")]
    assert run("compare", *arguments, "--rung", "full").exit_code == 0
    assert run("compare", *arguments, "--rung", "static").exit_code == 1


def bad_card(tmp_path: Path) -> list[str]:
    path = tmp_path / "mine.toml"
    text = Card.load("discrete_100mhz").text
    path.write_text(text.replace("gain_bandwidth", "gbw"))
    return ["--card", str(path)]


def nan_weights(tmp_path: Path) -> list[str]:
    tree = {"W1": np.full((4, 3), np.nan), "W2": np.ones((2, 4))}
    return ["--weights", str(records.write(tmp_path / "nan.h5", {"network": tree}))]


def large_weights(tmp_path: Path) -> list[str]:
    tree = {"W1": np.full((4, 3), 99.0), "W2": np.ones((2, 4))}
    path = records.write(tmp_path / "large.h5", {"network": tree})
    return ["--weights", str(path), "--no-scaling"]


def text_weights(tmp_path: Path) -> list[str]:
    path = tmp_path / "weights.h5"
    path.write_text("1 2 3")
    return ["--weights", str(path)]


@pytest.mark.parametrize("command", ["compare", "netlist"])
@pytest.mark.parametrize(
    ("make", "messages"),
    [
        (bad_card, ["mine.toml", "[amplifier] gbw", "did you mean 'gain_bandwidth'"]),
        (nan_weights, ["nan.h5", "network/W1", "finite"]),
        (large_weights, ["W1", "99", "window"]),
        (text_weights, ["weights.h5", "not an HDF5 file"]),
        (lambda _: ["--card", "nowhere"], ["unknown card 'nowhere'", "discrete_100mhz"]),
        (lambda _: ["--weights", "missing.h5"], ["missing.h5", "no such file"]),
        (lambda _: ["--sizes", "3-0-2"], ["3-0-2", "such as 16-10-10"]),
        (lambda _: ["--seed", "-1"], ["--seed", "-1"]),
    ],
)
def test_bad_input_is_one_clear_line_with_exit_code_2(
    tmp_path: Path, command: str, make: object, messages: list[str]
) -> None:
    assert callable(make)
    output = tmp_path / "out"
    result = run(command, *make(tmp_path), "-o", str(output))
    assert result.exit_code == 2, result.output
    assert "Traceback" not in result.output
    for message in messages:
        assert message in result.stderr
    assert not output.exists()


def test_an_output_that_cannot_be_written_is_found_before_the_work(tmp_path: Path) -> None:
    result = run("compare", "-o", str(tmp_path / "no" / "such" / "c.h5"))
    assert result.exit_code == 2
    assert "no directory" in result.stderr
    result = run("compare", "-o", ".")
    assert result.exit_code == 2
    assert "is a directory" in result.stderr
    occupied = tmp_path / "file"
    occupied.write_text("mine")
    result = run("netlist", "--sizes", "3-4-2", "-o", str(occupied))
    assert result.exit_code == 2
    assert occupied.read_text() == "mine"


def test_an_old_record_survives_a_failed_run(tmp_path: Path) -> None:
    path = records.write(tmp_path / "c.h5", {"old": 1})
    assert run("compare", "--card", "nowhere", "-o", str(path)).exit_code == 2
    assert records.read(path).integer("old") == 1


def test_too_many_samples_are_refused_with_their_number(tmp_path: Path) -> None:
    result = run("compare", "--samples", "361", "-o", str(tmp_path / "c.h5"))
    assert result.exit_code == 2
    assert "360 held-out images" in result.stderr


def test_one_simulator_has_none_beside_it(tmp_path: Path) -> None:
    result = run("compare", "--sizes", "2-1", "--engines", "batch", "-o", str(tmp_path / "c.h5"))
    assert result.exit_code == 2
    assert "--engines batch: needs two; --engine takes one" in result.stderr


def test_weights_that_do_not_fit_are_scaled_and_that_is_said(tmp_path: Path) -> None:
    tree = {"W1": np.full((4, 3), 8.0), "W2": np.full((2, 4), 0.1)}
    path = records.write(tmp_path / "w.h5", {"network": tree})
    result = run("netlist", "--weights", str(path), "-o", str(tmp_path / "n"))
    assert result.exit_code == 0
    assert "W1: conductances scaled by 0.4875" in result.stdout
    assert "W1 x 0.4875" in (tmp_path / "n" / "circuit.cir").read_text()


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--controller", "P", "--k-p", "3"], P(3.0)),
        (
            ["--controller", "PID", "--k-d", "0.2", "--leak", "integral"],
            PID(k_d=0.2, leak="integral"),
        ),
        (["--k-p", "1.5", "--alpha", "0.01"], PI(1.5, 0.01)),
        (["--controller", "I"], I()),
    ],
)
def test_the_controller_of_the_options_runs_and_is_in_the_record(
    options: list[str], expected: Controller, tmp_path: Path
) -> None:
    record = tmp_path / "run.h5"
    arguments = ["compare", "--sizes", "3-4-2", "--samples", "1", "--fidelity", "ideal"]
    result = CliRunner().invoke(
        cli, [*arguments, "--no-causes", "--tau-v", "0.25", *options, "-o", str(record)]
    )
    assert result.exit_code == 0, result.output
    model = read_model(record)
    assert model.controller == expected
    assert model.tau_v == 0.25


def test_a_gain_that_the_controller_has_no_place_for_is_refused(tmp_path: Path) -> None:
    result = CliRunner().invoke(
        cli, ["compare", "--sizes", "3-4-2", "--k-d", "0.1", "-o", str(tmp_path / "run.h5")]
    )
    assert result.exit_code == 2
    assert "k_d = 0.1: PI control has no k_d" in result.output
    assert not (tmp_path / "run.h5").exists()


def test_simulations_that_have_ended_are_kept_and_not_done_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, folder = tmp_path / "c.h5", tmp_path / "c.runs"
    arguments = ["compare", "--sizes", "3-4-2", "--samples", "2", "--duration", "5", "--jobs", "1",
                 "--fidelity", "ideal", "--no-causes", "-o", str(path)]  # fmt: skip
    real, begun = Simulation.run, [0]

    def slow(simulation: Simulation, progress: Progress) -> Waveforms:
        begun[0] += 1
        if begun[0] == 1:
            raise TimeLimitError("ngspice did not finish within its time limit of 1 s")
        return real(simulation, progress)

    monkeypatch.setattr(Simulation, "run", slow)
    result = run(*arguments)
    assert result.exit_code == 2
    assert "sample 1 of the circuit with ideal cells: ngspice did not finish" in result.output
    assert "1 of 2 runs are kept in" in result.output
    assert not path.exists()
    assert len(list(folder.glob("*.h5"))) == 1
    assert run(*arguments).exit_code == 0
    assert begun[0] == 3  # of the second sample once
    assert not folder.exists()
    resumed = records.read(path)
    assert run(*arguments).exit_code == 0
    assert begun[0] == 5
    for name in ("u", "v1", "r2", "dW1"):
        key = f"runs/ideal cells/{name}"
        assert np.array_equal(resumed.array(key), records.read(path).array(key))


def test_the_record_says_what_its_numbers_are(compared: tuple[Path, Result]) -> None:
    assert unlabelled(compared[0]) == []


def test_two_trainings_are_laid_beside_each_other_by_the_command(tmp_path: Path) -> None:
    arguments = ["--dataset", "digits", "--sizes", "64-3-10", "--samples", "4", "--epochs", "1"]
    files = [str(tmp_path / f"{k}.h5") for k in range(2)]
    for path, rate in zip(files, ("0.1", "0.2"), strict=True):
        made = CliRunner().invoke(
            cli, ["train", "--through", "static", *arguments, "--lr", rate, "-o", path]
        )
        assert made.exit_code == 0, made.output
    output = tmp_path / "c.h5"
    result = CliRunner().invoke(cli, ["compare", "--steps", *files, "-o", str(output), "--json"])
    assert result.exit_code == 0, result.output
    numbers = json.loads(result.stdout)
    assert (numbers["steps"], numbers["update_angle_largest_degree"]) == (1, 0)
    assert numbers["weight_change_error_percent"] == pytest.approx(100)
    assert output.with_suffix(".png").exists()
    refused = CliRunner().invoke(cli, ["compare", "--steps", *files, "--duration", "5"])
    assert refused.exit_code == 2
    assert "--duration: --steps lays two records beside each other" in refused.stderr

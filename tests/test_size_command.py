"""`analogdfc size` from the command line: one verified run, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from labels import unlabelled

from analogdfc import records
from analogdfc.cards.technology import Card
from analogdfc.cli import cli
from analogdfc.sizing.specification import REQUIREMENTS, own_values

CARD = Card.load("discrete_100mhz")
SOUGHT = ("gain", "offset")
FIXED = [f"--fix={n}={v!r}" for n, v in own_values(CARD).items() if n not in SOUGHT]
SMALL = ["--sizes", "3-4-2", "--samples", "1", "--chips", "1", "--duration", "10", "--unseen", "3"]
TRIALS = 8
RUN = ["size", *SMALL, *FIXED, "--trials", str(TRIALS), "--jobs", "1", "--max-angle", "6"]


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, list(arguments))


@pytest.fixture(scope="module", autouse=True)
def small_generations() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("analogdfc.sizing.search.POPULATION", TRIALS)
        yield


@pytest.fixture(scope="module")
def sized(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Result]:
    path = tmp_path_factory.mktemp("size") / "s.h5"
    return path, run(*RUN, "--json", "-o", str(path))


def test_ngspice_keeps_the_bound(sized: tuple[Path, Result]) -> None:
    _, result = sized
    assert result.exit_code == 0, result.output
    printed = json.loads(result.stdout)
    simulated = printed["verification"]
    assert 0 < simulated["ngspice_macro_degree"]["chip 0"] < 6
    assert simulated["angle_with_noise_degree"] <= 6
    assert simulated["ngspice_macro_degree"]["chip 0"] == pytest.approx(
        simulated["behavioural_degree"][0], abs=0.05
    )


def test_the_specification_has_units_sides_and_margins(sized: tuple[Path, Result]) -> None:
    specification = json.loads(sized[1].stdout)["specification"]
    assert {name: row["unit"] for name, row in specification.items()} == {
        name: r.unit for name, r in REQUIREMENTS.items() if name not in ("hold", "resolution")
    }
    assert {n for n, row in specification.items() if row["sought"]} == {*SOUGHT}
    gain, offset = (specification[name] for name in SOUGHT)
    assert gain["safe_side"] == ">="
    assert 100 <= gain["alone_up_to"] <= gain["value"]
    assert offset["safe_side"] == "<="
    assert offset["value"] <= offset["alone_up_to"] <= 0.02


def test_the_record_holds_trials_with_units_and_the_printed_numbers(
    sized: tuple[Path, Result],
) -> None:
    path, result = sized
    printed, record = json.loads(result.stdout), records.read(path)
    assert record.number("results/energy_J") == printed["energy_J"]
    assert (
        record.number("results/specification/gain/value")
        == printed["specification"]["gain"]["value"]
    )
    offsets = record.array("trials/offset", units="V", shape=(TRIALS,))
    angles = record.array("trials/angle", units="degree", shape=(TRIALS,), finite=False)
    feasible = record.array("trials/feasible", shape=(TRIALS,), truth=True)
    assert feasible.any()
    assert np.all(angles[feasible] <= printed["aimed_angle_degree"])
    assert offsets[1] == 1e-5
    assert path.with_suffix(".png").stat().st_size > 10_000


def test_the_sized_card_is_a_card_with_these_values(sized: tuple[Path, Result]) -> None:
    specification = json.loads(sized[1].stdout)["specification"]
    path = sized[0].with_suffix(".toml")
    again = own_values(Card.load(path))
    assert again == pytest.approx({name: row["value"] for name, row in specification.items()})


def test_a_second_run_reads_the_trials_and_writes_the_same_results(
    sized: tuple[Path, Result],
) -> None:
    path, result = sized
    before = path.read_bytes()
    kept = {file: file.read_bytes() for file in path.with_suffix(".runs").glob("*.h5")}
    assert len(kept) >= TRIALS
    again = run(*RUN, "--json", "--no-verify", "-o", str(path))
    assert again.exit_code == 0, again.output
    assert all(file.read_bytes() == content for file, content in kept.items())
    first, second = json.loads(result.stdout), json.loads(again.stdout)
    assert second.pop("verification").startswith("not verified")
    assert first.pop("verification")
    assert first == second
    path.write_bytes(before)


def test_the_table_says_what_was_left_out(sized: tuple[Path, Result], tmp_path: Path) -> None:
    path, storage = tmp_path / "t.h5", str(sized[0].with_suffix(".runs"))
    result = run(*RUN, "--no-verify", "--storage", storage, "-o", str(path))
    assert result.exit_code == 0, result.output
    assert "Specification" in result.output
    assert "not verified: --no-verify left the simulation out" in result.output
    (row,) = [line for line in result.output.splitlines() if "input offset" in line]
    assert "<=" in row
    assert "V" in row
    (given,) = [line for line in result.output.splitlines() if "gain-bandwidth" in line]
    assert ">= 100 MHz" in given
    assert "given" in given


def test_a_bound_that_no_design_keeps_is_one_line_and_code_2(tmp_path: Path) -> None:
    path = tmp_path / "t.h5"
    result = run(*RUN, "--max-angle", "0.01", "--no-verify", "-o", str(path))
    assert result.exit_code == 2
    assert "no design within the ranges keeps all bounds" in result.output
    assert "raise --max-angle" in result.output
    assert not path.exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--fix", "speed=3"], "Allowed are bandwidth, slew, noise"),
        (["--range", "gain=1e5:1e3"], "first number must be below the second"),
        (["--fix", "gain=1e4", "--range", "gain=1e2:1e3"], "both a fixed value and a range"),
        (["--card", "nowhere"], "unknown card"),
        (["--storage", "t.h5"], "t.h5: two files would be written here"),
        (["--storage", "."], ".: is a folder of other files"),
        (["--storage", "nowhere/s"], "its directory doesn't exist"),
        (["--fix", "gain=1e4", "--fix", "gain=1e5"], "'gain' is given twice"),
        (["--max-angle", "0"], "--max-angle"),
    ],
)
def test_bad_input_is_refused_before_any_work(
    options: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.txt").touch()
    result = run("size", *SMALL, *options, "--no-verify", "-o", "t.h5")
    assert result.exit_code == 2
    assert message in result.output
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_help_has_an_example() -> None:
    result = run("size", "--help")
    assert "analogdfc size --max-angle 5 --sizes 16-10-10 -o size.h5" in result.output


def test_the_record_says_what_its_numbers_are(sized: tuple[Path, Result]) -> None:
    assert unlabelled(sized[0]) == []

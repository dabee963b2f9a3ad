"""`analogdfc crossbar` from the command line."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from labels import unlabelled

from analogdfc import records
from analogdfc.cards.device import DeviceCard
from analogdfc.cli import COMMANDS, cli
from analogdfc.records import Quantity

HELP = "Error of a matrix product on an array of devices, by cause."
W = np.random.default_rng(0).normal(size=(3, 4))


@pytest.fixture(autouse=True)
def _registered(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(COMMANDS, "crossbar", HELP)
    monkeypatch.chdir(tmp_path)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["crossbar", *arguments])


def failure(*arguments: str) -> str:
    """The one line of an error; nothing may be written."""
    before = set(Path().iterdir())
    result = run(*arguments)
    assert result.exit_code == 2, result.output
    assert set(Path().iterdir()) == before
    line = result.stderr
    assert line.startswith("Error: ")
    assert line.count("\n") == 1
    return line


def save(path: str, text: str) -> str:
    Path(path).write_text(text, encoding="utf-8")
    return path


def test_the_table_has_each_cause_with_units_and_the_files_are_written() -> None:
    result = run("--size", "3x5", "--wire-resistance", "2", "--sense", "50", "--time", "60")
    assert result.exit_code == 0, result.output
    for part in (
        "NRMSE (%)",
        "programming noise",
        "read noise",
        "drift",
        "wires",
        "driver and sense",
        "Not there: finite levels, telegraph noise, retention, device spread, faults.",
        "60 s after programming",
        "wrote crossbar.h5 and crossbar.png",
    ):
        assert part in result.output
    assert Path("crossbar.png").read_bytes().startswith(b"\x89PNG")
    assert result.stderr == ""


def test_json_and_record_have_the_same_numbers() -> None:
    np.save("w.npy", W)
    arguments = ("w.npy", "--wire-resistance", "2", "--samples", "3", "--stuck", "1,2,5e-6")
    found = json.loads(run(*arguments, "--json").stdout)
    assert unlabelled(Path("crossbar.h5")) == []
    record = records.read("crossbar.h5")
    assert record.text("kind") == "crossbar"
    assert record.text("card") == DeviceCard.load("pcm_nandakumar2019").text
    assert np.array_equal(record.array("weights"), W)
    assert record.number("results/nrmse_percent") == found["nrmse_percent"] > 0
    names = record["results/causes/name"]
    assert isinstance(names, np.ndarray)
    alone = record.array("results/causes/alone", units="percent")
    assert [c["nrmse_alone_percent"] for c in found["causes"].values()] == alone.tolist()
    assert names.tolist() == list(found["causes"])
    assert list(names) == ["programming noise", "read noise", "drift", "faults", "wires"]
    assert record.array("cells/read", shape=(8, 3), units="S")[1, 2] == 5e-6
    assert record.array("stuck/row").tolist() == [1]
    error = record.array("cells/error", shape=(8, 3), units="1")
    assert 100 * error.max() == pytest.approx(found["cell_error_largest_percent"])
    loss = record.array("cells/voltage_loss", shape=(8, 3), units="V")
    assert loss.max() == found["voltage_loss_largest_volts"] > 0


def test_the_same_seed_gives_the_same_file() -> None:
    assert run("--size", "3x5", "-o", "a.h5").exit_code == 0
    first = Path("a.h5").read_bytes()
    assert run("--size", "3x5", "-o", "a.h5").exit_code == 0
    assert Path("a.h5").read_bytes() == first
    assert run("--size", "3x5", "-o", "a.h5", "--seed", "1").exit_code == 0
    assert Path("a.h5").read_bytes() != first


def test_one_matrix_from_three_kinds_of_file_gives_one_answer() -> None:
    np.save("w.npy", W)
    np.savetxt("w.csv", W, delimiter=",", fmt="%.17g")
    records.write("w.h5", {"network": {"W1": Quantity(W, "1")}})
    found = [
        json.loads(run(source, "--json").stdout)["nrmse_percent"]
        for source in ("w.npy", "w.csv", "w.h5:network/W1", str(Path("w.h5:/network/W1").resolve()))
    ]
    assert len(set(found)) == 1


def test_given_inputs_are_used() -> None:
    np.save("w.npy", np.array([[1.0, 0.0], [0.0, 1.0]]))
    save("x.csv", "\ufeff1,0\n\n0.5,0\n")
    # Only the second input's device is wrong, and it is never driven.
    arguments = ("w.npy", "--card", "ideal", "--stuck", "2,1,0", "--json")
    driven = json.loads(run(*arguments).stdout)
    result = run(*arguments, "--input", "x.csv")
    assert result.exit_code == 0, (result.output, result.exception)
    found = json.loads(result.stdout)
    assert found["vectors"] == 2
    assert found["nrmse_percent"] < 1e-10 < driven["nrmse_percent"]


@pytest.mark.parametrize(
    ("scheme", "scale"),
    [("split", "9.5"), ("balanced", "column"), ("mid-rail", "layer"), ("offset-column", "column")],
)
def test_an_ideal_array_is_exact_however_it_is_mapped(scheme: str, scale: str) -> None:
    np.save("w.npy", W)
    found = json.loads(
        run("w.npy", "--card", "ideal", "--scheme", scheme, "--scale", scale, "--json").stdout
    )
    assert found["nrmse_percent"] < 1e-10
    assert found["causes"] == {}


def test_tiles_and_the_resistance_of_each_line_are_taken() -> None:
    options = ("--size", "8x8", "--tile", "8x4", "--wire-resistance", "1", "--bit", "3", "--json")
    found = json.loads(run(*options, "--driven", "both", "--card", "ideal").stdout)
    assert found["arrays"] == 4
    assert (found["word_line_ohm"], found["bit_line_ohm"]) == (1, 3)
    assert (found["driven"], found["sensed"]) == ("both", "one")
    assert list(found["causes"]) == ["wires"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "either MATRIX, a file, or --size"),
        (("--size", "3"), "--size 3: write two numbers >= 1, such as 10x64"),
        (("--size", "0x3"), "--size 0x3"),
        (("--size", "5000x5000"), "at most 1048576 weights"),
        (("--size", "3x4", "--card", "pcm"), "unknown device card 'pcm'; give the path"),
        (("--size", "3x4", "--card", "discrete_100mhz"), "unknown device card"),
        (("--size", "3x4", "--time", "-1"), "--time -1 s: must be finite and >= 0 s"),
        (("--size", "3x4", "--wire-resistance", "-1"), "--wire-resistance -1 ohm: must be finite"),
        (("--size", "3x4", "--sense", "-0.5"), "--sense -0.5 ohm"),
        (("--size", "3x4", "--read-voltage", "0"), "--read-voltage 0 V: must be finite and > 0"),
        (("--size", "3x4", "--stuck", "8,0,0"), "(8, 0) is outside of the array of 8 x 3; rows"),
        (("--size", "3x4", "--stuck", "0,3,0"), "columns 0..2 are allowed"),
        (("--size", "3x4", "--stuck", "0,0,-1"), "conductance of stuck cell (0, 0) -1 S"),
        (("--size", "3x4", "--stuck", "0,0"), "write row, column and siemens"),
        (("--size", "3x4", "--scale", "0.001"), "is outside of the window, which stands for"),
        (("--size", "3x4", "--scale", "none"), "write layer, column or a number > 0"),
        (("--size", "3x4", "--scale", "-1"), "--scale -1: must be finite and > 0"),
        (("--size", "3x4", "--tile", "1x4"), "too few for 2 rails"),
        (("--size", "600x500", "--wire-resistance", "1"), "1000 x 600 cells"),
        (("--size", "1x1000000", "--inputs", "100"), "at most 16 vectors"),
        (("--size", "3x4", "-o", "nowhere/a.h5"), "there is no directory 'nowhere'"),
        (("missing.npy",), "missing.npy: can't be read: No such file"),
        (("missing.csv",), "missing.csv: can't be read: No such file"),
        (("missing.h5:a",), "missing.h5: there is no such file"),
        (("weights.txt",), "come from a .npy, a .csv or an .h5:DATASET file"),
    ],
)
def test_wrong_arguments_are_one_line_and_exit_code_2(
    arguments: tuple[str, ...], message: str
) -> None:
    assert message in failure(*arguments)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1,2\n3,x\n", "bad.csv, line 2, field 2: 'x' is not a number"),
        ("1,2\n3,nan\n", "bad.csv: [1, 1] is nan; all numbers must be finite"),
        ("1,2\n3,1e999\n", "[1, 1] is inf"),
        ("1,2\n3\n", "bad.csv, line 2: 1 numbers; the first line has 2"),
        ("", "bad.csv: holds no numbers"),
        ("1,,2\n", "field 2: '' is not a number"),
        ("0,0\n0,0\n", "the ideal product is 0"),
    ],
)
def test_a_wrong_csv_is_named_with_its_place(text: str, message: str) -> None:
    assert message in failure(save("bad.csv", text))


def test_a_wrong_npy_is_refused_and_never_unpickled() -> None:
    for values, message in (
        (np.zeros((2, 2, 2)), "has the shape 2 x 2 x 2; weights are a matrix"),
        (np.zeros(3), "has the shape 3; weights"),
        (np.array(1.0), "has the shape a single number"),
        (np.array([[1.0, np.nan]]), "[0, 1] is nan"),
        (np.array([[1j, 1.0]]), "holds complex128; weights are real numbers"),
        (np.array([["a", "b"]]), "weights are real numbers"),
        (np.zeros((0, 3)), "bad.npy"),
        (np.ones((1025, 1024), dtype=np.int8), "1025 x 1024 numbers; 1 to 1048576 are allowed"),
    ):
        np.save("bad.npy", values)
        assert message in failure("bad.npy")
    np.save("bad.npy", np.array([[{}]]), allow_pickle=True)
    assert "bad.npy: not a .npy file of numbers" in failure("bad.npy")
    Path("bad.npy").write_bytes(pickle.dumps([[1.0]]))
    assert "bad.npy: not a .npy file of numbers" in failure("bad.npy")
    np.savez("bad.npz", W)
    Path("bad.npz").rename("bad.npy")
    assert "bad.npy: an archive of arrays" in failure("bad.npy")


def test_a_npy_file_that_lies_about_its_size_is_refused() -> None:
    header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (1000000, 1000000), }\n"
    magic = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little")
    Path("bad.npy").write_bytes(magic + header + bytes(64))
    assert "bad.npy: not a .npy file of numbers" in failure("bad.npy")
    Path("bad.npy").write_bytes((magic + header)[:30])
    assert "bad.npy: not a .npy file of numbers" in failure("bad.npy")


def test_a_wrong_data_set_is_named() -> None:
    records.write("w.h5", {"network": {"W1": W, "b1": W[0], "activation": "tanh"}})
    assert "which data set? write w.h5:NAME; it has the matrices network/W1" in failure("w.h5")
    assert "network/W2" in failure("w.h5:network/W2")
    assert "has the shape 4" in failure("w.h5:network/b1")
    assert "must be an array of numbers" in failure("w.h5:network/activation")


def test_inputs_that_do_not_fit_are_refused() -> None:
    np.save("w.npy", W)
    save("x.csv", "1,2\n")
    assert "x.csv: 2 numbers a row; the weights have 4 inputs" in failure(
        "w.npy", "--input", "x.csv"
    )
    assert "--inputs 3: the inputs come from x.csv" in failure(
        "w.npy", "--input", "x.csv", "--inputs", "3"
    )
    assert "either MATRIX" in failure("w.npy", "--size", "3x4")


def test_the_matrix_is_not_overwritten() -> None:
    records.write("w.h5", {"W": W})
    before = Path("w.h5").read_bytes()
    assert "w.h5: would be written over, and is read from this file" in failure(
        "w.h5:W", "-o", "w.h5"
    )
    assert Path("w.h5").read_bytes() == before


def test_help_starts_with_what_it_does_and_its_example_works() -> None:
    shown = run("--help").output
    assert HELP in shown
    example = next(line for line in shown.splitlines() if "crossbar --size" in line)
    result = run(*example.split()[2:])
    assert result.exit_code == 0, result.output

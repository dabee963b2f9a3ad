"""The reader of ngspice's binary rawfiles."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analogdfc.errors import UserError
from analogdfc.spice.installed import find_binary
from analogdfc.spice.rawfile import read_rawfile

LOW_PASS = """first-order low pass
V1 in 0 DC 1 AC 1 PULSE(0 1 0 1n 1n 1 2)
R1 in OUT 1k
C1 out 0 1n
{analyses}
.save v(out) i(v1)
.end
"""


def simulate(folder: Path, analyses: str, *settings: str) -> Path:
    """The rawfile that ngspice writes for the low pass."""
    (folder / "deck.cir").write_text(LOW_PASS.format(analyses=analyses))
    binary = find_binary()
    assert binary is not None
    command = [binary, "-n", *settings, "-b", "-r", "out.raw", "deck.cir"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=60)
    return folder / "out.raw"


@pytest.fixture(scope="module")
def transient(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return simulate(tmp_path_factory.mktemp("raw"), ".tran 100n 5u").read_bytes()


def test_transient_has_real_vectors_that_obey_ohms_law(tmp_path: Path, transient: bytes) -> None:
    path = tmp_path / "out.raw"
    path.write_bytes(transient)
    (plot,) = read_rawfile(path)
    assert plot.title == "first-order low pass"
    assert plot.name == "Transient Analysis"
    assert plot.variables == ("time", "v(out)", "i(v1)")
    assert plot.values.dtype == np.float64
    time, out, current = plot.values.T
    assert time[0] == 0
    assert time[-1] == pytest.approx(5e-6)
    settled = time > 2e-9  # the source is at 1 V
    np.testing.assert_allclose(out[settled], 1 + 1e3 * current[settled], atol=1e-9)


def test_several_plots_complex_and_real_in_one_file(tmp_path: Path) -> None:
    file = simulate(tmp_path, ".op\n.ac lin 1 159154.943 159154.943\n.tran 100n 5u")
    plots = {plot.name: plot for plot in read_rawfile(file)}
    assert set(plots) == {"Operating Point", "AC Analysis", "Transient Analysis"}
    ac = plots["AC Analysis"]
    assert ac.values.dtype == np.complex128
    assert ac.values.shape == (1, 3)
    corner = ac.values[0, ac.variables.index("v(out)")]
    assert corner == pytest.approx(1 / (1 + 1j), rel=1e-6)


def test_every_truncation_of_a_file_is_an_error(tmp_path: Path, transient: bytes) -> None:
    path = tmp_path / "cut.raw"
    header = transient.index(b"Binary:\n") + 8
    for length in [*range(header + 20), *range(header + 20, len(transient), 97)]:
        path.write_bytes(transient[:length])
        with pytest.raises(UserError, match=r"cut\.raw: "):
            read_rawfile(path)
    path.write_bytes(transient[:-1])
    with pytest.raises(UserError, match=r"truncated: \d+ points of 3 variables need"):
        read_rawfile(path)


def test_bytes_behind_the_last_plot_are_an_error(tmp_path: Path, transient: bytes) -> None:
    path = tmp_path / "long.raw"
    path.write_bytes(transient + b"\0" * 8)
    with pytest.raises(UserError, match=r"long\.raw: "):
        read_rawfile(path)


def test_ascii_rawfile_is_named_as_such(tmp_path: Path) -> None:
    file = simulate(tmp_path, ".tran 100n 5u", "-D", "filetype=ascii")
    with pytest.raises(UserError, match=r"out\.raw: an ASCII rawfile"):
        read_rawfile(file)


@pytest.mark.parametrize("content", ["", "hello\n", "key: value\n" * 10, "x" * 100_000])
def test_a_text_file_is_no_rawfile(tmp_path: Path, content: str) -> None:
    path = tmp_path / "notes.txt"
    path.write_text(content)
    with pytest.raises(UserError, match=r"notes\.txt: "):
        read_rawfile(path)


def test_a_missing_file_and_a_folder_are_errors(tmp_path: Path) -> None:
    for path in (tmp_path / "none.raw", tmp_path):
        with pytest.raises(UserError, match="can't be read"):
            read_rawfile(path)


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        (b"Flags: real", b"Flags: list", "one of 'real' and 'complex'"),
        (b"No. Variables: 3", b"No. Variables: 4", "announces 4 variables and lists 3"),
        (b"No. Variables: 3", b"No. Variables: x", "no whole number"),
        (b"No. Points: ", b"No. Points: 9999", "truncated"),
        (b"No. Points: ", b"No. Points: -", "no whole number"),
        (b"Plotname:", b"Plotnome:", "no line 'Plotname:'"),
        (b"\t1\tv(out)\tvoltage", b"\t2\tv(out)\tvoltage", "no variable"),
    ],
)
def test_a_malformed_header_says_what_is_wrong(
    tmp_path: Path, transient: bytes, old: bytes, new: bytes, problem: str
) -> None:
    path = tmp_path / "bad.raw"
    assert old in transient
    path.write_bytes(transient.replace(old, new, 1))
    with pytest.raises(UserError, match=problem):
        read_rawfile(path)


@given(position=st.integers(0, 400), byte=st.integers(0, 255))
def test_a_changed_byte_never_causes_another_error(
    tmp_path_factory: pytest.TempPathFactory, transient: bytes, position: int, byte: int
) -> None:
    path = tmp_path_factory.getbasetemp() / "changed.raw"
    path.write_bytes(transient[:position] + bytes([byte]) + transient[position + 1 :])
    try:
        plots = read_rawfile(path)
    except UserError:
        return
    assert all(plot.values.shape[1] == len(plot.variables) for plot in plots)

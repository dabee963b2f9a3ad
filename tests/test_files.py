"""Files: whole or not at all, with names of their own, and never over what is the user's."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import h5py
import pytest
from click.testing import CliRunner, Result
from matplotlib.figure import Figure
from strategies import network_of

from analogdfc import records
from analogdfc.cards import Card, find
from analogdfc.cards.base import read_text
from analogdfc.circuit import Chip, Design
from analogdfc.cli import cli
from analogdfc.cli._matrix import read_matrix
from analogdfc.errors import UserError
from analogdfc.feedback import DirectFeedback
from analogdfc.files import (
    check_apart,
    check_own,
    check_place,
    owner,
    stamped,
    working_on,
    write_all,
)
from analogdfc.plots import save_figure
from analogdfc.spice.library import library

WITH_FIGURES = (
    "align", "characterise", "compare", "crossbar", "estimate", "montecarlo", "reproduce", "size",
    "stability", "train",
)  # fmt: skip
COMMANDS = {
    "crossbar": ["crossbar", "--size", "3x4"],
    "train": ["train", "--rule", "bp"],
    "characterise": ["characterise", "opamp"],
    "reproduce": ["reproduce", "dfc/fig2"],
    **{
        name: [name]
        for name in (
            "align",
            "compare",
            "estimate",
            "montecarlo",
            "size",
            "stability",
            "verify-theory",
        )
    },
}


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, list(arguments))


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("name", WITH_FIGURES)
def test_record_and_figure_never_share_a_name(name: str, tmp_path: Path) -> None:
    result = run(*COMMANDS[name], "-o", "x.png")
    assert result.exit_code == 2, result.output
    assert "x.png: two files would be written here" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_sized_card_has_a_name_of_its_own() -> None:
    assert "x.toml: two files would be written here" in run("size", "-o", "x.toml").stderr


def test_a_figure_of_the_theory_does_not_take_the_records_place() -> None:
    Path("t_fig3.png").symlink_to("t.h5")
    result = run("verify-theory", "--figure", "3", "--quick", "-o", "t.h5")
    assert "t_fig3.png: two files would be written here" in result.stderr


def test_the_figure_of_a_training_has_a_name_of_its_own() -> None:
    Path("e_training.png").symlink_to("e.png")
    result = run("estimate", "--target-accuracy", "0.5", "-o", "e.h5")
    assert "e_training.png: two files would be written here" in result.stderr


@pytest.mark.parametrize("name", COMMANDS)
def test_a_file_of_the_users_is_not_taken_for_a_record(name: str) -> None:
    with h5py.File("mine.h5", "w") as file:
        file["measured"] = [1.0, 2.0]
    before = Path("mine.h5").read_bytes()
    result = run(*COMMANDS[name], "-o", "mine.h5")
    assert result.exit_code == 2, result.output
    assert "mine.h5: cannot be written: the existing file is no record" in result.stderr
    assert Path("mine.h5").read_bytes() == before


@pytest.mark.parametrize("name", WITH_FIGURES)
def test_a_picture_of_the_users_beside_the_record_is_kept(name: str) -> None:
    Path("mine.png").write_bytes(b"\x89PNG a photograph")
    result = run(*COMMANDS[name], "-o", "mine.h5")
    assert result.exit_code == 2, result.output
    assert "mine.png: would be written over, and is not as analogdfc wrote it" in result.stderr
    assert Path("mine.png").read_bytes() == b"\x89PNG a photograph"


def test_a_card_of_the_users_beside_the_record_is_kept() -> None:
    Path("mine.toml").write_text("[card]\n")
    assert "mine.toml: would be written over" in run("size", "-o", "mine.h5").stderr
    assert "mine.toml: would be written over, and is read" in (
        run("size", "--card", "mine.toml", "-o", "mine.h5").stderr
    )


@pytest.mark.parametrize(
    "arguments",
    [
        ["compare", "--weights", "w.h5"],
        ["size", "--weights", "w.h5"],
        ["align", "--weights", "w.h5"],
        ["estimate", "--weights", "w.h5"],
        ["estimate", "w.h5"],
        ["crossbar", "w.h5:W"],
        ["crossbar", "--size", "3x4", "--input", "w.h5:x"],
        ["compare", "--card", "w.h5"],
        ["compare", "--devices", "w.h5"],
        ["crossbar", "--size", "3x4", "--card", "w.h5"],
        ["train", "--rule", "dfc-chip", "--card", "w.h5"],
    ],
)
def test_what_is_read_is_not_written_over(arguments: list[str]) -> None:
    records.write("w.h5", {"network": {"depth": 1}})
    result = run(*arguments, "-o", "w.h5")
    assert result.exit_code == 2, result.output
    assert "w.h5: would be written over, and is read from this file" in result.stderr


@pytest.mark.parametrize("name", ["f.png", "f.pdf", "f.svg"])
def test_a_figure_is_known_as_the_programs_own(name: str) -> None:
    assert owner(save_figure(Figure(), name)) == "program"
    check_own(Path(name))


def test_a_text_that_was_edited_is_the_users() -> None:
    path = Path("cells.lib")
    path.write_text(stamped("* cells\n.subckt a b\n.ends\n", "*"))
    assert owner(path) == "program"
    path.write_text(path.read_text().replace(".subckt a b", ".subckt a b c"))
    assert owner(path) == "user"
    with pytest.raises(UserError, match=r"cells\.lib: would be written over"):
        check_own(path)


def test_several_files_appear_together_or_none_does(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("a").write_bytes(b"old")
    whole = Path.write_bytes

    def full(path: Path, content: bytes) -> int:
        if content == b"too large":
            whole(path, content[:3])
            raise OSError(errno.ENOSPC, "No space left on device")
        return whole(path, content)

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space left"):
        write_all({Path("a"): b"new", Path("b"): b"too large"})
    assert {p.name: p.read_bytes() for p in Path().iterdir()} == {"a": b"old"}


def netlist(*arguments: str) -> Result:
    result = run("netlist", "--sizes", "2-2-2", "-o", "nl", *arguments)
    assert result.exit_code == 0, result.output
    return result


def test_a_cell_that_a_designer_changed_is_kept_until_it_is_told_otherwise() -> None:
    netlist()
    cells = Path("nl/cells.lib")
    own = cells.read_text().replace("Copyright", "copyright") + "* mine\n"
    cells.write_text(own)
    result = netlist("--seed", "1")
    assert cells.read_text() == own
    assert "kept nl/cells.lib, which was changed since it was written; --force" in result.stderr
    assert "wrote nl/cells.lib" not in result.stdout
    assert "wrote nl/circuit.cir" in result.stdout
    result = netlist("--seed", "1", "--force")
    assert "* mine" not in cells.read_text()
    assert "kept" not in result.stderr


def test_a_netlist_that_nobody_changed_is_replaced_and_what_no_longer_belongs_is_removed() -> None:
    netlist()
    first = Path("nl/circuit.cir").read_text()
    Path("nl/old.lib").write_text(Path("nl/cells.lib").read_text())
    Path("nl/mine.lib").write_text("* a cell of the user's\n")
    result = netlist("--seed", "1")
    assert Path("nl/circuit.cir").read_text() != first
    assert "removed nl/old.lib" in result.stdout
    assert {path.name for path in Path("nl").iterdir()} == {
        "cells.lib", "circuit.cir", "testbench.cir", "devices.csv", "devices.h5", "mine.lib"
    }  # fmt: skip


def test_waveforms_of_an_earlier_netlist_are_named_and_left() -> None:
    netlist()
    Path("nl/waveforms.raw").write_bytes(b"Title: mine\n")
    assert "earlier" not in netlist().stderr  # the same netlist
    for arguments in (("--seed", "1"), ("--seed", "1", "--fidelity", "ideal")):
        assert (
            "nl/waveforms.raw has the waveforms of an earlier netlist" in netlist(*arguments).stderr
        )
    assert Path("nl/waveforms.raw").read_bytes() == b"Title: mine\n"


def test_a_netlist_is_written_whole_or_stays_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    netlist()
    before = {path.name: path.read_bytes() for path in Path("nl").iterdir()}
    whole = Path.write_bytes

    def full(path: Path, content: bytes) -> int:
        if "testbench" in path.name:
            raise OSError(errno.ENOSPC, "No space left on device")
        return whole(path, content)

    monkeypatch.setattr(Path, "write_bytes", full)
    result = run("netlist", "--sizes", "2-3-2", "-o", "nl")
    assert result.exit_code == 2
    assert "nl: can't write the netlist here: No space left on device" in result.stderr
    assert {path.name: path.read_bytes() for path in Path("nl").iterdir()} == before


def test_two_commands_can_not_work_on_one_output(tmp_path: Path) -> None:
    output = tmp_path / "t.h5"
    code = f"""
import pathlib, sys
from analogdfc.files import working_on
with working_on(pathlib.Path({str(output)!r})):
    print("mine")
"""
    command = [sys.executable, "-c", code]
    with working_on(output):
        other = subprocess.run(command, capture_output=True, text=True, check=False)
        assert f"{output}: another command works here: process {os.getpid()} on " in other.stderr
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "mine\n"
    assert not list(tmp_path.iterdir())


def test_a_file_that_never_ends_is_no_card_cell_or_table() -> None:
    network = network_of([2, 2])
    design = Design.of(network, DirectFeedback.transposed(network), Card.load("discrete_100mhz"))
    chip = Chip.of(design, 0)
    with pytest.raises(UserError, match="/dev/zero: has more than 1048576 bytes"):
        read_text(Path("/dev/zero"), "card")
    with pytest.raises(UserError, match="/dev/zero: has more than 1048576 bytes"):
        library(chip, "macro", {"opamp": "/dev/zero"})
    endless = Path("endless.csv")
    endless.symlink_to("/dev/zero")
    with pytest.raises(UserError, match=r"endless\.csv: has more than 33554432 bytes"):
        read_matrix(str(endless), "weights")


def test_a_header_of_numpy_that_is_no_python_is_refused(tmp_path: Path) -> None:
    header = b"{'descr': ('<f8', 'fortran_order': False, 'shape': (2, 3), }".ljust(117) + b"\n"
    for content in (b"\x93NUMPY\x01\x00v\x00" + header, b"PK\x03\x04" + bytes(20), b"PK"):
        (tmp_path / "w.npy").write_bytes(content)
        with pytest.raises(UserError, match=r"w\.npy: (not a \.npy file|an archive)"):
            read_matrix(str(tmp_path / "w.npy"), "weights")


def test_a_name_that_is_too_long_or_a_ring_of_links_is_no_place(tmp_path: Path) -> None:
    long = Path("a" * 300)
    ring = tmp_path / "ring.h5"
    ring.symlink_to("ring.h5")
    for path in (long, long / "x.h5", ring):
        for look in (check_place, check_own, lambda p: check_apart([p]), lambda p: find(p, [Card])):
            with suppress(UserError):  # one is refused where it stands, one where it leads
                look(path)
    with pytest.raises(UserError, match="aaa: can't be looked at: File name too long"):
        find(long, [Card])
    with pytest.raises(UserError, match="can't be looked at"):
        check_place(long)
    assert "File name too long" in run("train", "-o", f"{long}.h5").stderr

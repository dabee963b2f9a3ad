"""Fuzzed files of other programs: raw files of ngspice, cells, matrices, sets of images."""

from __future__ import annotations

import gzip
import io
import struct
from functools import cache
from importlib import resources
from itertools import islice

import numpy as np
from fuzzing import clear, folder, fuzz
from hypothesis import given
from hypothesis import strategies as st
from strategies import changed_bytes, cut_texts, network_of, odd_numbers, odd_texts

from analogdfc.cards import Card
from analogdfc.circuit import Chip, Design
from analogdfc.cli._matrix import read_matrix
from analogdfc.datasets._idx import idx
from analogdfc.datasets._pickles import read_matrix_pickle
from analogdfc.feedback import DirectFeedback
from analogdfc.kits.expressions import spice_number
from analogdfc.spice.deck import check_deck, stop_time, vector_name, with_saves
from analogdfc.spice.flat import devices
from analogdfc.spice.interfaces import interfaces, mismatch
from analogdfc.spice.netlist import Netlist
from analogdfc.spice.rawfile import read_rawfile

HEADER = """Title: t
Date: today
Plotname: Transient Analysis
Flags: {flags}
No. Variables: 2
No. Points: 3
Variables:
\t0\ttime\ttime
\t1\tv(out)\tvoltage
"""


def raw_files() -> list[bytes]:
    """A real, a complex, an ASCII raw file, and one with two plots."""
    real = HEADER.format(flags="real").encode() + b"Binary:\n" + np.arange(6.0).tobytes()
    several = HEADER.format(flags="complex").encode() + b"Binary:\n" + np.arange(12.0).tobytes()
    written = HEADER.format(flags="real").encode() + b"Values:\n 0\t0.0\n\t1.0\n"
    return [real, several, written, real + several]


@fuzz("raw files")
@given(changed_bytes(raw_files()))
def test_a_raw_file_is_read_or_refused(content: bytes) -> None:
    with folder() as place:
        (place / "out.raw").write_bytes(content)
        with clear("raw files", content):
            for plot in read_rawfile(place / "out.raw"):
                assert plot.values.shape[1] == len(plot.variables)


_COMMANDS = (
    ".control\nshell touch {mark}\n.endc\n", ".include {mark}\n", ".lib '{mark}' tt\n",
    "*# shell touch {mark}\n", "*ng_script\n", ".option\n.csparam x=1\n", "shell touch {mark}\n",
    "`touch {mark}`\n", "A1 %v [in] f\n.model f filesource (file=\"{mark}\")\n", ".end\n",
    ".model f d_process(process_file=\"touch\")\n", "+ .control\n", ".CONTROL\n.ENDC\n",
    " .inc {mark}\n",
    "B1 out 0 V={{system('touch {mark}')}}\n", ".subckt opamp inp inn out vdd vss\n.ends\n",
    ".save all\n", ".write {mark}\n", "\x0b.control\n", "\x85.include {mark}\n", "$ x\n",
    "x1 a b\n",
    ".param p={{1/0}}\n", ".if (1)\n.endif\n", ".func f(x) {{x}}\n", "*\n" * 500, "+ " * 500 + "\n",
)  # fmt: skip


@cache
def chip() -> Chip:
    network = network_of([2, 2])
    design = Design.of(network, DirectFeedback.transposed(network), Card.load("discrete_100mhz"))
    return Chip.of(design, 0)


def cells() -> list[str]:
    """The op-amps of the library, and a command or two among their lines."""
    library = resources.files("analogdfc._circuits")
    return [
        library.joinpath(f"opamp_{level}.lib").read_text("ascii") for level in ("ideal", "macro")
    ]


@st.composite
def cell_texts(draw: st.DrawFn) -> str:
    """Cells of a designer, some with what a netlist may not hold."""
    text = draw(st.one_of(st.sampled_from(cells()), cut_texts(cells())))
    for _ in range(draw(st.integers(0, 2))):
        lines = text.split("\n")
        at = draw(st.integers(0, len(lines)))
        lines.insert(at, draw(st.sampled_from(_COMMANDS)).format(mark="/tmp/none").rstrip("\n"))
        text = "\n".join(lines)
    return text


_FORBIDDEN = (".control", ".include", ".inc", ".lib", ".csparam", ".write", ".save")


@fuzz("cell files")
@given(cell_texts())
def test_a_cell_is_taken_or_refused_and_holds_no_command(text: str) -> None:
    with folder() as place:
        (place / "mine.lib").write_bytes(text.encode("utf-8", "replace"))
        with clear("cell files", text):
            netlist = Netlist.of(chip(), "macro", cells={"opamp": place / "mine.lib"})
            words = [line.split()[:1] for line in netlist.cells.lower().split("\n")]
            assert not [w for w in words if w and w[0] in (*_FORBIDDEN, "shell")]
            assert "*#" not in netlist.cells


@fuzz("decks")
@given(cell_texts(), odd_texts())
def test_a_deck_is_taken_or_refused(text: str, signal: str) -> None:
    deck = f"title\n{text}\n.tran 1n 10n\n.end\n"
    with clear("decks", (text, signal)):
        check_deck(deck)
        interfaces(deck)
        mismatch(deck)
        stop_time(deck)
        with_saves(deck, [signal])
    with clear("decks", text):
        assert list(islice(devices(deck), 10_000)) is not None
    with clear("decks", signal):
        spice_number(signal)
        vector_name(signal)


@cache
def npy_files() -> list[bytes]:
    files = []
    for values in (np.ones((2, 3)), np.ones((2, 3), "<i2"), np.array([["a", "b"]])):
        out = io.BytesIO()
        np.save(out, values)
        files.append(out.getvalue())
    archive = io.BytesIO()
    np.savez(archive, w=np.ones((2, 2)))
    return [*files, archive.getvalue()]


@fuzz("matrices")
@given(changed_bytes(npy_files()))
def test_a_matrix_of_numpy_is_read_or_refused(content: bytes) -> None:
    with folder() as place:
        (place / "w.npy").write_bytes(content)
        with clear("matrices", content):
            assert read_matrix(str(place / "w.npy"), "weights").isfinite().all()


@st.composite
def csv_files(draw: st.DrawFn) -> bytes:
    """Numbers with commas between them, and what else a file of measurements may hold."""
    field = st.one_of(
        odd_numbers().map(str), odd_texts(), st.sampled_from(["1", '"1"', "1;2", " "])
    )
    rows = draw(st.lists(st.lists(field, max_size=4), max_size=4))
    text = "\n".join(",".join(row) for row in rows)
    encoding = draw(st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "latin-1"]))
    return text.encode(encoding, "replace")


@fuzz("tables of numbers")
@given(csv_files())
def test_a_table_of_numbers_is_read_or_refused(content: bytes) -> None:
    with folder() as place:
        (place / "w.csv").write_bytes(content)
        with clear("tables of numbers", content):
            assert read_matrix(str(place / "w.csv"), "weights").isfinite().all()


@cache
def idx_files() -> list[bytes]:
    plain = struct.pack(">BBBBIII", 0, 0, 8, 3, 2, 3, 3) + bytes(range(18))
    return [plain, gzip.compress(plain, mtime=0)]


@fuzz("sets of images")
@given(changed_bytes(idx_files()))
def test_a_set_of_images_is_read_or_refused(content: bytes) -> None:
    with folder() as place:
        (place / "images").write_bytes(content)
        with clear("sets of images", content):
            idx(place / "images", dimensions=3)


@cache
def pickles() -> list[bytes]:
    """A batch as CIFAR-10 has it, and one that would run a program."""
    import pickle

    batch = {"data": np.zeros((2, 4), np.uint8), "labels": [1, 2], "batch_label": "1 of 5"}
    harmful = b"cposix\nsystem\n(S'touch /tmp/none'\ntR."
    return [pickle.dumps(batch, protocol=2), pickle.dumps(batch, protocol=4), harmful]


@fuzz("sets of images")
@given(changed_bytes(pickles()))
def test_a_pickle_is_read_or_refused_and_runs_nothing(content: bytes) -> None:
    with clear("sets of images", content):
        read_matrix_pickle(content, "batch")

"""Fuzzed command lines: options of all commands with values that people and scripts get wrong."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, chdir, contextmanager
from functools import cache
from pathlib import Path
from typing import NoReturn
from unittest.mock import patch

import click
import h5py
import numpy as np
from click.testing import CliRunner
from fuzzing import clear, folder, fuzz
from hypothesis import given
from hypothesis import strategies as st
from strategies import network_of, odd_numbers, odd_quantities, odd_texts

from analogdfc import records
from analogdfc.cli import COMMANDS, cli
from analogdfc.controller import PI
from analogdfc.errors import UserError
from analogdfc.feedback import DirectFeedback
from analogdfc.storage import Model, model_tree

ROOT = Path(__file__).parents[1]
PARAMETERS: dict[str, list[click.Parameter]] = {}
for _name in sorted(COMMANDS):  # imported here: an import within a strategy uses random numbers
    _command = cli.get_command(click.Context(cli), _name)
    assert _command is not None
    PARAMETERS[_name] = _command.params

COMPUTED = (
    "align._learn_feedback",
    "align._measure",
    "characterise.characterise",
    "_compare.compare",
    "crossbar.measure",
    "estimate._work",
    "montecarlo._run",
    "netlist.loop_remarks",
    "reproduce._run",
    "reproduce._show",
    "size.size",
    "sleep._run",
    "stability._run",
    "train._run",
    "verify_theory._run",
)
"""What computes: here a command has taken its command line."""

_NAMES = (
    *("w.h5", "ours.h5", "foreign.h5", "broken.h5", "card.toml", "device.toml", "notes.txt"),
    *("photo.png", "folder", "folder/new.h5", "none/new.h5", "new.h5", "new.png", "new", "w.csv"),
    *(".", "..", "/", "", "/dev/null", "/dev/zero", "/proc/self/mem", "w.h5:network/W1", "w.h5:"),
    *("foreign.h5:x", "locked.h5", "./w.h5", "folder/../w.h5", "link.h5", "ring.h5"),
)
_SIZES = (
    *("3-4-2", "2-2", "1-1", "2-1-1-1-2", "0-1", "-1-2", "99999999999999999999-4-2", "3", "a-b"),
    *("3-4-", "3--4", "1000000000-2", "3-1e3", "3-4-2\n", "", "²-2", "٣-٤"),
)
_WORDS = (
    *("dfc", "dfc-ss", "bp", "fa", "dfc-chip", "ddtp-linear", "tanh", "relu", "tanh,linear", "xor"),
    *("digits", "mnist", "teacher", "toy", "discrete_100mhz", "pcm_nandakumar2019", "epyc_7742"),
    *("bandwidth=1MHz,2MHz", "amplifier.gain=1e3,nan", "gain=1e4", "gain=0", "offset=1uV:1mV"),
    *("offset=:", "=", "wire.word=1ohm", "1,2,3e-6", "-1,0,0", "1,2", "layer", "column", "best"),
    *(
        "3x4",
        "0x1",
        "9999999x9999999",
        "1 h",
        "9**9**9 s",
        "-1 s",
        "nan s",
        "cuda",
        "cuda:99",
        "cpu",
    ),
)


def texts() -> st.SearchStrategy[str]:
    return st.one_of(st.sampled_from(_WORDS), odd_texts(), odd_quantities())


def values(parameter: click.Parameter) -> st.SearchStrategy[str]:
    """Values for an option, of the kind that it takes or of another."""
    kind, others = parameter.type, st.one_of(texts(), st.sampled_from(_NAMES))
    likely: st.SearchStrategy[str]
    if isinstance(kind, click.Choice):
        likely = st.sampled_from([str(choice) for choice in kind.choices])
    elif isinstance(kind, click.IntRange | click.types.FloatParamType):
        likely = st.one_of(odd_numbers().map(_written), st.integers(0, 4).map(str))
    elif isinstance(kind, click.Path):
        likely = st.sampled_from(_NAMES)
    elif kind.name == "N-N-N":
        likely = st.sampled_from(_SIZES)
    else:
        likely = others
    return st.one_of(likely, likely, likely, others)


def _written(number: float) -> str:
    try:
        return str(number)
    except ValueError:  # thousands of digits
        return "9" * 5000


@st.composite
def command_lines(draw: st.DrawFn) -> list[str]:
    """A command with a few of its options."""
    name = draw(st.sampled_from(sorted(PARAMETERS)))
    words = [name]
    for parameter in draw(st.lists(st.sampled_from(PARAMETERS[name]), max_size=5)):
        if isinstance(parameter, click.Option):
            option = draw(st.sampled_from([*parameter.opts, *parameter.secondary_opts]))
            if parameter.is_flag or draw(st.integers(0, 40)) == 0:
                words.append(option)
            elif draw(st.booleans()):
                words += [option, draw(values(parameter))]
            else:
                words.append(f"{option}={draw(values(parameter))}")
        else:
            words.append(draw(values(parameter)))
    if draw(st.integers(0, 20)) == 0:
        words.insert(draw(st.integers(0, len(words))), draw(texts()))
    return [word.replace("\0", "") for word in words]  # no command line holds this one


@cache
def belongings() -> Path:
    """A folder of the user's: networks, cards, notes, a picture, what is broken."""
    place = Path(tempfile.mkdtemp(prefix="fuzz-"))
    network = network_of([3, 4, 2])
    model = Model(network, DirectFeedback.transposed(network), PI(), 0.2)
    records.write(place / "w.h5", {"network": model_tree(model)})
    records.write(place / "ours.h5", {"kind": "compare", "seed": 1, "network": model_tree(model)})
    with h5py.File(place / "foreign.h5", "w") as file:
        file["x"] = np.ones((2, 3))
    (place / "broken.h5").write_bytes((place / "foreign.h5").read_bytes()[:900])
    (place / "locked.h5").write_bytes(b"\x89HDF\r\n\x1a\n")
    for name, source in (("card", "discrete_100mhz"), ("device", "devices/pcm_nandakumar2019")):
        shutil.copy(ROOT / "calibration" / f"{source}.toml", place / f"{name}.toml")
    (place / "notes.txt").write_text("mine")
    (place / "w.csv").write_text("1,2\n3,4\n")
    (place / "photo.png").write_bytes(b"\x89PNG mine")
    (place / "folder").mkdir()
    (place / "link.h5").symlink_to("foreign.h5")
    (place / "ring.h5").symlink_to("ring.h5")
    records.read(place / "foreign.h5")  # from now on there is the process that reads such files
    return place


_OURS = ("w.h5", "ours.h5")  # a record may take the place of one


def contents(place: Path) -> dict[str, str]:
    """What is in the user's files that no command may change."""
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in place.iterdir()
        if path.is_file() and path.name in _KEPT
    }


_KEPT = frozenset(
    name for name in _NAMES if "/" not in name and "." in name and name not in (".", "..", *_OURS)
) - {"new.h5", "new.png"}


class _Computes(BaseException):
    """A command line was taken."""


def _compute(*arguments: object, **options: object) -> NoReturn:
    raise _Computes


@contextmanager
def nothing_computed() -> Iterator[None]:
    """Commands end where their work would begin; no network is trained for them."""
    with ExitStack() as stack:
        for name in COMPUTED:
            module, _, function = name.partition(".")
            stack.enter_context(patch(f"analogdfc.cli.{module}.{function}", _compute))
        stack.enter_context(patch("analogdfc.cases._learn", lambda *arguments: 0.5))
        yield


def run(words: list[str]) -> None:
    """Run a command line, and check how it ends."""
    try:
        result = CliRunner().invoke(cli, words, prog_name="analogdfc")
    except _Computes:
        return
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code in (0, 1, 2), result.exit_code
    if result.exit_code == 2:
        last = result.stderr.rstrip("\n").rpartition("\n")[2]
        assert last.startswith("Error: "), result.stderr[-300:]
        raise UserError(last)  # to be counted, and looked at


@fuzz("command lines")
@given(command_lines())
def test_a_command_line_is_taken_or_refused(words: list[str]) -> None:
    source = belongings()
    with folder() as place:
        shutil.copytree(source, place, symlinks=True, dirs_exist_ok=True)
        before = contents(place)
        with chdir(place), nothing_computed(), clear("command lines", words, seconds=20):
            run(words)
            assert contents(place) == before, "a file of the user's was changed"

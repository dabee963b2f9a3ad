"""HDF5 files of other programs: what is asked for is read, whatever stands beside it."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from analogdfc import records
from analogdfc.cli._given import learned_on
from analogdfc.cli._matrix import read_matrix
from analogdfc.errors import UserError
from analogdfc.storage import read_model

W = np.arange(6.0).reshape(2, 3)


def latin(file: h5py.File) -> None:
    """A text of fixed length and one of variable length, both with bytes that aren't UTF-8."""
    file["note"] = np.array([b"5 \xb5S"], dtype="S4")
    kind = h5py.string_dtype("utf-8")
    file.create_dataset("more", (1,), kind).id.write(
        h5py.h5s.ALL, h5py.h5s.ALL, np.array([b"5 \xb5S"], dtype=object), h5py.h5t.py_create(kind)
    )
    file.attrs["author"] = np.bytes_(b"Andr\xe9")


def table(file: h5py.File) -> None:
    file["pairs"] = np.zeros(2, dtype=[("a", "f8"), ("b", "S3")])
    file.attrs.create("pair", np.zeros(1, dtype=[("a", "f8")]))


def ragged(file: h5py.File) -> None:
    file.create_dataset("ragged", (2,), h5py.vlen_dtype(np.float64))


def references(file: h5py.File) -> None:
    file.create_dataset("pointer", data=file.ref, dtype=h5py.ref_dtype)
    file.create_dataset("region", (), h5py.regionref_dtype)


def links(file: h5py.File) -> None:
    file["soft"] = h5py.SoftLink("/W")
    file["dangling"] = h5py.SoftLink("/nowhere")
    file["outside"] = h5py.ExternalLink("none.h5", "/x")
    file["ring"] = h5py.SoftLink("/")


def empty(file: h5py.File) -> None:
    file["empty"] = h5py.Empty("f8")
    file.attrs["nothing"] = h5py.Empty("f8")


def scales(file: h5py.File) -> None:
    """What netCDF makes of a matrix: its attributes are references to its axes."""
    for name in ("W", "network/W1"):
        file[f"axis of {name[-2:].strip('/')}"] = np.arange(2)
        axis = file[f"axis of {name[-2:].strip('/')}"]
        axis.make_scale()
        file[name].dims[0].attach_scale(axis)


def types(file: h5py.File) -> None:
    file["committed"] = np.dtype("f8")
    file["long"] = np.ones(2, dtype=np.longdouble)
    file["opaque"] = np.zeros(2, dtype="V3")


def large(file: h5py.File) -> None:
    """320 MB that take no place on the disk."""
    file.create_dataset("large", (40_000_000,), "f8", chunks=(1_000_000,))


NEIGHBOURS = [latin, table, ragged, references, links, empty, scales, types, large]


@pytest.fixture
def made(tmp_path: Path) -> Callable[[Callable[[h5py.File], None]], Path]:
    def make(neighbour: Callable[[h5py.File], None]) -> Path:
        with h5py.File(tmp_path / "w.h5", "w") as file:
            file["W"] = W
            file["network/W1"] = W
            neighbour(file)
        return tmp_path / "w.h5"

    return make


@pytest.mark.parametrize("neighbour", NEIGHBOURS)
def test_a_matrix_is_read_whatever_stands_beside_it(
    made: Callable[..., Path], neighbour: Callable[[h5py.File], None]
) -> None:
    path = made(neighbour)
    read_matrix(f"{path}:W", "weights")  # imports what it needs
    tracemalloc.start()
    assert read_matrix(f"{path}:W", "weights").numpy() == pytest.approx(W)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 1e6
    with pytest.raises(UserError, match=r"which data set\? .*matrices W, network/W1"):
        read_matrix(str(path), "weights")


@pytest.mark.parametrize("neighbour", NEIGHBOURS)
def test_a_network_is_read_whatever_stands_beside_it(
    made: Callable[..., Path], neighbour: Callable[[h5py.File], None]
) -> None:
    path = made(neighbour)
    tracemalloc.start()
    assert read_model(path).network.sizes == (3, 2)
    assert learned_on(path) is None
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 5e6


def test_a_link_within_the_file_is_followed(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "w.h5", "w") as file:
        file["layers/first"] = W
        file["W"] = h5py.SoftLink("/layers/first")
        file["alias"] = h5py.SoftLink("/layers")
        file["network/W1"] = h5py.SoftLink("/layers/first")
    for name in ("W", "alias/first"):
        assert read_matrix(f"{tmp_path}/w.h5:{name}", "weights").numpy() == pytest.approx(W)
    assert read_model(tmp_path / "w.h5").network.sizes == (3, 2)


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("note", "'note' must be an array of numbers"),
        ("pairs", "'pairs' is of the type .*; it must be a text or numbers"),
        ("ragged", "'ragged' is of the type object"),
        ("long", "'long' has numbers of the type float128; none may be longer than 64 bits"),
        ("pointer", "'pointer' is of the type object"),
        ("dangling", "'dangling' is a link to '/nowhere', which isn't there"),
        ("outside", "'outside' is a link to somewhere else; it must be in the file"),
        ("empty", "'empty' is empty"),
        ("committed", "'/committed' is neither a group nor a dataset"),
        ("large", "'large' has 40000000 numbers; 1 to 1048576 are allowed"),
        ("network", "'network' must be an array of numbers"),
        ("W/x", "missing key 'W/x'; no 'x' in 'W'"),
        ("network/W2", "missing key 'network/W2'; no 'W2' in 'network'; there is: W1"),
    ],
)
def test_what_is_asked_for_and_no_matrix_is_named(
    made: Callable[..., Path], key: str, message: str
) -> None:
    def all_of_them(file: h5py.File) -> None:
        for neighbour in NEIGHBOURS:
            neighbour(file)

    path = made(all_of_them)
    with pytest.raises(UserError, match=message) as caught:
        read_matrix(f"{path}:{key}", "weights")
    assert "damaged" not in str(caught.value)


def test_a_text_that_is_asked_for_and_is_not_utf_8_is_named(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "w.h5", "w") as file:
        latin(file)
    for key in ("note", "more", "author"):
        with pytest.raises(UserError, match=f"'{key}' is a text that isn't UTF-8"):
            records.read(tmp_path / "w.h5", key)


def test_what_was_not_asked_for_is_there_and_not_read(tmp_path: Path) -> None:
    path = records.write(tmp_path / "r.h5", {"a": {"x": 1.0}, "b": {"y": 2.0}, "seed": 3})
    record = records.read(path, "a", "seed")
    assert (record.number("a/x"), record.integer("seed")) == (1.0, 3)
    assert "b" in record
    assert "b" not in record.tree
    with pytest.raises(LookupError, match="'b/y' is in the file, and wasn't read"):
        record.number("b/y")
    with pytest.raises(UserError, match=r"missing key 'c'.*there is: a, b, seed"):
        record.number("c")


def test_a_name_that_is_not_utf_8_is_told(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "w.h5", "w") as file:
        file.create_dataset(b"W\xfc", data=W)
    for ask in (records.arrays, records.matrices):
        with pytest.raises(UserError, match=r"w\.h5: the name b'W\\xfc' in it is not UTF-8"):
            ask(tmp_path / "w.h5")

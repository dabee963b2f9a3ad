"""Records: whole or not at all, the same bytes for the same data, errors that name file and key."""

from __future__ import annotations

import errno
import os
import string
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from analogdfc import records
from analogdfc.errors import UserError
from analogdfc.records import Quantity, apart, writing

TREE: records.Tree = {
    "seed": 2**63 + 5,
    "card": "[card]\nname = 'µ'\n" * 10_000,  # longer than the 64 KiB of older attributes
    "auto_zero": True,
    "tolerance": 1e-3,
    "ideal": {
        "t": Quantity(np.linspace(0.0, 1e-3, 5), "s", "time since the reset"),
        "v1": Quantity(np.arange(10.0).reshape(5, 2), "V"),
        "settling": Quantity(3e-4, "s"),
        "signals": ["v1", "u", "τ"],
        "poles": np.array([-1.0 + 2.0j, -1.0 - 2.0j]),
    },
    "empty": {},
}


def same(one: Any, other: Any) -> bool:
    if isinstance(one, Quantity):
        return (
            isinstance(other, Quantity)
            and (one.units, one.description) == (other.units, other.description)
            and same(one.values, other.values)
        )
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | np.ndarray):
        one = np.asarray(one)
        return one.dtype.kind == other.dtype.kind and np.array_equal(
            one, other, equal_nan=one.dtype.kind in "fc"
        )
    return type(one) is type(other) and bool(one == other)


names = st.text(string.ascii_letters + string.digits + "_ τ", min_size=1, max_size=8)
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=40)
arrays = npst.arrays(
    st.sampled_from([np.dtype(kind) for kind in ("f8", "f4", "i8", "u1", "?", "c16")]),
    npst.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=4),
)
leaves = st.one_of(
    arrays,
    st.builds(Quantity, arrays, texts, texts),
    texts,
    st.booleans(),
    st.integers(-(2**63), 2**64 - 1),
    st.floats(allow_nan=False),
)
trees = st.recursive(
    st.dictionaries(names, leaves, max_size=4),
    lambda inner: st.dictionaries(names, st.one_of(leaves, inner), max_size=4),
    max_leaves=8,
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(tree=trees)
def test_what_is_read_is_what_was_written(tmp_path: Path, tree: dict[str, Any]) -> None:
    path = records.write(tmp_path / "record.h5", tree)
    assert same(tree, records.read(path).tree)


def test_a_long_text_a_large_seed_and_every_kind_of_leaf_come_back(tmp_path: Path) -> None:
    assert same(TREE, records.read(records.write(tmp_path / "record.h5", TREE)).tree)


def test_same_data_gives_the_same_bytes_later_and_elsewhere(tmp_path: Path) -> None:
    first = records.write(tmp_path / "first.h5", TREE).read_bytes()
    time.sleep(1.1)  # HDF5 keeps times in whole seconds
    assert records.write(tmp_path / "second.h5", TREE).read_bytes() == first


def test_other_programs_find_the_unit_on_the_dataset(tmp_path: Path) -> None:
    with h5py.File(records.write(tmp_path / "record.h5", TREE)) as file:
        dataset = file["ideal/t"]
        assert dataset.attrs["units"] == b"s"
        assert dataset.attrs["description"] == b"time since the reset"
        assert file.attrs["seed"] == 2**63 + 5


def test_nothing_but_the_record_is_left_beside_it(tmp_path: Path) -> None:
    records.write(tmp_path / "record.h5", TREE)
    records.write(tmp_path / "record.h5", {"seed": 1})
    assert [path.name for path in tmp_path.iterdir()] == ["record.h5"]


def test_a_record_is_replaced_where_a_symbolic_link_points(tmp_path: Path) -> None:
    target = records.write(tmp_path / "record.h5", {"seed": 1})
    link = tmp_path / "link.h5"
    link.symlink_to(target)
    records.write(link, {"seed": 2})
    assert link.is_symlink()
    assert records.read(target).integer("seed") == 2


@pytest.mark.parametrize("call", ["open", "replace"])
def test_a_failed_write_leaves_the_old_record_untouched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    path = records.write(tmp_path / "record.h5", TREE)
    before = path.read_bytes()

    def full(*args: object, **kwargs: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    if call == "open":
        monkeypatch.setattr(writing, "open", full, raising=False)
    else:
        monkeypatch.setattr(os, "replace", full)
    with pytest.raises(UserError, match=r"record\.h5: cannot be written: No space left"):
        records.write(path, {"seed": 1})
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("leaf", "error"),
    [
        (np.array([{"a": 1}], dtype=object), TypeError),
        (object(), TypeError),
        (None, TypeError),
        ("a\0", ValueError),
        (["a\0", "b"], ValueError),
        ({"a/b": 1}, ValueError),
        ({"": 1}, ValueError),
        (2**64, TypeError),
    ],
)
def test_a_leaf_that_would_need_pickling_is_refused_and_named(
    tmp_path: Path, leaf: Any, error: type[Exception]
) -> None:
    path = records.write(tmp_path / "record.h5", {"seed": 1})
    with pytest.raises(error, match="group/leaf"):
        records.write(path, {"group": {"leaf": leaf}})
    assert records.read(path).integer("seed") == 1


def missing_directory(path: Path) -> Path:
    return path / "nowhere" / "record.h5"


def directory(path: Path) -> Path:
    return path


def file_as_directory(path: Path) -> Path:
    (path / "file").touch()
    return path / "file" / "record.h5"


def no_permission(path: Path) -> Path:
    return Path("/proc/record.h5")  # nobody may write there, root neither


def device(path: Path) -> Path:
    return Path("/dev/null")


def other_file(path: Path) -> Path:
    card = path / "card.toml"
    card.write_text("[card]")
    return card


def loop_of_links(path: Path) -> Path:
    (path / "loop.h5").symlink_to(path / "loop.h5")
    return path / "loop.h5"


def long_name(path: Path) -> Path:
    return path / ("x" * 300)


@pytest.mark.parametrize(
    "place",
    [
        missing_directory,
        directory,
        file_as_directory,
        no_permission,
        device,
        other_file,
        loop_of_links,
        long_name,
    ],
)
def test_a_path_that_cannot_be_written_is_refused_before_the_work(
    tmp_path: Path, place: Any
) -> None:
    path = place(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    attempts: list[Callable[[], object]] = [
        lambda: records.check_writable(path),
        lambda: records.write(path, TREE),
    ]
    for attempt in attempts:
        with pytest.raises(UserError, match=r"cannot be written: .*allowed is") as caught:
            attempt()
        assert str(caught.value).startswith(f"{path}:")
    assert sorted(tmp_path.rglob("*")) == before


def test_a_write_protected_record_is_not_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = records.write(tmp_path / "record.h5", {"seed": 1})
    path.chmod(0o444)
    # Root may write everything; what anybody else would be told is simulated.
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(UserError, match="write-protected"):
        records.write(path, {"seed": 2})
    assert records.read(path).integer("seed") == 1


def test_checking_a_path_creates_nothing_and_damages_nothing(tmp_path: Path) -> None:
    path = tmp_path / "record.h5"
    records.check_writable(path)
    assert list(tmp_path.iterdir()) == []
    records.write(path, TREE)
    before = path.read_bytes()
    records.check_writable(path)
    assert path.read_bytes() == before


def test_a_record_says_its_format_and_a_later_one_is_refused_by_its_number(tmp_path: Path) -> None:
    path = records.write(tmp_path / "record.h5", {"seed": 1})
    assert records.read(path).format == records.FORMAT == 1
    with h5py.File(path, "a") as file:
        file.attrs["analogdfc_format"] = 2
    with pytest.raises(UserError, match=r"record\.h5: is a record in format 2; .* up to 1"):
        records.read(path)
    with pytest.raises(ValueError, match="analogdfc_format"):
        records.write(path, {"analogdfc_format": 1})


def test_a_record_of_a_version_without_formats_is_read_and_replaced(tmp_path: Path) -> None:
    path = tmp_path / "record.h5"
    with h5py.File(path, "w") as file:
        file.attrs["seed"] = 3
        file.create_group("provenance").attrs["analogdfc"] = "0.1"
    old = records.read(path)
    assert (old.format, old.integer("seed")) == (0, 3)
    assert records.read(records.write(path, {"seed": 4})).format == 1


def test_a_file_of_another_program_is_read_but_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "weights.h5"
    with h5py.File(path, "w") as file:
        file["network/W1"] = np.ones((2, 3))
    assert records.read(path).array("network/W1").shape == (2, 3)
    for attempt in (records.check_writable, lambda p: records.write(p, TREE)):
        with pytest.raises(UserError, match="the existing file is no record"):
            attempt(path)


def test_dimensions_have_names_that_others_read(tmp_path: Path) -> None:
    quantity = Quantity(np.zeros((2, 3)), "V", "", ("sample", "neuron"))
    path = records.write(tmp_path / "record.h5", {"v1": quantity})
    with h5py.File(path) as file:
        assert [d.label for d in file["v1"].dims] == ["sample", "neuron"]
    read = records.read(path)["v1"]
    assert isinstance(read, Quantity)
    assert read.dims == ("sample", "neuron")
    with pytest.raises(ValueError, match="1 names of 2 dimensions"):
        Quantity(np.zeros((2, 3)), "V", "", ("sample",))


def test_a_file_that_is_not_a_record_is_named(tmp_path: Path) -> None:
    text = tmp_path / "weights.h5"
    text.write_text("not HDF5")
    with pytest.raises(UserError, match=r"weights\.h5: not an HDF5 file"):
        records.read(text)
    with pytest.raises(UserError, match=r"none\.h5: there is no such file"):
        records.read(tmp_path / "none.h5")
    with pytest.raises(UserError, match="is a directory"):
        records.read(tmp_path)


def test_a_truncated_file_is_an_error_and_no_numbers(tmp_path: Path) -> None:
    path = records.write(tmp_path / "record.h5", TREE)
    whole = path.read_bytes()
    for length in (1, 8, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(UserError, match=r"record\.h5: "):
            records.read(path)


def test_types_that_are_neither_text_nor_number_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "foreign.h5"
    with h5py.File(path, "w") as file:
        file["pairs"] = np.zeros(2, dtype=[("a", "f8"), ("b", "i4")])
    with pytest.raises(UserError, match=r"foreign\.h5: 'pairs' is of the type"):
        records.read(path)
    with h5py.File(path, "w") as file:
        file["elsewhere"] = h5py.ExternalLink("other.h5", "/x")
    with pytest.raises(UserError, match=r"'elsewhere' is a link"):
        records.read(path)
    with h5py.File(path, "w") as file:
        file["group/self"] = file["/"]
    with pytest.raises(UserError, match="holds itself"):
        records.read(path)
    with h5py.File(path, "w") as file:
        file.create_group("/".join(["deep"] * 40))
    with pytest.raises(UserError, match="nested deeper"):
        records.read(path)


def test_weights_of_another_program_are_read(tmp_path: Path) -> None:
    path = tmp_path / "foreign.h5"
    with h5py.File(path, "w") as file:
        file["W1"] = np.ones((2, 3), dtype=">f4")
        file["W1"].attrs["units"] = "1"  # of variable length, as h5py writes it
        file["card"] = "name = 'µ'"
        file.attrs["author"] = "somebody"
        file.attrs["sizes"] = [3, 2]
    record = records.read(path)
    assert record.array("W1", shape=(2, 3), units="1").dtype == np.dtype("f4")
    assert record.text("card") == "name = 'µ'"
    assert record.text("author") == "somebody"
    assert record.array("sizes").tolist() == [3, 2]


def test_a_missing_key_is_named_with_what_there_is(tmp_path: Path) -> None:
    record = records.read(records.write(tmp_path / "record.h5", TREE))
    with pytest.raises(UserError, match=r"missing key 'ideal/setling'.*did you mean 'settling'"):
        record.number("ideal/setling")
    with pytest.raises(UserError, match=r"record\.h5: missing key 'weights/W1'.*there is: "):
        record.array("weights/W1")
    with pytest.raises(UserError, match="missing key 'seed/more'"):
        record.array("seed/more")
    assert "ideal/v1" in record
    assert "ideal/v2" not in record


def test_a_value_of_another_kind_than_asked_for_is_named(tmp_path: Path) -> None:
    record = records.read(records.write(tmp_path / "record.h5", TREE))
    assert record.number("tolerance") == 1e-3
    assert record.number("ideal/settling") == 3e-4
    assert record.group("ideal").keys() == TREE["ideal"].keys()  # type: ignore[union-attr]
    for wrong in (
        lambda: record.text("seed"),
        lambda: record.number("auto_zero"),
        lambda: record.integer("tolerance"),
        lambda: record.group("seed"),
        lambda: record.array("card"),
        lambda: record.array("ideal/signals"),
    ):
        with pytest.raises(UserError, match=r"record\.h5: '[a-z/_]+' must be"):
            wrong()


def test_an_array_of_wrong_shape_unit_or_with_nan_is_refused(tmp_path: Path) -> None:
    weights = np.ones((3, 2))
    weights[2, 1] = np.nan
    path = records.write(tmp_path / "record.h5", {"W": weights, "g": Quantity([1.0], "uS")})
    record = records.read(path)
    with pytest.raises(UserError, match=r"'W' has the shape 3 x 2; it must be any x 4"):
        record.array("W", shape=(None, 4))
    with pytest.raises(UserError, match=r"'W' holds nan at index \(2, 1\)"):
        record.array("W", shape=(3, 2))
    assert np.isnan(record.array("W", finite=False)[2, 1])
    with pytest.raises(UserError, match=r"'g' is in 'uS'; it must be in 'S'"):
        record.array("g", units="S")


def test_provenance_has_the_versions_and_a_command_line_without_places() -> None:
    made_by = records.provenance(["/somewhere/bin/analogdfc", "compare", "-o", "a b.h5"])
    assert made_by.keys() == {"analogdfc", "python", "numpy", "torch", "command"}
    assert made_by["command"] == "analogdfc compare -o 'a b.h5'"


def test_threads_write_records_at_the_same_time(tmp_path: Path) -> None:
    tree = {"a": Quantity(np.zeros(100_000), "1")}
    with ThreadPoolExecutor(8) as pool:
        paths = list(pool.map(lambda k: records.write(tmp_path / f"{k}.h5", tree), range(32)))
    assert len({path.read_bytes() for path in paths}) == 1


# Damaged files


GOLDEN = Path(__file__).parent / "golden"


def test_a_file_on_which_hdf5_crashes_is_refused_and_this_process_lives() -> None:
    with pytest.raises(UserError, match=r"damaged_crash\.h5: the HDF5 file is damaged"):
        records.read(GOLDEN / "damaged_crash.h5")
    with pytest.raises(UserError, match="would be lost"):
        records.check_writable(GOLDEN / "damaged_crash.h5")


def test_a_file_that_keeps_hdf5_busy_for_ever_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apart, "_SECONDS", 1)
    with pytest.raises(UserError, match=r"damaged_endless\.h5: the HDF5 file is damaged"):
        records.read(GOLDEN / "damaged_endless.h5")


def test_a_record_in_which_one_bit_has_changed_is_refused(tmp_path: Path) -> None:
    path = records.write(tmp_path / "record.h5", {"x": np.ones(1000)})
    whole = path.read_bytes()
    at = whole.index(np.ones(1).tobytes()) + 8
    for place in (at, len(whole) - 1):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(UserError, match="damaged: it isn't what was written"):
            records.read(path)


def test_a_record_that_another_program_has_changed_is_read(tmp_path: Path) -> None:
    path = records.write(tmp_path / "record.h5", {"x": np.ones(3)})
    with h5py.File(path, "r+") as file:
        file["x"][1] = 2.0
    assert records.read(path).array("x").tolist() == [1.0, 2.0, 1.0]
    records.write(path, {"x": np.zeros(3)})


def test_a_file_of_another_program_is_found_where_the_program_works_now(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in (1, 2):
        (tmp_path / str(number)).mkdir()
        monkeypatch.chdir(tmp_path / str(number))
        with h5py.File("w.h5", "w") as file:
            file["x"] = [number]
        assert records.read("w.h5").array("x").tolist() == [number]


def test_a_data_set_larger_than_its_file_can_hold_is_refused_and_not_made(tmp_path: Path) -> None:
    path = tmp_path / "sparse.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("W", (10**5, 10**5), "f8", chunks=(100, 100))
    with pytest.raises(UserError, match="'W' would have 100000 x 100000 values"):
        records.read(path)


def test_names_that_are_no_text_and_groups_in_a_ring_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "foreign.h5"
    with h5py.File(path, "w") as file:
        file.create_group(b"W\xe9")
    with pytest.raises(UserError, match="a name is a text in UTF-8"):
        records.read(path)
    with h5py.File(path, "w") as file:
        for name in "abcdefghij":  # each twice: 2^32 paths
            file.require_group(name)
        for one, other in zip("abcdefghi", "bcdefghij", strict=True):
            file[one]["x"], file[one]["y"] = file[other], file[other]
        file["j"]["again"] = file["a"]
    with pytest.raises(UserError, match="holds itself"):
        records.read(path)


def test_what_a_record_says_is_a_text_and_what_holds_is_true_or_false() -> None:
    record = records.Record(Path("r.h5"), {"kind": np.array(["a", "a"]), "it": "no", "ok": True})
    assert not record.says("kind", "a")
    assert not record.says("none", "a")
    assert record.says("it", "no")
    assert record.truth("ok")
    with pytest.raises(UserError, match=r"r\.h5: 'it' must be true or false"):
        record.truth("it")


def test_values_that_are_in_other_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(np.arange(3.0).tobytes())
    path = tmp_path / "foreign.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("x", (3,), "f8", external=[(str(tmp_path / "secret"), 0, 24)])
    with pytest.raises(UserError, match="'x' has its values in other files"):
        records.read(path)
    with h5py.File(path, "w") as file:
        layout = h5py.VirtualLayout((3,), "f8")
        layout[:] = h5py.VirtualSource("other.h5", "x", (3,))
        file.create_virtual_dataset("x", layout)
    with pytest.raises(UserError, match="'x' has its values in other files"):
        records.read(path)

"""Fuzzed HDF5 files: damaged bytes, and trees of which parts are wrong, missing or too much."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import cache, partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import h5py
import numpy as np
import torch
from fuzzing import clear, folder, fuzz
from hypothesis import given
from hypothesis import strategies as st
from strategies import Edit, changed_bytes, edits, network_of

from analogdfc import records
from analogdfc.cards import Card
from analogdfc.cases import stored
from analogdfc.circuit import Design
from analogdfc.circuit.devices import Devices
from analogdfc.controller import PI
from analogdfc.cost.sweep import Cost, Point, PointRun
from analogdfc.datasets import load_dataset
from analogdfc.errors import UserError
from analogdfc.experiments.keeping import check_finished
from analogdfc.feedback import DirectFeedback
from analogdfc.jobs.kept import Run, Spool
from analogdfc.jobs.task import Shared
from analogdfc.onchip.substrate import ChipSubstrate
from analogdfc.records import Quantity, Tree, apart
from analogdfc.sizing.trial import Outcome
from analogdfc.sizing.workers import Evaluated
from analogdfc.storage import Model, model_tree, read_model
from analogdfc.training import Experiment, Trainer, checkpoint_tree, restore, task_of

ROOT = Path(__file__).parents[1]


def model(sizes: list[int]) -> dict[str, Any]:
    """The branch 'network' of a record."""
    network = network_of(sizes)
    return model_tree(Model(network, DirectFeedback.transposed(network), PI(), 0.2))


def of_compare() -> Tree:
    """What a record has that another command reads."""
    devices = Devices.of("pcm_nandakumar2019", 3600.0)
    return {
        "kind": "compare",
        "network": model([3, 4, 2]),
        "card": (ROOT / "calibration" / "discrete_100mhz.toml").read_text("utf-8"),
        "devices": devices.tree(),
        "readout": {"double_sampling": True, "auto_zero": True, "relative_target": False},
        "seed": 3,
        "chip_seed": 4,
        "samples": {"x": Quantity(np.zeros((2, 3)), "1", "inputs", ("sample", "neuron"))},
        "layers": ["1", "2"],
    }


@cache
def experiment() -> Experiment:
    return Experiment(rule="ddtp-linear", dataset="xor", sizes=(2, 3, 1), loss="l2")


@cache
def data() -> Any:
    return load_dataset("xor")


def trainer() -> Trainer:
    return experiment().trainer(data())


@cache
def checkpoint() -> Tree:
    return checkpoint_tree(trainer(), experiment().about())


def image(tree: Tree) -> bytes:
    """The bytes of a record, without its seal: as if another program had written it."""
    with folder() as place:
        content = records.write(place / "r.h5", tree).read_bytes()
    return content[: content.rindex(b"analogdfc SHA-256 ")]


@cache
def images() -> list[bytes]:
    """Records, and a file as another program writes it: the oldest format, packed, mixed types."""
    with folder() as place:
        with h5py.File(place / "old.h5", "w") as file:
            group = file.create_group("network")
            group.create_dataset("W1", data=np.ones((4, 3)), compression="gzip", chunks=(2, 2))
            group.create_dataset("W2", data=np.ones((2, 4), ">f4"), fletcher32=True, shuffle=True)
            group["activation"], group.attrs["rule"] = "tanh", "dfc"
            group["texts"] = np.array(["aa", "b"], dtype=h5py.string_dtype())
        old = (place / "old.h5").read_bytes()
        records.read(place / "old.h5")  # from now on there is the process that reads such files
    sealed = old + apart.seal(old)
    return [image(of_compare()), old, old, sealed]


def edited(path: Path, changes: list[Edit]) -> None:
    """Change a file as another program could."""
    with h5py.File(path, "r+") as file:
        for place, what, value in changes:
            places: list[tuple[str, str]] = []
            file.visititems(partial(_note, places))
            places = places or [("network", "")]
            name, attribute = places[place % len(places)]
            with suppress(ValueError, TypeError, KeyError, OSError, RuntimeError, OverflowError):
                if attribute:
                    _edit_attribute(file[name].attrs, attribute, what, value)
                else:
                    _edit(file, name, what, value)


def _note(places: list[tuple[str, str]], name: str, node: h5py.Group | h5py.Dataset) -> None:
    """Arrays twice as often as groups and attributes."""
    places += [(name, "")] * (1 + isinstance(node, h5py.Dataset))
    places += [(name, attribute) for attribute in node.attrs]


def _edit_attribute(attributes: h5py.AttributeManager, name: str, what: str, value: Any) -> None:
    if what == "add":
        attributes[f"{name}x"] = value
        return
    del attributes[name]
    if what == "empty":
        attributes[name] = h5py.Empty("f8")
    elif what == "bytes":
        attributes[name] = np.bytes_(b"\xff\xfe")
    elif what == "pairs":
        attributes.create(name, np.zeros(1, dtype=[("a", "f8")]))
    elif what != "leave out":
        attributes[name] = value


def _edit(file: h5py.File, name: str, what: str, value: Any) -> None:
    whole = file.get(name)
    if what == "attribute" and whole is not None:
        whole.attrs["units"] = value
        return
    if what == "numbers" and isinstance(whole, h5py.Dataset):
        if whole.size is None or whole.size < 10**6:  # else every chunk would be written
            whole[...] = value
        return
    if what == "add":
        name = f"{name}x" if isinstance(whole, h5py.Dataset) else f"{name}/W9"
    elif name in file:
        del file[name]
    made: dict[str, Callable[[], object]] = {
        "value": lambda: file.create_dataset(name, data=value),
        "add": lambda: file.create_dataset(name, data=value),
        "empty": lambda: file.create_dataset(name, data=h5py.Empty("f8")),
        "ragged": lambda: file.create_dataset(name, (2,), h5py.vlen_dtype(np.float64)),
        "pairs": lambda: file.create_dataset(name, (2,), [("a", "f8"), ("b", "S3")]),
        "reference": lambda: file.create_dataset(name, data=file.ref, dtype=h5py.ref_dtype),
        "soft link": lambda: file.__setitem__(name, h5py.SoftLink("/network/W1")),
        "outside link": lambda: file.__setitem__(name, h5py.ExternalLink("/etc/passwd", "/")),
        "ring": lambda: file.__setitem__(name, file["/"]),
        "group": lambda: file.create_group(name),
        "large": lambda: file.create_dataset(name, (10**6, 10**6), "f8", chunks=(9, 9)),
        "text": lambda: file.create_dataset(name, data="tanh"),
        "bytes": lambda: file.create_dataset(name, data=np.array(b"\xff\xfe", dtype="S2")),
    }
    if what in made:
        made[what]()


@fuzz("damaged HDF5 files")
@given(changed_bytes(images()))
def test_a_damaged_file_is_read_or_refused(content: bytes) -> None:
    with folder() as place, patch("analogdfc.records.apart._SECONDS", 2):
        (place / "r.h5").write_bytes(content)
        with clear("damaged HDF5 files", content, seconds=60):
            records.read(place / "r.h5")
        with suppress(UserError):
            read_model(place / "r.h5")
            records.matrices(place / "r.h5")
        with suppress(UserError):
            records.check_writable(place / "r.h5")
        assert (place / "r.h5").read_bytes() == content


@cache
def weights_files() -> list[bytes]:
    return [image({"network": model(sizes)}) for sizes in ([3, 2], [3, 4, 2])]


@fuzz("weights files")
@given(st.integers(0, 1), edits())
def test_a_weights_file_is_read_or_refused(which: int, changes: list[Edit]) -> None:
    with folder() as place:
        (place / "w.h5").write_bytes(weights_files()[which])
        edited(place / "w.h5", changes)
        with clear("weights files", (which, changes)):
            found, _ = stored(place / "w.h5")
            with torch.no_grad():
                out = found.network(torch.zeros(1, found.network.sizes[0], dtype=torch.float64))
            assert out.isfinite().all()


@cache
def record_files() -> list[bytes]:
    return [image(of_compare()), image(checkpoint())]


@fuzz("records")
@given(st.integers(0, 1), edits())
def test_a_record_is_read_or_refused(which: int, changes: list[Edit]) -> None:
    with folder() as place:
        (place / "r.h5").write_bytes(record_files()[which])
        edited(place / "r.h5", changes)
        with clear("records", (which, changes)):
            check_finished(place / "r.h5")
            record = records.read(place / "r.h5")
            task_of(record)
            ChipSubstrate.read(record)
            if which == 1:
                restore(trainer(), record, experiment().about())


@cache
def runs() -> tuple[tuple[Run[Any], Any], ...]:
    """Runs that commands keep, and results of them."""
    network = network_of([3, 2])
    design = Design.of(network, DirectFeedback.transposed(network), Card.load("discrete_100mhz"))
    x = torch.zeros(1, 3, dtype=torch.float64)
    sweep = PointRun(design, 0, x, x[:, :2], "amplifier.gain", 1e3, {})
    workers: Any = Shared(SimpleNamespace(fingerprint={"card": "0"}))
    trial: Run[Any] = Evaluated(workers, {"gain": 1e3})
    return (sweep, Point(1e3, Cost(1e-9, 2.0, 1e-5), "")), (trial, Outcome({"gain": 1e3}, 3.0))


@fuzz("kept runs")
@given(st.integers(0, 1), edits())
def test_a_kept_run_is_read_or_refused(which: int, changes: list[Edit]) -> None:
    run, result = runs()[which]
    with folder() as place, Spool(place / "runs") as spool:
        spool.keep(run, result)
        (file,) = (place / "runs").glob("*.h5")
        edited(file, changes)
        with clear("kept runs", (which, changes)):
            spool.find(run)

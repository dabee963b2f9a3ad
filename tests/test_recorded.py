"""A record of a comparison is used with h5py and NumPy alone: nothing else says what is in it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import h5py
import numpy as np
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray

from analogdfc.cli import cli

RUN = ["compare", "--sizes", "3-4-2", "--samples", "2", "--seed", "3", "--chip-seed", "5",
       "--duration", "5", "--no-causes"]  # fmt: skip
IDEAL, MODEL = "ideal", "behavioural"


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> Iterator[h5py.File]:
    path = tmp_path_factory.mktemp("record") / "c.h5"
    result = CliRunner().invoke(cli, [*RUN, "-o", str(path)])
    assert result.exit_code == 0, result.output
    with h5py.File(path) as file:
        yield file


def array(group: h5py.Group, name: str) -> NDArray[np.float64]:
    return np.asarray(group[name][()], dtype=np.float64)


def weights(record: h5py.File, i: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    return array(record["network"], f"W{i}"), array(record["network"], f"b{i}")


def text(node: Any, name: str) -> str:
    value = node.attrs[name]
    return value.decode() if isinstance(value, bytes) else str(value)


def test_its_format_and_its_settings_are_in_it(record: h5py.File) -> None:
    assert record.attrs["analogdfc_format"] == 1
    settings = record["settings"].attrs
    assert text(record["settings"], "fidelity") == "both"
    assert settings["duration"] == 5
    assert settings["samples"] == 2
    assert settings["double_sampling"]
    assert (record.attrs["seed"], record.attrs["chip_seed"]) == (3, 5)
    assert "output" not in settings


def test_every_waveform_has_names_of_its_dimensions_and_a_description(record: h5py.File) -> None:
    seen = []

    def look(name: str, node: Any) -> None:
        if isinstance(node, h5py.Dataset) and node.ndim and not name.startswith("results"):
            seen.append(name)
            assert all(d.label for d in node.dims), name
            assert text(node, "units"), name

    for part in ("runs", "network", "samples", "angles"):
        record[part].visititems(look)
    assert len(seen) > 50
    labels = [d.label for d in record["runs/ideal/v1"].dims]
    assert labels == ["sample", "time", "neuron"]
    assert [d.label for d in record["network/W1"].dims] == ["to neuron", "from neuron"]
    assert [d.label for d in record["network/Q1"].dims] == ["neuron", "output"]


def test_the_weights_give_the_free_phase_as_their_description_says(record: h5py.File) -> None:
    assert text(record["network/W2"], "description") == "weights: v_ff2 = W2 r1 + b2"
    run, below = record["runs"][IDEAL], array(record["samples"], "x")
    for i in (1, 2):
        w, b = weights(record, i)
        np.testing.assert_allclose(array(run, f"v_ff{i}_free"), below @ w.T + b, atol=1e-9)
        below = array(run, f"r{i}_free")


@pytest.mark.parametrize("name", [IDEAL, MODEL])
def test_the_update_is_formed_as_its_description_says(record: h5py.File, name: str) -> None:
    run = record["runs"][name]
    assert text(run["dW2"], "description") == (
        "update of W2 before a learning rate: mean over t (trapezoidal: the first and the last "
        "count half) of (r2 - r_ff2 - (r2_free - r_ff2_free)) r1^T"
    )
    share = np.ones(len(run["t"]))
    share[[0, -1]] = 0.5
    share /= share.sum()
    x = array(record["samples"], "x")
    before = np.broadcast_to(x[:, None], (2, len(share), 3))
    for i in (1, 2):
        free = array(run, f"r{i}_free") - array(run, f"r_ff{i}_free")
        moved = array(run, f"r{i}") - array(run, f"r_ff{i}") - free[:, None]
        found = np.einsum("t,sti,stj->sij", share, moved, before)
        np.testing.assert_allclose(array(run, f"dW{i}"), found, rtol=1e-9, atol=1e-15)
        found = np.einsum("t,sti->si", share, moved)
        np.testing.assert_allclose(array(run, f"db{i}"), found, rtol=1e-9, atol=1e-15)
        before = array(run, f"r{i}")


def test_the_angle_of_each_sample_is_that_of_its_updates(record: h5py.File) -> None:
    def flat(name: str, sample: int) -> NDArray[np.float64]:
        run = record["runs"][name]
        parts = [array(run, f"d{m}{i}")[sample].ravel() for m in "Wb" for i in (1, 2)]
        return np.concatenate(parts)

    angles = array(record["angles"], "deviation: macro cells against ideal")
    assert angles.shape == (2,)
    for k, angle in enumerate(angles):
        a, b = flat(IDEAL, k), flat("macro cells", k)
        cosine = a @ b / np.linalg.norm(a) / np.linalg.norm(b)
        assert angle == pytest.approx(np.degrees(np.arccos(cosine)), rel=1e-6)


def test_the_chips_own_devices_hold_the_weights_but_for_their_mismatch(record: h5py.File) -> None:
    chip = record["chip"]
    assert chip.attrs["seed"] == 5
    for i in (1, 2):
        bar = chip["crossbars"][f"W{i}"]
        w, b = weights(record, i)
        held = (array(bar, "plus") - array(bar, "minus")) / array(bar, "unit")
        wanted = np.concatenate([w, b[:, None]], axis=1)
        assert held.shape == wanted.shape
        largest = array(bar, "plus").max() / array(bar, "unit")
        assert 0 < np.abs(held - wanted).max() < 0.2 * largest
    offsets = [array(chip["amplifier_offsets"], name) for name in chip["amplifier_offsets"]]
    spread = np.concatenate(offsets).std()
    assert 0.3e-3 < spread < 3e-3, "the card's offset is 1 mV"
    assert all(len(array(chip["tanh_offsets"], name)) for name in chip["tanh_offsets"])

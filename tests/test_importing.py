"""Trained networks of other programs compute the same here, or it is said by name what can't."""

from __future__ import annotations

import json
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from torch import nn

from analogdfc import records
from analogdfc.cli import cli
from analogdfc.errors import UserError
from analogdfc.importing import import_network
from analogdfc.storage import read_model

X = torch.linspace(-1, 1, 20, dtype=torch.float64).reshape(5, 4)


class Theirs(nn.Module):
    """A network of somebody else, 4-3-3-2."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second, self.last = nn.Linear(4, 3), nn.Linear(3, 3), nn.Linear(3, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Output of the input (batch, 4)."""
        last: torch.Tensor = self.last(torch.tanh(self.second(torch.tanh(self.first(x)))))
        return last


THEIRS = Theirs().double()
Y = THEIRS(X).detach()
LAYERS = (THEIRS.first, THEIRS.second, THEIRS.last)


def state(path: Path) -> None:
    torch.save(THEIRS.state_dict(), path)


def old_format(path: Path) -> None:
    torch.save(THEIRS.state_dict(), path, _use_new_zipfile_serialization=False)


def checkpoint(path: Path) -> None:
    moments = {k: {"exp_avg": p.detach()} for k, p in enumerate(THEIRS.parameters())}
    optimizer = {"state": moments, "param_groups": [{"lr": 0.1, "params": list(moments)}]}
    torch.save({"epoch": 3, "model_state_dict": THEIRS.state_dict(), "optim": optimizer}, path)


def npz(path: Path) -> None:
    arrays = {name: value.numpy() for name, value in THEIRS.state_dict().items()}
    np.savez(path, **arrays)


def numbered(path: Path) -> None:
    """Inputs first, as many write it by hand; the bias of the first layer tells."""
    arrays: dict[str, Any] = {}
    for k, layer in enumerate(LAYERS, start=1):
        arrays[f"W{k}"] = layer.weight.detach().numpy().T
        arrays[f"b{k}"] = layer.bias.detach().numpy()
    np.savez(path, **arrays)


def torch_in_hdf5(path: Path) -> None:
    with h5py.File(path, "w") as file:
        for name, layer in zip(("fc1", "fc2", "fc10"), LAYERS, strict=True):
            file[f"{name}/weight"] = layer.weight.detach().numpy()
            file[f"{name}/bias"] = layer.bias.detach().numpy()


def keras_2(path: Path) -> None:
    """As Keras 2 saves a whole model: names of layers twice, kernels of (inputs, outputs)."""
    with h5py.File(path, "w") as file:
        file.attrs["keras_version"] = "2.15.0"
        group = file.create_group("model_weights")
        group.attrs["layer_names"] = np.array([b"dense", b"dense_1", b"dense_2"])
        for name, layer in zip(("dense", "dense_1", "dense_2"), LAYERS, strict=True):
            group[f"{name}/{name}/kernel:0"] = layer.weight.detach().numpy().T
            group[f"{name}/{name}/bias:0"] = layer.bias.detach().numpy()
            group[name].attrs["weight_names"] = [f"{name}/kernel:0", f"{name}/bias:0"]
        file["optimizer_weights/Adam/iter:0"] = 7


def keras_3(path: Path) -> None:
    """As Keras 3 saves weights: variables by their number."""
    with h5py.File(path, "w") as file:
        for name, layer in zip(("dense", "dense_1", "dense_2"), LAYERS, strict=True):
            file[f"layers/{name}/vars/0"] = layer.weight.detach().numpy().T
            file[f"layers/{name}/vars/1"] = layer.bias.detach().numpy()
        file["layers/dropout/seed_generator/vars/0"] = np.array([1, 2], dtype=np.uint32)
        file["optimizer/vars/0"] = 7


def keras_archive(path: Path) -> None:
    weights = path.with_suffix(".weights.h5")
    keras_3(weights)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", "{}")
        archive.write(weights, "model.weights.h5")


@pytest.mark.parametrize(
    ("save", "name", "orientation"),
    [
        (state, "model.pt", "out-in"),
        (old_format, "model.pth", "out-in"),
        (checkpoint, "checkpoint.pt", "out-in"),
        (npz, "model.npz", "out-in"),
        (numbered, "model.npz", "in-out"),
        (torch_in_hdf5, "model.h5", "out-in"),
        (keras_2, "model.h5", "in-out"),
        (keras_3, "model.weights.h5", "in-out"),
        (keras_archive, "model.keras", "in-out"),
    ],
)
def test_a_network_of_another_program_computes_the_same_here(
    save: Callable[[Path], None], name: str, orientation: str, tmp_path: Path
) -> None:
    save(tmp_path / name)
    found = import_network(tmp_path / name, "tanh")
    assert found.network.sizes == (4, 3, 3, 2)
    assert torch.allclose(found.network(X), Y, rtol=1e-12, atol=1e-14)
    assert found.orientations == (orientation,) * 3


def test_the_command_writes_a_file_for_the_others_and_says_how_it_was_read(tmp_path: Path) -> None:
    keras_3(tmp_path / "m.h5")
    out = str(tmp_path / "w.h5")
    arguments = ["import", str(tmp_path / "m.h5"), "--activation", "tanh", "-o", out]
    result = CliRunner().invoke(cli, arguments)
    assert result.exit_code == 0, result.output
    assert "network 4-3-3-2" in result.output
    assert "in-out: rows are inputs, turned" in result.output
    assert "left out: layers/dropout/seed_generator, optimizer" in result.output
    assert torch.allclose(read_model(out).network(X), Y)
    assert records.read(out).text("imported/file").endswith("m.h5")
    told = json.loads(CliRunner().invoke(cli, [*arguments, "--json"]).output)
    assert told["layers"] == ["dense", "dense_1", "dense_2"]


def test_layers_are_chosen_by_name_and_the_others_are_told(tmp_path: Path) -> None:
    state(tmp_path / "m.pt")
    found = import_network(tmp_path / "m.pt", "tanh", layer=["first", "last"])
    assert found.network.sizes == (4, 3, 2)
    assert found.left_out == ("second",)
    with pytest.raises(UserError, match=r"no layer 'frst'; did you mean 'first'"):
        import_network(tmp_path / "m.pt", "tanh", layer=["frst"])
    with pytest.raises(UserError, match=r"'last' has 2 outputs and 'first' 4 inputs"):
        import_network(tmp_path / "m.pt", "tanh", layer=["last", "first"])
    with pytest.raises(UserError, match="named twice"):
        import_network(tmp_path / "m.pt", "tanh", layer=["second", "second"])


@pytest.mark.parametrize(
    ("module", "part", "what"),
    [
        (nn.Conv2d(1, 2, 3), "extra", "a convolution: weight 2 x 1 x 3 x 3, bias 2"),
        (nn.BatchNorm1d(3), "extra", "a batch norm: weight 3, bias 3, running_mean 3"),
        (nn.LayerNorm(3), "extra", "a norm: weight 3, bias 3"),
        (nn.LSTM(3, 2), "extra", "no weight and bias alone: weight_ih_l0 8 x 3"),
        (nn.ParameterDict({"scale": nn.Parameter(torch.ones(3))}), "extra", "no weight and bias"),
    ],
)
def test_what_no_such_network_has_is_named_and_must_be_skipped(
    module: nn.Module, part: str, what: str, tmp_path: Path
) -> None:
    parts = nn.ModuleDict({"first": nn.Linear(4, 3), part: module, "last": nn.Linear(3, 2)})
    torch.save(parts.state_dict(), tmp_path / "m.pt")
    with pytest.raises(UserError, match=f"parts that this network can't have: '{part}' is {what}"):
        import_network(tmp_path / "m.pt", "relu", layer=["first", "last"])
    found = import_network(tmp_path / "m.pt", "relu", skip=[part])
    assert found.network.sizes == (4, 3, 2)
    assert found.left_out == (part,)


def array(**arrays: Any) -> Callable[[Path], None]:
    return lambda path: np.savez(path, **arrays)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"W1": np.ones((3, 3))}, "neither names nor biases tell which axis of 'W1'"),
        ({"a.weight": np.ones((3, 2)), "a.bias": np.ones(2)}, "a weight of 3 x 2 that is out-in"),
        ({"a.weight": np.ones((3, 2)), "a.bias": np.ones(4)}, "a bias of another size"),
        ({"a.weight": np.ones((3, 2)) * 1j}, "'a' holds complex128; weights are real numbers"),
        ({"a.weight": np.ones((3, 2), bool)}, "'a' holds bool; weights are real numbers"),
        ({"a.weight": np.full((3, 2), np.nan)}, "'a' holds numbers that aren't finite"),
        ({"a.weight": np.array([[None]])}, "'a.weight' is no array of numbers: Object arrays"),
    ],
)
def test_weights_that_can_not_be_meant_are_refused(
    arrays: dict[str, Any], message: str, tmp_path: Path
) -> None:
    np.savez(tmp_path / "m.npz", **arrays)
    with pytest.raises(UserError, match=message):
        import_network(tmp_path / "m.npz", "tanh")


def test_an_orientation_that_is_given_holds(tmp_path: Path) -> None:
    w = np.array([[1.0, 2.0], [3.0, 4.0]])
    np.savez(tmp_path / "m.npz", W1=w)
    for way, expected in (("out-in", w), ("in-out", w.T)):
        found = import_network(tmp_path / "m.npz", orientation=way)  # type: ignore[arg-type]
        assert found.network.weights[0].detach().numpy() == pytest.approx(expected)
    with pytest.raises(UserError, match="allowed are out-in and in-out"):
        import_network(tmp_path / "m.npz", orientation="both")  # type: ignore[arg-type]


def test_an_order_and_activations_that_no_file_tells_are_asked_for(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "m.h5", "w") as file:
        file["output/kernel"], file["hidden/kernel"] = np.ones((3, 3)), np.ones((3, 3))
    with pytest.raises(UserError, match="doesn't tell the order of its layers hidden, output"):
        import_network(tmp_path / "m.h5", "tanh")
    named = ["hidden", "output"]
    assert import_network(tmp_path / "m.h5", "tanh", layer=named).network.depth == 2
    with pytest.raises(UserError, match=r"`activation`: .* doesn't tell those of its 1 hidden"):
        import_network(tmp_path / "m.h5", layer=named)


class Harmful:
    """A pickle that would write a file when it is read."""

    def __reduce__(self) -> tuple[Any, ...]:
        return Path("harmed").touch, ()


@pytest.mark.parametrize("kind", ["pickle", "torch", "module", "npz"])
def test_code_in_a_file_is_never_run(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / ("m.npz" if kind == "npz" else "m.pt")
    if kind == "pickle":
        path.write_bytes(pickle.dumps(Harmful()))
    elif kind == "npz":
        np.savez(path, W1=np.array([Harmful()], dtype=object))
    else:
        torch.save(THEIRS if kind == "module" else OrderedDict(w=Harmful()), path)
    with pytest.raises(
        UserError, match=r"would run code when it is read|no array of num|pickle prot"
    ):
        import_network(path, "tanh")
    assert not Path("harmed").exists()


def test_a_file_of_another_kind_or_a_damaged_one_is_refused(tmp_path: Path) -> None:
    (tmp_path / "m.txt").write_text("weights")
    with pytest.raises(UserError, match=r"m\.txt: not a file of PyTorch, NumPy"):
        import_network(tmp_path / "m.txt", "tanh")
    with pytest.raises(UserError, match="cannot be read: No such file"):
        import_network(tmp_path / "none.pt", "tanh")
    state(tmp_path / "m.pt")
    npz(tmp_path / "m.npz")
    for name in ("m.pt", "m.npz"):
        whole = (tmp_path / name).read_bytes()
        for length in (0, 10, len(whole) // 2, len(whole) - 30):
            (tmp_path / f"cut {name}").write_bytes(whole[:length])
            with pytest.raises(UserError, match=f"cut {name}"):
                import_network(tmp_path / f"cut {name}", "tanh")


def test_a_byte_that_was_changed_is_noticed(tmp_path: Path) -> None:
    npz(tmp_path / "m.npz")
    whole = bytearray((tmp_path / "m.npz").read_bytes())
    whole[whole.index(b"NUMPY") + 130] ^= 1  # in the numbers, behind the header
    (tmp_path / "m.npz").write_bytes(whole)
    with pytest.raises(UserError, match=r"'first.weight' is no array of numbers: Bad CRC-32"):
        import_network(tmp_path / "m.npz", "tanh")


def test_a_directory_with_a_name_that_is_no_text_is_damaged(tmp_path: Path) -> None:
    state(tmp_path / "m.pt")
    whole = bytearray((tmp_path / "m.pt").read_bytes())
    entry = whole.index(b"PK\x01\x02") + 46
    whole[entry + 1] = 0xD8
    whole[entry - 46 + 9] |= 0x08  # the flag that says that names are UTF-8
    (tmp_path / "m.pt").write_bytes(whole)
    with pytest.raises(UserError, match=r"m\.pt: the archive is damaged: 'utf-8' codec"):
        import_network(tmp_path / "m.pt", "tanh")


def test_an_array_that_says_it_is_larger_than_the_memory_is_named(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "m.npz", "w") as archive, archive.open("W1.npy", "w") as file:
        shape = {"descr": "<f8", "fortran_order": False, "shape": (2**30, 2**20)}
        np.lib.format.write_array_header_1_0(file, shape)
    with pytest.raises(UserError, match="'W1' is no array of numbers: Unable to allocate"):
        import_network(tmp_path / "m.npz")


@pytest.mark.parametrize(("save", "name"), [(state, "m.pt"), (npz, "m.npz")])
def test_a_command_that_takes_weights_says_how_they_are_imported(
    save: Callable[[Path], None], name: str, tmp_path: Path
) -> None:
    save(tmp_path / name)
    with pytest.raises(UserError, match=r"not an HDF5 file.*`analogdfc import`"):
        read_model(tmp_path / name)

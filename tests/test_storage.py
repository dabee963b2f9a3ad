"""Networks survive the way through a file, and a bad file says what is wrong with it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from analogdfc import records
from analogdfc.controller import PI, PID, P
from analogdfc.errors import UserError
from analogdfc.feedback import DirectFeedback
from analogdfc.network import Network
from analogdfc.storage import Model, model_tree, network_tree, read_model


def small_model() -> Model:
    network = Network([3, 4, 2], generator=torch.Generator().manual_seed(5))
    return Model(network, DirectFeedback.transposed(network), PI(1.5, 0.01, 2.0), 0.3)


def written(path: Path, **changes: Any) -> Path:
    tree = model_tree(small_model())
    tree.update(changes)
    return records.write(path, {"network": {k: v for k, v in tree.items() if v is not None}})


def test_a_model_comes_back_from_its_file_bit_by_bit(tmp_path: Path) -> None:
    model = small_model()
    back = read_model(written(tmp_path / "n.h5"))
    assert back.controller == model.controller
    assert back.tau_v == model.tau_v
    for a, b in zip(model.network.parameters(), back.network.parameters(), strict=True):
        assert torch.equal(a, b)
    for a, b in zip(model.feedback.matrices, back.feedback.matrices, strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize(
    ("sizes", "activation", "stored"),
    [
        ([3, 4, 5, 4, 3], ["tanh", "linear", "tanh"], ["tanh", "linear", "tanh"]),
        ([3, 4, 5, 3], ["relu", "relu"], "relu"),
        ([3, 4, 3], "sigmoid", "sigmoid"),
        ([3, 2], "tanh", "linear"),
    ],
)
def test_the_activation_of_each_layer_comes_back(
    tmp_path: Path, sizes: list[int], activation: str | list[str], stored: str | list[str]
) -> None:
    network = Network(sizes, activation)
    model = Model(network, DirectFeedback.transposed(network), PI(leak="integral"), 0.3)
    path = records.write(tmp_path / "n.h5", {"network": model_tree(model)})
    # One text where all layers are alike, as files have it that were written before.
    found = records.read(path)["network/activation"]
    assert (found.tolist() if isinstance(found, np.ndarray) else found) == stored
    back = read_model(path)
    assert back.network.activations == network.activations
    assert back.controller == model.controller


def test_a_network_without_a_loop_has_its_weights_and_no_more(tmp_path: Path) -> None:
    network = small_model().network
    path = records.write(tmp_path / "n.h5", {"network": network_tree(network)})
    assert "network/k_p" not in records.read(path)
    assert "network/Q1" not in records.read(path)
    back = read_model(path).network
    for a, b in zip(network.parameters(), back.parameters(), strict=True):
        assert torch.equal(a, b)


def test_weights_alone_are_enough(tmp_path: Path) -> None:
    w1, w2 = np.ones((4, 3)), np.full((2, 4), 0.5)
    model = read_model(records.write(tmp_path / "n.h5", {"network": {"W1": w1, "W2": w2}}))
    assert model.network.sizes == (3, 4, 2)
    assert not model.network.biases[0].any()
    assert np.array_equal(model.feedback.matrices[0].detach().numpy(), w2.T)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"W1": np.full((4, 3), np.nan)}, "network/W1"),
        ({"W2": np.zeros((2, 5))}, "network/W2"),
        ({"b1": np.zeros(3)}, "network/b1"),
        ({"Q1": np.zeros((4, 3))}, "network/Q1"),
        ({"Q2": None}, "Q2"),
        ({"W1": None}, "W1"),
        ({"k_p": -1.0}, "k_p >= 0"),
        ({"activation": "swish"}, "bad.h5: unknown activation 'swish'"),
        ({"activation": ["tanh", "relu"]}, "bad.h5: .*2 names for 1 hidden layers"),
        ({"activation": 3}, "network/activation"),
        ({"leak": "both"}, "bad.h5: .*the leak acts on"),
    ],
)
def test_a_bad_file_is_named_with_its_key(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    path = written(tmp_path / "bad.h5", **changes)
    with pytest.raises(UserError, match=message):
        read_model(path)


def test_a_file_that_is_not_hdf5_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "weights.h5"
    path.write_text("not a record")
    with pytest.raises(UserError, match=r"weights\.h5: not an HDF5 file"):
        read_model(path)


def test_a_controller_that_a_record_has_no_place_for_is_refused(network: Network) -> None:
    feedback = DirectFeedback.transposed(network)
    for controller in (PID(), P(1.0)):
        with pytest.raises(UserError, match="records hold PI controllers only"):
            model_tree(Model(network, feedback, controller, 0.2))  # type: ignore[arg-type]

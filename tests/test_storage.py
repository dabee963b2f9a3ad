"""Networks survive the way through a file, and a bad file says what is wrong with it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from analogdfc import records
from analogdfc.controller import PD, PI, PID, Controller, I, P
from analogdfc.errors import UserError
from analogdfc.feedback import DirectFeedback, FeedbackWeights, NetworkFeedback
from analogdfc.learning import LoopFeedback, SequentialFeedback
from analogdfc.learning.targets import (
    DirectTargetFeedback,
    LayerwiseFeedback,
    RandomHiddenFeedback,
)
from analogdfc.network import Network
from analogdfc.records import Quantity
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
        ({"b2": None}, "'network' has b1 of the biases b1 to b2; all of them or none"),
        ({"W1": Quantity(np.zeros((4, 3)), "uS")}, "'network/W1' is in 'uS'; weights have no unit"),
        ({"b1": Quantity(np.zeros(4), "V")}, "'network/b1' is in 'V'; weights have no unit"),
        ({"Q1": np.ones((4, 2), dtype=bool)}, "'network/Q1' holds truth values"),
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


@pytest.mark.parametrize(
    "changes", [{"activation": 3}, {"output_activation": 3}, {"activation": "swish"}]
)
def test_an_error_names_the_file_once(tmp_path: Path, changes: dict[str, Any]) -> None:
    with pytest.raises(UserError) as caught:
        read_model(written(tmp_path / "bad.h5", **changes))
    assert str(caught.value).count("bad.h5") == 1


def test_remarks_of_other_programs_on_a_network_are_passed_over(tmp_path: Path) -> None:
    path = written(tmp_path / "n.h5", author="somebody", TITLE="", VERSION=1.0)
    assert read_model(path).network.sizes == small_model().network.sizes


def test_a_file_that_is_not_hdf5_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "weights.h5"
    path.write_text("not a record")
    with pytest.raises(UserError, match=r"weights\.h5: not an HDF5 file"):
        read_model(path)


@pytest.mark.parametrize(
    "controller",
    [
        P(1.5),
        I(0.01, 2.0),
        PI(1.5, 0.01, 2.0, leak="integral"),
        PD(1.0, k_d=0.2),
        PID(k_p=1.0, alpha=0.02, tau_u=0.5, k_d=0.1, tau_d=0.05, leak="integral"),
        Controller(k_p=1.0, tau_u=3.0, k_d=0.1),
    ],
)
def test_every_controller_comes_back(controller: Controller, tmp_path: Path) -> None:
    model = small_model()._replace(controller=controller)
    path = records.write(tmp_path / "n.h5", {"network": model_tree(model)})
    assert read_model(path).controller == controller


def test_an_unknown_or_incomplete_controller_is_named(tmp_path: Path) -> None:
    for changes, message in (
        ({"controller": "PII"}, "unknown controller 'PII'; there are Controller, P, I, PI"),
        ({"controller": "P", "k_p": None}, "an integral part or k_p > 0 is required"),
    ):
        with pytest.raises(UserError, match=f"bad.h5: .*{message}"):
            read_model(written(tmp_path / "bad.h5", **changes))


@pytest.mark.parametrize("shared", [True, False])
def test_feedback_through_a_network_comes_back(shared: bool, tmp_path: Path) -> None:
    model, source = small_model(), torch.Generator().manual_seed(1)
    direct = DirectFeedback.transposed(model.network)
    feedback = NetworkFeedback.like(direct, 3, source, activation="linear", shared=shared)
    model = model._replace(feedback=feedback)
    back = read_model(records.write(tmp_path / "n.h5", {"network": model_tree(model)}))
    assert isinstance(back.feedback, NetworkFeedback)
    assert not back.assumed
    assert_same_pathway(feedback, back.feedback)


@pytest.mark.parametrize(
    "make",
    [
        SequentialFeedback.random,
        LoopFeedback.random,
        LayerwiseFeedback.random,
        DirectTargetFeedback.random,
        lambda network, source: RandomHiddenFeedback.random(network, source, width=5),
        lambda network, source: RandomHiddenFeedback.random(
            network, source, "linear", width=5, recurrent=True
        ),
    ],
)
def test_feedback_of_every_kind_comes_back(
    make: Callable[[Network, torch.Generator], FeedbackWeights], tmp_path: Path
) -> None:
    network = small_model().network
    pathway = make(network, torch.Generator().manual_seed(1))
    path = records.write(tmp_path / "n.h5", {"network": network_tree(network, "mine", pathway)})
    back = read_model(path)
    assert back.rule == "mine"
    assert back.assumed
    assert back.pathway is not None
    assert_same_pathway(pathway, back.pathway)


def assert_same_pathway(ours: FeedbackWeights, theirs: FeedbackWeights) -> None:
    assert type(ours) is type(theirs)
    assert ours.texts() == theirs.texts()
    arrays, found = ours.state_dict(), theirs.state_dict()
    assert arrays.keys() == found.keys() != set()
    for name, value in arrays.items():
        assert torch.equal(value, found[name]), name


@pytest.mark.parametrize(
    ("key", "to", "message"),
    [
        ("kind", "sideways", "unknown kind of feedback 'sideways'; there are 'direct', 'network'"),
        ("kind", "sequential", "of the kind 'sequential', which no control loop has"),
        ("activation", None, "'network/feedback': 'activation' is missing"),
        ("arrays", {}, "'network/feedback': 0 stems for 0 layers"),
    ],
)
def test_a_feedback_that_is_damaged_is_named(
    key: str, to: Any, message: str, tmp_path: Path
) -> None:
    model, source = small_model(), torch.Generator().manual_seed(1)
    feedback = NetworkFeedback.like(DirectFeedback.transposed(model.network), 3, source)
    tree = model_tree(model._replace(feedback=feedback))
    tree["feedback"][key] = to
    if to is None:
        del tree["feedback"][key]
    path = records.write(tmp_path / "bad.h5", {"network": tree})
    with pytest.raises(UserError, match=f"bad.h5: .*{message}"):
        read_model(path)

"""Networks in records: weights, feedback and controller, as one command leaves them to the next."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from analogdfc import records
from analogdfc.controller import PI
from analogdfc.errors import UserError
from analogdfc.feedback import DirectFeedback
from analogdfc.network import Network
from analogdfc.records import Quantity, Record
from analogdfc.states import State, inside


class Model(NamedTuple):
    """A network with everything that its control loop needs.

    Attributes:
        network: the network.
        feedback: its feedback pathway.
        controller: its controller.
        tau_v: time constant of the neurons, in units of the controller's time.
    """

    network: Network
    feedback: DirectFeedback
    controller: PI
    tau_v: float


def model_tree(model: Model) -> dict[str, Any]:
    """The branch 'network' of a record.

    Raises:
        UserError: a controller other than PI, which the branch has no place for.
    """
    network, feedback, controller, tau_v = model
    if controller.differentiates or not controller.integrates:
        raise UserError(f"{controller}: records hold PI controllers only")
    return {
        **network_tree(network),
        **_matrices("Q", feedback.matrices),
        "k_p": controller.k_p,
        "alpha": controller.alpha,
        "tau_u": controller.tau_u,
        "leak": controller.leak,
        "tau_v": tau_v,
    }


def network_tree(network: Network) -> dict[str, Any]:
    """The branch 'network' of a record, of a network that has no control loop."""
    # One text where all hidden layers are alike; a network without them has none of its own.
    names = [phi.name for phi in network.activations[:-1]] or [network.activations[0].name]
    return {
        "activation": names[0] if len(set(names)) == 1 else names,
        "output_activation": network.activations[-1].name,
        "layers": network.depth,
        **_matrices("W", network.weights),
        **_matrices("b", network.biases),
    }


def read_model(path: str | Path) -> Model:
    """The network in a file: an HDF5 record with a group 'network'.

    The group holds `W1`..`WL`, (n_i, n_{i-1}), and may hold `b1`..`bL` (else 0), `Q1`..`QL` (else
    the product of the transposed weights), the texts `activation` (one, or one a hidden layer) and
    `output_activation` (else tanh and linear), the numbers `k_p`, `alpha`, `tau_u`, `tau_v` and
    the text `leak`.

    Raises:
        UserError: not an HDF5 file, a missing matrix, a wrong shape, a number that isn't finite;
            the message names the file and the key.
    """
    record = records.read(path)
    weights: list[Any] = []
    while f"network/W{len(weights) + 1}" in record or not weights:
        n_in = weights[-1].shape[0] if weights else None
        weights.append(record.array(f"network/W{len(weights) + 1}", shape=(None, n_in)))
    sizes = [weights[0].shape[1], *(w.shape[0] for w in weights)]
    try:
        network = Network(
            sizes,
            _activation(record, "network/activation"),
            _text(record, "network/output_activation", "linear"),
        )
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    matrices = []
    for i, w in enumerate(weights, start=1):
        _fill(network.weights[i - 1], w)
        if f"network/b{i}" in record:
            _fill(network.biases[i - 1], record.array(f"network/b{i}", shape=(sizes[i],)))
        if "network/Q1" in record:
            matrices.append(record.array(f"network/Q{i}", shape=(sizes[i], sizes[-1])))
    if matrices:
        feedback = DirectFeedback([torch.tensor(q, dtype=torch.float64) for q in matrices])
    else:
        feedback = DirectFeedback.transposed(network)
    given: dict[str, Any] = {
        k: record.number(f"network/{k}")
        for k in ("k_p", "alpha", "tau_u")
        if f"network/{k}" in record
    }
    given["leak"] = _text(record, "network/leak", "control")
    tau_v = record.number("network/tau_v") if "network/tau_v" in record else 0.2
    try:
        return Model(network, feedback, PI(**given), tau_v)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error


def state_tree(state: Mapping[str, Tensor | int | float]) -> dict[str, Any]:
    """A state as the branch of a record: its keys are the paths."""
    tree: dict[str, Any] = {}
    for key, value in state.items():
        *path, name = key.split("/")
        branch = tree
        for step in path:
            branch = branch.setdefault(step, {})
        branch[name] = value.cpu().numpy() if isinstance(value, Tensor) else value
    return tree


def read_state(record: Record, key: str, names: Iterable[str]) -> State:
    """A state that `state_tree` made.

    Args:
        record: the file.
        key: where the branch is.
        names: which of the names there to read.

    Raises:
        UserError: something that a state doesn't have: a text, a number that isn't finite.
    """
    out: State = {}
    for name in names:
        place = f"{key}/{name}"
        node = record[place]
        if isinstance(node, dict):
            out |= inside(name, read_state(record, place, node))
        elif isinstance(node, int | float) and not isinstance(node, bool):
            out[name] = node
        else:
            out[name] = torch.from_numpy(np.array(record.array(place)))
    return out


def _matrices(name: str, parameters: Iterable[Tensor]) -> dict[str, Quantity]:
    return {
        f"{name}{i}": Quantity(parameter.detach().cpu().numpy(), "1")
        for i, parameter in enumerate(parameters, start=1)
    }


def _activation(record: Record, key: str) -> str | list[str]:
    """One name, or one a hidden layer."""
    if key in record:
        names = record[key]
        if isinstance(names, np.ndarray) and names.dtype.kind == "U" and names.ndim == 1:
            return [str(name) for name in names]
    return _text(record, key, "tanh")


def _text(record: Record, key: str, default: str) -> str:
    return record.text(key) if key in record else default


def _fill(parameter: torch.nn.Parameter, values: Any) -> None:
    with torch.no_grad():
        parameter.copy_(torch.tensor(values, dtype=torch.float64))

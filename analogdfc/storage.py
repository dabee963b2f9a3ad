"""Networks in records: weights, feedback and controller, as one command leaves them to the next."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import torch

from analogdfc import records
from analogdfc.controller import PI
from analogdfc.errors import UserError
from analogdfc.feedback import DirectFeedback
from analogdfc.network import Network
from analogdfc.records import Quantity, Record


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
    """The branch 'network' of a record."""
    network, feedback, controller, tau_v = model
    tree: dict[str, Any] = {
        "activation": network.activations[0].name,
        "output_activation": network.activations[-1].name,
        "layers": network.depth,
        "k_p": controller.k_p,
        "alpha": controller.alpha,
        "tau_u": controller.tau_u,
        "tau_v": tau_v,
    }
    groups = {"W": network.weights, "b": network.biases, "Q": feedback.matrices}
    for name, parameters in groups.items():
        for i, parameter in enumerate(parameters, start=1):
            tree[f"{name}{i}"] = Quantity(parameter.detach().cpu().numpy(), "1")
    return tree


def read_model(path: str | Path) -> Model:
    """The network in a file: an HDF5 record with a group 'network'.

    The group holds `W1`..`WL`, (n_i, n_{i-1}), and may hold `b1`..`bL` (else 0), `Q1`..`QL` (else
    the product of the transposed weights), the texts `activation` and `output_activation` (else
    tanh and linear) and the numbers `k_p`, `alpha`, `tau_u`, `tau_v`.

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
    network = Network(
        sizes,
        _text(record, "network/activation", "tanh"),
        _text(record, "network/output_activation", "linear"),
    )
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
    given = {
        k: record.number(f"network/{k}")
        for k in ("k_p", "alpha", "tau_u")
        if f"network/{k}" in record
    }
    tau_v = record.number("network/tau_v") if "network/tau_v" in record else 0.2
    try:
        return Model(network, feedback, PI(**given), tau_v)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error


def _text(record: Record, key: str, default: str) -> str:
    return record.text(key) if key in record else default


def _fill(parameter: torch.nn.Parameter, values: Any) -> None:
    with torch.no_grad():
        parameter.copy_(torch.tensor(values, dtype=torch.float64))

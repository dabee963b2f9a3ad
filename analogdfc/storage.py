"""Networks in records: weights, feedback and controller, as one command leaves them to the next."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from analogdfc import records
from analogdfc.controller import PD, PI, PID, Controller, I, P
from analogdfc.errors import UserError
from analogdfc.feedback import PATHWAYS, DirectFeedback, Feedback, FeedbackWeights
from analogdfc.network import Network
from analogdfc.records import Quantity, Record, Scalar
from analogdfc.states import State, inside

__all__ = ["Model", "model_tree", "network_tree", "read_model", "read_state", "state_tree"]


_ABOUT = {
    "W": ("weights: v_ff{i} = W{i} r{below} + b{i}", ("to neuron", "from neuron")),
    "b": ("biases of layer {i}", ("to neuron",)),
    "Q": ("feedback: layer {i} is driven by Q{i} u", ("neuron", "output")),
}
"""What the matrices of a network are, and their dimensions."""


class Model(NamedTuple):
    """A network with everything that its control loop needs.

    Attributes:
        network: the network.
        feedback: the feedback pathway of its control loop.
        controller: its controller.
        tau_v: time constant of the neurons, in units of the controller's time.
        neuron: what the neurons are where they aren't those of Meulemans et al. 2021, eq. 1.
        rule: name of the rule that the network learned by; empty where the file doesn't tell.
        pathway: feedback weights of that rule, where they aren't those of a control loop.
        assumed: the file has no control loop; feedback and controller are those by default.
    """

    network: Network
    feedback: Feedback
    controller: Controller
    tau_v: float
    neuron: str = ""
    rule: str = ""
    pathway: FeedbackWeights | None = None
    assumed: bool = False


def model_tree(model: Model) -> dict[str, Any]:
    """The branch 'network' of a record, with the control loop.

    Args:
        model: network and control loop.
    """
    controller = model.controller
    direct = isinstance(model.feedback, DirectFeedback)
    loop: dict[str, Any] = _matrices("Q", model.feedback.matrices) if direct else {}
    if not direct:
        loop["feedback"] = _weights_tree(model.feedback)
    return {
        **network_tree(model.network, model.rule, model.pathway),
        **loop,
        "controller": type(controller).__name__,
        **{f.name: getattr(controller, f.name) for f in fields(Controller)},
        "tau_v": model.tau_v,
        **({"neuron": model.neuron} if model.neuron else {}),
    }


def network_tree(
    network: Network, rule: str = "", pathway: FeedbackWeights | None = None
) -> dict[str, Any]:
    """The branch 'network' of a record, of a network that has no control loop.

    Args:
        network: the network.
        rule: name of the rule that it learned by.
        pathway: the rule's feedback weights.
    """
    # One text where all hidden layers are alike; a network without them has none of its own.
    names = [phi.name for phi in network.activations[:-1]] or [network.activations[0].name]
    return {
        "activation": names[0] if len(set(names)) == 1 else names,
        "output_activation": network.activations[-1].name,
        "layers": network.depth,
        **({"rule": rule} if rule else {}),
        **({"pathway": _weights_tree(pathway)} if pathway is not None else {}),
        **_matrices("W", network.weights),
        **_matrices("b", network.biases),
    }


def read_model(path: str | Path) -> Model:
    """The network in a file: an HDF5 record with a group 'network'.

    Nothing else in the file is read, and nothing in the group is left out: an array that is none of
    these is refused.

    The group holds `W1`..`WL`, (n_i, n_{i-1}), and may hold `b1`..`bL` (else 0) and the texts
    `activation` (one, or one a hidden layer) and `output_activation` (else tanh and linear). The
    feedback of the control loop is `Q1`..`QL`, or a group `feedback` where it isn't direct, or else
    the product of the transposed weights. The controller has the numbers `k_p`, `alpha`, `tau_u`,
    `k_d`, `tau_d`, the text `leak` and the name `controller` (else PI); the loop has `tau_v`. The
    text `rule` and the group `pathway` are those of the rule that the network learned by.

    Args:
        path: the file.

    Raises:
        UserError: not an HDF5 file, a missing or an unknown matrix, a wrong shape, other numbers
            of layers than the file says, a number that isn't real and finite; the message names the
            file and the key.
    """
    record = records.read(path, "network")
    weights: list[Any] = []
    while f"network/W{len(weights) + 1}" in record or not weights:
        n_in = weights[-1].shape[0] if weights else None
        weights.append(_numbers(record, f"network/W{len(weights) + 1}", (None, n_in)))
    sizes = [weights[0].shape[1], *(w.shape[0] for w in weights)]
    _check_whole(record, sizes)
    names = _activation(record, "network/activation")
    output = _text(record, "network/output_activation", "linear")
    try:
        network = Network(sizes, names, output)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    for i, w in enumerate(weights, start=1):
        _fill(network.weights[i - 1], w)
        if f"network/b{i}" in record:
            _fill(network.biases[i - 1], _numbers(record, f"network/b{i}", (sizes[i],)))
    tau_v = _tau_v(record)
    return Model(
        network,
        _feedback(record, network),
        _controller(record),
        tau_v,
        _text(record, "network/neuron", ""),
        _text(record, "network/rule", ""),
        _weights(record, "network/pathway") if "network/pathway" in record else None,
        not any(f"network/{key}" in record for key in ("Q1", "feedback", "k_p")),
    )


_KNOWN = (
    *("activation", "output_activation", "layers", "sizes", "rule", "pathway", "feedback"),
    *("controller", "neuron", "tau_v", *(field.name for field in fields(Controller))),
)
"""What the group has beside the matrices of the layers."""


def _check_whole(record: Record, sizes: Sequence[int]) -> None:
    """Refuse parts of a network that would be left out, and those that contradict each other."""
    keys, depth = record.group("network"), len(sizes) - 1
    for key, node in keys.items():
        if key not in _KNOWN:
            _check_part(record.path, key, node, depth)
    # Other programs leave out biases that are 0; a record that knows its layers has them all.
    for name, what in (("Q", "feedback"), *((("b", "biases"),) if "layers" in keys else ())):
        there = [f"{name}{i}" for i in range(1, depth + 1) if f"{name}{i}" in keys]
        if there and len(there) < depth:
            raise UserError(
                f"{record.path}: 'network' has {', '.join(there)} of the {what} {name}1 to "
                f"{name}{depth}; all of them or none are needed"
            )
    if "Q1" in keys and "feedback" in keys:
        raise UserError(f"{record.path}: 'network' has Q1 and 'feedback'; one of them is allowed")
    if "layers" in keys and (said := record.number("network/layers")) != depth:
        raise UserError(f"{record.path}: 'network/layers' is {said:g}; there are W1 to W{depth}")
    if "sizes" in keys and (told := record.array("network/sizes").tolist()) != list(sizes):
        raise UserError(
            f"{record.path}: 'network/sizes' is {told}; W1 to W{depth} make {list(sizes)}"
        )


def _check_part(path: Path, key: str, node: Any, depth: int) -> None:
    """Refuse what is no part of a network of that depth, unless it is a remark of somebody's."""
    found = re.fullmatch(r"[WbQ]([0-9]+)", key)
    if found is not None:
        if found[1] in map(str, range(1, depth + 1)):
            return
        raise UserError(
            f"{path}: 'network/{key}': the network has the layers 1 to {depth}, those of W1 to "
            f"W{depth}"
        )
    known = {name.lower(): name for name in (*_KNOWN, "W1", "b1", "Q1")}
    near = difflib.get_close_matches(key.lower(), known, n=1, cutoff=0.75)
    hint = f"; did you mean '{known[near[0]]}'?" if near else f"; allowed are {', '.join(_KNOWN)}"
    if near or not isinstance(node, Scalar):
        raise UserError(
            f"{path}: 'network/{key}': is no part of a network, whose matrices are W1 to W{depth}, "
            f"b1 to b{depth} and Q1 to Q{depth}{hint}"
        )


def _numbers(record: Record, key: str, shape: Sequence[int | None]) -> NDArray[Any]:
    """Weights, which have no unit."""
    node = record[key]
    if isinstance(node, Quantity) and node.units not in ("", "1"):
        raise UserError(f"{record.path}: '{key}' is in '{node.units}'; weights have no unit")
    return record.array(key, shape=shape)


def _feedback(record: Record, network: Network) -> Feedback:
    """The feedback of the control loop."""
    sizes = network.sizes
    if "network/feedback" in record:
        found = _weights(record, "network/feedback")
        if not isinstance(found, Feedback):
            raise UserError(
                f"{record.path}: 'network/feedback' is of the kind '{found.kind}', which no "
                "control loop has"
            )
        return found
    if "network/Q1" not in record:
        return DirectFeedback.transposed(network)
    layers = range(1, network.depth + 1)
    matrices = [_numbers(record, f"network/Q{i}", (sizes[i], sizes[-1])) for i in layers]
    return DirectFeedback([torch.tensor(q, dtype=torch.float64) for q in matrices])


def _tau_v(record: Record) -> float:
    tau_v = record.number("network/tau_v") if "network/tau_v" in record else 0.2
    if not (math.isfinite(tau_v) and tau_v > 0):
        raise UserError(f"{record.path}: 'network/tau_v' is {tau_v}; it must be a number > 0")
    return tau_v


def _controller(record: Record) -> Controller:
    name = _text(record, "network/controller", "PI")
    kinds: dict[str, type[Controller]] = {
        kind.__name__: kind for kind in (Controller, P, I, PI, PD, PID)
    }
    if name not in kinds:
        raise UserError(f"{record.path}: unknown controller {name!r}; there are {', '.join(kinds)}")
    kind = kinds[name]
    given: dict[str, Any] = {}
    for field in fields(kind):
        key = f"network/{field.name}"
        if field.init and key in record:
            given[field.name] = record.text(key) if field.name == "leak" else record.number(key)
    try:
        return kind(**given)
    except UserError as error:
        raise UserError(f"{record.path}: {error}") from error


def _weights_tree(weights: FeedbackWeights) -> dict[str, Any]:
    """Feedback weights as a branch: kind, texts, arrays."""
    arrays = {name: value.detach().cpu().numpy() for name, value in weights.state_dict().items()}
    return {
        "kind": weights.kind,
        **weights.texts(),
        "arrays": {name: Quantity(value, "1") for name, value in arrays.items()},
    }


def _weights(record: Record, key: str) -> FeedbackWeights:
    """What `_weights_tree` wrote."""
    kind, branch = record.text(f"{key}/kind"), record.group(key)
    if kind not in PATHWAYS:
        raise UserError(
            f"{record.path}: '{key}': unknown kind of feedback {kind!r}; there are "
            f"{', '.join(repr(k) for k in PATHWAYS)}"
        )
    arrays = {
        name: torch.tensor(record.array(f"{key}/arrays/{name}"), dtype=torch.float64)
        for name in record.group(f"{key}/arrays")
    }
    texts = {
        name: [str(text) for text in np.atleast_1d(value)]
        for name, value in branch.items()
        if isinstance(value, np.ndarray)
    }
    try:
        return PATHWAYS[kind].rebuilt(arrays, texts)
    except KeyError as error:
        raise UserError(f"{record.path}: '{key}': {error} is missing") from error
    except UserError as error:
        raise UserError(f"{record.path}: '{key}': {error}") from error


def state_tree(state: Mapping[str, Tensor | int | float]) -> dict[str, Any]:
    """A state as the branch of a record: its keys are the paths.

    Args:
        state: the state.
    """
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
            out[name] = torch.from_numpy(np.array(record.array(place, truth=True)))
    return out


def _matrices(name: str, parameters: Iterable[Tensor]) -> dict[str, Quantity]:
    what, dims = _ABOUT[name]
    return {
        f"{name}{i}": Quantity(
            parameter.detach().cpu().numpy(), "1", what.format(i=i, below=i - 1), dims
        )
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

"""The authors' code of Deep Feedback Control in a folder, to be timed beside ours.

A copy of github.com/meulemansalex/deep_feedback_control. None of it is here: a folder is named,
and its classes are called as its own training calls them. Packages that it needs for files and logs
only are stood in for where they aren't installed, and `torch.solve`, which PyTorch has given up, is
`torch.linalg.solve`.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import io
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from analogdfc.errors import UserError
from analogdfc.feedback import DirectFeedback
from analogdfc.network import Network

# The published settings of the MNIST experiment (Meulemans et al. 2021, Table S3 and the authors'
# configurations): simulation, controller and sleep phase.
_LOOP = {
    "dt_di": 0.02,
    "tmax_di": 1000,
    "k_p": 2.0,
    "time_constant_ratio": 0.2,
    "apical_time_constant": 0.02,
}
_SLEEP = {
    "alpha_fb": 0.5,
    "k_p_fb": 0.1,
    "dt_di_fb": 0.002,
    "tmax_di_fb": 48,
    "time_constant_ratio_fb": 0.01,
    "apical_time_constant_fb": 0.3,
    "sigma_fb": 0.01,
    "sigma_output_fb": 0.01,
    "inst_transmission_fb": True,
}
_RULES: dict[str, dict[str, Any]] = {
    "dfc": {**_LOOP, "grad_deltav_cont": True},
    "dfc-ss": {**_LOOP, "efficient_controller": True},
    "dfc-ssa": {"ndi": True},
    "feedback": {"ndi": True, **_SLEEP},
}

_FOR_FILES = ("pandas", "tensorboardX", "torchvision")
_MEMBERS: dict[str, dict[str, Any]] = {
    "pandas": {"DataFrame": object},
    "tensorboardX": {"SummaryWriter": object},
    "torchvision": {},
    "torchvision.datasets": {"MNIST": object, "FashionMNIST": object},
    "torchvision.utils": {"save_image": None},
}


class Published:
    """The code in a folder.

    Args:
        folder: with `networks` and `utils` in it.

    Raises:
        UserError: there is no such code.
    """

    def __init__(self, folder: Path) -> None:
        if not (folder / "networks" / "tpdi_networks.py").is_file():
            raise UserError(
                f"{folder}: no networks/tpdi_networks.py, as a copy of "
                "github.com/meulemansalex/deep_feedback_control has"
            )
        lacking = [name for name in _FOR_FILES if importlib.util.find_spec(name) is None]
        for name, members in _MEMBERS.items():
            if name.partition(".")[0] in lacking:
                sys.modules[name] = types.ModuleType(name)
                vars(sys.modules[name]).update(members)
        sys.path.insert(0, str(folder.resolve()))
        try:
            self._kind = importlib.import_module("networks.tpdi_networks").DFCNetwork
        finally:
            sys.path.pop(0)

    def minibatch(
        self, rule: str, network: Network, x: Tensor, y: Tensor, step: float
    ) -> tuple[Callable[[], object], Any]:
        """One minibatch of a rule, with a network's weights and the product of their transposes.

        Args:
            rule: 'dfc', 'dfc-ss', 'dfc-ssa' or 'feedback'.
            network: the network.
            x: inputs, (batch, n_0).
            y: labels, (batch, n_L).
            step: step of the output target, by the gradient of one sample's squared error.

        Returns:
            The call, and the network of the code, whose gradients it leaves.
        """
        with _as_then(), contextlib.redirect_stdout(io.StringIO()):
            theirs = self._kind(
                network.sizes[0],
                list(network.sizes[1:-1]),
                network.sizes[-1],
                activation="tanh",
                output_activation="linear",
                initialization="xavier_normal",
                noise_K=0.0,
                alpha_di=0.0015,
                learning_rule="nonlinear_difference",
                inst_transmission=True,
                proactive_controller=True,
                include_non_converged_samples=True,
                simulate_layerwise=True,
                **_RULES[rule],
            )
        feedback = DirectFeedback.transposed(network)
        for k, layer in enumerate(theirs.layers):
            layer.weights.data.copy_(network.weights[k].data)
            layer.bias.data.copy_(network.biases[k].data)
            layer.feedbackweights = feedback.matrices[k].detach().clone()

        def learn() -> None:
            with _as_then():
                theirs.zero_grad()
                loss = (theirs.forward(x) - y).square().sum(dim=1).mean()
                # Their step is by the gradient of the batch's mean loss.
                theirs.backward(loss, step * len(x), save_target=False)

        def dream() -> None:
            with _as_then():
                theirs.forward(x)
                theirs.compute_feedback_gradients()

        return (dream if rule == "feedback" else learn), theirs


def angle(theirs: Any, network: Network) -> float:
    """Between the gradients of the code and of ours, in degrees."""
    there = torch.cat([p.grad.flatten() for k in theirs.layers for p in (k.weights, k.bias)])
    layers = zip(network.weights, network.biases, strict=True)
    grads = [p.grad for pair in layers for p in pair]
    here = torch.cat([g.flatten() for g in grads if g is not None])
    cosine = torch.nn.functional.cosine_similarity(here, there, dim=0)
    return float(torch.rad2deg(torch.acos(cosine.clamp(max=1))))


def _solve(right: Tensor, matrix: Tensor) -> tuple[Tensor, None]:
    return torch.linalg.solve(matrix, right), None


@contextlib.contextmanager
def _as_then() -> Iterator[None]:
    """PyTorch as the published runs had it: doubles for new tensors, and its old solver."""
    kind, solver = torch.get_default_dtype(), vars(torch).get("solve")
    torch.set_default_dtype(torch.float64)
    vars(torch)["solve"] = _solve
    try:
        yield
    finally:
        torch.set_default_dtype(kind)
        vars(torch)["solve"] = solver

"""Feedback pathways from the controller to the layers."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar, NamedTuple, Self, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from analogdfc.activations import Activation, get_activation
from analogdfc.errors import UserError
from analogdfc.network import Network, check_network

__all__ = [
    "PATHWAYS",
    "DirectFeedback",
    "Feedback",
    "FeedbackWeights",
    "NetworkFeedback",
    "Pathway",
    "numbered",
    "recorded",
]


class Pathway(NamedTuple):
    """The fixed part of a feedback network, h_i(u) = phi(A_i u).

    Attributes:
        stems: A_1..A_L, (m_i, n_L), or a single one that all layers share.
        activation: phi.
    """

    stems: tuple[Tensor, ...]
    activation: Activation

    def presynaptic(self, u: Tensor) -> tuple[Tensor, ...]:
        """h(u) of each stem, (batch, m_i), for a control signal (batch, n_L).

        Args:
            u: control signal, (batch, n_L).
        """
        return tuple(self.activation.function(u @ a.T) for a in self.stems)

    def jacobians(self, u: Tensor) -> tuple[Tensor, ...]:
        """dh/du of each stem, (batch, m_i, n_L).

        Args:
            u: control signal, (batch, n_L).
        """
        return tuple(self.activation.derivative(u @ a.T).unsqueeze(-1) * a for a in self.stems)


class FeedbackWeights(nn.Module, ABC):
    """Feedback weights of any rule, which a record can hold and give back.

    A class is entered by `recorded`. Its arrays are those of its `state_dict`.
    """

    kind: ClassVar[str]

    def texts(self) -> dict[str, list[str]]:
        """What it is made of beside its arrays: texts by name."""
        return {}

    @classmethod
    @abstractmethod
    def rebuilt(cls, arrays: Mapping[str, Tensor], texts: Mapping[str, list[str]]) -> Self:
        """The pathway of a record.

        Args:
            arrays: by the names of its `state_dict`.
            texts: what `texts` gave.

        Raises:
            UserError: arrays that don't fit each other.
            KeyError: one that isn't there.
        """


PATHWAYS: dict[str, type[FeedbackWeights]] = {}
"""Kinds of feedback weights by the name that records have for them."""

_Weights = TypeVar("_Weights", bound=type[FeedbackWeights])


def recorded(kind: str) -> Callable[[_Weights], _Weights]:
    """Class decorator that enters a kind of feedback weights into `PATHWAYS`.

    Args:
        kind: its name in records.
    """

    def enter(weights: _Weights) -> _Weights:
        weights.kind = kind
        PATHWAYS[kind] = weights
        return weights

    return enter


def numbered(arrays: Mapping[str, Tensor], name: str) -> list[Tensor]:
    """The arrays `name.0`, `name.1`, ... of a list of parameters.

    Args:
        arrays: parameters by their names, of any shape.
        name: what they are called; the number of the layer follows.
    """
    out: list[Tensor] = []
    while (key := f"{name}.{len(out)}") in arrays:
        out.append(arrays[key])
    return out


class Feedback(FeedbackWeights):
    """A feedback pathway, v_fb_i = g_i(u) = Q_i h_i(u), whose last synapses Q_i can learn.

    What the layers receive from the controller (Meulemans et al. 2021, eq. 226).

    Args:
        matrices: Q_1..Q_L, each (n_i, m_i).
    """

    def __init__(self, matrices: Sequence[Tensor]) -> None:
        super().__init__()
        self.matrices = nn.ParameterList(nn.Parameter(q.clone()) for q in matrices)

    @property
    @abstractmethod
    def pathway(self) -> Pathway | None:
        """What lies between the controller and Q_1..Q_L; None where that is nothing."""

    @abstractmethod
    def presynaptic(self, u: Tensor) -> tuple[Tensor, ...]:
        """Inputs h_i(u) of Q_1..Q_L, (batch, m_i), for the control signal u, (batch, n_L).

        Args:
            u: control signal, (batch, n_L).
        """

    @abstractmethod
    def jacobians(self, u: Tensor) -> tuple[Tensor, ...]:
        """dg_i/du at u, (batch, n_L): one a layer, (batch, n_i, n_L), or (n_i, n_L) for any u.

        Args:
            u: control signal, (batch, n_L).
        """

    def forward(self, u: Tensor) -> tuple[Tensor, ...]:
        """Feedback of each layer, (batch, n_i), for the control signal u, (batch, n_L).

        Args:
            u: control signal, (batch, n_L).
        """
        return tuple(h @ q.T for h, q in zip(self.presynaptic(u), self.matrices, strict=True))


@recorded("direct")
class DirectFeedback(Feedback):
    """Direct linear feedback: layer i receives Q_i u.

    Args:
        matrices: Q_1..Q_L, each (n_i, n_L).

    Raises:
        UserError: the matrices do not share their number of columns.
    """

    def __init__(self, matrices: Sequence[Tensor]) -> None:
        columns = {q.shape[1] for q in matrices}
        if len(columns) != 1:
            raise UserError(f"feedback matrices of {sorted(columns)} columns; all need n_L columns")
        super().__init__(matrices)

    @classmethod
    def transposed(cls, network: Network) -> DirectFeedback:
        """Feedback from the product of the transposed weights.

        Q_i = W_{i+1}^T ... W_L^T and Q_L = I (Meulemans et al. 2021, eqs. 219 and 220).

        Args:
            network: the network whose weights W_2..W_L are multiplied.
        """
        check_network(network)
        last = network.weights[-1]
        q = torch.eye(last.shape[0], dtype=last.dtype, device=last.device)
        out = [q]
        for w in reversed(list(network.weights)[1:]):
            q = w.detach().T @ q
            out.append(q)
        return cls(list(reversed(out)))

    @classmethod
    def random(
        cls, network: Network, generator: torch.Generator, spread: float | None = None
    ) -> DirectFeedback:
        """Glorot normal feedback to the hidden layers; Q_L = I (App. F.2).

        Args:
            network: the network that gives the layers' sizes.
            generator: source of the numbers, on the CPU.
            spread: largest size of an element to the hidden layers, > 0, of uniform numbers in
                place of normal ones.

        Raises:
            UserError: a spread that is not finite and above 0.
        """
        check_network(network)
        if spread is not None and not (math.isfinite(spread) and spread > 0):
            raise UserError(f"feedback matrices: spread = {spread} is not finite and above 0")
        last = network.weights[-1]
        n_out = last.shape[0]
        hidden = [
            _glorot(w.shape[0], n_out, generator).to(last)
            if spread is None
            else _uniform(w.shape[0], n_out, spread, generator).to(last)
            for w in network.weights[:-1]
        ]
        return cls([*hidden, torch.eye(n_out, dtype=last.dtype, device=last.device)])

    @classmethod
    def jacobian(cls, network: Network, x: Tensor, damping: float | None = 0.0) -> DirectFeedback:
        """Feedback from the network's Jacobian J = [J_1 ... J_L] in the free state.

        The mean over the samples of J^T (J J^T + gamma I)^-1, with which learned feedback aligns
        (Meulemans et al. 2021, Theorem 6), or of J^T.

        Args:
            network: the network.
            x: inputs, (batch, n_0).
            damping: gamma >= 0, for 0 the pseudo-inverse of J; None for J^T.

        Raises:
            UserError: a negative damping.
        """
        check_network(network)
        if damping is not None and not damping >= 0:
            raise UserError(f"damping = {damping}: a number >= 0 is needed, or None for J^T")
        with torch.no_grad():
            parts = network.jacobians(network.potentials(x))
        j = torch.cat(parts, dim=-1)
        if damping is None:
            q = j.mT
        else:
            # NumPy, since PyTorch's batched solvers fail on some CPUs (see dynamics.linalg).
            a = j.cpu().numpy()
            if damping == 0:
                q = torch.from_numpy(np.linalg.pinv(a)).to(j)
            else:
                gram = a @ a.swapaxes(-1, -2) + damping * np.eye(a.shape[-2], dtype=a.dtype)
                q = torch.from_numpy(np.linalg.solve(gram, a)).to(j).mT
        return cls(list(torch.split(q.mean(dim=0), [p.shape[-1] for p in parts])))

    @classmethod
    def rebuilt(cls, arrays: Mapping[str, Tensor], texts: Mapping[str, list[str]]) -> Self:
        """See `FeedbackWeights.rebuilt`."""
        return cls(numbered(arrays, "matrices"))

    @property
    def pathway(self) -> None:
        """None."""
        return None

    def presynaptic(self, u: Tensor) -> tuple[Tensor, ...]:
        """The control signal itself, one for each layer."""
        return (u,) * len(self.matrices)

    def jacobians(self, u: Tensor) -> tuple[Tensor, ...]:
        """Q_1..Q_L, each (n_i, n_L), whatever u is."""
        return tuple(self.matrices)


@recorded("network")
class NetworkFeedback(Feedback):
    """Feedback through a small network, g_i(u) = Q_i phi(A_i u) (Meulemans et al. 2021, App. H).

    The stems A_i are fixed (buffers); `parameters()` are the synapses Q_i onto the layers, which
    the feedback learning rule trains.

    Args:
        matrices: Q_1..Q_L, each (n_i, m_i).
        stems: A_1..A_L, each (m_i, n_L), or a single one that all layers share.
        activation: phi, by name: a smooth one with phi(0) = 0, so that no control signal means no
            feedback, and g_i(u) = Q_i phi'(0) A_i u to first order (eq. 227).

    Raises:
        UserError: shapes that don't fit, or an activation that doesn't.
    """

    def __init__(
        self, matrices: Sequence[Tensor], stems: Sequence[Tensor], activation: str = "tanh"
    ) -> None:
        phi, zero = get_activation(activation), torch.zeros(1)
        if phi.function(zero) != 0 or phi.derivative(zero) == 0:
            raise UserError(
                f"feedback through {activation!r}: an activation with phi(0) = 0 and a slope there "
                "is needed, such as tanh or linear"
            )
        if not stems or len(stems) not in (1, len(matrices)):
            raise UserError(f"{len(stems)} stems for {len(matrices)} layers; give one, or one each")
        each = list(stems) * (len(matrices) // len(stems))
        for i, (q, a) in enumerate(zip(matrices, each, strict=True), start=1):
            if q.shape[1] != a.shape[0] or a.shape[1] != stems[0].shape[1]:
                raise UserError(
                    f"layer {i}: Q of shape {tuple(q.shape)} behind a stem of {tuple(a.shape)}; "
                    f"(n_i, m_i) and (m_i, {stems[0].shape[1]}) are needed"
                )
        super().__init__(matrices)
        self.activation = phi
        self._names = [f"stem_{i}" for i in range(1, len(stems) + 1)]
        for name, a in zip(self._names, stems, strict=True):
            self.register_buffer(name, a.detach().clone())

    @classmethod
    def like(
        cls,
        direct: DirectFeedback,
        width: int,
        generator: torch.Generator,
        *,
        activation: str = "tanh",
        shared: bool = False,
    ) -> NetworkFeedback:
        """A pathway that starts as a direct one, dg_i/du = Q_i of the latter at u = 0.

        The stems are drawn from the Glorot normal distribution and Q_i found by their
        pseudo-inverses, so every initialisation of `DirectFeedback` serves here too.

        Args:
            direct: what to start as, for instance `DirectFeedback.transposed(network)`.
            width: neurons m of a stem, at least n_L, since fewer can't carry n_L signals.
            generator: source of the stems.
            activation: see `NetworkFeedback`.
            shared: all layers share one stem; else each has its own.

        Raises:
            UserError: too few neurons, or what the class itself refuses.
        """
        wanted = [q.detach() for q in direct.matrices]
        n_out = wanted[0].shape[1]
        if width < n_out:
            raise UserError(f"width = {width}: a stem needs at least n_L = {n_out} neurons")
        count = 1 if shared else len(wanted)
        stems = [_glorot(width, n_out, generator).to(wanted[0]) for _ in range(count)]
        zero = torch.zeros(1, dtype=wanted[0].dtype, device=wanted[0].device)
        slope = get_activation(activation).derivative(zero)
        inverses = [torch.linalg.pinv(a) / slope for a in stems] * (len(wanted) // count)
        matrices = [q @ inverse for q, inverse in zip(wanted, inverses, strict=True)]
        return cls(matrices, stems, activation)

    def texts(self) -> dict[str, list[str]]:
        """Its activation."""
        return {"activation": [self.activation.name]}

    @classmethod
    def rebuilt(cls, arrays: Mapping[str, Tensor], texts: Mapping[str, list[str]]) -> Self:
        """See `FeedbackWeights.rebuilt`."""
        stems = [arrays[f"stem_{i}"] for i in range(1, 1 + sum(k[:5] == "stem_" for k in arrays))]
        return cls(numbered(arrays, "matrices"), stems, *texts["activation"])

    @property
    def pathway(self) -> Pathway:
        """The stems and their activation."""
        return Pathway(tuple(self.get_buffer(name) for name in self._names), self.activation)

    def presynaptic(self, u: Tensor) -> tuple[Tensor, ...]:
        """phi(A_i u); see `Feedback.presynaptic`."""
        return self._each(self.pathway.presynaptic(u))

    def jacobians(self, u: Tensor) -> tuple[Tensor, ...]:
        """Q_i diag(phi'(A_i u)) A_i, (batch, n_i, n_L)."""
        slopes = self._each(self.pathway.jacobians(u))
        return tuple(q @ d for q, d in zip(self.matrices, slopes, strict=True))

    def _each(self, stems: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return stems * (len(self.matrices) // len(stems))


def _glorot(n: int, m: int, generator: torch.Generator) -> Tensor:
    """Normal numbers of variance 2 / (n + m), (n, m), drawn on the CPU in double precision."""
    out = torch.randn(n, m, dtype=torch.float64, generator=generator)
    return out.mul_(math.sqrt(2 / (n + m)))


def _uniform(n: int, m: int, spread: float, generator: torch.Generator) -> Tensor:
    """Uniform numbers within +- spread, (n, m), drawn on the CPU in double precision."""
    out = torch.rand(n, m, dtype=torch.float64, generator=generator)
    return out.mul_(2 * spread).sub_(spread)

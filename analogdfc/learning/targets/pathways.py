"""Feedback pathways that carry targets, g_i, from the layer above or from the output."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple, Self

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from analogdfc.activations import Activation, get_activation
from analogdfc.errors import UserError
from analogdfc.feedback import FeedbackWeights, numbered, recorded
from analogdfc.network import Network


class Synapses(NamedTuple):
    """What happens at the synapses Q_i of one layer's feedback.

    Attributes:
        p: presynaptic activity, (batch, m_i).
        a: postsynaptic potential Q_i p + c_i, and S_i h_i where there is recurrent feedback,
            (batch, n_i).
        g: what the layer receives, t_i(a), (batch, n_i).
    """

    p: Tensor
    a: Tensor
    g: Tensor


class TargetFeedback(FeedbackWeights):
    """Feedback g_i = t_i(Q_i p + c_i) to the hidden layers 1..L-1; p is what subclasses define.

    Args:
        matrices: Q_1..Q_{L-1}, each (n_i, m_i).
        activations: t_1..t_{L-1}, names of nonlinearities.
        offsets: c_1..c_{L-1}, each (n_i,); by default 0.

    Raises:
        UserError: not as many matrices as activations and offsets, none at all, or an offset that
            doesn't fit.
    """

    def __init__(
        self,
        matrices: Sequence[Tensor],
        activations: Sequence[str],
        offsets: Sequence[Tensor] | None = None,
    ) -> None:
        super().__init__()
        chosen = [q.new_zeros(len(q)) for q in matrices] if offsets is None else offsets
        if not len(matrices) == len(activations) == len(chosen) >= 1:
            raise UserError(
                f"feedback of targets: {len(matrices)} matrices, {len(activations)} activations "
                f"and {len(chosen)} offsets; one of each for every hidden layer, at least one"
            )
        for i, (q, c) in enumerate(zip(matrices, chosen, strict=True), start=1):
            if c.shape != q.shape[:1]:
                raise UserError(
                    f"feedback to layer {i}: offsets {tuple(c.shape)} for a matrix of "
                    f"{tuple(q.shape)}; ({q.shape[0]},) is needed"
                )
        self.matrices = nn.ParameterList(nn.Parameter(q.detach().clone()) for q in matrices)
        self.offsets = nn.ParameterList(nn.Parameter(c.detach().clone()) for c in chosen)
        self.activations: tuple[Activation, ...] = tuple(map(get_activation, activations))

    def texts(self) -> dict[str, list[str]]:
        """Its activations t_i."""
        return {"activations": [t.name for t in self.activations]}

    @classmethod
    def rebuilt(cls, arrays: Mapping[str, Tensor], texts: Mapping[str, list[str]]) -> Self:
        """See `FeedbackWeights.rebuilt`."""
        return cls(numbered(arrays, "matrices"), texts["activations"], numbered(arrays, "offsets"))

    @abstractmethod
    def widths(self, network: Network) -> list[int]:
        """Columns m_1..m_{L-1} that the matrices need on a network."""

    @abstractmethod
    def free(self, h: Sequence[Tensor]) -> list[Synapses]:
        """The synapses of all hidden layers in the free state, with h_0..h_L, (batch, n_i)."""

    @abstractmethod
    def returned(
        self, h: Sequence[Tensor], free: Sequence[Synapses], outputs: Tensor
    ) -> Iterator[tuple[int, Synapses]]:
        """The synapses of each hidden layer when an output activity of its own comes back.

        The way back to layer i is that of the targets, with the difference correction in all layers
        above it (Meulemans et al. 2020, section 3.3): g_i itself is not applied.

        Args:
            h: h_0..h_L, (batch, n_i).
            free: of `free(h)`.
            outputs: for each of the L-1 layers an activity of the output layer, (L-1, batch, n_L).

        Yields:
            The index of a hidden layer, from 0, and its synapses; every layer once.
        """

    @abstractmethod
    def target_steps(
        self, h: Sequence[Tensor], free: Sequence[Synapses], last: Tensor
    ) -> list[Tensor]:
        """Delta h_1..Delta h_{L-1}, (batch, n_i), of targets with the difference correction.

        Args:
            h: h_0..h_L, (batch, n_i).
            free: of `free(h)`.
            last: Delta h_L, (batch, n_L).
        """

    def potential(self, k: int, p: Tensor, h: Tensor) -> Tensor:
        """Q p + c of hidden layer k + 1 with free activity h, (batch, n_{k+1})."""
        return linear(p, self.matrices[k], self.offsets[k])

    def synapses(self, k: int, p: Tensor, h: Tensor) -> Synapses:
        """The synapses of hidden layer k + 1 for a presynaptic activity, (batch, m_{k+1}).

        Args:
            k: index of the layer, from 0.
            p: presynaptic activity.
            h: the layer's own free activity, (batch, n_{k+1}).
        """
        a = self.potential(k, p, h)
        return Synapses(p, a, self.activations[k].function(a))

    def recurrent(self, k: int) -> nn.Parameter | None:
        """S of hidden layer k + 1, (n, n); None without recurrent feedback."""
        return None

    def check(self, network: Network) -> None:
        """Make sure that the pathway fits a network.

        Raises:
            UserError: a matrix of another shape.
        """
        shapes = [tuple(q.shape) for q in self.matrices]
        wanted = [*zip(network.sizes[1:-1], self.widths(network), strict=True)]
        if shapes != wanted:
            raise UserError(
                f"feedback matrices {shapes} do not fit a network {list(network.sizes)}: "
                f"{wanted} are needed"
            )

    def _step(self, k: int, free: Synapses, moved: Tensor) -> Tensor:
        """Change of g when the presynaptic activity moves by (batch, m_{k+1})."""
        a = torch.addmm(free.a, moved, self.matrices[k].T)
        return self.activations[k].function(a) - free.g


@recorded("targets, layer by layer")
class LayerwiseFeedback(TargetFeedback):
    """Each hidden layer hears the layer above, g_i(h_{i+1}) = t_i(Q_i h_{i+1} + c_i)."""

    @classmethod
    def random(
        cls,
        network: Network,
        generator: torch.Generator,
        activations: str | Sequence[str] | None = None,
    ) -> LayerwiseFeedback:
        """Glorot normal matrices and no offsets, as the published experiments start.

        Args:
            network: the network.
            generator: source of the numbers, on the CPU.
            activations: t_i, one name or one each; by default those of the network's layers.

        Raises:
            UserError: a network without hidden layers, or an unknown activation.
        """
        names = _names(network, activations)
        sizes = network.sizes
        return cls([_glorot(network, sizes[i : i + 2], generator) for i in _hidden(network)], names)

    def widths(self, network: Network) -> list[int]:
        """n_2..n_L."""
        return list(network.sizes[2:])

    def free(self, h: Sequence[Tensor]) -> list[Synapses]:
        """See `TargetFeedback.free`."""
        return [self.synapses(k, p, h[k + 1]) for k, p in enumerate(h[2:])]

    def returned(
        self, h: Sequence[Tensor], free: Sequence[Synapses], outputs: Tensor
    ) -> Iterator[tuple[int, Synapses]]:
        """See `TargetFeedback.returned`."""
        stack = outputs
        # All layers' activities come down together; those of layer k + 1 are at their goal first.
        for k in range(len(self.matrices) - 1, -1, -1):
            p, a, g = self.synapses(k, stack, h[k + 1])
            yield k, Synapses(p[k], a[k], g[k])
            stack = g[:k] + (h[k + 1] - free[k].g)

    def target_steps(
        self, h: Sequence[Tensor], free: Sequence[Synapses], last: Tensor
    ) -> list[Tensor]:
        """See `TargetFeedback.target_steps`."""
        out = [last]
        for k in range(len(self.matrices) - 1, -1, -1):
            out.insert(0, self._step(k, free[k], out[0]))
        return out[:-1]


@recorded("targets, direct")
class DirectTargetFeedback(TargetFeedback):
    """Each hidden layer hears the output, g_i(h_L) = t_i(Q_i h_L + c_i)."""

    @classmethod
    def random(
        cls,
        network: Network,
        generator: torch.Generator,
        activations: str | Sequence[str] | None = "linear",
    ) -> DirectTargetFeedback:
        """Glorot normal matrices and no offsets; see `LayerwiseFeedback.random`."""
        names, sizes = _names(network, activations), network.sizes
        shapes = [(sizes[i], sizes[-1]) for i in _hidden(network)]
        return cls([_glorot(network, shape, generator) for shape in shapes], names)

    def widths(self, network: Network) -> list[int]:
        """n_L for every layer."""
        return [network.sizes[-1]] * (network.depth - 1)

    def presynaptic(self, output: Tensor) -> Tensor:
        """Activity in front of Q, (..., m), for that of the output layer, (..., n_L)."""
        return output

    def free(self, h: Sequence[Tensor]) -> list[Synapses]:
        """See `TargetFeedback.free`."""
        p = self.presynaptic(h[-1])
        return [self.synapses(k, p, h[k + 1]) for k in range(len(self.matrices))]

    def returned(
        self, h: Sequence[Tensor], free: Sequence[Synapses], outputs: Tensor
    ) -> Iterator[tuple[int, Synapses]]:
        """See `TargetFeedback.returned`."""
        for k, output in enumerate(outputs):
            yield k, self.synapses(k, self.presynaptic(output), h[k + 1])

    def target_steps(
        self, h: Sequence[Tensor], free: Sequence[Synapses], last: Tensor
    ) -> list[Tensor]:
        """See `TargetFeedback.target_steps`."""
        moved = self.presynaptic(h[-1] + last) - free[0].p
        return [self._step(k, synapses, moved) for k, synapses in enumerate(free)]


@recorded("targets, through random units")
class RandomHiddenFeedback(DirectTargetFeedback):
    """Direct feedback through a wide fixed random layer, t_i(Q_i s(R h_L + d) + S_i h_i + c_i).

    Meulemans et al. 2020, eqs. 62 and 63 with App. B.1. R and d are buffers that all layers share;
    `parameters()` are Q_i, c_i and, with recurrent feedback, S_i.

    Args:
        matrices: Q_1..Q_{L-1}, each (n_i, m).
        activations: t_1..t_{L-1}, names of nonlinearities.
        stem: R, (m, n_L).
        stem_offset: d, (m,).
        offsets: c_1..c_{L-1}; by default 0.
        recurrent: S_1..S_{L-1}, each (n_i, n_i); by default none.
        stem_activation: s, the name of a nonlinearity.

    Raises:
        UserError: shapes that don't fit.
    """

    def __init__(
        self,
        matrices: Sequence[Tensor],
        activations: Sequence[str],
        stem: Tensor,
        stem_offset: Tensor,
        *,
        offsets: Sequence[Tensor] | None = None,
        recurrent: Sequence[Tensor] = (),
        stem_activation: str = "tanh",
    ) -> None:
        super().__init__(matrices, activations, offsets)
        if stem_offset.shape != stem.shape[:1] or {q.shape[1] for q in matrices} != {len(stem)}:
            raise UserError(
                f"random hidden feedback: matrices {[tuple(q.shape) for q in matrices]} behind a "
                f"layer of weights {tuple(stem.shape)} and offsets {tuple(stem_offset.shape)}"
            )
        squares = [(len(q), len(q)) for q in matrices] if recurrent else []
        if [tuple(s.shape) for s in recurrent] != squares:
            raise UserError(f"recurrent feedback needs a square matrix for each layer: {squares}")
        self.register_buffer("stem", stem.detach().clone())
        self.register_buffer("stem_offset", stem_offset.detach().clone())
        self.stem_activation = get_activation(stem_activation)
        self.recurrences = nn.ParameterList(nn.Parameter(s.detach().clone()) for s in recurrent)

    @classmethod
    def random(
        cls,
        network: Network,
        generator: torch.Generator,
        activations: str | Sequence[str] | None = None,
        *,
        width: int = 1024,
        recurrent: bool = False,
    ) -> RandomHiddenFeedback:
        """A pathway as the published experiments start.

        Glorot normal Q_i and S_i; R and d uniform within 1 / sqrt(n_L), as `nn.Linear` starts.

        Args:
            network: the network.
            generator: source of the numbers, on the CPU.
            activations: t_i, one name or one each; by default those of the network's layers.
            width: neurons m of the random layer; 1024 in the paper, 2048 for CIFAR-10.
            recurrent: each layer hears its own free activity too (eq. 63).

        Raises:
            UserError: a network without hidden layers, a width below 1, an unknown activation.
        """
        if width < 1:
            raise UserError(f"width = {width}: the random hidden layer needs at least one neuron")
        names, like = _names(network, activations), network.weights[0]
        sizes, bound = network.sizes, 1 / math.sqrt(network.sizes[-1])
        drawn = torch.rand(width, sizes[-1] + 1, dtype=torch.float64, generator=generator)
        stem = ((2 * drawn - 1) * bound).to(like)
        hidden = [sizes[i] for i in _hidden(network)]
        matrices = [_glorot(network, (n, width), generator) for n in hidden]
        own = [_glorot(network, (n, n), generator) for n in hidden] if recurrent else []
        return cls(matrices, names, stem[:, :-1], stem[:, -1], recurrent=own)

    def texts(self) -> dict[str, list[str]]:
        """Its activations t_i and s."""
        return {**super().texts(), "stem_activation": [self.stem_activation.name]}

    @classmethod
    def rebuilt(cls, arrays: Mapping[str, Tensor], texts: Mapping[str, list[str]]) -> Self:
        """See `FeedbackWeights.rebuilt`."""
        return cls(
            numbered(arrays, "matrices"),
            texts["activations"],
            arrays["stem"],
            arrays["stem_offset"],
            offsets=numbered(arrays, "offsets"),
            recurrent=numbered(arrays, "recurrences"),
            stem_activation=texts["stem_activation"][0],
        )

    def widths(self, network: Network) -> list[int]:
        """M for every layer."""
        return [len(self.get_buffer("stem"))] * (network.depth - 1)

    def presynaptic(self, output: Tensor) -> Tensor:
        """s(R h_L + d)."""
        a = linear(output, self.get_buffer("stem"), self.get_buffer("stem_offset"))
        return self.stem_activation.function(a)

    def potential(self, k: int, p: Tensor, h: Tensor) -> Tensor:
        """See `TargetFeedback.potential`; with recurrent feedback, S h is added."""
        a = super().potential(k, p, h)
        s = self.recurrent(k)
        return a if s is None else a + h @ s.T

    def recurrent(self, k: int) -> nn.Parameter | None:
        """See `TargetFeedback.recurrent`."""
        return self.recurrences[k] if len(self.recurrences) else None


def _hidden(network: Network) -> range:
    """Numbers of the hidden layers."""
    if network.depth < 2:
        raise UserError(
            f"a network {list(network.sizes)} has no hidden layer that targets could be sent to"
        )
    return range(1, network.depth)


def _names(network: Network, names: str | Sequence[str] | None) -> list[str]:
    _hidden(network)
    if names is None:
        return [phi.name for phi in network.activations[:-1]]
    return [names] * (network.depth - 1) if isinstance(names, str) else list(names)


def _glorot(network: Network, shape: Sequence[int], generator: torch.Generator) -> Tensor:
    """Normal numbers of variance 2 / (n + m), drawn on the CPU in double precision."""
    out = torch.randn(*shape, dtype=torch.float64, generator=generator)
    return out.mul_(math.sqrt(2 / sum(shape))).to(network.weights[0])

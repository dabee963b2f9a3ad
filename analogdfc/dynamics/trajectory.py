"""What a realisation returns: the waveforms of a run, and the weight update read from them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Readings:
    """The signals of every neuron that can be measured, layer by layer.

    Attributes:
        v: potentials of layers 1..L, (batch, ..., n_i), dimensionless.
        v_ff: feedforward compartments W r + b, (batch, ..., n_i).
        r: activations phi(v), (batch, ..., n_i).
        r_ff: activations phi(v_ff), (batch, ..., n_i).
        v_fb: feedback compartments, (batch, ..., n_i); empty where the feedback reaches the
            neurons at once and has no signal of its own.
    """

    v: tuple[Tensor, ...]
    v_ff: tuple[Tensor, ...]
    r: tuple[Tensor, ...]
    r_ff: tuple[Tensor, ...]
    v_fb: tuple[Tensor, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Trajectory:
    """Waveforms of the controlled phase, on a uniform grid that starts with the release.

    All realisations return this type, in the dimensionless units of the paper.

    Attributes:
        t: times, (T,), in units of the controller's time.
        x: inputs r_0, (batch, n_0).
        neurons: the neurons' signals, each (batch, T, n_i).
        u: control signal, (batch, T, n_L).
        e: control error, (batch, T, n_L).
        free: the neurons' signals in the free phase before the release, each (batch, n_i).
        made_by: the simulator that gave them, with its version and linear solver, such as
            'ngspice 46, KLU'; empty where it was this package.
        read: the update as the chip's update path formed it; None without one.
    """

    t: Tensor
    x: Tensor
    neurons: Readings
    u: Tensor
    e: Tensor
    free: Readings
    made_by: str = ""
    read: Update | None = None

    @property
    def depth(self) -> int:
        """Number of layers L."""
        return len(self.neurons.v)

    def settling_time(self, band: float = 0.02) -> Tensor:
        """Time after which every control signal stays near its final value.

        Args:
            band: half width of the band around the final value, relative to the largest final
                control signal of the sample.

        Returns:
            (batch,), in units of the controller's time; the last time of the grid where a signal
            has not settled.
        """
        final = self.u[:, -1:, :]
        scale = final.abs().amax(dim=-1, keepdim=True)
        outside = ((self.u - final).abs() > band * scale).any(dim=-1)
        steps = torch.arange(len(self.t), device=self.t.device)
        last = torch.where(outside, steps, -1).amax(dim=-1)
        return self.t[(last + 1).clamp(max=len(self.t) - 1)]


@dataclass(frozen=True)
class Update:
    """Weight changes of single samples, before any learning rate.

    Attributes:
        weights: Delta W_1..Delta W_L, (batch, n_i, n_{i-1}).
        biases: Delta b_1..Delta b_L, (batch, n_i).
    """

    weights: tuple[Tensor, ...]
    biases: tuple[Tensor, ...]

    @classmethod
    def of(cls, trajectory: Trajectory, *, double_sampling: bool = True) -> Update:
        """Forward rule averaged over the run (Meulemans et al. 2021, eq. 5).

        Delta W_i = mean over t of (phi(v_i) - phi(v_ff_i)) r_{i-1}^T.

        Where the run has an update that came through a chip's update path, it is that one.

        Args:
            trajectory: the waveforms.
            double_sampling: subtract the value that phi(v) - phi(v_ff) has in the free phase
                (correlated double sampling), where an exact network gives zero.
        """
        if trajectory.read is not None:
            return trajectory.read
        steps = len(trajectory.t)
        weight = torch.ones(steps, dtype=trajectory.t.dtype, device=trajectory.t.device)
        weight[0] = weight[-1] = 0.5
        weight /= weight.sum()
        presynaptic = (trajectory.x.unsqueeze(1).expand(-1, steps, -1), *trajectory.neurons.r[:-1])
        weights, biases = [], []
        for i in range(trajectory.depth):
            difference = trajectory.neurons.r[i] - trajectory.neurons.r_ff[i]
            if double_sampling:
                free = trajectory.free.r[i] - trajectory.free.r_ff[i]
                difference = difference - free.unsqueeze(1)
            difference = difference * weight[:, None]
            weights.append(difference.transpose(1, 2) @ presynaptic[i])
            biases.append(difference.sum(dim=1))
        return cls(tuple(weights), tuple(biases))

    def layer(self, i: int) -> Tensor:
        """Mean over the batch of layer i (1..L), bias in the last column, (n_i, n_{i-1} + 1).

        Args:
            i: number of the layer, 1 to L.
        """
        both = torch.cat([self.weights[i - 1], self.biases[i - 1].unsqueeze(-1)], dim=-1)
        return both.mean(dim=0)

    def flat(self) -> Tensor:
        """All layers of the mean over the batch in one vector."""
        return torch.cat([self.layer(i + 1).flatten() for i in range(len(self.weights))])

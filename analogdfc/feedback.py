"""Feedback pathways from the controller to the layers."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from analogdfc.errors import UserError
from analogdfc.network import Network


class DirectFeedback(nn.Module):
    """Direct linear feedback: layer i receives Q_i u.

    Args:
        matrices: Q_1..Q_L, each (n_i, n_L).

    Raises:
        UserError: the matrices do not share their number of columns.
    """

    def __init__(self, matrices: Sequence[Tensor]) -> None:
        super().__init__()
        columns = {q.shape[1] for q in matrices}
        if len(columns) != 1:
            raise UserError(f"feedback matrices of {sorted(columns)} columns; all need n_L columns")
        self.matrices = nn.ParameterList(nn.Parameter(q.clone()) for q in matrices)

    @classmethod
    def transposed(cls, network: Network) -> DirectFeedback:
        """Feedback from the product of the transposed weights.

        Q_i = W_{i+1}^T ... W_L^T and Q_L = I (Meulemans et al. 2021, eqs. 219 and 220).
        """
        last = network.weights[-1]
        q = torch.eye(last.shape[0], dtype=last.dtype, device=last.device)
        out = [q]
        for w in reversed(list(network.weights)[1:]):
            q = w.detach().T @ q
            out.append(q)
        return cls(list(reversed(out)))

    @classmethod
    def random(cls, network: Network, generator: torch.Generator) -> DirectFeedback:
        """Glorot normal feedback to the hidden layers; Q_L = I (App. F.2)."""
        last = network.weights[-1]
        n_out = last.shape[0]
        out = []
        for w in list(network.weights)[:-1]:
            std = (2 / (w.shape[0] + n_out)) ** 0.5
            q = torch.randn(w.shape[0], n_out, dtype=torch.float64, generator=generator) * std
            out.append(q.to(last))
        return cls([*out, torch.eye(n_out, dtype=last.dtype, device=last.device)])

    def forward(self, u: Tensor) -> tuple[Tensor, ...]:
        """Feedback of each layer, (batch, n_i), for the control signal u, (batch, n_L)."""
        return tuple(u @ q.T for q in self.matrices)

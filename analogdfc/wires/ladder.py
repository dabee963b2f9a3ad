"""Lines as ladders: a chain of segments with a conductance to elsewhere at every node.

Everything is computed from sums, products and quotients of numbers >= 0, the way that Grassmann,
Taksar and Heyman (1985) eliminate a Markov chain. Nothing cancels, so node voltages keep their
relative accuracy, element by element, where the segments conduct 1e8 times better than the cells.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from analogdfc.wires.lines import Lines


class Ladder:
    """Equal chains of nodes with a lead to a terminal at one end or at both.

    The nodal equations T x = i of a chain with leads l and segments of resistance r,

        (g_k + l_k + sum of 1 / r over neighbours) x_k - sum of x_neighbour / r = i_k,

    are factorised once.

    Args:
        g: conductance of each node to its cell, (..., n, lines), in siemens, >= 0.
        r: resistance of a segment, in ohms, >= 0.
        lead: resistance between a terminal and its node, in ohms, >= r; 0 only with r = 0, for
            nodes that are the terminal.
        first: whether node 0 has a lead.
        last: whether node n - 1 has a lead; one of them must.
    """

    def __init__(self, g: Tensor, r: float, lead: float, *, first: bool, last: bool) -> None:
        self.g, self.r = g, r
        self.ideal = lead == 0
        if self.ideal:
            return
        self.first, self.last = (1 / lead if end else 0.0 for end in (first, last))
        self.seen = _seen_from_each(g, r, self.first)
        self.pass_on = 1 / (1 + r * self.seen)
        self._rung = r * self.pass_on
        self._last_pivot = self.seen[..., -1, :] + self.last

    @classmethod
    def words(cls, g: Tensor, lines: Lines) -> Ladder:
        """The word lines of arrays (..., rows, columns): their nodes come first, (..., n, rows)."""
        both = lines.driven == "both"
        return cls(g.mT.contiguous(), lines.r_word, lines.word_lead, first=True, last=both)

    @classmethod
    def bits(cls, g: Tensor, lines: Lines) -> Ladder:
        """The bit lines of arrays (..., rows, columns)."""
        return cls(g, lines.r_bit, lines.bit_lead, first=lines.sensed == "both", last=True)

    def solve(self, current: Tensor, *, extra: int = 0) -> Tensor:
        """Node voltages for injected currents, with the terminals at ground.

        Args:
            current: (..., n, lines), in amperes.
            extra: dimensions of currents, before the last two, that g does not have.

        Returns:
            (..., n, lines), in volts.
        """
        if self.ideal:
            return torch.zeros_like(current)
        pass_on, rung, last_pivot = self.pass_on, self._rung, self._last_pivot
        for _ in range(extra):
            pass_on, rung = pass_on.unsqueeze(-3), rung.unsqueeze(-3)
            last_pivot = last_pivot.unsqueeze(-2)
        x = current.expand(np.broadcast_shapes(current.shape, rung.shape)).clone(
            memory_format=torch.contiguous_format
        )
        nodes, ratios = x.unbind(-2), pass_on.unbind(-2)
        for k in range(1, len(nodes)):
            nodes[k].addcmul_(nodes[k - 1], ratios[k - 1])
        end = nodes[-1] / last_pivot
        x *= rung
        nodes[-1].copy_(end)
        for k in range(len(nodes) - 2, -1, -1):
            nodes[k].addcmul_(nodes[k + 1], ratios[k])
        return x

    def drive(self) -> Tensor:
        """Node voltages, (..., n, lines), per volt on the terminals."""
        if self.ideal:
            return torch.ones_like(self.g)
        current = torch.zeros_like(self.g)
        current[..., 0, :] += self.first
        current[..., -1, :] += self.last
        return self.solve(current)

    def inverse_factors(self) -> tuple[Tensor, Tensor]:
        """The inverse of T as T^-1_jk = d_j d_k exp(-|e_j - e_k|): d and e, (..., n, lines).

        The inverse of a tridiagonal matrix is semiseparable, u_min(j, k) v_max(j, k); the ratios
        of consecutive u and of consecutive v are those of two neighbouring nodes' voltages seen
        from either side.
        """
        if self.ideal:
            return torch.zeros_like(self.g), torch.zeros_like(self.g)
        behind = _seen_from_each(self.g.flip(-2), self.r, self.last).flip(-2)
        total = self.seen.clone()
        total[..., :-1, :] += behind[..., 1:, :] / (1 + self.r * behind[..., 1:, :])
        total[..., -1, :] += self.last
        step = torch.zeros_like(self.g)
        ahead = torch.log1p(self.r * self.seen[..., :-1, :])
        step[..., 1:, :] = (ahead + torch.log1p(self.r * behind[..., 1:, :])) / 2
        return total.rsqrt(), step.cumsum(-2)


def _seen_from_each(g: Tensor, r: float, lead: float) -> Tensor:
    """Conductance to ground of every node with the chain before it and without that behind it."""
    seen = g.clone(memory_format=torch.contiguous_format)
    nodes = seen.unbind(-2)
    nodes[0].add_(lead)
    for k in range(1, len(nodes)):
        nodes[k].add_(nodes[k - 1] / (1 + r * nodes[k - 1]))
    return seen

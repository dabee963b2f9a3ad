"""Forward updates averaged over a run of Algorithm 1, without keeping its history."""

from __future__ import annotations

import torch
from torch import Tensor

from analogdfc.dynamics.integrators import Euler
from analogdfc.dynamics.loop import Loop, LoopState, free_state
from analogdfc.dynamics.simulation import check_finite, check_run

_CHUNK = 16  # steps whose outer products are summed by one matrix product


class _Run:
    """Buffers of one run; every step works in place."""

    def __init__(
        self,
        loop: Loop,
        x: Tensor,
        target: Tensor,
        dt: float,
        method: Euler,
        nonlinear: bool,
    ) -> None:
        self.nonlinear = nonlinear
        self.loop, self.x, self.target, self.dt, self.method = loop, x, target, dt, method
        state = free_state(loop, x)
        self.v = [v.clone() for v in state.v]
        self.u_int, self.u = state.u_int.clone(), state.u.clone()
        self.feedback = torch.cat(loop.feedback).T.contiguous()
        self.ends = [q.shape[0] for q in loop.feedback]
        self.v_ff = [v.clone() for v in state.v]
        self.first_ff = loop.activations[0].function(self.v_ff[0])
        # Presynaptic activations and differences of a chunk, (chunk, batch, n).
        self.r = [v.new_empty(_CHUNK, *v.shape) for v in state.v]
        self.d = [v.new_empty(_CHUNK, *v.shape) for v in state.v]
        self.last_r = [p.function(v) for p, v in zip(loop.activations, state.v, strict=True)]
        self.weights = [torch.zeros_like(w) for w in loop.weights]
        self.summed = [torch.zeros_like(v) for v in state.v]

    def step(self, slot: int) -> None:
        """One step of Algorithm 1; its signals go into a slot of the chunk."""
        loop, pi = self.loop, self.loop.controller
        before = self.u
        e = self.target - self.last_r[-1]
        self.u_int.add_(pi.derivative(self.u, e), alpha=self.dt)
        self.u = pi.output(self.u_int, e)
        pushed = (self.u if self.method.proactive else before) @ self.feedback
        old_r = self.last_r
        new_r: list[Tensor] = []
        for i, push in enumerate(torch.split(pushed, self.ends, dim=1)):
            phi = loop.activations[i].function
            if i > 0:
                seen = new_r[i - 1] if self.method.layered else old_r[i - 1]
                torch.addmm(loop.biases[i], seen, loop.weights[i].T, out=self.v_ff[i])
            self.v[i].lerp_(push.add_(self.v_ff[i]), self.dt / loop.tau_v)
            new_r.append(phi(self.v[i]))
            self.r[i][slot] = new_r[i]
        self.last_r = new_r
        self._differences(slot)

    def _differences(self, slot: int) -> None:
        """phi(v) - phi(v_ff), with v_ff of the new activations below."""
        loop = self.loop
        for i, phi in enumerate(loop.activations):
            if i > 0 and not self.method.layered:
                seen = self.last_r[i - 1]
                torch.addmm(loop.biases[i], seen, loop.weights[i].T, out=self.v_ff[i])
            if not self.nonlinear:
                torch.sub(self.v[i], self.v_ff[i], out=self.d[i][slot])
                continue
            rate = self.first_ff if i == 0 else phi.function(self.v_ff[i])
            torch.sub(self.last_r[i], rate, out=self.d[i][slot])

    def collect(self, count: int) -> None:
        """Add a chunk's outer products; layer 1 sees a constant input and needs its sum only."""
        for i, d in enumerate(self.d):
            self.summed[i] += d[:count].sum(dim=0)
            if i > 0:
                flat = self.r[i - 1][:count].flatten(0, 1)
                self.weights[i].addmm_(d[:count].flatten(0, 1).T, flat)


@torch.inference_mode()
def mean_update(
    loop: Loop,
    x: Tensor,
    target: Tensor,
    *,
    dt: float,
    steps: int,
    integrator: Euler | None = None,
    nonlinear: bool = True,
) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    """Forward update averaged over the run and the batch (Meulemans et al. 2021, Algorithm 1).

    Memory does not grow with the number of steps.

    Args:
        loop: the constants of the dynamics.
        x: inputs, (batch, n_0).
        target: output targets, (batch, n_L).
        dt: time step, in units of the controller's time.
        steps: number of steps.
        nonlinear: average (phi(v) - phi(v_ff)) r^T (eq. 5); else (v - v_ff) r^T (eq. 9).
        integrator: which of the paper's modifications of Euler's method apply; by default both.

    Returns:
        Delta W_i, (n_i, n_{i-1}), and Delta b_i, (n_i,), of layers 1..L.

    Raises:
        ConvergenceError: a signal has left the finite numbers.
        UserError: dt, steps or the shape of the targets make no run.
    """
    check_run(loop, x, target, dt, steps)
    run = _Run(loop, x, target, dt, integrator or Euler(), nonlinear)
    for first in range(0, steps, _CHUNK):
        count = min(_CHUNK, steps - first)
        for slot in range(count):
            run.step(slot)
        run.collect(count)
    check_finite(LoopState(tuple(run.v), run.u_int, run.u))
    run.weights[0].addmm_(run.summed[0].T, x)
    scale = 1 / (steps * x.shape[0])
    return (
        tuple((w * scale).clone() for w in run.weights),
        tuple((s.sum(dim=0) * scale).clone() for s in run.summed),
    )

"""Forward updates averaged over a run of Algorithm 1, without keeping its history."""

from __future__ import annotations

import torch
from torch import Tensor

from analogdfc.activations import activate
from analogdfc.dynamics.graphs import repeat
from analogdfc.dynamics.integrators import Euler
from analogdfc.dynamics.loop import Loop, LoopState, free_state, is_identity
from analogdfc.dynamics.simulation import check_finite, check_run
from analogdfc.products import affine, multiplied

CHUNK = 8
"""Steps whose outer products are summed by one matrix product; few, for the cache."""


class AveragedRun:
    """A run of Algorithm 1 with the sums of its updates.

    Everything lives in buffers that are allocated once: each chunk of steps reads and writes the
    same addresses as the one before, so that it can be captured and replayed.
    """

    def __init__(
        self,
        loop: Loop,
        x: Tensor,
        target: Tensor,
        dt: float,
        method: Euler,
        nonlinear: bool,
    ) -> None:
        self.nonlinear, self.method = nonlinear, method
        self.loop, self.target, self.dt = loop, target, dt
        state = free_state(loop, x)
        self.v = [v.clone() for v in state.v]
        self.u_int, self.u = state.u_int.clone(), state.u.clone()
        self.e, self.slope = torch.zeros_like(self.u), torch.zeros_like(self.u)
        self.r_slow = None if state.r_slow is None else state.r_slow.clone()
        self.v_ff = [v.clone() for v in state.v]
        self.first_v_ff = self.v_ff[0]
        self.first_ff = activate(loop.activations[0], state.v[0]).clone()
        # Activations and differences of a chunk, (chunk, batch, n), and each slot of them. A step
        # finds the activations before it in the last slot, and the first step in the last of all.
        self.r = [v.new_empty(CHUNK, *v.shape) for v in state.v]
        self.d = [v.new_empty(CHUNK, *v.shape) for v in state.v]
        self.r_slots, self.d_slots = ([list(t) for t in ts] for ts in (self.r, self.d))
        for slots, phi, v in zip(self.r_slots, loop.activations, state.v, strict=True):
            slots[-1].copy_(activate(phi, v))
        self._route()
        self.weights = [torch.zeros_like(w) for w in loop.weights]
        self.summed = [torch.zeros_like(v) for v in state.v]

    def _route(self) -> None:
        """Buffers of the feedback; one product for all layers where they see the same signal.

        The output layer sees the control signal itself where its feedback is the identity, as is
        published: of an autoencoder that would be the largest product of all.
        """
        loop, sizes = self.loop, [v.shape[1] for v in self.v]
        stems = loop.pathway.stems if loop.pathway else ()
        self.h = [self.u.new_empty(len(self.u), len(a)) for a in stems]
        self.alone = not stems and len(sizes) > 1 and is_identity(loop.feedback[-1], least=1)
        feedback = loop.feedback[:-1] if self.alone else loop.feedback
        own = [self.u.new_empty(len(self.u), sizes[-1])] if self.alone else []
        sizes = sizes[: len(feedback)]
        pushed = self.u.new_empty(len(self.u), sum(sizes))
        self.pushes = [*torch.split(pushed, sizes, dim=1), *own]
        sources = self.h or [self.u]
        if len(sources) == 1:
            fused = torch.cat(feedback).T.contiguous()
            self.products = [(sources[0], fused, pushed)]
        else:
            matrices = [q.T for q in feedback]
            self.products = list(zip(sources, matrices, self.pushes, strict=True))

    def step(self, slot: int) -> None:
        """One step of Algorithm 1; its signals go into a slot of the chunk."""
        loop, gain = self.loop, self.dt / self.loop.tau_v
        if self.method.proactive:
            self._control(self.r_slots[-1][slot - 1])
            self._push()
        else:
            self._push()
            self._control(self.r_slots[-1][slot - 1])
        for i, push in enumerate(self.pushes):
            v_ff = self._drive(i, slot)
            self.v[i].lerp_(push.add_(v_ff), gain)
            activate(loop.activations[i], self.v[i], self.r_slots[i][slot])
        self._basal(slot)

    def _control(self, r: Tensor) -> None:
        """Move the controller on by one step, from the output before it."""
        c, dt = self.loop.controller, self.dt
        torch.sub(self.target, r, out=self.e)
        if c.integrates:
            if c.alpha > 0:
                self.u_int.add_(c.leaking(self.u_int, self.u), alpha=-dt * c.alpha / c.tau_u)
            self.u_int.add_(self.e, alpha=dt / c.tau_u)
        torch.add(self.u_int, self.e, alpha=c.k_p, out=self.u)
        if self.r_slow is not None:
            torch.sub(r, self.r_slow, out=self.slope).div_(c.tau_d)
            self.r_slow.add_(self.slope, alpha=dt)
            self.u.sub_(self.slope, alpha=c.k_d)

    def _push(self) -> None:
        """Feedback of all layers under the control signal."""
        if self.loop.pathway:
            for h, a in zip(self.h, self.loop.pathway.stems, strict=True):
                multiplied(self.u, a.T, h)
                activate(self.loop.pathway.activation, h, h)
        for source, q, out in self.products:
            multiplied(source, q, out)
        if self.alone:
            self.pushes[-1].copy_(self.u)

    def _drive(self, i: int, slot: int) -> Tensor:
        """Feedforward compartment that layer i + 1 sees in a step."""
        if i == 0:
            return self.first_v_ff
        if self.method.layered:
            return self._feed(i, slot, self.d_slots[i][slot])
        return self._feed(i, slot - 1, self.v_ff[i])

    def _feed(self, i: int, slot: int, out: Tensor) -> Tensor:
        """Feedforward compartment of layer i + 1, from a slot of the layer below."""
        below, w = self.r_slots[i - 1][slot], self.loop.weights[i]
        return affine(below, w, self.loop.biases[i], out)

    def _basal(self, slot: int) -> None:
        """Feedforward compartments under the new activations below; v - v_ff for the linear rule.

        Differences of activations are taken for a whole chunk, in `collect`.
        """
        for i, d in enumerate(slots[slot] for slots in self.d_slots):
            if i > 0 and not self.method.layered:
                self._feed(i, slot, d)
            if not self.nonlinear:
                torch.sub(self.v[i], d if i else self.first_v_ff, out=d)

    def _differences(self, count: int) -> list[Tensor]:
        """What the layers learn from in a chunk: phi(v) - phi(v_ff), or what `_basal` has left."""
        out = [d[:count] for d in self.d]
        if self.nonlinear:
            for i, (d, phi) in enumerate(zip(out, self.loop.activations, strict=True)):
                if i > 0:
                    activate(phi, d, d)
                torch.sub(self.r[i][:count], d if i else self.first_ff, out=d)
        return out

    def chunk(self, count: int = CHUNK) -> None:
        """Some steps, and their share of the update."""
        for slot in range(count):
            self.step(slot)
        self.collect(count)

    def collect(self, count: int) -> None:
        """Add a chunk's outer products; layer 1 sees a constant input and needs its sum only."""
        for i, d in enumerate(self._differences(count)):
            self.summed[i] += d.sum(dim=0)
            if i > 0:
                flat = self.r[i - 1][:count].flatten(0, 1)
                self.weights[i] += multiplied(d.flatten(0, 1).T, flat)


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
    captured: bool = True,
) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    """Forward update averaged over the run and the batch (Meulemans et al. 2021, Algorithm 1).

    Memory does not grow with the number of steps. The average is over the states that the steps
    lead to. The published code also counts the initial state, whose update is 0, as one of its K
    states: its update is (K - 1) / K of this.

    Args:
        loop: the constants of the dynamics.
        x: inputs, (batch, n_0).
        target: output targets, (batch, n_L).
        dt: time step, in units of the controller's time.
        steps: number of steps.
        nonlinear: average (phi(v) - phi(v_ff)) r^T (eq. 5); else (v - v_ff) r^T (eq. 9).
        integrator: which of the paper's modifications of Euler's method apply; by default both.
        captured: on a GPU, replay a graph of the steps; else launch each kernel from Python.

    Returns:
        Delta W_i, (n_i, n_{i-1}), and Delta b_i, (n_i,), of layers 1..L.

    Raises:
        ConvergenceError: a signal has left the finite numbers.
        UserError: dt, steps or the shape of the targets make no run.
    """
    check_run(loop, x, target, dt, steps)
    run = AveragedRun(loop, x, target, dt, integrator or Euler(), nonlinear)
    whole, left = divmod(steps, CHUNK)
    if captured:
        repeat(run.chunk, whole, x.device)
    else:
        for _ in range(whole):
            run.chunk()
    run.chunk(left)
    check_finite(LoopState(tuple(run.v), run.u_int, run.u))
    run.weights[0].addmm_(run.summed[0].T, x)
    scale = 1 / (steps * x.shape[0])
    return (
        tuple((w * scale).clone() for w in run.weights),
        tuple((s.sum(dim=0) * scale).clone() for s in run.summed),
    )

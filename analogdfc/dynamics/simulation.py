"""Recorded runs of the control loop."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from analogdfc.activations import activate
from analogdfc.dynamics.integrators import Integrator
from analogdfc.dynamics.loop import (
    Loop,
    LoopState,
    control_signal,
    free_state,
    output,
    signals,
)
from analogdfc.dynamics.trajectory import Readings, Trajectory
from analogdfc.errors import ConvergenceError, UserError
from analogdfc.samples import check_samples


def check_run(loop: Loop, x: Tensor, target: Tensor, dt: float, steps: int) -> None:
    """Make sure that a run can start.

    Raises:
        UserError: a time step or number of steps that isn't positive, inputs or targets of another
            shape, or no samples.
    """
    if not (dt > 0 and steps >= 1):
        raise UserError(f"dt = {dt}, steps = {steps}: both must be positive")
    check_samples(loop.sizes, x, target, what="targets")


def _states(
    loop: Loop, x: Tensor, target: Tensor, dt: float, steps: int, integrator: Integrator
) -> Iterator[LoopState]:
    check_run(loop, x, target, dt, steps)
    state = free_state(loop, x)
    for _ in range(steps):
        state = integrator.step(loop, state, x, target, dt)
        yield state
    check_finite(state)


def check_finite(state: LoopState) -> None:
    """Make sure that a state is made of numbers.

    Raises:
        ConvergenceError: a signal has left the finite numbers; the message names it.
    """
    for name, value in [(f"v_{i + 1}", v) for i, v in enumerate(state.v)] + [("u", state.u)]:
        if not torch.isfinite(value).all():
            raise ConvergenceError(
                f"the dynamics diverged: {name} is not finite. Take a shorter time step, or lower "
                "k_p or the feedback weights"
            )


def _readings(loop: Loop, state: LoopState, x: Tensor) -> Readings:
    v, v_ff, r = signals(loop, state.v, x)
    r_ff = tuple(activate(phi, v) for phi, v in zip(loop.activations, v_ff, strict=True))
    return Readings(v=v, v_ff=v_ff, r=r[1:], r_ff=r_ff)


def simulate(
    loop: Loop, x: Tensor, target: Tensor, *, dt: float, steps: int, integrator: Integrator
) -> Trajectory:
    """Run the loop from the free state and keep every step.

    Args:
        loop: the constants of the dynamics.
        x: inputs, (batch, n_0).
        target: output targets r_L*, (batch, n_L).
        dt: time step and spacing of the record, in units of the controller's time.
        steps: number of steps, >= 1.
        integrator: the method of a step.

    Returns:
        The waveforms at 0, dt, ..., steps * dt; at time 0 the controller has just been released.

    Raises:
        ConvergenceError: a signal has left the finite numbers.
        UserError: see `check_run`.
    """
    check_run(loop, x, target, dt, steps)
    start = free_state(loop, x)
    start = start._replace(u=control_signal(loop, start, target))
    states = [start, *_states(loop, x, target, dt, steps, integrator)]
    readings = [_readings(loop, s, x) for s in states]
    stacked = Readings(
        **{
            name: tuple(
                torch.stack(layer, dim=1)
                for layer in zip(*(getattr(r, name) for r in readings), strict=True)
            )
            for name in ("v", "v_ff", "r", "r_ff")
        }
    )
    return Trajectory(
        t=torch.arange(steps + 1, dtype=x.dtype, device=x.device) * dt,
        x=x,
        neurons=stacked,
        u=torch.stack([s.u for s in states], dim=1),
        e=torch.stack([target - output(loop, s) for s in states], dim=1),
        free=readings[0],
    )


def final_state(
    loop: Loop, x: Tensor, target: Tensor, *, dt: float, steps: int, integrator: Integrator
) -> LoopState:
    """State after a run, without a record; arguments and errors as `simulate`."""
    check_run(loop, x, target, dt, steps)
    state = integrator.advance(loop, free_state(loop, x), x, target, dt, steps)
    check_finite(state)
    return state

"""The free phase of chips, and the equations that take over when the controller is released."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from analogdfc.circuit.amplifiers import AmplifierModel
from analogdfc.dynamics.loop import free_state
from analogdfc.dynamics.loop import output as free_output
from analogdfc.dynamics.semilinear import Fed, Semilinear
from analogdfc.errors import ConvergenceError, UserError

TargetStep = Tensor | Callable[[Tensor], Tensor]
"""Steps of the output target, (batch, n_L), or what makes them of the output of the free phase."""


@dataclass(frozen=True)
class Release:
    """Everything that is fixed when the controller is released.

    Attributes:
        free: unknowns of the free phase, (chips, batch, n).
        system: the equations from then on.
        sources: voltages of the sources, (chips, batch, sources).
        zero: voltages that the auto-zeros have stored, (chips, batch, stored).
        step: steps of the output target, (chips, batch, n_L).
    """

    free: Tensor
    system: Semilinear
    sources: Tensor
    zero: Tensor
    step: Tensor

    @classmethod
    def of(
        cls, model: AmplifierModel, x: Tensor, step: TargetStep, injected: Tensor | None = None
    ) -> Release:
        """Of chips on inputs.

        Args:
            model: the chips' equations.
            x: inputs, (batch, n_0), on the model's device.
            step: steps of the output target, (batch, n_L), there too; or what makes them of the
                output r_L that is measured in the free phase, (chips, batch, n_L), dimensionless.
            injected: what the sources of noise put into the feedback compartments of all neurons,
                (batch, neurons), dimensionless; nothing by default.

        Raises:
            UserError: steps that aren't finite or have another shape.
            ConvergenceError: no operating point.
        """
        chips, samples, n_out = len(model.nodal), len(x), model.nodal[0].chip.design.sizes[-1]
        units = [n.chip.design.card.scale.activation for n in model.nodal]
        unit = x.new_tensor(units)[:, None, None]
        bias = x.new_tensor([1.0, -1.0]).expand(chips, samples, 2)
        inputs = torch.cat([x, -x], dim=1).expand(chips, -1, -1)
        put, zero = _injected(model, x, injected), x.new_zeros(chips, samples, n_out)
        held = torch.cat([inputs, bias, put, zero], dim=2) * unit
        system, sources = model.system(released=False)
        system = _driven(system, sources, held)
        free = _rest(model, system, held.new_zeros(chips, samples, model.unknowns))
        output = free[..., model.columns(model.nodal[0].chip.circuit.output.bank)]
        step = _steps(step, output / unit)
        volts = held + _last(_target(model, x, step, output), held)
        zero = stored_zero(model, free)
        system, sources = model.system(released=True)
        system = _driven(system, sources, volts).driven(model.error_input(zero))
        return cls(free, system, volts, zero, step)


def _rest(model: AmplifierModel, system: Semilinear, start: Tensor) -> Tensor:
    """The rest of the free phase, (chips, batch, n)."""
    try:
        # Without rails it is found quickly, and says which amplifiers are at one.
        return system.equilibrium(model.relaxed(system, rails=False).equilibrium(start))
    except ConvergenceError:
        pass
    try:
        return system.equilibrium(model.relaxed(system).equilibrium(start))
    except ConvergenceError as error:
        raise ConvergenceError(f"{error}{_why(model, system, start)}") from error


def _why(model: AmplifierModel, system: Semilinear, start: Tensor) -> str:
    """Which amplifier would need most beyond its reach in the free phase, for a message."""
    try:
        z = model.relaxed(system, rails=False).equilibrium(start)
    except ConvergenceError:
        return ", not even of amplifiers without limits"
    most, told = 1.0, ""
    for c, nodal in enumerate(model.nodal):
        reach = nodal.chip.design.card.amplifier.reach or math.inf
        for bank in nodal.chip.circuit.banks:
            volts = z[c][..., model.columns(bank.name)].abs().amax(dim=-1)
            k = int(volts.argmax())
            if float(volts[k]) > most * reach:
                most = float(volts[k]) / reach
                told = (
                    f". In the free phase of sample {k} (counted from 0) '{bank.name}' needs "
                    f"{float(volts[k]):.3g} V, beyond the amplifiers' {reach:.3g} V: take smaller "
                    "weights, fewer volts in [scale], or amplifiers with higher rails, or of more "
                    "gain or slew_rate"
                )
    return told


def _driven(system: Semilinear, sources: Fed, volts: Tensor) -> Semilinear:
    """The system with these voltages of its sources, (chips, batch, sources)."""
    return replace(system, constant=system.constant + sources @ volts.mT)


def _injected(model: AmplifierModel, x: Tensor, injected: Tensor | None) -> Tensor:
    """What the sources of noise have, (chips, batch, neurons), dimensionless."""
    circuit = model.nodal[0].chip.circuit
    shape = len(x), sum(map(circuit.size, circuit.noise))
    if injected is None:
        return x.new_zeros(len(model.nodal), *shape)
    if injected.shape != shape:
        raise UserError(
            f"injected: values of shape {tuple(injected.shape)}, and {shape} are needed, one a "
            "feedback compartment"
        )
    parts = (nodal.chip.design.compartments for nodal in model.nodal)
    return torch.stack([injected / (1.0 if c is None else c.gain) for c in parts]).to(x)


def _last(target: Tensor, like: Tensor) -> Tensor:
    out = torch.zeros_like(like)
    out[..., -target.shape[-1] :] = target
    return out


def _steps(step: TargetStep, output: Tensor) -> Tensor:
    """The steps of the target, (chips, batch, n_L), for the outputs that are measured."""
    found = (step if isinstance(step, Tensor) else step(output)).to(output)
    if found.shape not in (output.shape, output.shape[1:]) or not bool(found.isfinite().all()):
        raise UserError(
            f"target steps of shape {tuple(found.shape)}: finite numbers of shape "
            f"{tuple(output.shape[1:])} are needed"
        )
    return found.expand_as(output)


def _target(model: AmplifierModel, x: Tensor, step: Tensor, measured: Tensor) -> Tensor:
    """Voltages of the target sources, -r*, (chips, batch, n_L)."""
    out = []
    for c, nodal in enumerate(model.nodal):
        design = nodal.chip.design
        unit = design.card.scale.activation
        output = measured[c]
        if not design.readout.relative_target:
            loop = design.loop()
            output = free_output(loop, free_state(loop, x.cpu())).to(output) * unit
        out.append(-(output + step[c] * unit))
    return torch.stack(out)


def stored_zero(model: AmplifierModel, free: Tensor) -> Tensor:
    """Voltages that the auto-zeros have stored, (chips, batch, stored).

    Args:
        model: the chips' equations.
        free: unknowns of the free phase, (chips, batch, n).
    """
    found = []
    for zero in model.nodal[0].chip.circuit.zeros:
        signal = free[..., model.columns(zero.signal.bank)]
        found.append(signal - model.summing_voltage(zero.reference.bank, free))
    stored = torch.cat(found, dim=-1)
    on = [float(n.chip.design.readout.auto_zero) for n in model.nodal]
    return stored * free.new_tensor(on)[:, None, None]

"""The modes of released chips: their equations, linear about a rest."""

from __future__ import annotations

import numpy as np
import scipy
import torch
from numpy.typing import NDArray
from torch import Tensor

from analogdfc.circuit.amplifiers import AmplifierModel
from analogdfc.circuit.release import Release
from analogdfc.circuit.static import StaticChip, must_move
from analogdfc.errors import ConvergenceError

_ELSEWHERE, _NEARBY = 0.3, 0.05
"""Part of the control signal, and volts, by which a rest may differ from that of the static model,
which has no rails; another rest lies farther away."""


def eigenvalues(
    model: AmplifierModel, release: Release, z: Tensor
) -> list[list[NDArray[np.complex128]]]:
    """Eigenvalues of released chips about a state, slowest or least stable first.

    Args:
        model: their equations.
        release: what was released.
        z: the state, (chips, batch, n).

    Returns:
        For every chip and sample, in 1 / (unit of the controller's time).
    """
    system = release.system
    jacobian, masses = system.jacobian(z).cpu().numpy(), system.mass.dense().cpu().numpy()
    seconds = model.nodal[0].chip.design.seconds
    return [
        [_finite_eigenvalues(one, mass) * seconds for one in samples]
        for samples, mass in zip(jacobian, masses, strict=True)
    ]


def rest(model: AmplifierModel, x: Tensor, step: Tensor, release: Release) -> Tensor:
    """The rest to which the dynamics of released chips go, (chips, batch, n).

    Args:
        model: their equations.
        x: inputs, (batch, n_0).
        step: steps of the output target, (batch, n_L).
        release: what was released.

    Raises:
        ConvergenceError: no rest was found, another one, or one that is held at the rails.
    """
    start, known = _near_rest(model, x, step, release)
    z = release.system.equilibrium(model.relaxed(release.system).equilibrium(start))
    _refuse_rails(model, z)
    _refuse_elsewhere(model, z[known], start[known])
    return z


def _refuse_rails(model: AmplifierModel, z: Tensor) -> None:
    """Raise an error where the controller or the output rests at its amplifiers' rails."""
    for bank in must_move(model.nodal[0].chip.circuit):
        held = model.held(z, model.nodal[0].bank(bank)).any(dim=-1)
        if bool(held.any()):
            c, k = torch.nonzero(held)[0].tolist()
            limit = model.nodal[c].chip.design.card.amplifier.saturation
            raise ConvergenceError(
                f"sample {k} (counted from 0): the loop ends with '{bank}' held at the "
                f"amplifiers' rails of {limit:.3g} V. Take smaller target steps, stronger "
                "feedback weights or fewer volts in [scale]"
            )


def _refuse_elsewhere(model: AmplifierModel, z: Tensor, near: Tensor) -> None:
    """Raise an error where the rest that was found isn't the one near which it was sought."""
    u = model.columns(model.nodal[0].chip.circuit.control.u.bank)
    wanted = near[..., u]
    off = (z[..., u] - wanted).abs().amax(dim=-1)
    if bool((off > _ELSEWHERE * wanted.abs().amax(dim=-1) + _NEARBY).any()):
        raise ConvergenceError(
            "Newton's method found another rest than the one to which the dynamics go"
        )


def _near_rest(
    model: AmplifierModel, x: Tensor, step: Tensor, release: Release
) -> tuple[Tensor, list[int]]:
    """Where Newton's method starts, so that it finds the rest to which the dynamics go.

    The static model follows them; the free state is all there is where it comes to no rest.

    Returns:
        The start, and the chips whose rest the static model knows.
    """
    start, known = release.free.clone(), []
    for c, nodal in enumerate(model.nodal):
        try:
            state = StaticChip.of(nodal.chip).solve(
                x.cpu().double(), step.cpu().double(), reached=False
            )
        except ConvergenceError:
            continue
        state.check_loop(nodal.chip.design.card.amplifier.saturation)
        known.append(c)
        for bank, volts in state.volts_rest.items():
            # The stages within an amplifier stand where its output does.
            for columns in model.stages(model.nodal[0].bank(bank)):
                start[c][..., columns] = volts.to(start)
    return start, known


def _finite_eigenvalues(
    jacobian: NDArray[np.float64], mass: NDArray[np.float64]
) -> NDArray[np.complex128]:
    """Finite eigenvalues of the pencil (jacobian, mass), by decreasing real part."""
    inverse = scipy.linalg.eigvals(np.linalg.solve(jacobian, mass))
    kept = inverse[np.abs(inverse) > 1e-15]
    values = 1 / kept
    return values[np.argsort(-values.real)].astype(np.complex128)

"""Stability of the loop of many outputs: shown without the eigenvalues of all its equations."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from analogdfc.controller import PI, PID, Controller, P
from analogdfc.dynamics import Loop, stability
from analogdfc.dynamics.loop import free_pass
from analogdfc.dynamics.steady import path_gains
from analogdfc.feedback import DirectFeedback
from analogdfc.network import Network

CONTROLLERS = {
    "pi": PI(),
    "no leak": PI(k_p=0.3, alpha=0.0),
    "leak on the integral part": replace(PI(), alpha=0.1, leak="integral"),
    "p": P(2.0),
    "pid": PID(k_p=1.0, k_d=0.1),
}


@pytest.mark.parametrize("controller", CONTROLLERS.values(), ids=CONTROLLERS.keys())
@torch.no_grad()
def test_what_the_field_of_values_calls_stable_is_stable(
    controller: Controller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stability, "_PER_DECADE", 100)
    source = torch.Generator().manual_seed(1)
    found, stable = [], []
    for k in range(10):
        network = Network([4, 6, 3], generator=source)
        for w in network.weights:
            w.data *= 1 + 0.8 * k
        # From a feedback that is aligned to one that is none.
        drawn = [torch.randn(n, 3, dtype=torch.float64, generator=source) for n in (6, 3)]
        aligned = DirectFeedback.transposed(network).matrices
        sign = -1 if k % 5 == 4 else 1
        mixed = [sign * (q + k / 5 * more) for q, more in zip(aligned, drawn, strict=True)]
        loop = Loop.of(network, DirectFeedback(mixed), controller)
        layers = free_pass(loop, torch.randn(1, 4, dtype=torch.float64, generator=source))
        u = torch.zeros(1, 3, dtype=torch.float64)
        gains = [p[0].numpy() for p in path_gains(loop, layers.r[1:], u)]
        stable.append(float(stability.abscissa(loop, layers.r[1:], u)) < 0)
        found.append(stability.surely_stable(loop, gains))
    assert not np.any(np.array(found) & ~np.array(stable))
    assert sum(found) >= 3
    assert not all(stable)


@torch.no_grad()
def test_the_loop_of_many_outputs_needs_no_eigenvalues_of_its_equations(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    source = torch.Generator().manual_seed(0)
    network = Network([5, 12, 140], generator=source)
    loop = Loop.of(network, DirectFeedback.transposed(network), PI())
    layers = free_pass(loop, torch.randn(1, 5, dtype=torch.float64, generator=source))
    u = torch.zeros(1, 140, dtype=torch.float64)
    assert float(stability.abscissa(loop, layers.r[1:], u)) < 0
    monkeypatch.setattr(stability, "abscissa", None)
    assert bool(stability.stable(loop, layers.r[1:], u).all())


@torch.no_grad()
def test_an_unstable_loop_of_many_outputs_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stability, "_DENSE", 0)
    source = torch.Generator().manual_seed(0)
    network = Network([5, 12, 6], generator=source)
    against = [-q for q in DirectFeedback.transposed(network).matrices]
    loop = Loop.of(network, DirectFeedback(against), PI())
    x = torch.randn(2, 5, dtype=torch.float64, generator=source)
    u = torch.zeros(2, 6, dtype=torch.float64)
    assert not bool(stability.stable(loop, free_pass(loop, x).r[1:], u).any())


@torch.no_grad()
def test_slopes_and_wires_that_scale_outputs_do_not_hide_that_a_loop_is_stable() -> None:
    source = np.random.default_rng(0)
    loop = Loop((), (), (), (), PI())
    scale = np.geomspace(0.1, 10, 12)
    gains = []
    for _ in range(2):
        a = source.standard_normal((12, 12))
        gains.append((a @ a.T / 12 + 0.1 * np.eye(12)) * scale / scale[:, None])
    assert np.linalg.eigvalsh(gains[0] + gains[0].T)[0] < 0
    assert stability.surely_stable(loop, gains)
    assert not stability.surely_stable(loop, [-gain for gain in gains])

"""The conductance-based neuron against its equation with the weights on the dendrites."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import solve_ivp
from strategies import network_of, normal, seeds

from analogdfc.controller import PI
from analogdfc.dynamics import ConductanceNeuron, Loop, RungeKutta4, simulate
from analogdfc.errors import UserError
from analogdfc.feedback import DirectFeedback


@given(st.floats(0, 2), st.floats(0.2, 3), st.floats(0.2, 3), seeds())
@settings(max_examples=10)
def test_the_loop_of_conductance_neurons_solves_equation_222(
    leak: float, basal: float, apical: float, seed: int
) -> None:
    network, neuron = network_of([3, 4, 2], seed), ConductanceNeuron(leak, basal, apical)
    feedback, x = DirectFeedback.transposed(network), normal(seed, 1, 3)
    target = network(x).detach() + 0.2 * normal(seed + 1, 1, 2)
    loop = Loop.of(network, feedback, PI(1.0, 0.02), 0.3, neuron=neuron)
    run = simulate(loop, x, target, dt=0.1, steps=20, integrator=RungeKutta4(40))

    w_1, w_2 = (w.numpy() for w in neuron.basal_synapses(loop.weights))
    b_1, b_2 = (b.numpy() for b in neuron.basal_synapses(loop.biases))
    q_1, q_2 = (q.numpy() for q in neuron.apical_synapses(loop.feedback))

    def slope(_: float, y: np.ndarray) -> np.ndarray:
        v_1, v_2, u_int = np.split(y, [4, 6])
        e = target[0].numpy() - v_2
        u = u_int + e
        out = []
        for v, dendrite, top in (
            (v_1, w_1 @ x[0].numpy() + b_1, q_1 @ u),
            (v_2, w_2 @ np.tanh(v_1) + b_2, q_2 @ u),
        ):
            out.append((-leak * v + basal * (dendrite - v) + apical * (top - v)) / 0.3)
        return np.concatenate([*out, e - 0.02 * u])

    start = np.concatenate([*(v[0, 0].numpy() for v in run.neurons.v), np.zeros(2)])
    np.testing.assert_allclose(slope(0, start)[:4], q_1 @ run.u[0, 0].numpy() * apical / 0.3)
    exact = solve_ivp(slope, (0, 2), start, "DOP853", t_eval=run.t, rtol=1e-10, atol=1e-12)
    ours = torch.cat(run.neurons.v, dim=-1)[0]
    np.testing.assert_allclose(ours, exact.y[:6].T, rtol=0, atol=1e-7)


def test_the_gains_are_those_of_equation_225() -> None:
    neuron = ConductanceNeuron(0.5, 2.0, 1.5)
    assert neuron.basal_gain == 0.5
    assert neuron.apical_gain == 0.375
    assert neuron.noise_gain == 0.25
    assert neuron.time_constant(0.2) == pytest.approx(0.05)


@pytest.mark.parametrize(
    ("conductances", "message"),
    [
        ((-0.1, 1, 1), "leak >= 0"),
        ((0, 0, 1), "basal > 0"),
        ((0, 1, 0), "apical > 0"),
        ((math.nan, 1, 1), "finite"),
        ((0, math.inf, 1), "finite"),
    ],
)
def test_a_neuron_without_one_of_its_dendrites_is_refused(
    conductances: tuple[float, float, float], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        ConductanceNeuron(*conductances)

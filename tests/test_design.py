"""From a network to components: against numbers worked by hand."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from parts import controller, layers
from strategies import network_of, normal, seeds
from torch import Tensor

from analogdfc.cards.technology import Card
from analogdfc.circuit.chip import Chip
from analogdfc.circuit.description import compensation
from analogdfc.circuit.design import Design, Readout
from analogdfc.controller import PI
from analogdfc.errors import UserError
from analogdfc.feedback import DirectFeedback
from analogdfc.network import Network

CARD = Card.load("discrete_100mhz").without("finite levels", "line capacitance")
G_UNIT, G_MIN, G_MAX = 10e-6, 1e-6, 40e-6
Tensors = tuple[Tensor, ...]


def tensors(*rows: list[list[float]] | list[float]) -> Tensors:
    return tuple(torch.tensor(r, dtype=torch.float64) for r in rows)


W = tensors([[1.5, -2.0], [0.0, 0.25], [3.9, -3.9]], [[1.0, -1.0, 0.5]])
B = tensors([0.1, -0.3, 0.0], [2.0])
Q = tensors([[1.0], [-2.0], [7.8]], [[1.0]])


def design_of(
    weights: Tensors = W,
    biases: Tensors = B,
    feedback: Tensors = Q,
    pi: PI | None = None,
    *,
    tau_v: float = 0.2,
    scaling: bool = True,
) -> Design:
    return Design(weights, biases, feedback, pi or PI(), tau_v, CARD, scaling=scaling)


def nominal(design: Design) -> Chip:
    return Chip.of(design)


def all_are(tensor: Tensor, value: float, rel: float = 1e-12) -> bool:
    """Whether there are numbers and all are `value`; capacitors are too small for approx's own."""
    found = tensor.flatten().tolist()
    return bool(found) and found == [pytest.approx(value, rel=rel, abs=0)] * len(found)


# Component values, worked by hand


def test_conductances_worked_by_hand() -> None:
    first, last = layers(nominal(design_of()))
    # 10 uS a unit of weight over 1 uS at rest, bias in the last column.
    micro = 1e6
    assert (first.w_plus * micro).tolist() == [
        pytest.approx([16.0, 1.0, 2.0]),
        pytest.approx([1.0, 3.5, 1.0]),
        pytest.approx([40.0, 1.0, 1.0]),
    ]
    assert (first.w_minus * micro).tolist() == [
        pytest.approx([1.0, 21.0, 1.0]),
        pytest.approx([1.0, 1.0, 4.0]),
        pytest.approx([1.0, 40.0, 1.0]),
    ]
    # Feedback rows carry u at 0.5 V a unit, twice the 0.25 V of v: 5 uS a unit of Q.
    assert (first.q_plus * micro).flatten().tolist() == pytest.approx([6.0, 1.0, 40.0])
    assert (first.q_minus * micro).flatten().tolist() == pytest.approx([1.0, 11.0, 1.0])
    assert (last.w_plus * micro).tolist() == [pytest.approx([11.0, 1.0, 6.0, 21.0])]
    assert (last.q_plus * micro).tolist() == [pytest.approx([6.0])]


def test_conductances_lie_on_the_nearest_of_few_levels() -> None:
    # 14 levels from 1 to 40 uS are 3 uS apart.
    first, last = layers(nominal(design_of().on(CARD.replace("device", levels=14))))
    assert (first.w_plus[0] * 1e6).tolist() == pytest.approx([16.0, 1.0, 1.0])  # from 16, 1 and 2
    assert (first.w_minus[0] * 1e6).tolist() == pytest.approx([1.0, 22.0, 1.0])  # 21 lies between
    assert (last.q_plus[0] * 1e6).tolist() == pytest.approx([7.0])  # from 6


def test_lines_have_the_capacitance_of_their_cells() -> None:
    design = design_of().on(CARD.replace("wire", capacitance=1e-15))
    n_in, n, n_out = design.sizes
    assert design.row_capacitance(1) == pytest.approx(n * 1e-15)
    assert design.column_capacitance(1) == pytest.approx(2 * (n_in + 1) * 1e-15)
    assert design.column_capacitance(1, feedback=True) == pytest.approx(2 * n_out * 1e-15)
    basal = layers(Chip.of(design))[0].stages["basal"].c_f
    # The column's capacitance asks for compensation as the amplifier's own does.
    c_in = 1e-13 + design.column_capacitance(1)
    assert all_are(basal, compensation(c_in, 1e5, 100e6), rel=1e-9)
    slow = design.on(design.card.without("finite bandwidth"))
    assert slow.row_capacitance(1) == slow.column_capacitance(1) == 0


def test_resistors_and_capacitors_of_the_default_worked_by_hand() -> None:
    chip = nominal(design_of())
    for layer in layers(chip):
        assert all_are(layer.stages["basal"].r_f, 100e3)
        assert all_are(layer.stages["soma"].r_f, 100e3)
        assert all_are(layer.stages["soma"].r_in[0], 100e3)
        assert all_are(layer.stages["soma"].c_f, 10e-12)  # 1 us / 100 kohm
    hidden = layers(chip)[0].stages
    assert all_are(hidden["act"].r_f, 125e3)  # 0.25 V / 2 uA
    assert all_are(hidden["act_ff"].r_f, 125e3)
    assert all_are(hidden["inv"].r_f, 100e3)
    assert all_are(hidden["inv"].r_in[0], 100e3)
    assert set(layers(chip)[1].stages) == {"basal", "soma"}
    control = controller(chip)
    assert all_are(control.stages["pi"].r_in[0], 100e3)
    assert all_are(control.c_i, 49.85e-12)  # 5 us / 100 kohm * 0.997
    assert all_are(control.stages["pi"].r_f, 200.6018e3, rel=1e-6)  # 200 kohm / 0.997
    assert all_are(1 / control.g_leak, 66.66667e6, rel=1e-6)  # 100 kohm / 0.0015
    assert all_are(control.stages["error"].r_f, 200e3)  # gain S_u / S_v = 2
    assert len(control.stages["error"].r_in) == 2
    assert all(all_are(r, 100e3) for r in control.stages["error"].r_in)
    assert all_are(control.stages["inv"].r_f, 100e3)


def test_components_of_another_controller_worked_by_hand() -> None:
    # tau_u = 2 units = 10 us, tau_v = 0.4 units = 2 us, alpha k_p = 0.05.
    control = controller(nominal(design_of(pi=PI(0.5, 0.1, 2.0), tau_v=0.4)))
    assert all_are(control.c_i, 95e-12)  # 10 us / 100 kohm * 0.95
    assert all_are(control.stages["pi"].r_f, 52.631579e3, rel=1e-7)  # 50 kohm / 0.95
    assert all_are(1 / control.g_leak, 1e6)
    soma = layers(nominal(design_of(tau_v=0.4)))[0].stages["soma"]
    assert all_are(soma.c_f, 20e-12)


def test_without_leak_or_proportional_part_their_resistors_are_not_there() -> None:
    assert all_are(controller(nominal(design_of(pi=PI(2.0, 0.0)))).g_leak, 0.0)
    assert all_are(controller(nominal(design_of(pi=PI(0.0, 0.1)))).stages["pi"].r_f, 0.0)


def test_compensation_worked_by_hand() -> None:
    # sqrt(0.1 pF / (100 kohm * 2 pi * 100 MHz)) = 39.9 fF, and by sqrt(R) less at larger R.
    chip = nominal(design_of())
    hidden = layers(chip)[0].stages
    assert all_are(hidden["basal"].c_f, 39.894e-15, rel=1e-4)
    assert all_are(hidden["act"].c_f, 35.682e-15, rel=1e-4)
    assert all_are(controller(chip).stages["error"].c_f, 28.209e-15, rel=1e-4)
    assert all_are(controller(chip).stages["pi"].c_f, 28.167e-15, rel=1e-4)
    ideal = nominal(design_of().on(CARD.ideal()))
    assert all_are(layers(ideal)[0].stages["basal"].c_f, 0.0)
    assert all_are(layers(ideal)[0].stages["soma"].c_f, 10e-12)


@given(st.floats(1e-15, 1e-11), st.floats(1e3, 1e7), st.floats(1e6, 1e10))
def test_compensation_puts_the_feedback_zero_at_the_geometric_mean(
    c_in: float, r: float, gbw: float
) -> None:
    # R_f C_c is the geometric mean of R_f C_in and 1 / omega_t: phase margin without a peak.
    c = compensation(c_in, r, gbw)
    assert (r * c) ** 2 == pytest.approx(r * c_in / (2 * math.pi * gbw), rel=1e-9, abs=0)


def test_nothing_to_compensate_takes_no_capacitor() -> None:
    assert compensation(None, 1e5, 1e8) == 0
    assert compensation(1e-13, 1e5, None) == 0
    assert compensation(1e-13, 0.0, 1e8) == 0


# What the components compute


@given(st.floats(0, 5), st.floats(1e-4, 0.15), st.floats(0.1, 5), st.floats(1e-3, 1e3))
def test_the_feedback_network_of_the_controller_has_the_impedance_of_equation_206(
    k_p: float, alpha: float, tau_u: float, frequency: float
) -> None:
    control = controller(nominal(design_of(pi=PI(k_p, alpha, tau_u))))
    r_i, r_p = (float(r) for r in (control.stages["pi"].r_in[0], control.stages["pi"].r_f))
    s = 2j * math.pi * frequency / CARD.scale.time  # per second
    branch = r_p + 1 / (s * float(control.c_i))
    ratio = 1 / (float(control.g_leak) + 1 / branch) / r_i
    tau = tau_u * CARD.scale.time
    expected = (1 + k_p * tau * s) / (alpha + tau * s)
    assert ratio.real == pytest.approx(expected.real, rel=1e-9, abs=1e-9 * abs(expected))
    assert ratio.imag == pytest.approx(expected.imag, rel=1e-9, abs=1e-9 * abs(expected))


matrices = st.floats(-2, 2).map(lambda exponent: 10**exponent)  # sizes from 0.01 to 100


@st.composite
def designs(draw: st.DrawFn) -> Design:
    """Designs whose weights need not fit the window."""
    sizes = draw(st.lists(st.integers(1, 4), min_size=2, max_size=4))
    seed = draw(seeds())
    weights, biases, feedback = [], [], []
    for i, (n_in, n) in enumerate(pairwise(sizes)):
        weights.append(draw(matrices) * normal(seed + 3 * i, n, n_in))
        biases.append(draw(matrices) * normal(seed + 3 * i + 1, n))
        feedback.append(draw(matrices) * normal(seed + 3 * i + 2, n, sizes[-1]))
    return design_of(tuple(weights), tuple(biases), tuple(feedback))


@given(designs())
def test_pairs_of_conductances_represent_the_weights_and_fit_the_window(design: Design) -> None:
    for i, parts in enumerate(layers(nominal(design)), start=1):
        w = torch.cat([design.weights[i - 1], design.biases[i - 1][:, None]], dim=1)
        for plus, minus, unit, value in (
            (parts.w_plus, parts.w_minus, design.weight_unit(i), w),
            (parts.q_plus, parts.q_minus, design.feedback_unit(i), design.feedback[i - 1]),
        ):
            largest = float(value.abs().max())
            torch.testing.assert_close(
                (plus - minus) / unit, value, rtol=0, atol=1e-12 * max(largest, 1)
            )
            for g in (plus, minus):
                assert float(g.min()) >= G_MIN
                assert float(g.max()) <= G_MAX * (1 + 1e-12)
            # One device of each pair rests at the lowest conductance.
            assert torch.equal(torch.minimum(plus, minus), torch.full_like(plus, G_MIN))


@given(designs())
def test_amplifiers_undo_the_scaling_of_their_crossbars(design: Design) -> None:
    volts_of_v, volts_of_u = CARD.scale.activation, CARD.scale.control
    for i, parts in enumerate(layers(nominal(design)), start=1):
        basal, soma = parts.stages["basal"], parts.stages["soma"]
        # W r = 1 from rows of S_v volts, Q u = 1 from rows of S_u volts, v_ff = 1: S_v volts each.
        assert all_are(basal.r_f * design.weight_unit(i) * volts_of_v, volts_of_v)
        assert all_are(soma.r_f * design.feedback_unit(i) * volts_of_u, volts_of_v)
        assert all_are(soma.r_f / soma.r_in[0], 1.0)
        assert all_are(soma.r_f * soma.c_f, 1e-6)


# Weights outside the window


def test_a_layer_that_does_not_fit_is_shrunk_as_a_whole_and_the_others_are_not() -> None:
    # 39 uS of window over a largest weight of 8: 4.875 uS a unit instead of 10.
    design = design_of((W[0], 8 * W[1]), B, (10 * Q[0], Q[1]))
    assert design.weight_unit(1) == pytest.approx(10e-6)
    assert design.weight_unit(2) == pytest.approx(4.875e-6)
    assert design.feedback_unit(1) == pytest.approx(0.5e-6)  # 39 uS / 78
    assert design.feedback_unit(2) == pytest.approx(5e-6)
    assert design.shrunk_layers() == pytest.approx({"W2": 0.4875, "Q1": 0.1})
    chip = nominal(design)
    assert all_are(layers(chip)[1].stages["basal"].r_f, 1 / 4.875e-6)
    assert all_are(layers(chip)[0].stages["soma"].r_f, 1e6)
    assert all_are(layers(chip)[0].stages["soma"].c_f, 1e-12)
    assert design_of().shrunk_layers() == {}


def test_a_bias_shrinks_its_layer_as_a_weight_does() -> None:
    assert design_of(W, (B[0], 10 * B[1])).shrunk_layers() == pytest.approx({"W2": 39 / 200})


def test_weights_that_are_all_zero_take_the_units_of_the_card() -> None:
    design = design_of((0 * W[0], W[1]), (0 * B[0], B[1]), (0 * Q[0], Q[1]))
    assert design.weight_unit(1) == pytest.approx(10e-6)
    assert design.feedback_unit(1) == pytest.approx(5e-6)
    assert all_are(layers(nominal(design))[0].w_plus, G_MIN)


@pytest.mark.parametrize(
    ("weights", "biases", "feedback", "complaint"),
    [
        ((W[0], 8 * W[1]), B, Q, "W2: largest magnitude 8 lies outside .* up to 3.9 fits"),
        ((-2 * W[0], W[1]), B, Q, "W1: largest magnitude 7.8 lies outside .* up to 3.9 fits"),
        (W, B, (Q[0], 100 * Q[1]), "Q2: largest magnitude 100 lies outside .* up to 7.8 fits"),
    ],
)
def test_without_scaling_such_weights_are_an_error(
    weights: Tensors, biases: Tensors, feedback: Tensors, complaint: str
) -> None:
    with pytest.raises(UserError, match=complaint):
        design_of(weights, biases, feedback, scaling=False)
    assert design_of(weights, biases, feedback).shrunk_layers()


def test_an_integrator_of_negative_gain_is_an_error() -> None:
    network = network_of([3, 4, 2], 0)
    with pytest.raises(UserError, match=r"alpha \* k_p = 1.6 must stay below 1 in the circuit"):
        Design.of(
            network,
            DirectFeedback.transposed(network),
            Card.load("discrete_100mhz"),
            controller=PI(2.0, 0.8),
        )


def test_without_scaling_weights_may_reach_the_edge_of_the_window() -> None:
    assert design_of(scaling=False).shrunk_layers() == {}  # 3.9 in W1 and 7.8 in Q1


# Bad input


def put(tensor: Tensor, where: tuple[int, ...], value: float) -> Tensor:
    out = tensor.clone()
    out[where] = value
    return out


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize(
    ("make", "place"),
    [
        (lambda bad: design_of((put(W[0], (2, 1), bad), W[1])), "W1 at [2, 1]"),
        (lambda bad: design_of((W[0], put(W[1], (0, 2), bad))), "W2 at [0, 2]"),
        (lambda bad: design_of(biases=(put(B[0], (1,), bad), B[1])), "b1 at [1]"),
        (lambda bad: design_of(feedback=(put(Q[0], (2, 0), bad), Q[1])), "Q1 at [2, 0]"),
    ],
    ids=["W1", "W2", "b1", "Q1"],
)
def test_a_number_that_is_not_finite_is_named_by_tensor_and_position(
    make: Callable[[float], Design], place: str, bad: float
) -> None:
    with pytest.raises(UserError) as error:
        make(bad)
    assert str(error.value).startswith(f"{place} (counted from 0) is {bad}; every number must be")


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (lambda: design_of((W[0], W[1][:, :2])), r"W2 has shape \(1, 2\), expected \(1, 3\)"),
        (lambda: design_of(biases=(B[0][:2], B[1])), r"b1 has shape \(2,\), expected \(3,\)"),
        (lambda: design_of(feedback=(Q[0].T, Q[1])), r"Q1 has shape \(1, 3\), expected \(3, 1\)"),
        (lambda: design_of(feedback=(Q[1], Q[0])), r"Q1 has shape \(1, 1\), expected \(3, 1\)"),
        (lambda: design_of(biases=B[:1]), "2 weight matrices, 1 biases, 2 feedback matrices"),
        (lambda: design_of((), (), ()), "0 weight matrices"),
        (lambda: design_of((W[0].flatten(), W[1])), "must be matrices"),
        (lambda: design_of(tau_v=0.0), r"tau_v = 0.0: a time constant must be > 0"),
        (lambda: design_of(tau_v=math.nan), r"tau_v = nan: a time constant must be > 0"),
    ],
)
def test_parts_that_do_not_fit_together_are_refused(
    make: Callable[[], Design], complaint: str
) -> None:
    with pytest.raises(UserError, match=complaint):
        make()


@pytest.mark.parametrize(("hidden", "last"), [("relu", "linear"), ("tanh", "sigmoid")])
def test_a_network_without_cells_for_its_activations_is_refused(hidden: str, last: str) -> None:
    network = Network([2, 3, 1], hidden, last)
    with pytest.raises(UserError) as error:
        Design.of(network, DirectFeedback.transposed(network), CARD)
    assert f"activations ['{hidden}', '{last}']" in str(error.value)
    assert "hidden neurons tanh and linear, and outputs linear and tanh" in str(error.value)


# The design as the owner of the scales


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_design_is_a_double_precision_copy_that_learning_leaves_alone(
    dtype: torch.dtype,
) -> None:
    network = network_of([3, 4, 2], 1, dtype=dtype)
    feedback = DirectFeedback.transposed(network)
    readout = Readout(auto_zero=False)
    design = Design.of(
        network, feedback, CARD, controller=PI(1.0), tau_v=0.3, readout=readout, scaling=False
    )
    before = [w.detach().clone() for w in network.weights]
    for parameter in [*network.parameters(), *feedback.parameters()]:
        parameter.data.zero_()
    for w, old in zip(design.weights, before, strict=True):
        assert w.dtype is torch.float64
        assert torch.equal(w, old.double())
    assert (design.sizes, design.depth) == ((3, 4, 2), 2)
    assert (design.controller, design.tau_v, design.readout) == (PI(1.0), 0.3, readout)
    assert not design.scaling


def test_the_ideal_loop_of_a_design_is_the_one_it_was_made_from() -> None:
    loop = design_of(pi=PI(1.0, 0.01, 0.7), tau_v=0.3).loop()
    assert [phi.name for phi in loop.activations] == ["tanh", "linear"]
    assert (loop.controller, loop.tau_v) == (PI(1.0, 0.01, 0.7), 0.3)
    for ours, theirs in ((loop.weights, W), (loop.biases, B), (loop.feedback, Q)):
        assert all(a is b for a, b in zip(ours, theirs, strict=True))


def test_times_in_seconds() -> None:
    design = design_of(pi=PI(tau_u=2.0), tau_v=0.4)
    found = (design.seconds, design.tau_v_seconds, design.tau_u_seconds)
    assert found == pytest.approx((5e-6, 2e-6, 10e-6))


def test_another_card_leaves_the_network_as_it_is() -> None:
    design = design_of()
    other = design.on(CARD.replace("device", g_unit=5e-6))
    assert other.weights is design.weights
    assert other.weight_unit(1) == pytest.approx(5e-6)
    assert design.weight_unit(1) == pytest.approx(10e-6)


@pytest.mark.parametrize("tau_v", [2e234, 1e-300, 0.0, float("nan")])
def test_a_time_constant_beyond_any_circuit_is_refused(tau_v: float) -> None:
    network = network_of([3, 2])
    with pytest.raises(UserError, match="a time constant must be > 0, from 1e-9 to 1e9"):
        Design.of(network, DirectFeedback.transposed(network), CARD, tau_v=tau_v)

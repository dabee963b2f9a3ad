"""The static model of a chip against the amplifiers' equations at rest, and against the ideal."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from strategies import network_of, normal, seeds, small_networks
from torch import Tensor

from analogdfc.cards.technology import Card
from analogdfc.circuit.amplifiers import Rung
from analogdfc.circuit.behavioural import Behavioural
from analogdfc.circuit.chip import Chip
from analogdfc.circuit.design import Design, Readout
from analogdfc.circuit.modes import eigenvalues
from analogdfc.circuit.probes import readings, scaled
from analogdfc.circuit.static import StaticChip, StaticState
from analogdfc.circuit.static.chip import _left
from analogdfc.circuit.static.folding import _solved
from analogdfc.circuit.static.laws import Motion
from analogdfc.circuit.static.stages import Stages
from analogdfc.controller import PD, PI, PID, Controller, I, P
from analogdfc.cost.estimate import ideal_update
from analogdfc.dynamics.loop import free_pass
from analogdfc.dynamics.reached import steady_state
from analogdfc.errors import ConvergenceError, UserError
from analogdfc.feedback import DirectFeedback
from analogdfc.learning.steady import SteadyStateDFC
from analogdfc.network import Network

CARD = Card.load("discrete_100mhz")
BARE = CARD.without("wire resistance")
READOUTS = [
    Readout(),
    Readout(double_sampling=False),
    Readout(auto_zero=False),
    Readout(relative_target=False),
    Readout(double_sampling=False, auto_zero=False, relative_target=False),
]
Banks = dict[str, Tensor]


def chip_of(
    network: Network,
    card: Card = CARD,
    seed: int | None = 1,
    readout: Readout | None = None,
    pi: Controller | None = None,
) -> Chip:
    feedback = DirectFeedback.transposed(network)
    design = Design.of(network, feedback, card, controller=pi, readout=readout)
    return Chip.of(design, seed)


def inputs_of(network: Network, batch: int = 3, seed: int = 2) -> tuple[Tensor, Tensor]:
    step = 0.15 * normal(seed + 1, batch, network.sizes[-1]).sign()
    return normal(seed, batch, network.sizes[0]), step


def network_with(neurons: tuple[str, str]) -> Network:
    """5-4-3-2 with these hidden neurons and outputs."""
    network = Network([5, 4, 3, 2], *neurons)
    network.load_state_dict(network_of([5, 4, 3, 2], seed=1).state_dict())
    return network


def small(network: Network) -> tuple[Tensor, Tensor]:
    """Inputs and steps so small that a tanh output reaches its target."""
    x, step = inputs_of(network)
    return 0.5 * x, 0.2 * step


def amplifiers_at_rest(chip: Chip, x: Tensor, step: Tensor) -> tuple[Banks, Banks]:
    """Outputs of all amplifiers, free and under control, from the equations of the static rung."""
    model = Behavioural([chip], Rung.STATIC)
    release = model.release(x, step)
    rest = release.system.equilibrium(release.free, 1e-13)
    nodal = model.model.nodal[0]

    def banks(z: Tensor) -> Banks:
        return {
            name: z[0][:, model.model.outputs[k]]
            for name, k in ((b.name, nodal.bank(b.name)) for b in nodal.chip.circuit.banks)
        }

    return banks(release.free), banks(rest)


def update_of(chip: Chip, x: Tensor, free: Banks, rest: Banks) -> Tensor:
    """The update of all layers and samples in one vector, from the amplifiers' voltages."""
    at_rest, before = (readings(chip, scaled(chip, volts)) for volts in (rest, free))
    flat = []
    for i, r in enumerate((x, *at_rest.r[:-1])):
        d = at_rest.r[i] - at_rest.r_ff[i]
        if chip.design.readout.double_sampling:
            d = d - (before.r[i] - before.r_ff[i])
        flat += [torch.einsum("bi,bj->bij", d, r).flatten(), d.flatten()]
    return torch.cat(flat)


def flat_update(chip: StaticChip, state: StaticState) -> Tensor:
    update = chip.update(state)
    pairs = zip(update.weights, update.biases, strict=True)
    return torch.cat([t.flatten() for pair in pairs for t in pair])


def check(chip: Chip, x: Tensor, step: Tensor, volts: float, relative: float) -> None:
    static = StaticChip.of(chip)
    state = static.solve(x, step)
    free, rest = amplifiers_at_rest(chip, x, step)
    for theirs, ours in ((free, state.volts_free), (rest, state.volts_rest)):
        assert ours.keys() == theirs.keys()
        for bank, value in theirs.items():
            torch.testing.assert_close(ours[bank], value, rtol=0, atol=volts, msg=bank)
    expected = update_of(chip, x, free, rest)
    error = (flat_update(static, state) - expected).norm() / expected.norm()
    assert float(error) < relative


@pytest.mark.parametrize("readout", READOUTS)
@given(small_networks(most=5), seeds())
@settings(max_examples=5)
def test_without_wires_every_amplifier_rests_where_its_equations_say(
    readout: Readout, network: Network, seed: int
) -> None:
    chip = chip_of(network, BARE, seed, readout)
    x, step = inputs_of(network)
    # Of some networks the loop oscillates, or Newton's method ends in a rest that it leaves.
    assume(_decaying(chip, x, step))
    check(chip, x, step, volts=1e-9, relative=1e-8)


def _decaying(chip: Chip, x: Tensor, step: Tensor) -> bool:
    """Whether the amplifiers stay where Newton's method on their equations ends, with room.

    What oscillates and hardly decays may grow in the static model, whose neurons' lags are alike.
    """
    model = Behavioural([chip], Rung.STATIC)
    release = model.release(x, step)
    rest = release.system.equilibrium(release.free, 1e-13)
    modes = np.concatenate(eigenvalues(model.model, release, rest)[0])
    return bool(((modes.real < 0) & ((modes.imag == 0) | (modes.real < -0.3))).all())


@pytest.mark.parametrize(("seed", "sample"), [(208, 2), (497, 2)])
def test_a_chip_whose_only_rest_is_unstable_in_its_amplifiers_equations_is_refused(
    seed: int, sample: int
) -> None:
    network = network_of([4, 1, 3, 2], seed)
    chip, (x, step) = chip_of(network, BARE, 0), inputs_of(network)
    model = Behavioural([chip], Rung.STATIC)
    release = model.release(x, step)
    rest = release.system.equilibrium(release.free, 1e-13)
    slowest = [modes[0] for modes in eigenvalues(model.model, release, rest)[0]]
    assert [k for k, mode in enumerate(slowest) if mode.real > 0] == [sample]
    assert abs(slowest[sample].imag) > 10
    with pytest.raises(ConvergenceError, match=rf"sample {sample} .* unstable, a mode grows by "):
        StaticChip.of(chip).solve(x, step)
    # As the message has it, with a slower controller there is one.
    slow = chip_of(network, BARE, 0, pi=PI(0.1, tau_u=10.0))
    check(slow, x, step, volts=1e-9, relative=1e-8)


def test_of_two_rests_the_static_model_takes_the_one_that_the_waveforms_come_to() -> None:
    network = network_of([4, 1, 3, 2], 521)
    chip, (x, step) = chip_of(network, BARE, 0), inputs_of(network)
    found = StaticChip.of(chip).solve(x, step).u
    waves = Behavioural([chip], Rung.STATIC).run(x, step, dt=0.5, steps=120)[0]
    torch.testing.assert_close(found, waves.u[:, -1], rtol=0, atol=2e-4)
    model = Behavioural([chip], Rung.STATIC)
    release = model.release(x, step)
    other = release.system.equilibrium(release.free, 1e-13)
    assert [m[0].real > 0 for m in eigenvalues(model.model, release, other)[0]] == [0, 0, 1]


@pytest.mark.parametrize("readout", READOUTS)
def test_tanh_cells_as_they_were_measured_rest_where_their_equations_say(readout: Readout) -> None:
    measured = BARE.replace("tanh", peak_current=2.3e-6, scale=0.28, input_resistance=150e3)
    network = network_of([4, 5, 3], seed=1)
    given = inputs_of(network)
    check(chip_of(network, measured, 3, readout), *given, volts=1e-9, relative=1e-8)
    (usual, found) = (
        StaticChip.of(chip_of(network, card, 3, readout)).solve(*given).volts_rest
        for card in (BARE, measured)
    )
    assert max(float((usual[bank] - found[bank]).abs().max()) for bank in usual) > 0.01


@pytest.mark.parametrize("readout", READOUTS)
def test_with_wires_too_to_the_second_order_of_their_drop(readout: Readout) -> None:
    network = network_of([16, 10, 10], seed=1)
    chip = chip_of(network, CARD, 3, readout)
    check(chip, *inputs_of(network), volts=1e-6, relative=1e-5)


@pytest.mark.parametrize(("word", "bit"), [(5.0, None), (None, 5.0), (50.0, 50.0)])
def test_with_wires_of_one_kind_and_long_ones(word: float | None, bit: float | None) -> None:
    network = network_of([10, 8, 4], seed=1)
    chip = chip_of(network, CARD.replace("wire", word=word, bit=bit), 3)
    check(chip, *inputs_of(network), volts=1e-5, relative=1e-5)


def test_with_wires_in_tiles_every_amplifier_rests_where_its_equations_say() -> None:
    network = network_of([16, 10, 10], seed=1)
    whole = CARD.replace("wire", word=50.0, bit=50.0)
    tiled = whole.replace("wire", rows=8, columns=4)
    x, step = inputs_of(network)
    check(chip_of(network, tiled, 3), x, step, volts=1e-5, relative=1e-5)
    one, other = (
        StaticChip.of(chip_of(network, card, 3)).solve(x, step) for card in (whole, tiled)
    )
    assert float((one.u - other.u).abs().max()) > 1e-3  # tiles take part of the wires' drop away


CONTROLLERS: list[Controller] = [
    P(3.0),
    I(0.01),
    I(0.0),
    PI(0.5, 0.05),
    PI(2.0, 0.1, leak="integral"),
    PI(2.0, 0.0, leak="integral"),
    PD(3.0),
    PID(k_p=2.0, alpha=0.1),
    PID(k_p=1.5, alpha=0.0, k_d=0.1, tau_d=0.08),
    PID(k_p=2.0, alpha=0.1, leak="integral"),
]
NEURONS = [("tanh", "linear"), ("tanh", "tanh"), ("linear", "linear"), ("linear", "tanh")]


@pytest.mark.parametrize(
    ("neurons", "readout"),
    [*((kinds, Readout()) for kinds in NEURONS), *((NEURONS[-1], r) for r in READOUTS[1:])],
)
@pytest.mark.parametrize("controller", CONTROLLERS)
def test_any_controller_and_neurons_rest_where_their_equations_say(
    controller: Controller, neurons: tuple[str, str], readout: Readout
) -> None:
    network = network_with(neurons)
    # Amplifiers so poor that what their gain, load and offsets do can't hide.
    card = BARE.replace("amplifier", gain=300.0, output_resistance=200.0, stage_resistance=1e4)
    check(chip_of(network, card, 3, readout, controller), *small(network), 1e-9, 1e-8)


def test_the_auto_zero_of_pd_leaves_the_offsets_behind_the_error_amplifier_which_pid_takes_up() -> (
    None
):
    network = network_of([3, 4, 2], seed=1)
    x, step = inputs_of(network)
    card = CARD.ideal().replace("amplifier", offset=1e-3)
    chip = chip_of(network, card, 3, pi=PD(1.5, 0.1, 0.08))
    free, rest = amplifiers_at_rest(chip, x, step)
    change = rest["controller.error"] - free["controller.error"]
    left = rest["controller.sum"] + 1.5 * change
    os_p, os_d = (chip.circuit.bank[f"controller.{n}"].offset for n in ("sum", "derivative"))
    torch.testing.assert_close(left, (2 * os_p - os_d).expand_as(left), rtol=0, atol=1e-9)

    def shift(controller: Controller) -> float:
        chips = (chip_of(network, c, 3, pi=controller) for c in (card, card.ideal()))
        states = [StaticChip.of(c).solve(x, step) for c in chips]
        one, other = (s.rest.r[-1] - s.free.r[-1] for s in states)
        return float((one - other).abs().max())

    assert shift(PD(1.5, 0.1, 0.08)) > 3e-4
    assert shift(PID(k_p=1.5, alpha=0.0, k_d=0.1, tau_d=0.08)) < 1e-9


def transfer(c: Controller, s: complex) -> complex:
    """-u / r_L of a controller's equations, App. A.8 of Meulemans et al. 2021."""
    derivative = c.k_d * s / (1 + c.tau_d * s)
    if not c.integrates:
        return c.k_p + derivative
    straight = c.k_p + derivative
    if c.leak == "integral":
        return straight + 1 / (c.alpha + c.tau_u * s)
    # tau_u s (u - straight e) = e - alpha u
    return (1 + c.tau_u * s * straight) / (c.alpha + c.tau_u * s)


@pytest.mark.parametrize("controller", CONTROLLERS)
def test_the_circuit_of_a_controller_has_the_transfer_function_of_its_equations(
    controller: Controller,
) -> None:
    design = chip_of(network_of([3, 4, 2], seed=1), CARD.ideal(), pi=controller).design
    chip = Chip.of(design)
    motion, made = Motion.of(Stages(chip)), chip.circuit.control.u_minus
    k, scale = len(motion.branches), design.card.scale
    rates, signal = motion.rates[0].numpy(), motion.volts[made.bank][0].numpy()
    for w in (0.01, 1.0, 30.0):
        s = 1j * w
        held = np.linalg.solve(s * np.eye(k) - design.seconds * rates[:, :k], rates[:, k])
        volts = signal[:k] @ held * design.seconds + signal[k]
        found = -made.sign * volts * scale.activation / scale.control
        assert found == pytest.approx(transfer(controller, s), rel=1e-9)


@pytest.mark.parametrize("neurons", NEURONS)
@pytest.mark.parametrize("controller", CONTROLLERS)
def test_an_ideal_card_gives_the_update_of_any_controller_and_neurons(
    controller: Controller, neurons: tuple[str, str]
) -> None:
    network = network_with(neurons)
    x, step = small(network)
    design = chip_of(network, CARD.ideal(), pi=controller).design
    static = StaticChip.of(Chip.of(design))
    found = static.gradient(static.solve(x, step)).flat()
    torch.testing.assert_close(found, ideal_update(design, x, step), rtol=0, atol=1e-12)


def test_amplifiers_of_low_gain_without_a_leak_rest_where_their_equations_say() -> None:
    network = network_of([5, 4, 3, 2], seed=1)
    chip = chip_of(network, BARE.replace("amplifier", gain=100.0), pi=PI(2.0, 0.0))
    check(chip, *inputs_of(network), volts=1e-9, relative=1e-8)


def test_columns_of_wide_arrays_that_reach_each_other_by_little_are_solved_as_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    generator = torch.Generator().manual_seed(3)
    matrix = torch.diag(1 + torch.rand(20, generator=generator, dtype=torch.float64))
    right = torch.rand(20, 30, generator=generator, dtype=torch.float64)
    for weak in (1e-4, 1e-2):  # the latter not by little
        some = matrix - weak * torch.rand(20, 20, generator=generator, dtype=torch.float64)
        expected = torch.linalg.solve(some, right)
        monkeypatch.setattr("analogdfc.circuit.static.folding.LARGE", 0)
        torch.testing.assert_close(_solved(some, right.clone()), expected, rtol=1e-7, atol=0)


def test_finite_gain_adds_to_the_leak_as_the_prototype_showed() -> None:
    # alpha_eff = alpha + (m + alpha) / A0', with one input of gain m = 1.
    network = network_of([3, 4, 2], seed=1)
    for gain in (1e2, 1e3, 1e5):
        card = CARD.ideal().replace("amplifier", gain=gain)
        control = StaticChip.of(chip_of(network, card, pi=PI(2.0, 0.0015))).control
        leak = control.damping * control.error_gain / card.scale.control
        assert float(leak[0]) == pytest.approx(0.0015 + 1.0015 / gain, rel=1e-12)


@pytest.mark.parametrize("alpha", [0.0015, 0.1])
def test_an_ideal_card_gives_the_update_of_the_ideal_rule(alpha: float) -> None:
    network = network_of([4, 6, 5, 3], seed=1)
    x, y = normal(2, 5, 4), normal(3, 5, 3)
    rule = SteadyStateDFC(network, controller=PI(2.0, alpha), target_stepsize=0.1, nonlinear=True)
    rule.backward(x, y)
    design = Design.of(network, rule.feedback, CARD.ideal(), controller=PI(2.0, alpha))
    chip = StaticChip.of(Chip.of(design))
    output = network(x).detach()
    state = chip.solve(x, rule.loss.target(output, y, 0.1) - output)
    found = chip.gradient(state)
    for w, b, ours, own in zip(
        network.weights, network.biases, found.weights, found.biases, strict=True
    ):
        assert w.grad is not None
        assert b.grad is not None
        torch.testing.assert_close(ours[0], -w.grad, rtol=0, atol=1e-12)
        torch.testing.assert_close(own[0], -b.grad, rtol=0, atol=1e-12)


def test_the_gradient_is_the_mean_of_the_updates() -> None:
    network = network_of([4, 6, 3], seed=1)
    chip = StaticChip.of(chip_of(network))
    state = chip.solve(*inputs_of(network))
    mean, each = chip.gradient(state), chip.update(state)
    for ours, theirs in zip(
        (*mean.weights, *mean.biases), (*each.weights, *each.biases), strict=True
    ):
        torch.testing.assert_close(ours[0], theirs.mean(dim=0), rtol=0, atol=1e-15)


def loop_apart(one: StaticChip, other: StaticChip) -> float:
    ours, theirs = ((*c.loop.weights, *c.loop.biases) for c in (one, other))
    return max(float((a - b).abs().max()) for a, b in zip(ours, theirs, strict=True))


@given(small_networks(), seeds())
@settings(max_examples=5)
def test_refolding_to_the_same_weights_gives_the_same_chip(network: Network, seed: int) -> None:
    # Whose transfer holds the loop's weights already: they are what the amplifiers' tests check.
    static = StaticChip.of(chip_of(network, CARD, seed))
    design = static.chip.design
    assert loop_apart(static.refolded(design.weights, design.biases), static) < 1e-15


@pytest.mark.parametrize(("card", "error"), [(BARE, 1e-4), (CARD, 1e-4)])
def test_refolding_to_other_weights_gives_the_chip_that_would_be_made(
    card: Card, error: float
) -> None:
    design = chip_of(network_of([5, 4, 3, 2], seed=3), card).design
    weights = tuple(w * (1 - 0.5 * normal(i, *w.shape).abs()) for i, w in enumerate(design.weights))
    other = replace(design, weights=weights)
    assert all(other.weight_unit(i) == design.weight_unit(i) for i in (1, 2, 3))
    made = StaticChip.of(Chip.of(other, 1))
    static = StaticChip.of(Chip.of(design, 1))
    assert loop_apart(static, made) > 0.1
    assert loop_apart(static.refolded(weights, design.biases), made) < error


def test_unrounded_weights_are_not_put_on_the_levels() -> None:
    design = chip_of(network_of([3, 4, 2], seed=1)).design
    static = StaticChip.of(Chip.of(design, 1))
    moved = tuple(w + 1e-6 for w in design.weights)
    assert loop_apart(static.refolded(moved, design.biases), static) == 0
    fine = static.refolded(design.weights, design.biases, rounded=False)
    shifted = static.refolded(moved, design.biases, rounded=False)
    assert loop_apart(shifted, fine) == pytest.approx(1e-6, rel=0.2)


@pytest.mark.parametrize(
    ("controller", "output"), [(PI(), "linear"), (PID(), "tanh"), (P(3.0), "linear")]
)
def test_single_precision_is_near_double(controller: Controller, output: str) -> None:
    network = Network([4, 6, 3], "tanh", output)
    network.load_state_dict(network_of([4, 6, 3], seed=1).state_dict())
    x, step = small(network)
    static = StaticChip.of(chip_of(network, pi=controller))
    single = static.to(dtype=torch.float32)
    state = single.solve(x.float(), step.float(), tolerance=1e-5)
    assert state.u.dtype == torch.float32
    torch.testing.assert_close(state.u.double(), static.solve(x, step).u, rtol=1e-3, atol=1e-4)


def test_single_precision_finds_the_free_phase_of_a_poor_reset_switch() -> None:
    network = network_of([5, 8, 6, 4], seed=0)
    card = CARD.replace("passive", tolerance=0.05, r_switch=5e4)
    static = StaticChip.of(chip_of(network, card, readout=Readout(auto_zero=False)))
    x, step = inputs_of(network, batch=64)
    single = static.to(dtype=torch.float32).solve(x.float(), 0.1 * step.float(), tolerance=1e-4)
    double = static.solve(x, 0.1 * step)
    assert float(double.free_control.abs().max()) > 0.01
    torch.testing.assert_close(
        single.free_control.double(), double.free_control, rtol=1e-4, atol=1e-5
    )


def test_a_target_out_of_reach_names_its_sample() -> None:
    network = network_of([3, 4, 2], seed=1)
    design = chip_of(network, CARD.ideal(), pi=PI(2.0, 1e-9)).design
    first, last = design.feedback
    chip = Chip.of(replace(design, feedback=(first, torch.zeros_like(last))))
    x, step = inputs_of(network)
    step = 1e-3 * step
    step[1] = 100.0
    with pytest.raises(ConvergenceError, match=r"^sample 1 \(counted from 0\)"):
        StaticChip.of(chip).solve(x, step)


def test_a_rest_that_needs_more_volts_than_there_are_is_told_apart() -> None:
    network = network_of([3, 4, 2], seed=1)
    state = StaticChip.of(chip_of(network)).solve(*inputs_of(network))
    needed = max(float(state.volts_rest[f"controller.{n}"].abs().max()) for n in ("pi", "inv"))
    state.check_rails(None)
    state.check_rails(max(float(volts.abs().max()) for volts in state.volts_rest.values()))
    state.check_loop(max(needed, float(state.volts_rest["layer2.soma"].abs().max())))
    with pytest.raises(ConvergenceError, match=r"'layer1\.basal' would need"):
        state.check_rails(max(needed, float(state.volts_rest["layer2.soma"].abs().max())))
    with pytest.raises(ConvergenceError, match="would need"):
        state.check_rails(0.99 * needed)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    "values",
    [{}, {"saturation": 0.3}, {"saturation": 0.2}, {"gain": 1e3, "slew_rate": 5e4}],
    ids=["usual", "rails 0.3 V", "rails 0.2 V", "driven to 0.08 V"],
)
def test_a_rest_that_the_amplifiers_do_not_reach_is_refused(
    values: dict[str, float], seed: int
) -> None:
    network = network_of([3, 4, 2], seed=seed)
    chip = chip_of(network, BARE.replace("amplifier", **values))
    x, step = inputs_of(network, batch=1)
    state = StaticChip.of(chip).solve(x, 0.3 * step)
    (run,) = Behavioural([chip]).run(x, 0.3 * step, dt=0.5, steps=200)
    off = max(
        float((a[:, -1] - b).abs().max()) for a, b in zip(run.neurons.r, state.rest.r, strict=True)
    )
    reach = chip.design.card.amplifier.reach
    assert reach is not None
    try:
        state.check_rails(reach)
    except ConvergenceError:
        assert off > 1e-3
        assert bool((state.needed > reach).all())
    else:
        assert off < 1e-3


def test_no_samples_are_refused() -> None:
    static = StaticChip.of(chip_of(network_of([3, 4, 2], seed=1)))
    with pytest.raises(UserError, match="no samples"):
        static.solve(torch.zeros(0, 3), torch.zeros(0, 2))


@pytest.mark.parametrize("sizes", [[2, 1], [3, 4, 5, 3, 2]])
def test_weights_beyond_the_window_rest_where_their_equations_say(sizes: list[int]) -> None:
    network = network_of(sizes, seed=1)
    with torch.no_grad():
        network.weights[0].mul_(8)
    chip = chip_of(network, BARE.replace("device", levels=None))
    assert "W1" in chip.design.shrunk_layers()
    x, step = inputs_of(network)
    check(chip, x, 0.1 * step, volts=1e-9, relative=1e-7)


@pytest.mark.parametrize(("x", "step"), [((2, 4), (2, 2)), ((2, 3), (2, 1)), ((2, 3), (3, 2))])
def test_shapes_that_do_not_fit_are_refused(x: tuple[int, int], step: tuple[int, int]) -> None:
    static = StaticChip.of(chip_of(network_of([3, 4, 2], seed=1)))
    with pytest.raises(UserError, match=r"expected \(batch, 3\) and \(batch, 2\)"):
        static.solve(torch.zeros(x), torch.zeros(step))
    with pytest.raises(UserError, match="the chip was made for"):
        static.refolded([torch.zeros(x), torch.zeros(step)], [torch.zeros(4), torch.zeros(2)])


@pytest.mark.parametrize("tolerance", [0.0, -1.0, math.nan, math.inf])
def test_a_tolerance_that_is_none_is_refused(tolerance: float) -> None:
    network = network_of([3, 4, 2], seed=1)
    static = StaticChip.of(chip_of(network, BARE))
    with pytest.raises(UserError, match=r"tolerance = .*: it must be finite and > 0"):
        static.solve(normal(0, 2, 3), normal(1, 2, 2), tolerance=tolerance)


def test_numbers_that_are_none_are_refused() -> None:
    static = StaticChip.of(chip_of(network_of([3, 4, 2], seed=1)))
    with pytest.raises(UserError, match="finite"):
        static.solve(torch.full((1, 3), torch.nan), torch.zeros(1, 2))


def test_a_stable_rest_that_the_loop_does_not_go_to_is_told_apart() -> None:
    network = network_of([3, 4, 2], seed=1)
    static = StaticChip.of(chip_of(network))
    loop, (x, step) = static.loop, inputs_of(network, batch=1)
    base = free_pass(loop, x)
    found = steady_state(loop, base, base.output + step)
    assert bool(found.converged.all())
    told = _left(loop, found._replace(converged=~found.converged), 0)
    assert told.startswith("its equations have one that is stable")
    told = _left(loop, found._replace(root=~found.root), 0)
    assert told.startswith("residual ")

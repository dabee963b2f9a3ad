"""Sizing: what a trial is judged by, how the search goes, and that nothing can be loosened."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from strategies import network_of, normal
from torch import Tensor

from analogdfc.analysis.energy import update_path
from analogdfc.analysis.noise import difference_deviations, moment_norm, noise_norm
from analogdfc.cards.technology import Card
from analogdfc.cards.writing import card_text
from analogdfc.cases import Stimuli
from analogdfc.circuit.chip import Chip
from analogdfc.circuit.design import Design, Readout
from analogdfc.circuit.devices import Devices
from analogdfc.circuit.static import StaticChip
from analogdfc.cli import _size
from analogdfc.comparison import UpdateDifference
from analogdfc.controller import PD, PI, PID, Controller, I, P
from analogdfc.dynamics import Update
from analogdfc.errors import ConvergenceError, UserError
from analogdfc.feedback import DirectFeedback
from analogdfc.jobs import Processes, Spool
from analogdfc.network import Network
from analogdfc.sizing import finding, report
from analogdfc.sizing.finding import Options, Sizing, Verification, size
from analogdfc.sizing.polish import Start, margins, polished, unsafe
from analogdfc.sizing.search import cheapest, front, search
from analogdfc.sizing.specification import (
    REQUIREMENTS,
    default_ranges,
    effort,
    grid,
    loosest,
    own_values,
    parse_fixed,
    parse_ranges,
    tightest,
    with_values,
)
from analogdfc.sizing.trial import Outcome, Problem, evaluate, jump_gain
from analogdfc.sizing.workers import Workers
from analogdfc.spice.engines import get_simulator
from analogdfc.updating.costs import CONVERSIONS, HOLDS

CARD = Card.load("discrete_100mhz")
OWN = own_values(CARD)
OWN_BUT_OFFSET = {name: value for name, value in OWN.items() if name != "offset"}
POPULATION = 8
"""Designs of a generation, fewer than in earnest."""

SOUGHT = {"bandwidth": (2e6, 2e8), "offset": (1e-4, 2e-2), "levels": (8.0, 256.0)}


def design_of(card: Card = CARD, readout: Readout | None = None) -> Design:
    network = network_of((3, 4, 2), 3)
    return Design.of(network, DirectFeedback.transposed(network), card, readout=readout)


def problem_of(max_angle: float = 8.0, **changes: Any) -> Problem:
    x, step = normal(1, 2, 3), 0.15 * normal(2, 2, 2).sign()
    fixed = {n: v for n, v in OWN.items() if n not in SOUGHT}
    options: dict[str, Any] = {"seeds": (0,), "ranges": SOUGHT, "fixed": fixed, **changes}
    return Problem.of(design_of(), x, step, max_angle=max_angle, **options)


@pytest.fixture(scope="module", autouse=True)
def small_generations() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("analogdfc.sizing.search.POPULATION", POPULATION)
        yield


@pytest.fixture(scope="module")
def problem() -> Problem:
    return problem_of()


@pytest.fixture(scope="module")
def workers(problem: Problem) -> Workers:
    """Remember the outcomes of all tests."""
    return Workers(problem)


@pytest.fixture(scope="module")
def trials(workers: Workers) -> list[Outcome]:
    return search(workers, 2 * POPULATION)


@pytest.fixture(scope="module")
def final(workers: Workers, problem: Problem, trials: list[Outcome]) -> Outcome:
    start = cheapest(problem, trials, problem.aim)
    return polished(workers, Start(start, problem.aim))


# The requirements


def test_the_supply_current_is_that_of_the_stage_that_needs_most() -> None:
    fast = with_values(CARD, {**OWN, "bandwidth": 2 * OWN["bandwidth"]}).amplifier
    steep = with_values(CARD, {**OWN, "slew": 5 * OWN["slew"]}).amplifier
    quiet = with_values(CARD, {**OWN, "noise": OWN["noise"] / 3}).amplifier
    easy = {**OWN, "bandwidth": 0.1 * OWN["bandwidth"], "slew": 1e5, "noise": 1e-6}
    least = with_values(CARD, easy).amplifier
    found = [a.quiescent_current / CARD.amplifier.quiescent_current for a in (fast, steep, quiet)]
    assert found == pytest.approx([2, 5, 9])
    assert least.quiescent_current == pytest.approx(0.1 * CARD.amplifier.quiescent_current)
    assert fast.second_pole == pytest.approx(6 * OWN["bandwidth"])


def test_the_cards_own_values_give_the_card_back() -> None:
    again = with_values(CARD, OWN)
    for section in ("device", "wire", "amplifier", "tanh"):
        before, after = getattr(CARD, section).model_dump(), getattr(again, section).model_dump()
        assert after == pytest.approx(before)


def test_the_window_moves_g_min_and_the_offset_takes_the_tanh_cells_along() -> None:
    card = with_values(CARD, {**OWN, "window": 10.0, "offset": 3e-3})
    assert card.device.g_max == CARD.device.g_max
    assert card.device.g_min == pytest.approx(CARD.device.g_max / 10)
    assert card.tanh.offset == pytest.approx(3e-3)


def test_an_infinitely_fast_amplifier_can_not_be_sized() -> None:
    with pytest.raises(UserError, match="quiescent current"):
        with_values(CARD.without("finite bandwidth"), OWN)


def test_effort_counts_decades_from_the_easy_ends() -> None:
    ranges = default_ranges(1e-6)
    assert effort(loosest(ranges), ranges) == pytest.approx(0)
    decades = sum(math.log10(high / low) for low, high in ranges.values())
    assert effort(tightest(ranges), ranges) == pytest.approx(decades)
    harder = {**loosest(ranges), "gain": 1e3, "offset": 2e-3}
    assert effort(harder, ranges) == pytest.approx(2)


@given(
    name=st.sampled_from(sorted(REQUIREMENTS)),
    start=st.floats(1e-6, 1e6),
    ratio=st.floats(1.01, 1e3),
    down=st.booleans(),
)
def test_the_grid_has_its_ends_and_between_them_values_of_two_digits(
    name: str, start: float, ratio: float, down: bool
) -> None:
    requirement = REQUIREMENTS[name]
    ends = (start * ratio, start) if down else (start, start * ratio)
    found = grid(requirement, *ends)
    assert (found[0], found[-1]) == ends
    assert found == sorted(found, reverse=down)
    assert all(float(f"{v:.1e}") == v for v in found[1:-1])
    if requirement.whole:
        assert all(v == int(v) for v in found[1:-1])
    elif ratio > 1.3:
        steps = [abs(math.log(b / a)) for a, b in itertools.pairwise(found)]
        assert max(steps) <= math.log(1.1) + 1e-9


def path_problem(card: Card, **changes: Any) -> Problem:
    x, step = normal(1, 2, 3), 0.15 * normal(2, 2, 2).sign()
    own = own_values(card)
    ranges = {"hold": (1e-13, 1e-11), "resolution": (8.0, 1024.0)}
    fixed = {n: v for n, v in own.items() if n not in ranges}
    options: dict[str, Any] = {"ranges": ranges, "fixed": fixed, **changes}
    return Problem.of(design_of(card), x, step, seeds=(0,), max_angle=20.0, **options)


def test_an_update_path_is_sized_by_its_capacitors_and_codes() -> None:
    card = Card.load("update_multiplier")
    problem, own = path_problem(card), {"hold": 1e-12, "resolution": 1024.0}
    usual = evaluate(problem, own)
    small, coarse = (evaluate(problem, {**own, **o}) for o in ({"hold": 2e-13}, {"resolution": 8}))
    assert usual.works
    # Of the energy, the holds' is in proportion to the capacitor, the conversions' to the codes.
    chip = Chip.of(problem.realised(own), 0)
    path = update_path(chip, problem.seconds).by_component()
    expected = 0.8 * float(path[HOLDS]), (1 - 8 / 1024) * float(path[CONVERSIONS])
    assert usual.energy - small.energy == pytest.approx(expected[0], rel=1e-6)
    assert usual.energy - coarse.energy == pytest.approx(expected[1], rel=1e-6)
    assert coarse.static > usual.static
    # Noise of a moment is more than that of an average as long as the settle.
    averaged = noise_norm(chip, problem.design.loop(), problem.ideal[1], problem.seconds)
    assert moment_norm(chip, problem.ideal[1]) > averaged


def test_what_an_update_path_lacks_cannot_be_sized() -> None:
    with pytest.raises(UserError, match=r"'hold': the card .* says nothing of it"):
        problem_of(ranges={**SOUGHT, "hold": (1e-13, 1e-11)})
    lacking = Card.load("update_multiplier").replace("hold", supply_current=None)
    with pytest.raises(UserError, match=r"\[hold\] supply_current: missing in the card"):
        path_problem(lacking)


def test_options_give_values_in_any_unit() -> None:
    found = parse_fixed(["bandwidth=20 MHz", "gain=1e4", "noise=5e-9", "slew=2V/us", "levels=64"])
    assert found == pytest.approx(
        {"bandwidth": 20e6, "gain": 1e4, "noise": 5e-9, "slew": 2e6, "levels": 64}
    )
    assert parse_ranges(["offset=10uV:1mV"])["offset"] == pytest.approx((1e-5, 1e-3))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("gian=1", "unknown requirement 'gian'; did you mean 'gain'"),
        ("mismatch=0.02", "Allowed are bandwidth, slew"),
        ("gain", "write NAME=VALUE"),
        ("gain=", "write NAME=VALUE"),
        ("gain=0.5", "a number > 1"),
        ("offset=3 ohm", "not a value in V"),
        ("offset=-1mV", "a number > 0"),
        ("levels=2.5", "an integer >= 2"),
        ("noise=nan", "a number > 0"),
        ("word=red", "not a value in ohm"),
    ],
)
def test_a_bad_value_is_answered_with_what_is_allowed(text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        parse_fixed([text])


@pytest.mark.parametrize("text", ["gain=10:5", "gain=5:5", "gain=5", "gain=1:", "gian=1:2"])
def test_a_bad_range_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="ranges g"):
        parse_ranges([text])


def test_a_requirement_is_given_once() -> None:
    with pytest.raises(UserError, match="fixed gain=1e4: 'gain' is given twice"):
        parse_fixed(["gain=1e3", "gain=1e4"])
    with pytest.raises(UserError, match="ranges gain=2:3: 'gain' is given twice"):
        parse_ranges(["gain=1e2:1e3", "gain=2:3"])


@pytest.mark.parametrize("bound", ["duration", "phase_margin"])
def test_a_bound_of_nothing_is_refused(bound: str) -> None:
    with pytest.raises(UserError, match="both must be > 0"):
        problem_of(**{bound: 0.0})


def test_a_value_that_contradicts_the_card_is_refused_and_an_unusual_one_told() -> None:
    assert problem_of().remarks == ()
    slow = r"\[amplifier\] gain_bandwidth = 10 Hz is too slow to take part in a loop"
    own = {n: v for n, v in OWN.items() if n not in SOUGHT}
    free = {n: ends for n, ends in SOUGHT.items() if n != "bandwidth"}
    with pytest.raises(UserError, match=slow):
        problem_of(ranges=free, fixed={**own, "bandwidth": 10.0})
    with pytest.raises(UserError, match=slow):
        problem_of(ranges={**SOUGHT, "bandwidth": (10.0, 1e8)})
    (remark,) = problem_of(fixed={**own, "word": 1e5}).remarks
    assert remark.startswith("[wire] word = 100000 ohm")


def test_a_requirement_is_either_fixed_or_sought() -> None:
    with pytest.raises(UserError, match="both a fixed value and a range"):
        problem_of(fixed={**OWN})
    with pytest.raises(UserError, match="nothing to size"):
        problem_of(ranges={}, fixed=OWN)


def test_devices_that_are_given_leave_their_window_and_levels_nothing_to_find() -> None:
    design = replace(design_of(), devices=Devices.of("pcm_nandakumar2019"))
    with pytest.raises(UserError, match="a design with devices of its own has both already"):
        replace(problem_of(), design=design)


def test_a_written_card_reads_as_the_same_card_and_keeps_sources() -> None:
    sized = with_values(CARD, {**OWN, "gain": 321.0})
    text = card_text(sized, CARD, 'sized "here"')
    again = Card.parse(text)
    assert again.model_dump(exclude={"text"}) == sized.model_dump(exclude={"text"})
    assert text.count("Wan et al.") == 1
    (line,) = [line for line in text.splitlines() if line.startswith("gain =")]
    assert r"sized \"here\"" in line


def test_a_name_with_quotes_is_written_so_that_it_reads_back() -> None:
    identity = CARD.card.model_copy(update={"name": 'my "best" \\ card'})
    text = card_text(CARD.model_copy(update={"card": identity}), CARD, "here")
    assert Card.parse(text).card.name == 'my "best" \\ card'


# A trial


def without_inverter_offsets(chip: Chip) -> Chip:
    circuit = chip.circuit
    inverters = {taps.r_minus.bank for taps in circuit.layers if taps.r_minus is not None}
    inverters.add(circuit.control.u.bank)
    banks = [
        replace(bank, offset=torch.zeros_like(bank.offset)) if bank.name in inverters else bank
        for bank in circuit.banks
    ]
    return replace(chip, circuit=replace(chip.circuit, banks=tuple(banks)))


@pytest.mark.parametrize(
    ("controller", "hidden", "output"),
    [
        (PI(), "tanh", "linear"),
        (P(3.0), "linear", "tanh"),
        (PI(1.0, 0.1, leak="integral"), "tanh", "tanh"),
        (PID(), "linear", "linear"),
    ],
)
def test_averaged_noise_is_that_of_offsets_drawn_anew(
    controller: Controller, hidden: str, output: str
) -> None:
    """White noise of density e_n, averaged over T, is an offset of e_n / sqrt(2 T)."""
    duration, sigma = 1e-4, 2e-5
    ideal = CARD.ideal().replace("amplifier", noise=sigma * math.sqrt(2 * duration))
    readout = Readout(double_sampling=False, auto_zero=False, relative_target=False)
    network = Network((3, 4, 2), hidden, output)
    network.load_state_dict(network_of((3, 4, 2), 3).state_dict())
    feedback = DirectFeedback.transposed(network)
    design = Design.of(network, feedback, ideal, controller=controller, readout=readout)
    x, step = normal(1, 1, 3), 0.1 * normal(2, 1, 2).sign()
    state = StaticChip.of(Chip.of(design)).solve(x, step)
    noisy = design.on(ideal.replace("amplifier", offset=sigma))
    drawn: list[tuple[Tensor, ...]] = []
    for seed in range(150):
        chip = StaticChip.of(without_inverter_offsets(Chip.of(noisy, seed)))
        found = chip.solve(x, step).differences
        drawn.append(tuple(a - b for a, b in zip(found, state.differences, strict=True)))
    formula = difference_deviations(Chip.of(design), design.loop(), state.rest_pass, duration)
    for layer, expected in enumerate(formula):
        seen = torch.stack([d[layer] for d in drawn]).square().mean(dim=0).sqrt()
        # 150 draws tell a deviation within some 6 %, and thermal noise adds less than 1 %.
        assert torch.allclose(seen, expected, rtol=0.2)
        assert float(seen.norm() / expected.norm()) == pytest.approx(1, abs=0.1)


def test_noise_falls_with_the_root_of_the_time_and_double_sampling_doubles_its_power() -> None:
    x, step = normal(1, 2, 3), 0.15 * normal(2, 2, 2).sign()

    def norm(duration: float, double_sampling: bool) -> float:
        design = design_of(CARD, Readout(double_sampling=double_sampling))
        state = StaticChip.of(Chip.of(design_of(CARD.ideal()))).solve(x, step)
        return noise_norm(Chip.of(design), design.loop(), state.rest_pass, duration)

    assert norm(4e-4, True) == pytest.approx(norm(1e-4, True) / 2)
    assert norm(1e-4, True) == pytest.approx(math.sqrt(2) * norm(1e-4, False))


def test_the_angle_is_that_of_the_worst_chip(problem: Problem) -> None:
    several = problem_of(seeds=(0, 1, 2))
    values = {name: OWN[name] for name in SOUGHT}
    design = several.realised(values)
    ideal = StaticChip.of(Chip.of(design.on(CARD.ideal())))
    reference = ideal.update(ideal.solve(several.x, several.step)).flat()
    angles = []
    for seed in several.seeds:
        chip = StaticChip.of(Chip.of(design, seed))
        update: Update = chip.update(chip.solve(several.x, several.step))
        angles.append(UpdateDifference.of(reference, update.flat()).angle)
    found = evaluate(several, values)
    assert found.static == pytest.approx(max(angles), rel=1e-6)
    assert found.angle == pytest.approx(math.hypot(max(angles), found.noise, found.slew))
    assert evaluate(problem, values).static == pytest.approx(angles[0], rel=1e-6)


def test_a_number_of_levels_that_does_well_by_luck_does_not_count() -> None:
    coarse = problem_of()
    given = problem_of(ranges={"offset": (1e-4, 2e-2)}, fixed=OWN_BUT_OFFSET | {"levels": 20.0})
    limit = evaluate(coarse, {"bandwidth": 1e8, "offset": 1e-3, "levels": 20.0}).static
    alone = []
    for levels in (20.0, 21.0, 22.0, 25.0, 30.0, 40.0):
        fixed = replace(given, fixed=OWN_BUT_OFFSET | {"levels": levels})
        alone.append(evaluate(fixed, {"offset": 1e-3}).static)
    assert limit == pytest.approx(max(alone), rel=1e-6)
    assert max(alone) > alone[0]


def test_the_margin_is_that_of_the_largest_gain() -> None:
    gains = {"gain": (1e2, 1e5)}
    sought = problem_of(ranges=gains, fixed={n: v for n, v in OWN.items() if n != "gain"})
    low, high = (evaluate(sought, {"gain": gain}) for gain in (2e2, 1e5))
    assert low.phase_margin == pytest.approx(high.phase_margin)
    assert low.angle > high.angle


def test_beyond_the_aim_only_the_angle_is_known_until_it_is_asked_again(problem: Problem) -> None:
    workers, values = Workers(problem), {name: OWN[name] for name in SOUGHT}
    full = evaluate(problem, values)
    partial = workers.try_one(values, 0.5 * full.static)
    assert partial.static == pytest.approx(full.static)
    assert not partial.keeps(problem, 0.5 * full.static)
    assert workers.try_one(values, 0.4 * full.static) is partial
    assert workers.try_one(values, 2 * full.static) == full


def test_energy_grows_with_bandwidth_and_little_else(problem: Problem) -> None:
    values = {name: OWN[name] for name in SOUGHT}
    slow = evaluate(problem, values)
    # Beyond the card's own bandwidth nothing else asks for more current.
    fast = evaluate(problem, {**values, "bandwidth": 2e8})
    coarse = evaluate(problem, {**values, "levels": 32.0})
    assert fast.energy == pytest.approx(2 * slow.energy, rel=0.02)
    assert coarse.energy == pytest.approx(slow.energy, rel=0.02)


def test_an_unstable_loop_breaks_the_bound_on_the_margin_and_says_why() -> None:
    wide = problem_of(ranges={**SOUGHT, "bandwidth": (1e4, 2e8)})
    found = evaluate(wide, {name: OWN[name] for name in SOUGHT} | {"bandwidth": 5e4})
    assert not found.keeps(wide, wide.aim)
    assert found.phase_margin == 0
    assert "loop" in found.reason


@pytest.mark.parametrize(
    ("controller", "gain"),
    [
        (PI(2.0, 0.1), 2 / (1 - 0.2)),
        (PI(2.0, 0.1, leak="integral"), 2.0),
        (I(0.1), 0.0),
        (P(3.0), 3.0),
        (PD(3.0), 3.0),
        (PID(k_p=2.0, alpha=0.6), 2.0),
    ],
)
def test_the_output_of_a_controller_jumps_with_its_proportional_part(
    controller: Controller, gain: float
) -> None:
    assert jump_gain(replace(design_of(), controller=controller)) == pytest.approx(gain)


def test_slewing_is_bounded_by_tau_v() -> None:
    fixed = {n: v for n, v in OWN.items() if n not in SOUGHT} | {"slew": 2e4}
    slow = problem_of(fixed=fixed)
    found = evaluate(slow, {name: OWN[name] for name in SOUGHT})
    assert found.slewing > slow.design.tau_v_seconds
    assert found.excess(slow, slow.aim)["slewing"] > 0
    # The controller's jump at the release, k_p e in volts, is the least that has to be slewed.
    jump = CARD.scale.control * slow.design.controller.k_p * 0.15
    assert found.slewing >= jump / 2e4


# The search


def test_the_card_itself_and_the_hard_corner_are_tried_first(
    problem: Problem, trials: list[Outcome]
) -> None:
    assert trials[0].values == pytest.approx({name: OWN[name] for name in SOUGHT})
    assert trials[1].values == pytest.approx(tightest(SOUGHT))


def test_processes_change_nothing(problem: Problem, trials: list[Outcome]) -> None:
    with Processes(2) as pool:
        assert search(Workers(problem, pool), POPULATION) == trials[:POPULATION]


def test_an_interrupted_search_goes_on_as_if_it_had_not_been(
    problem: Problem, trials: list[Outcome], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original, calls = evaluate, [0]

    def interrupted(of: Problem, values: dict[str, float]) -> Outcome:
        calls[0] += 1
        if calls[0] == POPULATION + 3:
            raise KeyboardInterrupt
        return original(of, values)

    def searched(number: int) -> list[Outcome]:
        with Spool(tmp_path / "s.runs") as spool:
            return search(Workers(problem, None, spool), number, told.append)

    told: list[int] = []
    monkeypatch.setattr("analogdfc.sizing.workers.evaluate", interrupted)
    with pytest.raises(KeyboardInterrupt):
        searched(2 * POPULATION)
    told.clear()
    assert searched(2 * POPULATION) == trials
    assert told == [POPULATION, POPULATION]
    assert calls[0] == 2 * POPULATION + 1  # the one that was interrupted is all that is done twice
    # And what is complete is only read.
    assert searched(POPULATION) == trials[:POPULATION]
    assert calls[0] == 2 * POPULATION + 1


def test_trials_of_another_problem_do_not_count(problem: Problem, tmp_path: Path) -> None:
    values = {name: OWN[name] for name in SOUGHT}
    with Spool(tmp_path / "s.runs") as spool:
        for k, of in enumerate([problem, problem_of(max_angle=7.0), problem]):
            Workers(of, None, spool).try_all([values])
            assert len(spool) == min(k, 1) + 1


def test_the_front_is_beaten_by_none(trials: list[Outcome]) -> None:
    working = [o for o in trials if o.works]
    best = front(working)
    for o in working:
        beaten = [b for b in best if b.energy <= o.energy and b.angle <= o.angle]
        assert beaten
        assert (o in best) == (beaten == [o])


def test_no_design_says_which_bound_was_closest(trials: list[Outcome]) -> None:
    strict = problem_of(max_angle=0.01)
    with pytest.raises(ConvergenceError, match=r"angle of .* degrees where 0.009") as caught:
        cheapest(strict, trials, strict.aim)
    assert "raise `max_angle`" in str(caught.value)
    assert "free the fixed" in str(caught.value)
    steady = problem_of(phase_margin=179.0)
    with pytest.raises(ConvergenceError, match=r"phase margin of .* where 179 is needed"):
        cheapest(steady, trials, steady.aim)


# The polish


def test_the_polish_keeps_the_bounds_and_loosens(
    problem: Problem, trials: list[Outcome], final: Outcome
) -> None:
    assert final.keeps(problem, problem.aim)
    assert final.effort < cheapest(problem, trials, problem.aim).effort


def test_nothing_in_the_final_design_can_be_loosened_alone(
    problem: Problem, final: Outcome
) -> None:
    for name, value in final.values.items():
        way = grid(REQUIREMENTS[name], value, loosest(SOUGHT)[name])
        if len(way) > 1:
            looser = evaluate(problem, {**final.values, name: way[1]})
            assert not looser.keeps(problem, problem.aim), name


def test_a_margin_ends_where_the_bound_itself_breaks(
    workers: Workers, problem: Problem, final: Outcome
) -> None:
    found = margins(workers, final, lambda: None)
    for name, value in found.items():
        assert evaluate(problem, {**final.values, name: value}).keeps(problem, problem.max_angle)
        way = grid(REQUIREMENTS[name], value, loosest(SOUGHT)[name])
        if len(way) > 1:
            further = evaluate(problem, {**final.values, name: way[1]})
            assert not further.keeps(problem, problem.max_angle), name
    assert any(found[n] != final.values[n] for n in found)


def test_a_side_that_is_not_safe_is_found(
    workers: Workers, problem: Problem, final: Outcome, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not {"bandwidth", "offset"} & {*unsafe(workers, final)}
    twice = 2 * final.values["bandwidth"]
    original = Workers.try_all

    def resonant(self: Workers, points: list[dict[str, float]]) -> list[Outcome]:
        """A circuit that fails from twice the bandwidth on."""
        found = original(self, points)
        bad = [p["bandwidth"] >= twice for p in points]
        return [o._replace(phase_margin=0.0) if b else o for o, b in zip(found, bad, strict=True)]

    monkeypatch.setattr(Workers, "try_all", resonant)
    assert unsafe(workers, final)["bandwidth"] == pytest.approx(twice, rel=0.1)


# Verification


def test_a_design_that_fails_the_simulation_is_tightened(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    offset = {"offset": SOUGHT["offset"]}
    problem = problem_of(ranges=offset, fixed=OWN_BUT_OFFSET)

    def simulated(p: Problem, design: Design, *_: object, **__: object) -> Verification:
        """A circuit that is 1.5 times worse than the static model has it."""
        chip = StaticChip.of(Chip.of(design, 0))
        update = chip.gradient(chip.solve(p.x, p.step)).flat()
        angle = 1.5 * UpdateDifference.of(p.ideal[0], update).angle
        return Verification((angle,), {0: angle}, 0.0)

    monkeypatch.setattr(finding, "verify", simulated)
    options = Options(trials=POPULATION, unseen=0, storage=tmp_path / "s.runs")
    simulator = get_simulator("auto")
    found = size(problem, simulator, options)
    assert found.rejected
    assert found.aim < problem.aim
    assert found.verification is not None
    assert found.verification.worst <= problem.max_angle < found.rejected[0][1].worst

    def hopeless(*_: object, **__: object) -> Verification:
        return Verification((8.5,), {0: 8.5}, 0.0)

    monkeypatch.setattr(finding, "verify", hopeless)
    with pytest.raises(ConvergenceError, match=r"no design kept the bound of 8 .*8\.5 .aimed at"):
        size(problem, simulator, options._replace(rounds=1))


# Chips that the search never saw


def test_unseen_chips_without_a_rest_state_are_counted_and_have_no_angle(
    problem: Problem, trials: list[Outcome], final: Outcome, capsys: pytest.CaptureFixture[str]
) -> None:
    def sizing(*angles: float) -> Sizing:
        return Sizing(
            problem, tuple(trials), trials[0], final, problem.aim, final.values, {}, angles, None
        )

    found = report.numbers(sizing(3.0, math.nan, 9.0, 4.0, 5.0))["unseen_chips"]
    assert found == {
        "chips": 5,
        "chips_without_rest_state": 1,
        "share_within_bound": pytest.approx(0.6),
        "median_angle_degree": pytest.approx(4.5),
        "largest_angle_degree": 9.0,
    }
    none = sizing(math.nan, math.nan)
    assert "median_angle_degree" not in report.numbers(none)["unseen_chips"]
    _size.show(none, "random weights", Stimuli(problem.x, problem.step, "2 samples"))
    printed = capsys.readouterr().out
    assert "2 further chips: 0% keep the bound; 2 have no rest state\n" in printed
    assert "raise --chips or lower --safety" in printed

"""A seed is a chip: the same components everywhere, and each imperfection with its own draw."""

from __future__ import annotations

import itertools

import pytest
import torch
from parts import controller, layers
from scipy import stats
from strategies import network_of
from torch import Tensor

from analogdfc.cards.technology import Card
from analogdfc.circuit.chip import Chip
from analogdfc.circuit.design import Design
from analogdfc.errors import UserError
from analogdfc.feedback import DirectFeedback

CARD = Card.load("discrete_100mhz")
MISMATCH, TOLERANCE, OFFSET = 0.02, 0.002, 1e-3


def design_of(sizes: list[int], card: Card = CARD) -> Design:
    network = network_of(sizes, seed=1)
    return Design.of(network, DirectFeedback.transposed(network), card)


SMALL = design_of([3, 4, 2])
LARGE = design_of([30, 24, 20, 12])


def components(chip: Chip) -> dict[str, Tensor]:
    """Every component of a chip, by its place: 'device', 'passive', 'offset' or 'tanh' first."""
    out = {}
    groups = [(f"layer{i}", parts.stages) for i, parts in enumerate(layers(chip), start=1)]
    groups.append(("controller", controller(chip).stages))
    for group, stages in groups:
        for name, stage in stages.items():
            place = f"{group}.{name}"
            out[f"passive {place}.r_f"] = stage.r_f
            out[f"passive {place}.c_f"] = stage.c_f
            out |= {f"passive {place}.r_in{k}": r for k, r in enumerate(stage.r_in)}
            out[f"offset {place}"] = stage.offset
    for i, parts in enumerate(layers(chip), start=1):
        for name in ("w_plus", "w_minus", "q_plus", "q_minus"):
            out[f"device layer{i}.{name}"] = getattr(parts, name)
        out |= {f"tanh layer{i}.{cell}": o for cell, o in parts.tanh_offset.items()}
    out["passive controller.c_i"] = controller(chip).c_i
    out["passive controller.r_leak"] = 1 / controller(chip).g_leak
    return out


def deviations(chip: Chip) -> dict[str, Tensor]:
    """Offsets as they are, all other components relative to their nominal value."""
    nominal = components(Chip.of(chip.design))
    return {
        name: value if name.startswith(("offset", "tanh")) else value / nominal[name] - 1
        for name, value in components(chip).items()
    }


def of_kind(kind: str, chip: Chip) -> Tensor:
    found = [d.flatten() for name, d in deviations(chip).items() if name.startswith(kind)]
    return torch.cat(found)


def test_the_same_seed_is_the_same_chip() -> None:
    first, again = components(Chip.of(SMALL, 5)), components(Chip.of(SMALL, 5))
    assert all(torch.equal(first[name], again[name]) for name in first)


def test_another_seed_is_another_chip_in_every_component() -> None:
    first, other = components(Chip.of(SMALL, 5)), components(Chip.of(SMALL, 6))
    assert not any((first[name] == other[name]).any() for name in first)


def test_no_seed_is_the_nominal_chip_and_so_is_any_seed_of_an_ideal_card() -> None:
    fine = SMALL.on(CARD.without("finite levels"))
    for chip in (Chip.of(fine), Chip.of(SMALL.on(CARD.ideal()), 7)):
        ideal = components(Chip.of(SMALL.on(CARD.ideal())))
        for name, value in components(chip).items():
            if name.startswith(("offset", "tanh")):
                assert not value.any(), name
            elif not name.endswith(".c_f") or "soma" in name:  # others compensate the amplifiers
                assert torch.equal(value, ideal[name]), name
    assert Chip.of(SMALL).seed is None


def test_a_seed_below_0_is_refused() -> None:
    with pytest.raises(UserError, match="seed -1: a seed must be >= 0"):
        Chip.of(SMALL, -1)


@pytest.mark.parametrize(
    ("off", "silent"),
    [
        ("device mismatch", "device"),
        ("passive tolerance", "passive"),
        ("amplifier offset", "offset"),
        ("tanh offset", "tanh"),
        ("finite gain", None),
        ("wire resistance", None),
        ("slew rate", None),
    ],
)
def test_switching_one_imperfection_off_leaves_all_other_draws(
    off: str, silent: str | None
) -> None:
    before = deviations(Chip.of(SMALL, 9))
    after = deviations(Chip.of(SMALL.on(CARD.without(off)), 9))
    for name in before:
        if silent is not None and name.startswith(silent):
            assert before[name].all(), name
            assert not after[name].any(), name
        else:
            assert torch.equal(after[name], before[name]), name


def test_without_input_capacitance_no_other_passive_changes() -> None:
    before = deviations(Chip.of(SMALL, 9))
    after = deviations(Chip.of(SMALL.on(CARD.without("input capacitance")), 9))
    kept = [name for name in before if not name.endswith(".c_f") or "soma" in name]
    assert all(torch.equal(after[name], before[name]) for name in kept)


def test_what_tanh_cells_differ_by_in_their_current_is_in_the_resistors_behind_them() -> None:
    card = CARD.without("passive tolerance").replace("tanh", current_mismatch=0.03)
    found = deviations(Chip.of(LARGE.on(card), 2))
    behind = {name for name in found if name.endswith(("act.r_f", "act_ff.r_f"))}
    drawn = torch.cat([found[name] for name in behind])
    assert float(drawn.std()) == pytest.approx(0.03, rel=3 / (2 * len(drawn)) ** 0.5)
    others = [found[n] for n in found if n.startswith("passive") and n not in behind]
    assert not torch.cat([one.flatten() for one in others]).any()


@pytest.mark.parametrize("factor", [0.1, 3.0])
def test_a_larger_spread_scales_the_same_draw(factor: float) -> None:
    card = CARD.replace("device", mismatch=factor * MISMATCH)
    card = card.replace("amplifier", offset=factor * OFFSET)
    before, after = deviations(Chip.of(SMALL, 9)), deviations(Chip.of(SMALL.on(card), 9))
    for name in before:
        scale = factor if name.startswith(("device", "offset")) else 1.0
        torch.testing.assert_close(after[name], scale * before[name], rtol=1e-9, atol=1e-14)


@pytest.mark.parametrize(
    ("kind", "sigma"),
    [("device", MISMATCH), ("passive", TOLERANCE), ("offset", OFFSET), ("tanh", OFFSET)],
)
def test_the_draws_are_normal_with_the_cards_standard_deviation(kind: str, sigma: float) -> None:
    draws = torch.cat([of_kind(kind, Chip.of(LARGE, seed)) for seed in range(4)])
    count = len(draws)
    assert count > 250
    assert abs(float(draws.mean())) < 4 * sigma / count**0.5
    assert float(draws.std()) == pytest.approx(sigma, rel=4 / (2 * count) ** 0.5)
    assert stats.kstest(draws.numpy() / sigma, "norm").pvalue > 1e-3


def test_no_two_components_share_their_draws() -> None:
    chips = [Chip.of(LARGE, seed) for seed in (0, 1)]
    vectors = {
        f"{chip.seed} {name}": value.flatten()[:12]
        for chip in chips
        for name, value in deviations(chip).items()
    }
    assert len(vectors) > 100
    for (a, x), (b, y) in itertools.combinations(vectors.items(), 2):
        # Twelve numbers each: equal ones would correlate by 1.
        correlation = float(torch.corrcoef(torch.stack([x, y]))[0, 1])
        assert abs(correlation) < 0.999, (a, b)


def test_both_devices_of_a_pair_vary_independently() -> None:
    found = deviations(Chip.of(LARGE, 3))
    plus, minus = (found[f"device layer1.w_{sign}"].flatten() for sign in ("plus", "minus"))
    correlation = float(torch.corrcoef(torch.stack([plus, minus]))[0, 1])
    assert abs(correlation) < 4 / len(plus) ** 0.5

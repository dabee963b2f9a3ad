"""Digital baseline: operations against a counter in PyTorch, energies against published points."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from strategies import layer_sizes, network_of, normal, seeds
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

import analogdfc.dynamics.at_rest as at_rest
import analogdfc.dynamics.reached as reached
import analogdfc.dynamics.steady as steady
from analogdfc.cases import example, stimuli_for
from analogdfc.circuit.chip import Chip
from analogdfc.circuit.static import StaticChip
from analogdfc.cost.estimate import ideal_update
from analogdfc.digital import (
    Band,
    Operations,
    baseline,
    digital_cells,
    digital_energy,
    operations,
    power,
    sources,
    spread,
    training,
)
from analogdfc.digital.card import Constants, DigitalCard, builtin_digital_cards
from analogdfc.digital.power import measure_power
from analogdfc.digital.training import COUNTS, band_text, engineering
from analogdfc.errors import UserError
from analogdfc.learning import DFC, AnalyticDFC, LearningRule, SteadyStateDFC, get_rule
from analogdfc.network import Network
from benchmarks import digital as benchmark
from benchmarks._products import products

MNIST = [784, 256, 256, 256, 10]

Rule = Callable[[Network], LearningRule]


def near(expected: Any, rel: float = 1e-9) -> Any:
    """Equal up to rounding, however small the numbers are."""
    return pytest.approx(expected, rel=rel, abs=0)


def bp(network: Network) -> LearningRule:
    return get_rule("bp").rule(network)


def _addition_in_place(c: Any, a: Any, b: Any, *args: Any, **kwargs: Any) -> int:
    """Operations of c += a b, which PyTorch's counter leaves out."""
    return 2 * int(a[0] * a[1] * b[1])


def counted(rule: LearningRule, x: Tensor, y: Tensor) -> int:
    """Multiply-accumulates that PyTorch dispatches, additions into a tensor included.

    It is given those of NumPy, too, which it wouldn't see.
    """
    counter = FlopCounterMode(
        display=False, custom_mapping={torch.ops.aten.addmm_: _addition_in_place}
    )
    with counter, patch("analogdfc.products._by_numpy", return_value=False):
        rule.backward(x, y)
    return int(counter.get_total_flops()) // 2


def _taken(root: steady.Root) -> tuple[Tensor, Tensor]:
    """Which roots are the rest, and what is followed, where all that there are are believed."""
    return root.converged, torch.nonzero(~root.converged).squeeze(-1)


def constants(card: str, form: str) -> Constants:
    return next(c for c in DigitalCard.load(card).constants() if c.name.endswith(f", {form}"))


# Operations


@settings(max_examples=15)
@given(sizes=layer_sizes(), batch=st.integers(1, 5), steps=st.integers(1, 40), seed=seeds())
def test_the_matrix_products_are_those_that_the_rules_dispatch(
    sizes: list[int], batch: int, steps: int, seed: int
) -> None:
    x, y = normal(seed, batch, sizes[0]), normal(seed + 1, batch, sizes[-1])
    rules: dict[str, Rule] = {
        "bp": bp,
        "dfc": lambda network: DFC(network, steps=steps),
        "dfc-ss-simulated": lambda network: SteadyStateDFC(network, newton=False, steps=steps),
        "dfc-ssa": AnalyticDFC,
    }
    for name, make in rules.items():
        with patch.object(at_rest, "_response", wraps=at_rest._response) as corrections:
            expected = counted(make(network_of(sizes, seed)), x, y)
        refinements = corrections.call_count
        ours = operations(sizes, name, batch, steps=steps, refinements=refinements)
        assert ours.macs == expected, name


@settings(max_examples=15)
@given(sizes=layer_sizes(), batch=st.integers(1, 5), seed=seeds())
def test_the_matrix_products_of_newtons_method_follow_from_its_iterations(
    sizes: list[int], batch: int, seed: int
) -> None:
    x, y = normal(seed, batch, sizes[0]), normal(seed + 1, batch, sizes[-1])
    rule = SteadyStateDFC(network_of(sizes, seed), target_stepsize=0.01)
    # What makes sure that the root is the one that the loop reaches comes on top of it.
    with (
        patch.object(reached, "_judged", lambda loop, free, root: _taken(root)),
        patch.object(steady, "sensitivity", wraps=steady.sensitivity) as derivatives,
        patch.object(steady, "rest", wraps=steady.rest) as passes,
    ):
        expected = counted(rule, x, y)
    assume(rule.simulated == 0 and derivatives.call_count > 0)
    iterations = passes.call_count
    ours = operations(
        sizes, "dfc-ss", batch, iterations=iterations, jacobians=derivatives.call_count
    )
    assert ours.macs == expected


@pytest.mark.parametrize("rule", ["dfc", "dfc-ss", "dfc-ssa"])
def test_the_benchmark_lists_the_same_products(rule: str) -> None:
    listed = products(rule, [7, 5, 4, 3], 6, steps=16, iterations=5)
    counted = operations([7, 5, 4, 3], rule, 6, steps=16, iterations=5)
    assert sum(p.flops for p in listed) == 2 * counted.macs


@pytest.mark.parametrize("n", [1, 2, 3, 10])
def test_small_systems_cost_what_gauss_and_jordan_need(n: int) -> None:
    inverse = 0
    for _pivot in range(n):
        for _row in range(n):
            inverse += 1 + (n - 1)  # the factor, then the row without its first element
    product = n * n
    assert operations([4, n], "dfc-ssa", 3).solves == 3 * (inverse + 2 * product)
    assert operations([4, n], "dfc-ssa", 1, refinements=0).solves == inverse + product
    newton = operations([4, n], "dfc-ss", 1, iterations=5, jacobians=2)
    assert newton.solves == 2 * inverse + 5 * product
    assert operations([4, n], "bp", 1).solves == 0


def test_words_of_a_single_layer_by_hand() -> None:
    forward = 2 + 2 * 3 + 3 + 3  # input, weights, output; biases
    error = 3 * 3  # output and label read, error written
    outer = 3 + 2 + 2 * 3 + 3 + 3  # error and input read, gradient written; the biases' gradient
    descent = 3 * 9  # weight and gradient read, weight written
    found = operations([2, 3], "bp", 1)
    assert found.words == forward + error + outer + descent
    assert found.samples == 2 + 3
    assert found.macs == 6 + 6
    assert found.evaluations == 0
    assert found.bytes(16) == 2 * found.words


def test_adam_moves_seven_numbers_a_weight_and_holds_two_more() -> None:
    plain, adam = (operations([5, 4, 3], "bp", 2, optimizer=o) for o in ("sgd", "adam"))
    weights = 5 * 4 + 4 + 4 * 3 + 3
    assert adam.words - plain.words == 4 * weights
    assert adam.resident - plain.resident == 2 * weights
    assert adam.flops - plain.flops == 16 * weights
    assert adam.macs == plain.macs


def test_one_more_time_step_costs_one_more_pass_up_and_its_outer_products() -> None:
    few, many = (operations([5, 4, 3, 2], "dfc", 7, steps=n) for n in (16, 32))
    assert many.macs - few.macs == 16 * 7 * (
        2 * (4 * 3 + 3 * 2) + 2 * (4 + 3)
    )  # Q of the last layer is I
    # tanh(v) of both hidden layers, tanh(v_ff) of the second; that of the first is constant.
    assert many.evaluations - few.evaluations == 16 * 7 * (4 + 3 + 3)


@settings(max_examples=20)
@given(samples=st.integers(1, 50), batch=st.integers(1, 20), epochs=st.integers(1, 3))
def test_a_training_is_its_minibatches(samples: int, batch: int, epochs: int) -> None:
    sizes = [4, 3, 2]
    parts = [min(batch, samples - k) for k in range(0, samples, batch)] * epochs
    expected = sum((operations(sizes, "dfc-ssa", n) for n in parts), Operations())
    assert training(sizes, "dfc-ssa", samples, epochs, batch=batch) == expected


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"rule": "sp"}, "unknown rule 'sp'; operations are counted for bp, dfc"),
        ({"optimizer": "rms"}, "unknown optimiser 'rms'; there are sgd, adam"),
        ({"batch": 0}, "batch = 0"),
        ({"steps": 0}, "steps = 0"),
        ({"sizes": [3]}, "at least two layers"),
        ({"sizes": [3, 0]}, r"sizes \[3, 0\]"),
        ({"jacobians": 7}, "jacobians = 7: 1 to 6"),
    ],
)
def test_what_makes_no_step_is_refused(wrong: dict[str, Any], message: str) -> None:
    right: dict[str, Any] = {"sizes": [3, 2], "rule": "bp", "batch": 1}
    with pytest.raises(UserError, match=message):
        operations(**(right | wrong))


def test_a_training_without_samples_or_batch_is_refused() -> None:
    with pytest.raises(UserError, match="samples = 0"):
        training([3, 2], "bp", 0)
    with pytest.raises(UserError, match="batch = 0"):
        training([3, 2], "bp", 5, batch=0)


# Energies


@pytest.mark.parametrize(
    ("form", "add", "multiply"), [("int8", 0.03, 0.2), ("fp16", 0.4, 1.1), ("fp32", 0.9, 3.7)]
)
def test_operations_of_45_nm_cost_what_horowitz_prints(
    form: str, add: float, multiply: float
) -> None:
    gates = constants("horowitz2014", form)
    for macs in (Operations(macs=1000), Operations(solves=1000)):
        band = digital_energy(macs, gates)
        assert band.low == band.high == near(1e-9 * (add + multiply))
    other = digital_energy(Operations(flops=1000), gates)
    assert (other.low, other.high) == near((1e-9 * add, 1e-9 * multiply))
    tanh = digital_energy(Operations(evaluations=1000), gates)
    assert (tanh.low, tanh.high) == near((1e-9 * add, 15e-9 * multiply))


@pytest.mark.parametrize(
    ("kibibytes", "picojoules"), [(8, 10), (8.1, 20), (32, 20), (33, 100), (1024, 100), (4096, 100)]
)
def test_memory_of_45_nm_costs_what_horowitz_prints(kibibytes: float, picojoules: float) -> None:
    # Two numbers of 32 bit are one access.
    held = Operations(words=2000, resident=int(kibibytes * 1024 / 4))
    band = digital_energy(held, constants("horowitz2014", "fp32"))
    assert band.low == near(1000 * picojoules * 1e-12)
    assert band.high == near(1000 * 2.6e-9)
    samples = Operations(words=2000, samples=2000)
    assert digital_energy(samples, constants("horowitz2014", "fp32")).low == near(1.3e-6)


@pytest.mark.parametrize(
    ("card", "form", "picojoules"),
    [
        ("nvidia_a100", "bf16", 1.28),
        ("nvidia_h100", "bf16", 0.71),
        ("nvidia_h200", "bf16", 0.71),
        ("nvidia_h100", "fp32", 10.4),
        ("nvidia_h200", "fp32", 10.4),
        ("amd_epyc7742", "fp64", 97.7),
    ],
)
def test_floors_are_rated_power_over_peak_rate(card: str, form: str, picojoules: float) -> None:
    band = digital_energy(Operations(macs=10**6), constants(card, form))
    assert band.low == band.high == near(2e6 * picojoules * 1e-12, rel=5e-3)


def test_the_roofline_turns_where_memory_and_arithmetic_take_as_long() -> None:
    # 400 W for as long as 2.039 TB/s need for a megabyte, or 312 / ps for its operations.
    a100 = constants("nvidia_a100", "bf16")
    energy = 400 * 1e6 / 2.039e12
    turn = round(312e12 * 1e6 / 2.039e12 / 2)
    for macs, expected in ((1, energy), (turn // 2, energy), (2 * turn, 2 * energy)):
        band = digital_energy(Operations(macs=macs, words=500_000), a100)
        assert band.high == near(expected, rel=1e-5)
        assert band.low == near(energy * macs / turn, rel=1e-5)
    assert "memory is the limit" in digital_energy(Operations(words=10), a100).reason


@settings(max_examples=30)
@given(
    rule=st.sampled_from(list(COUNTS)),
    sizes=layer_sizes(),
    batch=st.integers(1, 40),
    factor=st.integers(2, 50),
)
def test_every_band_has_a_width_a_reason_and_grows_with_the_work(
    rule: str, sizes: list[int], batch: int, factor: int
) -> None:
    done = operations(sizes, rule, batch, steps=3)
    for name in builtin_digital_cards():
        for c in DigitalCard.load(name).constants():
            one, many = digital_energy(done, c), digital_energy(done.repeated(factor), c)
            assert 0 < one.low < one.high
            assert one.reason.startswith("low: ")
            assert "high: " in one.reason
            assert (many.low, many.high) == near((factor * one.low, factor * one.high))


def test_the_baseline_has_every_rule_on_every_machine_with_its_source() -> None:
    rows = baseline([8, 6, 3], ("bp", "dfc"), 40, 2, batch=16, steps=10)
    machines = [c for n in builtin_digital_cards() for c in DigitalCard.load(n).constants()]
    assert [(r.rule, r.machine, r.source) for r in rows] == [
        (rule, c.name, c.source) for rule in ("bp", "dfc") for c in machines
    ]
    for row, c in zip(rows, 2 * machines, strict=True):
        done = training([8, 6, 3], row.rule, 40, 2, batch=16, steps=10)
        assert row.operations == done
        assert row.bytes == done.words * c.bits // 8
        assert row.energy == digital_energy(done, c)
        assert row.per_sample.low == near(row.energy.low / 80)
    cells = digital_cells(rows)
    assert len(cells) == len(rows)
    assert all(" .. " in line[-1] and line[-1].endswith("J") for line in cells)
    assert len(sources(rows)) == len(builtin_digital_cards())
    whole = spread(rows)
    assert whole.low == min(r.per_sample.low for r in rows)
    assert whole.high == max(r.per_sample.high for r in rows)
    with pytest.raises(UserError, match="no rows"):
        spread([])


def test_simulating_the_loop_costs_a_few_hundred_times_backpropagation() -> None:
    card = [DigitalCard.load("horowitz2014")]
    bp_row, dfc_row = (
        baseline(MNIST, (rule,), 32, batch=32, steps=1000, cards=card)[-1] for rule in ("bp", "dfc")
    )
    assert 200 < dfc_row.operations.total / bp_row.operations.total < 500
    assert dfc_row.energy.low > bp_row.energy.high


def test_the_benchmark_has_the_published_network_steps_and_epochs() -> None:
    rows = {row.rule: row for row in benchmark.digital_rows()}
    for rule in COUNTS:
        done = training(MNIST, rule, 55_000, 100, batch=32, steps=1000, optimizer="adam")
        assert rows[rule].operations == done


@pytest.fixture(scope="module")
def small_chip() -> benchmark.Chips:
    return benchmark.on_the_chip((5, 4, 2))


def test_the_benchmark_lays_machines_and_chip_side_by_side_with_their_sources(
    small_chip: benchmark.Chips, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(benchmark, "on_the_chip", lambda: small_chip)
    monkeypatch.setattr(benchmark, "why_not_measured", lambda: "there is no GPU")
    assert benchmark.main() == 0
    printed = capsys.readouterr().out
    for word in ("dfc-ss-simulated", "Horowitz 2014, 45 nm, fp32", "ISSCC 2014", "low: "):
        assert word in printed
    assert "Nothing was measured: there is no GPU" in printed
    assert all(f"of {n} x {n}" in printed for n in benchmark.TILES)
    assert f"{small_chip.found.update_angle:.1f} degrees from the ideal network's" in printed
    (line,) = [line for line in printed.splitlines() if "analog chip, discrete_100mhz" in line]
    band = benchmark.chip_band(small_chip.found)
    assert band_text(band) in line
    assert band_text(band.scaled(100 * 55_000)) in line
    assert "analog chip: Behavioural 100 MHz op-amps" in printed


def test_the_benchmark_prints_measured_rows_where_there_are_any(
    small_chip: benchmark.Chips, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    row = baseline([5, 4, 2], ("dfc",))[0]
    energy = Band(1e-3, 2e-3, "low: least of 3 measurements; high: most of 3 measurements")
    ours = replace(row, machine="a GPU (measured), fp32", source="NVML", energy=energy)
    monkeypatch.setattr(benchmark, "on_the_chip", lambda: small_chip)
    monkeypatch.setattr(benchmark, "why_not_measured", lambda: None)
    monkeypatch.setattr(benchmark, "measured_rows", lambda: [ours])
    assert benchmark.main() == 0
    printed = capsys.readouterr().out
    (line,) = [line for line in printed.splitlines() if "1 mJ .. 2 mJ" in line]
    assert "a GPU (measured), fp32" in line
    assert "a GPU (measured), fp32, dfc: low: least of 3 measurements" in printed
    assert "a GPU (measured): NVML" in printed
    assert "Nothing was measured" not in printed


def test_the_chips_band_holds_the_cards_own_figure_and_each_imperfection_turns_its_update(
    small_chip: benchmark.Chips,
) -> None:
    found = small_chip.found
    band = benchmark.chip_band(found)
    assert band.low <= found.joules <= band.high
    assert found.method == "closed form"
    assert all(0 < degrees < 90 for degrees in small_chip.alone.values())
    others = [n for n in found.design.card.imperfections if n != "amplifier offset"]
    alone = found.design.on(found.design.card.without(*others))
    data = stimuli_for(example((5, 4, 2), 0)[0].network, 2, 0)
    update = ideal_update(found.design, data.x, data.step)
    chip = StaticChip.of(Chip.of(alone, 0))
    turned = chip.gradient(chip.solve(data.x, data.step)).flat()
    cosine = float(update @ turned / (update.norm() * turned.norm()))
    assert small_chip.alone["amplifier offset"] == pytest.approx(math.degrees(math.acos(cosine)))


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0 J"), (1.234e-3, "1.23 mJ"), (0.9996, "1 J"), (999.6e-6, "1 mJ"), (5e4, "50 kJ"),
     (1, "1 J"), (999, "999 J"), (2e-17, "0.02 fJ"), (1e3, "1 kJ")],
)  # fmt: skip
def test_numbers_are_written_with_three_digits_and_a_prefix(value: float, text: str) -> None:
    assert engineering(value, "J") == text


def test_a_number_may_have_more_digits() -> None:
    assert engineering(23.456e6, "Hz", digits=4) == "23.46 MHz"
    assert engineering(999.96e3, "Hz", digits=4) == "1 MHz"


# Cards


CARD = """
[card]
kind = "digital"
name = "a"
source = "b"
[processor]
power = { value = 1, unit = "W", source = "c" }
bandwidth = { value = 1, unit = "GB/s", source = "c" }
[[peak]]
format = "fp32"
bits = 32
matrix = { value = 1, unit = "GHz", source = "c" }
vector = { value = 1, unit = "1/ns", source = "c" }
"""


def test_a_card_is_read_in_si_units() -> None:
    (c,) = DigitalCard.parse(CARD).constants()
    assert c.name == "a, fp32"
    assert digital_energy(Operations(macs=1), c).low == near(2e-9)
    assert digital_energy(Operations(words=1), c).high == near(4e-9)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('kind = "digital"', "", 'kind = "digital" marks one'),
        ('unit = "W", source = "c"', 'unit = "W"', r"\[processor\] power.*missing source"),
        ('unit = "W"', 'unit = "V"', "unit 'V' is not a unit of W"),
        ("power =", "watts =", "unknown key 'watts'"),
        ("bits = 32", "bits = 0", r"\[peak\] no. 1 bits"),
        ("value = 1, unit = \"W\"", 'value = -1, unit = "W"', "greater than 0"),
        ("[[peak]]", "[[sram]]", "sram"),
        ("name =", "name", "not a TOML file"),
    ],
)  # fmt: skip
def test_a_wrong_card_is_answered_with_the_place(old: str, new: str, message: str) -> None:
    assert old in CARD
    with pytest.raises(UserError, match=f"mine: .*{message}"):
        DigitalCard.parse(CARD.replace(old, new, 1), "mine")


def test_a_card_is_either_gates_or_a_processor() -> None:
    with pytest.raises(UserError, match=r"mine: either .* are needed"):
        DigitalCard.parse(CARD.partition("[[peak]]")[0], "mine")
    dram = 'least = { value = 1, unit = "pJ", source = "c" }'
    both = f"{CARD}[dram]\n{dram}\n{dram.replace('least', 'most')}\n"
    with pytest.raises(UserError, match="either"):
        DigitalCard.parse(both, "mine")


def test_an_unknown_card_is_answered_with_those_there_are(tmp_path: Any) -> None:
    with pytest.raises(UserError, match=r"unknown digital card 'cray'.*amd_epyc7742, horowitz2014"):
        DigitalCard.load("cray")
    with pytest.raises(UserError, match="can't read"):
        DigitalCard.load(tmp_path / "none.toml")
    (tmp_path / "own.toml").write_text(CARD)
    assert DigitalCard.load(tmp_path / "own.toml").card.name == "a"


# Power


class FakeNVML:
    """A GPU of 50 W at rest and 300 W at work, and the clock that its counter goes by."""

    class NVMLError(Exception):
        pass

    def __init__(self) -> None:
        self.now, self.joules, self.open = 0.0, 1000.0, 0
        self.counts = True
        self.asked: list[str] = []

    def nvmlInit(self) -> None:
        self.open += 1

    def nvmlShutdown(self) -> None:
        self.open -= 1

    def nvmlDeviceGetHandleByUUID(self, identity: str) -> str:
        self.asked.append(identity)
        return "gpu"

    def nvmlDeviceGetTotalEnergyConsumption(self, handle: str) -> int:
        if not self.counts:
            raise self.NVMLError("Not Supported")
        return round(1e3 * self.joules)

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.joules += 50 * seconds

    def work(self) -> None:
        self.now += 0.25
        self.joules += 300 * 0.25


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> FakeNVML:
    fake = FakeNVML()
    monkeypatch.setitem(sys.modules, "pynvml", fake)
    clock = SimpleNamespace(sleep=fake.sleep, perf_counter=lambda: fake.now)
    monkeypatch.setattr(power, "time", clock)
    for name, value in {
        "is_available": lambda: True,
        "device_count": lambda: 1,
        "synchronize": lambda device: None,
        "get_device_properties": lambda device: SimpleNamespace(uuid="1234-abcd"),
        "get_device_name": lambda device: "a GPU",
    }.items():
        monkeypatch.setattr(torch.cuda, name, value)
    return fake


def test_power_is_told_with_and_without_what_an_idle_gpu_takes(gpu: FakeNVML) -> None:
    found = measure_power(gpu.work, seconds=2.0, idle_seconds=1.0)
    assert found.watts == near(300)
    assert found.idle_watts == near(50)
    assert (found.calls, found.seconds) == (8, 2.0)
    assert found.joules == near(75)
    assert found.incremental_joules == near(75 - 0.25 * 50)
    assert found.device == "a GPU"
    assert gpu.asked == ["GPU-1234-abcd"]
    assert gpu.open == 0


def test_a_gpu_without_an_energy_counter_is_an_error(gpu: FakeNVML) -> None:
    gpu.counts = False
    with pytest.raises(UserError, match="doesn't tell its energy: Not Supported"):
        measure_power(gpu.work)
    assert gpu.open == 0


def test_what_a_measurement_lacks_is_named(gpu: FakeNVML, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match=r"seconds = 0\.0"):
        measure_power(gpu.work, seconds=0.0)
    with pytest.raises(UserError, match="device 1: there are 1 CUDA devices"):
        measure_power(gpu.work, device=1)
    monkeypatch.setitem(sys.modules, "pynvml", None)
    with pytest.raises(UserError, match="package nvidia-ml-py"):
        measure_power(gpu.work)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match="no CUDA device"):
        measure_power(gpu.work)


@pytest.mark.cuda
def test_a_gpu_at_work_takes_more_than_at_rest() -> None:
    pytest.importorskip("pynvml")
    a = torch.rand(4096, 4096, device="cuda")
    found = measure_power(lambda: a @ a, seconds=3.0)
    assert found.watts > found.idle_watts > 0
    assert found.joules == near(found.watts * found.seconds / found.calls)


def test_a_band_scales_with_both_ends() -> None:
    assert Band(1.0, 3.0, "why").scaled(2.0) == Band(2.0, 6.0, "why")

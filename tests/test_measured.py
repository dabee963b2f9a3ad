"""Measured rows of the digital baseline: our training steps, on a GPU that is played by a fake."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from analogdfc.digital import baseline, digital_cells, measured, operations, power, sources
from analogdfc.digital.measured import FORMATS, training_step, why_not_measured
from analogdfc.digital.training import COUNTS
from analogdfc.errors import UserError
from analogdfc.learning import DFC, AnalyticDFC, SteadyStateDFC

SIZES = [6, 5, 3]
IDLE, BUSY = 50.0, (300.0, 310.0, 290.0)
STEP = 0.25
"""Watts at rest and, measurement by measurement, at work; seconds of a step."""


class FakeGPU:
    """A GPU with its NVML and the clock that its counter goes by."""

    class NVMLError(Exception):
        pass

    def __init__(self) -> None:
        self.now, self.joules, self.rests = 0.0, 1000.0, 0
        self.watts: tuple[float, ...] = BUSY
        self.refuses = False
        self.steps: list[tuple[str, str]] = []

    def nvmlInit(self) -> None:
        pass

    def nvmlShutdown(self) -> None:
        pass

    def nvmlDeviceGetHandleByUUID(self, identity: str) -> str:
        return identity

    def nvmlDeviceGetTotalEnergyConsumption(self, handle: str) -> int:
        if self.refuses:
            raise self.NVMLError("Not Supported")
        return round(1e3 * self.joules)

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.joules += IDLE * seconds
        self.rests += 1

    def work(self) -> None:
        self.now += STEP
        self.joules += self.watts[(self.rests - 1) % len(self.watts)] * STEP


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> FakeGPU:
    """The fake in place of NVML, of PyTorch's CUDA, and of the device on which steps are done."""
    fake = FakeGPU()
    monkeypatch.setitem(sys.modules, "pynvml", fake)
    monkeypatch.setattr(
        power, "time", SimpleNamespace(sleep=fake.sleep, perf_counter=lambda: fake.now)
    )
    for name, value in {
        "is_available": lambda: True,
        "device_count": lambda: 1,
        "synchronize": lambda device: None,
        "get_device_properties": lambda device: SimpleNamespace(uuid="1234-abcd"),
        "get_device_name": lambda device: "a GPU",
    }.items():
        monkeypatch.setattr(torch.cuda, name, value)

    def on_the_cpu(sizes: Any, rule: str, batch: int, **options: Any) -> Callable[[], object]:
        assert options.pop("device") == "cuda:0"
        step = training_step(sizes, rule, batch, device="cpu", **options)

        def timed() -> object:
            fake.work()
            fake.steps.append((rule, options["number_format"]))
            return step()

        return timed

    monkeypatch.setattr(measured, "training_step", on_the_cpu)
    return fake


def rows_of(rules: tuple[str, ...] = ("bp",), **options: Any) -> list[measured.MeasuredRow]:
    given = {"seconds": 1.0, "idle_seconds": 1.0, "steps": 4, **options}
    return measured.measured(SIZES, rules, 8, **given)


def test_a_row_is_the_energy_of_a_sample_beyond_that_of_an_idle_gpu(gpu: FakeGPU) -> None:
    row, _ = rows_of(samples=100, epochs=2)
    joules = [STEP * (watts - IDLE) / 8 for watts in BUSY]
    assert row.per_sample.low == pytest.approx(min(joules))
    assert row.per_sample.high == pytest.approx(max(joules))
    assert row.energy.high == pytest.approx(200 * max(joules))
    assert row.mean == pytest.approx(sum(joules) / 3)
    assert row.whole == pytest.approx(STEP * sum(BUSY) / 3 / 8)
    assert row.seconds == pytest.approx(STEP / 8)
    assert row.idle_watts == pytest.approx(IDLE)
    assert (row.repeats, row.samples) == (3, 200)
    assert row.energy.reason == (
        "low: least of 3 measurements; high: most of 3 measurements; mean 7.81 J a sample, beyond "
        "the 50 W of the idle GPU"
    )


def test_every_rule_is_measured_in_both_formats_and_lies_in_the_table_of_the_others(
    gpu: FakeGPU,
) -> None:
    rows = rows_of(tuple(COUNTS), repeats=1)
    assert [(row.rule, row.machine) for row in rows] == [
        (rule, f"a GPU (measured), {form}") for rule in COUNTS for form in FORMATS
    ]
    assert list(dict.fromkeys(gpu.steps)) == [(rule, form) for rule in COUNTS for form in FORMATS]
    for row, bits in zip(rows, len(COUNTS) * [32, 64], strict=True):
        counted = operations(SIZES, row.rule, 1, steps=4)
        assert row.operations == counted
        assert row.bytes == counted.bytes(bits)
    everything = [*baseline(SIZES, ("bp",)), *rows]
    assert len(digital_cells(everything)) == len(everything)
    (line,) = [line for line in sources(everything) if line.startswith("a GPU (measured): ")]
    assert "NVML energy counter, analogdfc " in line


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize(
    ("name", "kind"),
    [("dfc", DFC), ("dfc-ss", SteadyStateDFC), ("dfc-ssa", AnalyticDFC), ("bp", object)],
)
def test_a_step_is_the_rules_own_with_an_optimiser(name: str, kind: type, form: str) -> None:
    step = training_step(SIZES, name, 4, number_format=form, device="cpu", steps=3)
    rule: Any = step()
    assert issubclass(type(rule), kind)
    assert all(w.dtype == FORMATS[form] for w in rule.network.weights)
    assert all(float(w.grad.norm()) > 0 for w in rule.network.weights)
    if name == "dfc":
        assert rule.steps == 3


def test_a_step_moves_the_weights_along_the_gradient_and_hardly_at_all() -> None:
    step = training_step(SIZES, "bp", 4, device="cpu")
    weights: list[Any] = list(step().network.weights)
    before = [w.detach().clone() for w in weights]
    step()
    moved = [w.detach() - b for w, b in zip(weights, before, strict=True)]
    slope = sum(float((m * w.grad).sum()) for m, w in zip(moved, weights, strict=True))
    assert slope < 0
    assert max(float(m.abs().max()) for m in moved) < 1e-6


def test_the_steady_state_of_a_simulation_is_simulated() -> None:
    rule: Any = training_step(SIZES, "dfc-ss-simulated", 4, device="cpu", steps=3)()
    assert (rule.newton, rule.steps) == (False, 3)
    rule = training_step(SIZES, "dfc-ss", 4, device="cpu")()
    assert rule.newton


def test_samples_on_which_newton_fails_are_told(
    gpu: FakeGPU, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = rows_of(("dfc-ss",))[0]
    assert "simulated" not in plain.energy.reason
    original = SteadyStateDFC.backward

    def failing(self: SteadyStateDFC, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        self.simulated += 1
        return original(self, x, y)

    monkeypatch.setattr(SteadyStateDFC, "backward", failing)
    assert "Newton's method failed were simulated" in rows_of(("dfc-ss",))[0].energy.reason


def test_why_nothing_is_measured_is_one_line(gpu: FakeGPU, monkeypatch: pytest.MonkeyPatch) -> None:
    assert why_not_measured() is None
    gpu.refuses = True
    assert why_not_measured() == (
        "power can't be measured: this GPU doesn't tell its energy: Not Supported"
    )
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert "package nvidia-ml-py" in str(why_not_measured())
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert why_not_measured() == "power can't be measured: there is no CUDA device"
    assert why_not_measured("cpu") == "device 'cpu': energy is measured on CUDA devices only"


def test_a_step_that_drowns_in_the_idle_gpu_is_no_number(gpu: FakeGPU) -> None:
    gpu.watts = (300.0, IDLE, 300.0)
    with pytest.raises(UserError, match="bp, fp32: a step takes no more than the idle GPU"):
        rows_of()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"repeats": 0}, "repeats = 0"),
        ({"seconds": 0.0}, r"seconds = 0\.0"),
        ({"samples": 0}, "samples = 0"),
        ({"rules": ("sp",)}, "unknown rule 'sp'"),
        ({"optimizer": "rms"}, "unknown optimiser 'rms'"),
        ({"device": "cpu"}, "device 'cpu': energy is measured on CUDA devices only"),
        ({"device": "tpu9"}, "unknown device 'tpu9'"),
        ({"device": "cuda:1"}, "device 1: there are 1 CUDA devices"),
    ],
)
def test_what_can_not_be_measured_is_refused(
    gpu: FakeGPU, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        rows_of(**options)


def test_an_unknown_format_is_refused() -> None:
    with pytest.raises(UserError, match="unknown format 'int8'; there are fp32, fp64"):
        training_step(SIZES, "bp", 1, number_format="int8", device="cpu")


def test_progress_is_told_after_each_measurement(gpu: FakeGPU) -> None:
    told: list[int] = []
    rows_of(repeats=2, progress=lambda: told.append(1))
    assert len(told) == 2 * len(FORMATS)


@pytest.mark.cuda
def test_simulating_the_loop_takes_more_on_a_gpu_than_backpropagation() -> None:
    if why := why_not_measured():
        pytest.skip(why)
    bp, _, dfc, _ = measured.measured([784, 256, 10], ("bp", "dfc"), 128, repeats=2)
    assert 0 < bp.per_sample.high < dfc.per_sample.low
    assert 0 < dfc.mean < dfc.whole

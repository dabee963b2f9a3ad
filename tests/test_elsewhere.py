"""What runs on the CPU runs on another device, with the same numbers."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from strategies import network_of
from torch import Tensor

from analogdfc import records
from analogdfc.arrays.layers import analog
from analogdfc.circuit.averages import Until
from analogdfc.circuit.behavioural import Behavioural
from analogdfc.circuit.chip import Chip
from analogdfc.circuit.static import StaticChip
from analogdfc.cli import _training, cli
from analogdfc.dynamics.trajectory import Update
from analogdfc.errors import UserError
from analogdfc.onchip.registry import RULES
from benchmarks import gpu
from benchmarks._measure import case

SMALL = ["train", "--dataset", "digits-4x4", "--samples", "32", "--sizes", "16-6-10"]
OF_RULE = {
    "dfc": ["--steps", "30"],
    "dfc-single-phase": ["--steps", "260"],
    "tp": ["--sizes", "16-16-16", "--autoencoder"],
}
OTHERS = [
    ["--rule", "dfc", "--integrator", "radau"],
    ["--rule", "dfc", "--steps", "30", "--dtype", "float32"],
    ["--rule", "dfc", "--steps", "30", "--feedback-width", "12"],
    ["--rule", "dfc-ss", "--feedback-width", "12", "--feedback", "learned"],
    ["--rule", "dfc-ss", "--controller", "PID", "--k-d", "0.1"],
    ["--rule", "dfc-ss", "--simulate", "--steps", "50"],
    ["--rule", "dfc-ssa", "--sizes", "16-10-8-10", "--batch-size", "100"],
    ["--rule", "dfc-ssa", "--sizes", "16-4-16", "--autoencoder"],
    ["--rule", "dfc-ssa", "--alignment", "bp,mn:0.1,gn,gnt:1", "--every", "1"],
    ["--rule", "dfc-chip", "--devices", "ecram_mo_kim2019"],
    ["--rule", "dfc-chip", "--devices", "pcm_nandakumar2019", "--age", "1h"],
    ["--through", "behavioural", "--samples", "10", "--card", "update_pulses"],
]


@pytest.fixture
def there(device: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The other device, which the command line takes for one that it knows."""
    monkeypatch.setattr(_training, "device_of", torch.device)
    return device


@pytest.mark.parametrize("options", [["--rule", name, *OF_RULE.get(name, [])] for name in RULES])
def test_every_rule_trains_there_and_goes_on(
    options: list[str], there: str, tmp_path: Path
) -> None:
    _train_twice(options, there, tmp_path)


@pytest.mark.parametrize("options", OTHERS, ids=" ".join)
def test_all_that_a_training_is_made_of_runs_there(
    options: list[str], there: str, tmp_path: Path
) -> None:
    _train_twice(options, there, tmp_path)


def _train_twice(options: list[str], device: str, folder: Path) -> None:
    """One epoch and another after it, as two in a row, of finite weights."""
    command = [*SMALL, *options, "--device", device]
    for name, epochs in (("two", "2"), ("one", "1"), ("one", "2")):
        done = CliRunner().invoke(
            cli, [*command, "--epochs", epochs, "--resume", "-o", str(folder / f"{name}.h5")]
        )
        assert done.exit_code == 0, done.output
    one, two = (records.read(folder / f"{name}.h5") for name in ("one", "two"))
    for name in ("W1", "W2", "b1", "b2"):
        weights = torch.from_numpy(one.array(f"network/{name}"))
        assert bool(weights.isfinite().all())
        torch.testing.assert_close(weights, torch.from_numpy(two.array(f"network/{name}")))


@pytest.mark.parametrize(
    ("sizes", "tile", "chips", "dtype", "until"),
    [
        ([3, 2, 2], 0, 2, torch.float64, None),
        ([5, 4, 3, 2], 4, 1, torch.float64, Until(0.05)),
        ([3, 2, 2], 0, 1, torch.float32, Until(0.05)),
    ],
)
def test_the_update_of_a_chip_is_the_same_there(
    sizes: list[int],
    tile: int,
    chips: int,
    dtype: torch.dtype,
    until: Until | None,
    device: str,
) -> None:
    here = case(sizes, 0, 1)
    here = here.in_tiles(tile) if tile else here
    drawn = [Chip.of(here.design, k) for k in range(chips)]

    def found(place: str) -> Tensor:
        model = Behavioural(drawn, device=place, dtype=dtype)
        return _flat(*model.average(here.x, here.step, dt=here.dt, steps=here.steps, until=until))

    allowed = 1e-9 if dtype == torch.float64 else 1e-4
    assert _apart(found(device), found("cpu")) < allowed


@pytest.mark.parametrize(("sizes", "tile"), [([3, 4, 2], 0), ([20, 12, 8], 8)])
def test_a_chip_at_rest_is_the_same_there(sizes: list[int], tile: int, device: str) -> None:
    here = case(sizes, 0, 3)
    here = here.in_tiles(tile) if tile else here

    def found(place: str) -> Tensor:
        static = StaticChip.of(Chip.of(here.design, 0)).to(place)
        return _flat(static.update(static.solve(here.x.to(place), here.step.to(place))))

    assert _apart(found(device), found("cpu")) < 1e-12


def _flat(*updates: Update) -> Tensor:
    return torch.cat([t.flatten().cpu() for u in updates for t in (*u.weights, *u.biases)])


def _apart(one: Tensor, other: Tensor) -> float:
    return float((one - other).norm() / other.norm())


def test_devices_stay_where_they_were_made(device: str) -> None:
    network = analog(network_of([4, 3, 2]), "ideal", 1)
    with pytest.raises(UserError, match=f"arrays of devices stay on cpu: move .* {device}:0 first"):
        network.to(device)
    assert {p.device.type for p in network.parameters()} == {"cpu"}
    assert network.float().weights[0].dtype == torch.float32


def test_the_benchmark_of_a_gpu_compares_like_with_like(
    device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wait() -> None:
        return None

    monkeypatch.setattr(gpu, "_REPEATS", 0)
    monkeypatch.setattr(gpu, "SIZES", [6, 5, 4, 3])
    pairs = [
        gpu.captured(device, wait, 4, 150),
        gpu.in_time(device, wait, [3, 2, 2], 1),
        gpu.at_rest(device, wait, [9, 4, 2], 5, 4),
    ]
    assert all(pair.fast > 0 and pair.slow > 0 for pair in pairs)
    assert all(pair.apart < gpu.APART for pair in pairs)

"""Where the runs of a command are done: as data they are the same anywhere."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest
import torch
from click.testing import CliRunner, Result
from strategies import network_of

from analogdfc.arrays.mapping import Balanced
from analogdfc.cards.technology import Card
from analogdfc.circuit.chip import Chip
from analogdfc.circuit.design import Design
from analogdfc.circuit.devices import Devices
from analogdfc.cli import cli
from analogdfc.cost.sweep import PointRun
from analogdfc.datasets import Dataset
from analogdfc.feedback import DirectFeedback
from analogdfc.inverting import InversionBench, InversionDesign, chips
from analogdfc.inverting.rules import inversion_rule
from analogdfc.jobs import Run, Shared, work
from analogdfc.jobs.described import Store, described, made
from analogdfc.kits import get_kit
from analogdfc.montecarlo.chips import _Some
from analogdfc.montecarlo.circuits import _One
from analogdfc.montecarlo.lot import Lot
from analogdfc.network import Network
from analogdfc.onchip._run import Course, Given, Goal, TrainingRun
from analogdfc.reproduction import ITEMS, Scope
from analogdfc.sizing.polish import Polished, Start
from analogdfc.sizing.specification import default_ranges
from analogdfc.sizing.trial import Outcome, Problem
from analogdfc.sizing.workers import Evaluated, Unseen, Workers
from analogdfc.spice.batch import BatchProcess
from analogdfc.spice.netlist import Netlist
from analogdfc.spice.sample import SampleRun
from analogdfc.spice.testbench import Testbench as Bench
from analogdfc.study import Cells, Study

SMALL = ["montecarlo", "--sizes", "2-2-1", "--samples", "1", "--duration", "3", "--chips", "3",
         "--together", "2"]  # fmt: skip


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, list(arguments))


def runs_of_commands() -> dict[str, Run[Any]]:
    network = network_of([2, 2, 1])
    card = Card.load("discrete_100mhz")
    design = Design.of(network, DirectFeedback.transposed(network), card)
    x, step = torch.tensor([[0.4, -0.3]]).double(), torch.tensor([[0.1]]).double()
    lot = Shared(Lot(Study(design, x, step, steps=30)))
    kit = get_kit("generic", "ss", mismatch=True)
    cells = Cells("transistor", BatchProcess("sparse"), seed=1, kit=kit, celsius=60.0)
    ranges = default_ranges(design.tau_v_seconds)
    problem = Problem.of(design, x, step, seeds=(0,), max_angle=5.0, ranges=ranges)
    workers = Shared(Workers(problem))
    devices = Devices.of("pcm_nandakumar2019", scheme=Balanced())
    data = Dataset(x, step, x, step)
    given = Given(data, (2, 2, 1), card, devices, Course(), Goal(0.1, "loss", 4, 1))
    return {
        "chips": _Some(lot, (1, 2)),
        "circuit": _One(lot, cells, 0),
        "sample": sample_run(design, x, step),
        "sample of an inversion": inversion_run(network, card),
        "sweep": PointRun(design, 0, x, step, "amplifier.gain", 1e3, {"until": "update"}),
        "training on a chip": TrainingRun(Shared(given), "hardware", 3),
        "trial": Evaluated(workers, {"gain": 1e3}),
        "further chip": Unseen(workers, ({"gain": 1e3}, 4)),
        "polish": Polished(workers, Start(Outcome({"gain": 1e3}, 3.0), 4.0)),
    }


def sample_run(design: Design, x: torch.Tensor, step: torch.Tensor) -> SampleRun:
    netlist = Netlist.of(Chip.of(design, 3), "macro")
    bench = Bench(netlist.chip, x[0], step[0], duration=3.0, max_step=0.1)
    return SampleRun(netlist, bench, BatchProcess("sparse"), 60.0, 30, 1)


def inversion_run(network: Network, card: Card) -> SampleRun:
    design = InversionDesign.placed(inversion_rule("di", network), card)
    netlist = Netlist.of(chips(design, 3)[0], "ideal")
    bench = InversionBench.of(design, 0, netlist.chip, torch.tensor([0.1]).double(), 2.0)
    return SampleRun(netlist, bench, BatchProcess("sparse"), 60.0, 20, 1)


def test_what_a_worker_makes_of_a_run_is_the_same_run(tmp_path: Path) -> None:
    every = runs_of_commands()
    for name, item in ITEMS.items():
        every[name] = item.runs(Scope(quick=True))[-1]
    store = Store(tmp_path / "data")
    for name, one in every.items():
        there = made(json.loads(json.dumps(described(one, store))), store)
        assert (type(there), there.key) == (type(one), one.key), name
        assert there.made_with() == one.made_with(), name


@contextmanager
def worker(folder: Path) -> Iterator[None]:
    """Works as long as its driver: one that offers runs in waves has none between two of them."""
    ended = Event()

    def works() -> None:
        while not ended.wait(0.05):
            if (folder / "open").exists():
                work(folder, every=0.05)

    thread = Thread(target=works)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def test_chips_that_workers_of_a_folder_run_give_the_same_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    here = run(*SMALL, "--jobs", "1", "-o", "m.h5")
    assert here.exit_code == 0, here.output
    expected = Path("m.h5").rename("here.h5").read_bytes()
    with worker(Path("shared")):
        there = run(*SMALL, "--on", "spool", "--address", "shared", "-o", "m.h5")
    assert there.exit_code == 0, there.output
    assert Path("m.h5").read_bytes() == expected
    assert not Path("m.runs").exists()
    assert not list(Path("shared").glob("*.h5"))


@pytest.mark.parametrize("rule", ["dfc", "di-single-loop"])
def test_circuits_that_workers_of_a_folder_simulate_give_the_same_record(
    rule: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    compare = ["compare", "--sizes", "2-2-1", "--samples", "2", "--duration", "3", "--rule", rule,
               "--fidelity", "ideal", "--no-causes", "-o", "c.h5"]  # fmt: skip
    here = run(*compare, "--jobs", "1")
    assert here.exit_code == 0, here.output
    expected = Path("c.h5").rename("here.h5").read_bytes()
    with worker(Path("shared")):
        there = run(*compare, "--on", "spool", "--address", "shared")
    assert there.exit_code == 0, there.output
    assert there.stdout == here.stdout
    assert Path("c.h5").read_bytes() == expected
    assert not list(Path("shared/failed").glob("*"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--on", "spool"], "the engine spool needs an address: a folder that all machines share"),
        (["--address", "here"], "address 'here': the engine processes has none"),
        (["--on", "ray"], "'ray' is not one of 'processes', 'dask', 'spool'"),
        (["--on", "spool", "--address", "s", "--jobs", "2"], "--jobs: --on spool: as many runs"),
        (["--on", "spool", "--address", "montecarlo.runs"], "workers need a folder of their own"),
        (["--on", "dask", "--address", "none.json"], "none.json: can't be read: No such file"),
    ],
)
def test_a_place_that_there_is_not_is_one_line(
    options: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = run(*SMALL, *options)
    assert result.exit_code == 2
    assert message in result.stderr
    assert not list(tmp_path.glob("*.h5"))


def test_one_run_has_no_other_place() -> None:
    result = run("estimate", "--sizes", "2-2-1", "--on", "dask")
    assert "--on: there is one run; needs --sweep or --target-accuracy" in result.stderr

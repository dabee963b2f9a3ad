"""A circuit that stays loaded in ngspice gives what a fresh one does, whatever ran before."""

from __future__ import annotations

import os
import re
import signal

import numpy as np
import pytest
import torch

from analogdfc.circuit.chip import Chip
from analogdfc.circuit.conductances import Pair
from analogdfc.errors import TimeLimitError, UserError
from analogdfc.network import Network
from analogdfc.onchip.substrate import ChipSubstrate
from analogdfc.spice.batch import BatchProcess
from analogdfc.spice.circuit import Circuit
from analogdfc.spice.loaded import Loaded
from analogdfc.spice.netlist import Netlist
from analogdfc.spice.simulator import Simulator, Waveforms
from analogdfc.spice.testbench import Testbench as Bench

CHIP = ChipSubstrate().chip(Network([2, 2, 1], generator=torch.Generator().manual_seed(0)), 1)


def scaled(factor: float) -> Chip:
    bars = [bar for bar in CHIP.circuit.crossbars if bar.name.startswith("W")]
    pairs = [Pair(bar.plus * factor, bar.minus * factor) for bar in bars]
    return CHIP.holding(CHIP.design.weights, CHIP.design.biases, pairs)


def bench(chip: Chip, shift: float, duration: float = 1.0) -> Bench:
    x, step = torch.tensor([0.3 + shift, -0.2]).double(), torch.tensor([0.1 - shift]).double()
    return Bench(chip, x, step, duration=duration, max_step=0.02)


def run(simulator: Simulator, factor: float, shift: float, duration: float = 1.0) -> Waveforms:
    chip = scaled(factor)
    deck = Netlist.of(chip, "macro").deck(bench(chip, shift, duration).text())
    nodes = [node for group in bench(chip, shift).signals().values() for node in group]
    return simulator.run(deck, save=nodes)


def farthest(a: Waveforms, b: Waveforms) -> float:
    assert len(a.time) == len(b.time)
    return max(float(np.abs(a.signals[k] - b.signals[k]).max()) for k in a.signals)


@pytest.mark.parametrize("solver", ["auto", "sparse"])
def test_a_deck_gives_the_same_bits_whatever_ran_before_it(solver: str) -> None:
    with Loaded(solver) as kept:
        first, between, again = (run(kept, *case) for case in ((1, 0), (0.8, 0.1), (1, 0)))
        assert kept.loads == 1
    with Loaded(solver) as fresh:
        alone = run(fresh, 0.8, 0.1)
    assert farthest(first, again) == 0
    assert farthest(between, alone) == 0
    assert farthest(between, run(BatchProcess(solver), 0.8, 0.1)) < 1e-9
    assert max(np.abs(between.signals["r1_1"])) > 1e-3


def test_the_free_phase_is_that_of_a_run() -> None:
    x, step = torch.tensor([[0.3, -0.2], [0.1, 0.4]]).double(), torch.full((2, 1), 0.1).double()
    with Loaded() as kept:
        circuit = Circuit(CHIP, "macro", kept)
        outputs = circuit.outputs(x)
        found = circuit.run(x, step, dt=0.02, steps=10)
        assert kept.loads == 1
    torch.testing.assert_close(outputs, found.free.r[-1], rtol=0, atol=1e-7)


def test_another_length_needs_no_new_circuit_and_another_circuit_does() -> None:
    with Loaded() as kept:
        short, longer = run(kept, 1, 0), run(kept, 1, 0, 2.0)
        assert kept.loads == 1
        assert longer.time[-1] > 1.5 * short.time[-1]
        ideal = Netlist.of(CHIP, "ideal")
        deck = ideal.deck(bench(ideal.chip, 0.0).text())
        kept.run(deck, save=["r1_1"])
        assert kept.loads == 2


def test_crossbars_of_cells_of_ones_own_are_not_altered_blindly() -> None:
    chip = scaled(1)
    deck = Netlist.of(chip, "macro").deck(bench(chip, 0.0).text())
    own = re.sub(
        r"^Rp (\w+) (\w+) {1 / gp}", r"Rp \1 m {0.5 / gp}\nRm m \2 {0.5 / gp}", deck, flags=re.M
    )
    assert own != deck
    with Loaded() as kept:
        kept.run(own, save=["r1_1"])
        first = own.index("gp=", own.index("crossbar_w1"))
        end = own.index(" ", first)
        kept.run(own[:first] + "gp=2e-06" + own[end:], save=["r1_1"])
        assert kept.loads == 2


def test_a_session_that_dies_or_takes_too_long_is_an_error_and_the_next_run_a_fresh_one() -> None:
    with Loaded() as kept:
        before = run(kept, 1, 0)
        session = kept._session
        assert session is not None
        os.killpg(session._process.pid, signal.SIGKILL)
        session._process.wait()
        with pytest.raises(UserError, match="ended"):
            run(kept, 0.9, 0)
        assert not session.folder.exists()
        chip = scaled(1)
        deck = Netlist.of(chip, "macro").deck(bench(chip, 0.0, 1e5).text())
        with pytest.raises(TimeLimitError, match="did not finish within its time limit"):
            kept.run(deck, save=["r1_1"], time_limit=0.5)
        assert farthest(run(kept, 1, 0), before) == 0
        folder = kept._session.folder if kept._session else None
    assert folder is not None
    assert not folder.exists()

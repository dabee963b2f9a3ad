"""PySpice gets our circuit, node for node."""

from __future__ import annotations

import pytest

pytest.importorskip("PySpice")

import numpy as np

from analogdfc.circuit.chip import Chip
from analogdfc.errors import UserError
from analogdfc.spice import pyspice
from analogdfc.spice import testbench as benches
from analogdfc.spice.batch import BatchProcess
from analogdfc.spice.netlist import Netlist
from benchmarks._measure import case


def made() -> tuple[Netlist, benches.Testbench]:
    here = case((3, 4, 2), 0, 1)
    chip = Chip.of(here.design, 0)
    return Netlist.of(chip, "macro"), benches.Testbench(
        chip, here.x[0], here.step[0], duration=2.0, max_step=0.05
    )


@pytest.mark.filterwarnings("ignore::SyntaxWarning", "ignore::DeprecationWarning")
def test_pyspices_circuit_gives_the_same_waveforms() -> None:
    netlist, bench = made()
    circuit = pyspice.to_pyspice(netlist, bench.text())
    lines = bench.text().split("\n")
    analysis = "\n".join(line for line in lines if line.startswith((".options", ".tran")))
    deck = f"* {str(circuit).strip()}\n{analysis}\n.end\n"
    nodes = [node for group in bench.signals().values() for node in group]
    theirs = BatchProcess().run(deck, save=nodes)
    ours = BatchProcess().run(netlist.deck(bench.text()), save=nodes)
    for node in nodes:
        np.testing.assert_allclose(theirs.signals[node][-1], ours.signals[node][-1], rtol=1e-9)


@pytest.mark.filterwarnings("ignore::SyntaxWarning", "ignore::DeprecationWarning")
def test_its_elements_have_our_names_and_nodes() -> None:
    circuit = pyspice.to_pyspice(made()[0])
    assert [str(pin.node) for pin in circuit["Xu1"].pins] == ["un1", "up1", "vdd", "vss"]
    assert {"Xw1", "Xq2", "Xn1_4", "Xc2"} <= set(circuit.element_names)


def test_without_pyspice_the_command_that_installs_it_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pyspice, "has_pyspice", lambda: False)
    with pytest.raises(UserError, match="pip install PySpice"):
        pyspice.to_pyspice(made()[0])

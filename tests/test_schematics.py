"""Drawings of cells have the parts and the values of the netlist."""

from __future__ import annotations

import html
import importlib.util
import re
from functools import cache
from pathlib import Path

import pytest
from click.testing import CliRunner

from analogdfc.cards.technology import Card
from analogdfc.circuit.chip import Chip
from analogdfc.cli import cli
from analogdfc.controller import PID
from analogdfc.errors import UserError
from analogdfc.kits import Transistor, get_kit
from analogdfc.schematics import Cell, cells_of, draw, shown_value, write_schematics
from analogdfc.schematics.stages import stages_of
from analogdfc.spice import testbench as benches
from analogdfc.spice.batch import BatchProcess
from analogdfc.spice.netlist import Netlist
from benchmarks._measure import case

QUANTITY = {"r": "resistance", "c": "capacitance"}


@cache
def macro() -> Netlist:
    return Netlist.of(Chip.of(case((3, 4, 2), 0, 1).design, 1), "macro")


def found(name: str) -> Cell:
    return next(cell for cell in cells_of(macro()) if cell.name == name)


def words(image: bytes) -> str:
    """The texts of a drawing, each behind a blank."""
    return html.unescape(re.sub(r"<[^>]*>", " ", image.decode("utf-8"))).replace("\n", " ")


def test_there_is_a_drawing_for_every_cell_in_use() -> None:
    names = {cell.name for cell in cells_of(macro())}
    assert names == {
        "neuron_hidden", "neuron_output", "error", "control_pi", "inverter", "opamp", "tanh_cell",
        "target", "autozero", "hold", "switch", "pair_wired",
    }  # fmt: skip


def test_values_are_those_that_the_simulator_has() -> None:
    netlist, here = macro(), case((3, 4, 2), 0, 1)
    bench = benches.Testbench(
        netlist.chip, here.x[0], here.step[0], duration=1.0, max_step=0.1
    ).text()
    deck = netlist.deck(re.sub(r"^\.tran .*$", ".op", bench, flags=re.M))
    parts = {
        f"@{part.kind}.{cell.instance}.{part.name}[{QUANTITY[part.kind]}]": part.value
        for cell in cells_of(netlist)
        for part in cell.parts
        if part.kind in QUANTITY
    }
    assert len(parts) > 40
    simulated = BatchProcess().analyse(deck, analysis="op", save=[*parts]).signals
    for name, value in parts.items():
        assert value == pytest.approx(float(simulated[name][0]), rel=1e-6), name


def test_the_drawing_shows_the_values() -> None:
    cells = cells_of(macro())
    for cell in cells:
        shown = words(draw(cell))
        assert f"{cell.name}, as {cell.instance}" in shown
        for part in cell.parts:
            assert part.name in shown, (cell.name, part.name)
            if part.value is not None:
                assert part.label in shown, (cell.name, part.label)
    (soma,) = (part for part in found("neuron_hidden").parts if part.name == "csoma")
    farads = next(i for i in macro().chip.circuit.instances if i.cell == "neuron_hidden")
    assert soma.value == float(farads.values["c_f"][0])


def test_a_stage_has_its_inputs_and_its_feedback() -> None:
    (stage,), others = stages_of(found("control_pi"))
    feedback = [[p.name for g in path.groups for p in g] for path in stage.feedback]
    assert sorted(feedback) == [["ci", "rp"], ["cpi"], ["rleak"], ["xreset"]]
    assert [(path.node, path.groups[0][0].name) for path in stage.inputs] == [("ez", "ri")]
    assert [part.name for part in others] == ["xzero"]
    stages, others = stages_of(found("neuron_hidden"))
    assert [stage.output for stage in stages] == ["vffn", "v", "r", "rn", "rff"]
    assert [path.node for path in stages[2].inputs] == ["v"]
    assert not others


def test_a_differentiator_has_a_resistor_and_a_capacitor_in_series() -> None:
    here = case((3, 4, 2), 0, 1, controller=PID())
    netlist = Netlist.of(Chip.of(here.design), "macro")
    pid = next(cell for cell in cells_of(netlist) if cell.name == "control_pid")
    stage = next(s for s in stages_of(pid)[0] if s.amplifier.name == "xder")
    ((node, groups),) = stage.inputs
    assert (node, [[p.name for p in g] for g in groups]) == ("rl", [["rd"], ["cd"]])


def test_transistors_are_drawn_with_the_nodes_of_their_gates() -> None:
    here = case((3, 4, 2), 0, 1)
    chip = Chip.of(here.on(Card.load("generic")).design)
    netlist = Netlist.of(chip, "transistor", kit=get_kit("generic"))
    amplifier = next(cell for cell in cells_of(netlist) if cell.name == "opamp")
    shown = words(draw(amplifier))
    transistors = [part for part in amplifier.parts if Transistor.of(part.cell)]
    assert len(transistors) == 9
    for part in transistors:
        assert part.cell in shown
        assert set(part.nodes) <= set(shown.split())


MEMRISTOR = """\
`include "disciplines.vams"
module ionic(p, n);
  inout p, n;
  electrical p, n;
  (*type="instance"*) parameter real g = 1u;
  analog I(p, n) <+ g * V(p, n);
endmodule
"""


def test_a_device_of_ones_own_is_drawn_with_its_parameters(tmp_path: Path) -> None:
    file = tmp_path / "ionic.va"
    file.write_text(MEMRISTOR)
    chip = macro().chip
    netlist = Netlist.of(chip, "macro", cells={"device": file})
    pair = next(cell for cell in cells_of(netlist) if cell.name == "pair_wired")
    devices = {part.name: part for part in pair.parts if part.kind == "n"}
    bar = chip.circuit.crossbars[0]
    assert devices["np"].text == f"g = {float(bar.plus[0, 0]):.4g}"
    assert devices["nn"].text == f"g = {float(bar.minus[0, 0]):.4g}"
    assert devices["np"].nodes == ("po", "b")
    assert devices["np"].label in words(draw(pair))


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (49.85e-12, "F", "49.85 pF"),
        (99_999.9, "Ω", "100 kΩ"),
        (66.67e6, "Ω", "66.67 MΩ"),
        (1e15, "Ω", "open"),
        (0.0, "F", "0 F"),
        (-2e-3, "V", "-2 mV"),
        (1e-18, "F", "0.001 fF"),
    ],
)
def test_a_value_has_a_prefix(value: float, unit: str, text: str) -> None:
    assert shown_value(value, unit) == text


def test_the_command_draws_and_keeps_drawings_true(tmp_path: Path) -> None:
    def write(*options: str) -> str:
        command = ["netlist", "--sizes", "2-2-1", "-o", str(tmp_path), *options]
        result = CliRunner().invoke(cli, command)
        assert result.exit_code == 0, result.output
        return result.stdout

    assert "control_pi_c.svg" in write("--schematics")
    folder = tmp_path / "schematics"
    (folder / "mine.svg").write_text("<svg/>")
    first = (folder / "pair_wired.svg").read_bytes()
    write("--seed", "1", "--controller", "P", "--k-p", "2")
    assert (folder / "pair_wired.svg").read_bytes() != first
    assert not (folder / "control_pi_c.svg").exists()
    assert (folder / "control_p_c.svg").exists()
    assert (folder / "mine.svg").read_text() == "<svg/>"


def test_a_drawing_of_the_users_stays(tmp_path: Path) -> None:
    (tmp_path / "schematics").mkdir()
    own = tmp_path / "schematics" / "opamp.svg"
    own.write_text("<svg/>")
    with pytest.raises(UserError, match=r"opamp\.svg"):
        write_schematics(macro(), tmp_path)
    assert [*(tmp_path / "schematics").iterdir()] == [own]


def test_without_what_draws_the_error_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"schemdraw is missing.*pip install 'analogdfc\[schem"):
        draw(found("switch"))

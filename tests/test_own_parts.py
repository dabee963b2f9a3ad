"""Rules, data sets, activations, devices and cells of one's own come in from outside."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from torch import Tensor

from analogdfc import records
from analogdfc.activations import ACTIVATIONS, Activation, register_activation
from analogdfc.circuit import Chip, Devices
from analogdfc.cli import cli
from analogdfc.datasets import DATASETS, Dataset, digits, load_dataset, register_dataset
from analogdfc.devices import DeviceModel, Window
from analogdfc.errors import UserError
from analogdfc.learning import RULES, Backpropagation, register
from analogdfc.network import Network
from analogdfc.spice import Circuit, get_simulator
from analogdfc.spice.netlist import Netlist
from benchmarks._measure import case


def test_a_rule_of_ones_own_trains_from_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("analogdfc.learning.base.RULES", dict(RULES))

    @register("sign-bp", family="own", local="no", source="this test")
    class SignBackpropagation(Backpropagation):
        """Signs of the gradient."""

        def backward(self, x: Tensor, y: Tensor) -> Tensor:
            """Fill `.grad` with signs."""
            loss = super().backward(x, y)
            for p in self.network.parameters():
                assert p.grad is not None
                p.grad.sign_()
            return loss

    network = Network([4, 3, 2], generator=torch.Generator().manual_seed(0))
    rule = SignBackpropagation(network)
    rule.backward(torch.ones(2, 4, dtype=torch.float64), torch.zeros(2, 2, dtype=torch.float64))
    grads = [p.grad for p in network.parameters()]
    assert all(torch.equal(g, g.sign()) for g in grads if g is not None)
    result = CliRunner().invoke(
        cli,
        ["train", "--rule", "sign-bp", "--dataset", "xor", "--sizes", "2-3-1", "--epochs", "1",
         "-o", str(tmp_path / "own.h5")],
    )  # fmt: skip
    assert result.exit_code == 0, result.output


def test_a_data_set_of_ones_own_is_found_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("analogdfc.datasets.DATASETS", dict(DATASETS))

    def load(data: str | os.PathLike[str] | None, dtype: torch.dtype) -> Dataset:
        return digits(4, dtype=dtype)

    register_dataset("mine", "digits again", load)
    assert load_dataset("mine").x.shape == load_dataset("digits-4x4").x.shape
    with pytest.raises(UserError, match="'mine' is there already"):
        register_dataset("mine", "twice", load)


def test_an_activation_of_ones_own_makes_a_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("analogdfc.activations.ACTIVATIONS", dict(ACTIVATIONS))
    cube = Activation("cube", lambda v: v**3, lambda v: 3 * v**2, lambda r: 3 * r.abs() ** (2 / 3))
    register_activation(cube)
    network = Network([2, 3, 1], "cube")
    x = torch.ones(1, 2, dtype=torch.float64)
    v = network.run(x).v[0]
    torch.testing.assert_close(network.run(x).r[1], v**3)
    other = cube._replace(function=lambda v: v)
    with pytest.raises(UserError, match="'cube' is there already"):
        register_activation(other)


def test_a_device_model_of_ones_own_makes_the_crossbars_of_a_chip() -> None:
    here = case((3, 4, 2), 0, 1).of_devices("ideal", 0.0)
    model = DeviceModel(Window(2e-6, 42e-6, 5))
    design = case((3, 4, 2), 0, 1).design

    chip = Chip.of(replace(design, devices=Devices.of(model)), 0)
    steps = (chip.circuit.crossbars[0].plus - 2e-6) / 10e-6
    torch.testing.assert_close(steps, steps.round())
    assert Chip.of(here.design, 0).circuit.crossbars[0].plus.max() < 1e-3


OWN = """\
* Operational amplifier of one's own: one pole.
.subckt opamp inp inn out vdd vss vos=0
Bin 0 a I = 1m * (V(inp) - V(inn) + {vos})
Ra a 0 {a0 / 1m}
Ca a 0 {1m / (6.283185307179586 * gbw)}
Eout out 0 a 0 1
.ends opamp
"""


def test_a_cell_of_ones_own_takes_its_place_in_the_netlist_and_runs(tmp_path: Path) -> None:
    file = tmp_path / "opamp_own.lib"
    file.write_text(OWN)
    here = case((3, 4, 2), 0, 1)
    chip = Chip.of(here.design, 0)
    netlist = Netlist.of(chip, "macro", cells={"opamp": file})
    assert OWN.strip() in netlist.cells
    assert netlist.cells.count(".subckt opamp ") == 1
    circuit = Circuit(chip, "macro", get_simulator("batch"), cells={"opamp": file})
    run = circuit.run(here.x, here.step, dt=0.1, steps=20)
    assert torch.isfinite(run.u).all()


def test_an_option_puts_a_cell_of_ones_own_into_the_netlist_and_into_the_comparison(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine.lib").write_text(OWN)
    common = ["--sizes", "3-4-2", "--cell", "opamp=mine.lib"]
    result = CliRunner().invoke(cli, ["netlist", *common, "-o", "out"])
    assert result.exit_code == 0, result.output
    assert OWN.strip() in Path("out/cells.lib").read_text()
    short = ["--fidelity", "macro", "--samples", "1", "--duration", "2", "--no-causes"]
    result = CliRunner().invoke(cli, ["compare", *common, *short, "-o", "out.h5"])
    assert result.exit_code == 0, result.output
    record = records.read("out.h5")
    assert record.text("cells/opamp") == OWN
    for wrong in ("opamp", "=mine.lib", "opamp="):
        result = CliRunner().invoke(cli, ["netlist", "--cell", wrong, "-o", "other"])
        assert result.exit_code == 2
        assert "a cell and one file, such as opamp=my_opamp.lib" in result.stderr
    assert not Path("other").exists()


def test_a_cell_of_ones_own_may_bring_subcircuits_of_its_own(tmp_path: Path) -> None:
    file = tmp_path / "opamp_own.lib"
    inner = ".subckt leak a b r = 1k\nRa a b {r}\n.ends leak\n"
    file.write_text(OWN.replace("Ra a 0 {a0 / 1m}", "Xa a 0 leak r = {a0 / 1m}") + inner)
    here = case((3, 4, 2), 0, 1)
    circuit = Circuit(
        Chip.of(here.design, 0), "macro", get_simulator("batch"), cells={"opamp": file}
    )
    assert torch.isfinite(circuit.run(here.x, here.step, dt=0.1, steps=5).u).all()


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (OWN.replace(" vdd vss", ""), "line 2: .subckt opamp needs the pins"),
        (
            OWN.replace(" vos=0", ""),
            r"bad.lib, line 2: .*must take the parameter vos.*'vos=0'",
        ),
        (
            OWN.replace("Ra a 0", "Xa a 0 leak r="),
            r"bad.lib: cell 'leak' isn't .* nor in this file",
        ),
        (OWN.replace("opamp", "amplifier"), "there is no such subcircuit"),
        (OWN + ".control\nshell touch owned\n.endc\n", r"bad.lib, line 8: '.control' is refused"),
        (OWN + ".options reltol=0.1\n", "line 8: '.options reltol=0.1' is refused: a cell is"),
        (OWN + ".temp 125\n", "line 8: '.temp 125' is refused"),
        (OWN + ".tran 1n 1u\n", "line 8: '.tran 1n 1u' is refused"),
        (OWN + ".end\n", "line 8: '.end' is refused"),
        (OWN + "Rx up1 0 1\n", "'Rx up1 0 1' stands outside of a subcircuit"),
        (
            OWN + ".subckt inverter in out vdd vss\nR1 in out 1\n.ends\n",
            r"bad.lib: .subckt inverter is in the cell library too, and differs",
        ),
        (OWN + ".param a0=1\n", r"bad.lib: .param a0 is in the circuit too"),
        (OWN + ".include /etc/passwd\n", "line 8: .*an include stays in its folder"),
        (OWN + ".include '../x.lib'\n", "line 8: .*an include stays in its folder"),
        (OWN + ".inc other.lib\n", "line 8: .*there is no such file"),
        (OWN + ".include bad.lib\n", "line 8: includes itself"),
        (
            OWN.replace("Ra a 0", "Ma a b 0 0 npn w=1u\nRa a 0"),
            "line 4: .*names the model 'npn', which isn't there; add '.model npn",
        ),
    ],
)
def test_a_cell_that_cannot_take_the_place_is_refused(text: str, why: str, tmp_path: Path) -> None:
    file = tmp_path / "bad.lib"
    file.write_text(text)
    chip = Chip.of(case((3, 4, 2), 0, 1).design, 0)
    with pytest.raises(UserError, match=why):
        Netlist.of(chip, "macro", cells={"opamp": file})


def test_what_a_cell_includes_comes_along_from_beside_it(tmp_path: Path) -> None:
    file = tmp_path / "opamp_own.lib"
    (tmp_path / "models.lib").write_text(".model leak d(is=1e-15)\n")
    diode = "Dleak a 0 leak\nRa a 0"
    file.write_text('.include "models.lib"\n' + OWN.replace("Ra a 0", diode))
    chip = Chip.of(case((1, 1), 0, 1).design, 0)
    cells = Netlist.of(chip, "macro", cells={"opamp": file}).cells
    assert cells.index(".model leak d(is=1e-15)") < cells.index(".subckt opamp")
    assert ".include" not in cells


def test_what_two_cells_bring_is_there_once_and_must_be_the_same(tmp_path: Path) -> None:
    common = ".model leak d(is=1e-15)\n.subckt load a b\nRl a b 1k\n.ends\n"
    amplifier, switch = tmp_path / "amplifier.lib", tmp_path / "switch.lib"
    amplifier.write_text(common + OWN.replace("Ra a 0", "Xl a b load\nDleak b 0 leak\nRa a 0"))
    own = ".subckt switch a b rst\nXl a b load\nDl b 0 leak\n.ends\n"
    switch.write_text(common.replace("Rl", "rl") + own)
    chip = Chip.of(case((1, 1), 0, 1).design, 0)
    cells = {"opamp": amplifier, "switch": switch}
    text = Netlist.of(chip, "macro", cells=cells).cells
    assert (text.count(".model leak"), text.count(".subckt load")) == (1, 1)
    assert text.index(".ends opamp") < text.index(own.strip())
    switch.write_text(common.replace("1e-15", "1e-12") + own)
    with pytest.raises(UserError, match=r"switch.lib: .model leak is in .*amplifier.lib too"):
        Netlist.of(chip, "macro", cells=cells)


def test_a_place_that_the_circuit_does_not_have_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "cell.lib"
    file.write_text(OWN)
    chip = Chip.of(case((3, 4, 2), 0, 1).design, 0)
    with pytest.raises(UserError, match=r"cell 'opamps': the circuit has no such cell; it has"):
        Netlist.of(chip, "macro", cells={"opamps": file})


def test_a_byte_order_mark_of_an_editor_is_no_part_of_a_cell(tmp_path: Path) -> None:
    plain, marked = tmp_path / "plain.lib", tmp_path / "marked.lib"
    plain.write_text(OWN)
    marked.write_text(OWN, encoding="utf-8-sig")
    chip = Chip.of(case((3, 4, 2), 0, 1).design, 0)
    one, other = (Netlist.of(chip, "macro", cells={"opamp": p}).cells for p in (plain, marked))
    assert one == other

"""Verilog-A of one's own: read as data, compiled once, loaded by the simulators that can."""

from __future__ import annotations

import csv
import re
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from analogdfc.analysis.loop_gain import Band
from analogdfc.circuit.chip import Chip
from analogdfc.cli import cli
from analogdfc.errors import UserError
from analogdfc.spice import compiler, ngspice
from analogdfc.spice.batch import BatchProcess
from analogdfc.spice.compiler import compiled, find_compiler
from analogdfc.spice.dialects import get_dialect
from analogdfc.spice.engines import get_simulator
from analogdfc.spice.installed import find_binary, has_osdi
from analogdfc.spice.loop import measure_loop
from analogdfc.spice.netlist import Netlist
from analogdfc.spice.own import OwnDevice, own_texts
from analogdfc.spice.pyspice import to_pyspice
from analogdfc.spice.testbench import Testbench as Bench
from analogdfc.spice.vacask import VacaskProgram
from analogdfc.spice.veriloga import VerilogA
from analogdfc.study import Cells, Study
from benchmarks._measure import case

compiler_needed = pytest.mark.skipif(find_compiler() is None, reason="openvaf-r isn't installed")
loads = pytest.mark.skipif(
    find_compiler() is None or not has_osdi(find_binary() or "/bin/true"),
    reason="openvaf-r, or an ngspice that loads what it compiles, isn't installed",
)

AMPLIFIER = """\
`include "constants.vams"
`include "disciplines.vams"
// An operational amplifier with one pole.
module opamp(inp, inn, out, vdd, vss);
  inout inp, inn, out, vdd, vss;
  electrical inp, inn, out, vdd, vss, a;
  (*type="instance"*) parameter real vos = 0;
  parameter real gain = 1e4 from (0:inf);
  parameter real gbw = 1e8;
  analog begin
    I(a) <+ 1m * (V(a) / gain + ddt(V(a)) / (2 * `M_PI * gbw) - V(inp, inn) - vos);
    V(out) <+ V(a);
  end
endmodule
"""
ONE_POLE = """\
* Operational amplifier of one's own: one pole.
.subckt opamp inp inn out vdd vss vos=0
Bin 0 a I = 1m * (V(inp) - V(inn) + {vos})
Ra a 0 10meg
Ca a 0 1.6p
Eout out 0 a 0 1
.ends opamp
"""
TWO_STAGE = """\
* Operational amplifier of one's own: two stages and a Miller capacitor.
.subckt opamp inp inn out vdd vss vos=0
Bin 0 b I = 1m * (V(inp) - V(inn) + {vos})
Rb b 0 100k
Gout o 0 b 0 10m
Ro o 0 100k
Cm b o 1.6p
Eout out 0 o 0 -1
.ends opamp
"""
MEMRISTOR = """\
`include "disciplines.vams"
// A memristor: beyond 0.5 V its conductance g moves, by 1 uS a microsecond and volt.
module ionic(p, n);
  inout p, n;
  electrical p, n, x;
  (*type="instance"*) parameter real g = 1e-6 from (0:1e-3];
  real over;
  analog begin
    over = max(V(p, n) - 0.5, 0) + min(V(p, n) + 0.5, 0);
    I(p, n) <+ V(x) * 1e-6 * V(p, n);
    if ($abstime <= 0) I(x) <+ V(x) - g / 1e-6;
    else I(x) <+ -1e-6 * over;
    I(x) <+ 1e-12 * ddt(V(x));
  end
endmodule
"""


def put(folder: Path, name: str, text: str) -> Path:
    """A file in a folder."""
    path = folder / name
    path.write_text(text)
    return path


def chip() -> Chip:
    """A chip of one neuron."""
    return Chip.of(case((1, 1), 0, 1).design, 0)


# An amplifier of one's own


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("one_pole.lib", ONE_POLE),
        ("two_stage.lib", TWO_STAGE),
        pytest.param("amplifier.va", AMPLIFIER, marks=loads),
    ],
)
def test_an_amplifier_of_ones_own_does_what_the_librarys_does(
    name: str, text: str, tmp_path: Path
) -> None:
    here = case((1, 1), 0, 1)
    study = Study(here.design, here.x, here.step, 0.05, 60)
    cells = Cells("macro", BatchProcess(), seed=0)
    own = replace(cells, cells={"opamp": put(tmp_path, name, text)})
    ours, theirs = cells.run(study), own.run(study)
    found = study.compare("macro", "own", "parity", ours, theirs)
    assert 0 < max(found.signals[name] for name in ("v1", "u")) < 0.01


@pytest.mark.parametrize(
    ("name", "text", "file"),
    [
        ("one_pole.lib", ONE_POLE, "cells.lib"),
        ("two_stage.lib", TWO_STAGE, "cells.lib"),
        ("amplifier.va", AMPLIFIER, "amplifier.va"),
    ],
)
def test_one_option_brings_it_into_the_netlist_that_is_written(
    name: str, text: str, file: str, tmp_path: Path
) -> None:
    own = put(tmp_path, name, text)
    out = tmp_path / "out"
    options = ["--sizes", "1-1", "--cell", f"opamp={own}", "-o", str(out)]
    result = CliRunner().invoke(cli, ["netlist", *options])
    assert result.exit_code == 0, result.output
    written = re.sub(r"^// (written by|amplifier.va).*\n", "", (out / file).read_text(), flags=re.M)
    assert text in written
    assert (out / "cells.lib").read_text().count(".subckt opamp ") == 1
    again = CliRunner().invoke(cli, ["netlist", *options])
    assert "kept" not in again.output


@loads
def test_the_loop_of_an_amplifier_of_ones_own_has_the_margins_of_the_librarys(
    tmp_path: Path,
) -> None:
    here, own = case((1, 1), 0, 1), put(tmp_path, "amp.va", AMPLIFIER)
    found = []
    for cells in ({}, {"opamp": own}):
        netlist = Netlist.of(chip(), "macro", cells=cells)
        band = Band.of(netlist.chip, per_decade=10)
        loop = measure_loop(netlist, here.x[0], here.step[0], BatchProcess(), band=band)
        found.append(loop.gain.margins)
    assert found[1].degrees == pytest.approx(found[0].degrees, abs=0.5)
    assert found[1].gain > found[0].gain  # it has no second pole


@loads
def test_a_netlist_with_verilog_a_says_how_to_compile_it_and_then_runs(tmp_path: Path) -> None:
    here = case((1, 1), 0, 1)
    netlist = Netlist.of(chip(), "macro", cells={"opamp": put(tmp_path, "amp.va", AMPLIFIER)})
    bench = Bench(netlist.chip, here.x[0], here.step[0], duration=1.0, max_step=0.1).file_text()
    netlist.write(tmp_path / "out", bench)
    text = (tmp_path / "out" / "testbench.cir").read_text()
    (said,) = re.findall(r"compile: `openvaf-r (\S+)` writes amp.osdi", text)
    folder = tmp_path / "out"
    subprocess.run([find_compiler() or "", said], cwd=folder, check=True, capture_output=True)
    command = [find_binary() or "", "-n", "-b", "-r", "out.raw", "testbench.cir"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    assert (folder / "out.raw").stat().st_size > 1000


@loads
@pytest.mark.skipif(find_compiler() is None, reason="VACASK isn't installed")
def test_both_engines_load_it_and_agree(tmp_path: Path) -> None:
    here = case((1, 1), 0, 1)
    study = Study(here.design, here.x, here.step, 0.05, 40)
    amplifier, device = (
        put(tmp_path, name, text)
        for name, text in (("amp.va", AMPLIFIER), ("memristor.va", MEMRISTOR))
    )
    own = {"opamp": amplifier, "device": device}
    cells = Cells("macro", get_simulator("ngspice"), seed=0, cells=own)
    other = replace(cells, simulator=VacaskProgram(), beside=True)
    (parity,) = study.run(cells, other).comparisons
    assert max(parity.signals[name] for name in ("v1", "u")) < 2e-4


# A device of one's own


@loads
def test_a_device_below_its_threshold_is_the_conductance_that_it_stands_for(
    tmp_path: Path,
) -> None:
    here = case((1, 1), 0, 1)
    study = Study(here.design, here.x, here.step, 0.05, 20)
    resistors = Cells("macro", BatchProcess(), seed=0)
    devices = replace(resistors, cells={"device": put(tmp_path, "memristor.va", MEMRISTOR)})
    ours, theirs = resistors.run(study), devices.run(study)
    torch.testing.assert_close(ours.u, theirs.u, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("simulator", [BatchProcess, VacaskProgram])
@loads
def test_a_device_starts_from_its_parameter_and_moves_beyond_its_threshold(
    simulator: type[BatchProcess | VacaskProgram], tmp_path: Path
) -> None:
    deck = """pulses on two devices
Vin in 0 PWL(0 0.2 1u 0.2 1.001u 1.5 2.001u 1.5 2.002u 0.2 4u 0.2)
Na in a ionic_module g=2e-6
Va a 0 0
Nb in b ionic_module g=5e-6
Vb b 0 0
.model ionic_module ionic
.options reltol=1e-6
.tran 1n 4u 0 1n
.end
"""
    file = VerilogA.read(put(tmp_path, "memristor.va", MEMRISTOR))
    found = simulator().run(deck, save=["i(va)", "i(vb)"], modules=[file])
    moved = 1e-6 * (1.0 * 1.0 + 1e-3 * 1.0 * 1.0 / 1.3)  # 1 V above the threshold for 1 us, edges
    for name, g in (("i(va)", 2e-6), ("i(vb)", 5e-6)):
        current = found.signals[name]
        assert current[0] / 0.2 == pytest.approx(g, rel=1e-6)
        assert current[-1] / 0.2 == pytest.approx(g + moved, rel=1e-4)


def test_the_conductance_goes_to_the_parameter_that_is_named(tmp_path: Path) -> None:
    text = MEMRISTOR.replace("real g = 1e-6 from (0:1e-3]", "real x0 = 0 from [0:1]")
    own = put(tmp_path, "device.va", text.replace("V(x) - g / 1e-6", "V(x) - pow(100, x0)"))
    out = tmp_path / "out"
    options = ["--sizes", "1-1", "--cell", f"device={own}", "-o", str(out)]
    given = "x0=min(1, max(0, ln(1e-4 / g) / ln(100)))"
    result = CliRunner().invoke(cli, ["netlist", *options, "--device-parameter", given])
    assert result.exit_code == 0, result.output
    lines = (out / "cells.lib").read_text()
    for letter in "pn":
        value = f"x0={{min(1, max(0, ln(1e-4 / g{letter}) / ln(100)))}}"
        assert re.search(rf"^N{letter} .* ionic_module {re.escape(value)}$", lines, re.M)
    assert "1 / g" not in lines.partition(".subckt pair_wired")[2]
    with (out / "devices.csv").open() as file:
        assert list(csv.DictReader(line for line in file if line[0] != "#"))


def test_what_is_kept_of_a_cell_is_all_that_it_was(tmp_path: Path) -> None:
    device = put(tmp_path, "ionic.va", MEMRISTOR)
    put(tmp_path, "scale.inc", "`define SCALE 1\n")
    own = put(tmp_path, "amp.va", f'`include "scale.inc"\n{AMPLIFIER}')
    kept = own_texts({"opamp": own, "device": OwnDevice(device, "g", "g / 2")})
    assert AMPLIFIER in kept["opamp"]
    assert "// scale.inc\n`define SCALE 1\n" in kept["opamp"]
    assert kept["device"] == f"// g = g / 2\n{MEMRISTOR}"


# What is refused


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (AMPLIFIER.replace("inp, inn, out, vdd, vss)", "inp, inn, out)", 1),
         r"line 4: module opamp has the pins .* in the place of opamp it needs"),
        (AMPLIFIER.replace("module opamp", "module OpAmp"), "line 4: .*needs a name in lower case"),
        (AMPLIFIER.replace("module opamp", "module gain"), "line 4: .*a model of ngspice's own"),
        ("", "which module is 'opamp'. it has none"),
        (AMPLIFIER.replace('(*type="instance"*) ', ""), r"line 4.* must take the parameter vos"),
        (AMPLIFIER.replace("constants.vams", "/etc/passwd"), "line 1: .*stays in its folder"),
        (AMPLIFIER.replace("constants.vams", "../x.va"), "line 1: .*stays in its folder"),
        (AMPLIFIER.replace("constants.vams", "x.va"), "line 1: .*there is no such file"),
        (AMPLIFIER.replace("constants.vams", "link.va"), "line 1: .* a link out of its folder"),
        (AMPLIFIER.replace('"constants.vams"', "FILE"), "line 1: .*names its file in quotes"),
        (AMPLIFIER.replace("V(out) <+", '$system("touch owned"); V(out) <+'),
         r"line 12: '\$system' is refused: a model opens no files and runs no programs"),
        (AMPLIFIER.replace("V(out) <+", 'f = $fopen("a"); V(out) <+'), "line 12: .*fopen"),
        ('\\"\n' + AMPLIFIER, "line 1: .*escaped name"),
        ('/* "' + AMPLIFIER, "line 1: .*never closed"),
        (AMPLIFIER.replace("operational", "op\x1bal"), "line 3: .*a control character"),
        (AMPLIFIER.replace("operational", "op\u00e9ral"), "line 3: a character that isn't ASCII"),
    ],
)  # fmt: skip
def test_a_file_that_cannot_take_the_place_is_refused(
    text: str, problem: str, tmp_path: Path
) -> None:
    folder = tmp_path / "cells"
    folder.mkdir()
    outside = put(tmp_path, "outside.va", "`define X 1\n")
    (folder / "link.va").symlink_to(outside)
    file = put(folder, "amp.va", text)
    with pytest.raises(UserError, match=problem) as error:
        Netlist.of(chip(), "macro", cells={"opamp": file})
    assert str(folder) in str(error.value)


@pytest.mark.parametrize(
    ("device", "problem"),
    [
        (("x0", "g"), r"line 3: module ionic must take the parameter x0"),
        (("g", "100 * g"), r"line 3: g = 0.0\d+ of a conductance of .* S is outside \(0:1e-3\]"),
        (("g", "g * ; quit"), "must be an expression of the conductance g|can't|isn't understood"),
        (("g", "sin(g)"), "must be an expression of the conductance g, with no names but"),
        (("g", "1e-6"), "must be an expression of the conductance g"),
        (("1g", "g"), "'1g' is no name"),
    ],
)
def test_a_device_that_cannot_take_the_place_is_refused(
    device: tuple[str, str], problem: str, tmp_path: Path
) -> None:
    file = put(tmp_path, "memristor.va", MEMRISTOR)
    with pytest.raises(UserError, match=problem):
        Netlist.of(chip(), "macro", cells={"device": OwnDevice(file, *device)})


def test_a_device_has_two_pins_and_is_verilog_a(tmp_path: Path) -> None:
    three = put(tmp_path, "three.va", MEMRISTOR.replace("(p, n);", "(p, n, q);", 1))
    with pytest.raises(UserError, match="device has two, the first towards"):
        Netlist.of(chip(), "macro", cells={"device": three})
    spice = put(tmp_path, "device.lib", ONE_POLE)
    with pytest.raises(UserError, match="a device is a module of Verilog-A"):
        Netlist.of(chip(), "macro", cells={"device": spice})
    result = CliRunner().invoke(cli, ["netlist", "--sizes", "1-1", "--device-parameter", "x0=g"])
    assert result.exit_code == 2
    assert "there is no device" in result.stderr


def test_two_files_of_one_name_cannot_lie_in_one_folder(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    files = put(tmp_path, "own.va", AMPLIFIER), put(tmp_path / "other", "own.va", MEMRISTOR)
    with pytest.raises(UserError, match=r"a file 'own.va' comes with .* too, and differs"):
        Netlist.of(chip(), "macro", cells=dict(zip(("opamp", "device"), files, strict=True)))
    taken = Netlist.of(chip(), "macro", cells={"opamp": put(tmp_path, "cells.va", AMPLIFIER)})
    here = case((1, 1), 0, 1)
    bench = Bench(taken.chip, here.x[0], here.step[0], duration=1.0, max_step=0.1).file_text()
    with pytest.raises(UserError, match=r"a netlist has a file 'cells.va' of its own"):
        taken.write(tmp_path / "out", bench, dialect=get_dialect("vacask"))


def test_who_cannot_load_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = put(tmp_path, "amp.va", AMPLIFIER)
    netlist = Netlist.of(chip(), "macro", cells={"opamp": own})
    here = case((1, 1), 0, 1)
    bench = Bench(netlist.chip, here.x[0], here.step[0], duration=1.0, max_step=0.1)
    for name in ("xyce", "ltspice", "hspice"):
        with pytest.raises(UserError, match=r"amp.va: Verilog-A of one's own can't be written for"):
            netlist.write(tmp_path / name, bench.file_text(), dialect=get_dialect(name))
    with pytest.raises(UserError, match=r"amp.va: PySpice loads no Verilog-A"):
        to_pyspice(netlist)
    deck = netlist.deck(bench.text())
    with monkeypatch.context() as patch:
        patch.setattr(ngspice, "has_osdi", lambda file: False)
        with pytest.raises(UserError, match=r"this ngspice loads no compiled Verilog-A.*'vacask'"):
            BatchProcess().run(deck, save=["up1"], modules=netlist.modules)
    monkeypatch.setenv("ANALOGDFC_OPENVAF", str(tmp_path / "none"))
    monkeypatch.setattr(ngspice, "has_osdi", lambda file: True)
    with pytest.raises(UserError, match=r"amp.va: the compiler openvaf-r is missing.*pip install"):
        BatchProcess().run(deck, save=["up1"], modules=netlist.modules)


# The compiler


@compiler_needed
def test_a_file_is_compiled_once_and_anew_where_it_or_what_it_includes_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANALOGDFC_CACHE", str(tmp_path / "cache"))
    own = put(tmp_path, "memristor.va", f'`include "unit.inc"\n{MEMRISTOR}')
    put(tmp_path, "unit.inc", "`define UNIT 1\n")
    ((name, first),) = compiled([VerilogA.read(own)])
    assert name == "memristor.osdi"
    with monkeypatch.context() as patch:
        patch.setattr(compiler, "run_limited", lambda *_, **__: pytest.fail("compiled twice"))
        assert dict(compiled([VerilogA.read(own)])) == {name: first}
    put(tmp_path, "unit.inc", "`define UNIT 2\n")
    assert dict(compiled([VerilogA.read(own)]))
    assert len(list((tmp_path / "cache").rglob("*.osdi"))) == 2


@compiler_needed
def test_what_the_compiler_refuses_is_told_with_file_and_line(tmp_path: Path) -> None:
    wrong = put(tmp_path, "amp.va", AMPLIFIER.replace("* gbw)", "* gwb)"))
    with pytest.raises(UserError) as error:
        list(compiled([VerilogA.read(wrong)]))
    said = f"{wrong}: openvaf-r can't compile it: amp.va, line 11: error: 'gwb' was not found"
    assert said in str(error.value)


def test_spectre_takes_a_module_that_is_called_like_its_cell_as_the_cell(tmp_path: Path) -> None:
    own = {"opamp": put(tmp_path, "amp.va", AMPLIFIER),
           "device": put(tmp_path, "memristor.va", MEMRISTOR)}  # fmt: skip
    netlist = Netlist.of(chip(), "macro", cells=own)
    here = case((1, 1), 0, 1)
    bench = Bench(netlist.chip, here.x[0], here.step[0], duration=1.0, max_step=0.1).file_text()
    netlist.write(tmp_path / "out", bench, dialect=get_dialect("spectre"))
    head, cells = ((tmp_path / "out" / f"{n}.scs").read_text() for n in ("testbench", "cells"))
    for name in ("amp.va", "memristor.va"):
        assert f'ahdl_include "{name}"' in head
    assert "subckt opamp" not in cells
    assert re.search(r"^np \(po b\) ionic g=\(gp\)$", cells, re.M)

"""A netlist says the same in every dialect, as far as there is a reader of it here."""

from __future__ import annotations

import csv
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch

from analogdfc import records
from analogdfc.circuit.chip import Chip
from analogdfc.circuit.numbers import macro_parameters
from analogdfc.errors import UserError
from analogdfc.spice import netlist as netlists
from analogdfc.spice import testbench as benches
from analogdfc.spice.batch import BatchProcess
from analogdfc.spice.dialects import DIALECTS, get_dialect, statements
from analogdfc.spice.dialects.statements import Instance
from analogdfc.spice.installed import find_vacask
from analogdfc.spice.netlist import Netlist
from analogdfc.spice.placement import read_placements
from analogdfc.spice.rawfile import read_rawfile
from benchmarks._measure import case

VACASK = find_vacask() or ""
needed = pytest.mark.skipif(not VACASK, reason="VACASK is not installed")

CELL = """* a soma with its activation
.subckt soma in v r vdd vss r_s=100k c_f=10p r_t=125k
Rin in q {2 * r_s}
Xsoma 0 q v vdd vss opamp vos=0
Rsoma q v {r_s}
Csoma q v {c_f}
Xinv 0 t r vdd vss opamp vos=0
Rin2 v t {r_t}
Rinv t r {r_t}
.ends soma
"""
BENCH = """Vin in 0 PWL(0 0 1e-9 0 2e-9 0.1)
Vdd vdd 0 1.65
Vss vss 0 -1.65
X1 in v r vdd vss soma c_f=2p
.options reltol=1e-6 abstol=1e-13 vntol=1e-9
.tran 1e-8 1e-6 0 1e-8
.end
"""


def written(folder: Path, name: str, sizes: tuple[int, ...] = (3, 4, 2)) -> Netlist:
    """The netlist of a small chip in a dialect, written into a folder."""
    here = case(sizes, 0, 1)
    chip = Chip.of(here.design, 0)
    netlist = Netlist.of(chip, "macro")
    bench = benches.Testbench(chip, here.x[0], here.step[0], duration=2.0, max_step=0.05)
    netlist.write(folder, bench.file_text(), dialect=get_dialect(name))
    return netlist


def cells(*names: str) -> str:
    root = Path(__file__).parents[1] / "circuits"
    return "".join((root / f"{name}.lib").read_text("ascii") for name in names)


@needed
def test_what_is_written_for_vacask_runs_there(tmp_path: Path) -> None:
    netlist = written(tmp_path, "vacask")
    subprocess.run([VACASK, "-n", "1", "testbench.sim"], cwd=tmp_path, check=True, timeout=60)
    (plot,) = read_rawfile(tmp_path / "tran1.raw")
    here = case((3, 4, 2), 0, 1)
    bench = benches.Testbench(netlist.chip, here.x[0], here.step[0], duration=2.0, max_step=0.05)
    nodes = ["up1", "v2_2"]
    ours = BatchProcess().run(netlist.deck(bench.text()), save=nodes)
    for node in nodes:
        theirs = plot.values[-1, plot.variables.index(node)]
        assert theirs == pytest.approx(ours.signals[node][-1], rel=1e-4)


@needed
@pytest.mark.parametrize("name", ["xyce", "hspice"])
def test_an_independent_reader_simulates_our_cells_as_ngspice_does(
    name: str, tmp_path: Path
) -> None:
    extra = cells("opamp_ideal")
    if name == "xyce":
        cell = CELL.replace("Rin2 v t {r_t}", "Xtanh v 0 t vdd vss tanh_cell vos=0")
        extra += cells("tanh_ideal")
    else:
        cell = CELL
    lines = "\n".join(get_dialect(name).lines(statements((cell + extra).split("\n"))))
    # What this reader doesn't know: the word before a cell's parameters.
    (tmp_path / "cells.inc").write_text(f"* cells\n{lines.replace(' params:', '')}\n")
    (tmp_path / "deck.sim").write_text(
        'a cell\nground 0\nload "resistor.osdi"\nload "capacitor.osdi"\nmodel vsource vsource\n'
        f'parameters i_tanh=2e-6 s_v=0.25\ninclude "cells.inc" lang={name}\n'
        'vin (in 0) vsource type="pwl" wave=[0, 0, 1e-9, 0, 2e-9, 0.1]\n'
        "vdd (vdd 0) vsource dc=1.65\nvss (vss 0) vsource dc=-1.65\n"
        "x1 (in v r vdd vss) soma c_f=2e-12\ncontrol\n  abort always\n"
        '  options reltol=1e-6 abstol=1e-13 vntol=1e-9 tran_method="trap" rawfile="binary"\n'
        "  save v(v) v(r)\n  analysis tran1 tran step=1e-8 stop=1e-6 maxstep=1e-8\nendc\n"
    )
    done = subprocess.run(
        [VACASK, "-n", "1", "deck.sim"], cwd=tmp_path, timeout=60, text=True, capture_output=True
    )
    assert done.returncode == 0, done.stdout
    assert not re.search("warning|skipped", done.stdout, re.IGNORECASE), done.stdout
    (plot,) = read_rawfile(tmp_path / "tran1.raw")
    head = "a cell\n.param i_tanh=2e-6 s_v=0.25\n"
    ours = BatchProcess().run(f"{head}{cell}{extra}{BENCH}", save=["v", "r"])
    for node in ("v", "r"):
        theirs = np.interp(ours.time, plot.values[:, 0], plot.values[:, plot.variables.index(node)])
        error = np.abs(theirs - ours.signals[node]).max() / np.abs(ours.signals[node]).max()
        assert error < 1e-3


def test_an_independent_reader_finds_our_values_in_ltspices_dialect(tmp_path: Path) -> None:
    spicelib = pytest.importorskip("spicelib")
    netlist = written(tmp_path, "ltspice")
    parts = [(tmp_path / f"{n}.net").read_text() for n in ("cells", "circuit", "testbench")]
    lines = "".join(parts).split("\n")
    whole = [line for line in lines if not line.startswith(("*", ".include"))]
    (tmp_path / "whole.net").write_text("\n".join(["* all in one", *whole]))
    read = spicelib.SpiceEditor(tmp_path / "whole.net")
    said = statements(netlist.circuit.split("\n"))
    ours = {one.name: one for one in said if isinstance(one, Instance)}
    for name in ("xn1_1", "xc2"):
        assert read.get_component_value(name.upper()) == ours[name].cell
        assert read.get_component_nodes(name.upper()) == [*ours[name].nodes]
        found = read.get_component_parameters(name.upper())
        for parameter, value in ours[name].parameters.items():
            assert float(found[parameter]) == float(value)
    assert float(read.get_parameter("a0")) == macro_parameters(netlist.chip.design.card)["a0"]
    inside = read.get_subcircuit("XN1_1")
    assert inside.get_component_value("RBASAL") == "{r_b}"
    assert inside.get_component_nodes("RBASAL") == ["w", "vffn"]


@needed
def test_spectres_netlist_is_that_of_vacask_but_for_the_names_of_parts(tmp_path: Path) -> None:
    for name in ("vacask", "spectre"):
        written(tmp_path / name, name)
    modules = [(tmp_path / name / "cells.va").read_text() for name in ("vacask", "spectre")]
    assert modules[0] == modules[1]
    compiler = Path(VACASK).with_name("openvaf-r")
    subprocess.run([compiler, "cells.va"], cwd=tmp_path / "spectre", check=True, timeout=60)

    def body(name: str, part: str, ending: str) -> list[str]:
        lines = (tmp_path / name / f"{part}.{ending}").read_text().split("\n")
        kept = (line for line in lines if not line.startswith(("//", "simulator")))
        return [re.sub(r"\bgm=", "gain=", re.sub(r"^ends.*", "ends", line)) for line in kept]

    assert body("spectre", "circuit", "scs") == body("vacask", "circuit", "sim")
    ours, theirs = body("spectre", "cells", "scs"), body("vacask", "cells", "sim")
    assert {line.split(" ")[0] for line in set(ours) ^ set(theirs)} == {"model", "subckt", "s"}


@pytest.mark.parametrize("name", DIALECTS)
def test_a_part_that_only_ngspice_knows_is_refused(name: str) -> None:
    lines = [".subckt cell a b", "Q1 a b 0 npn", ".ends"]
    with pytest.raises(UserError, match=r"line 2: .*can be written for ngspice alone"):
        list(get_dialect(name).lines(statements(lines)))


def test_an_unknown_dialect_is_refused() -> None:
    with pytest.raises(UserError, match="dialect 'eldo' is unknown; there are ngspice, vacask"):
        get_dialect("eldo")


@pytest.mark.parametrize("name", DIALECTS)
def test_the_head_of_a_testbench_says_how_its_dialect_was_checked(
    name: str, tmp_path: Path
) -> None:
    written(tmp_path, name)
    dialect = get_dialect(name)
    text = (tmp_path / f"testbench.{dialect.extension}").read_text()
    assert f"{dialect.comment} Written for {dialect.simulator}. Checked: {dialect.check}." in text


def test_the_table_of_devices_gives_back_the_weights(tmp_path: Path) -> None:
    netlist = written(tmp_path, "xyce")
    with (tmp_path / "devices.csv").open() as file:
        rows = list(csv.DictReader(line for line in file if not line.startswith("#")))
    bars = {bar.name: bar for bar in netlist.chip.circuit.crossbars}
    assert len(rows) == sum(bar.plus.numel() for bar in bars.values())
    for row in rows:
        bar = bars[row["array"]]
        place = int(row["column"]) - 1, int(row["row"]) - 1
        assert float(row["plus_siemens"]) == float(bar.plus[place])
        weight = float((bar.plus - bar.minus)[place]) / bar.unit
        assert float(row["weight"]) == pytest.approx(weight)
        instance = row["instance"].partition(".")[2]
        assert f"{instance} " in netlist.circuit
    assert {row["from"] for row in rows if row["array"] == "W1"} == {"in1", "in2", "in3", "bias"}
    assert {row["to"] for row in rows if row["array"] == "W1"} == {f"w1_{k}" for k in range(1, 5)}


def test_the_record_of_devices_is_their_table(tmp_path: Path) -> None:
    written(tmp_path, "xyce")
    found = read_placements(tmp_path / "devices.h5")
    assert [array.name for array in found] == ["W1", "Q1", "W2", "Q2"]
    with (tmp_path / "devices.csv").open() as file:
        rows = list(csv.DictReader(line for line in file if not line.startswith("#")))
    assert len(rows) == sum(array.plus.size for array in found)
    arrays = {array.name: array for array in found}
    for row in rows:
        array, place = arrays[row["array"]], (int(row["row"]) - 1, int(row["column"]) - 1)
        assert array.instance(place[0] + 1, place[1] + 1) == row["instance"]
        assert (array.rows[place[0]], array.columns[place[1]]) == (row["from"], row["to"])
        numbers = array.plus[place], array.minus[place], array.weight[place]
        table = [float(row[name]) for name in ("plus_siemens", "minus_siemens", "weight")]
        assert numbers == pytest.approx(table, rel=1e-15)


def test_a_record_without_device_pairs_is_refused(tmp_path: Path) -> None:
    path = records.write(tmp_path / "x.h5", {"arrays": ["W1"], "device_pairs": {"W2": {"a": 1}}})
    with pytest.raises(UserError, match="W1"):
        read_placements(path)


def test_a_large_circuit_has_a_file_an_array_and_says_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = case((3, 4, 2), 0, 1)
    chip = Chip.of(here.design, 0)
    netlist = Netlist.of(chip, "ideal")
    bench = benches.Testbench(
        netlist.chip, here.x[0], here.step[0], duration=2.0, max_step=0.05
    ).file_text()
    netlist.write(tmp_path / "one", bench)
    monkeypatch.setattr(netlists, "_LARGE", 1)
    netlist.write(tmp_path / "many", bench)
    names = {path.name for path in (tmp_path / "many").iterdir()}
    assert {"array_w1.cir", "array_w2.cir", "array_q1.cir", "array_q2.cir"} < names
    last = []
    for folder in ("one", "many"):
        command = ["ngspice", "-n", "-b", "-r", "out.raw", "testbench.cir"]
        subprocess.run(command, cwd=tmp_path / folder, check=True, capture_output=True, timeout=60)
        last.append(torch.from_numpy(read_rawfile(tmp_path / folder / "out.raw")[0].values[-1]))
    torch.testing.assert_close(last[0], last[1], rtol=1e-9, atol=1e-12)

"""Netlists say what the model computes, are whole, and the stored ones are what is generated."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib import resources
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from parts import Stage, controller, layers
from scipy.interpolate import PchipInterpolator
from strategies import seeds, small_networks

from analogdfc import records
from analogdfc.cards.technology import Card
from analogdfc.circuit.behavioural import Behavioural
from analogdfc.circuit.chip import Chip
from analogdfc.circuit.design import Design, Readout
from analogdfc.circuit.nodal import NodalEquations
from analogdfc.comparison import compare, ideal_run
from analogdfc.controller import PI
from analogdfc.dynamics import Readings, Trajectory
from analogdfc.errors import UserError
from analogdfc.feedback import DirectFeedback
from analogdfc.kits import get_kit
from analogdfc.kits.expressions import spice_number
from analogdfc.network import Network
from analogdfc.records import Record
from analogdfc.spice.deck import check_deck, logical_lines
from analogdfc.spice.engines import ngspice_version
from analogdfc.spice.flat import devices
from analogdfc.spice.installed import find_binary
from analogdfc.spice.netlist import FIDELITIES, Fidelity, Netlist
from analogdfc.spice.rawfile import read_rawfile
from analogdfc.spice.testbench import Testbench as Bench  # pytest collects what starts with Test
from analogdfc.storage import read_model
from benchmarks.parity import IDEAL_BAR, SIGNAL_BAR
from scripts.make_reference_netlists import (
    DT,
    REFERENCES,
    STEPS,
    Reference,
    design_of,
    reference_sample,
    reference_texts,
    reference_tree,
)

ROOT = Path(__file__).parents[1]
CARD = Card.load("discrete_100mhz")
SAME_WAVEFORMS = 1e-5
references = pytest.mark.parametrize("reference", REFERENCES, ids=lambda r: r.name)


# The stored netlists and their waveforms.


def stored(reference: Reference) -> Record:
    return records.read(ROOT / "netlists" / reference.name / "waveforms.h5")


@references
def test_stored_netlist_is_the_generated_one_byte_for_byte(
    reference: Reference, tmp_path: Path
) -> None:
    netlist, bench = reference_texts(reference)
    made_files = netlist.write(tmp_path, bench.file_text()).files
    texts = [made for made in made_files if made.suffix != ".h5"]
    assert len(texts) == 4
    for made in texts:
        kept = ROOT / "netlists" / reference.name / made.name
        assert kept.read_bytes() == made.read_bytes(), kept


@references
def test_stored_record_is_the_generated_one(reference: Reference, tmp_path: Path) -> None:
    made = records.read(records.write(tmp_path / "new.h5", reference_tree(reference)))
    kept = stored(reference)
    for key in ("card", "fidelity", "seed", "network/layers", "network/k_p", "network/tau_v"):
        assert kept[key] == made[key]
    for key in ("x", "step", *(f"network/{m}{i}" for m in "WbQ" for i in (1, 2))):
        np.testing.assert_array_equal(kept.array(key, units="1"), made.array(key, units="1"))
    assert set(kept.group("waveforms")) == set(made.group("waveforms"))
    assert set(kept.group("free")) == set(made.group("free"))
    assert_same_waveforms(kept, {k: made.array(f"waveforms/{k}") for k in made.group("waveforms")})


@references
def test_stored_files_give_the_stored_waveforms_to_anybody_who_runs_ngspice(
    reference: Reference, tmp_path: Path
) -> None:
    folder = shutil.copytree(ROOT / "netlists" / reference.name, tmp_path / "copy")
    binary = find_binary()
    assert binary is not None
    command = [binary, "-b", "-r", "waveforms.raw", "testbench.cir"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (folder / "waveforms.raw").stat().st_size < 500_000
    (plot,) = read_rawfile(folder / "waveforms.raw")
    column = {name: plot.values[:, k] for k, name in enumerate(plot.variables)}
    releasing, released = release_times(folder / "testbench.cir")
    kept = stored(reference)
    grid = kept.array("waveforms/t", units="s") + released
    after = column["time"] >= released * (1 - 1e-9)

    def followed(nodes: list[str], sign: int) -> NDArray[np.float64]:
        values = np.stack([sign * column[f"v({n})"][after] for n in nodes], axis=1)
        shape = PchipInterpolator(column["time"][after], values)
        found = np.asarray(shape(np.clip(grid, None, column["time"][-1])))
        if reference.fidelity == "macro":
            start = np.searchsorted(column["time"], releasing * (1 - 1e-9))
            found[0] = [sign * column[f"v({n})"][start] for n in nodes]
        return found

    found = {}
    for name, prefix, count, sign in (
        ("v1", "v1_", 4, 1), ("v2", "v2_", 2, 1), ("v_ff1", "vffn1_", 4, -1),
        ("v_ff2", "vffn2_", 2, -1), ("r1", "r1_", 4, 1), ("r_ff1", "rff1_", 4, 1),
        ("u", "up", 2, 1), ("e", "e", 2, 1),
    ):  # fmt: skip
        found[name] = followed([f"{prefix}{k}" for k in range(1, count + 1)], sign)
    found["t"] = kept.array("waveforms/t")
    assert_same_waveforms(kept, found)


def release_times(testbench: Path) -> tuple[float, float]:
    """Start of the edge of `rst` and end of the edge of `go`, in seconds."""
    lines = {text.split()[0]: text for text in testbench.read_text().splitlines() if text}
    times = [lines[k].partition("PWL(")[2].rstrip(")").split()[::2] for k in ("Vrst", "Vgo")]
    return float(times[0][1]), float(times[1][2])


def assert_same_waveforms(kept: Record, found: dict[str, NDArray[np.float64]]) -> None:
    # Another version of ngspice may choose other time steps.
    same = kept.text("versions/ngspice") == ngspice_version()
    bar = SAME_WAVEFORMS if same else IDEAL_BAR
    assert set(found) == set(kept.group("waveforms"))
    for name, values in found.items():
        expected = kept.array(f"waveforms/{name}", shape=values.shape)
        # What isn't driven by feedback doesn't move, so the neurons' own excursion is the measure.
        moving = name.replace("_ff", "")
        free = kept.array(f"free/{moving}") if moving in kept.group("free") else 0.0
        size = np.sqrt(np.mean((kept.array(f"waveforms/{moving}") - free) ** 2))
        assert np.sqrt(np.mean((values - expected) ** 2)) <= bar * size, name


@references
def test_models_predict_the_stored_waveforms(reference: Reference) -> None:
    design = design_of(read_model(ROOT / "netlists" / reference.name / "waveforms.h5"))
    x, step = reference_sample()
    kept = stored(reference)
    circuit = trajectory_of(kept, design)
    if reference.fidelity == "ideal":
        model = ideal_run(design, x, step, dt=DT, steps=STEPS)
        bar = IDEAL_BAR
    else:
        (model,) = Behavioural([Chip.of(design, reference.seed)]).run(x, step, dt=DT, steps=STEPS)
        bar = SIGNAL_BAR
    result = compare(design, ("circuit", "model"), "parity", circuit, model)
    assert {k: v for k, v in result.signals.items() if not v <= bar} == {}
    assert result.updates["all"].angle <= 0.1
    assert abs(result.updates["all"].norm_ratio - 1) <= 2e-3


def trajectory_of(kept: Record, design: Design) -> Trajectory:
    """The stored waveforms without units."""
    scale = design.card.scale

    def readings(group: str) -> Readings:
        layers = {}
        for name in ("v", "v_ff", "r", "r_ff"):
            keys = [f"{group}/{name}{i}" for i in (1, 2)]
            # The output is linear: its r is its v.
            keys = [k if k in kept else k.replace("/r", "/v") for k in keys]
            volts = [torch.from_numpy(kept.array(k, units="V"))[None] for k in keys]
            layers[name] = tuple(v / scale.activation for v in volts)
        return Readings(**layers)

    t = torch.from_numpy(kept.array("waveforms/t", units="s")) / design.seconds
    u, e = (torch.from_numpy(kept.array(f"waveforms/{s}", units="V"))[None] for s in "ue")
    x = torch.from_numpy(kept.array("x"))[None]
    return Trajectory(
        t=t,
        x=x,
        neurons=readings("waveforms"),
        u=u / scale.control,
        e=e / scale.control,
        free=readings("free"),
    )


@references
def test_a_stored_record_says_nothing_about_the_machine_that_made_it(reference: Reference) -> None:
    image = (ROOT / "netlists" / reference.name / "waveforms.h5").read_bytes()
    for trace in (b"/home/", b"/tmp/", b"/root/", b"/usr/", str(ROOT).encode(), b"command"):
        assert trace not in image
    assert len(image) < 100_000


@references
@pytest.mark.parametrize("name", ["cells.lib", "circuit.cir", "testbench.cir", "waveforms.h5"])
def test_references_are_found_as_data_of_the_package(reference: Reference, name: str) -> None:
    data = resources.files("analogdfc._netlists").joinpath(reference.name, name)
    assert data.read_bytes() == (ROOT / "netlists" / reference.name / name).read_bytes()


# Netlists of any chip.


class Instance(NamedTuple):
    """A line 'Xname nodes... cell key=value...'."""

    name: str
    nodes: list[str]
    cell: str
    values: dict[str, str]


def instances(text: str) -> Iterator[tuple[str, Instance]]:
    """Every instance with the name of the subcircuit that it lies in, '' for the top."""
    inside = ""
    for _, line in logical_lines(f"title\n{text}"):
        words = line.split()
        if words[0] == ".subckt":
            inside = words[1]
        elif words[0] == ".ends":
            inside = ""
        elif words[0].upper().startswith("X"):
            split = next((k for k, word in enumerate(words) if "=" in word), len(words))
            values = dict(word.split("=", 1) for word in words[split:])
            yield inside, Instance(words[0], words[1 : split - 1], words[split - 1], values)


def interfaces(text: str) -> dict[str, tuple[list[str], set[str]]]:
    """Pins and parameters of every subcircuit."""
    found = {}
    for _, line in logical_lines(f"title\n{text}"):
        words = line.split()
        if words[0] == ".subckt":
            pins = [word for word in words[2:] if "=" not in word]
            found[words[1]] = (pins, {word.split("=")[0] for word in words[2:] if "=" in word})
    return found


def design_on(
    network: Network,
    card: Card = CARD,
    controller: PI | None = None,
    readout: Readout | None = None,
) -> Design:
    feedback = DirectFeedback.transposed(network)
    return Design.of(network, feedback, card, controller=controller, readout=readout)


def netlist_of(
    network: Network, seed: int | None, fidelity: Fidelity, card: Card = CARD, **rest: Any
) -> Netlist:
    if fidelity != "transistor":
        return Netlist.of(Chip.of(design_on(network, card, **rest), seed), fidelity)
    design = design_on(network, Card.load("generic"), **rest)
    return Netlist.of(Chip.of(design, seed), fidelity, kit=get_kit("generic"))


def bench_of(design: Design) -> str:
    x = torch.linspace(-1, 1, design.sizes[0], dtype=torch.float64)
    step = torch.full((design.sizes[-1],), 0.1, dtype=torch.float64)
    return Bench(Chip.of(design), x, step, duration=1.0, max_step=0.02).text()


@settings(max_examples=25)
@given(network=small_networks(), seed=seeds())
def test_mismatch_seed_gives_model_and_netlist_the_same_components(
    network: Network, seed: int
) -> None:
    chip = Chip.of(design_on(network), seed)
    top = {one.name: one.values for inside, one in instances(circuit(chip)) if not inside}

    def check(name: str, expected: dict[str, float]) -> None:
        # The description holds conductances.
        values = {name: float(text) for name, text in top[name].items()}
        assert values == pytest.approx(expected, rel=1e-14)

    for i, parts in enumerate(layers(chip), start=1):
        for k in range(chip.design.sizes[i]):
            stages = parts.stages
            expected = {
                **stage(stages["basal"], k, "r_b", "c_b", "os_b"),
                **stage(stages["soma"], k, "r_f", "c_f", "os_s", "r_s"),
            }
            if i < chip.design.depth:
                expected |= stage(stages["act"], k, "r_t", "c_t", "os_t")
                expected |= stage(stages["inv"], k, "r_j", "c_j", "os_i", "r_i")
                expected |= stage(stages["act_ff"], k, "r_u", "c_u", "os_u")
                expected["os_tv"] = float(parts.tanh_offset["act"][k])
                expected["os_tu"] = float(parts.tanh_offset["act_ff"][k])
            check(f"Xn{i}_{k + 1}", expected)
    control = controller(chip)
    stages = control.stages
    for k in range(chip.design.sizes[-1]):
        check(f"Xe{k + 1}", stage(stages["error"], k, "r_e", "c_e", "os_e", "r_l", "r_g"))
        check(f"Xu{k + 1}", stage(stages["inv"], k, "r_f", "c_f", "os", "r_i"))
        pi = stage(stages["pi"], k, "r_p", "c_p", "os_p", "r_i")
        leak = 1 / float(control.g_leak[k])
        check(f"Xc{k + 1}", {**pi, "c_i": float(control.c_i[k]), "r_leak": leak})


def stage(part: Stage, k: int, r: str, c: str, offset: str, *inputs: str) -> dict[str, float]:
    values = {name: float(t[k]) for name, t in zip(inputs, part.r_in, strict=True)}
    return {**values, r: float(part.r_f[k]), c: float(part.c_f[k]), offset: float(part.offset[k])}


def circuit(chip: Chip) -> str:
    return Netlist.of(chip, "macro").circuit


@settings(max_examples=25)
@given(network=small_networks(), seed=seeds(), wired=st.booleans())
def test_crossbars_of_model_and_netlist_are_the_same_network(
    network: Network, seed: int, wired: bool
) -> None:
    card = CARD if wired else CARD.without("wire resistance")
    chip = Chip.of(design_on(network, card), seed)
    text = circuit(chip)
    pins = {name: ports for name, (ports, _) in interfaces(text).items()}
    found = list(instances(text))
    nodal = NodalEquations.of(chip)
    index = node_indices(chip, nodal)
    for i in range(1, chip.design.depth + 1):
        for kind in ("w", "q"):
            (outer,) = [one for inside, one in found if not inside and one.name == f"X{kind}{i}"]
            cells = [one for inside, one in found if inside == outer.cell]
            inner = crossbar_admittance(cells, pins[outer.cell], card)
            rows = [index[node] for node in outer.nodes]
            size = inner.shape[0]
            columns = [k for k, pin in enumerate(pins[outer.cell]) if pin.startswith("c")]
            drivers = [k for k in range(size) if k not in columns]
            # Between drivers and columns there is nothing but the crossbar.
            ours = inner[np.ix_(drivers, columns)]
            at = np.ix_([rows[k] for k in drivers], [rows[k] for k in columns])
            model = nodal.conductance.toarray()[at]
            np.testing.assert_allclose(model, ours, rtol=1e-9, atol=1e-15)


def node_indices(chip: Chip, nodal: NodalEquations) -> dict[str, int]:
    """Rows of the model's equations by the names of the netlist's nodes."""
    out: dict[str, int] = {}
    for port in chip.circuit.nodes:
        rows = nodal.nodes(port).tolist()
        out.update(zip(chip.circuit.names(port), rows, strict=True))
    return out


def crossbar_admittance(cells: list[Instance], pins: list[str], card: Card) -> NDArray[np.float64]:
    """Admittance between the pins, from the lines of the subcircuit alone."""
    word, bit = card.wire.word, card.wire.bit
    edges: list[tuple[str, str, float]] = []
    for cell in cells:
        gp, gn = float(cell.values["gp"]), float(cell.values["gn"])
        if cell.cell == "pair":
            plus, minus, column = cell.nodes
            edges += [(plus, column, gp), (minus, column, gn)]
            continue
        assert word is not None
        assert bit is not None
        p_in, p_out, n_in, n_out, above, below = cell.nodes
        middle = f"{cell.name}.b"
        edges += [(p_in, p_out, 1 / word), (n_in, n_out, 1 / word), (above, middle, 1 / bit)]
        edges += [(p_out, middle, gp), (middle, below, 1 / bit), (n_out, below, gn)]
    if bit is not None:
        rows = sum(pin.startswith("p") for pin in pins)
        columns = [pin for pin in pins if pin.startswith("c")]
        edges += [(f"b{rows}_{pin[1:]}", pin, 1 / bit) for pin in columns]
    nodes = dict.fromkeys([*pins, *(end for a, b, _ in edges for end in (a, b))])
    index = {node: k for k, node in enumerate(nodes)}
    y = np.zeros((len(index), len(index)))
    for a, b, g in edges:
        j, k = index[a], index[b]
        y[[j, k], [j, k]] += g
        y[[j, k], [k, j]] -= g
    n = len(pins)
    if len(index) == n:
        return y
    return np.asarray(y[:n, :n] - y[:n, n:] @ np.linalg.solve(y[n:, n:], y[n:, :n]))


@settings(max_examples=25)
@given(
    network=small_networks(),
    seed=st.none() | seeds(),
    fidelity=st.sampled_from(FIDELITIES),
    readout=st.builds(Readout, st.booleans(), st.booleans(), st.booleans()),
    ideal=st.booleans(),
)
def test_every_cell_of_a_netlist_is_in_it_with_the_pins_and_parameters_that_are_used(
    network: Network, seed: int | None, fidelity: Fidelity, readout: Readout, ideal: bool
) -> None:
    card = CARD.ideal() if ideal else CARD
    netlist = netlist_of(network, seed, fidelity, card, readout=readout)
    deck = netlist.deck(bench_of(netlist.chip.design))
    check_deck(deck)
    known = interfaces(deck)
    used = [one for _, one in instances(deck)]
    assert {one.cell for one in used} <= set(known)
    for one in used:
        pins, parameters = known[one.cell]
        assert len(one.nodes) == len(pins), one
        assert set(one.values) <= parameters, one
    names = set(re.findall(r"^\.param (\w+)=", deck, re.MULTILINE))
    names.update(*(parameters for _, parameters in known.values()))
    for _, line in logical_lines(deck):
        for expression in re.findall(r"\{([^}]*)\}", line):
            assert set(re.findall(r"(?<![\w.])[a-z_]\w*", expression)) <= names, line


@settings(max_examples=25)
@given(network=small_networks(), seed=seeds(), fidelity=st.sampled_from(FIDELITIES))
def test_numbers_in_a_netlist_are_plain_decimals(
    network: Network, seed: int, fidelity: Fidelity
) -> None:
    netlist = netlist_of(network, seed, fidelity)
    text = netlist.circuit + bench_of(netlist.chip.design)
    for trace in ("float64", "tensor", "nan", "inf ", "=inf", "array"):
        assert trace not in text.lower()
    plain = re.compile(r"-?\d+(\.\d+)?(e[+-]?\d+)?")
    for _, line in logical_lines(f"title\n{text}"):
        if line.startswith("."):
            continue
        for value in re.findall(r"=(\S+)", line):
            assert plain.fullmatch(value), line
        if line[0] == "V":
            values = re.sub(r"PWL\(|\)", "", line).split()[3:]
            assert all(spice_number(v) is not None and plain.fullmatch(v) for v in values), line
    for name, value in re.findall(r"^\.param (\w+)=(.*)$", netlist.circuit, re.MULTILINE):
        assert plain.fullmatch(value), name


NAMES = st.text(max_size=30) | st.sampled_from(
    ["x\n.control\nshell id\n.endc", "x\r.include /etc/passwd", "x ; R1 a 0 1", "x\n* y", "*# quit",
     "x $ y", "x\v.end", "x\u2028.end", "`id`", "{gbw}", "+ 1", "", " ", "x\n"]
)  # fmt: skip


@given(name=NAMES)
def test_the_name_of_a_card_cannot_add_a_line_to_the_netlist(name: str) -> None:
    reference_line = f'name = "{CARD.card.name}"'
    assert reference_line in CARD.text
    try:
        card = Card.parse(CARD.text.replace(reference_line, f"name = {json.dumps(name)}"))
    except UserError:
        return
    network = Network([2, 1], generator=torch.Generator().manual_seed(0))
    decks = []
    for one in (CARD, card):
        design = design_on(network, one)
        decks.append(Netlist.of(Chip.of(design, 0), "macro").deck(bench_of(design)))
    check_deck(decks[1])
    assert list(logical_lines(decks[1])) == list(logical_lines(decks[0]))
    assert len(decks[1].splitlines()) == len(decks[0].splitlines())


@pytest.mark.parametrize("name", ["two\nlines", "two\rlines", "end\n", "\n", "tab\t"])
def test_a_card_whose_name_is_not_one_line_is_refused(name: str) -> None:
    text = CARD.text.replace(f'name = "{CARD.card.name}"', f"name = {json.dumps(name)}")
    with pytest.raises(UserError, match=r"\[card\] name"):
        Card.parse(text)


def test_a_netlist_is_written_without_any_simulator(tmp_path: Path) -> None:
    code = """
import sys
sys.modules["PySpice"] = None  # importing it is an error
import torch
from analogdfc.feedback import DirectFeedback
from analogdfc.cards.technology import Card
from analogdfc.circuit.chip import Chip
from analogdfc.circuit.design import Design
from analogdfc.kits import get_kit
from analogdfc.network import Network
from analogdfc.spice.netlist import Netlist
from analogdfc.spice.testbench import Testbench
network = Network([3, 4, 2], generator=torch.Generator().manual_seed(0))
design = Design.of(network, DirectFeedback.transposed(network), Card.load("discrete_100mhz"))
netlist = Netlist.of(Chip.of(design, 0), "macro")
bench = Testbench(netlist.chip, torch.ones(3), torch.ones(2), duration=1.0, max_step=0.02)
netlist.write(sys.argv[1], bench.text())
assert not any(name.startswith("PySpice.") for name in sys.modules)
"""
    command = [sys.executable, "-c", code, str(tmp_path / "out")]
    environment = {"PATH": str(tmp_path), "OMP_NUM_THREADS": "1"}
    subprocess.run(command, cwd=tmp_path, env=environment, check=True, timeout=120)
    written = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert written == ["cells.lib", "circuit.cir", "devices.csv", "devices.h5", "testbench.cir"]


def test_a_netlist_reads_in_the_order_of_the_signal() -> None:
    design = design_on(Network([3, 4, 2], generator=torch.Generator().manual_seed(0)))
    text = circuit(Chip.of(design, 0))
    headings = ["Layer 1: W1", "Layer 1: Q1", "Layer 1: neurons", "Layer 2: W2", "Controller: one"]
    places = [text.index(f"* {heading}") for heading in headings]
    assert all(a < b for a, b in pairwise(places))
    assert max(map(len, text.splitlines())) <= 100


def test_a_line_of_brackets_is_no_card_of_a_model() -> None:
    check_deck("title\n( )\n(\n.end\n")


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("params:", "'params:' is no device"),
        (".subckt", "'.subckt' is no device, and names no subcircuit"),
        ("R1 a", "'r1' connects fewer than two nodes"),
        ("X1", "x1 is an instance of '', which isn't there"),
        (".subckt c a\nX1 a c\n.ends\nX2 n c", "the subcircuit 'c' holds itself"),
        (".subckt c a b\nR1 a b 1\n.ends\nX1 n c", "'x1' connects 1 nodes; 'c' has 2 pins"),
    ],
)
def test_a_deck_whose_devices_can_not_be_told_is_refused(lines: str, message: str) -> None:
    with pytest.raises(UserError, match=re.escape(message)):
        list(devices(f"title\n{lines}\n.end\n"))

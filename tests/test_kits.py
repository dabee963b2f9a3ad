"""Process kits: read as data, flattened one model a size, with the currents that the kit gives."""

from __future__ import annotations

import configparser
import re
import subprocess
from importlib import metadata
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from strategies import network_of

from analogdfc import records
from analogdfc.cards.technology import Card
from analogdfc.circuit.chip import Chip
from analogdfc.circuit.design import Design
from analogdfc.cli import cli
from analogdfc.comparison import compare
from analogdfc.errors import UserError
from analogdfc.feedback import DirectFeedback
from analogdfc.kits import CORNERS, GF180, KITS, SKY130, Corner, Kit, Transistor, base, get_kit
from analogdfc.kits.expressions import Scope
from analogdfc.kits.reading import models, parameters, section, statements
from analogdfc.spice.circuit import Circuit
from analogdfc.spice.engines import get_simulator
from analogdfc.spice.installed import find_binary
from analogdfc.spice.interfaces import interfaces
from analogdfc.spice.netlist import Netlist
from analogdfc.spice.process import run_limited
from analogdfc.spice.testbench import Testbench as Bench  # pytest collects what starts with Test
from analogdfc.spice.transistors import for_klu, for_transistors
from analogdfc.study import Study

ROOT = Path(__file__).parents[1]
NAMES = ("nfet_10u_1u", "pfet_100u_1u", "pfet_80u_600n", "nfet_5u_4u", "nfet_20u_1u", "pfet_4u_8u")
BIASES = ((0.5, 1.0, 0.0), (1.2, 0.1, 0.0), (1.2, 2.0, 0.5), (2.0, 3.0, 0.0))
"""Gate and drain volts, and volts by which the well is biased backwards."""

ngspice = pytest.mark.skipif(find_binary() is None, reason="ngspice isn't installed")


def is_there(kind: type[Kit]) -> bool:
    try:
        metadata.distribution(kind.package or "")
    except metadata.PackageNotFoundError:
        return False
    return True


def needs(kind: type[Kit]) -> pytest.MarkDecorator:
    why = f"the process kit {kind.package} isn't installed: {kind.command}"
    return pytest.mark.skipif(not is_there(kind), reason=why)


FOUNDRIES = [pytest.param(kind, marks=needs(kind), id=kind.name) for kind in (GF180, SKY130)]
ALL = [*FOUNDRIES, pytest.param(KITS["generic"], id="generic")]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ANALOGDFC_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_the_kits_tested_with_are_the_versions_that_the_commands_name() -> None:
    extras = configparser.ConfigParser()
    extras.read(ROOT / "setup.cfg")
    named = extras["options.extras_require"]["gf180"].strip(), SKY130.command.split()[-1]
    (line,) = re.findall(r"^KITS := (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert tuple(line.split()) == named
    assert [name.partition("==")[0] for name in named] == [GF180.package, SKY130.package]


# Reading


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1.5meg", 1.5e6),
        ("{2 * a + 1}", 7.0),
        ("'(f==0)*3.2e+041 + (f==1)*3.5e+042'", 3.2e41),
        ("0.7071*b* 1e-06 / sqrt((a)*(12))", 0.7071 * 0.5 * 1e-6 / 6),
        ("-2**2", -4.0),
        ("(a == 0) ? 1e-15 : a", 3.0),
        ("1.16e-08+1*agauss(0,1.0,1)*(1.16e-08*(b/sqrt(a*12*1)))", 1.16e-8),
        ("max(a, b, 10u)", 3.0),
        ("!f && a > 2 || 0", 1.0),
    ],
)
def test_an_expression_has_the_value_that_spice_gives_it(text: str, value: float) -> None:
    names = {"a": "3", "b": "{a / 6}", "f": "0"}
    assert Scope(names).value(text) == pytest.approx(value, rel=1e-15)


def test_a_draw_is_its_mean_and_its_deviations() -> None:
    assert Scope({}, draws=2.0).value("1 + agauss(3, 6, 3)") == pytest.approx(1 + 3 + 2 * 6 / 3)


@pytest.mark.parametrize(
    "text", ["a", "1 +", "(1", "1)", "system(1)", "1 / 0", "x x", "__import__('os')", "sqrt(-1)",
             "1,2", "agauss(1)", "1e400", "(" * 5000, "b"]
)  # fmt: skip
def test_an_expression_that_cannot_be_evaluated_is_refused(text: str) -> None:
    with pytest.raises(UserError):
        Scope({"b": "b + 1"}).value(text)


def test_sections_parameters_and_models_are_read_as_they_stand() -> None:
    text = (
        ".lib a\n.param x=1 ; one\n+ y = '2*x' $ two\n* + z=3\n.model m.1 nmos\n+lmin = 1 w={x}\n"
    )
    text = section(f"{text}.endl a\n.lib b\n.param x=7\n.endl\n", "a", Path("kit"))
    assert parameters(text) == {"x": "1", "y": "'2*x'"}
    (model,) = models(text)
    assert (model.name, model.kind, model.values) == ("m.1", "nmos", {"lmin": "1", "w": "{x}"})
    with pytest.raises(UserError, match=r"kit: .* no section 'c'"):
        section(text, "c", Path("kit"))
    assert list(statements("* only\n\n")) == []


@pytest.mark.parametrize("name", ["nfet", "nfet_10u", "qfet_1u_1u", "nfet_0_1u", "nfet_x_1u"])
def test_what_names_no_transistor_is_none(name: str) -> None:
    assert Transistor.of(name) is None
    with pytest.raises(UserError, match="names no transistor"):
        get_kit("generic").text([name])


# A kit that isn't there, or lacks what is asked for


@pytest.mark.parametrize("kind", [GF180, SKY130])
def test_a_kit_that_is_not_installed_is_refused_by_name(
    kind: type[Kit], monkeypatch: pytest.MonkeyPatch
) -> None:
    def nothing(name: str) -> metadata.Distribution:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(base, "distribution", nothing)
    with pytest.raises(UserError) as error:
        kind().text(["nfet_10u_1u"])
    assert repr(kind.package) in str(error.value)
    assert kind.command in str(error.value)


def test_an_unknown_kit_or_corner_is_answered_with_those_that_exist() -> None:
    with pytest.raises(UserError, match="gf180, sky130, generic"):
        get_kit("tsmc")
    with pytest.raises(UserError, match="typical, ss, ff"):
        get_kit("generic", "tt")  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ALL)
def test_a_size_that_the_process_lacks_is_refused(kind: type[Kit]) -> None:
    with pytest.raises(UserError, match="nfet_10u_10n: the process has no transistor"):
        kind().text(["nfet_10u_10n"])


# What is made of a kit


def currents(library: str, instance: list[str], folder: Path) -> list[float]:
    """Drain currents of the transistors at every bias, by the program: it may include files."""
    lines, printed = ["* bias points", library], []
    for k, (name, (gate, drain, back)) in enumerate(product(NAMES, BIASES)):
        sign = 1 if name[0] == "n" else -1
        volts = {"d": sign * drain, "g": sign * gate, "b": -sign * back}
        lines += [f"V{node}{k} {node}{k} 0 {v}" for node, v in volts.items()]
        lines.append(f"X{k} d{k} g{k} 0 b{k} {instance[NAMES.index(name)]}")
        printed.append(f"print i(vd{k})")
    lines += [".options gmin=1e-15 temp=27 tnom=27 reltol=1e-6", ".control", "set numdgt=9", "op"]
    lines += [*printed, ".endc", ".end"]
    (folder / "deck.cir").write_text("\n".join(lines) + "\n")
    (folder / ".spiceinit").write_text("* none\n")
    command = [find_binary() or "", "-b", "deck.cir"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60)
    return [float(i) for i in re.findall(r"^i\(vd\d+\) = (\S+)", done.stdout, re.MULTILINE)]


def as_it_is(kind: type[Kit], corner: Corner) -> tuple[str, list[str]]:
    """A kit's own library, and its own transistors of the sizes in `NAMES`."""
    sizes = [t for t in map(Transistor.of, NAMES) if t is not None]
    if kind is GF180:
        folder = kind().files()[0].parent
        library = f".include {folder}/design.ngspice\n.lib {folder}/sm141064.ngspice {corner}"
        unit, cell = 1.0, "{p}fet_03v3"
    else:
        root = kind().files()[-1].parents[2]
        ends = ("tt" if corner == "typical" else corner, "mismatch")
        files = [f"cells/{p}fet_g5v0d10v5/sky130_fd_pr__{p}fet_g5v0d10v5__{end}.corner.spice"
                 for p in "np" for end in ends]  # fmt: skip
        included = [f".include {root}/{file}" for file in ("models/parameters/lod.spice", *files)]
        library = "\n".join([".options scale=1e-6", ".param mc_mm_switch=0", *included])
        unit, cell = 1e6, "sky130_fd_pr__{p}fet_g5v0d10v5"
    instances = []
    for t in sizes:
        w, d = unit * t.width, unit * 0.5e-6
        area, edge = w * d, 2 * (w + d)
        words = f"w={w} l={unit * t.length} ad={area} as={area} pd={edge} ps={edge}"
        instances.append(f"{cell.format(p=t.polarity)} {words}")
    return library, instances


@ngspice
@pytest.mark.parametrize("corner", ["typical", "sf"])
@pytest.mark.parametrize("kind", FOUNDRIES)
def test_a_flattened_kit_gives_the_currents_of_the_kit_as_it_is(
    kind: type[Kit], corner: Corner, tmp_path: Path
) -> None:
    flat = currents(kind(corner).text(NAMES), list(NAMES), tmp_path)
    kit = currents(*as_it_is(kind, corner), tmp_path)
    assert len(flat) == len(kit) == len(NAMES) * len(BIASES)
    np.testing.assert_allclose(flat, kit, rtol=1e-6)


@pytest.mark.parametrize("kind", ALL)
def test_corners_differ_and_the_notice_goes_with_every_text(kind: type[Kit]) -> None:
    texts = {corner: kind(corner).text(["nfet_10u_1u", "pfet_80u_1u"]) for corner in CORNERS}
    assert len({text.partition("\n")[2] for text in texts.values()}) == len(CORNERS)
    for text in texts.values():
        assert set(interfaces(text)) == {"nfet_10u_1u", "pfet_80u_1u"}
        assert ("Licensed under the Apache License" if kind.package else "of no foundry") in text
        assert "{" not in text  # nothing is left to be evaluated


@pytest.mark.parametrize("kind", ALL)
def test_mismatch_falls_with_the_root_of_the_area(kind: type[Kit]) -> None:
    def sigmas(name: str) -> list[float]:
        text = kind(mismatch=True).text([name])
        return [float(sigma) for sigma in re.findall(r"agauss\([^,]+,([^,]+),1\)", text)]

    small, large = sigmas("nfet_10u_1u"), sigmas("nfet_40u_4u")
    assert len(small) == len(large) > 0
    for a, b in zip(small, large, strict=True):
        assert a / b == pytest.approx(4, rel=0.25)  # other bins, other fits
    assert "agauss" not in kind().text(["nfet_10u_1u"])


# The cache


def test_the_cache_is_asked_first_and_made_anew_where_it_was_changed(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = get_kit("generic").text(["nfet_10u_1u"])
    (file,) = cache.rglob("*.lib")
    changed = file.read_text().replace("vth0=0.6", "vth0=0.5")
    with monkeypatch.context() as patch:
        patch.setattr(KITS["generic"], "_made", lambda *_: pytest.fail("made twice"))
        assert get_kit("generic").text(["nfet_10u_1u"]) == text
    file.write_text(changed)
    assert get_kit("generic").text(["nfet_10u_1u"]) == text
    assert get_kit("generic", "ss").text(["nfet_10u_1u"]) != text
    assert len(list(cache.rglob("*"))) == len(list(cache.rglob("*.lib"))) + 2  # folders


def test_a_cache_that_cannot_be_written_names_its_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("ANALOGDFC_CACHE", str(tmp_path / "file"))
    with pytest.raises(UserError, match="Name another folder in ANALOGDFC_CACHE"):
        get_kit("generic").text(["nfet_10u_1u"])
    monkeypatch.delenv("ANALOGDFC_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    get_kit("generic").text(["nfet_10u_1u"])
    assert list((tmp_path / "xdg" / "analogdfc").rglob("generic-*.lib"))


def test_nothing_of_a_kit_is_in_the_repository() -> None:
    for folder in ("circuits", "netlists", "calibration"):
        for path in (ROOT / folder).rglob("*.*"):
            if path.suffix in (".lib", ".cir", ".toml", ".py"):
                text = path.read_text("utf-8")
                assert not re.search(r"level ?= ?54|toxe|PDK Authors", text, re.IGNORECASE), path


# The cells


def design(name: str, card: Card | None = None) -> Design:
    network = network_of([3, 4, 2], seed=1)
    feedback = DirectFeedback.transposed(network)
    return Design.of(network, feedback, Card.load(name) if card is None else card)


@pytest.mark.parametrize("kind", ALL)
def test_the_card_of_a_kit_is_one_that_its_cells_can_do(kind: type[Kit]) -> None:
    netlist = Netlist.of(Chip.of(design(kind.name), 0), "transistor", kit=kind())
    assert not set(re.findall(r"\b[np]fet_\w+", netlist.cells)) - {
        word for name in interfaces(netlist.cells) for word in (name, f"{name}_model")
    }


@pytest.mark.parametrize(
    ("section", "values", "message"),
    [
        ("amplifier", {"saturation": 1.6}, r"can't hold more than 1.45 V .* the card 'generic'"),
        ("amplifier", {"saturation": None}, r"saturation is missing"),
        ("amplifier", {"supply": 2.5}, r"supply = 2.5 V: the transistors of generic are for"),
        ("scale", {"activation": 0.3}, r"activation = 0.3 V: generic's tanh cell has 0.25 V"),
        ("tanh", {"current": 3e-6}, r"current = 3e-06 A: generic's tanh cell has 2e-06 A"),
    ],
)  # fmt: skip
def test_a_card_that_transistors_cannot_do_is_refused(
    section: str, values: dict[str, float | None], message: str
) -> None:
    card = Card.load("generic").replace(section, **values)
    with pytest.raises(UserError, match=message):
        Netlist.of(Chip.of(design("", card)), "transistor", kit=get_kit("generic"))


def test_transistors_need_a_kit_and_other_cells_have_none() -> None:
    chip = Chip.of(design("generic"))
    with pytest.raises(UserError, match="transistors need a process kit"):
        Netlist.of(chip, "transistor")
    with pytest.raises(UserError, match="other cells have none"):
        Netlist.of(chip, "macro", kit=get_kit("generic"))


BENCH = """* a follower, an amplifier of gain -1 into 16 kilohms, two tanh cells
{library}
Vdd vdd 0 1.65
Vss vss 0 -1.65
Vin in 0 PWL(0 0 1u 0 1.1u 0.5 3u 0.5)
Vref ref 0 0.05
Xfollow ref f f vdd vss opamp
Ra in x 100k
Rb x o 100k
Xgain 0 x o vdd vss opamp
Rload o 0 16k
Xup in 0 u vdd vss tanh_cell
Vup u 0 0
Xdown 0 in d vdd vss tanh_cell
Vdown d 0 0
.options reltol=1e-5 gmin=1e-15
.tran 10n 3u 0 20n
.end
"""


@ngspice
@pytest.mark.parametrize("kind", ALL)
def test_amplifier_and_tanh_cell_do_what_the_card_says(kind: type[Kit]) -> None:
    card = Card.load(kind.name)
    netlist = Netlist.of(Chip.of(design(kind.name)), "transistor", kit=kind())
    deck = BENCH.format(library=f".param r_switch=1k\n{netlist.cells}")
    save = ["f", "x", "o", "i(vup)", "i(vdown)", "i(vdd)"]
    found = get_simulator("batch").run(deck, save=save).signals
    first, last = ({name: float(found[name][k]) for name in save} for k in (0, -1))
    gain = (last["o"] - first["o"]) / (first["x"] - last["x"])
    # The card's is at 0 V; half a volt lower it is another.
    assert gain == pytest.approx(gain_into(card, 1 / 16e3 + 1 / 100e3), rel=0.15)
    assert first["f"] == pytest.approx(0.05, abs=1e-3)
    assert last["o"] == pytest.approx(-0.5, abs=3e-3)
    current = card.tanh.current * np.tanh(0.5 / card.scale.activation)
    assert last["i(vup)"] == pytest.approx(-current, rel=0.01)
    assert last["i(vdown)"] == pytest.approx(current, rel=0.01)
    assert first["i(vup)"] == pytest.approx(0, abs=0.01 * current)
    supply = 2 * card.amplifier.quiescent_current + 4 * card.tanh.current
    assert -first["i(vdd)"] == pytest.approx(supply, rel=0.03)


SWITCHED = """* a hold that tracks 0.25 V, a reset switch across a capacitor, one that carries 1 uA
{library}
.param c_hold=1p v_supply=1.65
Vin in 0 0.25
Vrst rst 0 PWL(0 1 100n 1 100.05n 0)
Xhold in out rst hold
Rs 0 s 1k
Xreset s c rst switch
Cint c 0 50p
Ion 0 w 1u
Xon w 0 rst switch
.options reltol=1e-5 gmin=1e-15
.tran 10n 4u 0 50n
.end
"""


@ngspice
@pytest.mark.parametrize("kind", ALL)
def test_holds_and_switches_inject_little_and_leak_less(kind: type[Kit]) -> None:
    card = Card.load(kind.name)
    deck = SWITCHED.format(library=switching(kind))
    found = get_simulator("batch").run(deck, save=["out", "c", "w"])
    before, after = np.searchsorted(found.time, [99e-9, 120e-9])
    out, c, w = (found.signals[name] for name in ("out", "c", "w"))
    assert out[before] == pytest.approx(0.25, abs=1e-5)
    assert 1e-7 < abs(out[after] - out[before]) < 1e-4
    assert abs(out[-1] - out[after]) < 2e-6
    assert 1e-5 < abs(c[after] - c[before]) < 1e-3
    assert w[before] / 1e-6 == pytest.approx(card.passive.r_switch, rel=0.05)


def switching(kind: type[Kit]) -> str:
    """The cells that switch, with their transistors."""
    folder = ROOT / "circuits"
    text = "".join(
        (folder / f"{c}_transistor_{kind.name}.lib").read_text() for c in ("hold", "switch")
    )
    return text + kind().text(sorted(set(re.findall(r"[np]fet_\w+", text))))


def gain_into(card: Card, load: float) -> float:
    """Gain of the card's amplifier with a load in siemens."""
    a = card.amplifier
    assert a.gain is not None
    assert a.stage_resistance is not None
    return a.gain / (1 + a.stage_resistance * load)


@ngspice
@pytest.mark.parametrize("seed", [None, 0])
def test_model_and_macro_cells_agree_on_a_gain_that_a_load_lowers(seed: int | None) -> None:
    here = design("generic")
    x, step = torch.tensor([[0.3, -0.5, 0.8]]).double(), torch.tensor([[0.1, -0.1]]).double()
    study = Study(here, x, step, here.tau_v / 5, 100)
    circuit = Circuit(Chip.of(here, seed), "macro", get_simulator("batch"))
    run = circuit.run(x, step, dt=study.dt, steps=study.steps)
    (model,) = study.behavioural([seed])
    found = compare(here, ("circuit", "model"), "parity", run, model)
    assert max(update.angle for update in found.updates.values()) < 0.01
    assert found.worst_signal < 0.005


@ngspice
def test_model_and_macro_cells_agree_on_tanh_cells_as_they_were_measured() -> None:
    card = Card.load("generic").replace(
        "tanh", peak_current=2.1e-6, scale=0.277, input_resistance=300e3
    )
    here = design("", card)
    x, step = torch.tensor([[0.3, -0.5, 0.8]]).double(), torch.tensor([[0.1, -0.1]]).double()
    study = Study(here, x, step, here.tau_v / 5, 100)
    circuit = Circuit(Chip.of(here, 0), "macro", get_simulator("batch"))
    run = circuit.run(x, step, dt=study.dt, steps=study.steps)
    (model,) = study.behavioural([0])
    (usual,) = Study(design("generic"), x, step, study.dt, study.steps).behavioural([0])
    found, other = (
        compare(here, ("circuit", name), "parity", run, each)
        for name, each in (("model", model), ("usual", usual))
    )
    assert max(update.angle for update in found.updates.values()) < 0.01
    assert found.worst_signal < 0.005
    assert other.worst_signal > 0.02


@ngspice
def test_the_model_with_the_card_of_a_kit_predicts_the_transistors() -> None:
    here = design("generic")
    x, step = torch.tensor([[0.3, -0.5, 0.8]]).double(), torch.tensor([[0.1, -0.1]]).double()
    study = Study(here, x, step, here.tau_v / 5, 50)
    circuit = Circuit(
        Chip.of(here, 0), "transistor", get_simulator("batch"), kit=get_kit("generic")
    )
    run = circuit.run(x, step, dt=study.dt, steps=study.steps, tolerances=[100.0])
    (model,) = study.behavioural([0])
    found = compare(here, ("circuit", "model"), "parity", run, model)
    assert max(update.angle for update in found.updates.values()) < 0.7
    # Short after the release, so that what the opening switches kick counts.
    assert max(v for name, v in found.signals.items() if name.endswith("dev")) < 0.03


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--fidelity", "transistor"], "--fidelity transistor and --pdk go together"),
        (["--pdk", "generic"], "--fidelity transistor and --pdk go together"),
        (["--corner", "ss"], "--corner: without --pdk there is no process"),
        (
            ["--fidelity", "transistor", "--pdk", "generic", "--card", "discrete_100mhz"],
            "can't hold more than 1.45 V",
        ),
    ],
)
def test_a_command_says_what_goes_with_transistors(
    options: list[str], message: str, tmp_path: Path
) -> None:
    result = CliRunner().invoke(cli, ["netlist", "--sizes", "2-1", "-o", str(tmp_path), *options])
    assert result.exit_code == 2
    assert message in result.output


@ngspice
def test_a_record_names_the_kit_and_its_card(tmp_path: Path) -> None:
    record = tmp_path / "compare.h5"
    options = ["--sizes", "1-1", "--fidelity", "transistor", "--pdk", "generic", "--corner", "ff"]
    rest = ["--samples", "1", "--duration", "1", "--no-causes", "-o", str(record)]
    result = CliRunner().invoke(cli, ["compare", *options, *rest])
    assert result.exit_code == 0, result.output
    assert "transistor cells" in result.output
    kept = records.read(record)
    assert kept.text("kit") == "generic, corner ff"
    assert kept.text("settings/card") == "generic"
    told = "Warning: the transistors are of corner ff, the card 'generic' of the typical one"
    assert told in " ".join(result.output.split())


def test_a_card_of_ones_own_is_not_taken_for_that_of_the_typical_corner() -> None:
    card = Card.load("generic")
    own = card.model_copy(update={"card": card.card.model_copy(update={"name": "at ss"})})
    ss = get_kit("generic", "ss")
    assert "characterised at ss (`analogdfc characterise`" in ss.remarks(card)[0]
    assert ss.remarks(own) == get_kit("generic").remarks(card) == []


def test_the_card_of_a_kit_is_the_default_beside_it(tmp_path: Path) -> None:
    options = [
        "--sizes",
        "2-1",
        "--fidelity",
        "transistor",
        "--pdk",
        "generic",
        "-o",
        str(tmp_path),
    ]
    result = CliRunner().invoke(cli, ["netlist", *options])
    assert result.exit_code == 0, result.output
    circuit, cells = ((tmp_path / name).read_text() for name in ("circuit.cir", "cells.lib"))
    assert f"card: {Card.load('generic').card.name}" in circuit
    assert ".model nfet_10u_1u_model nmos" in cells


@ngspice
def test_a_written_netlist_of_transistors_finds_its_rest_in_ngspice_by_itself(
    tmp_path: Path,
) -> None:
    """Not the end of a pseudo-transient, which misses the tolerances."""
    chip = Chip.of(design("generic"), 0)
    netlist = Netlist.of(chip, "transistor", kit=get_kit("generic"))
    bench = Bench(chip, torch.full((3,), 0.3), torch.full((2,), 0.1), duration=0.01, max_step=0.01)
    netlist.write(tmp_path, bench.file_text())
    written = (tmp_path / "testbench.cir").read_text("ascii")
    assert for_transistors(netlist.deck(bench.file_text())) in written.splitlines()
    assert f"`{for_klu(netlist.cells)}`" in written
    command = [find_binary() or "", "-b", "-r", "waveforms.raw", "testbench.cir"]
    done = run_limited(command, tmp_path, {}, 600.0)
    assert done[0] == 0
    assert not any("Transient op" in line for line in done[1])

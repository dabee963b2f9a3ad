"""VACASK simulates what ngspice simulates; its decks are written from the same netlists."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from simulating import RC_STEP

from analogdfc.cards.technology import Card
from analogdfc.errors import ConvergenceError, UserError
from analogdfc.kits import KITS
from analogdfc.spice.dialects import get_dialect
from analogdfc.spice.dialects.statements import (
    Behaviour,
    Device,
    Instance,
    Parameters,
    Subckt,
    SwitchModel,
    Transient,
    Waveform,
    plain,
    statements,
)
from analogdfc.spice.dialects.veriloga import module_of
from analogdfc.spice.engines import get_simulator
from analogdfc.spice.installed import find_vacask
from analogdfc.spice.vacask import VacaskProgram
from analogdfc.study import Cells, Study
from benchmarks._measure import case

needed = pytest.mark.skipif(find_vacask() is None, reason="VACASK is not installed")

SIZES = ("nfet_10u_1u", "pfet_80u_600n", "nfet_5u_4u")


@needed
def test_step_response_of_rc_is_the_exponential() -> None:
    found = VacaskProgram().run(RC_STEP, save=["out", "V(x1.MID)", "i(v1)"])
    late = found.time > 2e-12
    exact = 1 - np.exp(-found.time[late] / 1e-6)
    out, middle, current = (found.signals[name][late] for name in found.signals)
    np.testing.assert_allclose(out, exact, atol=1e-5)
    np.testing.assert_allclose(middle, (1 + exact) / 2, atol=1e-5)
    np.testing.assert_allclose(current, (exact - 1) / 1e3, atol=1e-8)
    assert found.made_by.startswith("VACASK 0.")


@needed
@pytest.mark.parametrize("fidelity", ["ideal", "macro"])
def test_both_engines_agree_on_every_signal(fidelity: str) -> None:
    here = case((3, 4, 2), 0, 1)
    study = Study(here.design, here.x, here.step, 0.05, 200)
    cells = Cells("macro" if fidelity == "macro" else "ideal", get_simulator("ngspice"), seed=0)
    other = replace(cells, simulator=VacaskProgram(), beside=True)
    found = study.run(cells, other)
    (parity,) = found.comparisons
    assert (parity.reference, parity.other) == (f"{fidelity} cells", f"{fidelity} cells in VACASK")
    assert max(parity.signals[name] for name in ("v1", "v2", "u")) < 2e-4
    # The error signal is a difference of large ones.
    assert parity.worst_signal < 5e-4
    free = [run.free.v for run in found.runs.values()]
    for one, two in zip(*free, strict=True):
        torch.testing.assert_close(one, two, rtol=0, atol=1e-10)


@needed
@pytest.mark.parametrize("kit", KITS)
def test_transistors_agree_in_both_engines(kit: str) -> None:
    """At bias points: the equations and their defaults are those of the model's version."""
    try:
        text = KITS[kit]().text(SIZES)
    except UserError as error:
        pytest.skip(str(error))
    lines = ["transistors at bias points", text]
    for number, (name, gate) in enumerate(product(SIZES, (0.5, 1.2, 2.0))):
        sign = 1 if name[0] == "n" else -1
        lines += [f"Vd{number} d{number} 0 {sign}", f"Vg{number} g{number} 0 {sign * gate}"]
        lines += [f"X{number} d{number} g{number} 0 0 {name}"]
    lines += [".options reltol=1e-9 gmin=1e-15 temp=27 tnom=27", ".tran 1n 2n 0 1n", ".end", ""]
    saved = [f"i(vd{number})" for number in range(3 * len(SIZES))]
    found = [
        run.run("\n".join(lines), save=saved).signals
        for run in (get_simulator("batch"), VacaskProgram())
    ]
    ours, theirs = (np.array([one[name][-1] for name in saved]) for one in found)
    np.testing.assert_allclose(ours, theirs, rtol=1e-5)


@needed
def test_a_loop_in_transistors_agrees_in_both_engines() -> None:
    """With switches that open: steps so short that currents of 1e-13 A are rounded off."""
    here = case((1, 1), 0, 1).on(Card.load("generic"))
    study = Study(here.design, here.x, here.step, 0.05, 40)
    cells = Cells("transistor", get_simulator("ngspice"), seed=0, kit=KITS["generic"]())
    (parity,) = study.run(cells, replace(cells, simulator=VacaskProgram(), beside=True)).comparisons
    assert max(parity.signals[name] for name in ("v1", "u")) < 2e-4


def test_what_only_ngspice_draws_or_models_is_refused() -> None:
    drawn = KITS["generic"](mismatch=True).text(["nfet_10u_1u"])
    with pytest.raises(UserError, match=r"line \d+: .* draws at random"):
        list(statements(drawn.split("\n")))
    (model,) = statements([".model old nmos level=1 vto=1"])
    with pytest.raises(UserError, match="model old: level 1 can't be written for VACASK"):
        list(get_dialect("vacask").lines([model]))
    for name in ("xyce", "spectre"):
        with pytest.raises(UserError, match="old: transistors can't be written for"):
            list(get_dialect(name).lines([model]))


@needed
@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("Q1 in 0 0 model", "can be written for ngspice alone"),
        ("X9 in 0 nothing", "VACASK refuses the netlist: Master 'nothing' not found"),
        ("R9 in 0 {nothing}", "VACASK refuses the netlist.*nothing"),
        ("V9 in 0 2", "VACASK (did not converge|refuses)"),
    ],
)
def test_a_netlist_that_it_cannot_simulate_is_an_error(line: str, problem: str) -> None:
    with pytest.raises(UserError, match=problem):
        VacaskProgram().run(RC_STEP.replace(".end\n", f"{line}\n.end\n", 1), save=["out"])


@needed
def test_a_signal_that_is_not_there_is_named() -> None:
    with pytest.raises(UserError, match="nope"):
        VacaskProgram().run(RC_STEP, save=["nope"])
    with pytest.raises(UserError, match="VACASK has no such signal"):
        VacaskProgram().run(RC_STEP, save=["@r1[i]"])


def test_trouble_is_quoted_before_what_models_remark(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "vacask"
    remark = "OSDI(warn) xn1:m1: Source conductance too small."
    said = [*[remark] * 9, "Time step too small.", "Analysis 'tran1' aborted."]
    program.write_text("\n".join(["#!/bin/sh", *[f'echo "{line}"' for line in said], "exit 1", ""]))
    program.chmod(0o755)
    monkeypatch.setenv("ANALOGDFC_VACASK", str(program))
    with pytest.raises(ConvergenceError, match=r"converge: Time step .* aborted\. / OSDI"):
        VacaskProgram().run(RC_STEP, save=["out"])
    program.write_text(program.read_text().replace("Time step too small", "No such model"))
    with pytest.raises(UserError, match="refuses the netlist: No such model"):
        VacaskProgram().run(RC_STEP, save=["out"])


def test_a_missing_program_says_how_to_install_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANALOGDFC_VACASK", str(tmp_path / "vacask"))
    with pytest.raises(UserError, match=r"names no such file. Install it: pip install 'analogdfc"):
        get_simulator("vacask")


def test_lines_of_a_netlist_are_read_as_what_they_say() -> None:
    lines = [
        "* a comment",
        ".param a=1k b={2 * a}",
        ".subckt cell p n k=2meg",
        "+ m=0",
        "R1 p n {1 / k}",
        "B1 0 p I = {k} * tanh(V(p, n) / 10m) + i(Vm)",
        "S1 p n c 0 sw1",
        ".ends cell",
        ".model sw1 sw(vt=0.5 vh=0 ron={a} roff=1e13)",
        "Vrst rst 0 PWL(0 1 1e-9 1 2e-9 0)",
        "Xc a b cell k=3",
        ".tran 1n 1u 0 1n",
        ".end",
    ]
    cell = {"k": "2000000.0", "m": "0"}
    first, *rest = statements(lines)
    assert first == Parameters({"a": "1000.0", "b": "2 * a"})
    assert rest[:2] == [
        Subckt("cell", ("p", "n"), cell),
        Device("r", "r1", ("p", "n"), "1 / k"),
    ]
    rest = rest[2:]
    assert rest[0] == Behaviour("b1", ("0", "p"), "i", "(k) * tanh(v(p, n) / 0.01) + i(vm)")
    assert rest[1] == Device("s", "s1", ("p", "n", "c", "0"), "sw1")
    assert rest[3] == SwitchModel("sw1", "0.5", "a", "1e13")
    points = (("0", "1"), ("1e-9", "1"), ("2e-9", "0"))
    assert rest[4] == Waveform("vrst", ("rst", "0"), points)
    assert rest[5] == Instance("xc", ("a", "b"), "cell", {"k": "3"})
    assert rest[6] == Transient("1e-06", "1e-09")


@pytest.mark.parametrize(
    ("text", "value"),
    [("10m", 0.01), ("2meg", 2e6), ("{1u * (2 + 3k)}", 1e-6 * 3002), ("1e-3 * 2", 2e-3)],
)
def test_an_expression_has_plain_numbers(text: str, value: float) -> None:
    assert eval(plain(text), {}) == pytest.approx(value, rel=1e-12)


def test_a_current_that_no_source_measures_is_refused() -> None:
    body = [Behaviour("b1", ("0", "a"), "i", "2 * i(v9)")]
    with pytest.raises(UserError, match="uses the current of v9, which is no source of 0 V"):
        module_of("cell", body)
    with pytest.raises(UserError, match=r"sgn\(\) isn't known; there are abs, exp"):
        module_of("cell", [Behaviour("b1", ("0", "a"), "i", "sgn(v(a))")])


def test_tolerances_are_those_that_transistors_can_keep() -> None:
    bench = [".options reltol=1e-6 abstol=1e-13 vntol=1e-9", ".tran 1e-8 1e-6 0 1e-8"]
    for model, tolerances in (
        ([".model n1 nmos level=54"], "abstol=1e-10 vntol=1e-08"),
        ([], "abstol=1e-13 vntol=1e-9"),
    ):
        dialect = get_dialect("vacask")
        list(dialect.lines(statements([*model, *bench])))
        assert f"options reltol=1e-6 {tolerances} " in "\n".join(dialect.end())

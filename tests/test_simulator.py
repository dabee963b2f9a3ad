"""ngspice as a shared library and as a program: same waveforms, and errors that say what failed."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from simulating import RC_STEP, Fake

from analogdfc.errors import ConvergenceError, UserError
from analogdfc.jobs import Threads
from analogdfc.kits.expressions import spice_number
from analogdfc.spice import process
from analogdfc.spice.batch import BatchProcess
from analogdfc.spice.deck import stop_time, with_saves
from analogdfc.spice.installed import find_binary, has_klu
from analogdfc.spice.shared import SharedLibrary
from analogdfc.spice.simulation import Simulation
from analogdfc.spice.simulator import Simulator
from analogdfc.spice.transistors import for_klu, for_transistors

BACKENDS = [BatchProcess, SharedLibrary]
both = pytest.mark.parametrize("backend", BACKENDS)


# C dv/dt = k v^2 leaves every bound at t = C / (k v0) = 1 us.
ESCAPE = """finite escape time
C1 x 0 1n
B1 0 x I=1e-3*v(x)*v(x)
R1 x 0 1g
.ic v(x)=1
.tran 10n 10u
.end
"""

VOLTAGE_LOOP = """two ideal sources that contradict each other
V1 in 0 1
V2 in 0 2
R1 in 0 1k
.tran 10n 1u
.end
"""

FLOATING = """a current into a node that leads nowhere
V1 in 0 1
R1 in 0 1k
I1 z 0 1n
R2 z zz 1
.tran 10n 1u
.end
"""

ENDLESS = """five seconds in steps of a nanosecond
V1 in 0 SIN(0 1 1meg)
R1 in out 1k
C1 out 0 1n
.tran 1n 5
.end
"""


@both
def test_step_response_of_rc_is_the_exponential(backend: type[Simulator]) -> None:
    result = backend().run(RC_STEP, save=["out", "V(x1.MID)", "i(v1)"])
    assert list(result.signals) == ["out", "V(x1.MID)", "i(v1)"]
    assert result.time[0] == 0
    assert result.time[-1] == pytest.approx(5e-6)
    exact = -np.expm1(-result.time / 1e-6)
    after = result.time > 1e-12
    np.testing.assert_allclose(result.signals["out"], exact, atol=2e-5)
    np.testing.assert_allclose(
        result.signals["V(x1.MID)"][after], (1 + exact[after]) / 2, atol=2e-5
    )
    np.testing.assert_allclose(result.signals["i(v1)"][after], (exact[after] - 1) / 1e3, atol=2e-8)
    assert all(values.dtype == np.float64 for values in [result.time, *result.signals.values()])


def test_both_backends_give_the_same_waveforms_at_the_same_times() -> None:
    batch, library = (kind().run(RC_STEP, save=["out", "i(v1)"]) for kind in BACKENDS)
    np.testing.assert_array_equal(batch.time, library.time)
    for name, values in batch.signals.items():
        np.testing.assert_allclose(library.signals[name], values, rtol=1e-9, atol=0)


@both
def test_a_run_repeats_bit_for_bit(backend: type[Simulator]) -> None:
    first, second = (backend().run(RC_STEP, save=["out"]) for _ in range(2))
    np.testing.assert_array_equal(first.time, second.time)
    np.testing.assert_array_equal(first.signals["out"], second.signals["out"])


@both
def test_thousands_of_signals_are_all_returned(backend: type[Simulator]) -> None:
    count = 2000
    lines = [f"R{i} n{i} n{i + 1} 1" for i in range(count)]
    deck = "\n".join(
        ["chain", "V1 n0 0 1", *lines, f"Rend n{count} 0 {count}", ".tran 1n 5n", ".end"]
    )
    names = [f"n{i}" for i in range(count + 1)]
    signals = backend().run(deck, save=names).signals
    expected = 1 - np.arange(count + 1) / (2 * count)
    np.testing.assert_allclose([signals[name][-1] for name in names], expected, rtol=1e-6)


@both
@pytest.mark.parametrize(
    ("deck", "quoted"),
    [
        (ESCAPE, r"[Tt]imestep too small; time = 9\.9\d+e-07.* node \"x\""),
        (VOLTAGE_LOOP, r"Timestep too small; .*singular matrix: check node v\d#branch"),
        (FLOATING, r"no operating point: singular matrix: check node z"),
    ],
)
def test_a_run_that_does_not_converge_quotes_ngspice(
    backend: type[Simulator], deck: str, quoted: str
) -> None:
    with pytest.raises(ConvergenceError, match=quoted) as failed:
        backend().run(deck, save=["x" if deck is ESCAPE else "in"])
    lines = failed.value.log.splitlines()
    assert any("singular" in line or "too small" in line for line in lines)
    assert not any("Reference value" in line for line in lines)


@both
def test_a_missing_node_is_named(backend: type[Simulator]) -> None:
    with pytest.raises(UserError, match=r"no such signal in the netlist: v\(x1\.nope\), i\(v9\)$"):
        backend().run(RC_STEP, save=["out", "v(x1.nope)", "i(v9)"])
    with pytest.raises(UserError, match=r"no such signal in the netlist: outt; .*'out'"):
        backend().run(RC_STEP, save=["out", "outt"])
    with pytest.raises(UserError, match=r"no such signal in the netlist: nope"):
        backend().run(RC_STEP, save=["nope"])


@both
@pytest.mark.parametrize(
    ("line", "quoted"),
    [
        ("R1 in 0 1k foo=3", "unknown parameter .foo"),
        ("X9 in 0 nothing", "unknown subckt: x9 in 0 nothing"),
        ("R1 in 0 {nothing}", "Undefined parameter .nothing"),
        ("D1 in 0 dm\n.model dm d(is=1e-14 zork=2)", "unrecognized parameter .zork"),
        ("R1 in 0", "r1: resistance to low|r1 in 0. is not a valid resistor"),
        ("R1 in 0 0", "r1: resistance to low|resistor r1 is too small"),
        ("Q1 in 0", r"Error on line 3"),
    ],
)
def test_an_error_in_the_netlist_quotes_ngspice(
    backend: type[Simulator], line: str, quoted: str
) -> None:
    with pytest.raises(UserError, match=quoted):
        backend().run(f"t\nV1 in 0 1\n{line}\n.tran 1n 10n\n.end\n", save=["in"])


@both
def test_a_run_past_its_time_limit_is_stopped(backend: type[Simulator]) -> None:
    start = time.monotonic()
    told = r"ngspice did not .* time limit of 1 s.*had simulated (?!0 s)[\d.e-]+ s of 5 s"
    shares: list[float] = []
    with pytest.raises(UserError, match=told):
        backend().run(ENDLESS, save=["out"], time_limit=1, progress=shares.append)
    assert time.monotonic() - start < 5
    assert shares == sorted(shares)
    # 0 until ngspice first tells, which a busy machine may not let it before the limit.
    assert 0 <= shares[-1] < 0.1


def test_a_simulation_tells_hundredths_as_it_goes() -> None:
    class Telling(Fake):
        def _execute(
            self, folder: Path, time_limit: float, progress: Callable[[], object]
        ) -> tuple[int, list[str]]:
            for seconds in (1.26e-6, 3e-6, 2e-6):
                (folder / "stdout.txt").write_text(f"Reference value : {seconds}\n")
                progress()
            return 0, []

    class Deck:
        modules = ()

        def text(self) -> str:
            return ""

        def deck(self, testbench: str) -> str:
            return RC_STEP

    told: list[int] = []
    nothing: Any = Deck()
    fake = Telling([0, 5e-6], [0, 1])
    simulation = Simulation(nothing, nothing, ("out",), fake, 1.0)
    simulation.run(told.append)
    assert told == [25, 35, 0, 40]
    assert sum(told) == simulation.work


def test_children_of_a_stopped_program_are_stopped_too(tmp_path: Path) -> None:
    script = "(sleep 1; touch late) & sleep 30"
    with pytest.raises(UserError, match="sh did not finish within its time limit"):
        process.run_limited(["sh", "-c", script], tmp_path, {}, 0.2)
    time.sleep(1.2)
    assert not (tmp_path / "late").exists()


def test_an_interrupt_stops_the_programs_that_run_in_threads(tmp_path: Path) -> None:
    begin = time.monotonic()

    def interrupted() -> None:
        with Threads(1, process.stop_all) as pool:
            pool.submit(process.run_limited, ["sleep", "30"], tmp_path, {}, 60)
            while not process._running:
                time.sleep(0.01)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert time.monotonic() - begin < 10
    assert not process._running


@both
@pytest.mark.parametrize(
    "line",
    [
        ".control",
        "  .CONTROL",
        ".endc",
        ".exec touch owned",
        "shell touch owned",
        "*# shell touch owned",
        " *#shell touch owned",
        "*ng_script",
        ".include /etc/passwd",
        ".inc x",
        ".lib models.lib tt",
        ".csparam a=1",
        ".param a=`touch owned`",
        ".save all",
        ".meas tran a max v(in)",
        ".model m filesource (file=secret)",
        ".model m\n+ d_process (process_file=run)",
        "R2 in 0 1k\x0c.control",
        "R2 in 0 1k\r.control",
    ],
)
def test_a_deck_that_could_run_a_program_or_read_a_file_is_refused(
    backend: type[Simulator], line: str
) -> None:
    deck = f"t\nV1 in 0 1\nR1 in 0 1k\n{line}\n.tran 1n 10n\n.end\n"
    with pytest.raises(UserError, match=r"netlist, line 4: .* is refused"):
        backend().run(deck, save=["in"])


@pytest.mark.parametrize(
    ("deck", "problem"),
    [
        ("", "empty"),
        ("t\nR1 a 0 1\n.tran 1n 1u\n", "end with one line '.end'"),
        ("t\n.tran 1n 1u\n.end\nR1 a 0 1\n", "end with one line '.end'"),
        ("t\n.tran 1n 1u\n.end\n.end\n", "end with one line '.end'"),
        (".tran 1n 1u\n.end\n", "line 1: .* the first line is the title"),
        ("t\nR1 a 0 1\n.end\n", "one line '.tran STEP STOP' is needed, 0"),
        ("t\n.tran 1n 1u\n.tran 1n 1u\n.end\n", "is needed, 2"),
        ("t\n.tran 1n {stop}\n.end\n", "stop time '{stop}' must be a number"),
        ("t\n.tran 1n\n.end\n", "no stop time"),
    ],
)
def test_an_incomplete_deck_is_refused(deck: str, problem: str) -> None:
    with pytest.raises(UserError, match=problem):
        BatchProcess().run(deck, save=["a"])


@pytest.mark.parametrize(
    "name", ["", "a b", "a\n.control", "v(a,b)", "v(a", "a;b", "time", "v(0)", "gnd", "$a"]
)
def test_a_signal_that_is_no_name_is_refused(name: str) -> None:
    with pytest.raises(UserError, match="is no signal"):
        with_saves(RC_STEP, [name])


def test_wrong_arguments_of_run_are_refused() -> None:
    run = BatchProcess().run
    with pytest.raises(UserError, match="name at least one"):
        run(RC_STEP, save=[])
    with pytest.raises(UserError, match="a list of signals"):
        run(RC_STEP, save="out")
    for limit in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(UserError, match="time_limit"):
            run(RC_STEP, save=["out"], time_limit=limit)


@both
@pytest.mark.parametrize("place", ["cwd", "HOME"])
def test_a_users_init_file_changes_nothing(
    backend: type[Simulator], place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".spiceinit").write_text("* init\nset filetype=ascii\nshell touch owned\n")
    if place == "cwd":
        monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("SPICE_ASCIIRAWFILE", "1")
    assert backend().run(RC_STEP, save=["out"]).signals["out"][-1] == pytest.approx(1, abs=0.01)
    assert [path.name for path in tmp_path.iterdir()] == [".spiceinit"]


HOSTILE = """* spinit of a site
option rshunt=1e6
option trtol=1000
option maxord=1
option cshunt=1e-9
option reltol=0.1
option temp=100
set interp
set filetype=ascii
set autostop
set ngbehavior=ps
"""

DIVIDER = """a site's settings would change every line of it
V1 in 0 SIN(0 1 1meg)
R1 in out 1meg
R2 out 0 1meg tc1=1e-2
C1 out 0 1p
.options reltol=1e-4
.tran 10n 5u 0 5n
.end
"""


@both
@pytest.mark.parametrize("variable", ["SPICE_SCRIPTS", "SPICE_LIB_DIR"])
def test_the_settings_of_a_site_change_nothing(
    backend: type[Simulator], variable: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clean = backend().run(DIVIDER, save=["out"])
    folder = tmp_path / "scripts"
    folder.mkdir()
    (folder / "spinit").write_text(HOSTILE)
    monkeypatch.setenv(variable, str(folder if variable == "SPICE_SCRIPTS" else tmp_path))
    found = backend().run(DIVIDER, save=["out"])
    np.testing.assert_array_equal(found.time, clean.time)
    np.testing.assert_array_equal(found.signals["out"], clean.signals["out"])


@both
def test_code_models_are_there_where_a_deck_needs_them(backend: type[Simulator]) -> None:
    deck = """gain by a code model, and a polynomial source
V1 in 0 PWL(0 0 1u 1)
A1 in out amp
.model amp gain(gain=3)
R1 out 0 1k
E1 square 0 POLY(1) in 0 0 0 1
R2 square 0 1k
.tran 10n 1u
.end
"""
    signals = backend().run(deck, save=["out", "square"]).signals
    assert signals["out"][-1] == pytest.approx(3)
    assert signals["square"][-1] == pytest.approx(1, abs=1e-3)


CELL = """an op-amp whose place was taken
V1 in 0 1
R1 in x 1k
X1 0 x out vdd vss opamp vos = {2*1m}
.subckt opamp inp inn out vdd vss vos=0
E1 out 0 inp inn 1e5
.ends opamp
R2 x out 1k
.tran 1n 10n
.end
"""


@both
@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (
            ".subckt opamp inp inn out vdd vos=0",
            r"cell 'opamp' has 4 pins \(inp inn out vdd\), but its instance x1 connects 5",
        ),
        (
            ".subckt opamp inp inn out vdd vss",
            r"must take the parameter 'vos', which its instance x1 sets; it takes none",
        ),
    ],
)
def test_a_cell_that_does_not_fit_its_place_is_named_with_its_pins(
    backend: type[Simulator], line: str, problem: str
) -> None:
    deck = CELL.replace(".subckt opamp inp inn out vdd vss vos=0", line)
    with pytest.raises(UserError, match=rf"ngspice refuses the netlist: \w.*{problem}"):
        backend().run(deck, save=["out"])
    assert backend().run(CELL, save=["out"]).signals["out"][-1] == pytest.approx(-1, rel=1e-3)


@pytest.mark.parametrize(
    ("options", "found"),
    [
        (".options abstol=1e-13 vntol=1n", "abstol=1e-10 vntol=1e-08 trtol=0.3"),
        (".options abstol=1e-9\n+ vntol=1e-9", "vntol=1e-08 trtol=0.3"),
        (".options abstol=1p reltol=1e-6", "abstol=1e-10 trtol=0.3"),
        (".options abstol=1e-9 vntol=1e-6", ""),
    ],
)
def test_a_deck_with_transistors_has_options_by_which_it_finds_its_rest(
    options: str, found: str
) -> None:
    deck = f"t\n{options}\n.model n1 nmos level=54\n.end\n"
    assert for_transistors(deck) == f".options itl1=500 itl2=500 {found}".rstrip()
    assert for_transistors(deck.replace("nmos", "d")) == ""
    assert "rshunt" in for_klu(deck)
    assert "rshunt" not in for_klu(deck.replace("nmos", "d"))


@pytest.mark.skipif(not has_klu(find_binary() or ""), reason="this ngspice has no KLU")
def test_klu_and_sparse_give_the_same_waveforms() -> None:
    klu, sparse = (BatchProcess(name).run(RC_STEP, save=["out"]) for name in ("klu", "sparse"))
    assert (klu.made_by.rpartition(", ")[2], sparse.made_by.rpartition(", ")[2]) == (
        "KLU",
        "Sparse",
    )
    assert any("Using KLU" in line for line in klu.messages)
    np.testing.assert_allclose(klu.signals["out"], sparse.signals["out"], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("5u", 5e-6), ("10us", 1e-5), ("1e-4", 1e-4), ("1.5MEG", 1.5e6), ("2m", 2e-3), ("3", 3.0),
        (".5n", 5e-10), ("4k", 4e3), ("1mil", 25.4e-6), ("2s", 2.0), ("7f", 7e-15), ("1e3p", 1e-9),
    ],
)  # fmt: skip
def test_numbers_are_read_with_the_suffixes_of_spice(text: str, value: float) -> None:
    assert spice_number(text) == pytest.approx(value, rel=1e-12)
    assert stop_time(f"t\n* .tran 1n 3\n.tran 1n ; comment\n+ {text} uic\n.end") == spice_number(
        text
    )


def test_text_that_is_no_number_is_none() -> None:
    assert all(
        spice_number(text) is None for text in ("", "x", "1 2", "{a}", "--1", "np.float64(1)")
    )

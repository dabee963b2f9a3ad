"""ngspice with a circuit that stays loaded: the next deck alters what it has other than the last.

A learning chip runs the same circuit again and again, with other conductances of its crossbars and
other voltages of its sources. Reading the netlist anew and starting the program each time isn't
needed for that: `alter` sets resistors and sources in the circuit that is there. Every analysis
starts from an operating point of its own, so that nothing of the run before is left in it: the
waveforms of a deck are the same to the last bit whatever ran before it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import NamedTuple, Self

from analogdfc.errors import ConvergenceError
from analogdfc.scratch import Scratch
from analogdfc.spice.batch import BatchProcess
from analogdfc.spice.deck import ANALYSES, logical_lines, vector_name
from analogdfc.spice.diagnosis import raise_for_messages
from analogdfc.spice.rawfile import RawPlot, read_rawfile
from analogdfc.spice.session import Session
from analogdfc.spice.veriloga import VerilogA

_NUMBER = r"[-+]?\d[^\s=]*"
_SOURCE = re.compile(rf"v(\S+) (\S+) 0 ({_NUMBER})", re.IGNORECASE)
_PAIR = re.compile(rf"x(\S+) .*\bpair(?:_wired)? gp=({_NUMBER}) gn=({_NUMBER})", re.IGNORECASE)
# Those of `circuits/crosspoint.lib`: what `alter` needs is that gp and gn are nowhere else.
_CELL = re.compile(
    r"^\.subckt pair(?:_wired)? [^\n]*gp=\S+ gn=\S+\n(?P<body>.*?)^\.ends pair", re.M | re.S | re.I
)
_RESISTOR = re.compile(r"^Rp \S+ \S+ \{1 / gp\}$|^Rn \S+ \S+ \{1 / gn\}$", re.M)
_CONDUCTANCE = re.compile(r"\bg[pn]\b")
_WAVES = "waves.raw"


class _Deck(NamedTuple):
    """A deck taken apart.

    Attributes:
        fixed: what a loaded circuit can't change.
        values: what it can, by the name that `alter` knows, as texts of numbers.
        command: the analysis.
    """

    fixed: str
    values: Mapping[str, str]
    command: str


class Loaded(BatchProcess):
    """ngspice that goes on running between two decks; a context manager that ends it.

    Where a deck differs from the one before in conductances of crossbars and in constant sources
    only, these are altered in the running program; else it is started anew.

    Args:
        solver: of the linear equations, one of `SOLVERS`.

    Attributes:
        loads: how often a circuit has been loaded.
    """

    name = "loaded"

    def __init__(self, solver: str = "auto") -> None:
        super().__init__(solver)
        self.loads = 0
        self._session: Session | None = None
        self._there: tuple[str, str, tuple[VerilogA, ...]] | None = None
        self._saved: dict[str, None] = {}
        self._values: dict[str, str] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the program; the next run starts it anew."""
        if self._session is not None:
            self._session.close()
        self._session = self._there = None

    def cpu_seconds(self) -> float:
        """CPU time that the program has taken since it was started; 0 where none runs."""
        return 0.0 if self._session is None else self._session.cpu_seconds()

    def _attempt(
        self,
        netlist: str,
        save: Sequence[str],
        solver: str,
        time_limit: float,
        progress: Callable[[float], object] | None,
        analysis: str = "tran",
        modules: Sequence[VerilogA] = (),
    ) -> tuple[list[str], RawPlot]:
        """See `Simulator._attempt`."""
        deck = _apart(netlist, analysis)
        try:
            messages = self._ready(deck, save, solver, time_limit, tuple(modules))
            messages += self._done(deck, save, time_limit)
            assert self._session is not None
            plots = read_rawfile(self._session.folder / _WAVES)
        except BaseException:
            self.close()  # what it would do next is anybody's guess
            raise
        if len(plots) != 1:
            raise ConvergenceError(f"ngspice returned {len(plots)} analyses, not one")
        return messages, plots[0]

    def _ready(
        self,
        deck: _Deck,
        save: Sequence[str],
        solver: str,
        time_limit: float,
        modules: tuple[VerilogA, ...],
    ) -> list[str]:
        """Load the circuit, where another one is there; what was said about that."""
        wanted = dict.fromkeys(map(vector_name, save))
        asked = deck.fixed, solver, modules
        there = self._there == asked and not wanted.keys() - self._saved.keys()
        if there and deck.values.keys() == self._values.keys():
            return []
        if self._there is None or self._there[0] != deck.fixed:
            self._saved = {}
        self._saved |= wanted
        self.close()
        scratch = Scratch()
        try:
            self._load(scratch.path, modules)
            self._write(scratch.path, deck.fixed, list(self._saved), solver)
            self._session = Session(self._file, scratch)
        except BaseException:
            scratch.remove()
            raise
        self.loads += 1
        code, messages = self._session.ask([], time_limit)
        raise_for_messages(messages, code, save)
        self._there = asked
        # All values are altered, those too that the deck had: a text is read in two ways.
        self._values = dict.fromkeys(deck.values, "")
        return messages

    def _done(self, deck: _Deck, save: Sequence[str], time_limit: float) -> list[str]:
        """Alter what is other than it was, and analyse."""
        assert self._session is not None
        altered = {k: v for k, v in deck.values.items() if self._values[k] != v}
        commands = [f"alter {name} = {value}" for name, value in altered.items()]
        (self._session.folder / _WAVES).unlink(missing_ok=True)
        commands += [deck.command, f"write {_WAVES}", "destroy all"]
        code, messages = self._session.ask(commands, time_limit)
        raise_for_messages(messages, code, save)
        if not (self._session.folder / _WAVES).exists():
            raise ConvergenceError(f"ngspice returned no waveforms: {' / '.join(messages[-4:])}")
        self._values |= altered
        return messages


def _apart(netlist: str, analysis: str) -> _Deck:
    """Take a deck apart."""
    card, command, values = ANALYSES[analysis], "", {}
    fixed, places = [], _places(netlist)
    inside = ""
    for line in netlist.splitlines():
        words = line.lower().split(maxsplit=2)
        if words[:1] == [card]:
            command = line.strip()[1:]
            continue
        if words[:1] == [".subckt"]:
            inside = words[1]
        elif words[:1] == [".ends"]:
            inside = ""
        elif inside and (pair := _PAIR.fullmatch(line)) and inside in places:
            for side, g in zip("pn", pair.groups()[1:], strict=True):
                values[f"r.{places[inside]}.x{pair[1].lower()}.r{side}"] = repr(1 / float(g))
            line = line[: pair.start(2)] + "1e-6 gn=1e-6"
        elif not inside and (source := _SOURCE.fullmatch(line)):
            values[f"v{source[1].lower()}"] = source[3]
            line = line[: source.start(3)] + "0"
        fixed.append(line)
    return _Deck("\n".join(fixed) + "\n", values, command)


def _places(netlist: str) -> dict[str, str]:
    """The one instance of each crossbar by the name of its subcircuit, if pairs can be altered."""
    cell = _CELL.search(netlist)
    alterable = (
        cell is not None
        and len(_RESISTOR.findall(cell["body"])) == 2
        and len(_CONDUCTANCE.findall(cell["body"])) == 2
    )
    return dict(_instances(netlist)) if alterable else {}


def _instances(netlist: str) -> Iterator[tuple[str, str]]:
    """Subcircuit and name of the crossbars at the top, of those that are there once."""
    found: dict[str, list[str]] = {}
    inside = False
    for _, line in logical_lines(netlist):
        words = line.lower().split()
        inside = (inside or words[0] == ".subckt") and words[0] != ".ends"
        if not inside and words[0].startswith("x") and words[-1].startswith("crossbar_"):
            found.setdefault(words[-1], []).append(words[0])
    yield from ((subcircuit, names[0]) for subcircuit, names in found.items() if len(names) == 1)

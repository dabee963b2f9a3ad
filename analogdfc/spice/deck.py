"""What a deck must look like before it is handed to a simulator.

A SPICE deck can run programs and read any file: through a control block, through a comment that
starts with '*#', through included files, through code models that open files. The generated decks
need none of that, so a deck may only hold devices and the cards in `ALLOWED_CARDS`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NoReturn

from analogdfc.errors import UserError
from analogdfc.kits.expressions import spice_number

# fmt: off
ALLOWED_CARDS = frozenset({
    ".title", ".param", ".func", ".subckt", ".ends", ".model", ".global", ".options", ".option",
    ".opt", ".ic", ".nodeset", ".temp", ".if", ".elseif", ".else", ".endif", ".op", ".tran", ".end",
})
_OF_DECKS = frozenset({
    ".title", ".global", ".options", ".option", ".opt", ".temp", ".op", ".tran", ".end",
})
ANALYSES = {"op": ".op", "dc": ".dc", "ac": ".ac", "noise": ".noise", "tran": ".tran"}
_FILE_MODELS = frozenset({
    "d_cosim", "d_process", "d_source", "d_state", "file_source", "filesource", "table2d",
    "table3d",
})
# fmt: on
_NAME = r"[\w.#:+\-~!/\[\]@<>]+"
_SIGNAL = re.compile(rf"(?:(v|i)\(({_NAME})\)|({_NAME}))", re.IGNORECASE | re.ASCII)
_OF_NOISE = frozenset({"onoise_spectrum", "inoise_spectrum", "onoise_total", "inoise_total"})
_LINE_LENGTH = 100


def check_deck(netlist: str, analysis: str = "tran") -> None:
    """Refuse a deck that isn't self-contained: title line, devices, allowed cards, '.end'.

    Args:
        netlist: the deck.
        analysis: what it may ask for beside an operating point, a key of `ANALYSES`.

    Raises:
        UserError: a control block or command, an included file, a `.save` line, any other card
            that isn't in `ALLOWED_CARDS`, a code model that opens files, a control character, or
            a missing '.end'; the message has the number of the line and the line.
    """
    lines = netlist.replace("\r\n", "\n").split("\n")
    ends = [number for number, line in enumerate(lines, 1) if _card(line) == ".end"]
    closing = netlist.rstrip().rpartition("\n")[2].strip().lower()
    filled = [number for number, line in enumerate(lines, 1) if line.strip()]
    if not filled:
        raise UserError("netlist: the deck is empty")
    if closing != ".end" or ends != filled[-1:]:
        raise UserError("netlist: the deck must end with one line '.end', and have no other")
    _check_lines(netlist, ALLOWED_CARDS - {".tran"} | {ANALYSES[analysis]})


def check_cell(text: str) -> None:
    """Refuse the text of a cell that isn't self-contained, as `check_deck`, or rules the deck.

    Args:
        text: subcircuits, models and parameters, without a title line.

    Raises:
        UserError: see `check_deck`; also a card that is for a whole deck, such as `.options`.
    """
    _check_lines(f"* a cell\n{text}", ALLOWED_CARDS - _OF_DECKS)


def _check_lines(netlist: str, allowed: frozenset[str]) -> None:
    for number, line in enumerate(netlist.replace("\r\n", "\n").split("\n"), 1):
        _check_line(number, line, allowed)
    for number, line in logical_lines(netlist):
        fields = line.replace("(", " ").lower().split()
        if fields[:1] == [".model"] and len(fields) > 2 and fields[2] in _FILE_MODELS:
            _refuse(number, line, f"the code model '{fields[2]}' opens files")


def _check_line(number: int, line: str, allowed: frozenset[str]) -> None:
    text = line.strip().lower()
    if any((ord(c) < 32 and c != "\t") or 0xD800 <= ord(c) < 0xE000 for c in line):
        _refuse(number, line, "a control character")
    if text.startswith(("*#", "*ng_script")):
        _refuse(number, line, "ngspice runs such a comment as a command")
    if text.startswith("*"):
        return
    if text.split()[:1] == ["shell"]:
        _refuse(number, line, "'shell' is a command")
    if "`" in text:
        _refuse(number, line, "a back quote")
    card = _card(line)
    if number == 1 and card not in ("", ".title"):
        _refuse(number, line, "the first line is the title; ngspice would not read this card")
    if card in (".save", ".probe"):
        _refuse(number, line, "name the signals in `save` instead")
    if card and card not in allowed:
        known = " ".join(sorted(allowed))
        what = (
            "a deck must be self-contained" if ".end" in allowed else "a cell is a part of a deck"
        )
        _refuse(number, line, f"{what}; allowed are {known}")


def _refuse(number: int, line: str, reason: str) -> NoReturn:
    raise UserError(f"netlist, line {number}: {line.strip()[:80]!r} is refused: {reason}")


def _card(line: str) -> str:
    text = line.strip().lower()
    return text.split(maxsplit=1)[0] if text.startswith(".") else ""


def logical_lines(netlist: str) -> Iterator[tuple[int, str]]:
    """Number of the first line and text of every line behind the title, continuations joined.

    Blank lines and comments, also those behind ';' and ' $ ', are left out.
    """
    number, text = 0, ""
    for current, line in enumerate(netlist.replace("\r\n", "\n").split("\n")[1:], 2):
        stripped = re.split(r";|\s\$\s", line, maxsplit=1)[0].strip()
        if not stripped or stripped[0] in "*$":
            continue
        if stripped.startswith("+"):
            text += " " + stripped[1:]
            continue
        if text.strip():
            yield number, text
        number, text = current, stripped
    if text.strip():
        yield number, text


def stop_time(netlist: str) -> float:
    """The time, in seconds, at which the deck's transient analysis ends.

    Raises:
        UserError: not exactly one `.tran` line, or one whose times aren't plain numbers.
    """
    found = [*_cards(netlist, ".tran")]
    if len(found) != 1:
        raise UserError(f"netlist: one line '.tran STEP STOP' is needed, {len(found)} are there")
    number, line = found[0]
    fields = line.split()
    if len(fields) < 3:
        raise UserError(f"netlist, line {number}: {line!r} has no stop time; '.tran STEP STOP'")
    stop = spice_number(fields[2])
    if stop is None or stop <= 0:
        raise UserError(
            f"netlist, line {number}: {line!r} : stop time {fields[2]!r} must be a number above 0,"
            " such as 100u or 1e-4"
        )
    return stop


def check_analysis(netlist: str, analysis: str) -> None:
    """Make sure that a deck asks for one analysis and no other.

    Args:
        netlist: the deck.
        analysis: a key of `ANALYSES`.

    Raises:
        UserError: it asks for none or several of it, or also for another.
    """
    for kind, card in ANALYSES.items():
        found, wanted = len([*_cards(netlist, card)]), kind == analysis
        if found != wanted:
            raise UserError(
                f"netlist: one line {ANALYSES[analysis]!r} and no other analysis is needed; "
                f"{found} of {card!r} are there"
            )


def _cards(netlist: str, card: str) -> Iterator[tuple[int, str]]:
    return ((number, line) for number, line in logical_lines(netlist) if _card(line) == card)


def vector_name(signal: str) -> str:
    """The name by which ngspice keeps a signal: 'v(x1.r)' -> 'x1.r', 'i(v1)' -> 'v1#branch'.

    Args:
        signal: a node ('x1.r', 'v(x1.r)'), the current of a device that has one ('i(v1)',
            'v1#branch'), or a device's parameter ('@r1[i]').

    Raises:
        UserError: the text is none of these.
    """
    match = _SIGNAL.fullmatch(signal.strip())
    if match is None:
        raise UserError(f"save: {signal!r} is no signal; a node 'n1' or 'v(n1)', or 'i(v1)'")
    name = (match[2] or match[3]).lower()
    if (match[1] or "").lower() == "i" and not name.startswith("@"):
        name = f"{name}#branch"
    if name in ("0", "gnd", "time"):
        raise UserError(f"save: {signal!r} : {name!r} is no signal of its own")
    return name


def with_saves(netlist: str, save: Sequence[str]) -> str:
    """The deck with '.save' lines for the signals before '.end'; see `vector_name` for names."""
    if not save:
        raise UserError("save: name at least one signal")
    body = netlist.replace("\r\n", "\n").rstrip()
    lines, current = [body[: -len(".end")].rstrip()], ".save"
    for name in dict.fromkeys(vector_name(signal) for signal in save):
        if name.startswith("@") or name in _OF_NOISE:
            word = name
        elif name.endswith("#branch"):
            word = f"i({name.removesuffix('#branch')})"
        else:
            word = f"v({name})"
        if len(current) + len(word) >= _LINE_LENGTH:
            lines.append(current)
            current = "+"
        current += " " + word
    return "\n".join([*lines, current, ".end", ""])

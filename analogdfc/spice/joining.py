"""Cells beside each other in one file: nothing is there twice, and nothing lies outside of a cell.

Two cells may bring the same models, and helpers of the same name; a simulator takes one of two that
have a name, and doesn't say which.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from analogdfc.errors import UserError, shown
from analogdfc.spice.deck import logical_lines

_NAMED = (".subckt", ".model")
_BRANCHES = (".if", ".elseif", ".else", ".endif")
_VALUE = {".param": re.compile(r"(\w+)\s*=(?!=)"), ".func": re.compile(r"^\s*(\w+)")}


class Piece(NamedTuple):
    """A part of a text that belongs together.

    Attributes:
        kind: the card that it begins with, in lower case; 'part' of a device, '' of a comment.
        names: what it gives a value or a meaning to, in lower case.
        text: its lines.
    """

    kind: str
    names: tuple[str, ...]
    text: str


def pieces(text: str) -> Iterator[Piece]:
    """The subcircuits of a text as a whole each, and what stands outside of them.

    Args:
        text: of cells, without a title line.
    """
    lines: list[str] = []
    depth = 0
    for line in text.rstrip().split("\n"):
        word = (line.lower().split() or [""])[0]
        if lines and depth == 0 and not word.startswith("+"):
            yield _piece(lines)
            lines = []
        lines.append(line)
        depth += (word == ".subckt") - (word == ".ends")
    yield _piece(lines)


def _piece(lines: Sequence[str]) -> Piece:
    text = "\n".join(lines)
    whole = [line for _, line in logical_lines(f"*\n{text}")]
    if not whole:
        return Piece("", (), text)
    words = whole[0].lower().split()
    kind = words[0] if words[0].startswith(".") else "part"
    if kind in _NAMED:
        return Piece(kind, tuple(words[1:2]), text)
    if kind in _VALUE:
        return Piece(kind, tuple(_VALUE[kind].findall(whole[0].lower().partition(" ")[2])), text)
    return Piece(kind, (), text)


def check_enclosed(text: str, path: Path) -> None:
    """Make sure that a cell's parts are in subcircuits; others would be parts of every circuit.

    Args:
        text: of the cell, with what it includes.
        path: its file.

    Raises:
        UserError: one isn't.
    """
    for piece in pieces(text):
        if piece.kind == ".subckt" and not _closed(piece.text):
            raise UserError(f"{path}: .subckt {piece.names[0]} has no .ends; write it at its end")
        if piece.kind not in ("", *_NAMED, *_VALUE, *_BRANCHES):
            raise UserError(
                f"{path}: {shown(piece.text[:60])} stands outside of a subcircuit, where it would "
                "hold for the whole circuit; move it between .subckt and .ends"
            )


def _closed(text: str) -> bool:
    """Whether a subcircuit ends, and those inside it."""
    words = [(line.lower().split() or [""])[0] for line in text.split("\n")]
    return words.count(".subckt") == words.count(".ends")


def joined(texts: Iterable[tuple[str, str]], taken: Mapping[str, str]) -> str:
    """Texts of cells as one; what several bring in the same words is there once.

    Args:
        texts: what each is called, and the text.
        taken: parameters that the circuit has, with what has them.

    Raises:
        UserError: two subcircuits, models or parameters of one name that differ.
    """
    known = {(".param", name): (where, "") for name, where in taken.items()}
    return "\n".join(_without_repeats(where, text, known) for where, text in texts)


def _without_repeats(where: str, text: str, known: dict[tuple[str, str], tuple[str, str]]) -> str:
    """A text without what is known; what it brings is known from then on."""
    kept, dropped = [], False
    for piece in pieces(text):
        meant = _plain(piece)
        keys = [(".param" if piece.kind in _VALUE else piece.kind, name) for name in piece.names]
        for kind, name in keys:
            other, before = known.get((kind, name), ("", meant))
            if before != meant:
                raise UserError(
                    f"{where}: {piece.kind} {name} is in {other} too, and differs; give it "
                    "another name, or put it inside the subcircuit"
                )
        if keys and all(key in known for key in keys):
            dropped = True
            continue
        known.update(dict.fromkeys(keys, (where, meant)))
        kept.append(piece.text)
    return "\n".join([*kept, ""]) if dropped else text


def _plain(piece: Piece) -> str:
    """What a piece says, however it is set."""
    lines = (line for _, line in logical_lines(f"*\n{piece.text}"))
    return " ".join(" ".join(lines).lower().split())

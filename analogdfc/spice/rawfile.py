"""Reader of ngspice's binary rawfiles."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

import numpy as np
from numpy.typing import NDArray

from analogdfc.errors import UserError

_LONGEST_LINE = 65536


@dataclass(frozen=True)
class RawPlot:
    """One plot, i.e. the vectors of one analysis.

    Attributes:
        title: title line of the deck.
        name: kind of the analysis, e.g. 'Transient Analysis'.
        variables: names of the vectors in lower case, e.g. ('time', 'v(out)', 'i(v1)').
        values: (points, variables), float64, or complex128 where the file's flag is 'complex';
            in SI units (seconds, volts, amperes, hertz).
    """

    title: str
    name: str
    variables: tuple[str, ...]
    values: NDArray[Any]


def read_rawfile(path: str | Path) -> tuple[RawPlot, ...]:
    """Read every plot of a binary rawfile, as `ngspice -b -r FILE` writes it.

    Args:
        path: the file. Numbers are taken in the machine's own byte order, as ngspice writes them.

    Returns:
        The plots in the order of the file, at least one.

    Raises:
        UserError: the file can't be read, is in ASCII format, is truncated, or is no rawfile; the
            message has the file and what is wrong.
    """
    path = Path(path)
    plots: list[RawPlot] = []
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(0)
            while file.tell() < size:
                plots.append(_read_plot(file, path, size))
    except OSError as error:
        raise UserError(f"{path}: can't be read: {error.strerror or error}") from error
    if not plots:
        _fail(path, "the file is empty")
    return tuple(plots)


def _read_plot(file: BinaryIO, path: Path, size: int) -> RawPlot:
    header, variables = _read_header(file, path)
    for key in ("plotname", "flags", "no. variables", "no. points"):
        if key not in header:
            _fail(path, f"no line '{key.capitalize()}:' in the header; not a rawfile of ngspice")
    count = _whole_number(header, "no. variables", path)
    points = _whole_number(header, "no. points", path)
    if count == 0 or len(variables) != count:
        _fail(path, f"the header announces {count} variables and lists {len(variables)}")
    flags = header["flags"].lower().split()
    if ("real" in flags) == ("complex" in flags):
        _fail(path, f"flags '{header['flags']}' : one of 'real' and 'complex' is needed")
    dtype = np.dtype(np.complex128 if "complex" in flags else np.float64)
    expected, present = count * points * dtype.itemsize, size - file.tell()
    if expected > present:
        _fail(
            path,
            f"truncated: {points} points of {count} variables need {expected} bytes, "
            f"{present} are there",
        )
    values = np.frombuffer(file.read(expected), dtype=dtype).reshape(points, count).copy()
    return RawPlot(header.get("title", ""), header["plotname"], tuple(variables), values)


def _read_header(file: BinaryIO, path: Path) -> tuple[dict[str, str], list[str]]:
    """Header fields by their name in lower case, and the variables; stops behind 'Binary:'."""
    header: dict[str, str] = {}
    variables: list[str] = []
    in_variables = False
    while True:
        raw = file.readline(_LONGEST_LINE)
        if not raw.endswith(b"\n"):
            _fail(path, "no line 'Binary:' in the header; truncated, or not a rawfile of ngspice")
        line = raw.decode("utf-8", errors="replace").rstrip("\r\n")
        key, colon, value = line.partition(":")
        key = key.lower()
        if key == "binary" and colon:
            return header, variables
        if key == "values" and colon:
            _fail(path, "an ASCII rawfile; a binary one is needed ('set filetype=binary')")
        if in_variables and line.startswith("\t"):
            fields = line.split()
            if len(fields) < 3 or fields[0] != str(len(variables)):
                _fail(path, f"line {line.strip()!r} is no variable (number, name, type)")
            variables.append(fields[1].lower())
        elif not colon:
            _fail(path, f"line {line[:60]!r} is no header line; not a rawfile of ngspice")
        elif key == "variables":
            in_variables = True
        else:
            header[key] = value.strip()


def _whole_number(header: dict[str, str], key: str, path: Path) -> int:
    text = header[key]
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        _fail(path, f"'{key.capitalize()}: {text}' is no whole number")
    return int(text)


def _fail(path: Path, problem: str) -> NoReturn:
    raise UserError(f"{path}: {problem}")

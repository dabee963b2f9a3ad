"""`analogdfc crossbar`: the error of a matrix product on an array of devices, by cause."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import torch
from torch import Tensor

from analogdfc import records
from analogdfc.arrays.figure import product_figure
from analogdfc.arrays.mapping import (
    Balanced,
    Fixed,
    Mapping,
    MidRail,
    OffsetColumn,
    PerColumn,
    PerLayer,
    Scale,
    Scheme,
    Split,
    Tiling,
)
from analogdfc.arrays.product_error import Product, cases, measure
from analogdfc.cards.device import DeviceCard
from analogdfc.cli import _crossbar
from analogdfc.cli._design import progress_bar
from analogdfc.cli._matrix import MOST, path_of, read_matrix
from analogdfc.cli._options import CHIP_SEED, SEED, Count, Number, bundled, check_outputs, refuse
from analogdfc.devices import StuckCell
from analogdfc.devices.draws import check_number
from analogdfc.errors import UserError
from analogdfc.files import beside
from analogdfc.plots import save_figure
from analogdfc.wires import Lines
from analogdfc.wires.lines import Ends

_SCHEMES: dict[str, type[Scheme]] = {
    "split": Split,
    "balanced": Balanced,
    "mid-rail": MidRail,
    "offset-column": OffsetColumn,
}
_RESISTANCES = {
    "wire": "--wire-resistance",
    "word": "--word",
    "bit": "--bit",
    "driver": "--driver",
    "sense": "--sense",
}
_MOST_INPUTS = 2**24
_EXAMPLES = """\b
Examples:
  analogdfc crossbar --size 10x64 --time 3600 --wire-resistance 1 -o crossbar.h5
  analogdfc crossbar train.h5:network/W1 --card rram_wan2022 --tile 256x256 --wire-resistance 1
"""


class _Pair(click.ParamType[tuple[int, int]]):
    """Two sizes such as 10x64."""

    name = "NxN"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, int]:
        """Parse the text; fails with what is allowed."""
        if isinstance(value, tuple):
            return value
        found = re.fullmatch(r"([1-9][0-9]{0,6})[xX]([1-9][0-9]{0,6})", str(value))
        if found is None:
            raise UserError(
                f"{param.opts[0] if param else 'size'} {value}: write two numbers >= 1, "
                "such as 10x64"
            )
        return int(found[1]), int(found[2])


@dataclass(frozen=True)
class _Options:
    """The array and what it is read with; resistances in ohms, time in seconds."""

    time: float
    wire: float
    word: float | None
    bit: float | None
    driver: float
    sense: float
    driven: Ends
    sensed: Ends
    scheme: str
    scale: str
    tile: tuple[int, int] | None
    inputs: int | None
    input_file: str | None
    read_voltage: float
    stuck: tuple[str, ...]


@click.command(
    "crossbar",
    short_help="Error of a matrix product on an array of devices, by cause.",
    epilog=_EXAMPLES,
)
@click.argument("matrix", required=False, metavar="[MATRIX]")
@click.option("--size", type=_Pair(), help="Random weights: number of outputs x inputs.")
@click.option(
    "--card",
    default="pcm_nandakumar2019",
    show_default=True,
    help="Device card: a name that `analogdfc cards` lists or the path of a TOML file.",
)
@click.option(
    "--time",
    type=Number(),
    default=0.0,
    show_default=True,
    metavar="SECONDS",
    help="From programming to the read.",
)
@click.option(
    "--wire-resistance",
    "wire",
    type=Number(),
    default=0.0,
    show_default=True,
    metavar="OHM",
    help="Of one segment of a word line and of a bit line, between neighbouring cells.",
)
@click.option("--word", type=Number(), metavar="OHM", help="The same, of a word line only.")
@click.option("--bit", type=Number(), metavar="OHM", help="The same, of a bit line only.")
@click.option(
    "--driver",
    type=Number(),
    default=0.0,
    show_default=True,
    metavar="OHM",
    help="Output resistance of a driver.",
)
@click.option(
    "--sense",
    type=Number(),
    default=0.0,
    show_default=True,
    metavar="OHM",
    help="Input resistance of a sense amplifier.",
)
@click.option(
    "--driven",
    type=click.Choice(["one", "both"]),
    default="one",
    show_default=True,
    help="Ends of the word lines that have a driver.",
)
@click.option(
    "--sensed",
    type=click.Choice(["one", "both"]),
    default="one",
    show_default=True,
    help="Ends of the bit lines that are sensed.",
)
@click.option(
    "--scheme",
    type=click.Choice(list(_SCHEMES)),
    default="split",
    show_default=True,
    help="How a signed weight becomes conductances: a differential pair of which one is at g_min "
    "(split) or both lie around the middle (balanced), or one device against a fixed reference "
    "(mid-rail) or against a column of devices (offset-column).",
)
@click.option(
    "--scale",
    default="layer",
    show_default=True,
    metavar="layer|column|LIMIT",
    help="What the ends of the window stand for: the largest weight of all, the largest of each "
    "output, or a fixed limit, beyond which no weight is allowed.",
)
@click.option(
    "--tile",
    type=_Pair(),
    help="Largest array, rows x columns; larger matrices are cut.  [default: one array]",
)
@click.option(
    "--inputs",
    type=Count(1),
    help="Random input vectors, uniform between -1 and 1.  [default: 32]",
)
@click.option("--input", "input_file", metavar="FILE", help="Input vectors, one a row.")
@click.option(
    "--read-voltage",
    type=Number(),
    default=0.2,
    show_default=True,
    metavar="VOLT",
    help="What the largest of the inputs stands for.",
)
@click.option(
    "--samples",
    type=Count(1),
    default=10,
    show_default=True,
    help="Monte-Carlo draws of the devices and their noise.",
)
@click.option(
    "--stuck",
    multiple=True,
    metavar="ROW,COLUMN,SIEMENS",
    help="A cell that is stuck at a conductance, counted from 0; may be given more than once. A "
    "differential pair of input i has the rows 2i and 2i + 1.",
)
@click.option(
    "--seed",
    type=SEED,
    default=0,
    show_default=True,
    help="Seed of random weights and random inputs; of the devices too, without --chip-seed.",
)
@CHIP_SEED
@click.option("--json", "as_json", is_flag=True, help="Print the numbers for machines.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    default=Path("crossbar.h5"),
    show_default=True,
    help="Record to write (HDF5); the figure goes beside it as .png.",
)
@bundled("options", _Options)
def command(
    matrix: str | None,
    size: tuple[int, int] | None,
    card: str,
    samples: int,
    seed: int,
    chip_seed: int | None,
    as_json: bool,
    output: Path,
    options: _Options,
) -> None:
    """Error of a matrix product on an array of devices, by cause.

    MATRIX holds the weights, one row an output: FILE.npy, FILE.csv or FILE.h5:DATASET, such as
    train.h5:network/W1. They are programmed into an array and read; the error is that of the
    product with the inputs, relative to the ideal one, with each cause alone and with each switched
    off.
    """
    torch.set_num_threads(1)
    if options.word is not None and options.bit is not None:
        refuse("--word and --bit say what the lines have", "wire")
    figure_path = beside(output, ".png")
    sources = [path_of(source) for source in (matrix, options.input_file) if source is not None]
    check_outputs(output, figure_path, read=[card, *sources])
    device = DeviceCard.load(card)
    lines = _lines(options)
    check_number("--time", options.time, "s", low=0.0)
    check_number("--read-voltage", options.read_voltage, "V", low=0.0, open_low=True)
    generator = torch.Generator().manual_seed(seed)
    weights, origin = _weights(matrix, size, generator)
    product = Product(
        weights,
        _inputs(options, weights.shape[1], generator),
        device.model(),
        lines,
        _mapping(options),
        options.time,
        options.read_voltage,
        tuple(_stuck(text) for text in options.stuck),
    )
    draws = int(torch.randint(2**62, (), generator=generator)) if chip_seed is None else chip_seed
    with progress_bar("cases", cases(product)) as bar:
        found = measure(product, samples=samples, seed=draws, progress=bar.update)
    about = {
        "matrix": origin,
        "outputs": weights.shape[0],
        "inputs": weights.shape[1],
        "vectors": len(product.x),
        "card": card,
        "scheme": options.scheme,
        "scale": options.scale,
        "rows": product.shape[0],
        "columns": product.shape[1],
        "arrays": len(product.layout.inputs) * len(product.layout.outputs),
        "samples": samples,
        "seed": seed,
        **({} if chip_seed is None else {"chip_seed": chip_seed}),
    }
    records.write(output, _crossbar.tree(about, product, found, device.text))
    title = _crossbar.title(about, product)
    heading = f"{title}; seed {seed}, draws from seed {draws}"
    figure = save_figure(product_figure(product, found, heading), figure_path)
    if as_json:
        numbers = {**about, **_crossbar.numbers(product, found)}
        click.echo(json.dumps(numbers, indent=2, allow_nan=False))
    else:
        _crossbar.show(title, product, found)
        click.echo(f"wrote {output} and {figure}")


def _lines(options: _Options) -> Lines:
    for key, name in _RESISTANCES.items():
        ohms = getattr(options, key)
        if ohms is not None:
            check_number(name, ohms, "ohm", low=0.0)
    word, bit = (options.wire if r is None else r for r in (options.word, options.bit))
    return Lines(
        r_word=word,
        r_bit=bit,
        r_driver=options.driver,
        r_sense=options.sense,
        driven=options.driven,
        sensed=options.sensed,
    )


def _weights(
    matrix: str | None, size: tuple[int, int] | None, generator: torch.Generator
) -> tuple[Tensor, str]:
    if (matrix is None) == (size is None):
        raise UserError("give the weights: either MATRIX, a file, or --size for random ones")
    if matrix is not None:
        return read_matrix(matrix, "weights"), matrix
    assert size is not None
    outputs, inputs = size
    if outputs * inputs > MOST:
        raise UserError(f"--size {outputs}x{inputs}: at most {MOST} weights are allowed")
    drawn = torch.randn(outputs, inputs, generator=generator, dtype=torch.float64)
    return drawn / inputs**0.5, "random weights"


def _inputs(options: _Options, count: int, generator: torch.Generator) -> Tensor:
    source, vectors = options.input_file, options.inputs
    if source is None:
        vectors = 32 if vectors is None else vectors
        if vectors * count > _MOST_INPUTS:
            most = max(1, _MOST_INPUTS // count)
            raise UserError(f"--inputs {vectors}: at most {most} vectors of {count} are allowed")
        return 2 * torch.rand(vectors, count, generator=generator, dtype=torch.float64) - 1
    if vectors is not None:
        raise UserError(f"--inputs {vectors}: the inputs come from {source}; give only one of them")
    x = read_matrix(source, "inputs")
    if x.shape[1] != count:
        raise UserError(f"{source}: {x.shape[1]} numbers a row; the weights have {count} inputs")
    return x


def _mapping(options: _Options) -> Mapping:
    tiling = Tiling(*options.tile) if options.tile else Tiling()
    scheme = _SCHEMES[options.scheme]()
    return Mapping(scheme, _scale(options.scale), tiling=tiling, bias_rows=0)


def _scale(text: str) -> Scale:
    named: dict[str, type[Scale]] = {"layer": PerLayer, "column": PerColumn}
    if text in named:
        return named[text]()
    try:
        limit = float(text)
    except ValueError:
        raise UserError(f"--scale {text}: write layer, column or a number > 0") from None
    check_number("--scale", limit, low=0.0, open_low=True)
    return Fixed(limit)


def _stuck(text: str) -> StuckCell:
    try:
        row, column, g = text.split(",")
        return StuckCell(int(row), int(column), float(g))
    except ValueError:
        raise UserError(
            f"--stuck {text}: write row, column and siemens, such as 3,5,25e-6"
        ) from None

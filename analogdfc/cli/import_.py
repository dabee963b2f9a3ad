"""`analogdfc import`: a network that another program trained, as a file of weights."""

from __future__ import annotations

import json
from pathlib import Path

import click
from rich.table import Table

from analogdfc import records
from analogdfc.activations import ACTIVATIONS
from analogdfc.cli._console import make_console
from analogdfc.cli._design import JSON
from analogdfc.cli._options import as_options, check_outputs
from analogdfc.importing import Imported, import_network
from analogdfc.importing.layers import Orientation
from analogdfc.storage import network_tree

_EXAMPLES = """\b
Examples:
  analogdfc import model.pt --activation tanh -o weights.h5
  analogdfc import model.keras --activation relu --layer dense --layer dense_1 --skip conv2d
  analogdfc compare --weights weights.h5
"""
_WAYS = {"out-in": "rows are outputs, as here", "in-out": "rows are inputs, turned"}


@click.command(epilog=_EXAMPLES)
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--activation",
    "activations",
    multiple=True,
    type=click.Choice(sorted(ACTIVATIONS)),
    help="Nonlinearity of the hidden layers, which no file of weights tells: once for all, or once "
    "a layer.",
)
@click.option(
    "--output-activation",
    type=click.Choice(sorted(ACTIVATIONS)),
    default="linear",
    show_default=True,
    help="That of the last layer.",
)
@click.option(
    "--layer",
    "layers",
    multiple=True,
    help="A layer by its name in the file; once a layer, first to last.  [default: all]",
)
@click.option(
    "--skip",
    "skipped",
    multiple=True,
    help="Leave out a part by its name, such as a convolution, that no such network has.",
)
@click.option(
    "--orientation",
    type=click.Choice(list(_WAYS)),
    help="Which axis of the weights comes first.  [default: by their names]",
)
@JSON
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    default=Path("weights.h5"),
    show_default=True,
    help="Record to write (HDF5), for --weights of other commands.",
)
def command(
    file: Path,
    activations: tuple[str, ...],
    output_activation: str,
    layers: tuple[str, ...],
    skipped: tuple[str, ...],
    orientation: Orientation | None,
    as_json: bool,
    output: Path,
) -> None:
    """Make a weights file of a network that another program trained.

    FILE is a state_dict of PyTorch (.pt, .pth), arrays of NumPy (.npz), a file of Keras (.keras,
    .h5) or HDF5 with such names. Only numbers are read: nothing in it is run. A weight that Keras
    calls kernel has its inputs first, and is turned.
    """
    check_outputs(output, read=(file,))
    with as_options("activation", "layer", "skip", "orientation"):
        found = import_network(
            file,
            activations[0] if len(activations) == 1 else activations or None,
            output_activation,
            layer=layers,
            skip=skipped,
            orientation=orientation,
        )
    told = {
        "file": str(file),
        "layers": [layer.name for layer in found.layers],
        "orientations": list(found.orientations),
        **({"left_out": list(found.left_out)} if found.left_out else {}),
    }
    tree = {"provenance": records.provenance(), "network": network_tree(found.network)}
    records.write(output, {**tree, "imported": told})
    if as_json:
        click.echo(json.dumps({"network": list(found.network.sizes), **told}, indent=2))
        return
    _show(file, found)
    click.echo(f"wrote {output}")


def _show(file: Path, found: Imported) -> None:
    network, console = found.network, make_console()
    title = f"{file}: network {'-'.join(map(str, network.sizes))}"
    console.print(title, highlight=False, markup=False, soft_wrap=True)
    table = Table()
    for name in ("layer", "in the file", "weight there", "which is", "bias", "activation"):
        table.add_column(name)
    parts = zip(found.layers, found.orientations, network.activations, strict=True)
    for number, (layer, way, phi) in enumerate(parts, start=1):
        shape = " x ".join(map(str, layer.weight.shape))
        bias = "none, 0" if layer.bias is None else str(len(layer.bias))
        table.add_row(str(number), layer.name, shape, f"{way}: {_WAYS[way]}", bias, phi.name)
    console.print(table)
    if found.left_out:
        rest = f"left out: {', '.join(found.left_out)}"
        console.print(rest, highlight=False, markup=False, soft_wrap=True)

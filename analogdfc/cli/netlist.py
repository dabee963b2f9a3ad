"""`analogdfc netlist`: the circuit as files for a chip designer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click
import torch

from analogdfc.cases import stimuli_for
from analogdfc.circuit.chip import Chip
from analogdfc.circuit.design import Design
from analogdfc.cli._design import (
    Switches,
    cell_options,
    condition_options,
    design_options,
    device_options,
    make_condition,
    make_design,
    make_kit,
    make_model,
    own_cells,
    pdk_options,
)
from analogdfc.cli._given import given, learned_on
from analogdfc.cli._inversion_options import Inverting, inversion_options
from analogdfc.cli._options import Control, control_options
from analogdfc.kits import Corner
from analogdfc.schematics import check_schemdraw, drawings, write_schematics
from analogdfc.spice.dialects import DIALECTS, get_dialect
from analogdfc.spice.netlist import FIDELITIES, Fidelity, Netlist, WrittenNetlist
from analogdfc.spice.testbench import Testbench
from analogdfc.study import Study
from analogdfc.verdicts import bench_tolerance, loop_remarks

# The first line keeps click from wrapping the example.
_EXAMPLES = """\b
Example:
  analogdfc netlist --sizes 3-4-2 -o dfc_3-4-2
  analogdfc netlist --sizes 3-4-2 --dialect spectre -o dfc_spectre
  analogdfc netlist --sizes 3-4-2 --schematics -o dfc_drawn
"""


@click.command("netlist", short_help="Write the SPICE netlist of a network.", epilog=_EXAMPLES)
@design_options
@control_options
@device_options
@inversion_options
@click.option(
    "--fidelity",
    type=click.Choice(FIDELITIES),
    default="macro",
    show_default=True,
    help="Level of the amplifier and tanh cells.",
)
@pdk_options
@condition_options
@cell_options
@click.option(
    "--dialect",
    type=click.Choice(["ngspice", *DIALECTS]),
    default="ngspice",
    show_default=True,
    help="Language of the netlist; the head of its testbench says how it was checked.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("netlist"),
    show_default=True,
    help="Folder to write into.",
)
@click.option(
    "--force",
    is_flag=True,
    help="Write over files that were changed since they were written; else they are kept.",
)
@click.option(
    "--schematics",
    is_flag=True,
    help="Draw every cell with its values as SVG into the folder 'schematics' there; needs "
    "schemdraw. A folder that has such drawings has them drawn anew without it, too.",
)
def command(
    weights: Path | None,
    sizes: tuple[int, ...] | None,
    card: str,
    seed: int,
    chip_seed: int | None,
    devices: str | None,
    age: float,
    fidelity: Fidelity,
    pdk: str | None,
    corner: Corner,
    temperature: float,
    supply: float | None,
    cells: tuple[str, ...],
    device_parameter: str | None,
    dialect: str,
    output: Path,
    force: bool,
    schematics: bool,
    control: Control,
    switches: Switches,
    inverting: Inverting,
) -> None:
    """Write the SPICE netlist of a network; needs no simulator.

    Five files: cells.lib (the cell library; swap a cell for one of your process), circuit.cir
    (crossbars, neurons, controller), testbench.cir (supplies, one input, analysis), which runs as
    it is with `ngspice -b -r waveforms.raw testbench.cir`, and devices.csv and devices.h5 (which
    device stands for which weight, as a table and as matrices). A large circuit has a file an array
    too. In another --dialect the names end as its files do. A network that learned through a chip
    brings that chip, where no option says otherwise.

    A network on handwritten digits learns them anew each time; --weights takes that of a record,
    such as one of `compare`, instead.

    With --rule di a network of several hidden layers has a folder for each pair of layers, which
    run one after another; the target of a testbench is then what the pair above has ended with.
    """
    torch.set_num_threads(1)
    if schematics := schematics or bool(drawings(output)):
        check_schemdraw()
    if inverting.asked:
        inverting.check(fidelity, "pdk", "corner", "temperature", "supply")
    kit, card = make_kit(fidelity, pdk, corner, card)
    made_of = given(learned_on(weights), card, (seed, chip_seed), switches, devices, age)
    own = own_cells(cells, device_parameter)
    writer = None if dialect == "ngspice" else get_dialect(dialect)
    if inverting.asked:
        # Learning rules and figures take long to import, and other netlists need neither.
        from analogdfc.cli._inverting import make_inversion, netlists_of

        made = make_inversion(inverting, weights, sizes, control, made_of)
        _say_network(made.design, f"{made.origin}; dynamic inversion ({inverting.rule})")
        for remark in (*made.design.card.remarks, *made.notes):
            click.echo(f"Warning: {remark}")
        for one, drive, folder in netlists_of(made, fidelity, output, own):
            written = one.write(folder, drive.file_text(), dialect=writer, force=force)
            _say_files(written, write_schematics(one, folder) if schematics else ())
        return
    model, origin = make_model(weights, sizes, made_of.seeds[0], control)
    origin += made_of.note
    case = make_condition(corner, temperature, supply)
    design = make_design(model, case.placed(made_of.card), made_of.switches, made_of.devices)
    samples = stimuli_for(model.network, 1, made_of.seeds[0])
    chip = Chip.of(design, made_of.seeds[1])
    netlist = Netlist.of(chip, fidelity, cells=own, kit=kit)
    study = Study(netlist.chip.design, samples.x, samples.step)
    case.check(study)
    part = bench_tolerance(study, netlist.chip.seed)
    bench = Testbench(
        netlist.chip,
        samples.x[0],
        samples.step[0],
        duration=study.duration,
        max_step=design.tau_v / 10,
        tolerance=part,
        celsius=temperature,
    )
    written = netlist.write(output, bench.file_text(), dialect=writer, force=force)
    drawn = write_schematics(netlist, output) if schematics else ()
    _say_network(design, origin)
    for remark in (*design.card.remarks, *loop_remarks(study, netlist.chip.seed)):
        click.echo(f"Warning: {remark}")
    _say_files(written, drawn)


def _say_network(design: Design, origin: str) -> None:
    """Print what the netlist is of."""
    click.echo(f"network {'-'.join(map(str, design.sizes))}, {origin}")
    for name, factor in design.shrunk_layers().items():
        click.echo(f"{name}: conductances scaled by {factor:.4g} to fit the window of the card")


def _say_files(written: WrittenNetlist, drawn: Sequence[Path]) -> None:
    """Print what became of the files."""
    for file in (*written.files, *drawn):
        click.echo(f"wrote {file}")
    for file in written.removed:
        click.echo(f"removed {file}, of an earlier netlist")
    for file in written.outdated:
        click.echo(
            f"Warning: {file} has the waveforms of an earlier netlist; run it anew", err=True
        )
    for file in written.kept:
        click.echo(
            f"Warning: kept {file}, which was changed since it was written; --force replaces it",
            err=True,
        )

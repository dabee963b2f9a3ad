"""What the paper's MNIST training costs on digital machines, by published constants.

`python -m benchmarks.digital`
"""

from __future__ import annotations

import sys

from rich.console import Console
from rich.table import Table

from analogdfc.estimation.digital import (
    COUNTS,
    DIGITAL_COLUMNS,
    Row,
    band_text,
    baseline,
    digital_cells,
    sources,
    spread,
)
from analogdfc.presets import load_preset

PRESET = "mnist"
SAMPLES = 55_000
"""Training images of the published experiment, which keeps 5000 of 60000 for validation."""

BATCH = 32
OPTIMIZER = "adam"


def digital_rows(rules: tuple[str, ...] = tuple(COUNTS), batch: int = BATCH) -> list[Row]:
    """The paper's network, number of steps, epochs and optimiser on every machine.

    Args:
        rules: rules, of `COUNTS`; the order of the rows.
        batch: samples of a minibatch; the published experiment has 128.
    """
    experiment = load_preset(PRESET).experiment("dfc", "learned")
    return baseline(
        list(experiment.sizes),
        rules,
        SAMPLES,
        experiment.plan.epochs,
        batch=batch,
        steps=int(experiment.options["steps"]),
        optimizer=OPTIMIZER,
    )


def main() -> int:
    """Print the table, what its bands are, and its sources."""
    rows = digital_rows()
    epochs = rows[0].samples // SAMPLES
    table = Table(
        title=f"784-256-256-256-10, {SAMPLES} samples, {epochs} epochs, batch {BATCH}, {OPTIMIZER}"
    )
    for k, name in enumerate(DIGITAL_COLUMNS):
        table.add_column(name, justify="left" if k in (0, 2) else "right", no_wrap=True)
    for rule in COUNTS:
        table.add_section()
        cells = digital_cells([row for row in rows if row.rule == rule])
        for k, line in enumerate(cells):
            table.add_row(*(line if k == 0 else ("", "", *line[2:])))
    console = Console(width=max(Console().width, 120))
    console.print(table)
    console.print("A sample, over all machines and formats:")
    for rule in COUNTS:
        band = spread([row for row in rows if row.rule == rule])
        console.print(f"  {rule}: {band_text(band)} ({band.reason})", soft_wrap=True)
    console.print(
        "The papers train in fp64: in shorter formats, the small steps of the output target that "
        "the rules of deep feedback control learn from may drown in rounding."
    )
    console.print("Bands:")
    for machine in ("Horowitz", "NVIDIA H200"):
        row = next(r for r in rows if r.machine.startswith(machine) and r.rule == "dfc")
        console.print(f"  {row.machine}, dfc: {row.energy.reason}", soft_wrap=True)
    console.print("Sources:")
    for source in sources(rows):
        console.print(f"  {source}", soft_wrap=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""What `stability` prints."""

from __future__ import annotations

import math

from rich.table import Table

from analogdfc.analysis.loop_gain import LoopGain
from analogdfc.analysis.settling.margins import Margins
from analogdfc.circuit.design import Design
from analogdfc.cli._console import make_console
from analogdfc.stability import SampleLoop, Stability

_CHANNELS = 12
"""Channels that are printed; the record has all."""


def show(design: Design, origin: str, samples: str, found: Stability) -> None:
    """Print margins and modes of every sample, beside those of the netlist."""
    console = make_console()

    def say(text: str, style: str = "") -> None:
        console.print(text, highlight=False, markup=False, soft_wrap=True, style=style)

    say(f"network {'-'.join(map(str, design.sizes))}, {origin}")
    say(f"{samples}; card: {design.card.card.name}")
    for k, loop in enumerate(found.loops, start=1):
        if loop.unstable:
            say(f"Warning: sample {k}: the loop is unstable, {loop.unstable} modes grow", "bold")
        console.print(_margins(k, loop))
        console.print(_modes(k, loop))
        if loop.circuit is not None:
            say(f"netlist: {loop.circuit.made_by}", "dim")


def _rows(gain: LoopGain) -> list[tuple[str, Margins]]:
    channels = [(f"channel {k}", m) for k, m in enumerate(gain.channel_margins, start=1)]
    return [("all channels alike", gain.margins), *channels[:_CHANNELS]]


def _margins(k: int, loop: SampleLoop) -> Table:
    table = Table(title=f"Margins, sample {k}", title_justify="left")
    table.add_column("change of", no_wrap=True)
    sides = ["equations"] if loop.circuit is None else ["equations", ".ac"]
    for head in ("gain margin\n1", "phase margin\ndegree", "crossover\nkHz"):
        for side in sides:
            table.add_column(f"{head}\n{side}", justify="right", no_wrap=True)
    others = [] if loop.circuit is None else _rows(loop.circuit.gain)
    for n, (name, margins) in enumerate(_rows(loop.gain)):
        every = [margins, *(other for _, other in others[n : n + 1])]
        cells = [f"{m.gain:.4g}" for m in every]
        cells += [f"{m.degrees:.2f}" for m in every]
        cells += ["none" if math.isnan(m.phase_at) else f"{m.phase_at / 1e3:.4g}" for m in every]
        table.add_row(name, *cells)
    return table


def _modes(k: int, loop: SampleLoop) -> Table:
    which = "Modes that grow" if loop.unstable else "Slowest modes"
    table = Table(title=f"{which}, sample {k}", title_justify="left")
    table.add_column("1/us", justify="right", no_wrap=True)
    if loop.circuit is not None:
        table.add_column("off the netlist's, %", justify="right", no_wrap=True)
    for mode, error in zip(loop.modes, loop.mode_errors, strict=True):
        shown = f"{1e-6 * mode.real:+.4g}"
        if mode.imag:
            shown += f" +-{1e-6 * mode.imag:.4g}j"
        table.add_row(shown, *([] if loop.circuit is None else [f"{100 * error:.2g}"]))
    return table

"""Text of a chip's circuit: parameters, crossbars and instances, from the circuit's description."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

from torch import Tensor

from analogdfc import __version__
from analogdfc.cards.technology import Card
from analogdfc.circuit.chip import Chip
from analogdfc.circuit.description import Array, Crossbar, Instances, Port
from analogdfc.circuit.numbers import NO_RESISTOR, macro_parameters
from analogdfc.errors import UserError

_LEAST_OHM = 2e-3  # ngspice replaces anything below 1 mohm

_HOLD_FARADS_PER_SECOND = 1e-12 / 5e-6
"""Capacitance of a hold over the time in which the controller moves.

A hold of constant size leaks away in a slow loop, and ngspice's time steps there are so long that
the capacitor hardly counts beside its switch, whose opening then ends in a time step too small.
"""


def number(value: float) -> str:
    """A number as a netlist may contain it, exact to the last bit.

    Raises:
        UserError: it is not finite.
    """
    value = float(value)
    if not math.isfinite(value):
        raise UserError(f"{value} can't be written into a netlist")
    return repr(value)


def title(chip: Chip, fidelity: str) -> str:
    """First line of a deck."""
    sizes = "-".join(map(str, chip.design.sizes))
    return f"* {chip.circuit.subject}, network {sizes}, cells at level {fidelity}"


def circuit_text(chip: Chip, fidelity: str) -> str:
    """The circuit of a chip, without cells, sources or analyses.

    Args:
        chip: the chip.
        fidelity: level of the amplifier and tanh cells.
    """
    parts = [_header(chip, fidelity), _parameters(chip, fidelity)]
    circuit = chip.circuit
    for part in circuit.parts:
        lines: list[str] = []
        for crossbar in circuit.crossbars:
            if crossbar.part == part:
                lines += _crossbar(chip, crossbar)
        kinds = [kind for kind in circuit.instances if kind.part == part]
        what = "neurons" if lines else "one channel an output"
        lines.append(f"* {part.capitalize()}: {what}")
        for kind in kinds:
            lines += _instances(chip, kind)
        parts.append("\n".join(lines))
    return "\n".join(parts) + "\n"


def _header(chip: Chip, fidelity: str) -> str:
    design, seed = chip.design, chip.seed
    card = design.card
    shrunk = design.shrunk_layers()
    scale = ", ".join(f"{k} x {v:.4g}" for k, v in shrunk.items()) or "none"
    return "\n".join(
        [
            title(chip, fidelity),
            f"* analogdfc {__version__}; card: {card.card.name}; "
            f"seed: {'nominal components' if seed is None else seed}",
            *([] if design.devices is None else [f"* Crossbars of {design.devices}"]),
            f"* Scaling: {card.scale.activation:g} V per unit of v and r, "
            f"{card.scale.control:g} V per unit of u and e, {design.seconds:g} s per unit of "
            "time",
            f"* {chip.circuit.dynamics}",
            *_zeroed(card),
            f"* Crossbars with conductances scaled down to fit the window: {scale}",
            "* Nodes, counted from 1, with i the layer and n the neuron:",
            *(f"*   {line}" for line in chip.circuit.legend),
        ]
    )


def _zeroed(card: Card) -> list[str]:
    """What the head says of the neurons' auto-zero."""
    if card.auto_zero.capacitor is None:
        return []
    return [
        f"* Auto-zero of every neuron, {card.auto_zero.capacitor:g} F: offsets in layers (os_*) "
        "are what it leaves of them,",
        "* drawn once for the chip; its switches and its phase are not in here",
    ]


def card_parameters(card: Card, fidelity: str, seconds: float) -> dict[str, float]:
    """Global parameters of the cells of a card.

    Args:
        card: the technology.
        fidelity: level of the cells.
        seconds: time constant of the slowest of what a hold has to keep a value for.
    """
    values = {
        "s_v": card.scale.activation,
        "s_u": card.scale.control,
        "i_tanh": card.tanh.current,
        "r_switch": card.passive.r_switch,
        "c_hold": _HOLD_FARADS_PER_SECOND * seconds,
        "v_supply": card.amplifier.supply,
    }
    if fidelity == "macro":
        values |= macro_parameters(card)
        values["r_out"] = max(values["r_out"], _LEAST_OHM)
    return values


def _parameters(chip: Chip, fidelity: str) -> str:
    values = card_parameters(chip.design.card, fidelity, chip.design.pace[1])
    lines = chip.circuit.crossbars[0].lines
    if _wired(chip.circuit.crossbars[0]):
        values["r_word"] = lines.r_word or _LEAST_OHM
        values["r_bit"] = lines.r_bit or _LEAST_OHM
    return "\n".join(f"* {_MEANING[k]}\n.param {k}={number(v)}" for k, v in values.items())


def _instances(chip: Chip, kind: Instances) -> Iterator[str]:
    names = [
        chip.circuit.names(p)
        if isinstance(p, Port)
        else [p.format(k=k) for k in range(1, kind.size + 1)]
        for p in kind.pins
    ]
    for k in range(kind.size):
        values = {name: _component(name, values, k) for name, values in kind.values.items()}
        instance = f"X{kind.name.format(k=k + 1)}"
        yield statement(instance, [nodes[k] for nodes in names], kind.cell, values)


def _component(name: str, values: Tensor, k: int) -> float:
    value = float(values[k])
    if not name.startswith("r_"):
        return value
    return NO_RESISTOR if math.isinf(value) else max(value, _LEAST_OHM)


def _crossbar(chip: Chip, crossbar: Crossbar) -> Iterator[str]:
    """Subcircuit and instance of an array."""
    circuit, name = chip.circuit, f"crossbar_{crossbar.name.lower()}"
    what = crossbar.name
    weight = "weight" if crossbar.kind is Array.FORWARD else "feedback weight"
    if crossbar.biased:
        what += ", bias in the last pair of rows"
    yield f"* {crossbar.part.capitalize()}: {what}; {crossbar.unit:g} S per unit of {weight}"
    columns, inputs = crossbar.plus.shape
    rows = [node for j in range(1, inputs + 1) for node in (f"p{j}", f"n{j}")]
    pins = [*rows, *(f"c{k}" for k in range(1, columns + 1))]
    yield statement(".subckt", [name, *pins], "")
    for tile in crossbar.tiling.cut(2 * inputs, columns):
        yield from _tile(crossbar, *tile)
    if crossbar.row_farads > 0:
        c_row, c_column = number(crossbar.row_farads), number(crossbar.column_farads)
        yield from (f"Crow{k} {row} 0 {c_row}" for k, row in enumerate(rows, start=1))
        yield from (f"Ccolumn{k} c{k} 0 {c_column}" for k in range(1, columns + 1))
    yield f".ends {name}"
    drivers = [
        node
        for rails in crossbar.rows
        for pair in zip(*map(circuit.names, rails), strict=True)
        for node in pair
    ]
    yield statement(f"X{crossbar.name.lower()}", [*drivers, *circuit.names(crossbar.columns)], name)


def _tile(crossbar: Crossbar, rails: slice, outputs: slice) -> Iterator[str]:
    """Cells of one tile, with lines of its own between the array's pins."""
    first, last = rails.start // 2, rails.stop // 2
    wired = _wired(crossbar)
    for j in range(first, last):
        row = j + 1
        for k in range(outputs.start, outputs.stop):
            column = k + 1
            gp, gn = (number(float(g[k, j])) for g in (crossbar.plus, crossbar.minus))
            nodes, cell = f"p{row} n{row} c{column}", "pair"
            if wired:
                plus, minus = f"p{row}_{k}", f"n{row}_{k}"
                if k == outputs.start:
                    plus, minus = f"p{row}", f"n{row}"
                above = f"b{j}_{column}" if j > first or j == 0 else f"b{j}t_{column}"
                nodes = f"{plus} p{row}_{column} {minus} n{row}_{column} {above} b{row}_{column}"
                cell = "pair_wired"
            yield f"X{row}_{column} {nodes} {cell} gp={gp} gn={gn}"
    if wired:
        tag = "" if last == crossbar.plus.shape[1] else f"{last}_"
        for k in range(outputs.start + 1, outputs.stop + 1):
            yield f"Rend{tag}{k} b{last}_{k} c{k} {{r_bit}}"


def _wired(crossbar: Crossbar) -> bool:
    return crossbar.lines.r_word > 0 or crossbar.lines.r_bit > 0


_MEANING = {
    "s_v": "volts per unit of v and r",
    "s_u": "volts per unit of u and e",
    "i_tanh": "largest current of a tanh cell, A",
    "r_switch": "on-resistance of the reset switch, ohm",
    "c_hold": "capacitance of a track and hold, F",
    "v_supply": "magnitude of either supply, V",
    "a0": "gain of the amplifiers",
    "gbw": "their gain-bandwidth, Hz",
    "f_pole2": "their second pole, Hz",
    "slew": "their slew rate, V/s",
    "v_sat": "magnitude at which their output limits, V",
    "c_in": "their input capacitance, F",
    "r_stage": "by which a load lowers their gain, ohm",
    "r_out": "their output resistance, ohm",
    "i_peak": "largest current that a tanh cell has, A",
    "s_tanh": "input of tanh(1) that it has, V",
    "r_tanh": "from either of its inputs to ground, ohm",
    "i_q": "their supply current at rest, A",
    "r_word": "a word line's resistance from one cell to the next, ohm",
    "r_bit": "the same of a bit line, ohm",
}


def statement(
    name: str, nodes: Sequence[str], cell: str, values: Mapping[str, float] | None = None
) -> str:
    """One statement, folded into lines that a person can read."""
    words = [name, *nodes, *([cell] if cell else [])]
    words += [f"{k}={number(v)}" for k, v in (values or {}).items()]
    lines, line = [], ""
    for word in words:
        if line and len(line) + len(word) + 1 > 100:
            lines.append(line)
            line = "+"
        line = f"{line} {word}" if line else word
    return "\n".join([*lines, line])

"""SPICE netlists of a chip: a hierarchical circuit, its cell library, and a testbench."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Literal

import numpy as np
from torch import Tensor

from analogdfc import __version__
from analogdfc.cards.technology import Card
from analogdfc.circuit.chip import Chip, LayerParts, Stage
from analogdfc.errors import UserError
from analogdfc.files import write_whole

Fidelity = Literal["ideal", "macro"]
FIDELITIES: tuple[Fidelity, ...] = ("ideal", "macro")

_LEAST_OHM = 2e-3  # ngspice replaces anything below 1 mohm
_NO_LEAK = 1e15


def number(value: float) -> str:
    """A number as a netlist may contain it, exact to the last bit.

    Raises:
        UserError: it is not finite.
    """
    value = float(value)
    if not np.isfinite(value):
        raise UserError(f"{value} can't be written into a netlist")
    return repr(value)


@dataclass(frozen=True)
class Netlist:
    """The circuit of a chip.

    Attributes:
        chip: what it describes.
        fidelity: level of the cells.
        cells: the cell library, a text of subcircuits.
        circuit: parameters, crossbars and instances, without sources or analyses.
    """

    chip: Chip
    fidelity: Fidelity
    cells: str
    circuit: str

    @classmethod
    def of(cls, chip: Chip, fidelity: Fidelity) -> Netlist:
        """Generate the netlist of a chip.

        Args:
            chip: the chip; at level 'ideal' its nominal components with ideal wires are written,
                since ideal cells have no imperfections.
            fidelity: level of the amplifier and tanh cells.

        Raises:
            UserError: an unknown level.
        """
        if fidelity not in FIDELITIES:
            raise UserError(f"unknown fidelity {fidelity!r}; there are {', '.join(FIDELITIES)}")
        if fidelity == "ideal":
            chip = Chip.of(chip.design.ideal())
        return cls(chip, fidelity, _cells(chip, fidelity), _Writer(chip, fidelity).text())

    def write(self, folder: str | Path, testbench: str) -> tuple[Path, ...]:
        """Write `cells.lib`, `circuit.cir` and `testbench.cir` into a folder, each whole.

        Args:
            folder: is made if it doesn't exist.
            testbench: text of the testbench without includes (see `Testbench.text`).

        Raises:
            UserError: the folder can't be written.
        """
        texts = {
            "cells.lib": self.cells,
            "circuit.cir": self.circuit,
            "testbench.cir": "* Testbench: run with `ngspice -b -r waveforms.raw testbench.cir`\n"
            f".include cells.lib\n.include circuit.cir\n{testbench}",
        }
        folder = Path(folder)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for name, text in texts.items():
                write_whole(folder / name, text.encode("ascii"))
        except OSError as error:
            raise UserError(f"{folder}: can't write the netlist here: {error.strerror}") from error
        return tuple(folder / name for name in texts)

    def deck(self, testbench: str) -> str:
        """The whole deck as one text, for a simulator."""
        return f"{_title(self.chip, self.fidelity)}\n{self.cells}{self.circuit}{testbench}"


def _cells(chip: Chip, fidelity: Fidelity) -> str:
    readout, wire = chip.design.readout, chip.design.card.wire
    wired = wire.word is not None or wire.bit is not None
    names = [
        f"opamp_{fidelity}",
        f"tanh_{fidelity}",
        "neuron_hidden",
        "neuron_output",
        "hold",
        f"target_{'relative' if readout.relative_target else 'absolute'}",
        f"autozero_{'on' if readout.auto_zero else 'off'}",
        "controller",
        "crosspoint_wired" if wired else "crosspoint",
    ]
    folder = resources.files("analogdfc._circuits")
    return "\n".join(folder.joinpath(f"{n}.lib").read_text(encoding="ascii") for n in names)


def _title(chip: Chip, fidelity: Fidelity) -> str:
    sizes = "-".join(map(str, chip.design.sizes))
    return f"* Deep Feedback Control, network {sizes}, cells at level {fidelity}"


class _Writer:
    """Text of a chip's circuit."""

    def __init__(self, chip: Chip, fidelity: Fidelity) -> None:
        self.chip = chip
        self.fidelity = fidelity
        wire = chip.design.card.wire
        self.wired = wire.word is not None or wire.bit is not None

    def text(self) -> str:
        parts = [self._header(), self._parameters()]
        for i in range(1, self.chip.design.depth + 1):
            parts.append("\n".join(self._layer(i)))
        parts.append("\n".join(self._controller()))
        return "\n".join(parts) + "\n"

    def _header(self) -> str:
        design, seed = self.chip.design, self.chip.seed
        card, pi = design.card, design.controller
        shrunk = design.shrunk_layers()
        scale = ", ".join(f"{k} x {v:.4g}" for k, v in shrunk.items()) or "none"
        return "\n".join(
            [
                _title(self.chip, self.fidelity),
                f"* analogdfc {__version__}; card: {card.card.name}; "
                f"seed: {'nominal components' if seed is None else seed}",
                f"* Scaling: {card.scale.activation:g} V per unit of v and r, "
                f"{card.scale.control:g} V per unit of u and e, {design.seconds:g} s per unit of "
                "time",
                f"* Controller: k_p = {pi.k_p:g}, alpha = {pi.alpha:g}, "
                f"tau_u = {design.tau_u_seconds:g} s; neurons: tau_v = {design.tau_v_seconds:g} s",
                f"* Crossbars with conductances scaled down to fit the window: {scale}",
                "* Nodes, counted from 1, with i the layer and n the neuron:",
                "*   in<n>p in<n>n  inputs +-     bp bn  bias rails +-",
                "*   rst  1 V holds the reset      go  1 V applies the target step",
                "*   w<i>_<n> q<i>_<n>  columns of the forward and feedback crossbars",
                "*   v<i>_<n>  v     vffn<i>_<n>  - v_ff     r<i>_<n> rn<i>_<n>  +- phi(v)",
                "*   rff<i>_<n>  phi(v_ff)     e<n>  error",
                "*   up<n> un<n>  +- u     goal<n>  target",
            ]
        )

    def _parameters(self) -> str:
        card = self.chip.design.card
        values = {
            "s_v": card.scale.activation,
            "s_u": card.scale.control,
            "i_tanh": card.tanh.current,
            "r_switch": card.passive.r_switch,
            "v_supply": card.amplifier.supply,
        }
        if self.fidelity == "macro":
            values |= _amplifier_parameters(card)
        if self.wired:
            values["r_word"] = card.wire.word or _LEAST_OHM
            values["r_bit"] = card.wire.bit or _LEAST_OHM
        return "\n".join(f"* {_MEANING[k]}\n.param {k}={number(v)}" for k, v in values.items())

    def _layer(self, i: int) -> Iterator[str]:
        design, parts = self.chip.design, self.chip.layers[i - 1]
        n_in, n, n_out = design.sizes[i - 1], design.sizes[i], design.sizes[-1]
        rails = [("in", "in")] if i == 1 else [(f"r{i - 1}_", f"rn{i - 1}_")]
        if i == 1:
            rows = [node for k in range(1, n_in + 1) for node in (f"in{k}p", f"in{k}n")]
        else:
            plus, minus = rails[0]
            rows = [node for k in range(1, n_in + 1) for node in (f"{plus}{k}", f"{minus}{k}")]
        unit = design.weight_unit(i)
        yield f"* Layer {i}: W{i}, bias in the last pair of rows; {unit:g} S per unit of weight"
        column = design.column_capacitance(i)
        yield from self._crossbar(f"crossbar_w{i}", parts.w_plus, parts.w_minus, i, column)
        columns = [f"w{i}_{k}" for k in range(1, n + 1)]
        yield _instance(f"Xw{i}", [*rows, "bp", "bn", *columns], f"crossbar_w{i}")
        yield f"* Layer {i}: Q{i}; {design.feedback_unit(i):g} S per unit of feedback weight"
        column = design.column_capacitance(i, feedback=True)
        yield from self._crossbar(f"crossbar_q{i}", parts.q_plus, parts.q_minus, i, column)
        # The soma inverts, so the conductances of positive weights hang on -u.
        rows = [node for k in range(1, n_out + 1) for node in (f"un{k}", f"up{k}")]
        columns = [f"q{i}_{k}" for k in range(1, n + 1)]
        yield _instance(f"Xq{i}", [*rows, *columns], f"crossbar_q{i}")
        yield f"* Layer {i}: neurons"
        for k in range(n):
            yield self._neuron(i, k, parts, hidden=i < design.depth)

    def _neuron(self, i: int, k: int, parts: LayerParts, *, hidden: bool) -> str:
        s = parts.stages
        values = {
            **_stage(s["basal"], k, r="r_b", c="c_b", offset="os_b"),
            **_stage(s["soma"], k, r="r_f", c="c_f", offset="os_s", inputs=("r_s",)),
        }
        tag = f"{i}_{k + 1}"
        nodes = [f"w{tag}", f"q{tag}", f"v{tag}", f"vffn{tag}"]
        if hidden:
            values |= _stage(s["act"], k, r="r_t", c="c_t", offset="os_t")
            values |= _stage(s["inv"], k, r="r_j", c="c_j", offset="os_i", inputs=("r_i",))
            values |= _stage(s["act_ff"], k, r="r_u", c="c_u", offset="os_u")
            values["os_tv"] = float(parts.tanh_offset["act"][k])
            values["os_tu"] = float(parts.tanh_offset["act_ff"][k])
            nodes += [f"r{tag}", f"rn{tag}", f"rff{tag}"]
        cell = "neuron_hidden" if hidden else "neuron_output"
        return _instance(f"Xn{tag}", [*nodes, "vdd", "vss"], cell, values)

    def _controller(self) -> Iterator[str]:
        design, parts = self.chip.design, self.chip.controller
        yield "* Controller: one channel an output"
        for k in range(design.sizes[-1]):
            s = parts.stages
            g_leak = float(parts.g_leak[k])
            values = {
                **_stage(s["error"], k, r="r_e", c="c_e", offset="os_e", inputs=("r_l", "r_g")),
                **_stage(s["pi"], k, r="r_p", c="c_p", offset="os_p", inputs=("r_i",)),
                "c_i": float(parts.c_i[k]),
                "r_leak": 1 / g_leak if g_leak > 0 else _NO_LEAK,
                **_stage(s["inv"], k, r="r_v", c="c_v", offset="os_u", inputs=("r_u",)),
            }
            c = k + 1
            nodes = [f"v{design.depth}_{c}", f"goal{c}", f"un{c}", f"up{c}", f"e{c}"]
            yield _instance(f"Xc{c}", [*nodes, "rst", "go", "vdd", "vss"], "controller", values)

    def _crossbar(
        self, name: str, plus: Tensor, minus: Tensor, i: int, c_column: float
    ) -> Iterator[str]:
        columns, inputs = plus.shape
        rows = [node for j in range(1, inputs + 1) for node in (f"p{j}", f"n{j}")]
        pins = [*rows, *(f"c{k}" for k in range(1, columns + 1))]
        yield _instance(".subckt", [name, *pins], "")
        for j in range(inputs):
            for k in range(columns):
                nodes, cell = self._cell_nodes(j, k, inputs)
                gp, gn = number(float(plus[k, j])), number(float(minus[k, j]))
                yield f"X{j + 1}_{k + 1} {nodes} {cell} gp={gp} gn={gn}"
        if self.wired:
            for k in range(1, columns + 1):
                yield f"Rend{k} b{inputs}_{k} c{k} {{r_bit}}"
        c_row = self.chip.design.row_capacitance(i)
        if c_row > 0:
            yield from (f"Crow{k} {row} 0 {number(c_row)}" for k, row in enumerate(rows, start=1))
            yield from (f"Ccolumn{k} c{k} 0 {number(c_column)}" for k in range(1, columns + 1))
        yield f".ends {name}"

    def _cell_nodes(self, j: int, k: int, inputs: int) -> tuple[str, str]:
        row, column = j + 1, k + 1
        if not self.wired:
            return f"p{row} n{row} c{column}", "pair"
        plus = f"p{row}" if k == 0 else f"p{row}_{k}"
        minus = f"n{row}" if k == 0 else f"n{row}_{k}"
        above = f"b{j}_{column}"
        nodes = f"{plus} p{row}_{column} {minus} n{row}_{column} {above} b{row}_{column}"
        return nodes, "pair_wired"


_MEANING = {
    "s_v": "volts per unit of v and r",
    "s_u": "volts per unit of u and e",
    "i_tanh": "largest current of a tanh cell, A",
    "r_switch": "on-resistance of the reset switch, ohm",
    "v_supply": "magnitude of either supply, V",
    "a0": "gain of the amplifiers",
    "gbw": "their gain-bandwidth, Hz",
    "f_pole2": "their second pole, Hz",
    "slew": "their slew rate, V/s",
    "v_sat": "magnitude at which their output limits, V",
    "c_in": "their input capacitance, F",
    "r_out": "their output resistance, ohm",
    "i_q": "their supply current at rest, A",
    "r_word": "a word line's resistance from one cell to the next, ohm",
    "r_bit": "the same of a bit line, ohm",
}


def _amplifier_parameters(card: Card) -> dict[str, float]:
    """Globals of the macro cell; an effect that the card lacks lies beyond reach."""
    a = card.amplifier.delays
    gbw = a.gain_bandwidth or 1e18
    return {
        "a0": a.gain or 1e12,
        "gbw": gbw,
        "f_pole2": a.second_pole or 1e18,
        "slew": a.slew_rate or 1e6 * 2 * np.pi * gbw,
        "v_sat": a.saturation or 1e6,
        "c_in": a.input_capacitance or 0.0,
        "r_out": max(a.output_resistance or 0.0, _LEAST_OHM),
        "i_q": a.quiescent_current,
    }


def _stage(
    stage: Stage, k: int, *, r: str, c: str, offset: str, inputs: Sequence[str] = ()
) -> dict[str, float]:
    values = {n: float(t[k]) for n, t in zip(inputs, stage.r_in, strict=True)}
    values[r] = max(float(stage.r_f[k]), _LEAST_OHM)
    return {**values, c: float(stage.c_f[k]), offset: float(stage.offset[k])}


def _instance(
    name: str, nodes: Sequence[str], cell: str, values: dict[str, float] | None = None
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

"""What a record keeps of runs and of the chip that they ran on, to be used without this program."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from analogdfc.circuit.chip import Chip
from analogdfc.circuit.description.elements import Crossbar, Port
from analogdfc.circuit.design import Design
from analogdfc.comparison import Comparison
from analogdfc.dynamics import Trajectory, Update
from analogdfc.measures import angle
from analogdfc.records import Quantity

__all__ = ["angles_tree", "chip_tree", "trajectory_tree"]

_SIGNALS = {
    "v": "potentials v of layer {i}, dimensionless: volts over [scale] activation",
    "v_ff": "feedforward compartments W{i} r{below} + b{i} of layer {i}",
    "r": "activations phi(v) of layer {i}",
    "r_ff": "phi(v_ff) of layer {i}",
}
_FREE = ", in the free phase, before the release"


def trajectory_tree(design: Design, run: Trajectory) -> dict[str, Any]:
    """Waveforms of a run, and the update that they give, as the branch of a record.

    Args:
        design: the design.
        run: the run.
    """
    control = "dimensionless: volts over [scale] control"
    waves = ("sample", "time", "output")
    out: dict[str, Any] = {
        "t": Quantity((run.t * design.seconds).numpy(), "s", "time after the release", ("time",)),
        "u": Quantity(run.u.numpy(), "1", f"control signal u, {control}", waves),
        "e": Quantity(run.e.numpy(), "1", f"control error r* - r_L, {control}", waves),
    }
    if run.made_by:
        out["simulator"] = run.made_by
    for i in range(1, run.depth + 1):
        for name, words in _SIGNALS.items():
            what = words.format(i=i, below=i - 1)
            wave, free = (getattr(phase, name)[i - 1].numpy() for phase in (run.neurons, run.free))
            out[f"{name}{i}"] = Quantity(wave, "1", what, ("sample", "time", "neuron"))
            out[f"{name}{i}_free"] = Quantity(free, "1", what + _FREE, ("sample", "neuron"))
    doubled = design.readout.double_sampling
    update = Update.of(run, double_sampling=doubled)
    for i, (w, b) in enumerate(zip(update.weights, update.biases, strict=True), start=1):
        less = f" - (r{i}_free - r_ff{i}_free)" if doubled else ""
        post, pre = f"(r{i} - r_ff{i}{less})", "samples/x" if i == 1 else f"r{i - 1}"
        how = "mean over t (trapezoidal: the first and the last count half) of"
        what = f"update of W{i} before a learning rate: {how} {post} {pre}^T"
        out[f"dW{i}"] = Quantity(w.numpy(), "1", what, ("sample", "to neuron", "from neuron"))
        what = f"update of b{i} before a learning rate: {how} {post}"
        out[f"db{i}"] = Quantity(b.numpy(), "1", what, ("sample", "to neuron"))
    return out


def angles_tree(
    design: Design, comparisons: Sequence[Comparison], runs: Mapping[str, Trajectory]
) -> dict[str, Quantity]:
    """Angle between the updates of two runs, for each sample, by the comparison.

    Args:
        design: the design.
        comparisons: of runs.
        runs: the runs by their names.
    """
    return {
        f"{c.kind}: {c.other} against {c.reference}": Quantity(
            _angles(design, runs[c.reference], runs[c.other]),
            "degree",
            "between the two updates of a sample, all layers, weights and biases; nan where one "
            "is 0",
            ("sample",),
        )
        for c in comparisons
    }


def _angles(design: Design, one: Trajectory, other: Trajectory) -> list[float]:
    doubled = design.readout.double_sampling
    pair = [_flat(Update.of(run, double_sampling=doubled)) for run in (one, other)]
    return [
        angle(a, b) if min(float(a.norm()), float(b.norm())) > 0 else math.nan
        for a, b in zip(*pair, strict=True)
    ]


def _flat(update: Update) -> Tensor:
    """Weights and biases of all layers in one vector a sample."""
    return torch.cat([t.flatten(1) for t in (*update.weights, *update.biases)], dim=1)


def chip_tree(chip: Chip) -> dict[str, Any]:
    """The components of a chip as the branch of a record.

    Args:
        chip: the chip.
    """
    circuit = chip.circuit
    offsets = {
        _name(bank.name): Quantity(bank.offset.numpy(), "V", "input offset", ("part",))
        for bank in circuit.banks
    }
    cells = {
        _name(f"{cell.part}: {_port(cell.source)} to {_port(cell.into)}"): Quantity(
            cell.offset.numpy(), "V", "input offset of the tanh cells", ("part",)
        )
        for cell in circuit.cells
    }
    resistors = {
        f"{k:03d}": _ends(r.part, r.a, r.b)
        | {"conductance": Quantity(r.siemens.numpy(), "S", "of each resistor", ("part",))}
        for k, r in enumerate(circuit.resistors, start=1)
    }
    capacitors = {
        f"{k:03d}": _ends(c.part, c.a, c.b)
        | {"capacitance": Quantity(c.farads.numpy(), "F", "of each capacitor", ("part",))}
        for k, c in enumerate(circuit.capacitors, start=1)
    }
    return {
        "seed": "nominal components" if chip.seed is None else chip.seed,
        "crossbars": {bar.name: _crossbar(bar) for bar in circuit.crossbars},
        "amplifier_offsets": offsets,
        "tanh_offsets": cells,
        "resistors": resistors,
        "capacitors": capacitors,
    }


def _crossbar(bar: Crossbar) -> dict[str, Any]:
    devices = "devices of the {} rails; weight = (plus - minus) / unit"
    places = ("column (to)", "input (from)")
    return {
        "plus": Quantity(bar.plus.numpy(), "S", devices.format("first"), places),
        "minus": Quantity(bar.minus.numpy(), "S", devices.format("second"), places),
        "unit": Quantity(bar.unit, "S", "conductance of a weight of 1"),
    }


def _ends(part: str, a: Port, b: Port | None) -> dict[str, Any]:
    return {"part": part, "from": _port(a), "to": "ground" if b is None else _port(b)}


def _port(port: Port) -> str:
    return f"{port.bank} {port.node.name.lower()}"


def _name(text: str) -> str:
    return text.replace("/", "_")

#!/usr/bin/env python3
"""Write the reference netlists and the waveforms that they must give into `netlists/`.

    .venv/bin/python scripts/make_reference_netlists.py [FOLDER]

Run it after every change of the cells, of the netlist or of the version, and look at what has
changed before committing it. Needs ngspice.
"""

from __future__ import annotations

import platform
import sys
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from analogdfc import __version__, records
from analogdfc.cards.technology import Card
from analogdfc.circuit.chip import Chip
from analogdfc.circuit.design import Design
from analogdfc.controller import PI
from analogdfc.dynamics import Readings, Trajectory
from analogdfc.feedback import DirectFeedback
from analogdfc.network import Network
from analogdfc.records import Quantity
from analogdfc.spice.circuit import Circuit
from analogdfc.spice.engines import get_simulator, ngspice_version
from analogdfc.spice.netlist import Fidelity, Netlist
from analogdfc.spice.testbench import Testbench
from analogdfc.storage import Model, model_tree

FOLDER = Path(__file__).resolve().parents[1] / "netlists"
SIZES = (3, 4, 2)
NETWORK_SEED = 342
CARD = "discrete_100mhz"
TAU_V = 0.2
DT, STEPS = 0.2, 100
"""Spacing of the stored waveforms in tau_u, and its number of intervals."""


class Reference(NamedTuple):
    """One reference netlist.

    Attributes:
        fidelity: level of its cells.
        seed: seed of its chip; None for nominal components, as ideal cells have them.
    """

    fidelity: Fidelity
    seed: int | None

    @property
    def name(self) -> str:
        """Name of its folder."""
        return f"dfc_{'-'.join(map(str, SIZES))}_{self.fidelity}"


REFERENCES = (Reference("ideal", None), Reference("macro", 1))


def reference_model() -> Model:
    """The fixed network: W ~ N(0, 1.2^2 / n_in), Q_i the product of the W^T.

    All numbers have three decimals, so that every machine has the same ones to the last bit.
    """
    source = np.random.default_rng(NETWORK_SEED)

    def rounded(values: NDArray[np.float64]) -> Tensor:
        return torch.from_numpy(np.round(values, 3))

    network = Network(SIZES)
    with torch.no_grad():
        for w, b in zip(network.weights, network.biases, strict=True):
            w.copy_(rounded(source.normal(0, 1.2 / w.shape[1] ** 0.5, tuple(w.shape))))
            b.copy_(rounded(source.normal(0, 0.2, tuple(b.shape))))
    exact = DirectFeedback.transposed(network)
    matrices = [rounded(q.detach().numpy()) for q in exact.matrices]
    return Model(network, DirectFeedback(matrices), PI(), TAU_V)


def design_of(model: Model) -> Design:
    """The model on the technology card of the references."""
    network, feedback, controller, tau_v = model[:4]
    return Design.of(network, feedback, Card.load(CARD), controller=controller, tau_v=tau_v)


def reference_sample() -> tuple[Tensor, Tensor]:
    """Input, (1, n_0), and step of the output target, (1, n_L)."""
    x = torch.tensor([[0.8, -0.3, 0.5]], dtype=torch.float64)
    step = torch.tensor([[0.15, -0.1]], dtype=torch.float64)
    return x, step


def reference_texts(reference: Reference) -> tuple[Netlist, Testbench]:
    """The netlist, and the testbench of its one sample."""
    design = design_of(reference_model())
    x, step = reference_sample()
    netlist = Netlist.of(Chip.of(design, reference.seed), reference.fidelity)
    return netlist, Testbench(
        netlist.chip, x[0], step[0], duration=DT * STEPS, max_step=min(DT, TAU_V / 10)
    )


def reference_tree(reference: Reference) -> dict[str, Any]:
    """The record: what went in, and the waveforms that ngspice gives."""
    model = reference_model()
    design = design_of(model)
    x, step = reference_sample()
    chip = Chip.of(design, reference.seed)
    circuit = Circuit(chip, reference.fidelity, get_simulator("batch"))
    run = circuit.run(x, step, dt=DT, steps=STEPS)
    scale = design.card.scale
    return {
        "fidelity": reference.fidelity,
        "seed": "nominal components" if reference.seed is None else reference.seed,
        "card": design.card.text,
        "network": model_tree(model),
        "versions": {
            "analogdfc": __version__,
            "ngspice": ngspice_version() or "unknown",
            "numpy": np.__version__,
            "python": platform.python_version(),
            "torch": metadata.version("torch"),
        },
        "scale": {
            "activation": Quantity(scale.activation, "V", "volts per unit of v and r"),
            "control": Quantity(scale.control, "V", "volts per unit of u and e"),
            "time": Quantity(scale.time, "s", "seconds per unit of time"),
        },
        "x": Quantity(x[0].numpy(), "1", "input"),
        "step": Quantity(step[0].numpy(), "1", "step of the output target"),
        "free": _free(design, run.free),
        "waveforms": _waveforms(design, run),
    }


def _node(name: str, i: int) -> str:
    return {"v": f"v{i}_", "v_ff": f"- vffn{i}_", "r": f"r{i}_", "r_ff": f"rff{i}_"}[name]


def _signals(design: Design, readings: Readings, when: str) -> dict[str, Quantity]:
    volts, out = design.card.scale.activation, {}
    for name in ("v", "v_ff", "r", "r_ff"):
        for i in range(1, design.depth + 1):
            if i == design.depth and name.startswith("r"):
                continue  # the output is linear: its r is its v
            values = getattr(readings, name)[i - 1][0].numpy() * volts
            nodes = f"voltage of the nodes {_node(name, i)}1, {_node(name, i)}2, ... {when}"
            out[f"{name}{i}"] = Quantity(values, "V", nodes)
    return out


def _free(design: Design, free: Readings) -> dict[str, Quantity]:
    return _signals(design, free, "in the free phase")


def _waveforms(design: Design, run: Trajectory) -> dict[str, Quantity]:
    volts = design.card.scale.control
    return {
        "t": Quantity(run.t.numpy() * design.seconds, "s", "time since the release"),
        **_signals(design, run.neurons, "after the release"),
        "u": Quantity(run.u[0].numpy() * volts, "V", "voltage of the nodes up1, up2, ..."),
        "e": Quantity(run.e[0].numpy() * volts, "V", "voltage of the nodes e1, e2, ..."),
    }


def main(folder: Path = FOLDER) -> None:
    """Write both references below the folder."""
    torch.set_num_threads(1)
    for reference in REFERENCES:
        netlist, bench = reference_texts(reference)
        target = folder / reference.name
        files = netlist.write(target, bench.file_text()).files
        files += (records.write(target / "waveforms.h5", reference_tree(reference)),)
        for file in files:
            print(f"wrote {file}")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:2]))

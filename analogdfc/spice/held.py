"""A circuit at its controlled steady state, for analyses about an operating point.

The operating point of a released circuit knows nothing of what its holds have stored. So here each
stands where a source outside keeps it, at what the behavioural model has stored in the free phase,
or at what a run in time of the circuit itself has (see `analogdfc.spice.rest`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from importlib import resources

from torch import Tensor

from analogdfc.circuit.amplifiers import Rung
from analogdfc.circuit.behavioural import Behavioural
from analogdfc.circuit.chip import Chip
from analogdfc.errors import UserError
from analogdfc.spice.netlist import Netlist
from analogdfc.spice.testbench import drives, site_options
from analogdfc.spice.writer import number
from analogdfc.updating.bench import still_sources

_TOLERANCES = ".options reltol=1e-6 abstol=1e-13 vntol=1e-9 gmin=1e-15"


def cell_text(name: str) -> str:
    """Text of a cell of the library.

    Args:
        name: of its file.
    """
    return resources.files("analogdfc._circuits").joinpath(f"{name}.lib").read_text("ascii")


def subcircuit(text: str, name: str) -> re.Match[str]:
    """Where a text has a subcircuit, from its first line to its last.

    Args:
        text: of cells.
        name: of the subcircuit.

    Raises:
        UserError: it has none.
    """
    found = re.search(rf"^\.subckt {name} .*?^\.ends {name}$", text, re.MULTILINE | re.DOTALL)
    if found is None:
        raise UserError(f"cells: there is no '.subckt {name}' that ends with '.ends {name}'")
    return found


@dataclass(frozen=True)
class HeldBench:
    """Sources of one sample at its controlled steady state, whose holds have stored the free phase.

    Attributes:
        chip: the chip.
        x: input r_0, (n_0,), dimensionless.
        step: step of the output target, (n_L,), dimensionless.
        held: what the holds have stored, in volts, by their outputs' nodes; by default what they
            have in the behavioural model.
        near: voltages of nodes from which the operating point is sought.
    """

    chip: Chip
    x: Tensor
    step: Tensor
    held: Mapping[str, float] | None = None
    near: Mapping[str, float] = field(default_factory=dict)

    def netlist(self, netlist: Netlist) -> Netlist:
        """The circuit with holds that are kept from outside.

        Args:
            netlist: of the same chip.
        """
        if not self.holds():
            return netlist
        found = subcircuit(netlist.cells, "hold")
        held = subcircuit(cell_text("hold_held"), "hold")[0]
        cells = netlist.cells[: found.start()] + held + netlist.cells[found.end() :]
        return replace(netlist, cells=cells)

    def text(self, analysis: str) -> str:
        """The testbench, to be appended to that netlist.

        Args:
            analysis: its analysis, a line such as '.ac dec 10 1 1g', or several.
        """
        lines = drives(
            self.chip,
            self.x,
            self.step,
            ["* Released, the target step is on", "Vrst rst 0 0", "Vgo go 0 1"],
        )
        if self.chip.circuit.update is not None:
            lines += still_sources(self.chip.circuit.update)
        held = self._stored() if self.held is None else self.held
        if held:
            lines.append("* What the holds have stored")
        lines += [f"Vheld_{k} {node} 0 {number(v)}" for k, (node, v) in enumerate(held.items())]
        lines += [f".nodeset v({node})={number(v)}" for node, v in self.near.items()]
        return "\n".join([*lines, _TOLERANCES, site_options(), analysis, ".end", ""])

    def holds(self) -> list[str]:
        """Nodes at the holds' outputs, inside the instances: those of the targets come first."""
        readout, circuit = self.chip.design.readout, self.chip.circuit
        cells = {kind.cell: kind for kind in circuit.instances if kind.part == "controller"}
        law = next(kind for cell, kind in cells.items() if cell.startswith("control"))
        kinds = (
            (cells["error"], "xtarget", readout.relative_target),
            (law, "xzero", readout.auto_zero),
        )
        return [
            f"x{kind.name.format(k=k)}.{inner}.h"
            for kind, inner, used in kinds
            if used
            for k in range(1, kind.size + 1)
        ]

    def _stored(self) -> dict[str, float]:
        """What the holds have stored in the behavioural model."""
        readout, circuit = self.chip.design.readout, self.chip.circuit
        release = Behavioural([self.chip], Rung.FULL).release(self.x[None], self.step[None])
        unit = self.chip.design.card.scale.activation
        volts: list[float] = []
        if readout.relative_target:
            target = release.sources[0, 0, -circuit.size(circuit.target) :]
            volts += (-(target + self.step.to(target) * unit)).tolist()
        if readout.auto_zero:
            volts += release.zero[0, 0].tolist()
        return dict(zip(self.holds(), volts, strict=True))

"""The rest of a released circuit in a simulator, for analyses that are linear about it."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

from analogdfc.circuit.static import StaticChip, StaticState
from analogdfc.errors import ConvergenceError
from analogdfc.spice.held import HeldBench
from analogdfc.spice.netlist import Netlist
from analogdfc.spice.simulator import Simulator
from analogdfc.spice.testbench import Testbench

_AFTER = 1e-3
"""When the holds are read after the release, as a part of the design's pace: they have settled, and
have lost nothing yet."""

_ELSEWHERE, _NEARBY = 0.3, 0.05
"""Part of the control signal, and volts, by which the operating point may differ from the rest of
the static model."""


def at_rest(
    netlist: Netlist, x: Tensor, step: Tensor, simulator: Simulator, *, time_limit: float = 600.0
) -> HeldBench:
    """The testbench whose operating point is the rest to which a sample goes.

    Its holds are those of the circuit itself, read shortly after the release in a short run in
    time; the static model says near which voltages the rest lies.

    Args:
        netlist: the circuit.
        x: the sample's input, (n_0,), dimensionless.
        step: its target step, (n_L,).
        simulator: what simulates it.
        time_limit: seconds that one simulation may take.

    Raises:
        ConvergenceError: no rest, or another one than that of the static model.
        UserError: what the simulator refuses.
    """
    chip, x, step = netlist.chip, x.cpu().double(), step.cpu().double()
    design = chip.design
    state = StaticChip.of(chip).solve(x[None], step[None], reached=False)
    state.check_rails(design.card.amplifier.reach)
    bench = HeldBench(chip, x, step, {}, _near(state))
    if nodes := bench.holds():
        shortly = _AFTER * design.pace[1] / design.seconds
        deck = netlist.deck(
            Testbench(chip, x, step, duration=shortly, max_step=shortly / 10).text()
        )
        waves = simulator.run(
            deck, save=nodes, time_limit=time_limit, modules=netlist.modules
        ).signals
        bench = replace(bench, held={node: float(waves[node][-1]) for node in nodes})
    _check(bench, netlist, state, simulator, time_limit)
    return bench


def _near(state: StaticState) -> dict[str, float]:
    """Voltages of the amplifiers' outputs that have a name in the netlist."""
    circuit = state.chip.chip.circuit
    found: dict[str, float] = {}
    for bank in circuit.banks:
        if bank.o in circuit.nodes:
            volts = state.volts_rest[bank.name][0].tolist()
            found |= dict(zip(circuit.names(bank.o), volts, strict=True))
    return found


def _check(
    bench: HeldBench,
    netlist: Netlist,
    state: StaticState,
    simulator: Simulator,
    time_limit: float,
) -> None:
    """Refuse an operating point that isn't the rest of the static model."""
    control = bench.chip.circuit.control.u_minus
    nodes = bench.chip.circuit.names(control.port)
    deck = bench.netlist(netlist).deck(bench.text(".op"))
    found = simulator.analyse(
        deck, analysis="op", save=nodes, time_limit=time_limit, modules=netlist.modules
    ).signals
    wanted = state.volts_rest[control.bank][0]
    bound = _ELSEWHERE * float(wanted.abs().max()) + _NEARBY
    for node, volts in zip(nodes, wanted.tolist(), strict=True):
        if not abs(float(found[node][0]) - volts) <= bound:
            raise ConvergenceError(
                f"{simulator.program} found {float(found[node][0]):.4g} V at {node} for the rest "
                f"of the released circuit, the static model {volts:.4g} V: another rest. Take a "
                "smaller target step"
            )

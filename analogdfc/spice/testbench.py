"""Testbench of one run of the control loop: supplies, inputs, target, release, analysis."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import KW_ONLY, dataclass, field
from typing import Protocol

from torch import Tensor

from analogdfc.circuit.chip import Chip
from analogdfc.circuit.description import BIAS, INPUT, TARGET
from analogdfc.circuit.design import Design
from analogdfc.circuit.probes import probes
from analogdfc.dynamics.loop import free_state, output
from analogdfc.errors import UserError
from analogdfc.spice.deck import with_saves
from analogdfc.spice.writer import number
from analogdfc.updating.bench import Array, Moments, sources, watched

USUAL_CELSIUS = 27.0
"""Temperature at which models and cards hold unless they say otherwise, in degrees Celsius."""

_CELSIUS = (-55.0, 175.0)
"""Range in which a model of a transistor means something."""

EDGE = 1e-5
"""Duration of each of the two edges of the release, as a part of the design's `pace`."""


def check_celsius(celsius: float) -> None:
    """Make sure that transistors' models mean something at a temperature.

    Args:
        celsius: in degrees Celsius.

    Raises:
        UserError: they don't.
    """
    low, high = _CELSIUS
    if not low <= celsius <= high:
        raise UserError(
            f"celsius = {celsius:g}: models of transistors hold from {low:g} to {high:g} "
            "degrees Celsius"
        )


def site_options(celsius: float = USUAL_CELSIUS) -> str:
    """What is ngspice's default but for the temperature: a site's settings must not change it.

    Args:
        celsius: temperature of the circuit, in degrees Celsius.
    """
    return f".options chgtol=1e-14 pivtol=1e-13 pivrel=1e-3 temp={celsius:g} tnom=27"


class MoreSources(Protocol):
    """Sources beside those of a sample, such as noise."""

    @property
    def nodes(self) -> frozenset[str]:
        """Nodes of the circuit's own sources whose place they take."""

    def lines(self, edge: float, release: float, seconds: float) -> Iterator[str]:
        """Sources that start at the release and go on to the end.

        Args:
            edge: when they leave 0, in seconds, before the release.
            release: when their first values are reached, in seconds.
            seconds: how long they go on from there.
        """


@dataclass(frozen=True)
class Testbench:
    """Sources and analysis of one sample.

    Attributes:
        chip: the chip.
        x: input r_0, (n_0,), dimensionless.
        step: step of the output target, (n_L,), dimensionless.
        duration: length of the controlled phase, in units of the controller's time.
        max_step: longest time step, in the same unit.
        tolerance: error of a time step as a part of the usual one, 1e-6 of a signal; a loop that
            rings for long needs less (see `analysis.ringing`).
        noise: of the sample, from the release on; none by default.
        celsius: temperature of the circuit, in degrees Celsius; transistors know it.
        held: noise of the update path, in volts, by what has it; none by default.

    Raises:
        UserError: a temperature that no transistor works at.
    """

    chip: Chip
    x: Tensor
    step: Tensor
    _: KW_ONLY
    duration: float
    max_step: float
    tolerance: float = 1.0
    noise: MoreSources | None = None
    celsius: float = USUAL_CELSIUS
    held: Mapping[str, Array] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_celsius(self.celsius)

    @property
    def release(self) -> float:
        """Time at which the controller runs and its target step is complete, in seconds."""
        return self._start + 2 * self._edge

    @property
    def onset(self) -> float:
        """Time of what a record has at 0, in seconds.

        The models step in no time, after which ideal cells have followed, and amplifiers of a
        finite bandwidth haven't moved: for these it is where the release begins, since in a slow
        loop they follow within its edges.
        """
        moves_at_once = self.design.card.amplifier.gain_bandwidth is None
        return self.release if moves_at_once else self._start

    @property
    def _tolerances(self) -> str:
        # Integral control alone is hardly damped: errors of the time steps live on in it.
        part = min(self.tolerance, 0.1) if self.design.controller.k_p == 0 else self.tolerance
        path = self.chip.circuit.update
        if path is not None and path.kind == "pulses":
            part = min(part, 1.0)  # edges are followed no more finely than they have to be
        usual = {"reltol": 1e-6, "abstol": 1e-13, "vntol": 1e-9}
        return " ".join(f"{name}={part * value:.3g}" for name, value in usual.items()).replace(
            "e-0", "e-"
        )

    @property
    def _edge(self) -> float:
        return EDGE * self.design.pace[1]

    @property
    def _start(self) -> float:
        return 1e-3 * self.design.pace[1]

    @property
    def design(self) -> Design:
        """What the chip realises."""
        return self.chip.design

    @property
    def moments(self) -> Moments:
        """When an update path does what."""
        return Moments(self.release + self.duration * self.design.seconds, self._edge)

    @property
    def read(self) -> list[str]:
        """Nodes that the update is read from; none without an update path."""
        path = self.chip.circuit.update
        return [] if path is None else watched(path)

    def signals(self) -> dict[str, list[str]]:
        """Node names of each bank of a trajectory, in the order of the neurons."""
        circuit = self.chip.circuit
        return {name: circuit.names(circuit.bank[name].o) for name in probes(circuit)}

    def file_text(self) -> str:
        """The testbench as a file of its own: the same, and it saves what there is to look at.

        These are the signals of a trajectory, the moments of the release and the supplies'
        currents; all nodes of the crossbars would be most of the waveforms.
        """
        nodes = [node for group in self.signals().values() for node in group]
        return with_saves(self.text(), [*nodes, "rst", "go", "i(vdd)", "i(vss)"])

    def free_text(self) -> str:
        """The testbench of the free phase alone: its analysis is the operating point."""
        return self._text(".op")

    def text(self) -> str:
        """The testbench, to be appended to a netlist; the operating point is the free phase."""
        stop, path = self.moments.end, self.chip.circuit.update
        if path is not None:
            stop = self.moments.start + path.seconds
        longest = self.max_step * self.design.seconds
        return self._text(f".tran {number(longest)} {number(stop)} 0 {number(longest)}")

    def _text(self, analysis: str) -> str:
        # The holds open before the target moves, or they would store a part of the step.
        start, held, end = (number(self._start + k * self._edge) for k in range(3))
        release = [
            "* The release: first the reset opens, then the target steps",
            f"Vrst rst 0 PWL(0 1 {start} 1 {held} 0)",
            f"Vgo go 0 PWL(0 0 {held} 0 {end} 1)",
        ]
        lines = self._drives(release)
        if self.chip.circuit.update is not None:
            lines += sources(self.chip.circuit.update, self.moments, self.held)
        if self.noise is not None:
            seconds = self.duration * self.design.seconds
            lines += self.noise.lines(self._start + self._edge, self.release, seconds)
        lines += [
            "* Analysis: the operating point is the free phase",
            "* (what is ngspice's default is there too: a site's settings must not change it)",
            f".options {self._tolerances} gmin=1e-15 method=trap maxord=2 trtol=7",
            site_options(self.celsius),
            analysis,
            ".end",
        ]
        return "\n".join(lines) + "\n"

    def _drives(self, release: list[str]) -> list[str]:
        """Lines of all sources.

        Args:
            release: those of rst and go.
        """
        others = frozenset() if self.noise is None else self.noise.nodes
        return drives(self.chip, self.x, self.step, release, others)


def supplies(chip: Chip) -> list[str]:
    """Lines of the supplies' sources.

    Args:
        chip: the chip.
    """
    supply = number(chip.design.card.amplifier.supply)
    return [f"Vdd vdd 0 {supply}", f"Vss vss 0 -{supply}"]


def drives(
    chip: Chip,
    x: Tensor,
    step: Tensor,
    release: list[str],
    others: frozenset[str] = frozenset(),
) -> list[str]:
    """Lines of all sources of a sample.

    Args:
        chip: the chip.
        x: input r_0, (n_0,), dimensionless.
        step: step of the output target, (n_L,), dimensionless.
        release: lines of the sources of rst and go.
        others: nodes that something else drives.
    """
    circuit, design = chip.circuit, chip.design
    unit = design.card.scale.activation
    lines = [
        "* Supplies and bias rails",
        *supplies(chip),
        *_sources(circuit.names(BIAS.plus), [unit]),
        *_sources(circuit.names(BIAS.minus), [-unit]),
        *release,
    ]
    goal = step
    if not design.readout.relative_target:
        loop = design.loop()
        goal = goal + output(loop, free_state(loop, x[None]))[0]
    lines += _sources(circuit.names(TARGET), (goal * unit).tolist())
    silent = [n for port in circuit.noise for n in circuit.names(port) if n not in others]
    lines += _sources(silent, [0.0] * len(silent))
    lines.append("* Inputs on dual rails")
    plus, minus = (
        _sources(circuit.names(port), (sign * unit * x).tolist())
        for port, sign in zip(INPUT, (1, -1), strict=True)
    )
    return lines + [line for pair in zip(plus, minus, strict=True) for line in pair]


def _sources(nodes: list[str], volts: list[float]) -> list[str]:
    return [f"V{node} {node} 0 {number(v)}" for node, v in zip(nodes, volts, strict=True)]

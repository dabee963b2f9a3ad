"""Loop gain, margins and modes of a chip on samples, with those of its netlist beside them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from analogdfc.analysis.loop_gain import Band, LoopGain, loop_gain
from analogdfc.analysis.settling import LoopTransfer, OperatingPoint, Spectrum
from analogdfc.analysis.settling.margins import Margins
from analogdfc.analysis.settling.rational import Complex
from analogdfc.circuit.chip import Chip
from analogdfc.circuit.static import StaticChip
from analogdfc.errors import UserError
from analogdfc.records import Quantity
from analogdfc.samples import check_samples
from analogdfc.spice.loop import MeasuredLoop, measure_loop
from analogdfc.spice.netlist import Netlist
from analogdfc.spice.simulator import Simulator

Array = NDArray[np.float64]

MOST_CHANNELS = 96
"""Outputs of which all loci are followed."""


@dataclass(frozen=True)
class SampleLoop:
    """The control loop of a chip on one sample.

    Attributes:
        gain: by the linearised equations.
        modes: the slowest modes, or of an unstable loop those that grow, (m,), in rad/s; of pairs
            those with imaginary part >= 0.
        unstable: number of modes that grow.
        circuit: by the netlist in a simulator; None where none was run.
    """

    gain: LoopGain
    modes: Complex
    unstable: int
    circuit: MeasuredLoop | None = None

    @property
    def mode_errors(self) -> Array:
        """Relative distance of each mode from the nearest pole of the netlist's, (m,)."""
        if self.circuit is None:
            return np.full(len(self.modes), np.nan)
        apart = np.abs(self.circuit.gain.poles - self.modes[:, None])
        return np.asarray(apart.min(axis=1, initial=np.inf) / np.abs(self.modes))


@dataclass(frozen=True)
class Stability:
    """The control loop of a chip on some samples.

    Attributes:
        chip: the chip.
        loops: one a sample.
    """

    chip: Chip
    loops: tuple[SampleLoop, ...]

    @property
    def worst(self) -> int:
        """The sample with the least phase margin, or of unstable loops the first, from 0."""
        grows = [k for k, loop in enumerate(self.loops) if loop.unstable]
        margins = [loop.gain.margins.phase for loop in self.loops]
        return grows[0] if grows else int(np.argmin(margins))

    def numbers(self) -> dict[str, Any]:
        """The results, with units in the names."""
        return {"sample": [_numbers(loop) for loop in self.loops]}

    def tree(self) -> dict[str, Any]:
        """The curves, for a record."""
        return {str(k): _curves(loop) for k, loop in enumerate(self.loops)}


def stability_of(
    chip: Chip,
    x: Tensor,
    step: Tensor,
    *,
    netlist: Netlist | None = None,
    simulator: Simulator | None = None,
    per_decade: int = 40,
    time_limit: float = 600.0,
    jobs: int = 1,
    progress: Callable[[int], object] = lambda units: None,
) -> Stability:
    """The control loop of a chip at the rest of every sample.

    Args:
        chip: the chip.
        x: inputs, (batch, n_0), dimensionless.
        step: target steps, (batch, n_L).
        netlist: that of the chip, to be analysed too.
        simulator: what analyses it.
        per_decade: frequencies a decade.
        time_limit: seconds that one simulation may take.
        jobs: simulations at a time.
        progress: called with the units done: one a sample, and two a channel of a netlist.

    Raises:
        UserError: samples that don't fit, more outputs than `MOST_CHANNELS`, a netlist without a
            simulator, or what the simulator refuses.
        ConvergenceError: a sample without a rest.
    """
    design = chip.design
    check_samples(design.sizes, x, step, what="target steps")
    if design.sizes[-1] > MOST_CHANNELS:
        raise UserError(
            f"{design.sizes[-1]} outputs: all loci are followed of up to {MOST_CHANNELS}; "
            "`analysis.settling.predict` has the margins of more"
        )
    if (netlist is None) != (simulator is None):
        raise UserError("netlist and simulator: give both or none")
    state = StaticChip.of(chip).solve(x.cpu().double(), step.cpu().double(), reached=False)
    state.check_rails(design.card.amplifier.reach)
    point, band = OperatingPoint.of(state), Band.of(chip, per_decade)
    loops = []
    for k in range(len(x)):
        loop = _equations(chip, point.sample(k), band)
        progress(1)
        if netlist is not None and simulator is not None:
            measured = measure_loop(
                netlist,
                x[k],
                step[k],
                simulator,
                band=band,
                time_limit=time_limit,
                jobs=jobs,
                progress=progress,
            )
            loop = replace(loop, circuit=measured)
        loops.append(loop)
    return Stability(chip, tuple(loops))


def _equations(chip: Chip, point: OperatingPoint, band: Band) -> SampleLoop:
    spectrum = Spectrum(LoopTransfer(chip, point))
    grows = spectrum.unstable
    modes = spectrum.modes().values
    if grows:
        modes = modes[modes.real > 0]
    return SampleLoop(loop_gain(chip, point, band.hertz), modes, grows)


def _numbers(loop: SampleLoop) -> dict[str, Any]:
    out: dict[str, Any] = {
        "modes_that_grow": loop.unstable,
        "modes": [
            {"real_per_second": float(mode.real), "imaginary_per_second": float(mode.imag)}
            for mode in loop.modes
        ],
        "equations": _margins(loop.gain),
    }
    if loop.circuit is not None:
        out["circuit"] = {
            **_margins(loop.circuit.gain),
            "modes_off_percent": [100 * float(error) for error in loop.mode_errors],
            "made_by": loop.circuit.made_by,
        }
    return out


def _margins(gain: LoopGain) -> dict[str, Any]:
    channels = [_of(margins) for margins in gain.channel_margins]
    return {"all_channels": _of(gain.margins), "channel": channels}


def _of(margins: Margins) -> dict[str, float]:
    return {
        "gain_margin": margins.gain,
        "gain_margin_dB": 20 * math.log10(margins.gain),
        "phase_margin_degree": margins.degrees,
        "phase_crossover_Hz": margins.gain_at,
        "gain_crossover_Hz": margins.phase_at,
    }


def _curves(loop: SampleLoop) -> dict[str, Any]:
    found: dict[str, Any] = {"equations": _curve(loop.gain)}
    if loop.circuit is not None:
        found["circuit"] = _curve(loop.circuit.gain)
    return found


def _curve(gain: LoopGain) -> dict[str, Any]:
    def of(values: Complex, what: str, dims: Sequence[str]) -> Quantity:
        return Quantity(values, "1", what, ("frequency", *dims))

    return {
        "frequency": Quantity(gain.hertz, "Hz", "frequencies", ("frequency",)),
        "loop_gain": of(gain.matrix, "L, positive where feedback is negative", ("to", "from")),
        "loci": of(gain.loci, "eigenvalues of L", ("locus",)),
        "channels": of(gain.channels, "of each with the others closed", ("channel",)),
        "determinant": of(gain.determinant, "det(I + L)", ()),
    }

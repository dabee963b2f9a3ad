"""What limits a loop's settling and its stability: the same loop with something changed."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from analogdfc.analysis.settling.modes import Spectrum
from analogdfc.analysis.settling.spectrum import LoopSpectrum, is_large
from analogdfc.analysis.settling.sweep import Paths
from analogdfc.analysis.settling.transfer import PRECISE, LoopTransfer, OperatingPoint
from analogdfc.analysis.settling.waveforms import Waveforms
from analogdfc.analysis.settling.wide import WideLoops
from analogdfc.circuit.chip import Chip
from analogdfc.circuit.description import check_controller
from analogdfc.circuit.design import Design
from analogdfc.circuit.scaling import with_bandwidth
from analogdfc.controller import Controller
from analogdfc.errors import UserError

Array = NDArray[np.float64]

BANDWIDTH = "amplifier bandwidth"
K_P = "k_p"
FEEDBACK = "feedback weights"
WIRES = "wire RC"
TAU_V = "tau_v"
TAU_U = "tau_u"
K_D = "k_d"
TAU_D = "tau_d"
PARAMETERS = (BANDWIDTH, K_P, FEEDBACK, WIRES, TAU_V, TAU_U, K_D, TAU_D)
"""What can limit the settling."""

_MORE = 1.1
"""Factor by which a parameter is changed for its elasticity."""

_WIDE = 96
"""Channels up to which the loop's gain in all of them is cheap enough."""

_ROUGH = 1e-4
"""Precision of the loop's gain where only its stability is asked for."""

_SEARCH = 0.1, 1e4
"""Products of gain-bandwidth and tau_v between which the critical one is sought."""


@dataclass(frozen=True)
class Loops:
    """The samples of a chip, and the same chip with something changed.

    Attributes:
        chip: the chip.
        point: operating points of all samples.
        x: their inputs, (batch, n_0), dimensionless.
        rough: solve crossbars only as exactly as an elasticity takes.
    """

    chip: Chip
    point: OperatingPoint
    x: Array
    rough: bool = False

    @cached_property
    def _paths(self) -> Paths:
        """What connects the chip's amplifiers."""
        return Paths.of(self.chip, rough=self.rough)

    def _transfer(self, k: int, tolerance: float = PRECISE) -> LoopTransfer:
        return LoopTransfer(self.chip, self.point.sample(k), self._paths, tolerance=tolerance)

    def spectra(self) -> Sequence[LoopSpectrum]:
        """What the loops of all samples do."""
        return self._spectra(range(len(self.x)))

    def spectrum(self, k: int, *, rough: bool = False) -> LoopSpectrum:
        """What the loop of sample k does.

        Args:
            k: the sample.
            rough: of a wide loop, only as exact as a settling time within 1e-4 takes.
        """
        return self._spectra([k], rough=rough)[0]

    def _spectra(self, samples: Sequence[int], *, rough: bool = False) -> Sequence[LoopSpectrum]:
        loops = [self._transfer(k) for k in samples]
        if loops[0].channels > _WIDE:
            return WideLoops(loops, rough=rough).spectra()
        return [Spectrum(loop) for loop in loops]

    def oscillates(self, k: int) -> bool:
        """Whether the loop of sample k is unstable, for which less precision is enough."""
        loop = self._transfer(k, _ROUGH)
        if loop.channels > _WIDE:
            return self.spectrum(k, rough=True).unstable > 0
        return Spectrum(loop, rough=True).unstable > 0

    def on(self, design: Design, point: OperatingPoint | None = None) -> Loops:
        """The chip of the same seed of another design, linearised where this one is or there."""
        chip = Chip.of(design, self.chip.seed)
        return Loops(chip, point or self.point, self.x)

    def at_bandwidth(self, hertz: float) -> Loops:
        """With another amplifier, of which the state at rest takes no notice."""
        design = self.chip.design
        return self.on(design.on(with_bandwidth(design.card, hertz)))


def elasticities_of(loops: Loops, k: int, base: Waveforms) -> dict[str, float]:
    """Elasticity of the settling time by parameter; inf where the change makes it unstable.

    Each by another prediction with a tenth more of the parameter. The wires are taken off instead,
    which to first order comes to the same and needs no new solution of the crossbars.

    Args:
        loops: the samples.
        k: the sample.
        base: its waveforms.
    """
    found: dict[str, float] = {}
    if base.time_of_modes == 0:
        return found
    for name, changed in _changes(loops, k):
        spectrum = changed.spectrum(0, rough=True)
        if spectrum.unstable:
            found[name] = math.inf
            continue
        rate = -base.slowest.real / _MORE
        waves = Waveforms(spectrum, changed.point, changed.x[0], base.band, rate=rate)
        if name == WIRES:
            found[name] = 1 - waves.time_of_modes / base.time_of_modes
        else:
            ratio = max(waves.time_of_modes, 1e-9 * base.time_of_modes) / base.time_of_modes
            found[name] = math.log(ratio) / math.log(_MORE)
    return {name: found[name] for name in PARAMETERS if name in found}


def _changes(loops: Loops, k: int) -> Iterator[tuple[str, Loops]]:
    """Sample k on chips with one parameter changed."""
    design = loops.chip.design
    loops = replace(loops, point=loops.point.sample(k), x=loops.x[k : k + 1])
    card = design.card
    if card.amplifier.gain_bandwidth is not None:
        yield BANDWIDTH, loops.at_bandwidth(_MORE * card.amplifier.gain_bandwidth)
    wire = card.wire
    if wire.word is not None or wire.bit is not None or wire.capacitance is not None:
        bare = design.on(card.without("wire resistance", "line capacitance"))
        yield WIRES, loops.on(bare)
    yield TAU_V, loops.on(replace(design, tau_v=_MORE * design.tau_v))
    for name, controller in _controllers(design.controller):
        if _has_circuit(controller):
            yield name, loops.on(replace(design, controller=controller))
    # Last, since only its crossbars are solved anew, and take the place of what is remembered.
    feedback = tuple(_MORE * q for q in design.feedback)
    stronger = replace(design, feedback=feedback, scaling=True)  # they may leave the window
    changed = loops.on(stronger, loops.point.with_control(loops.chip, _MORE))
    yield FEEDBACK, replace(changed, rough=is_large(loops.chip))


def _controllers(controller: Controller) -> Iterator[tuple[str, Controller]]:
    """Controllers with a tenth more of one number."""
    if controller.k_p > 0:
        yield K_P, replace(controller, k_p=_MORE * controller.k_p)
    if controller.integrates:
        yield TAU_U, replace(controller, tau_u=_MORE * controller.tau_u)
    if controller.differentiates:
        yield K_D, replace(controller, k_d=_MORE * controller.k_d)
        yield TAU_D, replace(controller, tau_d=_MORE * controller.tau_d)


def _has_circuit(controller: Controller) -> bool:
    try:
        check_controller(controller)
    except UserError:
        return False
    return True


def _critical(loops: Loops, k: int, start: float, end: float) -> float | None:
    """Gain-bandwidth between two products with tau_v at which the loop's stability changes first.

    Coming from `start`; None where it doesn't. Within half a percent; within a factor of 2 for a
    large chip.
    """
    tau = loops.chip.design.tau_v_seconds
    large = is_large(loops.chip)

    def unstable(log_product: float) -> bool:
        return loops.at_bandwidth(math.exp(log_product) / tau).oscillates(k)

    here, there = math.log(start), math.log(end)
    stride = math.copysign(math.log(2 if large else 10 ** (1 / 8)), there - here)
    before = unstable(here)
    while (there - here) * stride > 0:
        further = here + stride
        if unstable(further) != before:
            while not large and abs(further - here) > 5e-3:
                middle = (here + further) / 2
                if unstable(middle) == before:
                    here = middle
                else:
                    further = middle
            # On the stable side.
            return math.exp(further if before else here) / tau
        here = further
    return None


def _product(loops: Loops) -> float | None:
    hertz = loops.chip.design.card.amplifier.gain_bandwidth
    return None if hertz is None else hertz * loops.chip.design.tau_v_seconds


def bandwidth_ratio(loops: Loops, k: int) -> float | None:
    """The amplifier's gain-bandwidth over the critical one of sample k.

    The critical one is the first, coming down, at which the loop oscillates. inf if there is none
    down to 0.1 / tau_v; None for an infinitely fast amplifier or a large chip.
    """
    product = _product(loops)
    if product is None or is_large(loops.chip):
        return None
    critical = _critical(loops, k, product, min(product, _SEARCH[0]))
    if critical is None:
        return math.inf
    return product / (critical * loops.chip.design.tau_v_seconds)


def complaint(loops: Loops, k: int, spectrum: LoopSpectrum) -> str:
    """What to say of an unstable loop: the eigenvalue and what to change.

    Args:
        loops: the samples.
        k: the sample whose loop is unstable.
        spectrum: of that sample.
    """
    design = loops.chip.design
    found = spectrum.modes().values
    growing = found[found.real > 0]
    what = f"{spectrum.unstable} of its modes grow"
    if len(growing):
        name, seconds = design.pace
        what = f"slowest mode {growing[0].real * seconds:+.3g} per {name}"
    product = _product(loops)
    critical = None
    if product is not None:
        critical = _critical(loops, k, product, max(product, _SEARCH[1]))
    less = "k_p or the feedback weights" if design.controller.k_p > 0 else "the feedback weights"
    if critical is None:
        return f"The loop is unstable: {what}. Lower {less}"
    return (
        f"The loop is unstable: {what}. Raise the amplifier's gain-bandwidth above "
        f"{critical * design.tau_v_seconds:.3g} / tau_v ({critical:.3g} Hz), or lower {less}"
    )

"""Error of a matrix product on arrays of devices, and its split by cause."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from analogdfc.arrays.mapping import Layout, Mapping
from analogdfc.devices import DeviceModel, Stuck, StuckCell, stuck_cells
from analogdfc.devices.draws import Streams, check_number, check_tensor, check_time
from analogdfc.errors import UserError, check_names
from analogdfc.wires import Lines, WiredArray, transfer_matrix

WIRES, ENDS, FAULTS = "wires", "driver and sense", "faults"
DEVICE_CAUSES = (
    "finite levels",
    "programming noise",
    "read noise",
    "telegraph noise",
    "drift",
    "retention",
    "device spread",
    FAULTS,
)
"""Imperfections of a device that a read at its card's temperature shows."""
CAUSES = (*DEVICE_CAUSES, WIRES, ENDS)
"""Names of all causes."""

# Cells whose conductances, or node voltages, are in memory at a time.
_AT_ONCE = 2**20
_LARGEST_WIRED = 2**19


@dataclass(frozen=True)
class Product:
    """A product W x on arrays of devices.

    The rows of an array are the rails of its inputs: those of input i lie next to each other. The
    largest magnitude among the inputs stands for the read voltage.

    Attributes:
        weights: W, (outputs, inputs).
        x: input vectors, (vectors, inputs).
        model: the device.
        lines: resistances of the lines, the same for each array.
        mapping: how the weights are laid out; it must have no bias rows.
        time: seconds from programming to the read.
        read_voltage: in volts.
        stuck: known stuck cells, rows and columns counted over all arrays.

    Raises:
        UserError: weights or inputs that aren't finite, don't fit or are all 0; a weight that can't
            be represented; a negative time; a read voltage that isn't > 0; a stuck cell outside of
            the array; an array with wires that is too large to be solved exactly.
    """

    weights: Tensor
    x: Tensor
    model: DeviceModel
    lines: Lines
    mapping: Mapping = field(default_factory=lambda: Mapping(bias_rows=0))
    time: float = 0.0
    read_voltage: float = 0.2
    stuck: tuple[StuckCell, ...] = ()

    def __post_init__(self) -> None:
        if self.mapping.bias_rows:
            raise UserError(f"{self.mapping.bias_rows} bias rows; a product W x has none")
        self.mapping.matrix(self.weights)
        inputs = self.weights.shape[1]
        if self.x.ndim != 2 or self.x.shape[1] != inputs or not len(self.x):
            raise UserError(
                f"inputs of shape {tuple(self.x.shape)} for {inputs} inputs; "
                f"(vectors, {inputs}) is needed"
            )
        check_tensor("input", self.x)
        check_time(self.time)
        check_number("read voltage", self.read_voltage, "V", low=0.0, open_low=True)
        if not bool(check_tensor("ideal product", self.exact).abs().max() > 0):
            raise UserError(
                "the ideal product is 0 for all inputs; its relative error is undefined"
            )
        layout = self.layout
        layout.conductances(self.weights)
        stuck_cells(self.shape, self.stuck)
        if not self.lines.ideal:
            _check_size(layout)

    @property
    def layout(self) -> Layout:
        """The arrays."""
        return self.mapping.layout(self.weights, None, self.model.window)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of all arrays together."""
        _, rails, columns, inputs = self.layout.shape
        return rails * inputs, columns

    @property
    def exact(self) -> Tensor:
        """W x, (vectors, outputs)."""
        return self.x @ self.weights.T

    @property
    def voltages(self) -> Tensor:
        """Voltages on the rows, (vectors, rows), in volts; the rail '-' is driven by -x."""
        signs = [1.0 if rail == "+" else -1.0 for rail in self.mapping.scheme.rails]
        v = self.x * (self.read_voltage / self.x.abs().max())
        return (v.unsqueeze(-1) * v.new_tensor(signs)).flatten(-2)

    @property
    def causes(self) -> tuple[str, ...]:
        """Names of the causes that are there, of those in `CAUSES`."""
        there = set(self.model.imperfections)
        if self.stuck:
            there.add(FAULTS)
        if self.lines.r_word or self.lines.r_bit:
            there.add(WIRES)
        if self.lines.r_driver or self.lines.r_sense:
            there.add(ENDS)
        return tuple(name for name in CAUSES if name in there)

    def without(self, *names: str) -> Product:
        """The same product with the named causes switched off.

        Args:
            names: of `CAUSES`.

        Raises:
            UserError: a name that isn't in `CAUSES`.
        """
        check_names(names, CAUSES, "cause")
        lines = self.lines
        if WIRES in names:
            lines = replace(lines, r_word=0.0, r_bit=0.0)
        if ENDS in names:
            lines = replace(lines, r_driver=0.0, r_sense=0.0)
        model = self.model.without(*(name for name in names if name in DEVICE_CAUSES))
        stuck = () if FAULTS in names else self.stuck
        return replace(self, model=model, lines=lines, stuck=stuck)

    def only(self, name: str) -> Product:
        """The same product with all other causes switched off.

        Args:
            name: of `CAUSES`.
        """
        return self.without(*(other for other in CAUSES if other != name))


@dataclass(frozen=True)
class Cause:
    """What one cause does to the product; normalised rms errors.

    Attributes:
        alone: error with all other causes switched off.
        without: error with this cause switched off and all others on.
    """

    alone: float
    without: float


@dataclass(frozen=True, eq=False, kw_only=True)
class CrossbarError:
    """The error of a product, rms(y - W x) / rms(W x) over outputs, inputs and draws.

    Attributes:
        total: with all causes.
        spread: standard deviation of the error from draw to draw; 0 for a single one.
        causes: by name, those that are there.
        target: conductances to program, (slices, rows, columns), in siemens.
        read: conductances of the first draw at the time of the read, the same shape.
        cell_error: rms over the draws of the effective conductance of a cell, the current out of
            its column per volt on its row, less its target, over the span of the window; the same
            shape.
        voltage_loss: rms over the inputs of what the lines take from the voltage over a cell, in
            volts, of the first draw; the same shape.
        drive: rms of the voltages on the rows, in volts.
    """

    total: float
    spread: float
    causes: dict[str, Cause]
    target: Tensor
    read: Tensor
    cell_error: Tensor
    voltage_loss: Tensor
    drive: float


def measure(
    product: Product,
    *,
    samples: int = 10,
    seed: int = 0,
    progress: Callable[[], object] = lambda: None,
) -> CrossbarError:
    """Measure the error of a product and split it by cause.

    A draw is one set of devices, programmed once and read once for all inputs. Each case sees the
    same draws, so that what is left of the difference between two cases is the cause.

    Args:
        product: what is measured.
        samples: Monte-Carlo draws, >= 1; a case without anything random takes one.
        seed: seed of the draws.
        progress: called after each case, `cases(product)` times.

    Raises:
        UserError: fewer than 1 draw.
    """
    if samples < 1:
        raise UserError(f"{samples} draws; 1 or more are allowed")
    target = _physical(product.layout.conductances(product.weights))
    squares, errors, first = [], torch.zeros_like(target), None
    for g, effective in _draws(product, samples, seed):
        first = g[0].clone() if first is None else first
        squares.append(_squares(product, effective))
        errors += (effective - target).square().sum(dim=0)
    assert first is not None
    progress()
    each = torch.cat(squares).sqrt()
    causes = {}
    for name in product.causes:
        alone = _error(product.only(name), samples, seed)
        progress()
        causes[name] = Cause(alone, _error(product.without(name), samples, seed))
        progress()
    return CrossbarError(
        total=float(each.square().mean().sqrt()),
        spread=float(each.std()) if len(each) > 1 else 0.0,
        causes=causes,
        target=target,
        read=first,
        cell_error=(errors / len(each)).sqrt() / product.model.window.span,
        voltage_loss=_voltage_loss(product, first),
        drive=float(product.voltages.square().mean().sqrt()),
    )


def cases(product: Product) -> int:
    """Number of cases that `measure` computes: all causes, each alone, each switched off."""
    return 1 + 2 * len(product.causes)


def effective_weights(product: Product, effective: Tensor) -> Tensor:
    """The weights that effective conductances represent.

    Args:
        product: for the layout.
        effective: (..., slices, rows, columns), in siemens.

    Returns:
        (..., outputs, inputs).
    """
    layout = product.layout
    *batch, _, columns = effective.shape
    _, rails, _, inputs = layout.shape
    g = effective.reshape(*batch, inputs, rails, columns).movedim(-3, -1)
    return layout.decode(g.movedim(-4, 0)) * layout.scale


def _error(product: Product, samples: int, seed: int) -> float:
    squares = [_squares(product, effective) for _, effective in _draws(product, samples, seed)]
    return math.sqrt(float(torch.cat(squares).mean()))


def _squares(product: Product, effective: Tensor) -> Tensor:
    """Squared normalised rms errors, one a draw."""
    exact = product.exact
    error = product.x @ (effective_weights(product, effective) - product.weights).mT
    # In units of the largest, so that squares of tiny products don't vanish.
    unit = exact.abs().max()
    return (error / unit).square().mean(dim=(-2, -1)) / (exact / unit).square().mean()


def _physical(g: Tensor) -> Tensor:
    """(..., rails, columns, inputs) of a layout as (..., rows, columns) of arrays."""
    return g.movedim(-1, -3).flatten(-3, -2)


def _draws(product: Product, samples: int, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Conductances at the read and effective ones, (draws, slices, rows, columns), in blocks."""
    model, target = product.model, _physical(product.layout.conductances(product.weights))
    if not model.random and model.read is None:
        samples = 1
    # All draws of a block are one tensor; its size, and so the draws, are those of every case.
    block = max(1, _AT_ONCE // target.numel())
    generator = torch.Generator().manual_seed(seed)
    for start in range(0, samples, block):
        shape = (min(block, samples - start), *target.shape)
        g = _read(product, target.expand(shape), generator)
        yield g, _effective(product, g)


def _read(product: Product, target: Tensor, generator: torch.Generator) -> Tensor:
    """One read of newly programmed devices; advances the generator by the same whatever is on."""
    model, shape = product.model, tuple(target.shape)
    stuck: Stuck | None = stuck_cells(shape, product.stuck) if product.stuck else None
    population = model.fabricate(shape, generator, stuck=stuck)
    devices = model.program(target, generator, population=population)
    streams = Streams(generator)
    traps = None
    if model.telegraph is not None:
        traps = model.telegraph.start(shape, streams["telegraph"], present=population.trap)
    return devices.read(product.time, streams["read"], traps=traps)


def _tiles(layout: Layout) -> Iterator[tuple[slice, Tensor]]:
    """Rows and columns of each array."""
    rails, references = len(layout.mapping.scheme.rails), layout.mapping.scheme.references
    outputs = layout.outputs[-1][1]
    for k, (first, last) in enumerate(layout.outputs):
        own = [*range(first, last), *range(outputs + k, outputs + k + references)]
        for start, stop in layout.inputs:
            yield slice(start * rails, stop * rails), torch.tensor(own)


def _check_size(layout: Layout) -> None:
    for rows, columns in _tiles(layout):
        height, width = rows.stop - rows.start, len(columns)
        if height * width > _LARGEST_WIRED:
            raise UserError(
                f"an array of {height} x {width} cells with resistive lines; at most "
                f"{_LARGEST_WIRED} cells are solved exactly: cut the matrix into smaller arrays "
                "by a tiling, such as 256 x 256"
            )


def _effective(product: Product, g: Tensor) -> Tensor:
    """Current out of each column per volt on each row, (..., rows, columns), in siemens."""
    if product.lines.ideal:
        return g
    out = torch.empty_like(g)
    for rows, columns in _tiles(product.layout):
        out[..., rows, columns] = transfer_matrix(g[..., rows, columns], product.lines).mT
    return out


def _voltage_loss(product: Product, g: Tensor) -> Tensor:
    """Rms over the inputs of the voltage on a row less that over a cell, in volts."""
    out = torch.zeros_like(g)
    if product.lines.ideal:
        return out
    for rows, columns in _tiles(product.layout):
        array = WiredArray(g[..., rows, columns].contiguous(), product.lines)
        driven = product.voltages[:, rows]
        block = max(1, _AT_ONCE // array.g.numel())
        total = torch.zeros_like(array.g)
        for v in torch.split(driven, block):
            loss = v.unsqueeze(-1) - array.voltages(v).cell
            total += loss.square().sum(dim=-3)
        out[..., rows, columns] = (total / len(driven)).sqrt()
    return out

"""A matrix of weights on arrays of devices, and back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn.functional import linear

from analogdfc.arrays.mapping.scales import PerLayer, Scale
from analogdfc.arrays.mapping.schemes import Scheme, Split
from analogdfc.arrays.mapping.slicing import Equal, Slicing
from analogdfc.devices import Window
from analogdfc.errors import UserError
from analogdfc.wires.tiles import Ranges, Tiling

Crossing = Callable[[Tensor], Tensor]
"""What a signal goes through at the edge of an array, a converter for instance."""


@dataclass(frozen=True)
class Mapping:
    """How weights are laid out on arrays.

    Attributes:
        scheme: how a signed weight becomes conductances.
        scale: the weight that the end of the window stands for.
        slicing: over how many devices a weight goes, and what each counts.
        tiling: the largest array.
        bias_rows: inputs held at 1 that carry the biases in equal parts; 0 keeps the biases out of
            the arrays.

    Raises:
        UserError: a negative number of bias rows.

    >>> import torch
    >>> from analogdfc.devices import Window
    >>> w, b = torch.tensor([[0.5, -1.0]]), torch.tensor([0.25])
    >>> layout = Mapping().layout(w, b, Window(0.0, 10e-6))
    >>> g = layout.conductances(w, b)
    >>> g.shape
    torch.Size([1, 2, 1, 3])
    >>> [round(float(x) * 1e6, 3) for x in g[0, 1, 0]]
    [0.0, 10.0, 0.0]
    """

    scheme: Scheme = field(default_factory=Split)
    scale: Scale = field(default_factory=PerLayer)
    slicing: Slicing = field(default_factory=Equal)
    tiling: Tiling = field(default_factory=Tiling)
    bias_rows: int = 1

    def __post_init__(self) -> None:
        if self.bias_rows < 0:
            raise UserError(f"{self.bias_rows} bias rows; 0 or more are allowed")

    def matrix(self, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        """Weights with the bias rows behind them, (outputs, inputs + bias rows).

        Args:
            weight: (outputs, inputs).
            bias: (outputs,); None for 0.

        Raises:
            UserError: shapes that don't fit, or a number that isn't finite.
        """
        if weight.ndim != 2 or weight.numel() == 0:
            raise UserError(f"weights of shape {tuple(weight.shape)}; (outputs, inputs) is needed")
        if bias is None:
            bias = weight.new_zeros(len(weight))
        elif bias.shape != weight.shape[:1]:
            raise UserError(f"biases of shape {tuple(bias.shape)} for {len(weight)} outputs")
        parts = [weight]
        if self.bias_rows:
            parts.append((bias / self.bias_rows)[:, None].expand(-1, self.bias_rows))
        out = torch.cat(parts, dim=1)
        wrong = (~torch.isfinite(out)).nonzero()
        if len(wrong):
            i, j = (int(k) for k in wrong[0])
            raise UserError(f"weight [{i}, {j}] = {float(out[i, j])}; weights must be finite")
        return out

    def layout(self, weight: Tensor, bias: Tensor | None, window: Window) -> Layout:
        """The arrays for weights, whose scale is fixed by these.

        Args:
            weight: (outputs, inputs).
            bias: (outputs,); None for 0.
            window: the devices' range of conductances.

        Raises:
            UserError: weights that aren't finite or can't be represented, arrays that are too
                small.
        """
        matrix = self.matrix(weight, bias)
        outputs, inputs = matrix.shape
        return Layout(
            self,
            window,
            self.scale.of(matrix),
            self.tiling.outputs(outputs, self.scheme.references),
            self.tiling.inputs(inputs, len(self.scheme.rails)),
        )


@dataclass(frozen=True, eq=False)
class Layout:
    """The arrays of one matrix. Conductances are (slices, rails, columns, inputs + bias rows).

    Attributes:
        mapping: how they are laid out.
        window: the devices' range of conductances.
        scale: largest representable weights, (outputs, 1).
        outputs: outputs of each column of arrays, first and one past the last.
        inputs: inputs, bias rows among them, of each row of arrays.
    """

    mapping: Mapping
    window: Window
    scale: Tensor
    outputs: Ranges
    inputs: Ranges

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Slices, rails, columns of all arrays, inputs with the bias rows."""
        scheme = self.mapping.scheme
        slices = len(self.mapping.slicing.significances)
        columns = scheme.columns(self.outputs)
        return slices, len(scheme.rails), columns, self.inputs[-1][1]

    def digits(self, g: Tensor) -> Tensor:
        """What each slice represents, in units of the scale, (slices, outputs, inputs).

        Args:
            g: conductances, (slices, rails, columns, inputs + bias rows), in siemens.
        """
        return self.mapping.scheme.decode(g, self.window, self.outputs)

    def encode(self, relative: Tensor) -> Tensor:
        """Conductances of weights in units of the scale, -1..1, (outputs, inputs + bias rows).

        Args:
            relative: weights in units of the scale, -1..1, (outputs, inputs + bias rows).
        """
        digits = self.mapping.slicing.encode(relative)
        return self.mapping.scheme.encode(digits, self.window, self.outputs)

    def decode(self, g: Tensor) -> Tensor:
        """Weights of conductances in units of the scale, (outputs, inputs + bias rows).

        Args:
            g: conductances, (slices, rails, columns, inputs + bias rows), in siemens.
        """
        return self.mapping.slicing.decode(self.digits(g))

    def conductances(self, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        """Target conductances of weights.

        Args:
            weight: (outputs, inputs).
            bias: (outputs,); None for 0.

        Returns:
            Of the shape `shape`, in siemens.

        Raises:
            UserError: a weight beyond the scale.
        """
        matrix = self.mapping.matrix(weight, bias)
        outside = (matrix.abs() > self.scale * (1 + 1e-12)).nonzero()
        if len(outside):
            i, j = (int(k) for k in outside[0])
            limit = float(self.scale[i])
            raise UserError(
                f"weight [{i}, {j}] = {float(matrix[i, j]):g} is outside of the window, which "
                f"stands for -{limit:g} to {limit:g} here"
            )
        return self.encode((matrix / self.scale).clamp(-1, 1))

    def parts(self, matrix: Tensor) -> tuple[Tensor, Tensor | None]:
        """Weights and biases of a matrix with bias rows; no biases without such rows.

        Args:
            matrix: (outputs, inputs + bias rows).
        """
        rows = self.mapping.bias_rows
        if not rows:
            return matrix, None
        return matrix[:, :-rows], matrix[:, -rows:].sum(dim=1)

    def weights(self, g: Tensor) -> tuple[Tensor, Tensor | None]:
        """The weights and biases that conductances represent: the inverse of `conductances`.

        Args:
            g: conductances of the shape `shape`, in siemens.

        Returns:
            (outputs, inputs) and (outputs,); None for biases that aren't in the arrays.

        Raises:
            UserError: conductances of another shape.
        """
        if tuple(g.shape) != self.shape:
            raise UserError(f"conductances of {tuple(g.shape)} for arrays of {self.shape}")
        return self.parts(self.decode(g) * self.scale)

    def product(
        self,
        g: Tensor,
        x: Tensor,
        *,
        dac: Crossing | None = None,
        adc: Crossing | None = None,
    ) -> Tensor:
        """W x + b, array by array, with the sums between arrays and slices.

        Args:
            g: conductances of the shape `shape`, in siemens.
            x: inputs, (batch, inputs) without those of the bias rows, which the array holds at 1.
            dac: what the inputs go through.
            adc: what each array's columns go through, in units of the scale; the sums follow it.

        Returns:
            (batch, outputs), without biases that aren't in the arrays.

        Raises:
            UserError: another number of inputs.
        """
        rows = self.mapping.bias_rows
        if x.shape[-1] != self.shape[-1] - rows:
            raise UserError(f"{x.shape[-1]} inputs for arrays of {self.shape[-1] - rows}")
        if dac is not None:
            x = dac(x)
        if rows:
            x = torch.cat([x, x.new_ones(*x.shape[:-1], rows)], dim=-1)
        total = x.new_zeros(*x.shape[:-1], len(self.scale))
        for significance, w in zip(
            self.mapping.slicing.significances, self.digits(g).to(x.dtype), strict=True
        ):
            for start, stop in self.inputs:
                partial = linear(x[..., start:stop], w[:, start:stop])
                total = total + significance * (partial if adc is None else adc(partial))
        return total * self.scale[:, 0].to(x.dtype)

"""Nested dissection of an array: blocks of cells are joined until one block is the whole array.

Neighbouring blocks are joined level by level, all of a level at once, so an array of n x n cells
costs O(n^3) operations, nearly all of them matrix products.
"""

from __future__ import annotations

import torch
from torch import Tensor

from analogdfc.wires.blocks import SIDES, Block, Workspace
from analogdfc.wires.elimination import Elimination, multiply
from analogdfc.wires.folds import Fold, Leaves, order, padded
from analogdfc.wires.gathering import TALL, WIDE, Gathering, chunked
from analogdfc.wires.halves import Edge
from analogdfc.wires.lines import Lines

_TILE = 16
"""Cells of the blocks inside which node voltages are found by one matrix for all levels."""


class _Close:
    """The last blocks: their unconnected ends eliminated one by one, then joined."""

    def __init__(
        self,
        grid: Block,
        workspace: Workspace,
        *,
        open_right: bool,
        open_top: bool,
        keep: bool,
    ) -> None:
        rows, columns = grid.n.shape[-4:-2]
        self._shape = (rows, columns)
        self._steps: list[tuple[Elimination, list[tuple[int, int]]]] = []
        block = {
            (i, j): grid.pick(slice(i, i + 1), slice(j, j + 1))
            for i in range(rows)
            for j in range(columns)
        }

        def eliminate(parts: list[tuple[tuple[int, int], str]]) -> None:
            step = Elimination([(block.pop(at), side) for at, side in parts], workspace, keep=keep)
            block[parts[0][0]] = step.take()
            self._steps.append((step, [at for at, _ in parts]))

        for i in range(rows):
            if open_right:
                eliminate([((i, columns - 1), "R")])
        for j in range(columns):
            if open_top:
                eliminate([((0, j), "T")])
        for i in range(rows):
            for j in range(1, columns):
                eliminate([((i, 0), "R"), ((i, j), "L")])
        for i in range(1, rows):
            eliminate([((0, 0), "B"), ((i, 0), "T")])
        self.block = block[0, 0]

    def up(self, current: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Currents into the whole array's terminals, from those into the last blocks'."""
        rows, columns = self._shape
        at = {
            (i, j): current[..., i : i + 1, j : j + 1, :, :]
            for i in range(rows)
            for j in range(columns)
        }
        inside = []
        for step, parts in self._steps:
            at[parts[0]], inner = step.up([at[part] for part in parts])
            inside.append(inner)
        return at[0, 0], inside

    def down(self, v: Tensor, inside: list[Tensor] | None) -> Tensor:
        """Voltages of the last blocks' terminals, from those of the whole array."""
        rows, columns = self._shape
        at = {(0, 0): v}
        for k in range(len(self._steps) - 1, -1, -1):
            step, parts = self._steps[k]
            found = step.down(at[parts[0]], inside[k] if inside else None)
            at.update(zip(parts, found, strict=True))
        lines = [torch.cat([at[i, j] for j in range(columns)], -3) for i in range(rows)]
        return torch.cat(lines, -4)


class Dissection:
    """The nodal equations of arrays whose lines all have resistance, factorised.

    Args:
        g: conductances, (..., rows, columns), in siemens, >= 0.
        lines: the lines; r_word and r_bit > 0.
        keep: whether node voltages will be asked for; the transfer matrix needs less memory.
        terminals: whether the couplings between all terminals will be asked for.

    Attributes:
        transfer: as of `Factorised`.
        rounding: what it cost, as in `Workspace`; 0 where what is kept was asked for.
        edge: the array without what its drivers couple to each other; None where that is known, or
            has more than one end.
    """

    def __init__(
        self, g: Tensor, lines: Lines, *, keep: bool = True, terminals: bool = False
    ) -> None:
        self.rounding = 0.0
        self.edge: Edge | None = None
        self._cells = rows, columns = g.shape[-2:]
        self._levels: list[Fold | _Close] = []
        self._tiles: tuple[int, torch.Size, tuple[int, int]] | None = None
        self._in_tiles: Tensor | None = None
        both_driven, both_sensed = lines.driven == "both", lines.sensed == "both"
        if keep:
            above, right = padded(rows + both_sensed), padded(columns + both_driven)
            leaves = Leaves(g, lines, above[0], right[0])
            grid = self._folded(leaves.whole(), above[1], right[1])
            close = _Close(
                grid,
                Workspace(),
                open_right=not both_driven,
                open_top=not both_sensed,
                keep=keep,
            )
            self._levels.append(close)
            whole = close.block
        else:
            wide = WIDE * torch.float64.itemsize // g.dtype.itemsize
            along = (
                chunked(rows + both_sensed, TALL, larger_last=False),
                chunked(columns + both_driven, wide, larger_last=True),
            )
            leaves = Leaves(g, lines, *(n.cells for n in along))
            gathering = Gathering(leaves, *along)
            self._above, self._right = leaves.above, leaves.right
            if not (terminals or both_driven or both_sensed) and g.device.type == "cpu":
                self._seen(gathering)
                return
            whole = gathering.whole()
            self.rounding = gathering.rounding
        self._above, self._right = leaves.above, leaves.right
        self._sizes = whole.sizes
        self.transfer = self._transfer(whole)
        self._whole = whole if terminals else None

    def _seen(self, gathering: Gathering) -> None:
        """Solve for what a fold needs."""
        edge = gathering.edge()
        self.rounding = gathering.rounding
        columns = self._cells[1]
        between = edge.block.whole().n[..., 0, 0, :columns, :columns]
        self.transfer = edge.left[..., 0, 0, :columns, self._above :].clone()
        self.edge = Edge(
            Block(between, {"B": columns}), self.transfer, edge.lost[..., 0, 0, self._above :]
        )

    def _folded(self, grid: Block, row_factors: list[int], column_factors: list[int]) -> Block:
        """Blocks joined until few are left."""
        height = width = 1
        workspace = Workspace()
        for factors in (row_factors, column_factors):
            if factors[-1:] == [2]:  # left to the end, where unconnected ends have been eliminated
                factors.pop()
        for factor, sideways in order(row_factors, column_factors):
            result = f"level {len(self._levels) % 2}"
            fold = Fold(grid, factor, workspace, sideways=sideways, keep=True, result=result)
            grid = fold.block
            width, height = (width * factor, height) if sideways else (width, height * factor)
            self._levels.append(fold)
            if self._tiles is None and height * width >= _TILE:
                self._tiles = (len(self._levels), grid.n.shape[:-2], (height, width))
        return grid

    def _transfer(self, whole: Block) -> Tensor:
        total = torch.zeros((), dtype=whole.n.dtype, device=whole.n.device)
        for out in "TB":
            for into in "LR":
                if out in whole.sizes and into in whole.sizes:
                    total = total + whole.n[..., 0, 0, whole.at(out), whole.at(into)]
        return total[..., : self._cells[1], self._above :].clone()

    def couplings(self) -> Tensor:
        """Conductances between the terminals, as in `Factorised.couplings`."""
        assert self._whole is not None, "terminals=True keeps the couplings"
        whole, (rows, columns) = self._whole, self._cells
        n = whole.n[..., 0, 0, :, :]
        joined = n.new_zeros(*n.shape[:-2], rows + columns, rows + columns)
        # Both ends of a line are one terminal; what runs between them along the line is no
        # coupling, and falls on the diagonal.
        own = {
            **dict.fromkeys("LR", (slice(0, rows), slice(self._above, None))),
            **dict.fromkeys("TB", (slice(rows, None), slice(0, columns))),
        }
        for a in whole.sizes:
            for b in whole.sizes:
                between = n[..., whole.at(a), whole.at(b)]
                joined[..., own[a][0], own[b][0]] += between[..., own[a][1], own[b][1]]
        joined.diagonal(dim1=-2, dim2=-1).zero_()
        return joined

    def voltages(
        self, row: Tensor | None, column: Tensor | None, source: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Node voltages for voltages on the terminals and current sources over the cells.

        Args:
            row: voltages of the rows' drivers, (..., k, rows), in volts; None for ground.
            column: voltages behind the sense amplifiers, (..., k, columns); None for ground.
            source: currents from the word node to the bit node of each cell, in parallel to it,
                (..., k, rows, columns), in amperes; None for none.

        Returns:
            Voltages of word-line and bit-line nodes, each (..., k, rows, columns).
        """
        if source is None and self._tiles is not None:
            return self._by_tiles(self._on_terminals(row, column))
        insides: list[list[Tensor]] = []
        if source is not None:
            current = torch.nn.functional.pad(
                source.movedim(-3, -1), (0, 0, 0, self._right, self._above, 0)
            ).unsqueeze(-1)
            zero = torch.zeros_like(current)
            current = torch.cat([zero, current, -current, zero], -1)
            for level in self._levels:
                current, inside = level.up(current)
                insides.append(inside)
        v = self._on_terminals(row, column)
        for k in range(len(self._levels) - 1, -1, -1):
            v = self._levels[k].down(v, insides[k] if insides else None)
        v = v.movedim(-2, -4)[..., self._above :, : self._cells[1], :]
        return v[..., 2], v[..., 1]

    def _by_tiles(self, v: Tensor) -> tuple[Tensor, Tensor]:
        """Node voltages from the terminals', by one matrix a tile for all levels inside it."""
        assert self._tiles is not None
        below, grid, (height, width) = self._tiles
        for level in reversed(self._levels[below:]):
            v = level.down(v, None)
        if self._in_tiles is None:
            t = v.shape[-1]
            unit = torch.eye(t, dtype=v.dtype, device=v.device).expand(*grid, t, t)
            for level in reversed(self._levels[:below]):
                unit = level.down(unit, None)
            nodes = unit[..., [2, 1]].reshape(*grid[:-1], height, grid[-1], width, t, 2)
            nodes = nodes.movedim((-5, -3), (-2, -1))
            self._in_tiles = nodes.reshape(*grid, t, 2 * height * width)
        found = v.new_empty(*v.shape[:-1], self._in_tiles.shape[-1])
        multiply(v, self._in_tiles, found)
        found = found.reshape(*v.shape[:-1], 2, height, width)
        found = found.movedim((-6, -2, -5, -1), (-4, -3, -2, -1))
        found = found.reshape(*found.shape[:-4], grid[-2] * height, grid[-1] * width)
        found = found[..., self._above :, : self._cells[1]]
        return found[..., 0, :, :], found[..., 1, :, :]

    def _on_terminals(self, row: Tensor | None, column: Tensor | None) -> Tensor:
        pad = torch.nn.functional.pad
        by_side: dict[str, Tensor | None] = {
            **dict.fromkeys("LR", None if row is None else pad(row, (self._above, 0))),
            **dict.fromkeys("TB", None if column is None else pad(column, (0, self._right))),
        }
        given = [x[..., :1] for x in (row, column) if x is not None]
        zero = torch.zeros_like(given[0] + given[-1])
        parts = []
        for side in SIDES:
            if side in self._sizes:
                value = by_side[side]
                silent = zero.expand(*zero.shape[:-1], self._sizes[side])
                parts.append(silent if value is None else zero + value)
        v = torch.cat(parts, -1)
        return v[..., None, None, :, :]

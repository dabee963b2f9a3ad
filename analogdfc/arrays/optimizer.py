"""The optimiser's step as what devices can do: pulses, writes, or exact writes for reference."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, overload

import torch
from torch import Tensor

from analogdfc.arrays.layers import AnalogNetwork
from analogdfc.arrays.writers import MODES, Counts, PulseWriter, ReprogramWriter, writer_of
from analogdfc.devices.draws import Streams, check_number
from analogdfc.errors import UserError
from analogdfc.states import State, checked

_KEPT = (
    *("network", "inner", "mode", "granularity", "period", "aligned", "compensated"),
    *("most_clipped", "writers", "_changes"),
)
"""What an update is made of beside an optimiser's own parts."""

_SOME = 100
"""Changes of which a share can be told."""


class PulsedUpdate(torch.optim.Optimizer):
    """An optimiser whose step is made by the devices.

    A digital optimiser says what the step should be (plain gradient descent, momentum, Adam); the
    devices do what they can of it. After each step the weights are read anew.

    Biases that aren't in the arrays take the digital optimiser's step as it is.

    Args:
        network: the network, from `analog`.
        optimizer: any optimiser of the network's parameters.
        mode: `stochastic`, `deterministic` or `mixed-precision` make whole steps of each device;
            `coincidence` and `deterministic-coincidence` make them by pulse trains on rows and
            columns; `ideal` sets every device exactly.
        granularity: program the devices anew, in multiples of this fraction of the largest
            representable weight, instead of sending pulses; needed for devices without pulses.
        period: seconds between steps, in which the devices age.
        aligned: draw the randomness of every step and layer from a source of its own, so that two
            trainings of which one sends a pulse more don't part in all that comes after.
        compensated: count pulses by the steps that the mean device makes from where the devices
            stand, as a read shows them. Steps that shrink towards the ends of the window make up
            and down differ there, and weights fall to 0 where they are pulsed to and fro.
        most_clipped: share of all changes so far that may be cut off at the ends of the devices'
            window, from the hundredth change on; any by default.

    Attributes:
        writers: what moves the devices of layers 1..L; `counts` says what it cost.

    Raises:
        UserError: an unknown mode, an optimiser of other parameters, devices that can't be pulsed
            without a granularity, compensated writes, a value out of range.

    >>> from analogdfc.arrays.layers import analog
    >>> from analogdfc.learning import Backpropagation
    >>> from analogdfc.network import Network
    >>> source = torch.Generator().manual_seed(0)
    >>> network = analog(Network([3, 4, 2], generator=source), "ecram_mo_kim2019", seed=1)
    >>> rule = Backpropagation(network)
    >>> optimizer = PulsedUpdate(network, torch.optim.SGD(network.parameters(), lr=0.1))
    >>> x, y = torch.ones(1, 3).double(), torch.ones(1, 2).double()
    >>> loss = rule.backward(x, y)
    >>> optimizer.step()
    >>> optimizer.counts[0].up > 0
    True
    """

    def __init__(
        self,
        network: AnalogNetwork,
        optimizer: torch.optim.Optimizer,
        mode: str = "stochastic",
        *,
        granularity: float | None = None,
        period: float = 0.0,
        aligned: bool = False,
        compensated: bool = False,
        most_clipped: float = 1.0,
    ) -> None:
        if mode not in MODES:
            raise UserError(f"unknown mode {mode!r} of an update; there are {', '.join(MODES)}")
        check_number("period", period, "s", low=0.0)
        own = {id(p) for p in network.parameters()}
        if any(id(p) not in own for group in optimizer.param_groups for p in group["params"]):
            raise UserError("the optimiser holds parameters that aren't this analog network's")
        super().__init__(network.parameters(), {})
        self.network = network
        self.inner = optimizer
        self.mode, self.granularity = mode, granularity
        self.period, self.aligned, self.compensated = period, aligned, compensated
        self.most_clipped = check_number("most_clipped", most_clipped, low=0.0, high=1.0)
        # Shared, so that a scheduler of either changes the step.
        self.param_groups = optimizer.param_groups
        self.writers = tuple(writer_of(a, MODES[mode], granularity) for a in network.arrays)
        for writer in self.writers:
            if isinstance(writer, PulseWriter):
                writer.aligned, writer.compensated = aligned, compensated
            elif compensated:
                raise UserError("compensated steps are those of pulses; these devices are written")
        # Kept, since fresh memory of this size costs as much as the arithmetic on it.
        self._changes = [torch.empty_like(a.stored()) for a in network.arrays]

    def __getstate__(self) -> dict[str, Any]:
        # PyTorch's own keeps the parameter groups and their state alone.
        return {**super().__getstate__(), **{k: v for k, v in vars(self).items() if k in _KEPT}}

    @property
    def counts(self) -> tuple[Counts, ...]:
        """What training has cost so far, layers 1..L."""
        return tuple(writer.counts for writer in self.writers)

    @overload
    def step(self, closure: None = None) -> None: ...

    @overload
    def step(self, closure: Callable[[], float]) -> float: ...

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """Make one step and read the weights anew.

        Args:
            closure: evaluates the loss anew; passed on to the digital optimiser.

        Raises:
            UserError: more changes would have left the window than are allowed.
        """
        network = self.network
        for i in range(network.depth):
            for part, p in self._parts(i):
                part.copy_(p)
        loss = self.inner.step() if closure is None else self.inner.step(closure)
        network.wait(self.period)
        source = network.sources.writes
        streams = Streams(source) if self.aligned else None
        for i, writer in enumerate(self.writers):
            drawn = source if streams is None else streams[f"layer {i + 1}"]
            writer.apply(self._change(i, writer.step), network.time, drawn)
        network.read()
        self._check_window()
        return loss

    def _check_window(self) -> None:
        """Make sure that not too much was cut off, which the devices don't tell."""
        clipped, changes = self.cut_off
        if changes >= _SOME and clipped > self.most_clipped * changes:
            raise UserError(
                f"{clipped} of {changes} changes ({clipped / changes:.2%}) would have left the "
                "window of the devices and were cut off at its end, more than the share of "
                f"{self.most_clipped:g} that `most_clipped` allows; smaller steps or more headroom "
                "keep weights inside"
            )

    @property
    def cut_off(self) -> tuple[int, int]:
        """Changes that would have left the window so far, and how many there were, all layers."""
        return sum(c.clipped for c in self.counts), sum(c.changes for c in self.counts)

    def _parts(self, i: int) -> Iterator[tuple[Tensor, Tensor]]:
        """What the buffer of array i has of its weights and biases, and these themselves."""
        network, buffer = self.network, self._changes[i]
        rows = network.arrays[i].layout.mapping.bias_rows
        inputs = buffer.shape[1] - rows
        yield buffer[:, :inputs], network.weights[i]
        if rows:
            yield buffer[:, inputs:], network.biases[i].unsqueeze(-1)

    def _change(self, i: int, step: float) -> Tensor:
        """What the digital optimiser has changed in array i, in steps of this part of its scale."""
        layout, out = self.network.arrays[i].layout, self._changes[i]
        for part, p in self._parts(i):
            torch.sub(p, part, out=part)
        rows = layout.mapping.bias_rows
        if rows > 1:
            out[:, -rows:] /= rows
        # One number that isn't finite makes the sum so, at less cost than a look at each.
        if not bool(out.sum().isfinite()):
            layout.mapping.matrix(out)  # names it
        return out.div_(layout.scale * step)

    def settings(self) -> dict[str, Any]:
        """What decides over its steps, beside the inner optimiser and the devices."""
        told = {"mode": self.mode, "granularity": self.granularity, "period": self.period}
        said = {"aligned": self.aligned, "compensated": self.compensated}
        return told | {name: True for name, value in said.items() if value}

    def kept(self) -> State:
        """Accumulators and counts of all layers; the devices are the network's."""
        found: State = {}
        for i, writer in enumerate(self.writers, start=1):
            found |= {f"counts/{i}/{name}": n for name, n in vars(writer.counts).items()}
            left = writer.state()
            if left is not None:
                found[f"left/{i}"] = left.clone()
        return found

    def take_up(self, state: Mapping[str, Tensor | int | float]) -> None:
        """Go on where another one was.

        Args:
            state: of its `kept`.

        Raises:
            StateError: a part is missing, belongs to nothing here, or has another shape or type.
        """
        # Files of older programs don't have what was counted later.
        since = {f"counts/{i}/changes": 0 for i in range(1, len(self.writers) + 1)}
        new = checked({**since, **state}, self.kept())
        for i, writer in enumerate(self.writers, start=1):
            writer.counts = Counts(**{n: int(new[f"counts/{i}/{n}"]) for n in vars(Counts())})
            left = new.get(f"left/{i}")
            writer.restore(left if isinstance(left, Tensor) else None)
            if isinstance(writer, ReprogramWriter):
                writer.restored = False  # the devices are taken up too, with the network

    def state_dict(self) -> dict[str, Any]:
        """State of the digital optimiser, accumulators, counts; the devices are the network's."""
        return {
            **self.inner.state_dict(),
            "left": [writer.state() for writer in self.writers],
            "counts": [dict(vars(writer.counts)) for writer in self.writers],
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up a state that `state_dict` gave.

        Args:
            state_dict: the state.
        """
        state = dict(state_dict)
        counts = state.pop("counts", [vars(count) for count in self.counts])
        for writer, counted in zip(self.writers, counts, strict=True):
            writer.counts = Counts(**counted)
        for writer, left in zip(self.writers, state.pop("left"), strict=True):
            writer.restore(left)
        self.inner.load_state_dict(state)
        self.param_groups = self.inner.param_groups

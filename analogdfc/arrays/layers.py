"""A network whose weights are analog arrays, for any learning rule."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from collections.abc import Mapping as Map
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import linear

from analogdfc.arrays.array import AnalogArray
from analogdfc.arrays.converters import ADC, DAC
from analogdfc.arrays.mapping import Cell, Mapping, table
from analogdfc.arrays.mapping.export import Column
from analogdfc.cards.device import DeviceCard
from analogdfc.devices import DeviceModel
from analogdfc.devices.draws import Streams, check_number
from analogdfc.errors import UserError
from analogdfc.network import EXTRA_STATE, Forward, Network, check_network
from analogdfc.states import State, StateError, checked, inside, part, set_generator

__all__ = ["AnalogArray", "AnalogNetwork", "analog"]


class _Sources(NamedTuple):
    """Streams of random numbers, independent of each other."""

    reads: torch.Generator
    writes: torch.Generator
    converters: torch.Generator


class AnalogNetwork(Network):
    """A network whose weights and biases are read from arrays of devices.

    `weights[i]` and `biases[i]` are what the last `read` found; a learning rule uses them as those
    of any network and writes their `.grad`. What an ordinary optimiser writes into them is lost at
    the next read: `PulsedUpdate` makes the step on the devices.

    Its `state_dict` holds the devices, their time and the sources of random numbers beside the
    weights, so that a network of the same model and mapping, of whatever seed, that loads it goes
    on bit by bit: the next read, the next update. The same holds of copies by `copy.deepcopy`,
    `pickle` and `torch.save`; `torch.load` reads the state with `weights_only=True`.

    Made by `analog`, on the device of its network, where it stays.

    Args:
        network: the network whose weights are mapped.
        model: the device.
        seed: of every random number.
        mapping: how the weights are laid out.
        dac: converter of the inputs of each layer; None for a fully analog path.
        adc: converter of each array's columns, in units of the scale; None for none.
        stuck: known stuck cells by layer, 1..L.

    Attributes:
        arrays: the arrays of layers 1..L.
        time: seconds since the arrays were programmed.
    """

    def __init__(
        self,
        network: Network,
        model: DeviceModel,
        seed: int,
        *,
        mapping: Mapping,
        dac: DAC | None = None,
        adc: ADC | None = None,
        stuck: Map[int, Sequence[Cell]] | None = None,
    ) -> None:
        stuck = stuck or {}
        for i in stuck:
            if not 1 <= i <= network.depth:
                raise UserError(f"stuck cells of layer {i}; there are layers 1..{network.depth}")
        first = network.weights[0]
        super().__init__(
            network.sizes,
            dtype=first.dtype,
            device=first.device,
            generator=torch.Generator().manual_seed(0),
        )
        self.activations = network.activations
        self.dac, self.adc = dac, adc
        self.time = 0.0
        streams = Streams(torch.Generator(first.device).manual_seed(seed))
        self.sources = _Sources(streams["reads"], streams["writes"], streams["converters"])
        arrays = []
        for i, (w, b) in enumerate(zip(network.weights, network.biases, strict=True), start=1):
            weight, bias = w.detach().double(), b.detach().double()
            try:
                layout = mapping.layout(weight, bias, model.window)
                target = layout.conductances(weight, bias)
                source = streams[f"layer {i}"]
                arrays.append(AnalogArray(layout, model, target, source, stuck.get(i, ())))
            except UserError as error:
                raise UserError(f"layer {i}: {error}") from error
            with torch.no_grad():
                self.biases[i - 1].copy_(b)
        self.arrays = tuple(arrays)
        self._conductances: dict[int, Tensor] = {}
        self.read()

    def _apply(self, fn: Callable[[Tensor], Tensor], *args: Any, **kwargs: Any) -> AnalogNetwork:
        # What `to`, `cuda` and `cpu` come to: they would move the weights and leave the arrays.
        here = self.weights[0].device
        if (there := fn(self.weights[0].detach()[:0]).device) != here:
            raise UserError(
                f"arrays of devices stay on {here}: move the network to {there} first, and then "
                "put it on devices with analog(network, card, seed)"
            )
        super()._apply(fn, *args, **kwargs)  # type: ignore[no-untyped-call]
        return self

    def wait(self, seconds: float) -> None:
        """Let time pass; the next read sees what drift and retention have done.

        Args:
            seconds: time that passes, >= 0.

        Raises:
            UserError: a negative or non-finite time.
        """
        self.time += check_number("time to wait", seconds, "s", low=0.0)

    @torch.no_grad()
    def read(self) -> None:
        """Read all weights anew, with the noise of a read; they stay so until the next."""
        for i, array in enumerate(self.arrays):
            if self.adc is None:
                matrix = array.matrix(self.time, self.sources.reads)
            else:  # the sums of each array are converted, so each device must be known
                self._conductances[i] = array.read(self.time, self.sources.reads)
                matrix = array.layout.decode(self._conductances[i]) * array.layout.scale
            weight, bias = array.layout.parts(matrix)
            self.weights[i].copy_(weight)
            if bias is not None:
                self.biases[i].copy_(bias)

    @torch.no_grad()
    def pair_sums(self) -> tuple[Tensor, ...]:
        """Sums of both devices of the pairs of layers 1..L, without the noise of a read.

        With the weights, which are their differences, they tell the conductances. Columns with a
        scale of their own are shrunk to that of their layer.

        Returns:
            G+ + G-, (outputs, inputs + 1) each, bias last, in siemens.

        Raises:
            UserError: weights that aren't one differential pair each, or biases that aren't one
                row.
        """
        out = []
        for i, array in enumerate(self.arrays, start=1):
            if array.layout.mapping.bias_rows != 1:
                raise UserError(
                    f"layer {i}: {array.layout.mapping.bias_rows} bias rows; 1 is needed"
                )
            total, scale = array.pair_sums(self.time), array.layout.scale
            alike = bool((scale == scale[0]).all())
            out.append(total if alike else total * (scale / scale.max()))
        return tuple(out)

    def hidden_state(self) -> State:
        """Devices, their time and the streams of random numbers; see `Network.hidden_state`."""
        found: State = {"time": self.time}
        for name, source in self.sources._asdict().items():
            found[f"generators/{name}"] = source.get_state()
        for i, array in enumerate(self.arrays):
            found |= inside(f"arrays/{i + 1}", array.state())
            if i in self._conductances:
                found[f"read/{i + 1}"] = self._conductances[i].clone()
        return found

    def load_hidden_state(self, state: Map[str, Tensor | int | float]) -> None:
        """Go on where another network of the same devices was; see `Network.load_hidden_state`.

        Args:
            state: of its `hidden_state`.

        Raises:
            StateError: a part is missing, belongs to nothing here, or has another shape or type.
        """
        new = checked(state, self.hidden_state())
        for i, array in enumerate(self.arrays):
            array.load_state(part(f"arrays/{i + 1}", new))
            read = new.get(f"read/{i + 1}")
            if isinstance(read, Tensor):
                self._conductances[i] = read.clone()
        for name, source in self.sources._asdict().items():
            key = f"generators/{name}"
            set_generator(key, source, new[key])
        self.time = float(new["time"])

    def get_extra_state(self) -> dict[str, Tensor | int | float | str]:
        """All that the network is beside its weights, its model and its mapping."""
        found = self.hidden_state()
        for i, array in enumerate(self.arrays, start=1):
            found |= inside(f"drawn/{i}", array.drawn())
        return {**found, **self._made_of()}

    def set_extra_state(self, state: Map[str, Tensor | int | float | str]) -> None:
        """Become the network whose state it is.

        Args:
            state: of its `get_extra_state`.

        Raises:
            StateError: other devices or another mapping; a part is missing, belongs to nothing
                here, or has another shape or type.
        """
        made = self._made_of()
        for key, here in made.items():
            if state.get(key, here) != here:
                raise StateError(key, f"is {state[key]}; this network's is {here}")
        new = {k: v for k, v in state.items() if not isinstance(v, str)}
        hidden = {k: v for k, v in new.items() if not k.startswith("drawn/")}
        checked(hidden, self.hidden_state())
        drawn = [part(f"drawn/{i}", new) for i in range(1, self.depth + 1)]
        for array, of_array in zip(self.arrays, drawn, strict=True):
            array.check_drawn(of_array)
        for array, of_array in zip(self.arrays, drawn, strict=True):
            array.load_drawn(of_array)
        self.load_hidden_state(hidden)

    def _made_of(self) -> dict[str, str]:
        """What has to be the same for the devices of one network to be those of another."""
        array = self.arrays[0]
        return {"model": array.model.sha256, "mapping": repr(array.layout.mapping)}

    def _load_from_state_dict(self, state_dict: Map[str, Any], prefix: str, *args: Any) -> None:
        if f"{prefix}{EXTRA_STATE}" not in state_dict:
            raise UserError(
                "this state holds no devices, so that the next read would bring the present ones "
                "back: load it into a Network, and put that on devices with analog(network, card, "
                "seed)"
            )
        super()._load_from_state_dict(state_dict, prefix, *args)

    def tables(self) -> dict[str, dict[str, Column]]:
        """Every device of `layer1`..`layerL`, for `write_csv` and `write_hdf5`; see `table`."""
        return {
            f"layer{i}": table(array.layout, array.devices.target, array.model, array.devices)
            for i, array in enumerate(self.arrays, start=1)
        }

    def run(self, x: Tensor) -> Forward:
        """Signals of all layers without feedback, through the converters where there are any.

        The converters cross the forward pass only; the control loop of a rule is analog.

        Args:
            x: input r_0, (batch, n_0).
        """
        if self.dac is None and self.adc is None:
            return super().run(x)
        v: list[Tensor] = []
        r = [x]
        for i, phi in enumerate(self.activations):
            v.append(self._converted(i, r[-1]))
            r.append(phi.function(v[-1]))
        return Forward(tuple(v), tuple(v), tuple(r))

    def _converted(self, i: int, r: Tensor) -> Tensor:
        source = self.sources.converters
        weight, bias, layout = self.weights[i], self.biases[i], self.arrays[i].layout
        if self.dac is not None:
            r = self.dac(r, source)
        out = linear(r, weight, bias)
        if self.adc is None:
            return out
        adc: Callable[[Tensor], Tensor] = partial(self.adc, generator=source)
        with torch.no_grad():
            digital = layout.product(self._conductances[i], r, adc=adc)
            if not layout.mapping.bias_rows:
                digital = digital + bias
        # The gradient is that of the product of the last read.
        return out + (digital - out).detach()


def analog(
    network: Network,
    card: DeviceCard | DeviceModel | str | Path,
    seed: int,
    *,
    mapping: Mapping | None = None,
    dac: DAC | None = None,
    adc: ADC | None = None,
    stuck: Map[int, Sequence[Cell]] | None = None,
) -> AnalogNetwork:
    """The network on arrays of devices, programmed at time 0 and read once.

    Args:
        network: its weights are the targets; it stays as it is.
        card: the device: a card, its name or path, or a model with some imperfections left out.
        seed: of every random number: devices, writes, reads, pulses; >= 0.
        mapping: how the weights are laid out; by default differential pairs, one scale a layer
            and one bias row.
        dac: converter of the inputs of each layer; None for a fully analog path.
        adc: converter of each array's columns, in units of the layer's scale; None for none.

        stuck: known stuck cells by layer, 1..L, beside those that are drawn.

    Raises:
        UserError: an unknown card, a negative seed, weights that the arrays can't hold, a stuck
            cell outside of its array.

    >>> from analogdfc.network import Forward, Network
    >>> source = torch.Generator().manual_seed(0)
    >>> network = analog(Network([3, 4, 2], generator=source), "pcm_nandakumar2019", seed=1)
    >>> network.wait(3600.0)
    >>> network.read()
    >>> network(torch.ones(1, 3, dtype=torch.float64)).shape
    torch.Size([1, 2])
    """
    check_network(network)
    if seed < 0:
        raise UserError(f"seed {seed}: a seed must be >= 0")
    if isinstance(card, str | Path):
        card = DeviceCard.load(card)
    model = card.model() if isinstance(card, DeviceCard) else card
    return AnalogNetwork(
        network, model, seed, mapping=mapping or Mapping(), dac=dac, adc=adc, stuck=stuck
    )

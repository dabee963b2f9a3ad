"""What the commands share: from options to a network, samples and a design."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click
from click.core import ParameterSource
from tqdm import tqdm

from analogdfc.cards.quantities import quantity
from analogdfc.cards.technology import Card
from analogdfc.cases import Stimuli, example, stimuli_for, stored
from analogdfc.circuit.design import Design, Readout
from analogdfc.circuit.devices import Devices
from analogdfc.cli._options import CHIP_SEED, SEED, Control, Finite, as_options, bundled, refuse
from analogdfc.errors import UserError
from analogdfc.kits import CORNERS, KITS, Corner, Kit, get_kit
from analogdfc.network import Network
from analogdfc.spice.own import DEVICE, OwnDevice
from analogdfc.spice.testbench import USUAL_CELSIUS
from analogdfc.storage import Model
from analogdfc.study import Condition

SIZES = (16, 10, 10)

_Command = TypeVar("_Command", bound=Callable[..., Any])


class Sizes(click.ParamType[tuple[int, ...]]):
    """Layer sizes such as 16-10-10."""

    name = "N-N-N"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, ...]:
        """Parse the text; fails with what is allowed."""
        if isinstance(value, tuple):
            return value
        try:
            sizes = tuple(int(part) for part in str(value).split("-"))
        except ValueError:
            sizes = ()
        if len(sizes) < 2 or min(sizes) < 1:
            self.fail(f"{value!r}: write at least two numbers >= 1, such as 16-10-10", param, ctx)
        return sizes


class Duration(click.ParamType[float]):
    """A time with its unit, such as 1h or '20 s', in seconds."""

    name = "DURATION"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Parse the text; fails with what is allowed."""
        if isinstance(value, float):
            return value
        try:
            return quantity(str(value), "s")
        except ValueError as error:
            self.fail(f"{error}; write a number and a unit, such as 1h or '20 s'", param, ctx)


TARGET_STEPSIZE = click.option(
    "--target-stepsize",
    type=Finite(min=0, min_open=True),
    help="Stepsize lambda of the output target, for held-out images; for random inputs the rms of "
    "the target steps.  [default: 0.25; 0.15]",
)
"""How far the target of a sample lies from the output."""

ENGINE = click.option(
    "--engine",
    "--backend",
    "engine",
    type=click.Choice(["auto", "ngspice", "shared", "batch", "vacask"]),
    default="auto",
    show_default=True,
    help="The simulator: ngspice through PySpice's shared library (shared) or as `ngspice -b` "
    "(batch), of which 'ngspice' and 'auto' take the first that is there; or VACASK.",
)
SOLVER = click.option(
    "--solver",
    type=click.Choice(["auto", "klu", "sparse"]),
    default="auto",
    show_default=True,
    help="How ngspice solves its linear equations; by default with KLU where it has it, and with "
    "Sparse where KLU fails, which the result says.",
)
TIME_LIMIT = click.option(
    "--time-limit",
    type=Finite(min=1),
    default=600.0,
    show_default=True,
    help="Seconds that one circuit simulation may take.",
)
"""What commands that run ngspice have in common."""

JSON = click.option("--json", "as_json", is_flag=True, help="Print the numbers for machines.")


@dataclass(frozen=True)
class Switches:
    """How a design uses its window and is read.

    Attributes:
        scaling: whether conductances are scaled down to fit the window.
        double_sampling: whether the free phase is subtracted from the update.
        auto_zero: whether the controller's offset is stored and subtracted.
        relative_target: whether the target is relative to the measured free output.
    """

    scaling: bool
    double_sampling: bool
    auto_zero: bool
    relative_target: bool


def design_options(command: _Command) -> _Command:
    """The options that make a design; adds them to a command, the last four as `switches`."""
    options = [
        click.option(
            "--weights",
            type=click.Path(path_type=Path),
            help="Network from the group 'network' of an HDF5 file, instead of training one.",
        ),
        click.option(
            "--sizes",
            type=Sizes(),
            help="Neurons of each layer, input first. A network from 16 or 64 inputs to 10 outputs "
            "is trained on handwritten digits; any other has random weights.  [default: 16-10-10]",
        ),
        click.option(
            "--card",
            default="discrete_100mhz",
            show_default=True,
            help="Technology card: a name that comes with the package or the path of a TOML file. "
            "With update_pulses, update_multiplier and update_digital an update path of the "
            "circuit forms the update.",
        ),
        click.option(
            "--seed",
            type=SEED,
            default=0,
            show_default=True,
            help="Seed of the initial weights, the order of samples and the inputs; of the chip "
            "too, without --chip-seed.",
        ),
        CHIP_SEED,
        click.option(
            "--scaling/--no-scaling",
            default=True,
            show_default=True,
            help="Scale a layer's conductances down when its weights don't fit the window; without "
            "it such weights are an error.",
        ),
        click.option(
            "--double-sampling/--no-double-sampling",
            default=True,
            show_default=True,
            help="Subtract the free phase from the update.",
        ),
        click.option(
            "--auto-zero/--no-auto-zero",
            default=True,
            show_default=True,
            help="Store and subtract the controller's offset of the free phase.",
        ),
        click.option(
            "--relative-target/--absolute-target",
            default=True,
            show_default=True,
            help="Target relative to the measured free output, or to the ideal network's output.",
        ),
    ]
    command = bundled("switches", Switches)(command)
    for option in reversed(options):
        command = option(command)
    return command


def device_options(command: _Command) -> _Command:
    """The options that put a design on devices; adds them to a command."""
    options = [
        click.option(
            "--devices",
            metavar="CARD",
            help="Device card of the crossbars: a name that `analogdfc cards` lists or the path of "
            "a TOML file. Its window, levels, programming, drift, faults and read noise take the "
            "place of the technology card's.  [default: the technology card's]",
        ),
        click.option(
            "--age",
            type=Duration(),
            default="0 s",
            show_default=True,
            help="Time since the devices were programmed, such as 1h; needs --devices.",
        ),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def own_cells(given: Sequence[str], parameter: str | None = None) -> dict[str, Path | OwnDevice]:
    """Files by the name of the cell whose place they take, as `cell_options` have them."""
    found: dict[str, Path | OwnDevice] = {}
    for text in given:
        name, equals, file = text.partition("=")
        if not (name and equals and file) or name in found:
            raise UserError(f"--cell {text!r}: a cell and one file, such as opamp=my_opamp.lib")
        found[name] = Path(file)
    device = found.pop(DEVICE, None)
    if parameter is not None and device is None:
        raise UserError("--device-parameter: there is no device; --cell device=FILE.va names one")
    if isinstance(device, Path):
        name, equals, value = (parameter or "g").partition("=")
        found[DEVICE] = OwnDevice(device, name.strip(), value if equals else "g")
    return found


def cell_files(own: Mapping[str, Path | OwnDevice]) -> list[Path]:
    """The files of cells of one's own."""
    return [Path(one.file) if isinstance(one, OwnDevice) else one for one in own.values()]


CELLS = click.option(
    "--cell",
    "cells",
    multiple=True,
    metavar="NAME=FILE",
    help="Your own in the place of a cell, with its pins and parameters: a SPICE subcircuit, such "
    "as opamp=my_opamp.lib, or a module of Verilog-A, opamp=my_opamp.va. In a circuit with "
    "crossbars device=my_device.va takes the place of their conductances. May be given several "
    "times.",
)
"""Cells of one's own."""


def cell_options(command: _Command) -> _Command:
    """The options that put cells of one's own into a circuit; adds them to a command."""
    options = [
        CELLS,
        click.option(
            "--device-parameter",
            metavar="NAME=EXPRESSION",
            help="What a device of --cell device=FILE.va is given: a parameter of its module, and "
            "an expression of the conductance g in siemens, such as 'x0=ln(1e-4/g)/ln(100)'.  "
            "[default: g=g]",
        ),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def pdk_options(command: _Command) -> _Command:
    """The options that say of which process transistors are; adds them to a command."""
    options = [
        click.option(
            "--pdk",
            type=click.Choice(list(KITS)),
            help="Process kit of cells at level transistor; its card is then the default. That of "
            "a foundry must be installed; 'generic' has textbook numbers.",
        ),
        click.option(
            "--corner",
            type=click.Choice(CORNERS),
            default="typical",
            show_default=True,
            help="Corner of the process, NMOS first; needs --pdk.",
        ),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def condition_options(command: _Command) -> _Command:
    """The options that say where one chip works, beside the corner; adds them to a command."""
    return TEMPERATURE(SUPPLY(command))


TEMPERATURE = click.option(
    "--temperature",
    type=Finite(min=-55, max=175),
    default=USUAL_CELSIUS,
    show_default=True,
    help="Temperature of the circuit in degrees Celsius, which transistors know, and models the "
    "drift of the card's tanh cells; needs --pdk.",
)
SUPPLY = click.option(
    "--supply",
    type=Finite(min=0, min_open=True),
    help="Magnitude of either supply in volts: moves the amplifiers' rails, and in transistors "
    "all that follows it.  [default: the card's]",
)


def make_condition(corner: Corner, temperature: float, supply: float | None) -> Condition:
    """Where a chip works, as the options say."""
    if click.get_current_context().params["pdk"] is None:
        refuse("without --pdk there are no transistors, which alone know it", "temperature")
    return Condition(corner, temperature, supply)


def make_kit(fidelity: str, pdk: str | None, corner: Corner, card: str) -> tuple[Kit | None, str]:
    """The process kit that the options ask for, and the card, which is the kit's by default."""
    if (fidelity == "transistor") != (pdk is not None):
        raise UserError(
            "--fidelity transistor and --pdk go together: name a process kit, one of "
            f"{', '.join(KITS)}, for transistors, and none for other cells"
        )
    if pdk is None:
        if corner != "typical":
            raise UserError("--corner: without --pdk there is no process that has corners")
        return None, card
    context = click.get_current_context()
    if context.get_parameter_source("card") is ParameterSource.DEFAULT:
        card = context.params["card"] = pdk  # a record of the settings has it too
    return get_kit(pdk, corner), card


def read_card(name: str) -> Card:
    """The card that an option names."""
    return Card.load(name)


def read_devices(name: str | None, age: float) -> Devices | None:
    """The devices that the options name."""
    if name is None:
        if age != 0:
            raise UserError("--age: without --devices there is nothing that ages")
        return None
    return Devices.of(name, age)


def make_model(
    weights: Path | None,
    sizes: tuple[int, ...] | None,
    seed: int,
    control: Control | None = None,
) -> tuple[Model, str]:
    """The network that the options ask for, and what it is, for people."""
    if weights is not None and sizes is not None:
        raise UserError(f"--sizes: the network comes from {weights}; give only one of the two")
    if weights is None:
        with Bars() as bars:
            model, origin = example(sizes or SIZES, seed, bars.show)
    else:
        model, origin = stored(weights)
    if control is not None:
        controller, tau_v = control.applied(model.controller, model.tau_v)
        model = model._replace(controller=controller, tau_v=tau_v)
    return model, origin


def make_stimuli(network: Network, count: int, seed: int, stepsize: float | None) -> Stimuli:
    """The samples that the options ask for; see `stimuli_for`."""
    with as_options("target_stepsize"):
        return stimuli_for(network, count, seed, stepsize)


def make_design(
    model: Model,
    card: Card,
    switches: Switches,
    devices: Devices | None = None,
) -> Design:
    """Place a model on a card with the readout and the devices that the options ask for."""
    return Design.of(
        model.network,
        model.feedback,
        card,
        controller=model.controller,
        tau_v=model.tau_v,
        readout=Readout(switches.double_sampling, switches.auto_zero, switches.relative_target),
        scaling=switches.scaling,
        devices=devices,
    )


def progress_bar(what: str, total: int) -> tqdm[Any]:
    """A progress bar on standard error, absent where that isn't a terminal."""
    return tqdm(total=total, desc=what, file=sys.stderr, disable=None, leave=False)


class Bars:
    """One progress bar after another, each by the name of what is being done."""

    def __init__(self) -> None:
        self._bar: tqdm[Any] | None = None
        self._name = ""

    def __enter__(self) -> Bars:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def show(self, name: str, done: int, total: int) -> None:
        """Move the bar of `name` to `done`, and close that of anything else."""
        if self._bar is None or name != self._name:
            self.__exit__()
            self._bar, self._name = progress_bar(name, total), name
        self._bar.update(done - self._bar.n)

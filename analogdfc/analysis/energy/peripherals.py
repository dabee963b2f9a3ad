"""Energy at the border of the loop: converters, and the pulses that write the weights."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from analogdfc.analysis.energy.items import CONTROLLER, CONVERTERS, WRITES, Energy, layer_name
from analogdfc.cards.technology import Card
from analogdfc.circuit.chip import Chip
from analogdfc.circuit.conductances import conductances
from analogdfc.circuit.design import Design
from analogdfc.dynamics import Update
from analogdfc.errors import UserError
from analogdfc.updating.costs import Item, energy_items, no_path, verify_items


def _missing(section: str, values: dict[str, float | None]) -> str:
    """What a card lacks for an item; empty if nothing."""
    keys = [key for key, value in values.items() if value is None]
    if not keys:
        return ""
    return f"[{section}] {' and '.join(keys)} {'is' if len(keys) == 1 else 'are'} missing"


def converters(design: Design, card: Card | None = None) -> Energy:
    """Energy of the conversions of one sample.

    Each input is converted once to drive its rails, for the whole run; each output is read once,
    in the free phase, and gets one target step. The bias rails are constant. Weight updates stay on
    the chip.

    Args:
        design: the design.
        card: energies of a conversion, in joules; by default the design's.

    Returns:
        Parts 'layer 1' (inputs) and 'controller' (targets, outputs), tensors of shape (1,);
        or the whole item unknown where a key of [converters] is missing.
    """
    section = (card or design.card).converters
    values = {key: getattr(section, key) for key in ("input_dac", "target_dac", "output_adc")}
    if lacks := _missing("converters", values):
        return Energy({}, {CONVERTERS: lacks})
    n_in, n_out = design.sizes[0], design.sizes[-1]
    outputs = n_out * (values["target_dac"] + values["output_adc"])
    return Energy(
        {
            (CONVERTERS, layer_name(1)): _joules(n_in * values["input_dac"]),
            (CONVERTERS, CONTROLLER): _joules(outputs),
        }
    )


def _joules(value: float) -> Tensor:
    return torch.tensor([value], dtype=torch.float64)


def update_path(chip: Chip, duration: float) -> Energy:
    """Energy of the update path of one sample.

    Args:
        chip: the chip.
        duration: length of the controlled phase, in seconds.

    Returns:
        Parts 'layer 1'..'layer L', tensors of shape (1,); what the card lacks is unknown, the
        whole path where it has none.
    """
    path = chip.circuit.update
    if path is None:
        return Energy({}, no_path())
    return _told(energy_items(path, duration))


def verifies(design: Design, pulses: Sequence[float] | None) -> Energy:
    """Energy of the looks at the devices after the pulses of a sample, with a digital product.

    Args:
        design: the design.
        pulses: of a sample, on the devices of layers 1..L; None where they aren't known.

    Returns:
        Parts 'layer 1'..'layer L', tensors of shape (1,), or the item unknown; nothing where
        nobody looks.
    """
    return _told(verify_items(design.card, pulses))


def _told(found: Iterable[Item]) -> Energy:
    items, unknown = {}, {}
    for component, part, joules, lacks in found:
        if joules is None:
            unknown[component] = f"{lacks} missing"
        else:
            items[component, part] = _joules(joules)
    return Energy(items, unknown)


def weight_steps(design: Design) -> tuple[float, ...]:
    """Weight per pulse in the forward crossbars of layers 1..L, dimensionless.

    Over the siemens per unit of weight of the layer: the mean step of a pulse, where the devices
    have pulses, else (g_max - g_min) / (levels - 1).

    Raises:
        UserError: there are neither pulses nor levels.
    """
    window = design.window
    pulses = None if design.devices is None else design.devices.model.pulses
    if pulses is not None:
        step = pulses.mean_step(window)
    elif window.levels is not None:
        step = window.span / (window.levels - 1)
    else:
        keys = "[device] levels is" if design.devices is None else "[device] levels and [pulse] are"
        whose = "card" if design.devices is None else "card of the devices"
        raise UserError(f"{keys} missing in the {whose}, so the step of a pulse is unknown")
    return tuple(step / design.weight_unit(i) for i in range(1, design.depth + 1))


def pulses_per_update(
    update: Update, learning_rate: float, step: float | Sequence[float]
) -> tuple[Tensor, ...]:
    """Expected number of pulses that write the update of each sample, sum |eta dw| / step.

    Weights and biases move in whole steps, rounded up or down at random with the probability that
    makes the mean exact (stochastic rounding, Gupta et al. 2015, sec. 3.1): on average |dw| / step
    pulses, however small the change.

    Args:
        update: weight changes of single samples before the learning rate.
        learning_rate: eta, >= 0; where the update of a batch is the mean over its samples and is
            written once, this is an upper bound, since changes of opposite sign cancel.
        step: smallest programmable step, in units of weight; one, or one a layer (see
            `weight_steps`).

    Returns:
        One tensor a layer, (batch,).

    Raises:
        UserError: a negative learning rate, a step that isn't positive, or another number of steps
            than of layers.
    """
    depth = len(update.weights)
    steps = (float(step),) * depth if isinstance(step, int | float) else tuple(step)
    if len(steps) != depth:
        raise UserError(f"{len(steps)} weight steps for {depth} layers; give one, or one a layer")
    if not learning_rate >= 0 or not all(s > 0 for s in steps):
        raise UserError(
            f"learning_rate = {learning_rate}, step = {step}: the rate must be >= 0, steps > 0"
        )
    layers = zip(update.weights, update.biases, steps, strict=True)
    return tuple(
        learning_rate * (w.abs().sum(dim=(-2, -1)) + b.abs().sum(dim=-1)) / s for w, b, s in layers
    )


def writes(design: Design, pulses: Sequence[Tensor | float], card: Card | None = None) -> Energy:
    """Energy of the pulses that change the weights, N V^2 G t_w.

    G is the mean conductance of both devices of all pairs in the layer's forward crossbar. What the
    pulse's drivers and half-selected devices take is not in it.

    Args:
        design: the design.
        pulses: number of pulses in layers 1..L, each a number or (batch,).
        card: voltage and duration of a pulse; by default the design's.

    Returns:
        Parts 'layer 1'..'layer L', (batch,) or (1,); or the item unknown where a key of [write] is
        missing.

    Raises:
        UserError: another number of layers, or a negative or non-finite number of pulses.
    """
    if len(pulses) != design.depth:
        raise UserError(f"pulses of {len(pulses)} layers for a network of {design.depth}")
    counts = [torch.as_tensor(n, dtype=torch.float64).reshape(-1) for n in pulses]
    for i, count in enumerate(counts, start=1):
        if not bool((torch.isfinite(count) & (count >= 0)).all()):
            raise UserError(f"pulses of layer {i}: numbers must be finite and >= 0")
    section = (card or design.card).write
    if lacks := _missing("write", {"voltage": section.voltage, "duration": section.duration}):
        return Energy({}, {WRITES: lacks})
    assert section.voltage is not None
    assert section.duration is not None
    per_siemens = section.voltage**2 * section.duration
    items = {}
    for i, count in enumerate(counts, start=1):
        plus, minus = conductances(design, i, "forward", None)
        mean = float((plus.mean() + minus.mean()) / 2)
        items[WRITES, layer_name(i)] = count * (per_siemens * mean)
    return Energy(items)

"""What a comparison of inversions leaves: numbers, waveforms for the record, and a figure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from analogdfc import records
from analogdfc.drawing import Figure, headed, new_figure, own_settings
from analogdfc.findings import comparison_numbers
from analogdfc.inverting.cost import LEFT_OUT, InversionEstimate
from analogdfc.inverting.design import InversionDesign
from analogdfc.inverting.runs import InversionRun
from analogdfc.inverting.study import InversionResult
from analogdfc.plots import STYLES, about, label
from analogdfc.records import Quantity

__all__ = ["cost_numbers", "inversion_figure", "numbers", "runs_tree"]

_MEANING = {
    "delta": "error delta of layer {i}, dimensionless: volts over [scale] activation",
    "u": "control signal of the controller of layer {i}, dimensionless: volts over [scale] control",
    "e": "what the answer of layer {i} lacks of its target, dimensionless: as u",
}


def numbers(result: InversionResult) -> dict[str, Any]:
    """The results, with units in the names.

    Args:
        result: of a study.
    """
    out: dict[str, Any] = {
        f"{c.kind}: {c.other} against {c.reference}": comparison_numbers(c)
        for c in result.comparisons
    }
    if made := {name: run.made_by for name, run in result.runs.items() if run.made_by}:
        out["simulators"] = made
    return out | records.remarks_tree(result.remarks)


def cost_numbers(found: InversionEstimate) -> dict[str, Any]:
    """What a backward pass costs, with units in the names.

    Args:
        found: the estimate.
    """
    energy, area = found.energy, found.area
    pulses: dict[str, Any] = {}
    if found.pulses is not None:
        of_layers = {f"layer {i}": n for i, n in enumerate(found.pulses, start=1)}
        pulses = {"pulses_per_sample": of_layers}
    names = [", ".join(link.name for link in links) for links in found.design.circuits]
    return {
        "left_out": LEFT_OUT,
        "settle_us": {
            name: 1e6 * seconds for name, seconds in zip(names, found.settle_times, strict=True)
        },
        "sample_us": 1e6 * found.seconds,
        "energy_per_sample_joule": found.joules,
        "mean_power_watt": found.watts,
        "update_angle_degree": found.update_angle,
        "required_accuracy_degree": found.accuracy,
        "settle_waits_for": found.until,
        "energy_by_component_joule": {k: float(v) for k, v in energy.by_component().items()},
        "energy_by_part_joule": {k: float(v) for k, v in energy.by_part().items()},
        "energy_unknown": dict(energy.unknown),
        "area_note": area.note,
        "area_by_component_square_metre": area.by_component(),
        "area_by_part_square_metre": area.by_part(),
        "area_total_square_metre": area.total,
        "area_unknown": dict(area.unknown),
        **pulses,
    }


def runs_tree(
    design: InversionDesign, x: Tensor, runs: Mapping[str, InversionRun]
) -> dict[str, Any]:
    """The branch 'runs' of a record: waveforms and updates.

    Args:
        design: what ran.
        x: inputs, (batch, n_0).
        runs: by name of the realisation.
    """
    return {name: _tree(design, x, run) for name, run in runs.items()}


def _tree(design: InversionDesign, x: Tensor, run: InversionRun) -> dict[str, Any]:
    seconds = (run.t * design.seconds).numpy()
    out: dict[str, Any] = {
        "t": Quantity(seconds, "s", "time after the release of each circuit", ("time",)),
        "target": Quantity(run.target.numpy(), "1", "error at the output", ("sample", "output")),
    }
    if run.made_by:
        out["simulator"] = run.made_by
    for name, wave in run.signals.items():
        kind = name.rstrip("0123456789")
        what = _MEANING[kind].format(i=name.removeprefix(kind))
        out[name] = Quantity(wave.numpy(), "1", what, ("sample", "time", "neuron"))
        free = f"{what}, before the release"
        out[f"{name}_free"] = Quantity(run.free[name].numpy(), "1", free, ("sample", "neuron"))
    update = run.update(design, x)
    for i, (w, b) in enumerate(zip(update.weights, update.biases, strict=True), start=1):
        what = f"update of {{}}{i} before a learning rate, of delta{i} at the end"
        dims = ("sample", "to neuron", "from neuron")
        out[f"dW{i}"] = Quantity(w.numpy(), "1", what.format("W"), dims)
        out[f"db{i}"] = Quantity(b.numpy(), "1", what.format("b"), dims[:2])
    return out


@own_settings()
def inversion_figure(
    design: InversionDesign,
    runs: Mapping[str, InversionRun],
    seeds: tuple[int, int | None],
) -> Figure:
    """Errors and control signals of several realisations on top of each other.

    Args:
        design: what ran, for the scale of time.
        runs: by name of the realisation; the first is the reference.
        seeds: of the samples and of the chip, for the heading.
    """
    reference = next(iter(runs.values()))
    sample = int(reference.target.norm(dim=1).argmax())
    names = [name for name in reference.signals if name[0] != "e"]
    rows = [[n for n in names if n.startswith(kind)] for kind in ("delta", "u")]
    columns = max(map(len, rows))
    figure = new_figure(4 * columns + 1, 7)
    axes = figure.subplots(2, columns, squeeze=False)
    first, *rest = about(design, seeds)
    headed(figure, f"{first}; sample {sample + 1} of {len(reference.target)}", *rest)
    micro = reference.t * design.seconds * 1e6
    for row, found in enumerate(rows):
        for column, name in enumerate(sorted(found)):
            panel = axes[row, column]
            for k, (realisation, run) in enumerate(runs.items()):
                colour, line, width = STYLES[k % len(STYLES)]
                style: dict[str, Any] = {"color": colour, "linestyle": line, "linewidth": width}
                wave = run.signals[name][sample] - run.free[name][sample]
                largest = reference.signals[name][sample].abs().amax(dim=0).argsort()[-2:]
                for n, which in enumerate(largest.tolist()):
                    panel.plot(micro, wave[:, which], **style, label=realisation if not n else None)
            label(panel, f"{name}, the two largest", "time after the release (us)", "dimensionless")
        for column in range(len(found), columns):
            axes[row, column].set_visible(False)
    axes[0, 0].legend(fontsize="small")
    return figure

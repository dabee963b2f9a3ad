"""What `train` says of a training: its table, its lines, its numbers."""

from __future__ import annotations

import math
from typing import Any

from rich.table import Table

from analogdfc.arrays.optimizer import PulsedUpdate
from analogdfc.cli._angles import angles_table
from analogdfc.cli._console import make_console
from analogdfc.learning.base import name_of
from analogdfc.onchip.registry import HardwareDFC
from analogdfc.training import Experiment, Metrics, Trainer
from analogdfc.training.loop import FORWARD

_LEGEND = """\
loss: of a sample; train: mean during the epoch. error: wrong answers.
best: the epoch with the best validation figure."""


def numbers_of(trainer: Trainer, experiment: Experiment) -> dict[str, Any]:
    """The numbers of the table, with units in the names; None for those that there aren't."""
    out: dict[str, Any] = {
        "rule": name_of(trainer.rule),
        "dataset": experiment.dataset,
        "network": "-".join(map(str, experiment.sizes)),
        "seed": experiment.seed,
        "epochs": len(trainer.history),
        "best_epoch": trainer.best.epoch if trainer.best else None,
        "loss_unit": f"of a sample, sum over {_outputs(experiment)}",
    }
    if experiment.substrate is not None:
        out["substrate"] = str(experiment.substrate)
    if notes := trainer.rule.notes():
        out["notes"] = notes
    if trainer.angles is not None:
        for name, layers in trainer.angles.found.means().items():
            for i, angle in enumerate(layers, start=1):
                out[f"angle_{name}_layer{i}_deg"] = _known(angle)
    if isinstance(trainer.rule, HardwareDFC):
        out["held_out_samples_by"] = trainer.rule.way.judged
    if isinstance(update := trainer.optimizers[FORWARD], PulsedUpdate):
        out["changes_cut_off"], out["changes_of_devices"] = update.cut_off
    last = trainer.history[-1] if trainer.history else None
    for prefix, metrics in (("", last), ("best_", trainer.best)):
        for part in Metrics._fields[1:]:
            score = getattr(metrics, part) if metrics else None
            out[f"{prefix}{part}_loss"] = _known(score.loss) if score else None
            out[f"{prefix}{part}_error_percent"] = _known(100 * score.error) if score else None
    return out


def _outputs(experiment: Experiment) -> str:
    return f"{experiment.sizes[-1]} outputs"


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value


def progress_of(trainer: Trainer) -> str:
    """How far a training is, for people."""
    feedback = trainer.plan.feedback
    if not trainer.history and feedback is not None and feedback.pretraining_epochs:
        return f"pre-training epoch {trainer.pretrained} of {feedback.pretraining_epochs}"
    return f"epoch {len(trainer.history)} of {trainer.plan.epochs}"


def epoch_line(trainer: Trainer) -> str:
    """One line about the epoch that is just complete."""
    if not trainer.history:
        return progress_of(trainer)
    last = trainer.history[-1]
    figures = [
        f"{part} {score.loss:.4g}" + ("" if math.isnan(score.error) else f" ({score.error:.2%})")
        for part, score in zip(Metrics._fields[1:], last[1:], strict=True)
        if not math.isnan(score.loss)
    ]
    what = "loss (wrong answers)" if trainer.classes else "loss"
    return f"{progress_of(trainer)}, {what}: " + ", ".join(figures)


def title(experiment: Experiment) -> str:
    """What is trained, on one line."""
    found = f"{experiment.dataset}, {'-'.join(map(str, experiment.sizes))}, {experiment.rule}"
    if experiment.switch is not None:
        found += f" and from epoch {experiment.switch.after + 1} {experiment.switch.rule}"
    if experiment.controlled:
        found += f", {experiment.feedback} feedback"
    if experiment.substrate is not None:
        found += f", {experiment.substrate}"
    return f"{found}, seed {experiment.seed}"


def show(trainer: Trainer, experiment: Experiment, found: dict[str, Any]) -> None:
    """Print the table."""
    console = make_console()
    rows = {
        "loss": (f"1, sum over {_outputs(experiment)}", "{part}_loss", "{:.4g}"),
        "error": ("%", "{part}_error_percent", "{:.2f}"),
    }
    console.print(title(experiment), highlight=False, soft_wrap=True)
    table = Table()
    table.add_column("epoch", no_wrap=True)
    table.add_column("figure", no_wrap=True)
    table.add_column("unit", no_wrap=True)
    for part in Metrics._fields[1:]:
        table.add_column(part, justify="right", no_wrap=True)
    epochs = {"": f"{found['epochs']}, last"}
    if found["best_epoch"] is not None:
        epochs["best_"] = f"{found['best_epoch']}, best"
    for prefix, name in epochs.items():
        for what, (unit, key, form) in rows.items():
            values = [found[prefix + key.format(part=part)] for part in Metrics._fields[1:]]
            if any(value is not None for value in values):
                table.add_row(
                    name, what, unit, *("" if v is None else form.format(v) for v in values)
                )
        table.add_section()
    console.print(table)
    if trainer.angles is not None:
        console.print(angles_table(trainer.angles.found))
    console.print(_LEGEND, style="dim", highlight=False, soft_wrap=True)
    if judged := found.get("held_out_samples_by"):
        console.print(f"validation, test: {judged}", highlight=False, soft_wrap=True)
    if changes := found.get("changes_of_devices", 0):
        cut = found["changes_cut_off"]
        text = f"{changes} changes of devices, {cut} ({cut / changes:.2%}) cut off at their window"
        console.print(text, highlight=False, soft_wrap=True)
    for note in found.get("notes", []):
        console.print(note, markup=False, highlight=False, soft_wrap=True)

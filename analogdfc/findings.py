"""What a study finds, as trees of numbers for records and for machines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from analogdfc import records
from analogdfc.cases import Stimuli
from analogdfc.circuit.averages import Ending
from analogdfc.circuit.design import Design
from analogdfc.comparison import Cause, Comparison, StepError
from analogdfc.dynamics import Trajectory
from analogdfc.recorded import angles_tree, trajectory_tree
from analogdfc.storage import Model, model_tree

__all__ = ["Findings", "comparison_numbers", "inputs_tree"]


def inputs_tree(
    model: Model, design: Design, seeds: tuple[int, int], stimuli: Stimuli
) -> dict[str, Any]:
    """What goes into a study, for its record.

    Args:
        model: the network with its control loop.
        design: what was made of it.
        seeds: of the network and what it is tried on, and of the chip.
        stimuli: what it is tried on.
    """
    return {
        "provenance": records.provenance(),
        "seed": seeds[0],
        "chip_seed": seeds[1],
        "card": design.card.text,
        **({} if design.devices is None else {"devices": design.devices.tree()}),
        "readout": asdict(design.readout),
        "network": model_tree(model),
        "samples": stimuli.tree(),
    }


@dataclass(frozen=True)
class Findings:
    """What laying the realisations of a design side by side gives.

    Attributes:
        runs: the trajectories by name of the realisation.
        comparisons: of pairs of them.
        slowest_mode: largest real part of the loop's eigenvalues, in 1 / (unit of the controller's
            time); None where the chip was not looked at.
        angle: of the chip's update to the ideal one, in degrees; None where no causes were sought.
        causes: what turns it, by size.
        ends: where each run has got to, in words.
        remarks: what is unusual, a sentence each.
        step_errors: what the time steps do to each run; empty where that was not asked for.
        ending: when and why all runs end, where they were to end with a settled update.
    """

    runs: Mapping[str, Trajectory]
    comparisons: Sequence[Comparison]
    slowest_mode: float | None = None
    angle: float | None = None
    causes: Sequence[Cause] = ()
    ends: Mapping[str, str] = field(default_factory=dict)
    remarks: Sequence[str] = ()
    step_errors: Mapping[str, StepError] = field(default_factory=dict)
    ending: Ending | None = None

    def numbers(self) -> dict[str, Any]:
        """The results, with units in the names."""
        out: dict[str, Any] = {
            f"{c.kind}: {c.other} against {c.reference}": comparison_numbers(c)
            for c in self.comparisons
        }
        out["at_the_end"] = dict(self.ends)
        if made := {name: run.made_by for name, run in self.runs.items() if run.made_by}:
            out["simulators"] = made
        out |= records.remarks_tree(self.remarks)
        if self.step_errors:
            out["time_steps"] = {name: _of_steps(e) for name, e in self.step_errors.items()}
        if self.ending is not None:
            out["ends_with_a_settled_update"] = _of_ending(self.ending)
        if self.slowest_mode is not None:
            out["slowest_mode_per_tau_u"] = self.slowest_mode
        if self.angle is not None:
            out["causes"] = {
                "angle_all_on_degree": self.angle,
                **{
                    f"without {c.name}": {"angle_degree": c.angle, "change_degree": c.change}
                    for c in self.causes
                },
            }
            worst = self.causes[0] if self.causes and self.causes[0].change < 0 else None
            out["largest_cause"] = worst.name if worst else "none"
        return out

    def runs_tree(self, design: Design) -> dict[str, Any]:
        """The branches 'runs' and 'angles' of a record: waveforms, updates, their angles.

        Args:
            design: what ran.
        """
        return {
            "runs": {name: trajectory_tree(design, run) for name, run in self.runs.items()},
            "angles": angles_tree(design, self.comparisons, self.runs),
        }


def _of_ending(e: Ending) -> dict[str, Any]:
    return {
        "settled": e.settled,
        "after_units_of_time": e.time,
        "left_to_settle_percent": 100 * e.change,
        "tolerance_percent": 100 * e.tolerance,
        "window_units_of_time": e.window,
        "in_words": str(e),
    }


def _of_steps(e: StepError) -> dict[str, Any]:
    return {
        "worst_signal": e.signal,
        "nrmse_percent": 100 * e.error,
        "tolerance_of_the_usual": e.tolerance,
    }


def comparison_numbers(c: Comparison) -> dict[str, Any]:
    """A comparison's results, with units in the names.

    Args:
        c: the comparison.
    """
    return {
        "kind": c.kind,
        "reference": c.reference,
        "other": c.other,
        "nrmse_percent": {name: 100 * value for name, value in c.signals.items()},
        "update": {
            layer: {
                "angle_degree": u.angle,
                "norm_ratio": u.norm_ratio,
                "relative_error_percent": 100 * u.error,
            }
            for layer, u in c.updates.items()
        },
        "below_resolution": dict(c.unresolved),
        "settling_time_reference_us": 1e6 * c.settling[0],
        "settling_time_other_us": 1e6 * c.settling[1],
    }

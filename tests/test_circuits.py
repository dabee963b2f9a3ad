"""Every controller and neuron of the cell library: what its circuit does in all realisations."""

from __future__ import annotations

import pytest

from analogdfc.circuit.chip import Chip
from benchmarks._measure import worst_angle, worst_norm
from benchmarks.circuits import CIRCUITS, Kind
from benchmarks.parity import ANGLE_BAR, IDEAL_BAR, NORM_BAR, SIGNAL_BAR, SMALL

kinds = pytest.mark.parametrize("kind", CIRCUITS, ids=lambda kind: kind.name)


@kinds
def test_ideal_cells_do_what_the_equations_say(kind: Kind) -> None:
    here = kind.case(SMALL, 0, 1)
    result = here.parity(here.circuit(None, "ideal"), here.ideal())
    assert {k: v for k, v in result.signals.items() if not v <= IDEAL_BAR} == {}
    assert worst_angle(result) <= ANGLE_BAR


@kinds
def test_the_model_predicts_macro_cells_with_all_imperfections(kind: Kind) -> None:
    here = kind.case(SMALL, 1, 1)
    result = here.parity(here.circuit(0, "macro"), here.behavioural([0])[0])
    assert {k: v for k, v in result.signals.items() if not v <= SIGNAL_BAR} == {}
    assert worst_angle(result) <= ANGLE_BAR
    assert worst_norm(result) <= NORM_BAR


def test_ideal_cells_ring_as_the_equations_do() -> None:
    ringing = next(kind for kind in CIRCUITS if kind.controller.k_p == 0)
    here = ringing.case(SMALL, 1, 1)
    found = here.parity(here.circuit(None, "ideal"), here.ideal())
    assert found.worst_signal < IDEAL_BAR


@pytest.mark.parametrize(
    ("name", "channel", "hidden", "output"),
    [
        ("PI", 3, 5, 2),
        ("P", 3, 5, 2),
        ("PI, leak on u_int", 3, 5, 2),
        ("PD", 4, 5, 2),
        ("PID", 6, 5, 2),
        ("linear hidden", 3, 3, 2),
        ("tanh output", 3, 5, 4),
    ],
)
def test_so_many_amplifiers_are_in_a_channel_and_a_neuron(
    name: str, channel: int, hidden: int, output: int
) -> None:
    kind = next(k for k in CIRCUITS if k.name == name)
    circuit = Chip.of(kind.case(SMALL, 0, 1).design).circuit
    count = dict.fromkeys(circuit.parts, 0)
    for bank in circuit.banks:
        count[bank.part] += bank.size
    _, n, m = SMALL
    assert count == {"layer 1": hidden * n, "layer 2": output * m, "controller": channel * m}


@kinds
def test_the_loop_is_swept_once_from_the_cut_to_the_cut(kind: Kind) -> None:
    circuit = Chip.of(kind.case(SMALL, 0, 1).design).circuit
    assert circuit.sweep[-1].name == circuit.control.u_minus.bank
    assert len({bank.name for bank in circuit.sweep}) == len(circuit.sweep)
    assert {b.name for b in (*circuit.sweep, *circuit.readouts)} == set(circuit.bank)

"""The record of a run, against the states of the equations."""

from __future__ import annotations

import torch
from behaving import CARD, design_of, inputs_of
from strategies import network_of
from torch import Tensor

from analogdfc.circuit.behavioural import Behavioural
from analogdfc.circuit.chip import Chip
from analogdfc.dynamics import Trajectory

DT, STEPS = 0.05, 20


def of_states(model: Behavioural, states: Tensor, c: int) -> dict[str, Tensor]:
    """Signals of a chip by the description's taps, of states (times, chips, batch, n)."""
    chip = model.chips[c]
    scale, taps = chip.design.card.scale, chip.circuit.control
    where = {"u": (taps.u, scale.control), "e": (taps.e, scale.control)}
    for i, layer in enumerate(chip.circuit.layers):
        for name in ("v", "v_ff", "r", "r_ff"):
            where[f"{name}{i}"] = getattr(layer, name), scale.activation
    return {
        name: tap.sign * states[:, c][..., model.model.columns(tap.bank)].transpose(0, 1) / unit
        for name, (tap, unit) in where.items()
    }


def of_record(run: Trajectory) -> dict[str, Tensor]:
    found = {"u": run.u, "e": run.e}
    for name in ("v", "v_ff", "r", "r_ff"):
        found |= {f"{name}{i}": wave for i, wave in enumerate(getattr(run.neurons, name))}
    return found


def test_a_record_has_the_states_of_every_chip_in_its_own_units() -> None:
    network = network_of([3, 4, 2], seed=1)
    x, step = inputs_of(network, 3)
    cards = [CARD, CARD.replace("scale", activation=0.3, control=0.7)]
    model = Behavioural([Chip.of(design_of(network, card), 1) for card in cards])
    runs = model.run(x, step, dt=DT, steps=STEPS)
    release = model.release(x, step)
    spacing = DT * model.chips[0].design.seconds
    pieces = model.integrator.run(
        release.system, release.free, spacing, STEPS, watched=model.model.watched
    )
    states = torch.cat(list(pieces))
    for c, run in enumerate(runs):
        found, known = of_record(run), of_states(model, states, c)
        assert found.keys() == known.keys()
        for name, wave in known.items():
            assert found[name].shape == (3, STEPS + 1, wave.shape[-1])
            torch.testing.assert_close(found[name], wave, rtol=1e-12, atol=1e-14)


def test_a_record_is_as_long_as_what_has_been_written() -> None:
    network = network_of([3, 4, 2], seed=1)
    x, step = inputs_of(network, 2)
    seen: list[int] = []
    model = Behavioural([Chip.of(design_of(network, CARD), 1)])
    (run,) = model.run(x, step, dt=DT, steps=STEPS, progress=seen.append)
    assert seen[-1] == STEPS
    assert seen == sorted(seen)
    torch.testing.assert_close(run.t, DT * torch.arange(STEPS + 1, dtype=torch.float64))

"""Controllers as circuits: one entry a kind.

Every channel has an error amplifier (+S_u e from r_L and -r*) and an inverter for the second rail;
between them lies what makes -S_u u of the error:

    P            u = k_p e                                a resistive amplifier
    I, PI        (1 + k_p tau_u s) / (alpha + tau_u s)    R_leak parallel (R_p + C_i)
    PI, eq. 4    k_p + 1 / (alpha + tau_u s)              R_p + (R_leak parallel C_i)
    PD           P less k_d s / (1 + tau_d s) r_L         and a differentiator of the output
    PID          integrator, differentiator and their sum, in parallel
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from analogdfc.circuit.description._builder import Builder, Input, Stage, none
from analogdfc.circuit.description.elements import (
    AutoZero,
    Bank,
    Branches,
    ControlTaps,
    Instances,
    Port,
    Resistors,
    Tap,
)
from analogdfc.controller import Controller
from analogdfc.errors import UserError

PART = "controller"


@dataclass(frozen=True)
class Wanted:
    """What a controller's circuit is to do.

    Attributes:
        controller: the equations.
        seconds: seconds per unit of its time.
        n: number of channels.
        output: outputs r_L of the network.
        target: sources of -r*.
        name: of the controller, with which the names of its banks begin.
        part: where it is.
        tag: what stands before the channel's number in names of nodes and instances.
        railed: whether -r* comes from a rail that is there at all times, relative to which nothing
            is held; else from a source whose step the error amplifiers' cells let through.
    """

    controller: Controller
    seconds: float
    n: int
    output: Port
    target: Port
    name: str = PART
    part: str = PART
    tag: str = ""
    railed: bool = False


@dataclass(frozen=True)
class Law:
    """The stages between error amplifier and inverter.

    Attributes:
        out: amplifiers whose outputs are -S_u u.
        reference: amplifiers into whose summing nodes no current shall flow in the free phase.
    """

    out: Bank
    reference: Bank


Kind = Callable[[Builder, Wanted, Port], Law]


def describe_controller(build: Builder, wanted: Wanted) -> tuple[ControlTaps, AutoZero]:
    """Add a controller; where its signals are measured, and what its auto-zero stores."""
    scale, n = build.card.scale, wanted.n
    gain = scale.control / scale.activation
    error = build.stage(
        f"{wanted.name}.error",
        wanted.part,
        n,
        gain * build.r_unit,
        [Input(wanted.output, build.r_unit), Input(wanted.target, build.r_unit)],
    )
    build.named(error.bank.o, f"e{wanted.tag}{{k}}")
    values = {
        "r_l": error.r_in[0],
        "r_g": error.r_in[1],
        "r_e": error.r_f,
        "c_e": error.c_f,
        "os_e": error.offset,
    }
    moments, cell = ((), "error_rail") if wanted.railed else (("rst", "go"), "error")
    pins = (wanted.output, wanted.target, error.bank.o, *moments, "vdd", "vss")
    build.instances.append(Instances(cell, f"e{wanted.tag}{{k}}", wanted.part, n, pins, values))
    law = _law(wanted.controller)(build, wanted, error.bank.o)
    build.named(law.out.o, f"un{wanted.tag}{{k}}")
    inv = build.inverter(f"{wanted.name}.inv", wanted.part, law.out.o, n)
    build.named(inv.bank.o, f"up{wanted.tag}{{k}}")
    values = {"r_i": inv.r_in[0], "r_f": inv.r_f, "c_f": inv.c_f, "os": inv.offset}
    ports = law.out.o, inv.bank.o
    name = f"u{wanted.tag}{{k}}"
    pins = (*ports, "vdd", "vss")
    build.instances.append(Instances("inverter", name, wanted.part, n, pins, values))
    taps = ControlTaps(Tap(inv.bank.name, 1.0), Tap(law.out.name, -1.0), Tap(error.bank.name, 1.0))
    return taps, AutoZero(error.bank.o, law.reference.x)


def _channel(
    build: Builder, cell: str, wanted: Wanted, ports: tuple[Port, ...], values: dict[str, Tensor]
) -> None:
    pins: tuple[Port | str, ...] = (*ports, "rst", "vdd", "vss")
    name = f"c{wanted.tag}{{k}}"
    build.instances.append(Instances(cell, name, wanted.part, wanted.n, pins, values))


def _leak(build: Builder, wanted: Wanted, r_i: float) -> Tensor:
    """Leak resistors R_i / alpha, (n,), in ohms; infinite for none."""
    alpha, n = wanted.controller.alpha, wanted.n
    if alpha == 0:
        return torch.full((n,), math.inf, dtype=torch.float64)
    return build.draw.passive(f"{wanted.name}.r_leak", r_i / alpha, n)


def _integrating(
    build: Builder, wanted: Wanted, error: Port, cell: str, r_p: float, c_i: float
) -> tuple[Stage, Tensor, Tensor]:
    """An amplifier with R_p and C_i in its feedback; its leak resistors and capacitors."""
    r_i, n = build.card.passive.r_integrator, wanted.n
    stage = build.stage(
        f"{wanted.name}.pi", wanted.part, n, r_p, [Input(error, r_i, zeroed=True)], resistive=False
    )
    build.reset(stage.bank)
    leak = _leak(build, wanted, r_i)
    farads = build.draw.passive(f"{wanted.name}.c_i", c_i, n)
    values = {
        "r_i": stage.r_in[0],
        "r_p": stage.r_f,
        "c_i": farads,
        "r_leak": leak,
        "c_p": stage.c_f,
        "os_p": stage.offset,
    }
    _channel(build, cell, wanted, (error, stage.bank.o), values)
    return stage, farads, 1 / leak


def leak_on_control(build: Builder, wanted: Wanted, error: Port) -> Law:
    """I and PI with the leak on u (Meulemans et al. 2021, eq. 206): one amplifier.

    C_i = tau_u (1 - alpha k_p) / R_i and R_p = k_p R_i / (1 - alpha k_p).

    Raises:
        UserError: alpha k_p isn't below 1.
    """
    pi, r_i = wanted.controller, build.card.passive.r_integrator
    remaining = _remaining(pi)
    # e and u share one voltage scale, S_e = S_u.
    c_i = pi.tau_u * wanted.seconds / r_i * remaining
    r_p = pi.k_p * r_i / remaining
    stage, farads, leak = _integrating(build, wanted, error, "control_pi", r_p, c_i)
    bank = stage.bank
    build.branches.append(Branches(wanted.part, bank.o, bank.x, stage.r_f, farads, none(wanted.n)))
    if pi.alpha > 0:
        build.resistors.append(Resistors(wanted.part, bank.x, bank.o, leak))
    return Law(bank, bank)


def leak_on_integral(build: Builder, wanted: Wanted, error: Port) -> Law:
    """PI with the leak on u_int (Meulemans et al. 2021, eq. 4): one amplifier.

    C_i = tau_u / R_i and R_p = k_p R_i, with the leak across the capacitor alone.
    """
    pi, r_i = wanted.controller, build.card.passive.r_integrator
    c_i, r_p = pi.tau_u * wanted.seconds / r_i, pi.k_p * r_i
    stage, farads, leak = _integrating(build, wanted, error, "control_pi_integral", r_p, c_i)
    bank = stage.bank
    build.branches.append(Branches(wanted.part, bank.o, bank.x, stage.r_f, farads, leak))
    return Law(bank, bank)


def proportional(build: Builder, wanted: Wanted, error: Port) -> Law:
    """P: an amplifier of gain k_p, shorted in the free phase."""
    r_i = build.card.passive.r_integrator
    stage = build.stage(
        f"{wanted.name}.sum",
        wanted.part,
        wanted.n,
        wanted.controller.k_p * r_i,
        [Input(error, r_i, zeroed=True)],
    )
    build.reset(stage.bank)
    values = {
        "r_i": stage.r_in[0],
        "r_p": stage.r_f,
        "c_p": stage.c_f,
        "os_p": stage.offset,
    }
    _channel(build, "control_p", wanted, (error, stage.bank.o), values)
    return Law(stage.bank, stage.bank)


def _differentiator(build: Builder, wanted: Wanted, values: dict[str, Tensor]) -> Stage:
    """Amplifiers that give -S_u k_d s / (1 + tau_d s) r_L, with R_d and C_d in series at the input.

    C_d = k_d S_u / (R_f S_v) and R_d = tau_d / C_d.
    """
    controller, scale, n = wanted.controller, build.card.scale, wanted.n
    stage = build.stage(f"{wanted.name}.derivative", wanted.part, n, build.r_unit)
    gain = scale.control / scale.activation
    c_d = controller.k_d * wanted.seconds * gain / build.r_unit
    r_d = controller.tau_d * wanted.seconds / c_d
    ohms = build.draw.passive(f"{wanted.name}.r_d", r_d, n)
    farads = build.draw.passive(f"{wanted.name}.c_d", c_d, n)
    build.branches.append(Branches(wanted.part, wanted.output, stage.bank.x, ohms, farads, none(n)))
    values |= {
        "r_d": ohms,
        "c_d": farads,
        "r_fd": stage.r_f,
        "c_fd": stage.c_f,
        "os_d": stage.offset,
    }
    return stage


def _sum(
    build: Builder, wanted: Wanted, r_f: float, inputs: list[Input], values: dict[str, Tensor]
) -> Stage:
    """Amplifiers that add what makes u, shorted in the free phase."""
    stage = build.stage(f"{wanted.name}.sum", wanted.part, wanted.n, r_f, inputs)
    build.reset(stage.bank)
    values |= {"r_p": stage.r_f, "c_p": stage.c_f, "os_p": stage.offset}
    return stage


def proportional_derivative(build: Builder, wanted: Wanted, error: Port) -> Law:
    """PD: the amplifier of P, and a differentiator of the output into the same node.

    The auto-zero stores what the error amplifier shows in the free phase, and no more: at rest, the
    offsets of the differentiator and of the sum, os_d and os_p, leave -S_u u = 2 os_p - os_d beside
    the proportional part, and there is no integrator that takes them up as in PID. A hold of its
    own for each channel's differentiator would take them away.
    """
    values: dict[str, Tensor] = {}
    derivative = _differentiator(build, wanted, values)
    r_i = build.card.passive.r_integrator
    r_p = wanted.controller.k_p * r_i
    inputs = [Input(error, r_i, zeroed=True), Input(derivative.bank.o, r_p)]
    stage = _sum(build, wanted, r_p, inputs, values)
    values |= {"r_i": stage.r_in[0], "r_j": stage.r_in[1]}
    _channel(build, "control_pd", wanted, (wanted.output, error, stage.bank.o), values)
    return Law(stage.bank, stage.bank)


def parallel(build: Builder, wanted: Wanted, error: Port) -> Law:
    """PID: an integrator with its inverter, a differentiator of the output, and their sum with e.

    tau_u du_int/dt = e - alpha u, the leak from -S_u u through R_i / alpha, or with the leak on
    u_int, R_i / alpha across the integrator's capacitor.
    """
    pid, r_i, n = wanted.controller, build.card.passive.r_integrator, wanted.n
    values: dict[str, Tensor] = {}
    integrator = build.stage(
        f"{wanted.name}.integral",
        wanted.part,
        n,
        0.0,
        [Input(error, r_i, zeroed=True)],
        resistive=False,
    )
    build.reset(integrator.bank)
    x, o = integrator.bank.x, integrator.bank.o
    farads = build.draw.passive(f"{wanted.name}.c_i", pid.tau_u * wanted.seconds / r_i, n)
    leak = _leak(build, wanted, r_i)
    values |= {
        "r_i": integrator.r_in[0],
        "c_i": farads,
        "r_leak": leak,
        "os_i": integrator.offset,
    }
    inside = 1 / leak if pid.leak == "integral" else none(n)
    build.branches.append(Branches(wanted.part, o, x, none(n), farads, inside))
    inverse = build.inverter(f"{wanted.name}.integral_inv", wanted.part, o, n)
    values |= {"r_m": inverse.r_in[0], "r_n": inverse.r_f, "c_n": inverse.c_f}
    values |= {"os_n": inverse.offset}
    derivative = _differentiator(build, wanted, values)
    inputs = [Input(inverse.bank.o, build.r_unit), Input(derivative.bank.o, build.r_unit)]
    if pid.k_p > 0:
        inputs.append(Input(error, build.r_unit / pid.k_p, zeroed=True))
    stage = _sum(build, wanted, build.r_unit, inputs, values)
    values |= {"r_j": stage.r_in[1], "r_k": stage.r_in[0]}
    values["r_e"] = stage.r_in[2] if pid.k_p > 0 else torch.full((n,), math.inf)
    cell = "control_pid_integral"
    if pid.leak == "control":
        cell = "control_pid"
        if pid.alpha > 0:
            build.resistors.append(Resistors(wanted.part, stage.bank.o, x, 1 / leak))
    _channel(build, cell, wanted, (wanted.output, error, stage.bank.o), values)
    return Law(stage.bank, integrator.bank)


def _remaining(pi: Controller) -> float:
    """1 - alpha k_p, what the integrator's gain is of that of its equation."""
    remaining = 1 - pi.alpha * pi.k_p
    if remaining <= 0:
        raise UserError(
            f"{pi}: alpha * k_p = {pi.alpha * pi.k_p:g} must stay below 1 in the circuit, "
            "whose integrator has a gain of 1 - alpha k_p"
        )
    return remaining


def _law(controller: Controller) -> Kind:
    """The circuit of a controller."""
    if controller.differentiates:
        return parallel if controller.integrates else proportional_derivative
    if not controller.integrates:
        return proportional
    return leak_on_control if controller.leak == "control" else leak_on_integral


def check_controller(controller: Controller) -> None:
    """Refuse a controller that has no circuit.

    Raises:
        UserError: there is none, or alpha k_p isn't below 1 where the leak acts on u.
    """
    if _law(controller) is leak_on_control:
        _remaining(controller)


def about_controller(controller: Controller, seconds: float) -> str:
    """A controller's numbers, for people.

    Args:
        controller: the controller.
        seconds: seconds per unit of its time.
    """
    words = [f"k_p = {controller.k_p:g}"]
    if controller.integrates:
        words += [f"alpha = {controller.alpha:g}", f"tau_u = {controller.tau_u * seconds:g} s"]
    if controller.differentiates:
        words.append(f"k_d = {controller.k_d * seconds:g} s")
        words.append(f"tau_d = {controller.tau_d * seconds:g} s")
    if controller.leak == "integral":
        words.append("leak on the integral part")
    return ", ".join(words)

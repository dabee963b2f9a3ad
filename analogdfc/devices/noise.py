"""Read noise: 1/f and white, in the band that a read lets through."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from analogdfc.devices.curves import Curve
from analogdfc.devices.draws import check_number, check_time, normal
from analogdfc.errors import UserError


@dataclass(frozen=True)
class ReadNoise:
    """Fluctuation of a conductance from one read to the next.

    The one-sided power density of the fluctuation is

        S(f) = (g Q)^2 / f + white^2 / bandwidth.

    A read of length t_r at time t after programming sees the 1/f part from 1 / (t + t_r) to
    1 / (2 t_r): the standard deviation g Q sqrt(ln((t + t_r) / (2 t_r))) of Nandakumar et al.,
    ICECS 2019.

    Attributes:
        flicker: Q as a function of the programmed conductance; None for no 1/f noise.
        read_time: t_r, in seconds; needed with `flicker`.
        white: standard deviation of the white noise of one read as a function of the conductance,
            in siemens; None for none.
        bandwidth: the band that `white` was measured in, in hertz; None if it isn't known, and then
            a read in another band is refused.

    Raises:
        UserError: `flicker` without `read_time`; a read time or bandwidth that isn't > 0.
    """

    flicker: Curve | None = None
    read_time: float | None = None
    white: Curve | None = None
    bandwidth: float | None = None

    def __post_init__(self) -> None:
        if self.flicker is not None and self.read_time is None:
            raise UserError("1/f noise needs the length of a read: give read_time in seconds")
        if self.read_time is not None:
            check_number("read_time", self.read_time, "s", low=0.0, open_low=True)
        if self.bandwidth is not None:
            check_number("bandwidth", self.bandwidth, "Hz", low=0.0, open_low=True)

    def sigma(
        self,
        g: Tensor,
        time: float | Tensor,
        *,
        programmed: Tensor | None = None,
        bandwidth: float | None = None,
    ) -> Tensor:
        """Standard deviation of a read.

        Args:
            g: conductances at that time, any shape, in siemens.
            time: seconds since programming, >= 0; a tensor broadcasts with g.
            programmed: conductances that were programmed, of the same shape, which Q depends on; by
                default g.
            bandwidth: upper end of the band of the read, in hertz; by default 1 / (2 t_r) for the
                1/f noise and the band of the card for the white.

        Returns:
            In siemens.

        Raises:
            UserError: a negative or non-finite time, a bandwidth that isn't > 0, or another band
                than an unknown one.
        """
        t = check_time(time).to(g.device)
        if bandwidth is not None:
            check_number("bandwidth", bandwidth, "Hz", low=0.0, open_low=True)
        variance = torch.zeros_like(g)
        if self.flicker is not None:
            assert self.read_time is not None
            high = bandwidth or 1 / (2 * self.read_time)
            band = ((t + self.read_time) * high).log().clamp(min=0).to(g.dtype)
            q = self.flicker(g if programmed is None else programmed)
            variance = variance + (g * q) ** 2 * band
        if self.white is not None:
            ratio = 1.0
            if bandwidth is not None:
                if self.bandwidth is None:
                    raise UserError(
                        f"bandwidth {bandwidth:g} Hz: this device's white noise has no bandwidth "
                        "to scale it from; leave the bandwidth out"
                    )
                ratio = bandwidth / self.bandwidth
            variance = variance + self.white(g) ** 2 * ratio
        return variance.sqrt()

    def density(self, g: Tensor, frequency: Tensor) -> Tensor:
        """One-sided power density of the fluctuation.

        Args:
            g: conductances, any shape, in siemens.
            frequency: in hertz, > 0; broadcasts with g.

        Returns:
            In S^2 / Hz.

        Raises:
            UserError: white noise without a bandwidth.
        """
        out = torch.zeros_like(g) * frequency
        if self.flicker is not None:
            out = out + (g * self.flicker(g)) ** 2 / frequency
        if self.white is not None:
            if self.bandwidth is None:
                raise UserError("white noise without a bandwidth has no density; give a bandwidth")
            out = out + self.white(g) ** 2 / self.bandwidth
        return out

    def series(self, g: Tensor, dt: float, steps: int, generator: torch.Generator) -> Tensor:
        """Fluctuations over time, for reads that follow each other.

        Its periodogram is, on average, `density` from 1 / (steps dt) to 1 / (2 dt); slower
        fluctuations are constant over the series and left out.

        Args:
            g: conductances, any shape, in siemens.
            dt: seconds from one sample to the next, > 0.
            steps: number of samples, >= 2.
            generator: source of the noise.

        Returns:
            (steps, *g.shape), in siemens, to be added to g.

        Raises:
            UserError: dt or steps out of range, or white noise without a bandwidth.
        """
        check_number("dt", dt, "s", low=0.0, open_low=True)
        if steps < 2:
            raise UserError(f"{steps} steps of a noise series; 2 or more are allowed")
        frequency = torch.fft.rfftfreq(steps, dt, dtype=torch.float64, device=g.device)[1:]
        power = self.density(g.unsqueeze(-1).double(), frequency)
        drawn = normal((2, *power.shape), generator, device=g.device)
        spectrum = torch.complex(drawn[0], drawn[1]) * (power * (steps / (4 * dt))).sqrt()
        if steps % 2 == 0:  # the coefficient at the highest frequency is real
            spectrum[..., -1] = spectrum[..., -1].real * math.sqrt(2)
        zero = torch.zeros_like(spectrum[..., :1])
        out = torch.fft.irfft(torch.cat([zero, spectrum], dim=-1), n=steps)
        series: Tensor = out.movedim(-1, 0).to(g.dtype)
        return series

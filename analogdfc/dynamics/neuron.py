"""The conductance-based neuron with basal and apical dendrites."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from analogdfc.errors import UserError


@dataclass(frozen=True)
class ConductanceNeuron:
    """A soma coupled to its dendrites by fixed conductances (Meulemans et al. 2021, App. G).

    tau_v dv/dt = -g_lk v + g_B (v_ff - v) + g_A (v_fb - v) + sigma xi (eq. 222), with the basal
    potential v_ff and the apical one v_fb. This is the neuron of eq. 1 with another time constant,
    and with the gains g~_B and g~_A of the dendrites absorbed into its weights and feedback
    (eq. 225). The weights, biases and feedback of a `Network` and its pathway are the absorbed
    ones; `basal_synapses` and `apical_synapses` tell what stands on the dendrites themselves.

    Attributes:
        leak: leakage g_lk of the soma, >= 0, relative to tau_v as the other two.
        basal: conductance g_B from the basal dendrite, > 0.
        apical: conductance g_A from the apical dendrite, > 0.

    Raises:
        UserError: a conductance outside its range.
    """

    leak: float
    basal: float
    apical: float

    def __post_init__(self) -> None:
        if not all(map(math.isfinite, (self.leak, self.basal, self.apical))):
            raise UserError(f"{self}: every conductance must be finite")
        if self.leak < 0 or self.basal <= 0 or self.apical <= 0:
            raise UserError(f"{self}: leak >= 0, basal > 0 and apical > 0 are required")

    @property
    def total(self) -> float:
        """g_lk + g_B + g_A."""
        return self.leak + self.basal + self.apical

    @property
    def basal_gain(self) -> float:
        """g~_B = g_B / (g_lk + g_B + g_A), between 0 and 1."""
        return self.basal / self.total

    @property
    def apical_gain(self) -> float:
        """g~_A = g_A / (g_lk + g_B + g_A), between 0 and 1."""
        return self.apical / self.total

    @property
    def noise_gain(self) -> float:
        """sigma~ / sigma = 1 / (g_lk + g_B + g_A), of the noise that enters the soma."""
        return 1 / self.total

    def time_constant(self, tau_v: float) -> float:
        """tau_v~ = tau_v / (g_lk + g_B + g_A), in the unit of tau_v.

        Args:
            tau_v: time constant of eq. 1, > 0, in any unit of time.
        """
        return tau_v / self.total

    def basal_synapses(self, absorbed: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Weights or biases of the basal dendrites, W / g~_B, from those of the network.

        Args:
            absorbed: W_1..W_L, (n_i, n_{i-1}), or b_1..b_L, (n_i,).
        """
        return tuple(w / self.basal_gain for w in absorbed)

    def apical_synapses(self, absorbed: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Weights of the apical dendrites, Q / g~_A, from those of the feedback pathway.

        Args:
            absorbed: Q_1..Q_L, (n_i, n_L).
        """
        return tuple(q / self.apical_gain for q in absorbed)

"""Direct difference target propagation: feedback from the output to every hidden layer."""

from __future__ import annotations

from typing import ClassVar

import torch

from analogdfc.learning.base import register
from analogdfc.learning.targets.base import FAMILY
from analogdfc.learning.targets.learned import LearnedTargets
from analogdfc.learning.targets.pathways import (
    DirectTargetFeedback,
    RandomHiddenFeedback,
    TargetFeedback,
)
from analogdfc.learning.targets.reconstruction import (
    DifferenceReconstruction,
    LoopReconstruction,
    Reconstruction,
)
from analogdfc.network import Network


@register(
    "ddtp-linear",
    family=FAMILY,
    feedback="direct linear, learned",
    local="yes",
    local_time="no: targets come after the free pass",
    equation="Delta h_i = Q_i Delta h_L; Q_i by difference reconstruction",
    source="Meulemans et al. 2020, Algorithm 3 and eq. 76",
)
class DDTPLinear(LearnedTargets):
    """Linear feedback, g_i(h_L) = Q_i h_L + c_i, trained by the difference reconstruction loss.

    The offsets c_i drop out of the difference: they neither matter nor learn.
    """

    pathway: ClassVar[type[TargetFeedback]] = DirectTargetFeedback

    @classmethod
    def random_feedback(cls, network: Network, generator: torch.Generator) -> DirectTargetFeedback:
        """See `LearnedTargets.random_feedback`."""
        return DirectTargetFeedback.random(network, generator)

    @classmethod
    def default_reconstruction(cls) -> Reconstruction:
        """The difference reconstruction loss."""
        return DifferenceReconstruction()


@register(
    "ddtp-control",
    family=FAMILY,
    feedback="direct linear, learned",
    local="yes",
    local_time="no: targets come after the free pass",
    equation="Delta h_i = Q_i Delta h_L; Q_i by reconstruction in a loop",
    source="Meulemans et al. 2020, Algorithm 5",
)
class DDTPControl(DDTPLinear):
    """Linear feedback whose reconstruction loss lacks the difference correction.

    Its targets have it all the same.
    """

    @classmethod
    def default_reconstruction(cls) -> Reconstruction:
        """The loss of a loop through the output."""
        return LoopReconstruction()


@register(
    "ddtp-rhl",
    family=FAMILY,
    feedback="direct through fixed random units, learned",
    local="yes",
    local_time="no: targets come after the free pass",
    equation="Delta h_i = g_i(h^_L) - g_i(h_L), g_i = t_i(Q_i tanh(R h_L + d) + c_i)",
    source="Meulemans et al. 2020, Algorithm 3 and eq. 62",
)
class DDTPRHL(LearnedTargets):
    """Feedback through a wide random hidden layer, g_i(h_L) = t_i(Q_i tanh(R h_L + d) + c_i).

    By default that layer has 1024 neurons; another width is a `feedback` of one's own.
    """

    pathway: ClassVar[type[TargetFeedback]] = RandomHiddenFeedback

    @classmethod
    def random_feedback(cls, network: Network, generator: torch.Generator) -> RandomHiddenFeedback:
        """See `LearnedTargets.random_feedback`."""
        return RandomHiddenFeedback.random(network, generator)

    @classmethod
    def default_reconstruction(cls) -> Reconstruction:
        """The difference reconstruction loss."""
        return DifferenceReconstruction()


@register(
    "ddtp-rhl-rec",
    family=FAMILY,
    feedback="direct through fixed random units, learned; and recurrent, learned",
    local="yes",
    local_time="no: targets come after the free pass",
    equation="as ddtp-rhl, g_i = t_i(Q_i tanh(R h_L + d) + S_i h_i + c_i)",
    source="Meulemans et al. 2020, Algorithm 4 and eq. 63",
)
class RecurrentDDTPRHL(DDTPRHL):
    """`DDTPRHL` where each layer's own activity enters g_i, t_i(Q_i tanh(...) + S_i h_i + c_i).

    So the feedback's Jacobian can differ between samples with the same output (App. A.3).
    """

    @classmethod
    def random_feedback(cls, network: Network, generator: torch.Generator) -> RandomHiddenFeedback:
        """See `LearnedTargets.random_feedback`."""
        return RandomHiddenFeedback.random(network, generator, recurrent=True)

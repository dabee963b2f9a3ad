"""Difference target propagation with feedback from layer to layer."""

from __future__ import annotations

from typing import ClassVar

import torch

from analogdfc.learning.base import register
from analogdfc.learning.targets.base import FAMILY
from analogdfc.learning.targets.learned import FeedbackSchedule, LearnedTargets
from analogdfc.learning.targets.pathways import LayerwiseFeedback, TargetFeedback
from analogdfc.learning.targets.reconstruction import (
    DifferenceReconstruction,
    LayerwiseReconstruction,
    Reconstruction,
)
from analogdfc.network import Network


class LayerwiseTargets(LearnedTargets):
    """h^_i = g_i(h^_{i+1}) + h_i - g_i(h_{i+1}), g_i(h) = t_i(Q_i h + c_i)."""

    pathway: ClassVar[type[TargetFeedback]] = LayerwiseFeedback

    @classmethod
    def random_feedback(cls, network: Network, generator: torch.Generator) -> LayerwiseFeedback:
        """See `LearnedTargets.random_feedback`."""
        return LayerwiseFeedback.random(network, generator)


@register(
    "dtp",
    family=FAMILY,
    feedback="layer to layer, learned",
    local="yes",
    local_time="no: targets come after the free pass",
    equation="Delta h_i = g_i(h^_{i+1}) - g_i(h_{i+1}); g_i by layerwise reconstruction",
    source="Meulemans et al. 2020, Algorithm 1; Lee et al. 2015",
)
class DTP(LayerwiseTargets):
    """Difference target propagation (Lee et al. 2015), feedback trained layer by layer.

    The feedback learns on every minibatch from the start of forward learning, and only then.
    """

    schedule: ClassVar[FeedbackSchedule] = FeedbackSchedule(pretraining=0, extra=0)

    @classmethod
    def default_reconstruction(cls) -> Reconstruction:
        """The layerwise loss."""
        return LayerwiseReconstruction()


@register(
    "dtp-pretrained",
    family=FAMILY,
    feedback="layer to layer, learned, beforehand too",
    local="yes",
    local_time="no: targets come after the free pass",
    equation="Delta h_i = g_i(h^_{i+1}) - g_i(h_{i+1}); g_i by layerwise reconstruction",
    source="Meulemans et al. 2020, Algorithm 1 with App. B.1",
)
class PretrainedDTP(DTP):
    """DTP whose feedback gets as much training as that of the rules with the difference loss.

    The equations are those of `DTP`; what differs is when the feedback learns (`schedule`: epochs
    of noise alone before forward learning and between its epochs), and that the experiments let the
    feedback weights decay.
    """

    schedule: ClassVar[FeedbackSchedule] = FeedbackSchedule(pretraining=6, extra=1)


@register(
    "dtp-drl",
    family=FAMILY,
    feedback="layer to layer, learned",
    local="yes",
    local_time="no: targets come after the free pass",
    equation="Delta h_i = g_i(h^_{i+1}) - g_i(h_{i+1}); g_i by difference reconstruction",
    source="Meulemans et al. 2020, Algorithm 2 and eq. 9",
)
class DTPDRL(LayerwiseTargets):
    """Difference target propagation, feedback trained by the difference reconstruction loss."""

    @classmethod
    def default_reconstruction(cls) -> Reconstruction:
        """The difference reconstruction loss."""
        return DifferenceReconstruction()

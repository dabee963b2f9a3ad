"""What the rules with learned feedback of targets share."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from analogdfc.errors import UserError
from analogdfc.learning._rounding import RoundingWatch, larger
from analogdfc.learning.base import LearnsFeedback
from analogdfc.learning.targets.base import TargetRule
from analogdfc.learning.targets.pathways import Synapses, TargetFeedback
from analogdfc.learning.targets.reconstruction import Reconstruction
from analogdfc.losses import Loss
from analogdfc.network import Forward, Network


class FeedbackSchedule(NamedTuple):
    """When the published experiments learn the feedback, besides once in every minibatch.

    Attributes:
        pretraining: epochs of feedback learning before any forward learning.
        extra: epochs of pure feedback learning between two epochs of both.
    """

    pretraining: int
    extra: int


class LearnedTargets(TargetRule, LearnsFeedback):
    """Targets through a learned feedback pathway, with the difference correction.

    Delta h_i = g_i(h^) - g_i(h), where h^ is the target of the layer that g_i listens to.

    Args:
        network: the network that learns.
        loss: see `TargetRule`.
        feedback: the feedback pathway; by default a random one with seed 0.
        target_stepsize: see `TargetRule`.
        frozen: see `TargetRule`; feedback to frozen layers learns all the same.
        reconstruction: the loss that trains the feedback, with its noise; by default that of the
            rule.
        joint: `backward` also fills `.grad` of the feedback, from the same forward pass, as
            Algorithms 1 to 5 train both on every minibatch; else only `feedback_backward` does.
        generator: source of the noise, on the network's device; by default a new one with seed 0.

    Attributes:
        schedule: when the published experiments on MNIST and Fashion-MNIST learn the feedback.
        pathway: the kind of feedback that the rule needs.

    Raises:
        UserError: a network without hidden layers, a pathway that doesn't fit it or the rule, or
            what
            `TargetRule` and the reconstruction loss refuse.
    """

    schedule: ClassVar[FeedbackSchedule] = FeedbackSchedule(pretraining=6, extra=1)
    pathway: ClassVar[type[TargetFeedback]]
    feedback: TargetFeedback

    def __init__(
        self,
        network: Network,
        loss: Loss | None = None,
        *,
        feedback: TargetFeedback | None = None,
        target_stepsize: float = 0.1,
        frozen: Collection[int] = (),
        reconstruction: Reconstruction | None = None,
        joint: bool = True,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(network, loss, target_stepsize=target_stepsize, frozen=frozen)
        if feedback is None:
            feedback = self.random_feedback(network, torch.Generator().manual_seed(0))
        if not isinstance(feedback, self.pathway):
            raise UserError(
                f"{type(self).__name__} needs {self.pathway.__name__}, not "
                f"{type(feedback).__name__}, to carry its targets"
            )
        feedback.check(network)
        self.feedback = feedback
        self.reconstruction = reconstruction or self.default_reconstruction()
        self.reconstruction.check(feedback)
        self.joint = joint
        device = network.weights[0].device
        self.generator = generator or torch.Generator(device).manual_seed(0)
        self._noise_seen = RoundingWatch("noises of the reconstruction", larger("its sigma"))

    def settings(self) -> dict[str, Any]:
        """See `LearningRule.settings`."""
        return {
            **super().settings(),
            "reconstruction": self.reconstruction,
            "joint": self.joint,
        }

    def counters(self) -> dict[str, int]:
        """With `small_noise`, the batches whose noise was lost in the rounding."""
        return {**super().counters(), "small_noise": self._noise_seen.lost}

    def _count_on(self, counts: Mapping[str, int]) -> None:
        super()._count_on(counts)
        self._noise_seen.lost = counts["small_noise"]

    def notes(self) -> list[str]:
        """Target steps and noise that are lost in the rounding."""
        return [*super().notes(), *self._noise_seen.notes()]

    def generators(self) -> dict[str, torch.Generator]:
        """See `LearningRule.generators`."""
        return {"noise": self.generator}

    @classmethod
    @abstractmethod
    def random_feedback(cls, network: Network, generator: torch.Generator) -> TargetFeedback:
        """A pathway as the published experiments of this rule start.

        Args:
            network: the network.
            generator: source of the numbers, on the CPU.

        Raises:
            UserError: a network without hidden layers.
        """

    @classmethod
    @abstractmethod
    def default_reconstruction(cls) -> Reconstruction:
        """The loss that trains this rule's feedback, with default noise."""

    @torch.no_grad()
    def backward(self, x: Tensor, y: Tensor) -> Tensor:
        """Fill `.grad` of the network, and of the feedback where both learn jointly."""
        free = self.network.run(x)
        synapses = self.feedback.free(free.r)
        last = self.target_stepsize * self.loss.error(free.output, y)
        self._steps_seen.see(last, free.output)
        self._descend(free, [*self.feedback.target_steps(free.r, synapses, last), last])
        if self.joint:
            self._learn(free, synapses)
        return self.loss.value(free.output, y).mean()

    @torch.no_grad()
    def feedback_backward(self, x: Tensor) -> None:
        """Fill `.grad` of the feedback's parameters from the reconstruction loss.

        Args:
            x: inputs, (batch, n_0).
        """
        free = self.network.run(x)
        self._learn(free, self.feedback.free(free.r))

    def _hidden(self, free: Forward, last: Tensor, y: Tensor) -> list[Tensor]:
        self._steps_seen.see(last, free.output)
        return self.feedback.target_steps(free.r, self.feedback.free(free.r), last)

    def _learn(self, free: Forward, synapses: Sequence[Synapses]) -> None:
        self._noise_seen.see(self.reconstruction.sigma, free.output)
        self.reconstruction.backward(self.network, self.feedback, free, synapses, self.generator)

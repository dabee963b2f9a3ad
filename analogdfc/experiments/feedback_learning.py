"""Alignment of learned feedback with the damped pseudoinverse (Meulemans et al. 2021, App. C.2)."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from analogdfc.datasets import Samples
from analogdfc.errors import ConvergenceError
from analogdfc.experiments.reference import damped_pseudoinverse
from analogdfc.experiments.results import Curves, CurvesRun
from analogdfc.experiments.toy import descend
from analogdfc.feedback import DirectFeedback
from analogdfc.jobs import Progress
from analogdfc.learning import DFC, SleepPhase
from analogdfc.measures import condition2
from analogdfc.network import Network
from analogdfc.records import Quantity
from analogdfc.training.loop import Phase, Training, shuffled
from analogdfc.training.stopping import Epochs


@dataclass(frozen=True)
class FeedbackLearning(CurvesRun):
    """Feedback learning with the forward weights fixed, as in Figs. S3 to S5.

    Attributes:
        activation: of the hidden layer, 'linear' or 'tanh'.
        gammas: dampings of the references J^T (J J^T + gamma I)^-1.
        sleep: the dynamics.
        sizes: neurons of each layer.
        samples: number of inputs, drawn uniformly from -1 to 1.
        batch_size: samples of a minibatch.
        epochs: passes over the inputs.
        rate: learning rate of plain SGD.
        points: measurements an epoch.
        seed: seed of weights, feedback, inputs, their order and the noise.
        group: where its curves are kept.
    """

    activation: str
    gammas: tuple[float, ...]
    sleep: SleepPhase
    _: KW_ONLY
    sizes: tuple[int, ...] = (20, 10, 5)
    samples: int = 5000
    batch_size: int = 128
    epochs: int = 30
    rate: float = 0.1
    points: int = 4
    seed: int = 0
    group: str = "feedback learning"

    @property
    def name(self) -> str:
        """Where its curves are kept."""
        return f"{self.group}/{self.activation}, k_p {self.sleep.k_p:g}, alpha {self.sleep.alpha:g}"

    @property
    def work(self) -> int:
        """Epochs."""
        return self.epochs

    def run(self, progress: Progress) -> Curves:
        """Learn and measure; see `Task.run`. A run that diverges carries the text 'stopped'."""
        network, feedback, x = _start(self)
        rule = DFC(
            network, feedback, sleep=self.sleep, generator=torch.Generator().manual_seed(self.seed)
        )
        batches = -(-self.samples // self.batch_size)
        every = max(1, batches // self.points)
        epochs: list[float] = []
        angles: list[list[float]] = []
        ratios: list[float] = []
        stopped: dict[str, str] = {}

        def step(inputs: torch.Tensor, _: torch.Tensor) -> float:
            k = training.batch - 1
            if k % every == 0:
                epochs.append(training.epochs + k / batches)
                found, ratio = _alignment(network, feedback, inputs, self.gammas)
                angles.append(found)
                ratios.append(ratio)
            rule.feedback_backward(inputs)
            descend(list(feedback.parameters()), self.rate)
            return 0.0

        order = shuffled(torch.Generator().manual_seed(self.seed + 1))
        training = Training[None](
            Samples(x, x),
            [Phase("feedback", step, order, counts=False)],
            batch_size=self.batch_size,
            stop=Epochs(self.epochs),
        )
        try:
            training.run(completed=lambda _: progress(1))
        except ConvergenceError as error:
            stopped["stopped"] = f"epoch {training.epochs + 1}: {error}"
            progress(self.epochs - training.epochs)
        return {
            "epoch": Quantity(epochs, "1", "epochs of feedback learning so far", ("time",)),
            "gamma": Quantity(list(self.gammas), "1", "damping of the reference", ("gamma",)),
            "angle": Quantity(angles, "degree", "of Q to the reference", ("time", "gamma")),
            "condition2": Quantity(ratios, "1", "share of Q in the row space of J", ("time",)),
            **stopped,
        }


def _start(job: FeedbackLearning) -> tuple[Network, DirectFeedback, torch.Tensor]:
    generator = torch.Generator().manual_seed(job.seed)
    network = Network(job.sizes, activation=job.activation, generator=generator)
    feedback = DirectFeedback.random(network, generator)
    x = 2 * torch.rand(job.samples, job.sizes[0], dtype=torch.float64, generator=generator) - 1
    return network, feedback, x


def _alignment(
    network: Network, feedback: DirectFeedback, x: torch.Tensor, gammas: tuple[float, ...]
) -> tuple[list[float], float]:
    """Angles of Q to the references of each sample and the ratio of Condition 2, minibatch means.

    Returns:
        An angle in degrees for each gamma, and the ratio.
    """
    with torch.no_grad():
        jacobians = network.jacobians(network.potentials(x))
        matrices = [q.detach() for q in feedback.matrices]
        j = torch.cat(jacobians, dim=-1).numpy()
        q = torch.cat(matrices).numpy()
        ratio = float(condition2(jacobians, matrices).mean())
    return [float(_angles(damped_pseudoinverse(j, g), q).mean()) for g in gammas], ratio


def _angles(references: NDArray[np.float64], q: NDArray[np.float64]) -> NDArray[np.float64]:
    flat, own = references.reshape(len(references), -1), q.ravel()
    cosine = flat @ own / (np.linalg.norm(flat, axis=1) * np.linalg.norm(own))
    degrees: NDArray[np.float64] = np.degrees(np.arccos(np.clip(cosine, -1, 1)))
    return degrees

"""An experiment: data, network, rule and plan, as settings that make a trainer."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from analogdfc.datasets import Dataset, Samples, load_dataset
from analogdfc.dynamics.settling import DirectSolution, Simulation
from analogdfc.errors import UserError
from analogdfc.feedback import DirectFeedback
from analogdfc.learning import (
    LearnedTargets,
    LearningRule,
    NodePerturbation,
    NonDynamicInversion,
    Pseudobackpropagation,
    get_rule,
    make_rule,
)
from analogdfc.learning.dfc import FeedbackControl
from analogdfc.learning.inversion import Dynamic
from analogdfc.losses import LOSSES
from analogdfc.network import Network
from analogdfc.states import digest
from analogdfc.storage import Model
from analogdfc.training.angles import AngleSettings
from analogdfc.training.modules import Module
from analogdfc.training.optimizers import Adam
from analogdfc.training.plan import FeedbackPlan, Plan
from analogdfc.training.start import (
    FeedbackStart,
    InitialWeights,
    feedback_of,
    take_feedback,
    take_weights,
)
from analogdfc.training.substrate import Placed, Substrate
from analogdfc.training.switching import Switched
from analogdfc.training.trainer import Trainer

_Start = InitialWeights | FeedbackStart

DTYPES = {"float64": torch.float64, "float32": torch.float32}


def _transposed(network: Network, _: torch.Generator) -> DirectFeedback:
    return DirectFeedback.transposed(network)


# Where the feedback weights of deep feedback control start. Learned ones start at random, as in the
# paper; fixed ones must satisfy Conditions 2 and 3 from the start (App. F.2).
FEEDBACKS: dict[str, Callable[[Network, torch.Generator], DirectFeedback]] = {
    "learned": DirectFeedback.random,
    "fixed": _transposed,
}

HIDDEN = 32
"""Neurons of the hidden layer where nothing says how many."""

_BATCH_SIZE = 32
# Draws of node perturbation, whose updates are noisier the more neurons there are.
_PERTURBATIONS = 10
# Bound on the errors behind an inverse, as the published nonlinear experiments of dynamic inversion
# have it, and steps short enough for weights that grow in training.
_MAX_NORM = 1.0
_SETTLING = Simulation(dt=0.1, steps=500, tolerance=1e-3)

# Share of the samples set aside for validation where a set comes without, and the fewest that tell
# one epoch from another. A set too small for them, such as the four patterns of XOR, isn't split.
_VALIDATION = 0.1
_LEAST_VALIDATION = 10


@dataclass(frozen=True, kw_only=True)
class Switch:
    """A rule that takes over from another (Lillicrap et al. 2016, supplementary fig. 14).

    Attributes:
        rule: its name.
        after: epochs of the other rule before it, >= 1.
        options: its further arguments.
    """

    rule: str
    after: int
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """What is trained, on what, and how.

    Attributes:
        rule: name of the learning rule.
        dataset: name of the data set.
        sizes: neurons of layers 0 to L.
        activation: nonlinearity of the hidden layers, one name or one a layer.
        output_activation: that of the last layer.
        loss: name of the loss: 'l2', 'l2-spread' or 'cross-entropy'.
        autoencoder: the labels are the inputs.
        standardised: inputs less the mean of each over the samples that are learned from, with a
            variance of 1 over all of them together.
        between: bounds to which inputs are moved and stretched, so that the least and the largest
            of the samples that are learned from lie there; None leaves them.
        feedback: 'learned' or 'fixed', for rules of deep feedback control: where the feedback
            weights start, at random or at the product of the transposed weights.
        pathway: makes the feedback pathway of another rule, from the network and a generator; by
            default the rule's own random one.
        feedback_start: where feedback weights start otherwise, and what a pathway is made of.
        initial: where the weights start.
        start: a network from whose weights and biases they start instead; and the feedback weights
            from those that it has, where it has some of the rule's kind, nothing is placed on a
            substrate, and `feedback_start` says nothing else.
        switch: the rule that goes on after some epochs; None for one rule throughout.
        module: the file of one's own that the rule or the data set is from.
        options: further arguments of the rule, such as `target_stepsize` and `controller`.
        plan: how it is trained; its `feedback` says how feedback weights are learned, if at all.
        seed: seed of the initial weights, the order of samples and the noise.
        samples: train on this many samples, drawn once and for all; None for all.
        substrate: what the network is placed on before it learns, such as a chip; None for nothing.
        chip_seed: seed of what is drawn of the substrate; by default `seed`.
        angles: which angles of the updates to ideal ones are taken, and when; None for none.

    Raises:
        UserError: an unknown name.
    """

    rule: str = "dfc-ssa"
    dataset: str = "digits"
    sizes: tuple[int, ...] = (64, HIDDEN, 10)
    activation: str | tuple[str, ...] = "tanh"
    output_activation: str = "linear"
    loss: str = "cross-entropy"
    autoencoder: bool = False
    standardised: bool = False
    between: tuple[float, float] | None = None
    feedback: str = "fixed"
    pathway: Callable[[Network, torch.Generator], nn.Module] | None = None
    feedback_start: FeedbackStart = field(default_factory=FeedbackStart)
    initial: InitialWeights = field(default_factory=InitialWeights)
    start: Model | None = None
    switch: Switch | None = None
    module: Module | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    plan: Plan = field(default_factory=Plan)
    seed: int = 0
    samples: int | None = None
    substrate: Substrate | None = None
    chip_seed: int | None = None
    angles: AngleSettings | None = None

    def __post_init__(self) -> None:
        get_rule(self.rule)
        if self.switch is not None:
            self._check_switch(self.switch)
        if self.plan.frozen and self.substrate is not None:
            raise UserError("frozen layers: the devices of a chip are all written")
        if self.start is not None and self.initial != InitialWeights():
            raise UserError("initial weights: the weights to start from say them already")
        if self.between is not None and not self.between[0] < self.between[1]:
            raise UserError(f"inputs between {self.between}: the first must be below the second")
        for what, name, known in (
            ("loss", self.loss, LOSSES),
            ("feedback", self.feedback, FEEDBACKS),
        ):
            if name not in known:
                raise UserError(f"unknown {what} {name!r}; there are {', '.join(known)}")

    @property
    def controlled(self) -> bool:
        """Whether the rule is one of deep feedback control."""
        return issubclass(get_rule(self.rule).rule, FeedbackControl)

    def about(self) -> dict[str, Any]:
        """What a record keeps of it besides what the trainer knows."""
        targets = not self.controlled and self.plan.feedback is not None
        return {
            "dataset": self.dataset,
            "autoencoder": self.autoencoder,
            **({"standardised": True} if self.standardised else {}),
            **({} if self.between is None else {"between": list(self.between)}),
            "feedback": "learned" if targets else self.feedback,
            "seed": self.seed,
            **({} if self.chip_seed is None else {"chip_seed": self.chip_seed}),
            **_said("initial", self.initial, InitialWeights()),
            **_said("feedback_start", self.feedback_start, FeedbackStart()),
            **({} if self.start is None else {"start": self._started(self.start)}),
            **({} if self.module is None else {"module": self.module.sha256}),
        }

    def load(
        self,
        folder: str | os.PathLike[str] | None = None,
        dtype: torch.dtype = torch.float64,
        device: torch.device | str = "cpu",
    ) -> Dataset:
        """The data, with validation samples, and with inputs for labels in an autoencoder.

        Args:
            folder: where to look first for the files of the set.
            dtype: floating type.
            device: where the data go.

        Raises:
            UserError: an unknown or missing set, or more samples than it has.
        """
        return prepared(
            load_dataset(self.dataset, folder, dtype),
            samples=self.samples,
            autoencoder=self.autoencoder,
            standardised=self.standardised,
            between=self.between,
            device=device,
        )

    def trainer(self, data: Dataset) -> Trainer:
        """A new training on these data, with the type and on the device that they have.

        Args:
            data: the samples.

        Raises:
            UserError: settings that make no rule, or data that do not fit the network.
        """
        generator = torch.Generator().manual_seed(self.seed)
        network = Network(
            self.sizes,
            self.activation,
            self.output_activation,
            dtype=data.x.dtype,
            device=data.x.device,
            generator=generator,
        )
        self.initial.apply(network, generator)
        if self.start is not None:
            take_weights(network, self.start)
        placed = Placed(network, {})
        if self.substrate is not None:
            placed = self.substrate.place(network, self._drawn)
        rule = self._rule(placed.network, generator, placed.options)
        if self.switch is not None:
            then = replace(self, rule=self.switch.rule, options=self.switch.options, switch=None)
            each = -(-len(data.x) // self.plan.batch_size)
            second = then._rule(placed.network, generator, {})
            rule = Switched(rule, second, after=self.switch.after * each)
        return Trainer(
            rule,
            data,
            self.plan,
            generator=generator,
            update=placed.update,
            angles=self.angles,
        )

    def tree(self) -> dict[str, Any]:
        """What a record keeps for other commands: what the network is on, and its seed.

        Of a rule or data set of one's own the text of the file too.
        """
        text = {} if self.module is None else {"module": self.module.text}
        if self.substrate is None:
            return text
        return {**text, "seed": self.seed, "chip_seed": self._drawn, **self.substrate.tree()}

    def _check_switch(self, switch: Switch) -> None:
        get_rule(switch.rule)
        if self.substrate is not None or self.plan.feedback is not None:
            what = "a chip" if self.substrate is not None else "learned feedback"
            raise UserError(f"two rules in turn, {self.rule} and {switch.rule}: not with {what}")
        if not 1 <= switch.after < self.plan.epochs:
            raise UserError(
                f"the rule {switch.rule!r} after {switch.after} epochs: 1 to "
                f"{self.plan.epochs - 1} of {self.plan.epochs} are possible"
            )

    def _started(self, start: Model) -> str:
        """Tells what a training starts from from anything else."""
        feedback = feedback_of(get_rule(self.rule).rule, start) if self._takes_feedback else None
        arrays = () if feedback is None else feedback.state_dict().values()
        return _digest([*start.network.parameters(), *arrays])

    @property
    def _takes_feedback(self) -> bool:
        return self.substrate is None and self.feedback_start == FeedbackStart()

    @property
    def _drawn(self) -> int:
        return self.seed if self.chip_seed is None else self.chip_seed

    def _rule(
        self, network: Network, generator: torch.Generator, placed: Mapping[str, Any]
    ) -> LearningRule:
        make = FEEDBACKS[self.feedback] if self.controlled else self.pathway
        make = self.feedback_start.make(get_rule(self.rule).rule, make)
        rule = make_rule(
            self.rule,
            network,
            loss=LOSSES[self.loss],
            feedback=None if make is None else make(network, generator),
            generator=generator,
            **placed,
            **self.options,
        )
        if self.start is not None and self._takes_feedback:
            take_feedback(rule, self.start)
        return rule


def default_experiment(
    rule: str, *, feedback: str | None = None, activation: str | tuple[str, ...] = "tanh"
) -> Experiment:
    """Settings with which a rule learns the digits, where nobody says others.

    Feedback of targets is learned as the published experiments do: `schedule` of the rule, and in
    every minibatch of the forward epochs. Steady states of dynamic inversion are simulated, or
    solved for where the hidden layers are linear.

    Args:
        rule: name of the rule.
        feedback: as of `Experiment`; by default learned where the rule always learns it, else
            fixed.
        activation: as of `Experiment`.

    Raises:
        UserError: an unknown name.
    """
    kind = get_rule(rule).rule
    if feedback is None:
        learned = issubclass(kind, FeedbackControl) and kind.learns_both
        feedback = "learned" if learned else "fixed"
    return Experiment(
        rule=rule,
        activation=activation,
        feedback=feedback,
        options=_default_options(kind, activation),
        plan=Plan(batch_size=_BATCH_SIZE, feedback=_default_learning(kind, feedback)),
    )


def _default_options(kind: type[LearningRule], activation: str | tuple[str, ...]) -> dict[str, Any]:
    if issubclass(kind, NodePerturbation):
        return {"perturbations": _PERTURBATIONS}
    if issubclass(kind, NonDynamicInversion | Pseudobackpropagation):
        return {"max_norm": _MAX_NORM}
    if issubclass(kind, Dynamic):
        names = {activation} if isinstance(activation, str) else set(activation)
        settling = DirectSolution() if names == {"linear"} else _SETTLING
        return {"max_norm": _MAX_NORM, "settling": settling}
    return {}


def _default_learning(kind: type[LearningRule], feedback: str) -> FeedbackPlan | None:
    if issubclass(kind, LearnedTargets):
        rate, (pretraining, extra) = Adam(), kind.schedule
        return FeedbackPlan(
            optimizer=rate,
            pretraining=rate,
            pretraining_epochs=pretraining,
            before=0,
            after=extra,
            clip=None,
        )
    if not issubclass(kind, FeedbackControl) or feedback != "learned":
        return None
    learned = FeedbackPlan()
    return replace(learned, before=0, after=0) if kind.learns_both else learned


def _said(name: str, value: _Start, default: _Start) -> dict[str, Any]:
    """A setting where it isn't the default, so that older files, which lack it, fit."""
    return {} if value == default else {name: asdict(value)}


def _digest(tensors: Iterable[Tensor]) -> str:
    """Tells some numbers from others."""
    return hashlib.sha256("".join(map(digest, tensors)).encode()).hexdigest()


def prepared(
    data: Dataset,
    *,
    samples: int | None = None,
    autoencoder: bool = False,
    standardised: bool = False,
    between: tuple[float, float] | None = None,
    device: torch.device | str = "cpu",
) -> Dataset:
    """Set samples aside for validation where there are none, and bring the data to a device.

    Args:
        data: the data set. One of fewer than 100 samples to learn from isn't split: all are learned
            from, and there are none for validation.
        samples: keep only so many training samples; which ones is the same in every run.
        autoencoder: take the inputs for labels.
        standardised: see `Experiment`.
        between: the same; what is standardised is stretched after it.
        device: where the data go.

    Raises:
        UserError: more samples than there are, or none.
    """
    learned, validation = Samples(data.x, data.y), data.validation
    order = torch.randperm(len(data.x), generator=torch.Generator().manual_seed(0))
    count = int(_VALIDATION * len(order))
    if validation is None and count >= _LEAST_VALIDATION:
        aside, order = order[:count].sort().values, order[count:]
        validation = Samples(data.x[aside], data.y[aside])
    if samples is not None and not 1 <= samples <= len(order):
        raise UserError(f"{samples} samples: the data set has 1 to {len(order)} to learn from")
    kept = order[:samples].sort().values
    if len(kept) < len(data.x):
        learned = Samples(data.x[kept], data.y[kept])

    mean, size, middle = torch.zeros_like(learned.x[0]), 1.0, 0.0
    if standardised:
        mean = learned.x.mean(dim=0)
        size = float((learned.x - mean).square().mean().sqrt()) or 1.0
    if between is not None:
        x = learned.x - mean
        least, largest = float(x.min()), float(x.max())
        size = (largest - least) / (between[1] - between[0]) or 1.0
        middle = between[0] - least / size

    def moved(part: Samples) -> Samples:
        changed = standardised or between is not None
        x = ((part.x - mean) / size + middle if changed else part.x).to(device)
        return Samples(x, x if autoencoder else part.y.to(device))

    return Dataset(
        *moved(learned),
        *moved(Samples(data.x_test, data.y_test)),
        None if validation is None else moved(validation),
    )

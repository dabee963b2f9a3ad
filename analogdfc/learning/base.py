"""What every learning rule is, and the registry of their names."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from typing import Any, ClassVar, NamedTuple, TypeVar, cast

import torch
from torch import Tensor, nn

from analogdfc.controller import Controller
from analogdfc.errors import UserError
from analogdfc.feedback import Feedback
from analogdfc.learning.ranks import WRAPPED, Ranks, check_not_wrapped
from analogdfc.losses import Loss, SquaredError
from analogdfc.network import Network, check_network
from analogdfc.samples import fitting
from analogdfc.states import State, checked, inside, part, set_generator


class RuleInfo(NamedTuple):
    """An entry of the registry.

    Attributes:
        name: the name on the command line.
        family: what it belongs to.
        feedback: the feedback weights that it needs.
        local_space: whether it is local in space: what a synapse learns from is at the synapse.
        local_time: whether it is local in time: it is there when the synapse learns.
        equation: what gives the update, in one line; the symbols are those of its docstring.
        source: paper and equation.
        rule: the class.
    """

    name: str
    family: str
    feedback: str
    local_space: str
    local_time: str
    equation: str
    source: str
    rule: type[LearningRule]


class ControlLoop(NamedTuple):
    """The control loop through which a rule learns.

    Attributes:
        feedback: the feedback pathway.
        controller: the controller.
        tau_v: time constant of the neurons, in units of the controller's time.
        neuron: what the neurons are where they aren't those of Meulemans et al. 2021, eq. 1.
    """

    feedback: Feedback
    controller: Controller
    tau_v: float
    neuron: str = ""


_WRITES_GRADIENTS = {"backward", "feedback_backward"}
_TAKES_SAMPLES = {*_WRITES_GRADIENTS, "target_steps", "outputs"}
_Method = TypeVar("_Method", bound=Callable[..., Any])


def _averaging(method: _Method) -> _Method:
    """A method that writes gradients, which are then averaged over the rule's processes."""

    @wraps(method)
    def averaged(self: LearningRule, x: Tensor, *args: Any, **kwargs: Any) -> Any:
        if self.ranks is None:
            return method(self, x, *args, **kwargs)
        # Methods of the classes below that it calls are part of it.
        ranks, self.ranks = self.ranks, None
        try:
            loss = method(self, x, *args, **kwargs)
        except Exception:
            ranks.average(self._parameters(), 0, None)  # or the others would wait for ever
            raise
        finally:
            self.ranks = ranks
        return ranks.average(self._parameters(), len(x), loss)

    return cast(_Method, averaged)


class LearningRule(ABC):
    """Writes the negative of its weight update into `.grad` of a network's parameters.

    Any `torch.optim` optimiser then makes the step. A rule says what it needs (`settings`), what it
    counts (`counters`), what it keeps from step to step (`state_dict`) and what it puts out
    (`outputs`, `figures`), so that trainers and records ask it and know nothing of its family.

    What it is asked for samples with (`backward`, `feedback_backward`, `target_steps`, `outputs`)
    is refused, in every rule, where their shapes don't fit the network or there are none: labels
    that broadcast would give another update, and no samples have no mean.

    Args:
        network: the network that learns.
        loss: the loss at the output; by default the squared error.

    Attributes:
        feedback: the feedback pathway; None for a rule without.
        ranks: the processes that it learns with; None where it learns alone.
        called: its name where it isn't in the registry; empty for that of its class.
        ignored: arguments that it takes as its relatives do, and makes no use of.
    """

    ignored: ClassVar[tuple[str, ...]] = ()
    called: str = ""
    feedback: nn.Module | None = None
    ranks: Ranks | None = None

    def __init_subclass__(cls, **options: Any) -> None:
        """Check the samples in front of whatever a rule does with them."""
        super().__init_subclass__(**options)
        for name in _TAKES_SAMPLES & vars(cls).keys():
            setattr(cls, name, fitting(vars(cls)[name]))
        for name in _WRITES_GRADIENTS & vars(cls).keys():
            setattr(cls, name, _averaging(vars(cls)[name]))

    def __init__(self, network: Network, loss: Loss | None = None) -> None:
        check_not_wrapped(network)
        check_network(network)
        self.network = network
        self.loss = loss or SquaredError()

    @property
    def _ddp_params_and_buffers_to_ignore(self) -> None:
        # What DistributedDataParallel asks of a module before anything else.
        raise UserError(WRAPPED)

    def learn_with(self, ranks: Ranks) -> None:
        """Learn together with the same rule in other processes, each from its share of a batch.

        All start from the parameters of rank 0. From then on what `backward` and
        `feedback_backward` write is the average over the processes, each by its number of samples,
        which is what one process writes from the whole batch where an update is a mean over
        samples; the loss is that of the whole batch too. Every process draws its own random
        numbers, from the seed and its rank, for instance of noise.

        Args:
            ranks: the processes.
        """
        check_not_wrapped(self.feedback)
        ranks.copy_first(self._parameters())
        ranks.separate(self.generators().values())
        self.ranks = ranks

    def _parameters(self) -> list[nn.Parameter]:
        pathway = [] if self.feedback is None else [*self.feedback.parameters()]
        return [*self.network.parameters(), *pathway]

    @classmethod
    def random_feedback(cls, network: Network, generator: torch.Generator) -> nn.Module | None:
        """A pathway of this rule that starts at random, for its argument `feedback`.

        Args:
            network: the network that learns.
            generator: source of the numbers, on the CPU.

        Returns:
            None for a rule without feedback weights, or with others unless told so.
        """
        return None

    @abstractmethod
    def backward(self, x: Tensor, y: Tensor) -> Tensor:
        """Fill `.grad` from a batch.

        Args:
            x: inputs, (batch, n_0).
            y: labels, (batch, n_L).

        Returns:
            The mean loss of the batch before the update, a scalar.

        Raises:
            UserError: inputs or labels that don't fit the network, or no samples.
        """

    def settings(self) -> dict[str, Any]:
        """What decides over the updates, and is neither a parameter nor the loss.

        Returns:
            Numbers, texts, booleans, None, dataclasses and named tuples of these, and sequences of
            them, by name.
        """
        return {}

    def counters(self) -> dict[str, int]:
        """What the rule has counted since it was made, by name."""
        return {}

    def generators(self) -> dict[str, torch.Generator]:
        """The sources of random numbers that it draws from, by name."""
        return {}

    def control_loop(self) -> ControlLoop | None:
        """The control loop that it learns through; None for a rule without."""
        return None

    @fitting
    def outputs(self, x: Tensor) -> Tensor:
        """What its network answers as it is, (batch, n_L), for the inputs (batch, n_0).

        Args:
            x: inputs r_0, (batch, n_0).

        Raises:
            UserError: inputs that don't fit the network, or no samples.
        """
        answer: Tensor = self.network(x)
        return answer

    def figures(self) -> dict[str, float]:
        """What the rule has to tell about its steps so far, beside the loss, by name."""
        return {name: float(count) for name, count in self.counters().items()}

    def notes(self) -> list[str]:
        """What its user should know of what it did so far, a sentence each; mostly nothing."""
        return []

    def state_dict(self) -> State:
        """All that goes on from step to step beside the parameters of the network.

        Returns:
            A copy: `feedback/NAME`, `counters/NAME` and `generators/NAME`, and `network/NAME` of a
            network that keeps more than its parameters.
        """
        pathway = {} if self.feedback is None else self.feedback.state_dict()
        return {
            **inside("feedback", {k: v.detach().clone() for k, v in pathway.items()}),
            **inside("counters", self.counters()),
            **inside("generators", {k: g.get_state() for k, g in self.generators().items()}),
            **inside("network", self.network.hidden_state()),
        }

    @torch.no_grad()
    def load_state_dict(self, state: Mapping[str, Tensor | int | float]) -> None:
        """Go on exactly where another rule with these settings was.

        Args:
            state: of its `state_dict`.

        Raises:
            StateError: a part is missing, belongs to nothing here, or has another shape or type.
        """
        state = checked(state, self.state_dict())
        if self.feedback is not None:
            for name, value in self.feedback.state_dict().items():
                value.copy_(torch.as_tensor(state[f"feedback/{name}"]))
        self._count_on({k: int(n) for k, n in part("counters", state).items()})
        for name, generator in self.generators().items():
            key = f"generators/{name}"
            set_generator(key, generator, state[key])
        self.network.load_hidden_state(part("network", state))

    def _count_on(self, counts: Mapping[str, int]) -> None:
        """Go on counting from the numbers that `counters` gave."""
        return

    def _write(
        self, weights: Sequence[Tensor], biases: Sequence[Tensor], *, ours: bool = False
    ) -> None:
        """Make gradients of updates, in their own memory where nobody else has them."""
        turned = torch.neg_ if ours else torch.neg
        self._give([turned(w) for w in weights], [turned(b) for b in biases])

    def _give(self, weights: Sequence[Tensor], biases: Sequence[Tensor]) -> None:
        """Hand over gradients, which nobody else has."""
        for parameters, gradients in (
            (self.network.weights, weights),
            (self.network.biases, biases),
        ):
            for parameter, gradient in zip(parameters, gradients, strict=True):
                parameter.grad = gradient


class LearnsFeedback(LearningRule):
    """A rule whose feedback weights can be learned, in a phase of their own."""

    feedback: nn.Module

    @abstractmethod
    def feedback_backward(self, x: Tensor) -> None:
        """Fill `.grad` of the feedback weights.

        Args:
            x: inputs, (batch, n_0).

        Raises:
            UserError: inputs that don't fit the network, or no samples.
        """


RULES: dict[str, RuleInfo] = {}
_Rule = TypeVar("_Rule", bound=type[LearningRule])


def register(
    name: str,
    *,
    family: str,
    local: str,
    source: str,
    local_time: str = "",
    feedback: str = "none",
    equation: str = "",
) -> Callable[[_Rule], _Rule]:
    """Class decorator that enters a rule into the registry.

    Args:
        name: see `RuleInfo`, as of the others.
        family: what it belongs to.
        local: locality in space.
        source: paper and equation.
        local_time: locality in time.
        feedback: the feedback weights that it needs.
        equation: what gives the update.

    Raises:
        UserError: a name that no record can have.
    """
    if not name.isprintable() or "/" in name or not name.strip("."):
        raise UserError(f"name of a learning rule {name!r}: write printable text without '/'")

    def enter(rule: _Rule) -> _Rule:
        RULES[name] = RuleInfo(name, family, feedback, local, local_time, equation, source, rule)
        return rule

    return enter


def get_rule(name: str) -> RuleInfo:
    """The registered rule of that name.

    Args:
        name: a key of `RULES`.

    Raises:
        UserError: there is none; the message lists those that exist.
    """
    if name not in RULES:
        raise UserError(f"unknown learning rule {name!r}; there are {', '.join(sorted(RULES))}")
    return RULES[name]


def name_of(rule: LearningRule) -> str:
    """The name that a rule is registered by; that of its class where it isn't."""
    names = (name for name, info in RULES.items() if info.rule is type(rule))
    return rule.called or next(names, type(rule).__name__)

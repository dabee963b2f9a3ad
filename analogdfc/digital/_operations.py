"""Operations of one training step, counted rule by rule as the rules of this library do them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise

from analogdfc.dynamics.averaging import CHUNK
from analogdfc.errors import UserError

SQRT = DIVISION = 4
"""Operations that a square root or a division counts for (McMahon 1986, UCRL-53745)."""


@dataclass(frozen=True, kw_only=True)
class Operations:
    """What a processor does, whatever its number format.

    Attributes:
        macs: multiply-accumulates of matrix products.
        solves: multiply-accumulates of the factorisation and substitution of small systems.
        flops: other additions and multiplications, one by one; a division or square root is 4.
        evaluations: evaluations of an activation function.
        words: numbers read and written, where each kernel reads its operands once and writes its
            result once: weights, activations and state.
        samples: numbers of the samples and labels, which any machine reads once, among `words`.
        resident: numbers held from step to step: weights, feedback, moments, activations, state.
    """

    macs: int = 0
    solves: int = 0
    flops: int = 0
    evaluations: int = 0
    words: int = 0
    samples: int = 0
    resident: int = 0

    def __add__(self, other: Operations) -> Operations:
        """One after the other; the memory is used again."""
        mine, others = asdict(self), asdict(other)
        sums = Operations(**{name: mine[name] + others[name] for name in mine})
        return replace(sums, resident=max(self.resident, other.resident))

    def repeated(self, times: int) -> Operations:
        """So many repetitions.

        Args:
            times: how often, >= 0.
        """
        resident = self.resident if times > 0 else 0
        many = Operations(**{name: times * n for name, n in asdict(self).items()})
        return replace(many, resident=resident)

    @property
    def total(self) -> int:
        """Operations in all; a multiply-accumulate is two, an evaluation one."""
        return 2 * (self.macs + self.solves) + self.flops + self.evaluations

    def bytes(self, bits: int) -> int:
        """Bytes read and written in a format of so many bits.

        Args:
            bits: of one number.
        """
        return self.words * bits // 8


def _product(m: int, k: int, n: int, *, added: bool = False) -> Operations:
    """(m, k) times (k, n); `added` to what is in memory."""
    return Operations(macs=m * k * n, words=m * k + k * n + m * n * (2 if added else 1))


def _pointwise(count: int, flops: int, moved: int, evaluations: int = 0) -> Operations:
    """`count` times so many operations, numbers moved and evaluations."""
    return Operations(flops=count * flops, words=count * moved, evaluations=count * evaluations)


def _sum(parts: Sequence[Operations]) -> Operations:
    return sum(parts, Operations())


@dataclass(frozen=True)
class Step:
    """One training step, in pieces that the rules share.

    Attributes:
        sizes: neurons of layers 0..L.
        batch: samples.
        steps: time steps of a simulation.
        iterations: Newton steps, each with one pass through the network.
        jacobians: how many of them renew the derivative.
        refinements: corrections of the linear solution of 'dfc-ssa'.
    """

    sizes: tuple[int, ...]
    batch: int
    steps: int
    iterations: int
    jacobians: int
    refinements: int

    @property
    def _layers(self) -> list[tuple[int, int]]:
        return list(pairwise(self.sizes))

    @property
    def _neurons(self) -> int:
        return sum(self.sizes[1:])

    @property
    def _hidden(self) -> int:
        return sum(self.sizes[1:-1])

    @property
    def _outputs(self) -> int:
        return self.sizes[-1]

    def _activate(self, neurons: int) -> Operations:
        return _pointwise(self.batch * neurons, 0, 2, evaluations=1)

    def _feed(self, first: int = 1) -> Operations:
        """v_ff = W r + b of layers `first`..L."""
        b = self.batch
        return _sum(
            [
                _product(b, n_in, n) + Operations(flops=b * n, words=n)
                for n_in, n in self._layers[first - 1 :]
            ]
        )

    def _forward(self) -> Operations:
        return self._feed() + self._activate(self._hidden)

    def _push(self) -> Operations:
        """Feedback Q u of all layers."""
        return _product(self.batch, self._outputs, self._neurons)

    def _push_hidden(self) -> Operations:
        """The same where the output layer's Q is the identity: it copies u."""
        if not self._hidden:
            return self._push()
        copied = _pointwise(self.batch * self._outputs, 0, 2)
        return _product(self.batch, self._outputs, self._hidden) + copied

    def _outer(self, first: int = 1) -> Operations:
        """Outer products summed over the batch, for weights and biases of layers `first`..L."""
        b = self.batch
        return _sum(
            [
                _product(n, b, n_in) + Operations(flops=b * n, words=b * n + n)
                for n_in, n in self._layers[first - 1 :]
            ]
        )

    def _error(self) -> Operations:
        """Loss gradient and output target: subtract, scale, add."""
        return _pointwise(self.batch * self._outputs, 3, 3)

    def _differences(self, evaluated: int) -> Operations:
        """phi(v) - phi(v_ff), with phi(v_ff) evaluated in so many neurons."""
        return _pointwise(self.batch * self._neurons, 1, 3) + Operations(
            evaluations=self.batch * evaluated
        )

    def _controller(self) -> Operations:
        """Error, leaking integral and control signal (Meulemans et al. 2021, eq. 206)."""
        return _pointwise(self.batch * self._outputs, 7, 5)

    def _potentials(self) -> Operations:
        """Euler step, v += dt / tau_v (v_ff + Q u - v), then phi(v) of the hidden layers."""
        moved = _pointwise(self.batch * self._neurons, 4, 5)
        return moved + Operations(evaluations=self.batch * self._hidden)

    def _sensitivity(self) -> Operations:
        """T_i = D_i (W_i T_{i-1} + Q_i), n_L columns a sample."""
        rows = self.batch * self._outputs
        slopes = _pointwise(self.batch * self._neurons, 2, 2)
        scaled = _pointwise(rows * self._neurons, 2, 3)
        return slopes + scaled + _sum([_product(rows, a, n) for a, n in self._layers[1:]])

    def _inverse(self) -> Operations:
        """Inverse of a small matrix, n^3, for each sample."""
        n, b = self._outputs, self.batch
        return Operations(solves=b * n**3, words=b * 2 * n * n)

    def _solve(self) -> Operations:
        """The inverse times a vector, n^2, for each sample."""
        n, b = self._outputs, self.batch
        return Operations(solves=b * n**2, words=b * (n * n + 2 * n))

    def _refine(self) -> Operations:
        """What a solution leaves: the layers' linear response to it; and its correction."""
        scaled = _pointwise(self.batch * self._neurons, 2, 3)
        layers = _sum([_product(self.batch, a, n) for a, n in self._layers[1:]])
        left = _pointwise(self.batch * self._outputs, 4, 5)
        return self._push() + scaled + layers + left + self._solve()

    def _rest(self) -> Operations:
        """Layers at rest under a control signal; v_ff of layer 1 is known."""
        add = _pointwise(self.batch * self._neurons, 1, 0)
        return self._feed(2) + self._push() + add + self._activate(self._hidden)

    def bp(self) -> Operations:
        """Forward pass, delta_i = D_i W_{i+1}^T delta_{i+1}, outer products."""
        b = self.batch
        back = _sum([_product(b, n, n_in) for n_in, n in self._layers[1:]])
        slopes = _pointwise(b * self._hidden, 3, 3)
        return self._forward() + self._error() + back + slopes + self._outer()

    def dfc(self) -> Operations:
        """Algorithm 1, the outer products of some steps in one matrix product."""
        one = self._controller() + self._push_hidden() + self._feed(2) + self._potentials()
        one += self._differences(self._hidden - (self.sizes[1] if len(self.sizes) > 2 else 0))
        one += _pointwise(self.batch * self._neurons, 1, 1)  # the sums for the biases
        # Each collection reads and writes the sums of the weights.
        outer = [
            Operations(
                macs=self.steps * self.batch * a * n,
                words=self.steps * self.batch * (a + n) + 2 * a * n * -(-self.steps // CHUNK),
            )
            for a, n in self._layers[1:]
        ]
        first = _product(self.sizes[1], self.batch, self.sizes[0])
        twice = self._forward().repeated(2)
        return twice + self._error() + one.repeated(self.steps) + _sum(outer) + first

    def dfc_ss_simulated(self) -> Operations:
        """Algorithm 2: the simulation's last state; layer 1 is computed anew in each step."""
        one = self._controller() + self._feed() + self._push() + self._potentials()
        last = self._feed() + self._differences(self._hidden) + self._outer()
        twice = self._forward().repeated(2)
        return twice + self._error() + one.repeated(self.steps) + last

    def dfc_ss(self) -> Operations:
        """Newton's method on u: inverse derivatives, and passes through the layers."""
        one = self._solve() + self._rest() + _pointwise(self.batch * self._outputs, 4, 6)
        derivative = self._sensitivity() + self._inverse()
        newton = one.repeated(self.iterations) + derivative.repeated(self.jacobians)
        last = self._differences(self._hidden) + self._outer()
        return self._forward() + self._error() + newton + last

    def dfc_ssa(self) -> Operations:
        """Algorithm 3: one linear system a sample, one pass under u."""
        last = self._differences(self._hidden) + self._outer()
        solved = self._sensitivity() + self._inverse() + self._solve()
        solved += self._refine().repeated(self.refinements) + self._rest()
        return self._forward() + self._error() + solved + last

    @property
    def weights(self) -> int:
        """Weights and biases."""
        return sum((n_in + 1) * n for n_in, n in self._layers)

    def resident(self, rule: str, moments: int) -> int:
        """Numbers that stay in memory: parameters, gradients, moments, feedback, signals."""
        feedback = 0 if rule == "bp" else self._outputs * self._neurons
        held = 2 * CHUNK if rule == "dfc" else 3
        signals = self.batch * (self.sizes[0] + held * self._neurons)
        return (2 + moments) * self.weights + feedback + signals


COUNTS: dict[str, Callable[[Step], Operations]] = {
    "bp": Step.bp,
    "dfc": Step.dfc,
    "dfc-ss-simulated": Step.dfc_ss_simulated,
    "dfc-ss": Step.dfc_ss,
    "dfc-ssa": Step.dfc_ssa,
}
"""Rules whose operations are counted; 'dfc-ss' finds its steady state by Newton's method."""

# Operations, numbers moved and moments per weight. Adam (Kingma and Ba 2015, Algorithm 1):
# 3 for m, 4 for v, square root, + epsilon, division, times the rate, subtraction.
_OPTIMIZERS = {"sgd": (2, 3, 0), "adam": (3 + 4 + SQRT + 1 + DIVISION + 1 + 1, 7, 2)}


def operations(
    sizes: Sequence[int],
    rule: str,
    batch: int,
    *,
    steps: int = 1000,
    iterations: int = 6,
    jacobians: int = 1,
    refinements: int = 1,
    optimizer: str = "sgd",
) -> Operations:
    """Operations of one training step of a network with tanh hidden layers and a linear output.

    Multiply-accumulates of matrix products, per sample, with F = sum n_{i-1} n_i over all layers,
    F' the same without layer 1, N = sum n_i, and n_L outputs:

    - bp: F + F' + F: forward, deltas, outer products (Rumelhart et al. 1986);
    - dfc: 2 F + steps (2 F' + n_L N) + n_0 n_1: free pass for the target and for the start, then
      for each step feedback, feedforward and outer products (Meulemans et al. 2021, Algorithm 1);
      a constant input spares layer 1 in the steps;
    - dfc-ss-simulated: 2 F + steps (F + n_L N) + F + F (Algorithm 2);
    - dfc-ss: F + jacobians n_L F' + iterations (F' + n_L N) + F, by Newton's method on u, and in
      `solves` n_L^3 for each derivative and n_L^2 for each iteration;
    - dfc-ssa: F + n_L F' + (1 + refinements) (F' + n_L N) + F, and in `solves`
      n_L^3 + (1 + refinements) n_L^2 (Algorithm 3, Lemma 1). J Q is formed in single precision, and
      the solution corrected; of large batches `AnalyticDFC` finds it with fewer.

    Feedback weights are fixed: their learning is not counted.

    Args:
        sizes: neurons of layers 0..L.
        rule: one of `COUNTS`.
        batch: samples of the step, >= 1.
        steps: time steps of a simulation, >= 1.
        iterations: Newton steps of 'dfc-ss', none of them halved. By default what the published
            networks for MNIST need from random weights, as the next.
        jacobians: how many of them renew the derivative.
        refinements: corrections of the linear solution of 'dfc-ssa', >= 0.
        optimizer: 'sgd' or 'adam'; adds the change of the weights.

    Raises:
        UserError: an unknown rule or optimiser, or a count that isn't positive.
    """
    if rule not in COUNTS:
        raise UserError(f"unknown rule {rule!r}; operations are counted for {', '.join(COUNTS)}")
    if optimizer not in _OPTIMIZERS:
        raise UserError(f"unknown optimiser {optimizer!r}; there are {', '.join(_OPTIMIZERS)}")
    if len(sizes) < 2 or min(sizes) < 1 or min(batch, steps, iterations) < 1:
        raise UserError(
            f"sizes {list(sizes)}, batch = {batch}, steps = {steps}, iterations = {iterations}: "
            "at least two layers are needed, and all must be >= 1"
        )
    if not 1 <= jacobians <= iterations:
        raise UserError(f"jacobians = {jacobians}: 1 to {iterations}, the iterations, are allowed")
    if refinements < 0:
        raise UserError(f"refinements = {refinements}: it must be >= 0")
    step = Step(tuple(sizes), batch, steps, iterations, jacobians, refinements)
    flops, moved, moments = _OPTIMIZERS[optimizer]
    samples = batch * (sizes[0] + sizes[-1])
    return (
        COUNTS[rule](step)
        + _pointwise(step.weights, flops, moved)
        + Operations(samples=samples, resident=step.resident(rule, moments))
    )

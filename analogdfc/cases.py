"""A network to try, and the samples to try it on: given ones, or those that stand in for them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from analogdfc.controller import PI
from analogdfc.datasets import Dataset, digits
from analogdfc.errors import UserError
from analogdfc.feedback import DirectFeedback
from analogdfc.memory import check_memory
from analogdfc.network import Network
from analogdfc.records import Quantity
from analogdfc.storage import Model, read_model

__all__ = ["Stimuli", "digits_for", "example", "stimuli_for", "stored"]

EPOCHS = 10
TRAINING_STEPSIZE = TARGET_STEPSIZE = 0.25
_RANDOM_STEP = 0.15
_SIDES = {16: 4, 64: 8}
"""Pixels a side of the digits, by the number of inputs."""

Progress = Callable[[str, int, int], object]
"""Called with the name of what is being done, how much of it is done, and how much it is."""


class Stimuli(NamedTuple):
    """What a network is tried on.

    Attributes:
        x: inputs, (samples, n_0).
        step: steps of the output target, (samples, n_L), dimensionless.
        source: what they are, for people.
    """

    x: Tensor
    step: Tensor
    source: str

    def tree(self) -> dict[str, Any]:
        """The branch 'samples' of a record."""
        return {
            "source": self.source,
            "x": Quantity(self.x.numpy(), "1", "inputs r_0", ("sample", "neuron")),
            "target_step": Quantity(
                self.step.numpy(), "1", "r* - r_L of the free phase", ("sample", "output")
            ),
        }


def digits_for(sizes: Sequence[int]) -> Dataset | None:
    """Handwritten digits that fit a network's inputs and outputs; None if there are none.

    Args:
        sizes: neurons of each layer, inputs first.
    """
    if sizes[0] not in _SIDES or sizes[-1] != 10:
        return None
    return digits(_SIDES[sizes[0]])


def example(
    sizes: Sequence[int], seed: int, progress: Progress = lambda name, done, total: None
) -> tuple[Model, str]:
    """A network that has learned digits where they fit, else one of random weights.

    Args:
        sizes: neurons of each layer, inputs first.
        seed: of the initial weights and the order of the samples.
        progress: called while it learns.

    Returns:
        The network with its control loop, and what it is, for people.
    """
    generator = torch.Generator().manual_seed(seed)
    network = Network(sizes, generator=generator)
    feedback = DirectFeedback.transposed(network)
    model = Model(network, feedback, PI(), 0.2)
    data = digits_for(network.sizes)
    if data is None:
        return model, f"random weights, seed {seed}"
    hits = _learn(model, data, generator, progress)
    return model, f"trained by DFC on digits, seed {seed}: {hits:.1%} of held-out images right"


def _learn(model: Model, data: Dataset, generator: torch.Generator, progress: Progress) -> float:
    """Train the model; return the share of held-out images that it gets right."""
    # Here, so that a network that learns nothing doesn't wait for what only learning needs.
    from analogdfc.learning import DFC
    from analogdfc.training import accuracy, train

    rule = DFC(
        model.network,
        model.feedback,
        model.controller,
        target_stepsize=TRAINING_STEPSIZE,
        tau_v=model.tau_v,
        dt=model.tau_v / 4,
        steps=100,
    )
    seen, total = 0, EPOCHS * len(data.x)

    def tell(count: int) -> None:
        nonlocal seen
        seen += count
        progress("training", seen, total)

    train(
        rule,
        torch.optim.Adam(model.network.parameters(), lr=0.02),
        data,
        epochs=EPOCHS,
        batch_size=64,
        generator=generator,
        progress=tell,
    )
    return accuracy(model.network, data.x_test, data.y_test)


def stored(path: Path) -> tuple[Model, str]:
    """The network in a file, if it can be a circuit.

    Args:
        path: an HDF5 file with a group 'network'; see `read_model`.

    Returns:
        The network with its control loop, and what it is, for people.

    Raises:
        UserError: what `read_model` refuses, or neurons that no cell realises.
    """
    model = read_model(path)
    if model.neuron:
        raise UserError(
            f"{path}: the network has {model.neuron} neurons; the cells realise those of "
            "Meulemans et al. 2021, eq. 1, only"
        )
    origin = f"weights of {path}"
    if model.rule and model.assumed:
        origin += f", learned by {model.rule}; feedback and controller are the default ones"
    return model, origin


def stimuli_for(network: Network, count: int, seed: int, stepsize: float | None = None) -> Stimuli:
    """Held-out digits where they fit a network, else random inputs and target steps.

    Args:
        network: the network.
        count: how many samples, >= 1.
        seed: of random samples.
        stepsize: of digits the step lambda of the output target, by default 0.25; see Meulemans et
            al. 2021, eq. 3. Of random samples the rms of the target steps, by default 0.15.

    Raises:
        UserError: more samples than there are held-out images or than fit the memory.
    """
    data = digits_for(network.sizes)
    if data is None:
        check_memory(count * sum(network.sizes), f"{count} samples")
        generator = torch.Generator().manual_seed(seed)
        shape = (count, network.sizes[0])
        x = 2 * torch.rand(shape, dtype=torch.float64, generator=generator) - 1
        step = torch.randn(count, network.sizes[-1], dtype=torch.float64, generator=generator)
        rms = _RANDOM_STEP if stepsize is None else stepsize
        return Stimuli(x, rms * step, f"{count} random inputs, target steps of {rms:g} rms")
    if count > len(data.x_test):
        raise UserError(f"{count} samples: there are {len(data.x_test)} held-out images")
    stepsize = TARGET_STEPSIZE if stepsize is None else stepsize
    x, y = data.x_test[:count], data.y_test[:count]
    with torch.no_grad():
        step = 2 * stepsize * (y - network(x))
    return Stimuli(x, step, f"{count} held-out images, target stepsize {stepsize:g}")

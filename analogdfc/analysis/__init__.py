"""What follows from a chip's circuit: settling, stability, noise, energy, area."""

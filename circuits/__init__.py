"""SPICE cell library, shipped as package data: one cell a file, three fidelity levels."""

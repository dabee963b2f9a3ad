"""What learning costs on a chip: time, energy and area."""

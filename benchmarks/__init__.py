"""What is measured: parity of the realisations, stability, speed. Run with `python -m`."""

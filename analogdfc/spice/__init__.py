"""Netlists, ngspice, and what it returns."""

"""The languages in which a netlist can be written, one a file."""

from analogdfc.spice.dialects.base import Dialect
from analogdfc.spice.dialects.statements import Statement, statements
from analogdfc.spice.dialects.vacask import Vacask

__all__ = ["Dialect", "Statement", "Vacask", "statements"]

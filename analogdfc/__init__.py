"""Co-simulation of neural networks that learn on analog hardware."""

from analogdfc.errors import ConvergenceError, UserError

__version__ = "0.1.0"

__all__ = ["ConvergenceError", "UserError", "__version__"]

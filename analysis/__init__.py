"""What the numbers mean: measures on stored datasets, figures, and the report."""

from analysis.figures import learning_curves
from analysis.rates import rates
from analysis.rates_section import rates_figure

__all__ = ["learning_curves", "rates", "rates_figure"]

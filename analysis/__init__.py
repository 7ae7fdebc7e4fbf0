"""What the numbers mean: measures on stored datasets, figures, and the report."""

from analysis.figures import learning_curves, rates_figure
from analysis.rates import rates
from analysis.tables import rates_table

__all__ = ["learning_curves", "rates", "rates_figure", "rates_table"]

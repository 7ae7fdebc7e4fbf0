"""Networks for a user's own data, as scikit-learn estimators that know their test error without a holdout.

They run the kernels of `sedyn.simulate` on the user's features, and stop where the test error estimated from the
training data alone is least (docs/theory.md#estimated-test-error).
"""

from sedyn.estimators.classifier import NetworkClassifier
from sedyn.estimators.regressor import NetworkRegressor
from sedyn.estimators.search import NetworkSearch

__all__ = ["NetworkClassifier", "NetworkRegressor", "NetworkSearch"]

"""Logistic regression with a small penalty."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

# Weight of the penalty on large coefficients, against one nucleus: a prior that counts the less, the more there is to
# learn from. As a share of the loss, it would keep the coefficients small of however many nuclei.
_PRIOR = 1.0
_EVEN = 1e-6  # spread below which a number is the same everywhere: its rounding must not get a coefficient of any size


def sigmoid(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """1 / (1 + exp(-x))."""
    from scipy.special import expit

    result: npt.NDArray[np.float64] = expit(values)
    return result


def regress(x: npt.NDArray[np.float64], y: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
    """Coefficients of a logistic regression, the first that of the constant 1."""
    from scipy.optimize import minimize

    # Standardised, the penalty treats all alike; the constant has none.
    middle, spread = x.mean(axis=0), x.std(axis=0)
    middle[0], spread[spread < _EVEN] = 0, 1
    scaled, signs = (x - middle) / spread, np.where(y, 1.0, -1.0)

    def loss(w: npt.NDArray[np.float64]) -> tuple[float, npt.NDArray[np.float64]]:
        margins = signs * (scaled @ w)
        pull = -signs * sigmoid(-margins) / len(y)
        penalty = _PRIOR / len(y) * np.append(0.0, w[1:])
        return float(np.logaddexp(0, -margins).mean() + penalty @ w / 2), scaled.T @ pull + penalty

    found = minimize(loss, np.zeros(x.shape[1]), jac=True, method="L-BFGS-B").x / spread
    found[0] -= found[1:] @ middle[1:]
    result: npt.NDArray[np.float64] = found
    return result

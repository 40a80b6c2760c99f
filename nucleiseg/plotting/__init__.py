"""Pictures as files: training curves, network diagrams, contact sheets, and the report of a dataset check.

matplotlib is imported only when a picture is drawn, and only through its object interface with the Agg canvas:
no window, no ``pyplot``, no global state.
"""

from nucleiseg.plotting.architecture import plot_architecture
from nucleiseg.plotting.check_report import write_check_report
from nucleiseg.plotting.history import History
from nucleiseg.plotting.sheet import Row, plot_predictions

__all__ = ["History", "Row", "plot_architecture", "plot_predictions", "write_check_report"]

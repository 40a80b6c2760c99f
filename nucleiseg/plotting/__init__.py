"""Pictures as files: training curves, diagrams, histograms, contact sheets, errors, the report of a dataset check.

matplotlib is imported only when a picture is drawn, and only through its object interface with the Agg canvas:
no window, no ``pyplot``, no global state.
"""

from nucleiseg.plotting.architecture import plot_architecture
from nucleiseg.plotting.check_report import write_check_report
from nucleiseg.plotting.contact_sheet import Thumbnail, plot_contact_sheet
from nucleiseg.plotting.errors import ErrorPicture, draw_errors, plot_errors
from nucleiseg.plotting.histograms import plot_histograms
from nucleiseg.plotting.history import History
from nucleiseg.plotting.sheet import Row, plot_predictions

__all__ = [
    "ErrorPicture",
    "History",
    "Row",
    "Thumbnail",
    "draw_errors",
    "plot_architecture",
    "plot_contact_sheet",
    "plot_errors",
    "plot_histograms",
    "plot_predictions",
    "write_check_report",
]

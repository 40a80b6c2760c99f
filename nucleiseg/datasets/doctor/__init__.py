"""What is wrong with a dataset, and a copy with what can be mended. NumPy, SciPy and scikit-image only."""

from nucleiseg.datasets.doctor.checking import check, check_quickly, open_for_check, warn_about_errors
from nucleiseg.datasets.doctor.findings import Case, Finding, Report
from nucleiseg.datasets.doctor.repairing import Repair, repair
from nucleiseg.datasets.doctor.settings import CheckSettings

__all__ = [
    "Case",
    "CheckSettings",
    "Finding",
    "Repair",
    "Report",
    "check",
    "check_quickly",
    "open_for_check",
    "repair",
    "warn_about_errors",
]

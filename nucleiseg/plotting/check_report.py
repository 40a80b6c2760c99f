"""The report of a dataset check as one HTML file, with a picture for each kind of finding."""

from __future__ import annotations

import base64
import os
from html import escape
from io import BytesIO
from pathlib import Path

from nucleiseg._checks import check_choice
from nucleiseg._files import write_text
from nucleiseg.datasets import Dataset
from nucleiseg.datasets.doctor import Case, Finding, Report
from nucleiseg.datasets.doctor.findings import case_text, described
from nucleiseg.plotting._finding_pictures import Picture, picture_of

__all__ = ["write_check_report"]

_PICTURES = 2  # for each finding
_ROWS = 50  # cases that are listed

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #222; max-width: 60em; margin: 2em auto; padding: 0 1em }
h2 { font-size: 1.1em; margin: 2.5em 0 .3em }
.severity { font-size: .8em; font-weight: 600; color: #fff; border-radius: .3em; padding: .1em .5em }
.severity { margin-right: .5em }
.error { background: #B23A00 } .warning { background: #8A6100 } .note { background: #0072B2 }
figure { display: inline-block; margin: .5em 1em .5em 0; vertical-align: top }
figcaption { font-size: .85em; color: #555; max-width: 26em; overflow-wrap: anywhere }
img { display: block; max-width: 100% }
table { border-collapse: collapse; font-size: .85em } td { padding: .15em .8em .15em 0; vertical-align: top }
td { overflow-wrap: anywhere } code { font-size: .95em }
"""


def write_check_report(report: Report, dataset: Dataset, path: str | os.PathLike[str], title: str = "Dataset") -> Path:
    """Write a report as one HTML file that needs nothing else: no network, no other files.

    Parameters
    ----------
    report : Report
        From `nucleiseg.datasets.check`.
    dataset : Dataset
        The one that was checked; the images that are shown are read again.
    path : str or path
        Ends in ``.html``.
    title : str
        What was checked.

    Returns
    -------
    pathlib.Path
        The file.

    Raises
    ------
    InvalidInputError
        If the path has another suffix.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> from nucleiseg import datasets
    >>> data = datasets.from_arrays(np.zeros((1, 8, 8), np.uint8), np.zeros((1, 8, 8), int))
    >>> write_check_report(datasets.check(data), data, tempfile.mkdtemp() + "/check.html").name
    'check.html'
    """
    target = Path(path)
    check_choice(target.suffix.lower(), "suffix of the report", [".html"])
    body = "".join(_section(finding, dataset) for finding in report.findings) or "<p>Nothing was found.</p>"
    write_text(
        target,
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}: check</title>'
        f"<style>{_STYLE}</style></head>\n<body><h1>{escape(title)}</h1>\n<p>{escape(report.summary)}</p>\n"
        f"{body}</body></html>\n",
    )
    return target


def _section(finding: Finding, dataset: Dataset) -> str:
    figures = "".join(_figure(finding, case, dataset) for case in finding.cases[:_PICTURES])
    return (
        f'<h2><span class="severity {finding.severity}">{finding.severity}</span>{escape(finding.title)}: '
        f"{escape(described(finding))}</h2>\n"
        f"<p>{escape(finding.meaning)} {escape(finding.remedy)} <code>{finding.kind}</code></p>\n"
        f"{figures}\n{_table(finding)}\n"
    )


def _figure(finding: Finding, case: Case, dataset: Dataset) -> str:
    picture = picture_of(finding, case, dataset)
    if picture is None:
        return ""
    text = escape(case_text(case))
    return f'<figure><img alt="{text}" src="{_data_url(picture)}"><figcaption>{text}</figcaption></figure>'


def _data_url(picture: Picture) -> str:
    from PIL import Image

    file = BytesIO()
    Image.fromarray(picture).save(file, "png", optimize=True)
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


def _table(finding: Finding) -> str:
    rows = "".join(
        f"<tr><td>{escape(', '.join(case.ids[:3]))}{' …' if len(case.ids) > 3 else ''}</td>"
        f"<td>{escape(case.detail)}</td><td>{'<br>'.join(map(escape, case.files[:5]))}</td></tr>"
        for case in finding.cases[:_ROWS]
    )
    more = len(finding.cases) - _ROWS
    rest = f"<p>and {more} more; <code>--json</code> lists all</p>" if more > 0 else ""
    return f"<details><summary>Where</summary><table>{rows}</table>{rest}</details>"

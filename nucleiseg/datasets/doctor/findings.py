"""What the check found: findings with their cases, and the report that holds them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from textwrap import wrap
from typing import Any, Literal

from nucleiseg.datasets.doctor.kinds import KINDS
from nucleiseg.datasets.records import shorten

__all__ = ["Case", "Finding", "Report", "Severity"]

Severity = Literal["error", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")


@dataclass(frozen=True)
class Case:
    """Where a finding was made: one sample, or several that belong together.

    Parameters
    ----------
    ids : tuple of str
        Names of the samples.
    count : int
        How many there: nuclei, masks, or images.
    files : tuple of str
        Where to look; empty for arrays in memory.
    labels : tuple of int
        The nuclei concerned, if they are some and not all.
    box : (int, int, int, int), optional
        First row and column of the worst of them, and one beyond the last.
    detail : str
        Figures.
    """

    ids: tuple[str, ...]
    count: int = 1
    files: tuple[str, ...] = ()
    labels: tuple[int, ...] = ()
    box: tuple[int, int, int, int] | None = None
    detail: str = ""


@dataclass(frozen=True)
class Finding:
    """One kind of problem, and all cases of it.

    Parameters
    ----------
    kind : str
        Its name, such as ``"holes"``.
    severity : "error", "warning" or "note"
        Errors spoil training or scores for certain; warnings do so as a rule; notes are good to know.
    cases : tuple of Case
        The worst first.

    Examples
    --------
    >>> finding = Finding("holes", "warning", (Case(("a",), count=3), Case(("b",))))
    >>> finding.count, finding.ids, finding.fixable
    (4, ('a', 'b'), True)
    """

    kind: str
    severity: Severity
    cases: tuple[Case, ...]

    @property
    def title(self) -> str:
        """What is wrong, in a few words."""
        return KINDS[self.kind].title

    @property
    def meaning(self) -> str:
        """Why it matters."""
        return KINDS[self.kind].meaning

    @property
    def remedy(self) -> str:
        """What to do."""
        return KINDS[self.kind].remedy

    @property
    def fixable(self) -> bool:
        """Whether `repair` can mend it without guessing."""
        return KINDS[self.kind].fixable

    @property
    def count(self) -> int:
        """How many there are, in the unit of the title."""
        return sum(case.count for case in self.cases)

    @property
    def ids(self) -> tuple[str, ...]:
        """The samples concerned, each once."""
        return tuple(dict.fromkeys(name for case in self.cases for name in case.ids))

    def to_dict(self) -> dict[str, Any]:
        """For machines; ``json.dumps`` takes it."""
        return {
            "kind": self.kind,
            "severity": self.severity,
            "title": self.title,
            "count": self.count,
            "images": len(self.ids),
            "meaning": self.meaning,
            "remedy": self.remedy,
            "fixable": self.fixable,
            "cases": [asdict(case) for case in self.cases],
        }


@dataclass(frozen=True)
class Report:
    """All findings about a dataset. Prints as text; `to_dict` is for machines.

    Parameters
    ----------
    samples, nuclei : int
        How many were read.
    findings : tuple of Finding
        Errors first.

    Examples
    --------
    >>> report = Report(2, 31, (Finding("empty_image", "warning", (Case(("b",)),)),))
    >>> report.kinds, report.ok
    (('empty_image',), True)
    """

    samples: int
    nuclei: int
    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        """Whether there is no error."""
        return not self.of_severity("error")

    @property
    def kinds(self) -> tuple[str, ...]:
        """Names of what was found."""
        return tuple(finding.kind for finding in self.findings)

    def of_severity(self, severity: Severity) -> tuple[Finding, ...]:
        """The findings of one severity."""
        return tuple(finding for finding in self.findings if finding.severity == severity)

    def find(self, kind: str) -> Finding | None:
        """The finding of that kind, if there is one."""
        return next((finding for finding in self.findings if finding.kind == kind), None)

    def to_dict(self) -> dict[str, Any]:
        """For machines; ``json.dumps`` takes it."""
        return {
            "samples": self.samples,
            "nuclei": self.nuclei,
            "ok": self.ok,
            **{f"{severity}s": len(self.of_severity(severity)) for severity in SEVERITIES},
            "findings": [finding.to_dict() for finding in self.findings],
        }

    @property
    def summary(self) -> str:
        """One line."""
        counts = ", ".join(plural(len(self.of_severity(severity)), severity) for severity in SEVERITIES)
        return f"{plural(self.samples, 'image')}, {plural(self.nuclei, 'nucleus', 'nuclei')}: {counts}"

    def __str__(self) -> str:
        lines = [self.summary]
        for finding in self.findings:
            lines += ["", f"{finding.severity}: {finding.title} [{finding.kind}]: {described(finding)}"]
            lines += [f"  {case_text(case)}" for case in finding.cases[:_SHOWN]]
            if len(finding.cases) > _SHOWN:
                lines.append(f"  and {len(finding.cases) - _SHOWN} more")
            lines += wrap(f"{finding.meaning} {finding.remedy}", 100, initial_indent="  → ", subsequent_indent="    ")
        return "\n".join(lines)


_SHOWN = 4


def plural(count: int, noun: str, nouns: str = "") -> str:
    """A count with its noun."""
    return f"{count:,} {noun if count == 1 else nouns or noun + 's'}"


def described(finding: Finding) -> str:
    """How many, and in how many images."""
    unit, units = KINDS[finding.kind].unit
    images = plural(len(finding.ids), "image")
    many = plural(finding.count, unit, units)
    return images if unit == "image" else many if not finding.ids else f"{many} in {images}"


def case_text(case: Case) -> str:
    """One line about a case."""
    return shorten([*case.ids], 3) + (f": {case.detail}" if case.detail else "")


def sort_key(finding: Finding) -> tuple[int, int]:
    """Errors first, then in the order of the kinds."""
    return SEVERITIES.index(finding.severity), list(KINDS).index(finding.kind)


def worst_first(cases: Sequence[Case]) -> tuple[Case, ...]:
    """Cases by count, then by name."""
    return tuple(sorted(cases, key=lambda case: (-case.count, case.ids)))

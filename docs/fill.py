"""Fill the tables of the documentation from the files that benchmarks and model cards are kept in.

    python docs/fill.py            # rewrites the pages
    python docs/fill.py --check    # fails if a page is not what this would write

On a page, what stands between ``<!-- fill: KIND NAME -->`` and ``<!-- end -->`` is replaced. Kinds: ``benchmark`` (a
file in benchmarks/results), ``card`` (the scores of a model in the box), ``bars`` (those beside the scores that we
wanted), ``val`` (its scores on `val`) and ``use`` (what it is for).
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
CARDS = ROOT / "nucleiseg" / "pretrained"
RESULTS = ROOT / "benchmarks" / "results"
WANTED = {  # on test: of all images, of fluorescence and of histology
    "AP at IoU .5": ("ap50", 0.81, 0.86, 0.66),
    "DSB2018 score": ("dsb", 0.62, 0.67, 0.43),
    "mean Dice": ("mean_dice", 0.925, 0.94, 0.87),
}
_PLACE = re.compile(r"(<!-- fill: (\w+) ([\w-]+) -->\n).*?(<!-- end -->)", re.S)


def benchmark(name: str) -> str:
    """The tables of one result file, and what they were measured with."""
    record = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
    machine, versions = record["machine"], record["versions"]
    parts = [f"`{record['command']}`"]
    for table in record["tables"]:
        parts += [f"*{table['title']}*"] if table["title"] else []
        parts.append(as_markdown(table["rows"]))
    memory = f"{machine['memory']}, " if "memory" in machine else ""  # older results don't tell
    parts.append(
        f"*{machine['processor']}, {machine['cores']} cores, {memory}Python {machine['python']}, "
        f"TensorFlow {versions['tensorflow']}, Keras {versions['keras']}.*"
    )
    return "\n\n".join(parts)


def card(name: str) -> str:
    """The scores of a model by kind of image, with their intervals."""
    scores = read_card(name)["test"]

    def cell(group: Mapping[str, Any], key: str) -> str:
        low, high = group["intervals"][key]
        return f"{group[key]:.3f} ({low:.3f} – {high:.3f})"

    rows = [
        {
            "images of": group,
            "number": found["images"],
            "nuclei": str(found["nuclei"]),
            "AP at IoU .5": cell(found, "ap50"),
            "DSB2018 score": cell(found, "dsb"),
            "mean Dice": cell(found, "mean_dice"),
            "pixel accuracy": found["pixel_accuracy"],
        }
        for group, found in scores.items()
    ]
    return as_markdown(rows)


def bars(name: str) -> str:
    """The scores that we wanted, and those that there are."""
    scores = read_card(name)["test"]
    rows: list[dict[str, str]] = []
    for title, (key, *wanted) in WANTED.items():
        reached = {kind: scores[kind][key] for kind in ("all", "fluorescence", "histology")}
        cells = {kind: f"{reached[kind]:.3f} of {bar:.3f}" for kind, bar in zip(reached, wanted, strict=True)}
        rows.append({"reached of wanted": title, **cells})
    return as_markdown(rows)


def val(name: str) -> str:
    """The scores on the images by which thresholds were chosen."""
    found = read_card(name)["val"]["all"]
    scores = ", ".join(f"{title} {found[key]:.3f}" for title, (key, *_) in WANTED.items())
    return f"On all {found['images']} images of `val`, by which thresholds were chosen: {scores}."


def use(name: str) -> str:
    """What a model is for, and what it is not for."""
    told = read_card(name)["intended_use"]
    return "\n".join(f"- *{key.replace('_', ' ').capitalize()}.* {text}" for key, text in told.items())


def read_card(name: str) -> dict[str, Any]:
    """All that is known of a model in the box."""
    card: dict[str, Any] = json.loads((CARDS / f"{name}.json").read_text(encoding="utf-8"))
    return card


def as_markdown(rows: Sequence[Mapping[str, Any]]) -> str:
    """A table in Markdown; numbers to the right, three digits after the point."""
    names = list(rows[0])
    numeric = [all(isinstance(row[name], int | float) for row in rows) for name in names]
    lines = ["| " + " | ".join(names) + " |", "|" + "|".join("--:" if right else "---" for right in numeric) + "|"]
    for row in rows:
        cells = (row[name] for name in names)
        lines.append("| " + " | ".join(_cell(cell) for cell in cells) + " |")
    return "\n".join(lines)


def _cell(value: object) -> str:
    return f"{value:.3f}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)


_KINDS: dict[str, Callable[[str], str]] = {"benchmark": benchmark, "bars": bars, "card": card, "val": val, "use": use}


def filled(text: str) -> str:
    """A page's text with all its places filled."""
    return _PLACE.sub(lambda place: f"{place[1]}\n{_KINDS[place[2]](place[3])}\n\n{place[4]}", text)


def main() -> int:
    """Rewrite the pages, or say which are out of date."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing")
    arguments = parser.parse_args()
    stale = [page for page in PAGES if filled(old := page.read_text(encoding="utf-8")) != old]
    for page in stale:
        if arguments.check:
            sys.stderr.write(f"{page} is out of date; run python docs/fill.py\n")
        else:
            page.write_text(filled(page.read_text(encoding="utf-8")), encoding="utf-8")
    return 1 if arguments.check and stale else 0


if __name__ == "__main__":
    sys.exit(main())

"""Check the built site: nothing comes from elsewhere, and the tutorials work when they are copied from it.

    python docs/check_site.py site [tutorial_first_image ...]

Scripts, styles, fonts and pictures must lie in the site. The commands and the Python of each tutorial, or of those
that are named, are taken from its HTML, as a reader copies them, and run one after the other in an empty folder, with
the interpreter that runs this. What mentions ImageNet needs its weights in KERAS_HOME: without that variable, the
blocks from there on are skipped, and this is said.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from html.parser import HTMLParser
from pathlib import Path

_RESOURCES = {"script": "src", "img": "src", "source": "src", "iframe": "src", "video": "src"}
_LANGUAGE = re.compile(r"\blanguage-(sh|python)\b")
# Runs the blocks of a page, which lie beside it as 0.sh, 1.python and so on, in one namespace.
_RUNNER = """
import subprocess, sys
from pathlib import Path
blocks, names = Path(sys.argv[1]), {"__name__": "tutorial"}
for path in sorted(blocks.iterdir(), key=lambda path: int(path.stem)):
    print(f"[{path.name}]", flush=True)
    if path.suffix == ".sh":
        subprocess.run(["bash", "-euo", "pipefail", str(path)], check=True)
    else:
        exec(compile(path.read_text(encoding="utf-8"), str(path), "exec"), names)
"""


class Page(HTMLParser):
    """What a page loads, and its blocks of commands and Python."""

    def __init__(self) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.blocks: list[tuple[str, str]] = []
        self._language = ""
        self._inside = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note resources, and where code begins."""
        values = {name: value or "" for name, value in attrs}
        if tag in _RESOURCES:
            self.loaded.append(values.get(_RESOURCES[tag], ""))
        elif tag == "link" and values.get("rel") in ("stylesheet", "preload", "preconnect", "icon"):
            self.loaded.append(values.get("href", ""))
        found = _LANGUAGE.search(values.get("class", ""))
        if found:
            self._language = found[1]
        if tag == "code" and self._language:
            self._inside = True
            self.blocks.append((self._language, ""))

    def handle_endtag(self, tag: str) -> None:
        """A block ends with its code."""
        if tag == "code" and self._inside:
            self._inside, self._language = False, ""

    def handle_data(self, data: str) -> None:
        """Code is text in many pieces."""
        if self._inside:
            language, text = self.blocks[-1]
            self.blocks[-1] = (language, text + data)


def read_page(path: Path) -> Page:
    """A page of the site."""
    page = Page()
    page.feed(path.read_text(encoding="utf-8"))
    return page


def foreign_resources(site: Path) -> list[str]:
    """Everything that a page or a style sheet would load from another place."""
    found = []
    for path in sorted(site.rglob("*.html")):
        found += [f"{path.relative_to(site)}: {url}" for url in read_page(path).loaded if re.match(r"(\w+:)?//", url)]
    for path in sorted(site.rglob("*.css")):
        urls = re.findall(r"""(?:url\(|@import )["']?((?:https?:)?//[^"')]+)""", path.read_text(encoding="utf-8"))
        found += [f"{path.relative_to(site)}: {url}" for url in urls]
    return found


def run_tutorial(page: Path) -> int:
    """Run the blocks of a page in an empty folder; returns the exit status."""
    blocks = read_page(page).blocks
    if "KERAS_HOME" not in os.environ:
        able = next((i for i, (_, code) in enumerate(blocks) if "imagenet" in code), len(blocks))
        if able < len(blocks):
            sys.stdout.write(f"  {len(blocks) - able} blocks skipped: they need ImageNet's weights in KERAS_HOME\n")
        blocks = blocks[:able]
    with tempfile.TemporaryDirectory() as folder:
        parts, work = Path(folder, "blocks"), Path(folder, "work")
        parts.mkdir()
        work.mkdir()
        for number, (language, code) in enumerate(blocks):
            (parts / f"{number}.{language}").write_text(code, encoding="utf-8")
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
        process = subprocess.run(
            [sys.executable, "-c", _RUNNER, parts],
            cwd=work,
            env={**os.environ, "PATH": path, "TF_CPP_MIN_LOG_LEVEL": "3"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
    if process.returncode:
        sys.stdout.write(process.stdout)
    return process.returncode


def main() -> int:
    """Check all; returns 1 if anything is wrong."""
    site, *names = map(Path, sys.argv[1:])
    foreign = foreign_resources(site)
    for line in foreign:
        sys.stdout.write(f"from elsewhere: {line}\n")
    failed = []
    tutorials = sorted(site.glob("tutorial_*/index.html"))
    if names:
        tutorials = [page for page in tutorials if Path(page.parent.name) in names]
    for page in tutorials:
        start = time.perf_counter()
        sys.stdout.write(f"{page.parent.name}\n")
        if run_tutorial(page):
            failed.append(page.parent.name)
        sys.stdout.write(f"  {time.perf_counter() - start:.0f} s\n")
    found = {Path(page.parent.name) for page in tutorials}
    failed += [f"no tutorial {name}" for name in names if name not in found]
    if not tutorials:
        failed.append("no tutorial found")
    if failed:
        sys.stdout.write(f"failed: {', '.join(failed)}\n")
    return 1 if foreign or failed else 0


if __name__ == "__main__":
    sys.exit(main())

"""Takes the pictures in docs/images: `make screenshots`. Needs chromium for the report.

Runs the demo and draws what it printed, so a picture never shows what the program does not do.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.text import Text

ROOT = Path(__file__).parents[1]
IMAGES = ROOT / "docs" / "images"
CHROMIUM = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--hide-scrollbars",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
PICTURES = {"refused": "a better model, refused", "decide": "serve and decide", "erase": "erase"}
"""The steps of the demo that are drawn, by their titles."""


def main() -> None:
    """Run the demo and take every picture."""
    IMAGES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as directory:
        home = Path(directory)
        printed = _demo(home)
        parts = re.split(r"(?=\x1b\[[0-9;]*m\d+ · )", printed)
        for name, title in PICTURES.items():
            part = next(text for text in parts if title in text.splitlines()[0])
            _draw(part.split("╭")[0].rstrip(), IMAGES / f"{name}.svg", "aboveboard demo")
        _draw(printed[printed.rindex("╭") :], IMAGES / "summary.svg", "aboveboard demo")
        report = min((home / ".local" / "share" / "aboveboard" / "demo" / "runs").iterdir()) / "report.html"
        _photograph(report, IMAGES / "report.png", width=1200, height=1500)


def _demo(home: Path) -> str:
    """Return what the demo prints, in colour."""
    command = [sys.executable, "-m", "aboveboard", "demo", "--no-serve", "--port", "18081"]
    coloured = {"TTY_COMPATIBLE": "1", "TTY_INTERACTIVE": "0", "COLORTERM": "truecolor"}
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("XDG_", "ABOVEBOARD_"))}
    environment |= {"HOME": str(home), **coloured}
    finished = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=True)
    return finished.stdout


def _draw(text: str, path: Path, title: str) -> None:
    console = Console(record=True, width=124, file=open(os.devnull, "w", encoding="utf-8"))  # noqa: PTH123, SIM115
    console.print(Text.from_ansi(text))
    svg = console.export_svg(title=title)
    # The picture stands by itself: no font is fetched from anywhere.
    path.write_text(re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL), encoding="utf-8")


def _photograph(page: Path, path: Path, *, width: int, height: int) -> None:
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        sys.exit("chromium is needed to photograph the report")
    with tempfile.TemporaryDirectory() as profile:
        subprocess.run(
            [browser, *CHROMIUM, f"--user-data-dir={profile}", f"--window-size={width},{height}",
             f"--screenshot={path}", page.as_uri()],
            check=True,
            capture_output=True,
        )  # fmt: skip


main()

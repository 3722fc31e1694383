"""What was decided, what was refused and why, where everything is, and what to try next."""

from __future__ import annotations

from collections import Counter

from rich.markup import escape
from rich.panel import Panel
from rich.table import Table

from aboveboard.cli.demo.decisions import DecisionServer, Replayed
from aboveboard.cli.demo.models import Judged
from aboveboard.cli.demo.proof import Proven
from aboveboard.cli.demo.scene import Scene
from aboveboard.cli.output import short


def summarise(
    scene: Scene,
    judged: Judged,
    release: str,
    replayed: Replayed,
    proven: Proven,
    server: DecisionServer,
    *,
    seconds: float,
    stays_up: bool,
) -> None:
    """Print the closing summary."""
    champion, refused = judged.champion, judged.refused
    before, after = champion.report.performance.auc.value, refused.report.performance.auc.value
    gain = (after or 0.0) - (before or 0.0)
    outcomes = Counter(decision["outcome"] for decision in replayed.decisions)
    decided = ", ".join(f"{count} {name}" for name, count in outcomes.most_common())
    # The law's own refusal says more than a limit that the model's owner chose.
    first = min(refused.verdict.refusals, key=lambda result: result.pack == "house")
    facts = Table.grid(padding=(0, 2))
    facts.add_column(style="bold")
    facts.add_column()
    rows = [
        ("decided", f"{decided}, each with its receipt"),
        ("refused", f"{refused.record.model}, although its AUC is {gain:+.4f} better"),
        ("", escape(f"{first.message} [{first.citation}]")),
        ("erased", f"one person; the proofs over all {proven.entries} entries of the log still hold"),
        ("report", short(champion.directory / "report.html")),
        ("home", short(scene.home.root)),
        ("took", f"{seconds:.0f} s"),
    ]
    for name, text in rows:
        facts.add_row(name, text)
    scene.out.console.print()
    scene.out.console.print(Panel(facts, title="[bold]the road, once[/]", border_style="green", expand=False))
    prefix = f"aboveboard --home {short(scene.home.root)}"
    scene.out.next(f"{prefix} gate {refused.record.id} --all", "every rule that was asked, and what it found")
    scene.out.next(f"{prefix} release show {release[:19]}", "the signed evidence")
    scene.out.next(f"{prefix} audit verify {short(proven.receipt)}", "offline, with the public key alone")
    if stays_up:
        scene.out.next(f"curl {server.url}/openapi.json", "the server stays up; Ctrl-C stops it")
    scene.out.next("aboveboard init YOUR.csv --target COLUMN --favourable VALUE --protected COLUMN", "your own data")

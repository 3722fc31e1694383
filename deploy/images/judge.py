"""Judge what a scanner found in the image: exit 0 if nothing grave is open, 1 otherwise. Standard library only.

    python3 deploy/images/judge.py BILL REPORT [--exceptions FILE] [--limit high]

BILL is the image's bill of materials, REPORT what a scanner makes of the image or of the bill, as CycloneDX with
vulnerabilities: `trivy … --format cyclonedx --scanners vuln` or `grype … -o cyclonedx-json`. Whatever is not clearly
harmless is refused: a severity that is missing or unknown, an exception without a date or past it, and a package of
the bill that the report does not have: a scanner that did not understand the image finds nothing in it either.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote

GRAVITY = ("none", "info", "low", "medium", "high", "critical", "unknown")
"""CycloneDX's severities in the order in which they are refused: the unknown may be anything."""

Package = tuple[str, str, str]


def package(purl: str) -> Package:
    """Return ecosystem, name and version; without Debian's epoch, which scanners write in three ways."""
    kind, _, rest = unquote(purl.partition("?")[0]).removeprefix("pkg:").partition("/")
    name, _, version = rest.partition("#")[0].rpartition("@")
    return kind, re.sub(r"[-_.]+", "-", name.rpartition("/")[2]).lower(), re.sub(r"^\d+:", "", version)


def _components(document: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for component in document.get("components", []):
        yield component
        yield from _components(component)


def unseen(bill: Mapping[str, Any], report: Mapping[str, Any]) -> list[Package]:
    """Return the Python and Debian packages of the bill that the report does not have."""
    wanted = {package(each["purl"]) for each in bill["components"] if "purl" in each}
    seen = {package(each["purl"]) for each in _components(report) if "purl" in each}
    return sorted(each for each in wanted - seen if each[0] in ("deb", "pypi"))


def severity(vulnerability: Mapping[str, Any], kinds: Iterable[str]) -> str:
    """Return how grave one is: as Debian rates it for its own packages, otherwise the worst that anybody says."""
    ratings = [
        (str(each.get("source", {}).get("name", "")).lower(), str(each.get("severity", "unknown")))
        for each in vulnerability.get("ratings", [])
    ]
    known = [(source, said) for source, said in ratings if said in GRAVITY[:-1]]
    if set(kinds) == {"deb"} and (debians := [said for source, said in known if source == "debian"]):
        return max(debians, key=GRAVITY.index)
    return max((said for _, said in known), key=GRAVITY.index, default="unknown")


def excepted(document: Mapping[str, Any], today: date) -> set[str]:
    """Return the ids that are excepted today. Raises `ValueError` for an exception that lacks an end or a reason."""
    found = set()
    for each in document["exceptions"]:
        if each.keys() != {"id", "until", "reason"} or not each["reason"].strip():
            raise ValueError(f"an exception has id, until and reason: {each}")
        if date.fromisoformat(each["until"]) >= today:
            found.add(each["id"])
    return found


def open_ones(report: Mapping[str, Any], limit: str, exceptions: set[str]) -> list[tuple[str, str, str]]:
    """Return severity, id and packages of what is at the limit or above it, the worst first."""
    names = {each["bom-ref"]: package(each["purl"]) for each in _components(report) if "purl" in each}
    found = []
    for each in report.get("vulnerabilities", []):
        affected = [names.get(place["ref"], ("", place["ref"], "")) for place in each.get("affects", [])]
        grave = severity(each, [kind for kind, _, _ in affected])
        if GRAVITY.index(grave) >= GRAVITY.index(limit) and each["id"] not in exceptions:
            found.append((grave, each["id"], ", ".join(f"{name} {version}" for _, name, version in affected)))
    return sorted(found, key=lambda one: (-GRAVITY.index(one[0]), one[1]))


def judge(
    bill: Mapping[str, Any], report: Mapping[str, Any], exceptions: Mapping[str, Any], limit: str, today: date
) -> list[str]:
    """Return a line for everything that speaks against the image; none is a pass."""
    if not bill.get("components"):
        return ["the bill of materials is empty"]
    lines = [f"not looked at  {name} {version} ({kind})" for kind, name, version in unseen(bill, report)]
    lines += [
        f"{grave:<14} {name}  {where}" for grave, name, where in open_ones(report, limit, excepted(exceptions, today))
    ]
    return lines


def main(arguments: list[str] | None = None) -> int:
    """Read the documents, print what speaks against the image, and return the exit code."""
    parser = argparse.ArgumentParser(description="Judge what a scanner found in the image.")
    parser.add_argument("bill", type=Path)
    parser.add_argument("report", type=Path)
    parser.add_argument("--exceptions", type=Path)
    parser.add_argument("--limit", choices=GRAVITY[:-1], default="high")
    given = parser.parse_args(arguments)
    try:
        bill, report = (json.loads(path.read_text(encoding="utf-8")) for path in (given.bill, given.report))
        exceptions = (
            json.loads(given.exceptions.read_text(encoding="utf-8")) if given.exceptions else {"exceptions": []}
        )
        lines = judge(bill, report, exceptions, given.limit, datetime.now(UTC).date())
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        sys.stderr.write(f"refused: not readable: {error!r}\n")
        return 1
    sys.stdout.writelines(f"{line}\n" for line in lines)
    sys.stdout.write(f"refused: {len(lines)} open\n" if lines else "passed: nothing open\n")
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main())

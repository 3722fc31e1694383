"""What every test may use: golden files."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# How fast the machine is says nothing about the code: a busy one draws slowly.
settings.register_profile("aboveboard", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("aboveboard")

GOLDEN = Path(__file__).parent / "golden" / "data"

Golden = Callable[[str, str], None]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--update-golden", action="store_true", help="write the golden files anew, after a change that was meant"
    )


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Golden:
    """Compare a text with tests/golden/data/<name>; with --update-golden, write it there instead."""
    update = bool(request.config.getoption("--update-golden"))

    def compare(name: str, actual: str) -> None:
        path = GOLDEN / name
        if update:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(actual, encoding="utf-8", newline="")
            return
        if not path.exists():
            pytest.fail(f"there is no golden file {name}: run `make golden`, then read what it wrote")
        with path.open(encoding="utf-8", newline="") as file:
            expected = file.read()
        if actual != expected:
            lines = difflib.unified_diff(
                expected.splitlines(), actual.splitlines(), f"golden/data/{name}", "now", lineterm=""
            )
            pytest.fail(
                f"{name} is no longer what it was; if that was meant, run `make golden`\n" + "\n".join(lines),
                pytrace=False,
            )

    return compare

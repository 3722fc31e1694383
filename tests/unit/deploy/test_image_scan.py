"""What a scanner found is judged so that whatever is not clearly harmless is refused."""

from __future__ import annotations

import json
import runpy
import subprocess
import sys
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

PROGRAM = Path(__file__).parents[3] / "deploy" / "images" / "judge.py"
JUDGE: dict[str, Any] = runpy.run_path(str(PROGRAM))
TODAY = date(2026, 11, 20)
NUMPY = "pkg:pypi/numpy@2.3.5"
SHADOW = "pkg:deb/debian/login@1:4.16.0-2?arch=amd64&distro=debian-13&upstream=shadow"
CRATE = "pkg:cargo/bytes@1.0.0"


def document(*purls: str, **more: Any) -> dict[str, Any]:
    components = [{"type": "library", "bom-ref": purl, "name": purl, "purl": purl} for purl in purls]
    return {"bomFormat": "CycloneDX", "specVersion": "1.6", "version": 1, "components": components, **more}


def found(*ratings: tuple[str, str], ref: str = NUMPY, name: str = "CVE-2026-1") -> dict[str, Any]:
    said = [{"source": {"name": source}, "severity": severity} for source, severity in ratings]
    return {"id": name, "ratings": said, "affects": [{"ref": ref}]}


def judged(*vulnerabilities: dict[str, Any], exceptions: Any = (), limit: str = "high") -> list[str]:
    report = document(NUMPY, SHADOW, vulnerabilities=list(vulnerabilities))
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(report)) is None
    lines: list[str] = JUDGE["judge"](document(NUMPY, SHADOW), report, {"exceptions": exceptions}, limit, TODAY)
    return lines


@pytest.mark.parametrize("severity", ["none", "info", "low", "medium"])
def test_what_is_below_the_limit_passes(severity: str) -> None:
    assert judged(found(("nvd", severity))) == []


@pytest.mark.parametrize("ratings", [[("nvd", "high")], [("nvd", "critical")], [("nvd", "unknown")], []], ids=str)
def test_what_is_grave_or_not_rated_is_refused(ratings: list[tuple[str, str]]) -> None:
    [line] = judged(found(*ratings))
    assert "CVE-2026-1" in line
    assert "numpy 2.3.5" in line


def test_the_worst_rating_counts_but_debian_knows_its_own_packages() -> None:
    ratings = (("nvd", "critical"), ("debian", "low"))
    assert judged(found(*ratings, ref=SHADOW)) == []
    assert len(judged(found(*ratings))) == 1
    assert len(judged(found(("nvd", "critical"), ("debian", "unknown"), ref=SHADOW))) == 1


def test_the_worst_comes_first() -> None:
    lines = judged(found(("nvd", "high"), name="A"), found(("nvd", "critical"), name="B"), found(name="C"))
    assert [line.split()[1] for line in lines] == ["C", "B", "A"]


def test_a_package_that_was_not_looked_at_is_refused() -> None:
    lines = JUDGE["judge"](document(NUMPY, SHADOW, CRATE), document(), {"exceptions": []}, "high", TODAY)
    assert lines == ["not looked at  login 4.16.0-2 (deb)", "not looked at  numpy 2.3.5 (pypi)"]
    assert JUDGE["judge"](document(), document(), {"exceptions": []}, "high", TODAY) == [
        "the bill of materials is empty"
    ]


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("pkg:pypi/ruamel-yaml@0.19.1", "pkg:pypi/ruamel.yaml@0.19.1"),
        (SHADOW, "pkg:deb/debian/login@4.16.0-2?arch=amd64&epoch=1"),
        (SHADOW, "pkg:deb/debian/login@1%3A4.16.0-2?arch=amd64"),
        ("pkg:deb/debian/libstdc%2B%2B6@14.2.0-19", "pkg:deb/debian/libstdc++6@14.2.0-19"),
    ],
)
def test_scanners_write_the_same_package_in_their_own_ways(ours: str, theirs: str) -> None:
    assert JUDGE["unseen"](document(ours), document(theirs)) == []


def test_an_exception_counts_until_its_day() -> None:
    def exception(until: str) -> list[dict[str, str]]:
        return [{"id": "CVE-2026-1", "until": until, "reason": "no such call in ours"}]

    grave = found(("nvd", "high"))
    assert judged(grave, exceptions=exception("2026-11-20")) == []
    assert len(judged(grave, exceptions=exception("2026-11-19"))) == 1
    assert len(judged({**grave, "id": "CVE-2026-2"}, exceptions=exception("2026-11-20"))) == 1


@pytest.mark.parametrize("entry", [{"id": "X"}, {"id": "X", "until": "2030-01-01", "reason": " "}], ids=str)
def test_an_exception_without_an_end_or_a_reason_is_an_error(entry: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="until and reason"):
        judged(exceptions=[entry])


@pytest.mark.parametrize("report", ["", "{}", '{"components": null}', '{"vulnerabilities": [{}]}'])
def test_a_report_that_cannot_be_read_is_refused(report: str, tmp_path: Path) -> None:
    (tmp_path / "bill").write_text(json.dumps(document(NUMPY)))
    (tmp_path / "report").write_text(report)
    command = [sys.executable, str(PROGRAM), str(tmp_path / "bill"), str(tmp_path / "report")]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    assert finished.returncode == 1
    assert "refused" in finished.stdout + finished.stderr
    assert "Traceback" not in finished.stderr


def test_a_clean_report_passes(tmp_path: Path) -> None:
    (tmp_path / "bill").write_text(json.dumps(document(NUMPY)))
    finished = subprocess.run(
        [sys.executable, PROGRAM, tmp_path / "bill", tmp_path / "bill"], capture_output=True, text=True, check=False
    )
    assert (finished.returncode, finished.stdout) == (0, "passed: nothing open\n")

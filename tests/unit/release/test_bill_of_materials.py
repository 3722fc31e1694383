"""The bill of materials is CycloneDX, names what is installed, and carries the fairness figures with their n."""

from __future__ import annotations

import json
import re
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packageurl import PackageURL

from aboveboard.release.evidence import model_files
from aboveboard.release.run import read_run
from aboveboard.release.sbom import Distribution, bill_of_materials, installed_distributions
from tests.release_cases import MODEL, Bank, sha256, write_run

VALIDATOR = JsonStrictValidator(SchemaVersion.V1_6)


@pytest.fixture
def bill(tmp_path: Path) -> dict[str, Any]:
    bank = Bank(tmp_path)
    content = bank.store.verify(bank.approved()).files["sbom.cdx.json"]
    assert VALIDATOR.validate_str(content.decode()) is None
    document: dict[str, Any] = json.loads(content)
    return document


def test_the_validator_refuses_what_is_not_cyclonedx(bill: dict[str, Any]) -> None:
    bill["metadata"]["component"]["modelCard"]["mood"] = "good"
    assert VALIDATOR.validate_str(json.dumps(bill)) is not None


def test_the_model_its_files_and_its_data_are_named_by_digest(bill: dict[str, Any]) -> None:
    model = bill["metadata"]["component"]
    assert (model["type"], model["name"]) == ("machine-learning-model", "small-loans")
    assert {part["name"]: part["hashes"][0]["content"] for part in model["components"]} == {
        name: sha256(content)[7:] for name, content in MODEL.items()
    }
    (data,) = (component for component in bill["components"] if component["type"] == "data")
    assert data["hashes"] == [{"alg": "SHA-256", "content": "d" * 64}]
    assert model["modelCard"]["modelParameters"]["datasets"] == [{"ref": data["bom-ref"]}]


def test_fairness_is_in_the_card_with_sample_sizes(bill: dict[str, Any]) -> None:
    card = bill["metadata"]["component"]["modelCard"]
    (assessment,) = card["considerations"]["fairnessAssessments"]
    assert assessment["groupAtRisk"] == "sex: female (n = 400)"
    assert "adverse impact ratio 0.950, 95% interval 0.930 to 0.970 (n = 400)" in assessment["harms"]
    ratio = next(m for m in card["quantitativeAnalysis"]["performanceMetrics"] if m["type"] == "adverse_impact_ratio")
    assert ratio == {
        "type": "adverse_impact_ratio",
        "value": "0.95",
        "slice": "sex: female (n = 400)",
        "confidenceInterval": {"lowerBound": "0.93", "upperBound": "0.97"},
    }
    assert all(re.search(r"\(n = \d+\)$", m["slice"]) for m in card["quantitativeAnalysis"]["performanceMetrics"])
    assert card["considerations"]["technicalLimitations"] == ["Outcomes are known for granted loans only."]


def test_the_components_are_what_is_installed_and_nothing_of_the_workshop(bill: dict[str, Any]) -> None:
    libraries = {c["name"]: c for c in bill["components"] if c["type"] == "library"}
    for name in ("aboveboard", "msgspec", "cryptography", "numpy", "pydantic-core"):
        assert libraries[name]["version"] == metadata.version(name)
        assert libraries[name]["licenses"]
    assert not {"pytest", "mypy", "ruff", "hypothesis", "cyclonedx-python-lib"} & libraries.keys()
    for library in libraries.values():
        purl = PackageURL.from_string(library["purl"])
        assert (purl.type, purl.name, purl.version) == ("pypi", library["name"], library["version"])


def test_the_graph_of_dependencies_is_closed_and_reaches_everything(bill: dict[str, Any]) -> None:
    graph = {entry["ref"]: entry["dependsOn"] for entry in bill["dependencies"]}
    reached: set[str] = set()
    pending = [bill["metadata"]["component"]["bom-ref"]]
    while pending:
        reference = pending.pop()
        if reference not in reached:
            reached.add(reference)
            pending.extend(graph.get(reference, []))
    named = {component["bom-ref"] for component in bill["components"]}
    assert reached == named | {bill["metadata"]["component"]["bom-ref"]}


def test_the_same_release_has_the_same_bill(tmp_path: Path) -> None:
    run = read_run(write_run(tmp_path / "run"))

    def bill() -> bytes:
        return bill_of_materials(run.spec, run.evidence, model_files(run.files), installed_distributions())

    assert bill() == bill()
    assert re.fullmatch(r"urn:uuid:[0-9a-f]{8}-[0-9a-f]{4}-5[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}",
                        json.loads(bill())["serialNumber"])  # fmt: skip


def test_what_nobody_installed_has_no_distributions() -> None:
    assert installed_distributions("no-such-distribution") == []


def test_a_purl_escapes_local_versions() -> None:
    assert Distribution("Some_Thing", "1.0+cpu", [], []).purl == "pkg:pypi/some-thing@1.0%2Bcpu"

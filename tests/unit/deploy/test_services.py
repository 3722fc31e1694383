"""DecisionServices as files, and what a change makes of them."""

from __future__ import annotations

import pytest

from aboveboard.cluster import DecisionService
from aboveboard.deploy.change import promotion, rollback, service_path, services_in
from aboveboard.deploy.services import (
    PLACEHOLDER,
    parse_service,
    placed,
    promoted,
    service_text,
    with_challenger,
    with_champion,
)
from aboveboard.errors import Misuse, NotFound, SpecInvalid
from tests.deploy_cases import EXAMPLES, NEW, OLD, regions, service


def test_a_service_reads_back_as_it_was_written_without_defaults() -> None:
    text = service_text(service())
    assert parse_service(text, name="x") == service()
    assert "rollout" not in text
    assert "status" not in text


def test_every_mistake_is_reported_at_once_with_its_line() -> None:
    text = (EXAMPLES / "service.yaml").read_text(encoding="utf-8")
    wrong = text.replace("scaling: {min: 3", "scaling: {mni: 3").replace("mode: per-pod", "mode: nowhere")
    with pytest.raises(SpecInvalid) as caught:
        parse_service(wrong, name="service.yaml")
    found = {problem.path: problem for problem in caught.value.problems}
    assert "did you mean min?" in found["spec.scaling.mni"].hint
    assert found["spec.journal.mode"].line == next(
        number for number, line in enumerate(wrong.splitlines(), 1) if "nowhere" in line
    )


def test_a_release_takes_one_track_only() -> None:
    challenged = with_challenger(with_champion(service(), OLD), NEW, 5)
    assert challenged.spec.releases.digests() == (OLD, NEW)
    assert promoted(challenged).spec.releases.digests() == (NEW,)
    shadowed = challenged.model_copy(
        update={
            "spec": challenged.spec.model_copy(
                update={
                    "releases": challenged.spec.releases.model_copy(update={"shadows": (NEW,), "challenger": None})
                }
            )
        }
    )
    assert with_champion(shadowed, NEW).spec.releases.shadows == ()
    assert with_challenger(shadowed, NEW, 1).spec.releases.shadows == ()


def test_a_challenger_needs_another_champion() -> None:
    with pytest.raises(Misuse):
        with_challenger(service(), NEW, 5)
    with pytest.raises(Misuse):
        with_challenger(with_champion(service(), NEW), NEW, 5)
    with pytest.raises(Misuse, match="no challenger"):
        promoted(with_champion(service(), NEW))


def standing(champion: str = OLD, challenger: str | None = None) -> dict[str, DecisionService]:
    base = with_champion(service(), champion)
    if challenger is not None:
        base = with_challenger(base, challenger, 5)
    return {name: placed(base, regions().region(name)) for name in ("eu-west", "us-east")}


def test_services_are_found_by_their_place_alone() -> None:
    files = {
        service_path("production", region, "credit-default"): service_text(s) for region, s in standing().items()
    }
    files["production/eu-west/other/decisionservice-credit-default.yaml"] = "not: ours"
    files["production/eu-west/values.yaml"] = "a: 1"
    files[service_path("staging", "eu-west", "credit-default")] = "not: read"
    assert services_in(files, "production", "credit-default") == standing()


def test_promotion_needs_one_challenger_everywhere() -> None:
    change = promotion(standing(OLD, NEW), environment="production", name="credit-default")
    assert (change.release, change.replaces, change.regions) == (NEW, OLD, ("eu-west", "us-east"))
    mixed = {**standing(OLD, NEW), "eu-west": standing(OLD, "sha256:" + "c" * 64)["eu-west"]}
    with pytest.raises(Misuse, match="several challengers"):
        promotion(mixed, environment="production", name="credit-default")
    with pytest.raises(NotFound):
        promotion({}, environment="production", name="credit-default")


def test_rollback_skips_what_is_damaged_and_what_was_never_deployed() -> None:
    older = {
        region: ["not yaml: [", service_text(with_champion(s, PLACEHOLDER)), service_text(with_champion(s, OLD))]
        for region, s in standing(NEW).items()
    }
    change = rollback(standing(NEW), older, environment="production", name="credit-default")
    assert (change.release, change.replaces) == (OLD, NEW)
    with pytest.raises(NotFound, match="no earlier release"):
        rollback(standing(NEW), {}, environment="production", name="credit-default")


def test_regions_that_would_go_back_to_different_releases_are_for_a_person() -> None:
    now = standing(NEW)
    third = "sha256:" + "c" * 64
    older = {
        "eu-west": [service_text(with_champion(now["eu-west"], OLD))],
        "us-east": [service_text(with_champion(now["us-east"], third))],
    }
    with pytest.raises(Misuse, match="different champions"):
        rollback(now, older, environment="production", name="credit-default")

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
    tracks_beside,
    with_arm,
    with_challenger,
    with_champion,
    without_arm,
)
from aboveboard.errors import Misuse, NotFound, SpecInvalid
from tests.deploy_cases import EXAMPLES, NEW, OLD, regions, service

THIRD = "sha256:" + "c" * 64


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


def test_arms_stand_beside_each_other_each_with_a_release() -> None:
    base = with_champion(service(), OLD)
    tested = with_arm(with_arm(with_challenger(base, THIRD, 5), "control", OLD, 20), "longer", NEW, 20)
    assert tested.spec.releases.shares() == {"champion": 55, "challenger": 5, "control": 20, "longer": 20}
    assert tested.spec.releases.digests() == (OLD, THIRD, NEW)
    assert parse_service(service_text(tested), name="x") == tested
    # The same arm with another weight stays in its place; a release takes one track beside the champion only.
    grown = with_arm(tested, "control", OLD, 30)
    assert [(arm.name, arm.weight) for arm in grown.spec.releases.arms] == [("control", 30), ("longer", 20)]
    assert list(tracks_beside(with_arm(tested, "third", THIRD, 1))) == ["control", "longer", "third"]
    assert list(tracks_beside(with_challenger(tested, NEW, 1))) == ["challenger", "control"]
    assert list(tracks_beside(without_arm(tested, "longer"))) == ["challenger", "control"]
    assert promoted(tested, "longer").spec.releases.model_dump(exclude_defaults=True) == {"champion": NEW}


def test_an_arm_that_cannot_be_is_refused() -> None:
    base = with_champion(service(), OLD)
    with pytest.raises(Misuse, match="more than 100"):
        with_arm(with_challenger(base, NEW, 50), "arm", THIRD, 51)
    with pytest.raises(Misuse, match="more than 100"):
        with_challenger(with_arm(base, "arm", THIRD, 51), NEW, 50)
    with pytest.raises(Misuse, match="cannot be called shadow"):
        with_arm(base, "shadow", NEW, 1)
    with pytest.raises(Misuse, match="no name for an arm"):
        with_arm(base, "Longer history", NEW, 1)
    with pytest.raises(Misuse, match="beside a champion"):
        with_arm(service(), "arm", NEW, 1)
    with pytest.raises(Misuse, match="no arm 'arm'"):
        promoted(base, "arm")


def test_an_arm_is_promoted_or_withdrawn_in_every_region_that_has_it() -> None:
    base = with_arm(with_arm(with_champion(service(), OLD), "control", OLD, 20), "longer", NEW, 20)
    now = {
        "eu-west": placed(base, regions().region("eu-west")),
        "us-east": placed(without_arm(base, "longer"), regions().region("us-east")),
    }
    change = promotion(now, environment="production", name="credit-default", arm="longer")
    assert (change.release, change.replaces, change.regions) == (NEW, OLD, ("eu-west",))
    change = rollback(now, {}, environment="production", name="credit-default", arm="longer")
    (text,) = change.files.values()
    assert list(tracks_beside(parse_service(text, name="x"))) == ["control"]
    assert change.message.startswith(f"Withdraw credit-default {NEW[7:19]} as arm longer in production")
    assert f"Takes-out: {NEW}" in change.message
    # All of it at once: the champion alone is what is left, and its own release is not taken out.
    change = rollback(now, {}, environment="production", name="credit-default")
    assert change.regions == ("eu-west", "us-east")
    assert f"Takes-out: {NEW}" in change.message
    assert f"Takes-out: {OLD}" not in change.message
    with pytest.raises(Misuse, match="no arm shorter"):
        promotion(now, environment="production", name="credit-default", arm="shorter")
    with pytest.raises(NotFound, match="no arm 'shorter'"):
        rollback(now, {}, environment="production", name="credit-default", arm="shorter")


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

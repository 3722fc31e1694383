"""What a Model becomes, and how the standing of its Jobs is read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from aboveboard.cluster import crd_documents
from aboveboard.cluster.model_controller import last_run, run_condition, superfluous
from aboveboard.cluster.model_run import pipeline_objects, read_model
from aboveboard.errors import SpecInvalid
from aboveboard.spec.load import load_spec
from tests.cluster_cases import CONTEXT
from tests.kubernetes_schemas import problems
from tests.model_resources import model
from tests.unit.cluster.test_admission import Case, flowing


def objects(**pipeline: Any) -> dict[str, dict[str, Any]]:
    made = pipeline_objects(read_model(model(pipeline=pipeline)), image=CONTEXT.image)
    return {item["kind"]: item for item in made}


def test_nothing_runs_unless_it_is_asked_for() -> None:
    assert pipeline_objects(read_model(model()), image=CONTEXT.image) == []
    assert set(objects()) == {"ConfigMap", "NetworkPolicy"}
    assert set(objects(run="first")) == {"ConfigMap", "NetworkPolicy", "Job"}
    assert set(objects(schedule="0 3 * * 1")) == {"ConfigMap", "NetworkPolicy", "CronJob"}


def test_every_object_is_valid_to_the_last_field() -> None:
    gpu = {"cpu": "4", "memory": "8Gi", "gpu": {"count": 1}}
    made = objects(run="first", schedule="0 3 * * 1", suspend=True, fast=True, resources=gpu)
    assert [problem for item in made.values() for problem in problems(item)] == []
    for item in made.values():
        assert problems({**item, "notAField": 1})
    resource = model(pipeline={"run": "first", "schedule": "0 3 * * 1"})
    assert problems(resource, crd_documents()) == []


def test_the_models_own_yaml_is_what_runs(tmp_path: Path) -> None:
    path = tmp_path / "model.yaml"
    path.write_text(objects()["ConfigMap"]["data"]["model.yaml"], encoding="utf-8")
    spec = load_spec(path)
    assert (spec.metadata.name, spec.metadata.owner) == (model()["metadata"]["name"], model()["spec"]["owner"])


def test_the_image_is_pulled_with_the_registrys_credentials_and_no_proxy_is_put_beside() -> None:
    read = read_model(model(pipeline={"run": "first", "schedule": "0 3 * * 1"}))
    made = {item["kind"]: item for item in pipeline_objects(read, image=CONTEXT.image, registry_secret="registry")}
    for job in (made["Job"]["spec"], made["CronJob"]["spec"]["jobTemplate"]["spec"]):
        assert job["template"]["spec"]["imagePullSecrets"] == [{"name": "registry"}]
        assert job["template"]["metadata"]["labels"]["sidecar.istio.io/inject"] == "false"
    assert "imagePullSecrets" not in objects(run="first")["Job"]["spec"]["template"]["spec"]


def test_the_pod_is_restricted_and_reaches_nobody() -> None:
    made = objects(run="first")
    pod = made["Job"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert container["command"] == ["aboveboard", "run"]
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["automountServiceAccountToken"] is False
    policy = made["NetworkPolicy"]["spec"]
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    assert (policy["ingress"], policy["egress"]) == ([], [])
    labels = made["Job"]["spec"]["template"]["metadata"]["labels"]
    assert policy["podSelector"]["matchLabels"].items() <= labels.items()


def test_another_run_or_another_model_is_another_job() -> None:
    def name(document: dict[str, Any]) -> str:
        made = pipeline_objects(read_model(document), image=CONTEXT.image)
        return str(next(item["metadata"]["name"] for item in made if item["kind"] == "Job"))

    first = name(model(pipeline={"run": "first"}))
    assert name(model(pipeline={"run": "first", "fast": True})) == first
    assert name(model(pipeline={"run": "second"})) != first
    assert name(model(pipeline={"run": "first"}, regions=["eu-west", "eu-north"])) != first
    assert len(first) <= 63


@pytest.mark.parametrize(
    ("resource", "said"),
    [
        (model(purpose="divination"), "purpose"),
        (model(pipeline={"image": "aboveboard:latest"}), "spec.pipeline.image"),
        (model(pipeline={"surprise": 1}), "spec.pipeline.surprise"),
        (model(surprise=1), "surprise"),
        ({"metadata": {"name": "x", "namespace": "n"}}, "Model x"),
    ],
)
def test_what_is_not_valid(resource: dict[str, Any], said: str) -> None:
    with pytest.raises(SpecInvalid) as caught:
        read_model(resource)
    assert said in " ".join(map(str, caught.value.problems))


def test_a_flow_that_no_rule_allows_is_no_valid_model() -> None:
    resource = model(regions=["eu-west", "eu-central"])
    read_model(resource, regions=flowing())
    with pytest.raises(SpecInvalid) as caught:
        read_model(resource, regions=flowing("uk"))
    assert "eu-central" in str(caught.value.problems[0])


def test_admission_reads_a_model_as_check_does(tmp_path: Path) -> None:
    case = Case(tmp_path)
    assert case.ask(model(pipeline={"run": "first"})) == (True, "")
    allowed, message = case.ask(model(purpose="divination", surprise=1))
    assert not allowed
    assert "purpose" in message
    assert "surprise" in message


def job(name: str, made: str, **status: Any) -> dict[str, Any]:
    return {"metadata": {"name": name, "creationTimestamp": made}, "status": status}


COMPLETE = {"type": "Complete", "status": "True", "lastTransitionTime": "2026-11-22T01:00:00Z"}
FAILED = {"type": "Failed", "status": "True", "reason": "PodFailurePolicy", "message": "exit code 1"}


@pytest.mark.parametrize(
    ("status", "phase", "holds"),
    [
        ({}, "Waiting", None),
        ({"active": 1, "startTime": "2026-11-22T00:00:00Z"}, "Running", None),
        ({"conditions": [COMPLETE]}, "Succeeded", True),
        ({"conditions": [{**FAILED, "lastTransitionTime": "2026-11-22T01:00:00Z"}]}, "Failed", False),
        ({"conditions": [{**COMPLETE, "status": "False"}], "active": 1}, "Running", None),
    ],
)
def test_how_a_run_stands(status: dict[str, Any], phase: str, holds: bool | None) -> None:
    last = last_run([job("new", "2026-11-22T00:00:00Z", **status), job("old", "2026-11-21T00:00:00Z")])
    assert last is not None
    assert (last["job"], last["phase"]) == ("new", phase)
    assert run_condition(last).holds is holds
    whole = {**model(), "status": {"observedGeneration": 1, "lastRun": last}}
    assert problems(json.loads(json.dumps(whole)), crd_documents()) == []


def owned(name: str, ended: str, condition: dict[str, Any], kind: str = "Model") -> dict[str, Any]:
    made = job(name, ended, conditions=[{**condition, "lastTransitionTime": ended}])
    made["metadata"]["ownerReferences"] = [{"kind": kind, "name": "small-loans", "controller": True}]
    return made


def test_jobs_that_ended_are_kept_as_far_as_the_limits_go() -> None:
    def gone(**limits: Any) -> list[str]:
        found = superfluous(jobs, read_model(model(pipeline={"run": "first", **limits})))
        return [each["metadata"]["name"] for each in found]

    good = [owned(f"good-{day}", f"2026-11-{day}T00:00:00Z", COMPLETE) for day in (14, 12, 13, 11, 15)]
    bad = [owned(f"bad-{day}", f"2026-11-{day}T00:00:00Z", FAILED) for day in (11, 12)]
    jobs = [
        *good,
        *bad,
        owned("the-schedules", "2026-11-01T00:00:00Z", COMPLETE, kind="CronJob"),
        owned("running", "2026-11-01T00:00:00Z", {**COMPLETE, "status": "False"}),
    ]
    assert gone() == ["good-11", "good-12", "bad-11"], "the defaults are those of a CronJob"
    assert gone(successfulRunsHistoryLimit=5, failedRunsHistoryLimit=2) == []
    assert len(gone(successfulRunsHistoryLimit=0, failedRunsHistoryLimit=0)) == 7


def test_limits_and_time_to_live_reach_the_schedule_and_the_job() -> None:
    made = objects(
        run="first",
        schedule="0 3 * * 1",
        successfulRunsHistoryLimit=7,
        failedRunsHistoryLimit=5,
        ttlSecondsAfterFinished=86_400,
    )
    cron = made["CronJob"]["spec"]
    assert (cron["successfulJobsHistoryLimit"], cron["failedJobsHistoryLimit"]) == (7, 5)
    assert cron["jobTemplate"]["spec"]["ttlSecondsAfterFinished"] == 86_400
    assert made["Job"]["spec"]["ttlSecondsAfterFinished"] == 86_400
    assert [problem for item in made.values() for problem in problems(item)] == []
    assert "ttlSecondsAfterFinished" not in objects(run="first")["Job"]["spec"]


@pytest.mark.parametrize(
    ("jobs", "phase", "name"),
    [
        ([], "Succeeded", "one"),
        ([job("older", "2026-11-20T00:00:00Z")], "Succeeded", "one"),
        ([job("newer", "2026-11-23T00:00:00Z")], "Waiting", "newer"),
        ([job("one", "2026-11-22T00:00:00Z", active=1)], "Running", "one"),
    ],
)
def test_how_a_run_went_is_known_when_its_job_is_gone(jobs: list[dict[str, Any]], phase: str, name: str) -> None:
    before = {"job": "one", "phase": "Succeeded", "started": "2026-11-22T00:00:01Z"}
    last = last_run(jobs, before)
    assert last is not None
    assert (last["phase"], last["job"]) == (phase, name)


def test_a_job_that_was_removed_before_it_ended_has_failed() -> None:
    last = last_run([], {"job": "one", "phase": "Running", "started": "2026-11-22T00:00:01Z"})
    assert last is not None
    assert (last["phase"], last["message"]) == ("Failed", "its Job was removed before it ended")


def test_no_run_at_all() -> None:
    assert last_run([]) is None
    assert run_condition(None).reason == "NotAsked"

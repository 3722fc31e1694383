"""What a Model becomes: its model.yaml, a Job for a run that was asked for, a CronJob for a schedule. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from aboveboard.canonical import canonical_json
from aboveboard.cluster.naming import MANAGER
from aboveboard.cluster.pod import CONTAINER_SECURITY, HOME, USER
from aboveboard.cluster.types import API_VERSION, GROUP, ObjectMeta, Pipeline
from aboveboard.errors import Problem, SpecInvalid
from aboveboard.ids import sha256_digest
from aboveboard.spec.load import parse_spec
from aboveboard.spec.model import ModelSpec
from aboveboard.spec.regions import Regions, residency_problems

WORK = "/work"
"""Where model.yaml is, and `data/` beside it."""
FINAL_EXIT_CODES = (1, 2, 64, 65, 66, 77)
"""A gate that does not pass, and what no second attempt would mend."""


@dataclass(frozen=True, slots=True)
class ModelResource:
    """A Model that says what it must."""

    metadata: ObjectMeta
    document: Mapping[str, Any]
    """Its model.yaml."""
    spec: ModelSpec
    pipeline: Pipeline | None


def read_model(resource: Mapping[str, Any], *, regions: Regions | None = None) -> ModelResource:
    """Return a Model, read as `aboveboard check` reads model.yaml. Raises `SpecInvalid` with every problem."""
    name = str(resource.get("metadata", {}).get("name", ""))
    where = f"Model {name}"
    body = dict(resource.get("spec") or {})
    owner, description, pipeline = (body.pop(key, None) for key in ("owner", "description", "pipeline"))
    metadata = {
        key: v for key, v in (("name", name), ("owner", owner), ("description", description)) if v is not None
    }
    document = {"apiVersion": API_VERSION, "kind": "Model", "metadata": metadata, "spec": body}
    problems: list[Problem] = []
    found: ModelSpec | None = None
    read: Pipeline | None = None
    try:
        found = parse_spec(json.dumps(document), name=where)
        problems += residency_problems(found, regions, name=where) if regions is not None else []
    except SpecInvalid as error:
        # A line of a text that nobody wrote would lead nowhere.
        problems += [Problem(problem.path, problem.message, problem.hint, where) for problem in error.problems]
    try:
        if pipeline is not None:
            read = Pipeline.model_validate(pipeline, by_alias=True, by_name=False)
    except ValidationError as error:
        problems += [
            Problem(
                ".".join(map(str, ("spec", "pipeline", *e["loc"]))),
                e["msg"].removeprefix("Value error, "),
                file=where,
            )
            for e in error.errors()
        ]
    if found is None or problems:
        raise SpecInvalid(f"{where}: not a valid model", problems, hint="mend each field named")
    meta = ObjectMeta.model_validate(resource["metadata"], by_alias=True, by_name=False)
    return ModelResource(meta, document, found, read)


def pipeline_objects(model: ModelResource, *, image: str, registry_secret: str | None = None) -> list[dict[str, Any]]:
    """Return what the pipeline of a model consists of, in the order in which it is applied; nothing without one.

    `registry_secret` has the credentials with which nodes pull images, in the namespace of the model.
    """
    pipeline = model.pipeline
    if pipeline is None:
        return []
    name = model.metadata.name
    text = json.dumps(model.document, indent=2, ensure_ascii=False) + "\n"  # JSON is YAML
    objects = [
        _object(model, "v1", "ConfigMap", f"{name}-model", data={"model.yaml": text}),
        _object(
            model,
            "networking.k8s.io/v1",
            "NetworkPolicy",
            f"{name}-run",
            spec={
                "podSelector": {"matchLabels": _labels(model)},
                "policyTypes": ["Ingress", "Egress"],
                "ingress": [],
                "egress": [],
            },
        ),
    ]
    job = _job_spec(model, pipeline, pipeline.image or image)
    # A proxy would wait for its control plane, which no policy lets it reach, and outlive what it was put beside.
    job["template"]["metadata"]["labels"] = {**_labels(model), "sidecar.istio.io/inject": "false"}
    if registry_secret is not None:
        job["template"]["spec"]["imagePullSecrets"] = [{"name": registry_secret}]
    if pipeline.schedule is not None:
        cron = {
            "schedule": pipeline.schedule,
            "timeZone": "Etc/UTC",
            "concurrencyPolicy": "Forbid",
            "suspend": pipeline.suspend,
            "startingDeadlineSeconds": 3600,
            "successfulJobsHistoryLimit": pipeline.successful_runs_history_limit,
            "failedJobsHistoryLimit": pipeline.failed_runs_history_limit,
            "jobTemplate": {"metadata": {"labels": _labels(model)}, "spec": job},
        }
        objects.append(_object(model, "batch/v1", "CronJob", name, spec=cron))
    if pipeline.run is not None:
        objects.append(_object(model, "batch/v1", "Job", run_name(model, pipeline.run), spec=job))
    return objects


def run_name(model: ModelResource, run: str) -> str:
    """Return the name of the Job of one run: the same run of the same model is one Job, whatever else changes."""
    digest = sha256_digest(canonical_json({"run": run, "model": json.loads(json.dumps(model.document))}))
    return f"{model.metadata.name}-{digest.removeprefix('sha256:')[:10]}"


def _job_spec(model: ModelResource, pipeline: Pipeline, image: str) -> dict[str, Any]:
    resources = pipeline.resources
    gpu = {resources.gpu.resource: str(resources.gpu.count)} if resources.gpu else {}
    account = f"system:serviceaccount:{model.metadata.namespace}:{pipeline.service_account}"
    container = {
        "name": "run",
        "image": image,
        "command": ["aboveboard", "run"],
        "args": [f"{WORK}/model.yaml", *(["--fast"] if pipeline.fast else [])],
        "workingDir": WORK,
        "env": [{"name": "ABOVEBOARD_HOME", "value": HOME}, {"name": "ABOVEBOARD_ACTOR", "value": account}],
        "resources": {
            "requests": {"cpu": resources.cpu, "memory": resources.memory, **gpu},
            "limits": {"memory": resources.memory, **gpu},
        },
        "securityContext": CONTAINER_SECURITY,
        "volumeMounts": [
            {"name": "work", "mountPath": WORK},
            {"name": "model", "mountPath": f"{WORK}/model.yaml", "subPath": "model.yaml", "readOnly": True},
            {"name": "data", "mountPath": f"{WORK}/data", "readOnly": True},
            {"name": "home", "mountPath": HOME},
            {"name": "scratch", "mountPath": "/tmp"},  # noqa: S108  a volume of the pod's own
        ],
    }
    pod: dict[str, Any] = {
        "restartPolicy": "Never",
        "serviceAccountName": pipeline.service_account,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container],
        "volumes": [
            {"name": "work", "emptyDir": {"sizeLimit": "64Mi"}},
            {"name": "scratch", "emptyDir": {"sizeLimit": "4Gi"}},
            {"name": "model", "configMap": {"name": f"{model.metadata.name}-model", "defaultMode": 0o444}},
            {"name": "data", "persistentVolumeClaim": {"claimName": pipeline.data_claim, "readOnly": True}},
            {"name": "home", "persistentVolumeClaim": {"claimName": pipeline.home_claim}},
        ],
    }
    if resources.gpu is not None:
        pod["tolerations"] = [{"key": resources.gpu.resource, "operator": "Exists", "effect": "NoSchedule"}]
    ttl = pipeline.ttl_seconds_after_finished
    final = {"containerName": "run", "operator": "In", "values": list(FINAL_EXIT_CODES)}
    return {
        "backoffLimit": 2,
        "activeDeadlineSeconds": pipeline.deadline_minutes * 60,
        **({"ttlSecondsAfterFinished": ttl} if ttl is not None else {}),
        "podFailurePolicy": {"rules": [{"action": "FailJob", "onExitCodes": final}]},
        "template": {"metadata": {"labels": _labels(model)}, "spec": pod},
    }


def _labels(model: ModelResource) -> dict[str, str]:
    return {
        "app.kubernetes.io/name": "model-run",
        "app.kubernetes.io/instance": model.metadata.name,
        "app.kubernetes.io/part-of": "aboveboard",
        "app.kubernetes.io/managed-by": MANAGER,
        f"{GROUP}/model": model.metadata.name,
    }


def _object(model: ModelResource, api_version: str, kind: str, name: str, **rest: Any) -> dict[str, Any]:
    metadata: dict[str, Any] = {"name": name, "namespace": model.metadata.namespace, "labels": _labels(model)}
    if model.metadata.uid is not None:
        owner = {"apiVersion": API_VERSION, "kind": "Model", "name": model.metadata.name, "uid": model.metadata.uid}
        metadata["ownerReferences"] = [{**owner, "controller": True, "blockOwnerDeletion": True}]
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, **rest}

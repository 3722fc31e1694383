"""What runs: a StatefulSet or a Deployment, with its account, its settings and its disruption budget."""

from __future__ import annotations

from typing import Any

from aboveboard.cluster.context import ReconcileContext
from aboveboard.cluster.naming import instance, selector
from aboveboard.cluster.pod import pod_template, settings
from aboveboard.cluster.types import DecisionService, RolloutForm


def workload_reference(service: DecisionService) -> dict[str, str]:
    """Return what autoscalers scale."""
    if service.spec.rollout.form is RolloutForm.SEPARATE_PODS:
        kind, api_version = "Rollout", "argoproj.io/v1alpha1"
    else:
        kind = "StatefulSet" if service.spec.journal.mode == "per-pod" else "Deployment"
        api_version = "apps/v1"
    return {"apiVersion": api_version, "kind": kind, "name": service.metadata.name}


def account(service: DecisionService) -> dict[str, Any]:
    """Return the ServiceAccount of the pods. It may do nothing, and its token is not mounted."""
    item = instance(service, "v1", "ServiceAccount", automountServiceAccountToken=False)
    if annotations := service.spec.access.service_account_annotations:
        item["metadata"]["annotations"] = {**annotations, **item["metadata"].get("annotations", {})}
    return item


def config_map(service: DecisionService) -> dict[str, Any]:
    """Return the settings of the pods. Nothing secret is among them."""
    return instance(service, "v1", "ConfigMap", data=settings(service))


def disruption_budget(service: DecisionService) -> dict[str, Any]:
    """Return the PodDisruptionBudget: nodes are drained one pod of ours at a time; broken pods never stop a drain."""
    return instance(
        service,
        "policy/v1",
        "PodDisruptionBudget",
        {
            "maxUnavailable": 1,
            "selector": {"matchLabels": selector(service)},
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
        },
    )


def workload(service: DecisionService, context: ReconcileContext) -> dict[str, Any]:
    """Return the workload itself, for releases that are side by side in one process.

    The number of replicas is left to the autoscaler: stating it would fight over it at every reconciliation.
    """
    per_pod = service.spec.journal.mode == "per-pod"
    spec: dict[str, Any] = {
        "revisionHistoryLimit": 5,
        "minReadySeconds": 5,
        "selector": {"matchLabels": selector(service)},
        "template": pod_template(
            service, context, hash_label="controller-revision-hash" if per_pod else "pod-template-hash"
        ),
    }
    if not per_pod:
        spec["strategy"] = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
        spec["progressDeadlineSeconds"] = 600
        return instance(service, "apps/v1", "Deployment", spec)
    journal = service.spec.journal
    claim: dict[str, Any] = {
        "accessModes": ["ReadWriteOncePod"],
        "resources": {"requests": {"storage": journal.size}},
    }
    if journal.storage_class is not None:
        claim["storageClassName"] = journal.storage_class
    spec |= {
        "serviceName": f"{service.metadata.name}-pods",
        # A journal is evidence: it outlives the pod, the scale-down and the service.
        "persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Retain", "whenScaled": "Retain"},
        "podManagementPolicy": "Parallel",
        "updateStrategy": {"type": "RollingUpdate"},
        "volumeClaimTemplates": [
            {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "home"}, "spec": claim}
        ],
    }
    return instance(service, "apps/v1", "StatefulSet", spec)

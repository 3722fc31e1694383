"""A decision service as KServe runs it, for teams that have KServe and want one way to run every model.

The pod is the one our operator makes: residency, verified releases and walls included. KServe's routing and scaling
take the place of ours; champion and challenger stay in one process, since KServe's canary looks at no evidence.
"""

from __future__ import annotations

from typing import Any, Final

from aboveboard.cluster.context import ReconcileContext
from aboveboard.cluster.naming import PORT, instance
from aboveboard.cluster.network import network_policies
from aboveboard.cluster.pod import pod_template
from aboveboard.cluster.types import DecisionService, RolloutForm
from aboveboard.cluster.workload import account, config_map, disruption_budget
from aboveboard.errors import Misuse

RUNTIME: Final = "aboveboard"
FORMAT: Final = "aboveboard-release"
_CONTAINER: Final = "kserve-container"
"""KServe's own name for the container that serves."""
GRPC_PORT: Final = 9000
_GRPC = {"name": "h2c", "containerPort": GRPC_PORT, "protocol": "TCP"}
"""KServe and the gateways tell gRPC by the name of its port."""
_TARGET_CPU: Final = 70
"""Per cent of the requested CPU above which KServe starts another pod."""


def serving_runtime(context: ReconcileContext) -> dict[str, Any]:
    """Return the ClusterServingRuntime: how a release of any model is served, by the Open Inference Protocol."""
    return {
        "apiVersion": "serving.kserve.io/v1alpha1",
        "kind": "ClusterServingRuntime",
        "metadata": {"name": RUNTIME, "labels": {"app.kubernetes.io/part-of": "aboveboard"}},
        "spec": {
            "supportedModelFormats": [{"name": FORMAT, "version": "1", "autoSelect": False}],
            "protocolVersions": ["v2", "grpc-v2"],
            "multiModel": False,
            "containers": [
                {
                    "name": _CONTAINER,
                    "image": context.image,
                    "command": ["aboveboard", "serve"],
                    "args": ["--host=0.0.0.0", f"--port={PORT}", f"--grpc-port={GRPC_PORT}"],
                    "ports": [{"name": "http", "containerPort": PORT, "protocol": "TCP"}, _GRPC],
                    "securityContext": {
                        "allowPrivilegeEscalation": False,
                        "readOnlyRootFilesystem": True,
                        "runAsNonRoot": True,
                        "capabilities": {"drop": ["ALL"]},
                        "seccompProfile": {"type": "RuntimeDefault"},
                    },
                    "resources": {"requests": {"cpu": "1", "memory": "512Mi"}, "limits": {"memory": "512Mi"}},
                }
            ],
        },
    }


def kserve_objects(service: DecisionService, context: ReconcileContext) -> list[dict[str, Any]]:
    """Return all that a service needs under KServe, in the order in which it is applied.

    Raises `Misuse` for what KServe has no place for: a volume for each pod, and roll-outs by separate pods.
    """
    return [
        account(service),
        config_map(service),
        *network_policies(service, context, ports=(PORT, GRPC_PORT)),
        disruption_budget(service),
        serving_runtime(context),
        inference_service(service, context),
    ]


def inference_service(service: DecisionService, context: ReconcileContext) -> dict[str, Any]:
    """Return the InferenceService. Raises `Misuse` as `kserve_objects` does."""
    spec = service.spec
    if spec.journal.mode == "per-pod":
        raise Misuse(
            "KServe runs Deployments, whose pods have no volume of their own",
            hint="use journal.mode shared with a ReadWriteMany claim",
        )
    if spec.rollout.form is RolloutForm.SEPARATE_PODS:
        raise Misuse("KServe and Argo Rollouts cannot both own the pods", hint="use rollout.form in-process")
    template = pod_template(service, context, hash_label="pod-template-hash")
    pod = dict(template["spec"])
    [server] = pod.pop("containers")
    own = {key: value for key, value in server.items() if key not in ("name", "image", "command", "args")}
    own["ports"] = [*own["ports"], _GRPC]
    # KServe appends these to the runtime's arguments: the release comes last, and names what is served.
    arguments = [argument for argument in server["args"] if not argument.startswith(("--host=", "--port="))]
    model = {
        "modelFormat": {"name": FORMAT, "version": "1"},
        "protocolVersion": "v2",
        "runtime": RUNTIME,
        "args": arguments,
        **own,
    }
    return instance(
        service,
        "serving.kserve.io/v1beta1",
        "InferenceService",
        {
            "predictor": {
                "minReplicas": spec.scaling.min,
                "maxReplicas": spec.scaling.max,
                "scaleMetric": "cpu",
                "scaleTarget": _TARGET_CPU,
                "labels": template["metadata"]["labels"],
                "annotations": template["metadata"]["annotations"],
                "model": model,
                **pod,
            }
        },
        annotations={
            # Pods made by KServe itself, not by Knative: no scale to zero, which would lose the log's last words.
            "serving.kserve.io/deploymentMode": "Standard",
            "serving.kserve.io/autoscalerClass": "hpa",
        },
    )

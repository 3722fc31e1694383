"""The CustomResourceDefinitions, made from the types that read the resources."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from aboveboard.cluster.structural import structural
from aboveboard.cluster.types import GROUP, VERSION, DecisionServiceSpec, ModelResourceSpec, PolicyPackSpec
from aboveboard.spec.types import Strict

Rule = tuple[str, str]
"""A CEL expression over the spec, and what is said when it is not true."""

SERVICE_RULES: Sequence[Rule] = (
    ("self.model == oldSelf.model", "the model of a service does not change: make another service"),
    (
        "!has(self.releases.challenger) || self.releases.challenger.release != self.releases.champion",
        "a release cannot be challenger to itself",
    ),
    (
        "!has(self.releases.shadows) || self.releases.shadows.all(s, s != self.releases.champion && "
        "(!has(self.releases.challenger) || s != self.releases.challenger.release) && "
        "(!has(self.releases.arms) || !self.releases.arms.exists(a, a.release == s)) && "
        "self.releases.shadows.exists_one(t, t == s))",
        "a release cannot be shadow to itself",
    ),
    (
        "!has(self.releases.arms) || self.releases.arms.all(a, self.releases.arms.exists_one(b, b.name == a.name))",
        "two arms have one name",
    ),
    (
        "!has(self.releases.arms) || self.releases.arms.all(a, !(a.name in ['champion', 'challenger', 'shadow']))",
        "an arm cannot be called champion, challenger or shadow: those are tracks of their own",
    ),
    (
        # An arm may have the champion's release, as a control group.
        "!has(self.releases.arms) || self.releases.arms.all(a, "
        "(!has(self.releases.challenger) || a.release != self.releases.challenger.release) && "
        "self.releases.arms.exists_one(b, b.release == a.release))",
        "each arm has a release of its own",
    ),
    (
        "!has(self.releases.arms) || self.releases.arms.map(a, a.weight).sum() + "
        "(has(self.releases.challenger) ? self.releases.challenger.weight : 0) <= 100",
        "the weights of challenger and arms add up to more than 100",
    ),
    (
        "has(self.access.subjectKeySecret) != has(self.access.subjectKeyProviderClass)",
        "access names either subjectKeySecret or subjectKeyProviderClass",
    ),
    (
        "has(self.access.clientsSecret) != has(self.access.clientsProviderClass)",
        "access names either clientsSecret or clientsProviderClass",
    ),
    (
        "!has(self.log) || has(self.log.databaseSecret) != has(self.log.databaseProviderClass)",
        "log names either databaseSecret or databaseProviderClass",
    ),
    (
        "!has(self.log) || has(self.log.keysSecret) != has(self.log.keysProviderClass)",
        "log names either keysSecret or keysProviderClass",
    ),
    (
        "!has(self.log) || !has(self.log.credentialsSecret) || !has(self.log.credentialsProviderClass)",
        "log names credentialsSecret or credentialsProviderClass, not both",
    ),
    (
        "!has(self.log) || (has(self.log.kek) && self.log.kek.startsWith('vault:')) == has(self.log.vault)",
        "log.vault goes with a log.kek of Vault's, and such a key with log.vault",
    ),
    ("self.scaling.min <= self.scaling.max", "scaling.min is above scaling.max"),
    (
        "(self.journal.mode == 'shared') == has(self.journal.claim)",
        "journal.claim goes with mode shared, and mode shared with a claim",
    ),
    (
        "self.journal.mode != 'per-pod' || oldSelf.journal.mode != 'per-pod' || "
        "(self.journal.size == oldSelf.journal.size && "
        "has(self.journal.storageClass) == has(oldSelf.journal.storageClass) && "
        "(!has(self.journal.storageClass) || self.journal.storageClass == oldSelf.journal.storageClass))",
        "journal.size and journal.storageClass of volumes that are there do not change: enlarge the claims",
    ),
    (
        "!has(self.integrations.istio) || !has(self.integrations.gateway)",
        "integrations.istio and integrations.gateway exclude each other",
    ),
    (
        "!has(self.integrations.keda) || has(self.integrations.prometheus)",
        "integrations.keda asks Prometheus: name integrations.prometheus",
    ),
    (
        "self.rollout.form != 'separate-pods' || (!has(self.releases.challenger) && "
        "(!has(self.releases.arms) || size(self.releases.arms) == 0) && "
        "(!has(self.releases.shadows) || size(self.releases.shadows) == 0))",
        "with separate pods name the new release as champion: Argo Rollouts takes it through the steps",
    ),
    (
        "self.rollout.form != 'separate-pods' || (has(self.integrations.argoRollouts) && "
        "has(self.integrations.prometheus))",
        "separate pods need integrations.argoRollouts and integrations.prometheus",
    ),
    (
        "self.rollout.form != 'separate-pods' || has(self.integrations.istio) || has(self.integrations.gateway)",
        "separate pods need integrations.istio or integrations.gateway to divide the traffic",
    ),
    (
        "self.rollout.form != 'separate-pods' || self.journal.mode != 'per-pod'",
        "separate pods cannot have a volume each: use journal.mode shared",
    ),
    (
        "self.rollout.steps.all(s, self.rollout.steps.exists_one(t, t.weight == s.weight))",
        "each step of the roll-out has a weight of its own",
    ),
)

CONDITIONS: dict[str, Any] = {
    "type": "array",
    "description": "What holds and what does not, by type.",
    "maxItems": 16,
    "x-kubernetes-list-type": "map",
    "x-kubernetes-list-map-keys": ["type"],
    "items": {
        "type": "object",
        "required": ["lastTransitionTime", "message", "reason", "status", "type"],
        "properties": {
            "type": {"type": "string", "maxLength": 316},
            "status": {"type": "string", "enum": ["True", "False", "Unknown"]},
            "observedGeneration": {"type": "integer", "format": "int64", "minimum": 0},
            "lastTransitionTime": {"type": "string", "format": "date-time"},
            "reason": {
                "type": "string",
                "minLength": 1,
                "maxLength": 1024,
                "pattern": "^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$",
            },
            "message": {"type": "string", "maxLength": 32768},
        },
    },
}

STATUS: dict[str, Any] = {
    "type": "object",
    "properties": {
        "observedGeneration": {
            "type": "integer",
            "format": "int64",
            "minimum": 0,
            "description": "The generation of the spec that everything else here is about.",
        },
        "conditions": CONDITIONS,
        "champion": {"type": "string", "maxLength": 71, "description": "The release last put in service."},
        "shares": {
            "type": "string",
            "maxLength": 1024,
            "description": "Which track decides about how many subjects, as last put in service.",
        },
        "previous": {"type": "string", "maxLength": 71, "description": "The champion before it, to roll back to."},
        "objects": {"type": "integer", "minimum": 0, "description": "How many objects the service consists of."},
        "readyReplicas": {"type": "integer", "minimum": 0},
        "inventory": {
            "type": "array",
            "description": "What was made for it, in order: apiVersion/kind/name. Removed with it, backwards.",
            "maxItems": 64,
            "items": {"type": "string", "maxLength": 400},
        },
    },
}


PACK_STATUS: dict[str, Any] = {
    "type": "object",
    "properties": {
        "observedGeneration": STATUS["properties"]["observedGeneration"],
        "conditions": CONDITIONS,
        "digest": {"type": "string", "maxLength": 71, "description": "What verdicts name: of manifest and modules."},
        "rules": {"type": "integer", "minimum": 0},
        "inForce": {"type": "integer", "minimum": 0, "description": "How many of the rules are law today."},
    },
}


MODEL_STATUS: dict[str, Any] = {
    "type": "object",
    "properties": {
        "observedGeneration": STATUS["properties"]["observedGeneration"],
        "conditions": CONDITIONS,
        "startedRun": {
            "type": "string",
            "maxLength": 63,
            "description": "The Job of the run asked for last. When it is gone the run is not started again.",
        },
        "lastRun": {
            "type": "object",
            "description": "The run that began last, whether or not its Job is still there.",
            "properties": {
                "job": {"type": "string", "maxLength": 63},
                "phase": {"type": "string", "enum": ["Waiting", "Running", "Succeeded", "Failed"]},
                "started": {"type": "string", "format": "date-time"},
                "ended": {"type": "string", "format": "date-time"},
                "message": {"type": "string", "maxLength": 2000},
            },
        },
    },
}


def crd_documents() -> list[dict[str, Any]]:
    """Return the CustomResourceDefinitions (`apiextensions.k8s.io/v1`) of DecisionService, Model and PolicyPack."""
    return [
        _definition(
            "DecisionService",
            "decisionservices",
            ["dsvc"],
            DecisionServiceSpec,
            SERVICE_RULES,
            [
                ("Model", "string", ".spec.model"),
                ("Champion", "string", ".spec.releases.champion"),
                ("Shares", "string", ".status.shares"),
                ("Verified", "string", ".status.conditions[?(@.type=='ReleaseVerified')].status"),
                ("Ready", "string", ".status.conditions[?(@.type=='Ready')].status"),
                ("Age", "date", ".metadata.creationTimestamp"),
            ],
        ),
        _definition(
            "Model",
            "models",
            [],
            ModelResourceSpec,
            (("self.decision.referAt <= self.decision.approveAt", "referAt is above approveAt"),),
            [
                ("Owner", "string", ".spec.owner"),
                ("Purpose", "string", ".spec.purpose"),
                ("Materiality", "string", ".spec.materiality"),
                ("Family", "string", ".spec.model.family"),
                ("Valid", "string", ".status.conditions[?(@.type=='Valid')].status"),
                ("Last run", "string", ".status.lastRun.phase"),
                ("Age", "date", ".metadata.creationTimestamp"),
            ],
        ),
        _definition(
            "PolicyPack",
            "policypacks",
            [],
            PolicyPackSpec,
            (
                (
                    "self.manifest.rules.all(r, r.id.startsWith(self.manifest.name + '-'))",
                    "the id of a rule starts with the name of its pack",
                ),
            ),
            [
                ("Version", "string", ".spec.manifest.version"),
                ("Jurisdiction", "string", ".spec.manifest.jurisdiction"),
                ("Ready", "string", ".status.conditions[?(@.type=='Ready')].status"),
                ("Rules", "integer", ".status.rules"),
                ("In force", "integer", ".status.inForce"),
                ("Age", "date", ".metadata.creationTimestamp"),
            ],
        ),
    ]


def _definition(
    kind: str,
    plural: str,
    short: list[str],
    spec: type[Strict],
    rules: Sequence[Rule],
    columns: Sequence[tuple[str, str, str]],
) -> dict[str, Any]:
    body = structural(spec)
    body["x-kubernetes-validations"] = [{"rule": rule, "message": message} for rule, message in rules]
    names: dict[str, Any] = {
        "kind": kind,
        "listKind": f"{kind}List",
        "plural": plural,
        "singular": kind.lower(),
        "categories": ["aboveboard"],
    }
    if short:
        names["shortNames"] = short
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{GROUP}", "labels": {"app.kubernetes.io/part-of": "aboveboard"}},
        "spec": {
            "group": GROUP,
            "names": names,
            "scope": "Namespaced",
            "versions": [
                {
                    "name": VERSION,
                    "served": True,
                    "storage": True,
                    "additionalPrinterColumns": [
                        {"name": name, "type": type_, "jsonPath": path} for name, type_, path in columns
                    ],
                    "subresources": {"status": {}},
                    "schema": {
                        "openAPIV3Schema": {
                            "type": "object",
                            "x-kubernetes-validations": [
                                {"rule": rule, "message": message} for rule, message in _name_rules(kind)
                            ],
                            "description": (spec.__doc__ or kind).splitlines()[0],
                            "required": ["spec"],
                            "properties": {
                                "apiVersion": {"type": "string"},
                                "kind": {"type": "string"},
                                "metadata": {"type": "object"},
                                "spec": body,
                                "status": _status(kind),
                            },
                        }
                    },
                }
            ],
        },
    }


def _name_rules(kind: str) -> Sequence[Rule]:
    """Return what a name must be. Services are named after a DecisionService, and begin with a letter (RFC 1035)."""
    first, said = ("a-z", "begins with a letter") if kind == "DecisionService" else ("a-z0-9", "has no dot")
    return (
        ("size(self.metadata.name) <= 50", "the name is too long"),
        (
            f"self.metadata.name.matches('^[{first}]([a-z0-9-]*[a-z0-9])?$')",
            f"the name is one of small letters, digits and hyphens that {said}: other objects are named after it",
        ),
    )


def _status(kind: str) -> dict[str, Any]:
    """Return the schema of a status."""
    return _STATUSES[kind]


_STATUSES = {"DecisionService": STATUS, "Model": MODEL_STATUS, "PolicyPack": PACK_STATUS}

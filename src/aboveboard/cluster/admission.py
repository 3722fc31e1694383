"""What the webhook answers: a DecisionService or one of its pods is admitted only if everything about it holds.

A PolicyPack is admitted only if it can be judged by: one that does not compile would refuse whatever it selects. A
Model is read as `aboveboard check` reads it.

Pure but for the functions passed in. Whatever goes wrong is a refusal that says so.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from aboveboard.clock import Clock
from aboveboard.cluster.context import REGION_LABEL
from aboveboard.cluster.judgement import RESIDENCY, VERIFIED, Finding, Judgement, Law, Verify, Wish, judge
from aboveboard.cluster.model_run import read_model
from aboveboard.cluster.naming import RELEASES_ANNOTATION
from aboveboard.cluster.packs import Rehearse, read_pack
from aboveboard.cluster.types import GROUP, DecisionService, load_service
from aboveboard.errors import AboveboardError, RequestRefused, SpecInvalid
from aboveboard.policy.rehearsal import rehearse
from aboveboard.spec.regions import Regions

POD_LABELS = {"app.kubernetes.io/name": "decision-service"}
"""What makes a pod one of ours to judge."""

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}", re.ASCII)


class Group(msgspec.Struct, frozen=True):
    """A kind, as an AdmissionReview names it."""

    group: str
    version: str
    kind: str


class Request(msgspec.Struct, frozen=True, rename="camel"):
    """What is asked (admission.k8s.io/v1); other fields are the API server's business."""

    uid: str
    kind: Group
    operation: str
    namespace: str = ""
    object: dict[str, Any] | None = None


class Review(msgspec.Struct, frozen=True, rename="camel"):
    """An AdmissionReview as it comes in."""

    api_version: str
    kind: str
    request: Request


@dataclass(frozen=True, slots=True)
class Gatekeeper:
    """Answers reviews."""

    verify: Verify
    law: Law
    clock: Clock
    node_regions: Mapping[str, Sequence[str]]
    """Values of the nodes' region label by our name of the region."""
    regions: Regions | None = None
    """Which data may flow where; without it that is not judged."""
    judged: Callable[[Judgement], None] = lambda judgement: None
    """Told of every judgement, for counting."""
    rehearse: Rehearse = rehearse
    """Tries a pack before it is believed."""

    def answer(self, body: bytes) -> dict[str, Any]:
        """Return the AdmissionReview that answers one. Raises `RequestRefused` for what is no review at all."""
        review = read_review(body)
        request = review.request
        if request.operation not in ("CREATE", "UPDATE"):
            return _answer(request.uid, Judgement((Finding("operation", True, "nothing new is asked for"),)))
        try:
            judgement = self._judge(request)
        except AboveboardError as error:
            problems = error.problems if isinstance(error, SpecInvalid) else [error.message]
            judgement = Judgement(tuple(Finding("valid", False, str(problem), error.hint) for problem in problems))
        self.judged(judgement)
        return _answer(request.uid, judgement)

    def _judge(self, request: Request) -> Judgement:
        document = request.object
        if document is None:
            raise RequestRefused("the review holds no object", hint="nothing can be judged")
        if (request.kind.group, request.kind.kind) == (GROUP, "DecisionService"):
            wish = wish_of(load_service(document), namespace=request.namespace)
            return self._judge_wish(wish)
        if (request.kind.group, request.kind.kind) == (GROUP, "PolicyPack"):
            pack = read_pack(document, rehearse=self.rehearse)
            return Judgement((Finding("valid", True, f"{pack.name} compiles, and its tests pass"),))
        if (request.kind.group, request.kind.kind) == (GROUP, "Model"):
            name = read_model(document, regions=self.regions).spec.metadata.name
            return Judgement((Finding("valid", True, f"{name} says what it must"),))
        if (request.kind.group, request.kind.kind) == ("", "Pod"):
            return self._judge_pod(document, request.namespace)
        raise RequestRefused(
            f"this webhook does not judge {request.kind.kind}", hint="mend the rules of the webhook configuration"
        )

    def _judge_wish(self, wish: Wish) -> Judgement:
        today = self.clock().date()
        return judge(wish, verify=self.verify, law=self.law, as_of=today, regions=self.regions)

    def _judge_pod(self, pod: Mapping[str, Any], namespace: str) -> Judgement:
        wish, loaded = wish_of_pod(pod, namespace=namespace)
        strays = sorted(loaded - set(wish.releases))
        judgement = self._judge_wish(wish)
        more = [
            Finding(
                VERIFIED,
                not strays,
                "the pod loads what its annotation names"
                if not strays
                else f"the pod loads {', '.join(stray[:19] for stray in strays)}, which its annotation does not name",
                f"kubectl get pod -o yaml: annotation {RELEASES_ANNOTATION}",
            ),
            self._placed(pod, wish),
        ]
        return Judgement((*judgement.findings, *more))

    def _placed(self, pod: Mapping[str, Any], wish: Wish) -> Finding:
        """Judge whether every way of placing the pod keeps it on nodes of its regions."""
        allowed = {value for name in wish.regions for value in self.node_regions.get(name, (name,))}
        required = (
            _at(pod, "spec", "affinity", "nodeAffinity", "requiredDuringSchedulingIgnoredDuringExecution") or {}
        )
        terms = required.get("nodeSelectorTerms") or []
        # Terms are alternatives, expressions of a term all hold (core/v1 NodeSelector).
        bound = bool(terms) and all(
            any(
                expression.get("key") == REGION_LABEL
                and expression.get("operator") == "In"
                and expression.get("values")
                and set(expression["values"]) <= allowed
                for expression in term.get("matchExpressions") or []
            )
            for term in terms
        )
        message = f"nodes must be in {', '.join(sorted(allowed))}"
        return Finding(
            RESIDENCY, bound, message if bound else f"{message}, and the pod's required node affinity does not say so"
        )


def read_review(body: bytes) -> Review:
    """Return the review in a request's body. Raises `RequestRefused` when it is none."""
    try:
        review = msgspec.json.decode(body, type=Review)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise RequestRefused(f"not an AdmissionReview: {error}") from error
    if (review.api_version, review.kind) != ("admission.k8s.io/v1", "AdmissionReview"):
        raise RequestRefused("not an AdmissionReview of admission.k8s.io/v1")
    return review


def wish_of(service: DecisionService, *, namespace: str | None = None) -> Wish:
    """Return what a service asks for; `namespace` is where it really is, which a file need not say."""
    spec = service.spec
    where = service.metadata.namespace if namespace is None else namespace
    return Wish(spec.releases.digests(), spec.model, spec.jurisdictions, spec.regions, where)


def wish_of_pod(pod: Mapping[str, Any], *, namespace: str) -> tuple[Wish, set[str]]:
    """Return what a pod says it runs, and every digest that its containers are told to load."""
    annotations = _at(pod, "metadata", "annotations") or {}
    labels = _at(pod, "metadata", "labels") or {}
    spec = pod.get("spec") or {}
    containers = [*(spec.get("initContainers") or []), *(spec.get("containers") or [])]
    words = [
        str(word)
        for container in containers
        for word in (
            *(container.get("command") or []),
            *(container.get("args") or []),
            *(variable.get("value") or "" for variable in container.get("env") or []),
        )
    ]
    wish = Wish(
        releases=_listed(annotations.get(RELEASES_ANNOTATION)),
        model=str(labels.get(f"{GROUP}/model", "")),
        jurisdictions=_listed(annotations.get(f"{GROUP}/jurisdictions")),
        regions=_listed(annotations.get(f"{GROUP}/regions")),
        namespace=namespace,
    )
    return wish, {digest for word in words for digest in _DIGEST.findall(word)}


def _listed(text: object) -> tuple[str, ...]:
    return tuple(part for part in text.split(",") if part) if isinstance(text, str) else ()


def _at(document: Any, *path: str) -> Any:
    for key in path:
        document = document.get(key) if isinstance(document, Mapping) else None
    return document


def _answer(uid: str, judgement: Judgement) -> dict[str, Any]:
    response: dict[str, Any] = {"uid": uid, "allowed": judgement.admitted}
    if not judgement.admitted:
        refused = "; ".join(str(finding) for finding in judgement.refusals)
        response["status"] = {
            "code": 403,
            "reason": "Forbidden",
            "message": f"refused by aboveboard: {refused or 'nothing was shown'}",
        }
    return {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response}

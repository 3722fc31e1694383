"""The OpenAPI document of the decision server, made from the very types that read requests and write answers."""

from __future__ import annotations

from functools import cache
from typing import Any

import msgspec

from aboveboard import __version__
from aboveboard.serving.cases import QueueFilter, QueuePage
from aboveboard.serving.cohort import Cohort
from aboveboard.serving.control import Rollback, TrackChange
from aboveboard.serving.notice import Notice
from aboveboard.serving.oip import BINARY_TYPE, ErrorDocument, InferenceRequest, InferenceResponse
from aboveboard.serving.outcomes import OutcomeAnswer, OutcomeBatch, OutcomeReport, OutcomeResult
from aboveboard.serving.problems import CONTENT_TYPE, ProblemDocument
from aboveboard.serving.requests import Batch, DecisionRequest
from aboveboard.serving.review_history import ReviewHistory
from aboveboard.serving.reviews import Confirmation, Contest, Review, Reviewed
from aboveboard.serving.service import Answer

_SCALAR = {"type": ["string", "number", "boolean", "null"]}
_ID = {"name": "decision_id", "in": "path", "required": True, "schema": {"type": "string"}}
_PURPOSE = {"name": "purpose", "in": "query", "schema": {"type": "string", "minLength": 1, "maxLength": 200}}


@cache
def document() -> dict[str, Any]:
    """Return the OpenAPI 3.1 document."""
    types = (
        DecisionRequest,
        Batch,
        Answer,
        Notice,
        Contest,
        Review,
        Confirmation,
        Reviewed,
        ReviewHistory,
        QueuePage,
        OutcomeReport,
        OutcomeAnswer,
        OutcomeBatch,
        OutcomeResult,
        TrackChange,
        Rollback,
        InferenceRequest,
        InferenceResponse,
        ErrorDocument,
        ProblemDocument,
    )
    _, schemas = msgspec.json.schema_components(
        types, ref_template="#/components/schemas/{name}", schema_hook=_schema_of
    )
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Aboveboard decision server",
            "version": __version__,
            "description": "Explained, fair and durably recorded decisions. Every answered decision is in the log.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": {
            "/v1/decisions": {
                "post": _operation("decide", "Decide about one person or payment", "DecisionRequest", 200, "Answer")
            },
            "/v1/decisions/batch": {
                "post": _operation(
                    "decideBatch", "Decide up to a thousand requests, each by itself", "Batch", 200, None
                )
            },
            "/v1/decisions/{decision_id}/notice": {
                "get": _operation(
                    "notice",
                    "What the person is told about an adverse decision; as a page for Accept: text/html",
                    None,
                    200,
                    "Notice",
                    [_ID, {"name": "locale", "in": "query", "schema": {"type": "string"}}],
                )
            },
            "/v1/decisions/{decision_id}/contest": {
                "post": _operation(
                    "contest", "The person concerned wants a human to look", "Contest", 201, None, [_ID]
                )
            },
            "/v1/decisions/{decision_id}/claim": {
                "post": _operation("claim", "Reserve a case for half an hour, or for longer", None, 200, None, [_ID]),
                "delete": _operation("release", "Give a case back", None, 200, None, [_ID]),
            },
            "/v1/decisions/{decision_id}/review": {
                "get": _operation(
                    "reviewHistory",
                    "The way of a decision, from the model to the last word of a person; the access is logged",
                    None,
                    200,
                    "ReviewHistory",
                    [_ID, {**_PURPOSE, "required": True}],
                ),
                "post": _also(
                    202,
                    "Proposed: a second reviewer must agree",
                    _operation("review", "A person decides instead of the model", "Review", 201, "Reviewed", [_ID]),
                ),
            },
            "/v1/decisions/{decision_id}/confirmation": {
                "post": _operation(
                    "confirm",
                    "A second reviewer agrees with what the first proposed, or does not",
                    "Confirmation",
                    201,
                    "Reviewed",
                    [_ID],
                )
            },
            "/v1/reviews": {
                "get": _operation(
                    "reviews", "What waits for a person", None, 200, "QueuePage", _query_of(QueueFilter)
                )
            },
            "/v1/tracks": {
                "get": _operation("tracks", "Which releases are in service", None, 200, None),
                "put": _operation(
                    "changeTracks",
                    "Put other releases in service: verified first, logged first, then at once",
                    "TrackChange",
                    200,
                    None,
                ),
            },
            "/v1/tracks/rollback": {
                "post": _operation("rollBack", "Back to what was in service before", "Rollback", 200, None)
            },
            "/v1/decisions/{decision_id}": {
                "get": _operation(
                    "readDecision",
                    "Read one decision and what it was made from; the access is logged with its purpose",
                    None,
                    200,
                    None,
                    [_ID, {**_PURPOSE, "required": True}],
                )
            },
            "/v1/receipts/{decision_id}": {
                "get": _operation(
                    "readReceipt",
                    "Fetch a receipt that anyone can verify with the log's public key",
                    None,
                    200,
                    None,
                    [_ID, _PURPOSE],
                )
            },
            "/v1/outcomes": {
                "post": _also(
                    200,
                    "Told before: the receipt is the first one's",
                    _operation(
                        "reportOutcome", "Report what became of a decision", "OutcomeReport", 201, "OutcomeAnswer"
                    ),
                )
            },
            "/v1/outcomes/batch": {
                "post": _operation(
                    "reportOutcomes",
                    "Report what became of up to five thousand decisions, each by itself",
                    "OutcomeBatch",
                    200,
                    None,
                )
            },
            "/livez": {"get": _operation("alive", "Whether the process turns", None, 200, None)},
            "/healthz": {"get": _operation("healthy", "Whether the process turns", None, 200, None)},
            "/readyz": {"get": _operation("ready", "Whether requests are taken", None, 200, None)},
            "/metrics": {"get": _operation("metrics", "Counts for Prometheus", None, 200, None, kind="text/plain")},
            "/problems/{code}": {
                "get": _operation("problem", "What a code means", None, 200, "ProblemDocument", [_path("code")])
            },
            "/v2": {"get": _v2("serverMetadata", "the server")},
            "/v2/health/live": {"get": _v2("serverLive", "alive")},
            "/v2/health/ready": {"get": _v2("serverReady", "ready")},
            "/v2/models": {"get": _v2("models", "the models")},
            **{
                f"/v2/models/{{name}}{version}{path}": {
                    method: _v2(
                        identifier + ("Version" if version else ""),
                        what,
                        [_path("name"), *([_path("version")] if version else [])],
                        infers=method == "post",
                    )
                }
                for version in ("", "/versions/{version}")
                for path, method, identifier, what in (
                    ("", "get", "modelMetadata", "a model's inputs and outputs"),
                    ("/ready", "get", "modelReady", "whether a model is ready"),
                    ("/infer", "post", "infer", "scores of many rows; nothing is decided"),
                )
            },
        },
        "components": {"schemas": schemas},
    }


def _schema_of(kind: type) -> dict[str, Any]:
    if kind is Cohort:
        return {"type": "object", "additionalProperties": _SCALAR, "description": Cohort.__doc__}
    raise NotImplementedError(kind)


def _path(name: str) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}


def _operation(
    identifier: str,
    summary: str,
    request: str | None,
    status: int,
    answer: str | None,
    parameters: list[dict[str, Any]] | None = None,
    *,
    kind: str = "application/json",
) -> dict[str, Any]:
    schema = {"$ref": f"#/components/schemas/{answer}"} if answer else {}
    operation: dict[str, Any] = {
        "operationId": identifier,
        "summary": summary,
        "responses": {
            str(status): {"description": "Done", "content": {kind: {"schema": schema}}},
            "default": {
                "description": "A problem document; see /problems/{code}",
                "content": {CONTENT_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemDocument"}}},
            },
        },
    }
    if parameters:
        operation["parameters"] = parameters
    if request:
        content = {"application/json": {"schema": {"$ref": f"#/components/schemas/{request}"}}}
        operation["requestBody"] = {"required": True, "content": content}
    return operation


def _also(status: int, description: str, operation: dict[str, Any]) -> dict[str, Any]:
    """Return an operation that answers the same with another status, too."""
    first = next(iter(operation["responses"].values()))
    operation["responses"] = {str(status): {**first, "description": description}, **operation["responses"]}
    return operation


def _query_of(kind: type[msgspec.Struct]) -> list[dict[str, Any]]:
    """Return the parameters of a query, none of which is required."""
    (_,), schemas = msgspec.json.schema_components([kind], ref_template="{name}")
    found = []
    for name, schema in schemas[kind.__name__]["properties"].items():
        choices = [
            {"type": "string", "enum": schemas[choice["$ref"]]["enum"]} if "$ref" in choice else choice
            for choice in schema.get("anyOf", [schema])
        ]
        stated = next(choice for choice in choices if choice.get("type") != "null")
        found.append({"name": name, "in": "query", "schema": stated})
    return found


def _v2(
    identifier: str, what: str, parameters: list[dict[str, Any]] | None = None, *, infers: bool = False
) -> dict[str, Any]:
    """Return an operation of the Open Inference Protocol, which has errors of its own and a binary form."""
    request, answer = ("InferenceRequest", "InferenceResponse") if infers else (None, None)
    operation = _operation(identifier, f"Inference protocol: {what}", request, 200, answer, parameters)
    operation["responses"]["default"] = {
        "description": "What is wrong, in words",
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/ErrorDocument"}}},
    }
    if infers:
        # JSON and then the data; the header Inference-Header-Content-Length says where the one ends.
        operation["responses"]["200"]["content"][BINARY_TYPE.decode()] = {}
    return operation

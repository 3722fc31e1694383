"""Open Inference Protocol v2, REST: scores for many rows at once, for clients that speak KServe or Triton.

A prediction is not a decision: nobody is named, nothing is decided and no outcome is answered, so nothing is
journalled. What decides about a person goes through `/v1/decisions`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from aboveboard import __version__
from aboveboard.errors import NotFound, RequestRefused
from aboveboard.models import Model
from aboveboard.serving.decide import score_of
from aboveboard.serving.deployment import Deployment
from aboveboard.serving.requests import unreadable
from aboveboard.serving.tracks import Tracks
from aboveboard.spec.types import FeatureType

DATATYPES = {
    FeatureType.NUMBER: "FP64",
    FeatureType.INTEGER: "INT64",
    FeatureType.BOOLEAN: "BOOL",
    FeatureType.CATEGORY: "BYTES",
}
LARGEST_BATCH = 10_000
"""Rows in one inference request."""


class Tensor(msgspec.Struct, frozen=True):
    """A request or response tensor, its data flat or nested."""

    name: str
    shape: list[int]
    datatype: str
    data: list[Any]
    parameters: dict[str, Any] | None = None


class RequestedOutput(msgspec.Struct, frozen=True):
    """An output the client asks for."""

    name: str
    parameters: dict[str, Any] | None = None


class InferenceRequest(msgspec.Struct, frozen=True):
    """`POST /v2/models/{name}/infer`. Unknown members are allowed: the protocol has extensions."""

    inputs: list[Tensor]
    id: str | None = None
    parameters: dict[str, Any] | None = None
    outputs: list[RequestedOutput] | None = None


class TensorMetadata(msgspec.Struct, frozen=True):
    """Name, type and shape of an input or output; -1 is any number of rows."""

    name: str
    datatype: str
    shape: list[int]


class ErrorDocument(msgspec.Struct, frozen=True):
    """What the protocol answers instead."""

    error: str


class ResponseTensor(msgspec.Struct, frozen=True):
    """An output tensor."""

    name: str
    shape: list[int]
    datatype: str
    data: list[Any]


class InferenceResponse(msgspec.Struct, frozen=True, omit_defaults=True):
    """The answer to an inference request."""

    model_name: str
    model_version: str
    outputs: list[ResponseTensor]
    id: str | None = None


_decoder = msgspec.json.Decoder(InferenceRequest)


def server_metadata() -> dict[str, Any]:
    """Return the answer to `GET /v2`."""
    return {"name": "aboveboard", "version": __version__, "extensions": []}


def model_metadata(deployment: Deployment) -> dict[str, Any]:
    """Return the answer to `GET /v2/models/{name}`: one input for each feature."""
    inputs = [TensorMetadata(f.name, DATATYPES[f.type], [-1]) for f in deployment.model.encoding.features]
    return {
        "name": deployment.name,
        "versions": [deployment.digest],
        "platform": f"aboveboard_{deployment.model.family}",
        "inputs": msgspec.to_builtins(inputs),
        "outputs": [{"name": "score", "datatype": "FP64", "shape": [-1]}],
    }


def served(tracks: Tracks, name: str, version: str | None) -> Deployment:
    """Return the release of a model, the champion where no version is named. Raises `NotFound`."""
    for deployment in tracks.deployments():
        if deployment.name == name and version in (None, deployment.digest):
            return deployment
    raise NotFound("no such model or version here", hint="GET /v2/models lists what is served")


def infer(deployment: Deployment, body: bytes) -> bytes:
    """Return the answer to an inference request. Raises `RequestRefused` for what the contract does not allow."""
    try:
        request = _decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise unreadable(error) from None
    wanted = {output.name for output in request.outputs or []}
    if wanted - {"score"}:
        raise RequestRefused("an output was asked for that the model does not have", hint="the one output is score")
    columns = {tensor.name: _column(tensor) for tensor in request.inputs}
    if len(columns) != len(request.inputs):
        raise RequestRefused("an input is given twice", hint="send each input once")
    if len({len(column) for column in columns.values()}) > 1:
        raise RequestRefused("the inputs differ in their number of rows", hint="send as many values of each")
    scores = _scores(deployment.model, columns)
    return msgspec.json.encode(
        InferenceResponse(
            model_name=deployment.name,
            model_version=deployment.digest,
            id=request.id,
            outputs=[ResponseTensor("score", [len(scores)], "FP64", scores)],
        )
    )


def _scores(model: Model, columns: dict[str, Sequence[object]]) -> list[float]:
    if all(len(column) == 1 for column in columns.values()):
        # One row, as an online client sends it: no columns need be built for it.
        row = model.encoding.encode({name: column[0] for name, column in columns.items()})
        return [score_of(model, row)]
    rows = model.encoding.encode_columns(columns)
    scores: list[float] = model.score(rows).tolist() if len(rows) else []
    return scores


def _column(tensor: Tensor) -> Sequence[object]:
    rows = tensor.shape[0] if tensor.shape else -1
    if not (len(tensor.shape) == 1 or (len(tensor.shape) == 2 and tensor.shape[1] == 1)) or rows < 0:
        raise RequestRefused("an input is not one column of values", hint="give each input the shape [rows]")
    if rows > LARGEST_BATCH:
        raise RequestRefused("too many rows in one request", hint=f"send at most {LARGEST_BATCH:,}")
    data: list[Any] = tensor.data
    if len(tensor.shape) == 2 and all(isinstance(cell, list) and len(cell) == 1 for cell in data):
        data = [cell[0] for cell in data]
    if len(data) != rows:
        raise RequestRefused("an input holds more or fewer values than its shape says", hint="mend the shape")
    if tensor.datatype.startswith("FP"):
        # The protocol's floats are read as such, so that 1 and 1.0 mean the same number.
        return [float(cell) if type(cell) is int and abs(cell) < 2**53 else cell for cell in data]
    return data

"""The REST form of the Open Inference Protocol v2, with the binary tensor data extension."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import msgspec

from aboveboard import __version__
from aboveboard.errors import RequestRefused
from aboveboard.serving.deployment import Deployment
from aboveboard.serving.inference import (
    ResponseTensor,
    Tensor,
    from_binary,
    inputs_of,
    outputs_of,
    predict,
    to_binary,
)
from aboveboard.serving.requests import unreadable

JSON_LENGTH_HEADER: Final = b"inference-header-content-length"
"""How many bytes of a body are JSON; binary data follow. Without it, all of the body is JSON."""
BINARY_TYPE: Final = b"application/octet-stream"
EXTENSIONS: Final = ["binary_tensor_data"]


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


class ErrorDocument(msgspec.Struct, frozen=True):
    """What the protocol answers instead."""

    error: str


class InferenceResponse(msgspec.Struct, frozen=True, omit_defaults=True):
    """The answer to an inference request."""

    model_name: str
    model_version: str
    outputs: list[ResponseTensor]
    id: str | None = None


class Inferred(NamedTuple):
    """The body of an answer, and how much of it is JSON where not all of it is."""

    body: bytes
    json_length: int | None


_decoder = msgspec.json.Decoder(InferenceRequest)


def server_metadata() -> dict[str, Any]:
    """Return the answer to `GET /v2`."""
    return {"name": "aboveboard", "version": __version__, "extensions": EXTENSIONS}


def model_metadata(deployment: Deployment) -> dict[str, Any]:
    """Return the answer to `GET /v2/models/{name}`: one input for each feature."""
    return {
        "name": deployment.name,
        "versions": [deployment.digest],
        "platform": f"aboveboard_{deployment.model.family}",
        "inputs": msgspec.to_builtins(inputs_of(deployment)),
        "outputs": msgspec.to_builtins(outputs_of(deployment)),
    }


def infer(deployment: Deployment, body: bytes, declared: bytes | None = None) -> Inferred:
    """Return the answer to an inference request. Raises `RequestRefused` for what the contract does not allow.

    `declared` is the request's `Inference-Header-Content-Length`, where it has one.
    """
    json_length = len(body) if declared is None else _json_length(declared, len(body))
    try:
        request = _decoder.decode(body if declared is None else memoryview(body)[:json_length])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise unreadable(error) from None
    inputs = request.inputs if declared is None else _filled(request.inputs, body[json_length:])
    wanted = {output.name: output for output in request.outputs or ()}
    outputs = predict(deployment, inputs, wanted, request.parameters)
    if request.parameters or wanted:
        by_default = _flag(request.parameters, "binary_data_output", default=False)
        binary = {
            output.name
            for output in outputs
            if _flag(wanted[output.name].parameters if wanted else None, "binary_data", default=by_default)
        }
        if binary:
            return _binary_answer(deployment, request.id, outputs, binary)
    return Inferred(_answer(deployment, request.id, outputs), None)


def _answer(deployment: Deployment, identifier: str | None, outputs: list[ResponseTensor]) -> bytes:
    return msgspec.json.encode(
        InferenceResponse(
            model_name=deployment.name,
            model_version=deployment.digest,
            id=identifier,
            outputs=outputs,
        )
    )


def _binary_answer(
    deployment: Deployment, identifier: str | None, outputs: list[ResponseTensor], binary: set[str]
) -> Inferred:
    described: list[ResponseTensor] = []
    contents: list[bytes] = []
    for output in outputs:
        if output.name in binary:
            contents.append(to_binary(output.datatype, output.data or []))
            parameters = {"binary_data_size": len(contents[-1])}
            output = ResponseTensor(output.name, output.shape, output.datatype, parameters=parameters)
        described.append(output)
    document = _answer(deployment, identifier, described)
    return Inferred(b"".join([document, *contents]), len(document))


def _json_length(declared: bytes, length: int) -> int:
    if not declared.isdigit() or len(declared) > 12 or int(declared) > length:
        raise RequestRefused(
            "the length of the JSON part is not within the body", hint="mend Inference-Header-Content-Length"
        )
    return int(declared)


def _filled(inputs: list[Tensor], content: bytes) -> list[Tensor]:
    """Return the inputs with the data that followed the JSON part; they stand in the order of the inputs."""
    filled: list[Tensor] = []
    position = 0
    for tensor in inputs:
        size = (tensor.parameters or {}).get("binary_data_size")
        if size is None:
            filled.append(tensor)
            continue
        if type(size) is not int or not 0 <= size <= len(content) - position or tensor.data is not None:
            raise RequestRefused(
                "an input's binary data are not within the body, or it has others, too",
                hint="give each input either data or a binary_data_size",
            )
        data = from_binary(tensor.datatype, content[position : position + size])
        filled.append(Tensor(tensor.name, tensor.shape, tensor.datatype, data))
        position += size
    if position != len(content):
        raise RequestRefused("the body holds more binary data than its inputs", hint="mend binary_data_size")
    return filled


def _flag(parameters: Mapping[str, Any] | None, name: str, *, default: bool) -> bool:
    value = (parameters or {}).get(name, default)
    if not isinstance(value, bool):
        raise RequestRefused(f"the parameter {name} is not true or false")
    return value

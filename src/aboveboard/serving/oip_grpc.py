"""The gRPC form of the Open Inference Protocol v2, on a port of its own in the same event loop.

Who may ask, what is refused and what is counted are the same as over HTTP: the key comes as the metadata
`authorization`, a problem's code goes into the trailing metadata `aboveboard-code`. Only the server imports this
module, when a gRPC port is asked for; it needs the extra `grpc`.
"""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import grpc
import grpc.aio

from aboveboard import __version__
from aboveboard.errors import AboveboardError, Conflict, RequestRefused
from aboveboard.serving.access import Access, Role
from aboveboard.serving.deployment import Deployment
from aboveboard.serving.entries import INFER_CALL
from aboveboard.serving.grpc import open_inference_pb2 as pb
from aboveboard.serving.grpc import open_inference_pb2_grpc as pb_grpc
from aboveboard.serving.http import fault, refuse
from aboveboard.serving.inference import (
    ResponseTensor,
    Tensor,
    TensorMetadata,
    from_binary,
    inputs_of,
    outputs_of,
    predict,
    served,
    text_of,
    to_binary,
)
from aboveboard.serving.metrics import Metrics
from aboveboard.serving.problems import in_one_line
from aboveboard.serving.requests import LARGEST_BODY
from aboveboard.serving.tracks import Tracks
from aboveboard.serving.untraced import UNTRACED, Trace

if TYPE_CHECKING:
    from aboveboard.serving.tracing import Tracing

CODE_METADATA: Final = "aboveboard-code"
GRACE_SECONDS: Final = 5
"""How long requests that were accepted may still take when the server stops; each takes milliseconds."""
LARGEST_MESSAGE: Final = LARGEST_BODY

_STATUS: Final = {
    HTTPStatus.BAD_REQUEST: grpc.StatusCode.INVALID_ARGUMENT,
    HTTPStatus.UNPROCESSABLE_ENTITY: grpc.StatusCode.INVALID_ARGUMENT,
    HTTPStatus.UNAUTHORIZED: grpc.StatusCode.UNAUTHENTICATED,
    HTTPStatus.FORBIDDEN: grpc.StatusCode.PERMISSION_DENIED,
    HTTPStatus.NOT_FOUND: grpc.StatusCode.NOT_FOUND,
    HTTPStatus.TOO_MANY_REQUESTS: grpc.StatusCode.RESOURCE_EXHAUSTED,
    HTTPStatus.SERVICE_UNAVAILABLE: grpc.StatusCode.UNAVAILABLE,
}
"""gRPC's words for the statuses of problems; what is not here is our own fault."""
_CONTENTS: Final = {
    "BOOL": "bool_contents",
    "INT8": "int_contents",
    "INT16": "int_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "UINT8": "uint_contents",
    "UINT16": "uint_contents",
    "UINT32": "uint_contents",
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}
"""Where the specification puts the values of each type; FP16 exists in raw form only."""

T = TypeVar("T")


class InferenceService(pb_grpc.GRPCInferenceServiceServicer):
    """The six methods, over what one server shares."""

    def __init__(
        self, tracks: Callable[[], Tracks], access: Access, metrics: Metrics, tracing: Tracing | None = None
    ) -> None:
        self._tracks = tracks
        self._access = access
        self._metrics = metrics
        self._tracing = tracing

    async def ServerLive(self, request: Any, context: Any) -> Any:  # noqa: N802  the protocol's names
        """Answer that the event loop turns."""
        return pb.ServerLiveResponse(live=True)

    async def ServerReady(self, request: Any, context: Any) -> Any:  # noqa: N802
        """Answer whether requests are taken."""
        return pb.ServerReadyResponse(ready=self._metrics.ready)

    async def ServerMetadata(self, request: Any, context: Any) -> Any:  # noqa: N802
        """Answer what this server is."""
        return pb.ServerMetadataResponse(name="aboveboard", version=__version__)

    async def ModelReady(self, request: Any, context: Any) -> Any:  # noqa: N802
        """Answer whether a model is here and requests are taken."""

        def answer() -> Any:
            self._model(request.name, request.version)
            return pb.ModelReadyResponse(ready=self._metrics.ready)

        return await self._answered(context, answer)

    async def ModelMetadata(self, request: Any, context: Any) -> Any:  # noqa: N802
        """Answer a model's inputs and outputs."""

        def answer() -> Any:
            deployment = self._model(request.name, request.version)
            return pb.ModelMetadataResponse(
                name=deployment.name,
                versions=[deployment.digest],
                platform=f"aboveboard_{deployment.model.family}",
                inputs=[_described(tensor) for tensor in inputs_of(deployment)],
                outputs=[_described(tensor) for tensor in outputs_of(deployment)],
            )

        return await self._answered(context, answer)

    async def ModelInfer(self, request: Any, context: Any) -> Any:  # noqa: N802
        """Answer scores, and reasons where they are asked for."""
        trace = UNTRACED if self._tracing is None else self._tracing.begin(_metadata(context), INFER_CALL)

        def answer() -> Any:
            self._access.client(_authorization(context)).require(Role.PREDICT)
            deployment = self._model(request.model_name, request.model_version)
            trace.note(model=deployment.name, release=deployment.digest)
            return infer(deployment, request)

        return await self._answered(context, answer, trace)

    def _model(self, name: str, version: str) -> Deployment:
        return served(self._tracks(), name, version or None)

    async def _answered(self, context: Any, answer: Callable[[], T], trace: Trace = UNTRACED) -> T:
        try:
            answered = answer()
        except AboveboardError as error:
            problem = refuse(error, self._metrics, trace)
        except Exception:  # noqa: BLE001  the edge: a client never sees a stack trace
            problem = fault(self._metrics, trace)
        else:
            trace.end(grpc.StatusCode.OK.name)
            return answered
        status = _STATUS.get(HTTPStatus(problem.status), grpc.StatusCode.INTERNAL)
        trace.end(status.name)
        await context.abort(status, in_one_line(problem), ((CODE_METADATA, problem.code),))
        raise AssertionError("abort returns")


def infer(deployment: Deployment, request: Any) -> Any:
    """Return the `ModelInferResponse` to a `ModelInferRequest`. Raises `RequestRefused`."""
    wanted = [output.name for output in request.outputs]
    outputs = predict(deployment, _inputs(request), dict.fromkeys(wanted), _parameters(request.parameters))
    response = pb.ModelInferResponse(model_name=deployment.name, model_version=deployment.digest, id=request.id)
    raw = bool(request.raw_input_contents)
    for output in outputs:
        tensor = response.outputs.add(name=output.name, datatype=output.datatype, shape=output.shape)
        if raw:
            response.raw_output_contents.append(to_binary(output.datatype, output.data or []))
        else:
            getattr(tensor.contents, _CONTENTS[output.datatype]).extend(_values(output))
    return response


def _inputs(request: Any) -> list[Tensor]:
    raw = request.raw_input_contents
    if not raw:
        return [
            Tensor(tensor.name, list(tensor.shape), tensor.datatype, _typed_contents(tensor))
            for tensor in request.inputs
        ]
    if any(tensor.HasField("contents") for tensor in request.inputs):
        raise RequestRefused(
            "raw_input_contents and a tensor's contents are given together",
            hint="send all inputs in one of the forms",
        )
    if len(raw) != len(request.inputs):
        raise RequestRefused("raw_input_contents are not as many as the inputs", hint="send one for each input")
    return [
        Tensor(tensor.name, list(tensor.shape), tensor.datatype, from_binary(tensor.datatype, content))
        for tensor, content in zip(request.inputs, raw, strict=True)
    ]


def _typed_contents(tensor: Any) -> list[Any]:
    place = _CONTENTS.get(tensor.datatype)
    if any(field.name != place for field, _ in tensor.contents.ListFields()):
        raise RequestRefused(
            "an input's contents are not of its datatype", hint="INT64 stand in int64_contents, FP64 in fp64_contents"
        )
    values = [] if place is None else list(getattr(tensor.contents, place))
    return [text_of(value) for value in values] if tensor.datatype == "BYTES" else values


def _parameters(parameters: Any) -> dict[str, Any]:
    """Return the parameters that have a value of a type known here."""
    chosen = {name: parameter.WhichOneof("parameter_choice") for name, parameter in parameters.items()}
    return {name: getattr(parameters[name], choice) for name, choice in chosen.items() if choice is not None}


def _values(output: ResponseTensor) -> list[Any]:
    data = output.data or []
    return [text.encode() for text in data] if output.datatype == "BYTES" else data


def _described(tensor: TensorMetadata) -> Any:
    return pb.ModelMetadataResponse.TensorMetadata(name=tensor.name, datatype=tensor.datatype, shape=tensor.shape)


def _authorization(context: Any) -> bytes | None:
    return next((value for name, value in _metadata(context) if name == b"authorization"), None)


def _metadata(context: Any) -> list[tuple[bytes, bytes]]:
    metadata = context.invocation_metadata() or ()
    return [(name.encode(), value if isinstance(value, bytes) else str(value).encode()) for name, value in metadata]


def credentials(chain: Path, key: Path, authority: Path | None) -> Any:
    """Return what makes the port speak TLS only and, with an `authority`, ask for client certificates; all PEM files.

    They are looked at in every handshake: a renewed certificate is used as soon as it belongs to its key.
    """

    def read() -> tuple[bytes, bytes, bytes | None]:
        return chain.read_bytes(), key.read_bytes(), authority.read_bytes() if authority is not None else None

    def configuration(pem: tuple[bytes, bytes, bytes | None]) -> Any:
        return grpc.ssl_server_certificate_configuration([(pem[1], pem[0])], pem[2])

    used = [read()]

    def renewed() -> Any:
        try:
            found = read()
            if found == used[0]:
                return None
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(chain, key)
        except OSError:  # half of a renewal; the one before goes on counting
            return None
        used[0] = found
        return configuration(found)

    return grpc.dynamic_ssl_server_credentials(
        configuration(used[0]), renewed, require_client_authentication=authority is not None
    )


class Port:
    """A port that is taken when this is made, on the running event loop, and answers while `answering` runs.

    `tls` is what `credentials` returns; `shared` lets the workers of one server have the same port. Raises
    `Conflict` when somebody has it.
    """

    def __init__(self, service: InferenceService, address: str, *, tls: Any = None, shared: bool = False) -> None:
        options: Mapping[str, int] = {
            "grpc.so_reuseport": int(shared),
            "grpc.max_receive_message_length": LARGEST_MESSAGE,
            "grpc.max_metadata_size": 16 * 1024,
        }
        self._server = grpc.aio.server(options=list(options.items()))
        pb_grpc.add_GRPCInferenceServiceServicer_to_server(service, self._server)  # type: ignore[no-untyped-call]
        try:
            if tls is None:
                self._server.add_insecure_port(address)
            else:
                self._server.add_secure_port(address, tls)
        except RuntimeError as error:
            raise Conflict(
                f"cannot listen on {address}", hint="stop what uses the port, or choose another"
            ) from error

    @contextlib.asynccontextmanager
    async def answering(self) -> AsyncIterator[None]:
        """Answer until the block ends, then finish what was accepted."""
        await self._server.start()
        try:
            yield
        finally:
            await self._server.stop(GRACE_SECONDS)

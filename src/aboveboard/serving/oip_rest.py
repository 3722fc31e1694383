"""The Open Inference Protocol over HTTP: its handlers, over the tensors of `oip`."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from aboveboard.serving import oip
from aboveboard.serving.access import Access, Role
from aboveboard.serving.control import TrackControl
from aboveboard.serving.deployment import Deployment
from aboveboard.serving.entries import TRACE
from aboveboard.serving.exchange import client_of, json_response, whole_body
from aboveboard.serving.inference import served
from aboveboard.serving.metrics import Metrics
from aboveboard.serving.untraced import UNTRACED


class InferenceRest:
    """The handlers below `/v2`."""

    def __init__(self, *, control: TrackControl, metrics: Metrics, access: Access) -> None:
        self._control = control
        self._metrics = metrics
        self._access = access

    async def server(self, request: Request) -> Response:
        """Answer the server's metadata."""
        return json_response(oip.server_metadata())

    async def live(self, request: Request) -> Response:
        """Answer that the server lives."""
        return json_response({"live": True})

    async def ready(self, request: Request) -> Response:
        """Answer whether the server is ready; the protocol's text says `live` here, its clients read `ready`."""
        ready = self._metrics.ready
        return json_response({"ready": ready}, status=200 if ready else 503)

    async def models(self, request: Request) -> Response:
        """Answer the names of the models."""
        return json_response({"models": [self._control.tracks.champion.name]})

    async def model(self, request: Request) -> Response:
        """Answer a model's metadata."""
        return json_response(oip.model_metadata(self._model(request)))

    async def model_ready(self, request: Request) -> Response:
        """Answer whether a model is ready."""
        deployment = self._model(request)
        ready = self._metrics.ready
        return json_response({"name": deployment.name, "ready": ready}, status=200 if ready else 503)

    async def infer(self, request: Request) -> Response:
        """Answer scores."""
        client_of(request, self._access, Role.PREDICT)
        declared = request.headers.get(oip.JSON_LENGTH_HEADER.decode())
        kind = request.headers.get("content-type")
        # Triton's client declares no type at all, and binary data are whatever their client calls them.
        body = await whole_body(request, json=kind is not None and declared is None)
        deployment = self._model(request)
        request.scope.get(TRACE, UNTRACED).note(model=deployment.name, release=deployment.digest)
        answer = oip.infer(deployment, body, declared.encode() if declared is not None else None)
        if answer.json_length is None:
            return Response(answer.body, media_type="application/json")
        headers = {oip.JSON_LENGTH_HEADER.decode(): str(answer.json_length)}
        return Response(answer.body, media_type=oip.BINARY_TYPE.decode(), headers=headers)

    def _model(self, request: Request) -> Deployment:
        return served(self._control.tracks, request.path_params["name"], request.path_params.get("version"))

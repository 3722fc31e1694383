"""An API server in which there are many services, and in which pods come up as soon as they are asked for.

`python -m bench.operator.crowd COUNT RELEASE…` prints its URL and answers until it is ended. Beside Kubernetes' paths
it answers `/bench/counts`: requests so far by kind, and how many services are ready.
"""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from typing import Any

import kmock
from aiohttp import web

from tests.api_server import SERVICES, ApiServer
from tests.cluster_cases import document

NAMESPACE = "lending"


class Crowd(ApiServer):
    """The tests' API server, with the part of the StatefulSets' controller played at once."""

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        self.asked: Counter[str] = Counter()
        self.ready: set[str] = set()

    async def populate(self, count: int, releases: list[str]) -> None:
        """Put services in, as somebody applied them."""
        for number in range(count):
            item = document(releases={"champion": releases[number % len(releases)]})
            item["metadata"]["name"] = f"loans-{number:05d}"
            await self._store((SERVICES, NAMESPACE, item["metadata"]["name"]), {}, item, 201)

    async def _handle(self, request: kmock.Request) -> web.StreamResponse:
        self._requests[:] = [request]  # kmock searches every request there ever was, for each list and watch
        if request.url.path == "/bench/counts":
            return web.json_response({"ready": len(self.ready), "asked": self.asked})
        resource, method = request.resource, str(request.method.value).upper()
        if resource is not None and resource.plural is not None:
            if method == "GET" and request.name is None:
                method = "WATCH" if request.params.get("watch") else "LIST"
            self.asked[f"{method} {resource.plural}"] += 1
        return await super()._handle(request)

    async def _store(self, key: Any, old: dict[str, Any], new: dict[str, Any], code: int) -> web.StreamResponse:
        answer = await super()._store(key, old, new, code)
        resource, _, name = key
        if resource == SERVICES:
            conditions = (new.get("status") or {}).get("conditions") or ()
            ready = any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)
            (self.ready.add if ready else self.ready.discard)(name)
        elif resource.plural == "statefulsets":
            there = dict(self._objects[key].raw)
            status = {"replicas": 3, "readyReplicas": 3, "updatedReplicas": 3}
            status["observedGeneration"] = there["metadata"]["generation"]
            if there.get("status") != status:
                await super()._store(key, there, {**there, "status": status}, 200)
        return answer


async def serve(count: int, releases: list[str]) -> None:
    """Answer until the process is ended."""
    async with Crowd() as handler:
        await handler.populate(count, releases)
        async with kmock.Server(handler) as server:
            print(str(server.url).rstrip("/"), flush=True)
            await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), sys.argv[2:]))

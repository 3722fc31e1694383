"""The operator as a process: kopf watches, the controller acts, a Lease says whose turn it is.

Beside the services themselves two things are followed: what they consist of, so that a pod that becomes ready or an
object that somebody changed is seen at once, and the policy packs, under which they are judged anew.

kopf is imported when the operator is built, never before: everything else in this package works without it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections import defaultdict
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from aboveboard.clock import Clock
from aboveboard.cluster.controller import Controller
from aboveboard.cluster.election import Election
from aboveboard.cluster.happenings import Happenings
from aboveboard.cluster.looking import Looking
from aboveboard.cluster.metrics import CONTENT_TYPE, OperatorMetrics
from aboveboard.cluster.model_controller import ModelController
from aboveboard.cluster.model_following import ModelFollowing
from aboveboard.cluster.owned import LABELS, WATCHED, OwnedObjects
from aboveboard.cluster.pack_following import PackFollowing, PackReports
from aboveboard.cluster.packs import PackBook, PackKey
from aboveboard.cluster.plan import Key
from aboveboard.cluster.types import API_VERSION, GROUP, VERSION
from aboveboard.cluster.watching import Followed, follow
from aboveboard.errors import AboveboardError, Misuse

if TYPE_CHECKING:
    from aboveboard.cluster.kube import Cluster

FINALIZER = f"{GROUP}/operator"
PLURAL = "decisionservices"

_log = logging.getLogger("aboveboard.cluster")


@dataclass(frozen=True, slots=True)
class OperatorOptions:
    """How one operator is run. Seconds throughout."""

    namespace: str | None = None
    """The one namespace it looks after; all of them by default."""
    resync: float = 600
    """Between two looks at a settled service: what somebody changed by hand is put right by then."""
    poll: float = 5
    """Until a service that waits, for pods or for somebody, is looked at again; doubled each time, up to a tenth of
    `resync`. What happens to its objects is seen at once."""
    retry: float = 10
    """Until something that failed is tried again; doubled each time, up to `resync`."""
    settle: float = 1
    """After something happened to what a service consists of: several things mostly happen together."""
    spread: float = 60
    """Over which services are judged anew when the day or a policy pack changed, at most."""
    abreast: int = 16
    """How many services are reconciled at a time for such reasons."""
    silence: float = 300
    """For which a service may stand differently than the watch last said; then the watch is dead and so are we."""
    health_host: str = "0.0.0.0"  # noqa: S104  the kubelet asks from outside the pod
    health_port: int = 8081


@dataclass(slots=True)
class Seen:
    """What the watch has said, and when: the liveness of the operator."""

    timer: Callable[[], float]
    versions: dict[str, str] = field(default_factory=dict)
    """resourceVersion by uid."""
    last: float = 0
    behind: dict[str, tuple[str, float]] = field(default_factory=dict)
    """By uid: a version that the watch has not told us of, and since when it is known."""
    following: bool = False
    """Whether this process acts, so that its watch has to be alive."""

    def event(self, uid: str, version: str, *, gone: bool = False) -> None:
        """Note what the watch said."""
        self.last = self.timer()
        if gone:
            self.versions.pop(uid, None)
        else:
            self.versions[uid] = version

    def listed(self, services: list[dict[str, Any]]) -> None:
        """Compare with a list that was asked for beside the watch."""
        now = self.timer()
        behind = {}
        for service in services:
            uid, version = service["metadata"]["uid"], service["metadata"]["resourceVersion"]
            if self.versions.get(uid) == version:
                continue
            # Behind since the version last confirmed was overtaken, however often it changed after that.
            known = self.versions.get(uid, "")
            before = self.behind.get(uid)
            behind[uid] = before if before is not None and before[0] == known else (known, now)
        self.behind = behind

    def silent_for(self) -> float:
        """Return for how long the watch has owed us an event, in seconds; 0 where it owes none."""
        return max((self.timer() - since for _, since in self.behind.values()), default=0.0)


class Operator:
    """One process: candidate for the Lease, then the one that acts."""

    def __init__(
        self,
        api: Cluster,
        controller: Controller,
        election: Election,
        options: OperatorOptions,
        *,
        timer: Callable[[], float],
        clock: Clock,
        book: PackBook | None = None,
    ) -> None:
        """Make an operator. `book` is where the cluster's policy packs are kept, if the law has any."""
        self.seen = Seen(timer)
        self.metrics = OperatorMetrics()
        self._clock = clock
        self._book = book
        self._happenings = Happenings(api, clock=clock, instance=election.identity)
        self._known: dict[str, tuple[str, str]] = {}
        self._generations: dict[str, int] = {}
        self._looking = Looking(self._looked, abreast=options.abreast, retry=options.retry, timer=timer)
        self._api = api
        self._controller = controller
        self._election = election
        self._options = options
        self._timer = timer
        self._failures: dict[str, int] = defaultdict(int)
        self._waited: dict[str, int] = defaultdict(int)

    async def run(self, stop: asyncio.Event, *, login: Callable[..., Any] | None = None) -> bool:
        """Act while the Lease is held; return False when it was lost, True when `stop` was set.

        A process that lost the Lease ends, and is started anew as a candidate: nothing of its past can act on.
        """
        import kopf

        async with self._health():
            if not await _first(self._election.won(), stop.wait()):
                return True
            self.seen.following = True
            self.metrics.acting.set(1)
            beside = [asyncio.create_task(work) for work in self._beside()]
            await self._packs_known()
            ended = asyncio.Event()
            operator = asyncio.create_task(
                kopf.operator(
                    registry=self.registry(login),
                    settings=self.settings(),
                    clusterwide=self._options.namespace is None,
                    namespaces=[] if self._options.namespace is None else [self._options.namespace],
                    stop_flag=ended,
                )
            )
            lost = asyncio.create_task(self._election.lost())
            stopped = asyncio.create_task(stop.wait())
            try:
                await asyncio.wait({operator, lost, stopped, *beside}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                held = not lost.done()
                ended.set()
                tasks = [*beside, lost, stopped]
                for task in tasks:
                    task.cancel()
                await asyncio.gather(operator, *tasks, return_exceptions=True)
                await self._happenings.posted()
                if held:
                    await self._election.give_back()
            for task in (operator, *beside):
                if task.done() and not task.cancelled() and (error := task.exception()) is not None:
                    raise error
            return held and stop.is_set()

    def settings(self) -> Any:
        """Return kopf's settings: no state of its own in the services, no peering, watches that are renewed."""
        import kopf

        settings = kopf.OperatorSettings()
        settings.peering.standalone = True
        # Finalizers are set and taken off in the queue, a few services at a time. kopf takes off its own wherever no
        # handler needs it, so that it must not be ours.
        settings.persistence.finalizer = f"{GROUP}/kopf"
        settings.watching.server_timeout = 240
        settings.watching.client_timeout = 270
        # Only what the controller says becomes an event; kopf's own progress would drown it.
        settings.posting.enabled = False
        settings.scanning.disabled = True
        return settings

    def registry(self, login: Callable[..., Any] | None) -> Any:
        """Return kopf's handlers: one, of every event."""
        import kopf

        registry = kopf.OperatorRegistry()
        where = (GROUP, VERSION, PLURAL)
        kopf.on.login(registry=registry)(login or _login)
        kopf.on.event(*where, registry=registry)(self._event)
        return registry

    async def _event(self, event: Mapping[str, Any], **_: Any) -> None:
        metadata = event["object"]["metadata"]
        gone = event.get("type") == "DELETED"
        self.seen.event(metadata["uid"], metadata["resourceVersion"], gone=gone)
        uid, generation = metadata["uid"], int(metadata.get("generation") or 0)
        if gone:
            self._looking.forget(uid)
            for table in (self._failures, self._waited, self._known, self._generations):
                table.pop(uid, None)
            return
        self._known[uid] = metadata["namespace"], metadata["name"]
        if metadata.get("deletionTimestamp"):
            if FINALIZER in (metadata.get("finalizers") or ()):
                self._looking.wake(uid, first=True)
        elif self._generations.get(uid) != generation:
            self._generations[uid] = generation
            self._waited.pop(uid, None)
            # What somebody has changed goes before what is only looked at because this process is new.
            status = event["object"].get("status") or {}
            self._looking.wake(uid, first=status.get("observedGeneration") != generation)

    def wake(self, uids: Iterable[str], *, within: float = 0) -> None:
        """Have services looked at soon: at once, or at some moment `within` so many seconds."""
        for uid in uids:
            if uid in self._generations:  # else it is yet to be looked at for the first time
                spread = random.uniform(0, within)  # noqa: S311  nothing secret
                self._looking.wake(uid, after=self._options.settle + spread)

    async def _looked(self, uid: str) -> float:
        """Look at a service; return the seconds until the next look, or less than none when it is gone."""
        if uid not in self._known:
            return -1
        namespace, name = self._known[uid]
        return await self._reconcile(uid, namespace, name)

    async def _each_day(self) -> None:
        """Have everything judged anew on another day, under what may be another law."""
        today = self._clock().date()
        while True:
            await asyncio.sleep(self._options.poll)
            if (now := self._clock().date()) != today:
                today = now
                self.wake(list(self._known), within=self._options.spread)

    def _beside(self) -> Iterator[Coroutine[Any, Any, None]]:
        """Yield what runs beside kopf for as long as this process acts."""
        yield self._looking.run()
        yield self._each_day()
        yield self._compare()
        for kind, api_version in WATCHED.items():
            yield self._follow_owned(api_version, kind)
        models = ModelController(self._api, self._controller.context, clock=self._clock)
        where = self._options.namespace
        yield ModelFollowing(self._api, models, about=self._happenings.about, namespace=where).run()
        if self._book is not None:
            reports = PackReports(self._api, clock=self._clock, about=self._happenings.about)
            yield PackFollowing(self._api, self._book, changed=self._packs_changed, reports=reports).run()

    async def _follow_owned(self, api_version: str, kind: str) -> None:
        objects = OwnedObjects(kind)

        async def listed(items: Sequence[dict[str, Any]]) -> None:
            self.wake(objects.listed(items))

        async def happened(what: str, item: dict[str, Any]) -> None:
            self.wake(objects.happened(what, item))

        followed = Followed(api_version, kind, namespace=self._options.namespace, labels=LABELS)
        await follow(self._api, followed, listed=listed, happened=happened)

    def _packs_changed(self, keys: Sequence[PackKey]) -> None:
        if self._book is None:
            return
        general = any(namespace == self._book.policy_namespace for namespace, _ in keys)
        namespaces = {namespace for namespace, _ in keys}
        judged = [uid for uid, (namespace, _) in self._known.items() if general or namespace in namespaces]
        self.wake(judged, within=min(self._options.spread, len(judged) / self._options.abreast))

    async def _packs_known(self) -> None:
        """Wait for the packs a while: services judged without them would be refused, and say so."""
        for _ in range(100):
            if self._book is None or self._book.readable():
                return
            await asyncio.sleep(0.1)

    async def _reconcile(self, uid: str, namespace: str, name: str) -> float:
        """Look at a service as it is now, not as the watch last said; return the seconds until the next look."""
        try:
            current = await self._api.get(Key(API_VERSION, "DecisionService", name), namespace)
            if current is None or current["metadata"]["uid"] != uid:
                return -1
            finalizers = current["metadata"].get("finalizers") or []
            if current["metadata"].get("deletionTimestamp"):
                if FINALIZER in finalizers:
                    await self._controller.remove(current)
                    rest = [finalizer for finalizer in finalizers if finalizer != FINALIZER]
                    await self._api.patch_finalizers(current, rest)
                return -1
            if FINALIZER not in finalizers:
                # Before anything is made for it: whatever happens, what was made can be removed.
                await self._api.patch_finalizers(current, [*finalizers, FINALIZER])
        except AboveboardError as error:
            _log.warning("%s: %s", name, error.message)
            return self._delay(uid)
        current = {**current, "apiVersion": API_VERSION, "kind": "DecisionService"}

        begun = self._timer()
        outcome = await self._controller.reconcile(current, self._happenings.about(current))
        result = "failed" if outcome.again else "settled" if outcome.settled else "waiting"
        self.metrics.looked(result, self._timer() - begun)
        if outcome.again:
            return self._delay(uid)
        self._failures.pop(uid, None)
        if not outcome.settled:
            return self._patience(uid)
        self._waited.pop(uid, None)
        # Not all at once: several thousand services are spread over the time between two looks.
        return self._options.resync * random.uniform(0.5, 1.0)  # noqa: S311  nothing secret

    def _delay(self, uid: str) -> float:
        self._failures[uid] += 1
        return float(min(self._options.retry * 2 ** min(self._failures[uid] - 1, 20), self._options.resync))

    def _patience(self, uid: str) -> float:
        """Return how long to wait for what no watch tells: an approval given, a pod on a kind that is not watched."""
        self._waited[uid] += 1
        longest = max(self._options.poll, self._options.resync / 10)
        return float(min(self._options.poll * 2 ** min(self._waited[uid] - 1, 20), longest))

    async def _compare(self) -> None:
        """Ask beside the watch what there is: a watch can fall silent without an error."""
        while True:
            await asyncio.sleep(self._options.silence / 3)
            try:
                services = await self._api.services()
            except AboveboardError as error:
                _log.warning("the services could not be listed: %s", error.message)
                continue
            namespace = self._options.namespace
            self.seen.listed([s for s in services if namespace in (None, s["metadata"]["namespace"])])

    def counted(self) -> bytes:
        """Return what this operator counts, and how it stands now, in Prometheus' text format."""
        self.metrics.services.set(len(self._known))
        self.metrics.queue.set(self._looking.waiting())
        self.metrics.behind.set(self.seen.silent_for())
        packs = self._book.all() if self._book is not None else []
        valid = sum(held.error is None for held in packs)
        self.metrics.packs_known(valid=valid, invalid=len(packs) - valid)
        return self.metrics.text()

    @contextlib.asynccontextmanager
    async def _health(self) -> Any:
        """Answer the kubelet: alive while the watch owes us nothing, ready always (a candidate is ready, too)."""
        from aiohttp import web

        async def alive(_: web.Request) -> web.Response:
            silent = self.seen.silent_for()
            document = {
                "acting": self.seen.following,
                "seconds_since_last_event": round(self._timer() - self.seen.last, 1) if self.seen.last else None,
                "seconds_the_watch_is_behind": round(silent, 1),
            }
            return web.json_response(document, status=200 if silent <= self._options.silence else 503)

        async def counts(_: web.Request) -> web.Response:
            return web.Response(body=self.counted(), headers={"Content-Type": CONTENT_TYPE})

        application = web.Application()
        application.add_routes([web.get("/livez", alive), web.get("/readyz", alive), web.get("/metrics", counts)])
        runner = web.AppRunner(application, access_log=None)
        await runner.setup()
        try:
            await web.TCPSite(runner, self._options.health_host, self._options.health_port).start()
            yield
        except OSError as error:
            raise Misuse(
                f"cannot listen on port {self._options.health_port}: {error}", hint="choose another"
            ) from error
        finally:
            await runner.cleanup()


def _login(**kwargs: Any) -> Any:
    """Log kopf in as the pod's account, else as the kubeconfig says."""
    import kopf

    return kopf.login_with_service_account(**kwargs) or kopf.login_with_kubeconfig(**kwargs)


async def _first(wanted: Any, other: Any) -> bool:
    """Wait for one of two; tell whether it was the one wanted."""
    tasks = [asyncio.create_task(wanted), asyncio.create_task(other)]
    done, rest = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in rest:
        task.cancel()
    await asyncio.gather(*rest, return_exceptions=True)
    return tasks[0] in done

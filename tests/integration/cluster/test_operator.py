"""The operator against an API server over HTTP: the life of a decision service, and what goes wrong in it."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

import aiohttp
import kmock
import kopf
import lightkube
import pytest

from aboveboard.clock import system_clock
from aboveboard.cluster.controller import Controller
from aboveboard.cluster.election import Election
from aboveboard.cluster.judgement import Law
from aboveboard.cluster.kube import Cluster
from aboveboard.cluster.operator import FINALIZER, Operator, OperatorOptions
from aboveboard.cluster.packs import PackBook
from aboveboard.cluster.releases import ReleaseSource
from aboveboard.policy import load_packs
from tests.api_server import SERVICES, ApiServer, api_server
from tests.cluster_cases import CONTEXT, PROMETHEUS, document
from tests.cluster_releases import release
from tests.model_resources import model
from tests.pack_cases import STRICTER, pack
from tests.release_cases import Bank

MERGE = "application/merge-patch+json"
SERVICE = "decisionservices/loans"
WORKLOAD = "statefulsets/loans"
KINDS = [
    "serviceaccounts/loans",
    "configmaps/loans",
    "networkpolicies/loans-default-deny",
    "networkpolicies/loans-allow",
    "services/loans",
    "services/loans-pods",
    "poddisruptionbudgets/loans",
    WORKLOAD,
    "horizontalpodautoscalers/loans",
]


class World:
    """A bank with releases, an API server, any number of operators, and hands on the keyboard."""

    def __init__(self, root: Path, server: ApiServer, url: str, session: aiohttp.ClientSession) -> None:
        self.bank = Bank(root)
        self.champion = release(self.bank, "run-01")
        self.next = release(self.bank, "run-02", auc=0.9)
        self.server = server
        self.url = url
        self._session = session
        self.book = PackBook("aboveboard-system", time.monotonic)
        self._law = Law(load_packs, select=self.book.select)
        self._source = ReleaseSource(root / "releases", self.bank.keys.trust_file, fetch=None, clock=self.bank.time)

    @contextlib.asynccontextmanager
    async def operator(self, identity: str = "one", **options: Any) -> AsyncIterator[Operator]:
        user = {"name": "t", "user": {}}
        config = lightkube.KubeConfig.from_dict(
            {
                "clusters": [{"name": "t", "cluster": {"server": self.url}}],
                "users": [user],
                "contexts": [{"name": "t", "context": {"cluster": "t", "user": "t"}}],
                "current-context": "t",
            }
        )
        api = Cluster(config)
        controller = Controller(api, CONTEXT, verify=self._source.verify, law=self._law, clock=self.bank.time)
        election = Election(
            api,
            name="aboveboard-operator",
            namespace="aboveboard-system",
            identity=identity,
            clock=system_clock,
            timer=time.monotonic,
            renew_seconds=0.05,
            deadline_seconds=0.5,
        )
        chosen = OperatorOptions(
            **{
                "poll": 0.05,
                "resync": 0.2,
                "retry": 0.05,
                "health_host": "127.0.0.1",
                "health_port": 0,
                "settle": 0.02,
                **options,
            }
        )
        operator = Operator(
            api, controller, election, chosen, timer=time.monotonic, clock=self.bank.time, book=self.book
        )
        stop = asyncio.Event()
        running = asyncio.create_task(operator.run(stop, login=lambda **_: kopf.ConnectionInfo(server=self.url)))
        try:
            yield operator
        finally:
            stop.set()
            await running
            await api.close()

    async def ask(self, method: str, path: str, body: Any = None, kind: str = "application/json") -> int:
        headers = {"Content-Type": kind}
        async with self._session.request(method, self.url + path, json=body, headers=headers) as response:
            await response.read()
            return response.status

    async def create(self, **spec: Any) -> None:
        spec = {"releases": {"champion": self.champion}, **spec}
        base = "/apis/aboveboard.dev/v1alpha1/namespaces/lending/decisionservices"
        assert await self.ask("POST", base, document(**spec)) == 201

    async def patch(self, key: str, body: Any, *, group: str = "apis/aboveboard.dev/v1alpha1") -> None:
        path = f"/{group}/namespaces/lending/{key}"
        assert await self.ask("PATCH", path, body, "application/merge-patch+json") == 200

    async def pods_come_up(self) -> None:
        """Play the part of the StatefulSet's controller."""
        generation = self.server.all()[WORKLOAD]["metadata"]["generation"]
        status = {"observedGeneration": generation, "replicas": 3, "readyReplicas": 3, "updatedReplicas": 3}
        await self.patch(f"{WORKLOAD}/status", {"status": status}, group="apis/apps/v1")

    async def until(self, holds: Callable[[dict[str, dict[str, Any]]], object], seconds: float = 20) -> None:
        deadline = time.monotonic() + seconds
        while True:
            with contextlib.suppress(KeyError):
                if holds(self.server.all()):
                    return
            assert time.monotonic() < deadline, self.server.all().get(SERVICE, {}).get("status")
            await asyncio.sleep(0.02)

    async def all_there(self) -> None:
        await self.until(lambda objects: all(key in objects for key in KINDS))

    def condition(self, objects: dict[str, dict[str, Any]], kind: str) -> dict[str, Any]:
        found: dict[str, Any] = next(c for c in objects[SERVICE]["status"]["conditions"] if c["type"] == kind)
        return found

    async def stands(self, kind: str, status: str, reason: str | None = None) -> dict[str, Any]:
        await self.until(
            lambda objects: (
                (found := self.condition(objects, kind))["status"] == status and reason in (None, found["reason"])
            )
        )
        return self.condition(self.server.all(), kind)


def play(root: Path, scenario: Callable[[World], Coroutine[Any, Any, None]]) -> None:
    async def act() -> None:
        async with api_server() as (server, url), aiohttp.ClientSession() as session:
            await scenario(World(root, server, url, session))

    asyncio.run(act())


def arguments(objects: dict[str, dict[str, Any]]) -> list[str]:
    words: list[str] = objects[WORKLOAD]["spec"]["template"]["spec"]["containers"][0]["args"]
    return words


def test_jobs_go_and_their_runs_are_not_started_again(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        base = "/apis/aboveboard.dev/v1alpha1/namespaces/lending/models"

        def jobs() -> list[str]:
            return [key for key in world.server.all() if key.startswith("jobs/")]

        async def asked(run: str) -> str:
            """Ask for a run, and return its Job."""
            before = set(jobs())
            await world.patch(MODEL, {"spec": {"pipeline": {"run": run}}})
            await world.until(lambda objects: len(set(jobs()) - before) == 1)
            return (set(jobs()) - before).pop()

        async def ends(job: str, how: str, hour: int) -> None:
            """Play the part of the Job's controller."""
            at = f"2026-11-22T{hour:02}:00:00Z"
            condition = {"type": how, "status": "True", "lastTransitionTime": at, "reason": "R", "message": "m"}
            await world.patch(f"{job}/status", {"status": {"conditions": [condition]}}, group="apis/batch/v1")
            phase = "Succeeded" if how == "Complete" else "Failed"
            await world.until(
                lambda objects: (
                    (last := objects[MODEL]["status"]["lastRun"])["phase"] == phase and f"jobs/{last['job']}" == job
                )
            )

        async with world.operator():
            pipeline = {"run": None, "schedule": None, "dataClaim": "d", "homeClaim": "h"}
            limits = {"successfulRunsHistoryLimit": 1, "failedRunsHistoryLimit": 0}
            body = model(pipeline={k: v for k, v in {**pipeline, **limits}.items() if v is not None})
            assert await world.ask("POST", base, body) == 201
            first = await asked("first")
            await ends(first, "Complete", 1)
            second = await asked("second")
            await ends(second, "Complete", 2)
            await world.until(lambda objects: jobs() == [second])

            # The run asked for failed, and its Job is not kept: it is over all the same.
            third = await asked("third")
            await ends(third, "Failed", 3)
            await world.until(lambda objects: jobs() == [second])
            # Time to live, or somebody by hand: gone is gone, and how it went stays known.
            fourth = await asked("fourth")
            await ends(fourth, "Complete", 4)
            await world.until(lambda objects: jobs() == [fourth])
            assert await world.ask("DELETE", f"/apis/batch/v1/namespaces/lending/{fourth}") == 200
            await world.patch(MODEL, {"spec": {"pipeline": {"fast": True}}})
            await world.until(lambda objects: objects[MODEL]["status"]["observedGeneration"] == 6)
            assert jobs() == []
            status = world.server.all()[MODEL]["status"]
            assert (f"jobs/{status['startedRun']}", status["lastRun"]["phase"]) == (fourth, "Succeeded")

        # Another process knows, too.
        async with world.operator("two"):
            await world.patch(MODEL, {"spec": {"pipeline": {"fast": False}}})
            await world.until(lambda objects: objects[MODEL]["status"]["observedGeneration"] == 7)
            assert jobs() == []

    play(tmp_path, scenario)


def test_arms_come_and_go_and_none_that_does_not_hold(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        async with world.operator():
            arm = {"name": "longer-history", "release": world.next, "weight": 20}
            control = {"name": "control", "release": world.champion, "weight": 20}
            await world.create(releases={"champion": world.champion, "arms": [control, arm]})
            await world.all_there()
            words = arguments(world.server.all())
            assert [word for word in words if word.startswith("--arm=")] == [
                f"--arm=control={world.champion}@20",
                f"--arm=longer-history={world.next}@20",
            ]
            shares = "champion 60%, control 20%, longer-history 20%"
            await world.until(lambda objects: objects[SERVICE]["status"]["shares"] == shares)

            # One of them is another release, which nobody approved: what runs goes on.
            lonely = release(world.bank, "run-03", approved=False, auc=0.95)
            await world.patch(SERVICE, {"spec": {"releases": {"arms": [control, {**arm, "release": lonely}]}}})
            await world.stands("ReleaseVerified", "False")
            assert arguments(world.server.all()) == words

            await world.patch(SERVICE, {"spec": {"releases": {"arms": []}}})
            await world.until(lambda objects: not any(w.startswith("--arm=") for w in arguments(objects)))
            await world.until(lambda objects: objects[SERVICE]["status"]["shares"] == "champion 100%")

    play(tmp_path, scenario)


def test_create_canary_promote_roll_back_delete(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        async with world.operator():
            await world.create()
            await world.all_there()
            await world.stands("ReleaseVerified", "True")
            await world.stands("PolicyVerdict", "True")
            await world.stands("ResidencyHolds", "True")
            await world.stands("Ready", "False")
            service = world.server.all()[SERVICE]
            assert service["metadata"]["finalizers"] == [FINALIZER]
            for key in KINDS:
                (owner,) = world.server.all()[key]["metadata"]["ownerReferences"]
                assert (owner["uid"], owner["controller"]) == (service["metadata"]["uid"], True)
            assert all("aboveboard" in managers for managers in owners(world.server).values())

            await world.pods_come_up()
            await world.stands("Ready", "True")
            await world.stands("Progressing", "False", "Settled")

            # A canary: the challenger gets a share, in the same pods.
            canary = {"challenger": {"release": world.next, "weight": 5}}
            await world.patch(SERVICE, {"spec": {"releases": canary}})
            await world.until(lambda objects: f"--challenger={world.next}" in arguments(objects))
            assert "--weight=5" in arguments(world.server.all())
            await world.stands("Progressing", "True", "RollingOut")
            await world.pods_come_up()
            await world.stands("Progressing", "False", "Settled")

            # Promotion, then back again: each is one change of the spec.
            promoted = {"champion": world.next, "challenger": None}
            await world.patch(SERVICE, {"spec": {"releases": promoted}})
            await world.until(lambda objects: objects[SERVICE]["status"]["champion"] == world.next)
            assert arguments(world.server.all())[0] == world.next
            assert not any(word.startswith("--challenger") for word in arguments(world.server.all()))
            previous = world.server.all()[SERVICE]["status"]["previous"]
            assert previous == world.champion
            await world.patch(SERVICE, {"spec": {"releases": {"champion": previous}}})
            await world.until(lambda objects: arguments(objects)[0] == world.champion)
            await world.until(lambda objects: objects[SERVICE]["status"]["observedGeneration"] == 4)

            # Delete: everything goes, backwards, and only then the service itself.
            world.server.writes.clear()
            await world.ask("DELETE", f"/apis/aboveboard.dev/v1alpha1/namespaces/lending/{SERVICE}")
            await world.until(lambda objects: not [key for key in objects if not key.startswith("leases/")])
            deleted = [write.removeprefix("DELETE ") for write in world.server.writes if write.startswith("DELETE")]
            assert deleted == [SERVICE, *reversed(KINDS)]
        assert {event["reason"] for event in world.server.posted} >= {"Reconciled"}

    play(tmp_path, scenario)


def aims(request: kmock.Request, plural: str) -> bool:
    """Whether a request applies an object of that kind."""
    return request.resource is not None and request.resource.plural == plural and str(request.method.value) == "PATCH"


def owners(server: ApiServer) -> dict[str, set[str]]:
    mine = {key[2]: key for key in server.owned}
    assert mine
    return {
        str(key): set(managers)
        for key, managers in server.owned.items()
        if managers and key[0].plural not in ("leases", "decisionservices")
    }


def test_what_somebody_changed_by_hand_is_put_right(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        async with world.operator():
            await world.create()
            await world.all_there()
            await world.pods_come_up()
            await world.stands("Ready", "True")
            # Changed, deleted, and one more field by somebody else, which is theirs to keep.
            egress = {"spec": {"egress": [{}]}, "metadata": {"labels": {"team": "network"}}}
            await world.patch("networkpolicies/loans-allow", egress, group="apis/networking.k8s.io/v1")
            await world.ask("DELETE", "/apis/policy/v1/namespaces/lending/poddisruptionbudgets/loans")
            await world.until(
                lambda objects: (
                    objects["networkpolicies/loans-allow"]["spec"]["egress"] != [{}]
                    and "poddisruptionbudgets/loans" in objects
                )
            )
            assert world.server.all()["networkpolicies/loans-allow"]["metadata"]["labels"]["team"] == "network"
            # A settled service is looked at and not written to.
            await asyncio.sleep(0.5)
            world.server.writes.clear()
            await asyncio.sleep(0.6)
            assert [write for write in world.server.writes if "leases" not in write] == []

    play(tmp_path, scenario)


def test_what_is_no_longer_wanted_goes(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        async with world.operator():
            await world.create(integrations={"prometheus": PROMETHEUS, "verticalPodAutoscaler": {}})
            await world.until(lambda objects: "verticalpodautoscalers/loans" in objects)
            await world.patch(SERVICE, {"spec": {"integrations": None}})
            await world.until(lambda objects: "verticalpodautoscalers/loans" not in objects)
            await world.until(lambda objects: "servicemonitors/loans" not in objects)
            assert WORKLOAD in world.server.all()

    play(tmp_path, scenario)


def test_a_release_that_does_not_hold_changes_nothing(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        unapproved = release(world.bank, "run-03", approved=False, auc=0.85)
        weak = release(world.bank, "run-04", auc=0.52)
        async with world.operator():
            await world.create()
            await world.all_there()
            await world.pods_come_up()
            await world.stands("Ready", "True")
            before = world.server.all()[WORKLOAD]
            await world.patch(SERVICE, {"spec": {"releases": {"champion": unapproved}}})
            assert "0 of 1 approvals" in (await world.stands("ReleaseVerified", "False"))["message"]
            await world.patch(SERVICE, {"spec": {"releases": {"champion": weak}}})
            assert "auc" in (await world.stands("PolicyVerdict", "False"))["message"]
            await world.patch(SERVICE, {"spec": {"releases": {"champion": world.champion}, "regions": ["us-east"]}})
            assert "us-east" in (await world.stands("ResidencyHolds", "False"))["message"]
            # What ran goes on running, and is said to.
            await world.stands("Ready", "True")
            assert world.server.all()[WORKLOAD] == before
            await world.patch(SERVICE, {"spec": {"regions": ["eu-west"], "surprise": 1}})
            assert "surprise" in (await world.stands("Progressing", "False", "InvalidSpec"))["message"]
            await world.patch(SERVICE, {"spec": {"surprise": None}})
            await world.stands("Progressing", "False", "Settled")

    play(tmp_path, scenario)


def test_failures_half_way_are_made_good(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        left = [4]

        def fault(request: kmock.Request) -> int | None:
            if aims(request, "services") and left[0]:
                left[0] -= 1
                return 503
            return None

        world.server.faults.append(fault)
        async with world.operator():
            await world.create()
            await world.stands("Progressing", "False", "StorageFailed")
            assert "serviceaccounts/loans" in world.server.all()
            await world.all_there()
            await world.pods_come_up()
            await world.stands("Ready", "True")
        assert left == [0]
        assert "ApplyFailed" in {event["reason"] for event in world.server.posted}

    play(tmp_path, scenario)


def test_a_restart_half_way_forgets_nothing(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        def no_workload(request: kmock.Request) -> int | None:
            return 500 if aims(request, "statefulsets") else None

        world.server.faults.append(no_workload)
        async with world.operator():
            await world.create()
            await world.until(lambda objects: "poddisruptionbudgets/loans" in objects)
        assert WORKLOAD not in world.server.all()
        # Deleted while nobody looks: the next one cleans up what the first one made.
        await world.ask("DELETE", f"/apis/aboveboard.dev/v1alpha1/namespaces/lending/{SERVICE}")
        assert SERVICE in world.server.all()
        world.server.faults.clear()
        async with world.operator("two"):
            await world.until(lambda objects: not [key for key in objects if not key.startswith("leases/")])

    play(tmp_path, scenario)


def test_changes_made_while_nobody_looks_are_taken_up(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        async with world.operator():
            await world.create()
            await world.all_there()
        await world.patch(SERVICE, {"spec": {"releases": {"champion": world.next}}})
        async with world.operator("two"):
            await world.until(lambda objects: arguments(objects)[0] == world.next)

    play(tmp_path, scenario)


def test_what_belongs_to_somebody_else_is_left_alone(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        owner = {"apiVersion": "v1", "kind": "Other", "name": "o", "uid": "u", "controller": True}
        account = {
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": {"name": "loans", "ownerReferences": [owner]},
        }
        await world.ask("POST", "/api/v1/namespaces/lending/serviceaccounts", account)
        async with world.operator():
            await world.create()
            message = (await world.stands("Progressing", "False", "Conflict"))["message"]
            assert "ServiceAccount loans exists and belongs to something else" in message
            assert WORKLOAD not in world.server.all()
            await world.ask("DELETE", f"/apis/aboveboard.dev/v1alpha1/namespaces/lending/{SERVICE}")
            await world.until(lambda objects: SERVICE not in objects)
        assert world.server.all()["serviceaccounts/loans"]["metadata"]["ownerReferences"] == [owner]

    play(tmp_path, scenario)


def test_a_field_of_another_manager_is_not_taken_the_first_time(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        made = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "loans", "namespace": "lending"}}
        path = "/api/v1/namespaces/lending/configmaps/loans?fieldManager=somebody"
        theirs = {**made, "data": {"ABOVEBOARD_HOME": "/theirs"}}
        assert await world.ask("PATCH", path, theirs, "application/apply-patch+yaml") == 201
        async with world.operator():
            await world.create()
            message = (await world.stands("Progressing", "False", "Conflict"))["message"]
            assert "conflict with somebody" in message
            assert world.server.all()["configmaps/loans"]["data"] == {"ABOVEBOARD_HOME": "/theirs"}

    play(tmp_path, scenario)


def test_an_integration_that_is_not_installed_is_said_to_be_missing(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        world.server.unknown_kinds.add("verticalpodautoscalers")
        async with world.operator():
            await world.create(integrations={"verticalPodAutoscaler": {}})
            await world.stands("Progressing", "False", "NotFound")
            await world.until(lambda objects: WORKLOAD in objects)

    play(tmp_path, scenario)


def test_a_watch_that_expires_is_begun_again(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        async with world.operator():
            await world.create()
            await world.all_there()
            gone = {"kind": "Status", "apiVersion": "v1", "code": 410, "reason": "Expired", "metadata": {}}
            await world.server._buses[SERVICES].put({"type": "ERROR", "object": gone})
            await world.patch(SERVICE, {"spec": {"releases": {"champion": world.next}}})
            await world.until(lambda objects: arguments(objects)[0] == world.next)
        lists = [request for request in world.server if request.action == kmock.action.LIST]
        assert len([request for request in lists if request.resource == SERVICES]) >= 1

    play(tmp_path, scenario)


def test_only_the_holder_of_the_lease_acts(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        async with world.operator("one"):
            await world.until(lambda objects: holder(objects) == "one")
            async with world.operator("two") as second:
                await world.create()
                await world.all_there()
                assert not second.seen.following
                assert holder(world.server.all()) == "one"
        assert holder(world.server.all()) is None, "given back on the way out"
        async with world.operator("two"):
            await world.until(lambda objects: holder(objects) == "two")

    play(tmp_path, scenario)


def holder(objects: dict[str, dict[str, Any]]) -> Any:
    return objects["leases/aboveboard-operator"]["spec"].get("holderIdentity")


def test_who_loses_the_lease_stops(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        async with world.operator("one") as operator:
            await world.until(lambda objects: holder(objects) == "one")
            path = "leases/aboveboard-operator"
            usurped = {"spec": {"holderIdentity": "somebody"}}
            system = "/apis/coordination.k8s.io/v1/namespaces/aboveboard-system/"
            assert await world.ask("PATCH", system + path, usurped, "application/merge-patch+json") == 200
            await asyncio.sleep(1)
            assert holder(world.server.all()) == "somebody"
            await world.create()
            await asyncio.sleep(0.5)
            assert WORKLOAD not in world.server.all()
            assert operator.seen.following

    play(tmp_path, scenario)


@pytest.mark.parametrize("count", [12])
def test_many_services_at_once(tmp_path: Path, count: int) -> None:
    async def scenario(world: World) -> None:
        async with world.operator():
            base = "/apis/aboveboard.dev/v1alpha1/namespaces/lending/decisionservices"
            for number in range(count):
                item = document(releases={"champion": world.champion})
                item["metadata"]["name"] = f"loans-{number}"
                assert await world.ask("POST", base, item) == 201
            await world.until(
                lambda objects: sum(key.startswith("horizontalpodautoscalers/") for key in objects) == count, 60
            )

    play(tmp_path, scenario)


PACK = "policypacks/bank"


def test_packs_are_acted_upon(tmp_path: Path) -> None:
    """A pack is validated and said to be valid; what it selects is judged anew, also when nothing else happens."""

    async def scenario(world: World) -> None:
        base = "/apis/aboveboard.dev/v1alpha1/namespaces/aboveboard-system/policypacks"
        async with world.operator(resync=600, spread=0.1) as operator:
            await world.create()
            await world.stands("PolicyVerdict", "True")
            assert await world.ask("POST", base, pack()) == 201
            await world.until(lambda objects: "bank 1.0.0" in world.condition(objects, "PolicyVerdict")["message"])
            await world.until(lambda objects: objects[PACK]["status"]["inForce"] == 1)
            status = world.server.all()[PACK]["status"]
            assert [(c["type"], c["status"], c["reason"]) for c in status["conditions"]] == [
                ("Ready", "True", "Valid")
            ]
            assert b'aboveboard_operator_policy_packs{state="valid"} 1.0' in operator.counted()
            before = world.server.all()[WORKLOAD]

            # A stricter one refuses what it did not refuse before, and says so; what runs goes on.
            assert (
                await world.ask("PATCH", f"{base}/bank", pack(rego=STRICTER), "application/merge-patch+json") == 200
            )
            refused = await world.stands("PolicyVerdict", "False")
            assert "bank-auc (Credit policy 4.1): ranks badly" in refused["message"]
            assert world.server.all()[WORKLOAD] == before

            # One that cannot be judged by refuses, too, and is said not to be valid.
            broken = pack(rego="nonsense")
            assert await world.ask("PATCH", f"{base}/bank", broken, "application/merge-patch+json") == 200
            await world.until(lambda objects: objects[PACK]["status"]["conditions"][0]["reason"] == "Invalid")
            await world.until(
                lambda objects: "bank is not valid" in world.condition(objects, "PolicyVerdict")["message"]
            )
            assert b'aboveboard_operator_policy_packs{state="invalid"} 1.0' in operator.counted()
            assert await world.ask("DELETE", f"{base}/bank") == 200
            await world.stands("PolicyVerdict", "True")
        said = {(event["involvedObject"]["kind"], event["reason"]) for event in world.server.posted}
        assert {("PolicyPack", "Valid"), ("PolicyPack", "Invalid"), ("DecisionService", "Refused")} <= said

    play(tmp_path, scenario)


def test_a_rule_that_becomes_law_is_applied_on_its_day(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        base = "/apis/aboveboard.dev/v1alpha1/namespaces/lending/policypacks"
        tomorrow = pack(namespace="lending", rego=STRICTER, effective_from="2026-11-22")
        assert await world.ask("POST", base, tomorrow) == 201
        async with world.operator(resync=600, spread=0.1):
            await world.create()
            verdict = await world.stands("PolicyVerdict", "True")
            assert "law of 2026-11-21" in verdict["message"]
            await world.until(lambda objects: objects[PACK]["status"]["inForce"] == 0)
            world.bank.time.forward(days=1)
            verdict = await world.stands("PolicyVerdict", "False")
            assert "under the law of 2026-11-22: bank-auc" in verdict["message"]

    play(tmp_path, scenario)


def test_nothing_is_judged_while_packs_cannot_be_read(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        def no_packs(request: kmock.Request) -> int | None:
            return 403 if request.resource is not None and request.resource.plural == "policypacks" else None

        world.server.faults.append(no_packs)
        async with world.operator():
            await world.create()
            verdict = await world.stands("PolicyVerdict", "False")
            assert "policy packs cannot be read" in verdict["message"]
            assert WORKLOAD not in world.server.all()

    play(tmp_path, scenario)


def test_status_and_drift_are_seen_without_waiting_for_the_next_look(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        async with world.operator(resync=600, poll=600) as operator:
            await world.create()
            await world.all_there()
            await world.stands("Ready", "False")
            await world.pods_come_up()
            await world.stands("Ready", "True")
            counted = operator.counted().decode()
            assert "aboveboard_operator_services 1.0" in counted
            assert 'aboveboard_operator_reconciliations_total{result="settled"}' in counted
            assert 'aboveboard_operator_reconciliations_total{result="waiting"} 0.0' not in counted
            assert "aboveboard_operator_acting 1.0" in counted
            status = {"observedGeneration": 1, "replicas": 3, "readyReplicas": 1, "updatedReplicas": 3}
            await world.patch(f"{WORKLOAD}/status", {"status": status}, group="apis/apps/v1")
            message = (await world.stands("Ready", "False"))["message"]
            assert message.startswith("1 of 3 pods")
            egress: dict[str, Any] = {"spec": {"egress": [{}]}}
            await world.patch("networkpolicies/loans-allow", egress, group="apis/networking.k8s.io/v1")
            await world.until(lambda objects: objects["networkpolicies/loans-allow"]["spec"]["egress"] != [{}])
            await world.ask("DELETE", "/apis/policy/v1/namespaces/lending/poddisruptionbudgets/loans")
            await world.until(lambda objects: "poddisruptionbudgets/loans" in objects)

    play(tmp_path, scenario)


MODEL = "models/small-loans"
RUN = {"run": "first", "schedule": "0 3 * * 1"}


def test_a_model_is_validated_and_run(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        base = "/apis/aboveboard.dev/v1alpha1/namespaces/lending/models"

        def jobs() -> list[str]:
            return [key for key in world.server.all() if key.startswith("jobs/")]

        def stands(objects: dict[str, dict[str, Any]]) -> dict[str, str]:
            return {c["type"]: c["reason"] for c in objects[MODEL]["status"]["conditions"]}

        async with world.operator():
            assert await world.ask("POST", base, model(purpose="divination")) == 201
            await world.until(lambda objects: stands(objects) == {"Valid": "Invalid", "RunSucceeded": "NotAsked"})
            assert await world.ask("PATCH", f"{base}/small-loans", model(pipeline=RUN), MERGE) == 200
            await world.until(lambda objects: stands(objects)["Valid"] == "Valid" and len(jobs()) == 1)
            assert "cronjobs/small-loans" in world.server.all()
            (owner,) = world.server.all()[jobs()[0]]["metadata"]["ownerReferences"]
            assert (owner["kind"], owner["controller"]) == ("Model", True)
            await world.until(lambda objects: stands(objects)["RunSucceeded"] == "Waiting")

            # Play the part of the Job's controller.
            running = {"active": 1, "startTime": "2026-11-22T00:00:00Z"}
            await world.patch(f"{jobs()[0]}/status", {"status": running}, group="apis/batch/v1")
            await world.until(lambda objects: objects[MODEL]["status"]["lastRun"]["phase"] == "Running")
            refused = {"type": "Failed", "status": "True", "reason": "PodFailurePolicy", "message": "exit code 1"}
            ended = {"active": None, "conditions": [{**refused, "lastTransitionTime": "2026-11-22T01:00:00Z"}]}
            await world.patch(f"{jobs()[0]}/status", {"status": ended}, group="apis/batch/v1")
            await world.until(lambda objects: stands(objects)["RunSucceeded"] == "Failed")
            assert "exit code 1" in world.server.all()[MODEL]["status"]["lastRun"]["message"]

            # Another run is another Job; without a schedule its CronJob goes.
            again = {"spec": {"pipeline": {"run": "second", "schedule": None}}}
            await world.patch(MODEL, again)
            await world.until(lambda objects: len(jobs()) == 2 and "cronjobs/small-loans" not in objects)
            await world.until(lambda objects: stands(objects)["RunSucceeded"] == "Waiting")
        said = {event["reason"] for event in world.server.posted if event["involvedObject"]["kind"] == "Model"}
        assert {"Invalid", "Valid", "Running", "Failed"} <= said

    play(tmp_path, scenario)

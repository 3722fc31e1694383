"""Under mixed load every answer belongs to its request, and every decision is in the log once, as it was asked for.

A server that batches what comes in at the same time can hand one caller what belongs to another. Here some thousands
of different people are asked about in every way there is, over connections that pipeline and cut requests anywhere,
and each answer is held against the model, computed in this process.

`ABOVEBOARD_ISOLATION_REQUESTS` sets how many requests; .ci/run asks for 100,000.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import random
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import grpc.aio
import msgspec
import numpy as np
import pytest
from tritonclient.grpc import service_pb2, service_pb2_grpc

from aboveboard.audit import Query, events
from aboveboard.files import secret_bytes
from aboveboard.ids import subject_token
from aboveboard.settings import Home
from tests.integration.serving.process import Released, open_log, running
from tests.integration.serving.test_inference_clients import free_port

REQUESTS = int(os.environ.get("ABOVEBOARD_ISOLATION_REQUESTS", "8000"))
CONNECTIONS = 64
"""Half of them send one request at a time, the others up to `DEPTH` without waiting."""
DEPTH = 12
CHANNELS = 4
READ = 500
"""Decisions that are read back from the log in full. Reading is logged, so each costs a write."""
INFER = "/v2/models/credit-default/infer"
KINDS = {"decision": 60, "refused": 2, "prediction": 18, "explained": 5, "binary": 8, "batch": 2, "grpc": 5}
"""How often each kind comes, in per cent."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One request: what it is, and who it is about."""

    number: int
    kind: str
    people: list[int]


@dataclass
class World:
    """What is asked, and what the model says about each person."""

    released: Released
    asked: list[Asked] = field(default_factory=list)
    people: list[dict[str, Any]] = field(default_factory=list)

    def person(self) -> int:
        """Return a new person, who is like nobody else: the last balance is the number."""
        number = len(self.people)
        like = self.released.clients[number % len(self.released.clients)]
        features = {**like["features"], "BILL_AMT6": number}
        self.people.append({**like, "subject": f"person-{number}", "features": features})
        return number


def world(released: Released, count: int) -> World:
    made = World(released)
    chance = random.Random(count)  # noqa: S311  a seed, not a secret
    for number, kind in enumerate(chance.choices(list(KINDS), list(KINDS.values()), k=count)):
        several = {"prediction": (1, 3), "explained": (1, 3), "binary": (1, 3), "grpc": (1, 3), "batch": (2, 5)}
        people = [made.person() for _ in range(chance.randint(*several.get(kind, (1, 1))))]
        made.asked.append(Asked(number, kind, people))
    return made


def spoiled(request: dict[str, Any], number: int) -> dict[str, Any]:
    """Return a request that must be refused, and the refusal name what only this request has."""
    return {**request, "features": {**request["features"], f"UNKNOWN_{number}": 1}}


def http(asked: Asked, world: World) -> bytes:
    """Return a request as it goes over the wire."""
    people = [world.people[number] for number in asked.people]
    path, more, binary = INFER, b"", b""
    document: dict[str, Any]
    if asked.kind in ("decision", "refused"):
        path = "/v1/decisions"
        document = people[0] if asked.kind == "decision" else spoiled(people[0], asked.number)
    elif asked.kind == "batch":
        path = "/v1/decisions/batch"
        document = {"requests": [people[0], spoiled(people[0], asked.number), *people[1:]]}
    else:
        columns = {name: [person["features"][name] for person in people] for name in people[0]["features"]}
        inputs: list[dict[str, Any]] = []
        for name, column in columns.items():
            inputs.append({"name": name, "shape": [len(column)], "datatype": "INT64", "data": column})
            if asked.kind == "binary":
                del inputs[-1]["data"]
                inputs[-1]["parameters"] = {"binary_data_size": 8 * len(column)}
                binary += struct.pack(f"<{len(column)}q", *column)
        document = {"id": f"request-{asked.number}", "inputs": inputs}
        if asked.kind == "binary":
            document["parameters"] = {"binary_data_output": True}
        if asked.kind == "explained":
            document["parameters"] = {"reasons": True, "locale": people[0]["locale"]}
    body = msgspec.json.encode(document)
    if binary:
        more = b"Inference-Header-Content-Length: %d\r\n" % len(body)
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n".encode()
    return head + more + b"Content-Length: %d\r\n\r\n%b" % (len(body + binary), body + binary)


Answers = dict[int, tuple[int, dict[str, str], bytes]]
"""Status, headers and body by the number of the request."""


async def ask_over_http(port: int, mine: Iterator[Asked], world: World, answers: Answers, seed: int) -> None:
    chance, deep = random.Random(seed), seed % 2 == 0  # noqa: S311
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    while batch := list(itertools.islice(mine, chance.randint(2, DEPTH) if deep else 1)):
        sent = b"".join(http(asked, world) for asked in batch)
        cut = chance.randrange(len(sent)) if deep else len(sent)
        for part in (sent[:cut], sent[cut:]):
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(0)
        for asked in batch:
            lines = (await reader.readuntil(b"\r\n\r\n")).decode().lower().split("\r\n")
            headers = dict(line.split(": ", 1) for line in lines[1:-2])
            body = await reader.readexactly(int(headers["content-length"]))
            assert asked.number not in answers
            answers[asked.number] = int(lines[0].split()[1]), headers, body
    writer.close()


async def ask_over_grpc(address: str, mine: Iterator[Asked], world: World, answers: dict[int, Any]) -> None:
    async with grpc.aio.insecure_channel(address) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)

        async def work() -> None:
            for asked in mine:
                request = service_pb2.ModelInferRequest(model_name="credit-default", id=f"request-{asked.number}")
                rows = [world.people[number]["features"] for number in asked.people]
                for name in rows[0]:
                    tensor = request.inputs.add(name=name, datatype="INT64", shape=[len(rows)])
                    tensor.contents.int64_contents.extend(row[name] for row in rows)
                answers[asked.number] = await stub.ModelInfer(request)

        await asyncio.gather(*(work() for _ in range(4)))


async def ask_all(port: int, grpc_port: int, world: World) -> tuple[Answers, dict[int, Any]]:
    over_http: Answers = {}
    over_grpc: dict[int, Any] = {}
    # Shared: whichever connection is free takes the next one.
    rest = iter([asked for asked in world.asked if asked.kind != "grpc"])
    calls = iter([asked for asked in world.asked if asked.kind == "grpc"])
    await asyncio.gather(
        *(ask_over_http(port, rest, world, over_http, seed) for seed in range(CONNECTIONS)),
        *(ask_over_grpc(f"127.0.0.1:{grpc_port}", calls, world, over_grpc) for _ in range(CHANNELS)),
    )
    return over_http, over_grpc


class Expected:
    """What the model says about each person."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._model = model = world.released.models[0]
        self._rows = np.stack([model.encoding.encode(person["features"]) for person in world.people])
        self.scores: list[float] = model.score(self._rows).tolist()

    def reasons(self, number: int, locale: str) -> list[tuple[str, str]]:
        if self.scores[number] >= self._model.approve_at:
            return []
        return [(reason.code, reason.text) for reason in self._model.reasons(self._rows[number], locale)]

    def outcome(self, number: int) -> str:
        score = self.scores[number]
        return (
            "approve" if score >= self._model.approve_at else "refer" if score >= self._model.refer_at else "decline"
        )

    def hold_decision(self, number: int, answer: dict[str, Any]) -> None:
        given = [(reason["code"], reason["text"]) for reason in answer["reasons"]]
        expected = (
            self.scores[number],
            self.outcome(number),
            self.reasons(number, self._world.people[number]["locale"]),
        )
        assert (answer["score"], answer["outcome"], given) == expected

    def hold_explained(self, people: list[int], outputs: dict[str, Any]) -> None:
        most = self._model.decision.max_reasons
        reasons = [self.reasons(number, self._world.people[people[0]]["locale"]) for number in people]
        filled = [given + [("", "")] * (most - len(given)) for given in reasons]
        assert outputs["reason_codes"]["data"] == [code for given in filled for code, _ in given]
        assert outputs["reason_texts"]["data"] == [text for given in filled for _, text in given]


def hold_refusal(asked: Asked, problem: dict[str, Any]) -> None:
    assert (problem["status"], problem["code"]) == (422, "request-refused")
    assert [error["pointer"] for error in problem["errors"]] == [f"#/features/UNKNOWN_{asked.number}"]


def hold_answers(world: World, answers: Answers, calls: dict[int, Any]) -> dict[str, int]:
    """Hold every answer against its request; return the person of each decision by its id."""
    expected = Expected(world)
    decided: dict[str, int] = {}
    writers: set[str] = set()

    def decision(number: int, answer: dict[str, Any]) -> None:
        expected.hold_decision(number, answer)
        assert answer["decision_id"] not in decided
        decided[answer["decision_id"]] = number
        writers.add(answer["receipt"]["writer"])

    assert answers.keys() | calls.keys() == set(range(len(world.asked)))
    for asked in world.asked:
        scores = [expected.scores[number] for number in asked.people]
        if asked.kind == "grpc":
            call = calls[asked.number]
            assert call.id == f"request-{asked.number}"
            assert list(call.outputs[0].contents.fp64_contents) == scores
            continue
        status, headers, body = answers[asked.number]
        if asked.kind == "refused":
            assert status == 422
            hold_refusal(asked, json.loads(body))
            continue
        assert status == 200, body
        if asked.kind == "binary":
            length = int(headers["inference-header-content-length"])
            assert list(struct.unpack(f"<{len(scores)}d", body[length:])) == scores
            body = body[:length]
        document = json.loads(body)
        if asked.kind == "decision":
            decision(asked.people[0], document)
        elif asked.kind == "batch":
            first, second, *others = document["answers"]
            hold_refusal(asked, second)
            for number, answer in zip(asked.people, [first, *others], strict=True):
                decision(number, answer)
        else:
            assert document["id"] == f"request-{asked.number}"
            outputs = {output["name"]: output for output in document["outputs"]}
            if asked.kind != "binary":
                assert outputs["score"]["data"] == scores
            if asked.kind == "explained":
                expected.hold_explained(asked.people, outputs)
    assert len(writers) == 2, "one worker did all the work"
    return decided


def hold_log(home: Home, world: World, decided: dict[str, int]) -> None:
    """Hold the log against what was asked and answered: each decision once, about the right person."""
    key = secret_bytes(home.subject_key)
    expected = Expected(world)
    with open_log(home) as log:
        log.publish()
        entries = log.find(Query(kind="decision/1", limit=100_000), actor="me", purpose="test")
        assert sorted(entry.decision_id or "" for entry in entries) == sorted(decided)
        for entry in entries:
            number = decided[entry.decision_id or ""]
            person = world.people[number]
            assert (entry.subject, entry.outcome) == (subject_token(key, person["subject"]), expected.outcome(number))
        for entry in entries[:: max(1, len(entries) // READ)]:
            number = decided[entry.decision_id or ""]
            event = log.read(entry.index, actor="me", purpose="test")
            assert isinstance(event, events.Decision)
            person = world.people[number]
            assert event.features == person["features"]
            assert (event.locale, event.jurisdiction) == (person["locale"], person["jurisdiction"])
            assert event.score == expected.scores[number]
            assert event.reasons == [code for code, _ in expected.reasons(number, person["locale"])]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_every_answer_belongs_to_its_request(released: Released, home: Home) -> None:
    made = world(released, REQUESTS)
    assert {asked.kind for asked in made.asked} == set(KINDS)
    grpc_port = free_port()
    with running(home, release=released.digests[0], workers=2, grpc_port=grpc_port) as server:
        answers, calls = asyncio.run(ask_all(server.port, grpc_port, made))
    decided = hold_answers(made, answers, calls)
    hold_log(home, made, decided)

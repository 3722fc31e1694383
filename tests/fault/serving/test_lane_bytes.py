"""The lane reads HTTP as uvicorn does: whatever bytes come, in whatever pieces, both ways answer alike."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import json
import random
from collections.abc import Iterator

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from aboveboard.audit import AuditLog
from aboveboard.clock import system_clock
from aboveboard.serving.deployment import Deployment
from tests.fault.serving.exchange import Answered, Front, answers_in, hold_alike
from tests.fault.serving.small import DIGEST, small_deployment


@pytest.fixture(scope="module")
def deployment() -> Deployment:
    return small_deployment()


@pytest.fixture(scope="module")
def front(deployment: Deployment, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    root = tmp_path_factory.mktemp("log")
    with AuditLog.open(root / "audit", keys=root / "keys", origin="test.example/log", clock=system_clock) as log:
        yield Front(deployment, log)


DECISION = b'{"subject":"a","features":{}}'
INFERENCE = json.dumps(
    {"inputs": [{"name": "PAY_0", "shape": [1], "datatype": "INT64", "data": [0]}]}, separators=(",", ":")
).encode()


def request(
    path: bytes = b"/v1/decisions",
    body: bytes = DECISION,
    *,
    method: bytes = b"POST",
    version: bytes = b"HTTP/1.1",
    kind: bytes | None = b"application/json",
    length: bytes | None = b"right",
    more: bytes = b"",
) -> bytes:
    head = b"%b %b %b\r\nHost: x\r\n" % (method, path, version)
    if kind is not None:
        head += b"Content-Type: %b\r\n" % kind
    if length is not None:
        head += b"Content-Length: %b\r\n" % (b"%d" % len(body) if length == b"right" else length)
    return head + more + b"\r\n" + body


def chunked(body: bytes, size: int) -> bytes:
    parts = [body[at : at + size] for at in range(0, len(body), size)]
    return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


INFER = b"/v2/models/credit-default/infer"
PIECES = [
    request(),
    request(body=b'{"subject":"b","features":{}}'),
    request(body=b'{"subject":"a longer one","features":{"PAY_0":1}}'),
    request(body=b""),
    request(body=b"{"),
    request(INFER, INFERENCE),
    request(INFER, INFERENCE, kind=None),
    request(INFER, b"x" + INFERENCE, more=b"Inference-Header-Content-Length: 1\r\n"),
    request(b"/v2/models/credit-default/versions/" + DIGEST.encode() + b"/infer", INFERENCE),
    request(b"/v2/models/other/infer", INFERENCE),
    request(b"/v2/models/other/infer", INFERENCE, kind=b"text/plain"),
    request(b"/v2/models/other/infer", INFERENCE, length=b"1048577"),
    request(INFER, INFERENCE, kind=b"text/plain", length=b"1048577"),
    request(b"/v1/decisions/batch", length=b"1048577"),
    request(INFER, INFERENCE, kind=b"applica\xff\xff/json"),
    request(b"/v1/decisions?x=1"),
    request(b"/v1/decisions/"),
    request(b"/V1/decisions"),
    request(b"//v1/decisions"),
    request(b"http://x/v1/decisions"),
    request(method=b"PUT"),
    request(method=b"post"),
    request(b"/livez", b"", method=b"GET", kind=None, length=None),
    request(version=b"HTTP/1.0"),
    request(version=b"HTTP/1.0", more=b"Connection: keep-alive\r\n"),
    request(version=b"HTTP/2.0"),
    request(more=b"Connection: close\r\n"),
    request(more=b"Connection: Upgrade\r\nUpgrade: websocket\r\n"),
    request(more=b"Upgrade: h2c\r\n"),
    request(more=b"Expect: 100-continue\r\n"),
    request(kind=b"application/json; charset=utf-8"),
    request(kind=b"text/plain"),
    request(kind=None),
    request(length=b"0"),
    request(length=b"5"),
    request(length=b"-1"),
    request(length=b"+29"),
    request(length=b"0029"),
    request(length=b"29, 29"),
    request(length=b"1048577"),
    request(length=b"99999999999999999999"),
    request(more=b"Content-Length: 29\r\n"),
    request(more=b"Content-Length: 3\r\n"),
    request(more=b"Transfer-Encoding: chunked\r\n", body=chunked(DECISION, 7)),
    request(more=b"Transfer-Encoding: chunked\r\n", body=chunked(DECISION, 7), length=None),
    request(more=b"Transfer-Encoding: chunked\r\nTrailer: x\r\n", body=chunked(DECISION, 100), length=None),
    request(more=b"Transfer-Encoding: identity\r\n", length=None),
    request(more=b"Transfer-Encoding: gzip, chunked\r\n", body=chunked(DECISION, 9), length=None),
    request(more=b"X: " + b"y" * 3_000 + b"\r\n"),
    request(more=b"X : y\r\n"),
    request(more=b" folded\r\n"),
    request(more=b"no colon\r\n"),
    request().replace(b"\r\n", b"\n"),
    b"\r\n\r\n" + request(),
    b"\r\n",
]
TOKENS = [b"\r\n", b"\n", b"\r", b"\r\n\r\n", b" ", b":", b"\0", b"0\r\n\r\n", b"Content-Length: 0\r\n", b"POST /",
          b"Transfer-Encoding: chunked\r\n", b"HTTP/1.1", b"\xff", b"Connection: close\r\n"]  # fmt: skip


def both_ways(front: Front, chunks: list[bytes]) -> tuple[Answered, Answered]:
    """Exchange the bytes without the lane, with it, and with it again, now that it knows what heads look like."""

    async def all_ways() -> list[Answered]:
        return [await front.exchange(chunks, lane=lane) for lane in (False, True, True)]

    without, first, second = asyncio.run(all_ways())
    hold_alike(first, without)
    assert second == first
    return first, without


def cut(sent: bytes, places: list[float]) -> list[bytes]:
    at = sorted({0, len(sent), *(int(place * len(sent)) for place in places)})
    return [sent[start:end] for start, end in itertools.pairwise(at)]


@pytest.mark.parametrize("number", range(len(PIECES)))
def test_one_request_and_a_good_one_after_it(front: Front, number: int) -> None:
    piece = PIECES[number]
    for chunks in ([piece], [piece, request()], [piece + request()], [piece, *cut(request(), [0.1, 0.8])]):
        both_ways(front, chunks)


def test_the_corpus_answers_every_way(front: Front) -> None:
    """What is compared is worth comparing: decisions, predictions and refusals of several kinds are among it."""
    statuses = {status for piece in PIECES for status, _ in both_ways(front, [piece])[0].answers}
    assert statuses >= {200, 400, 404, 405, 413, 415, 422}


@given(
    numbers=st.lists(st.integers(0, len(PIECES) - 1), min_size=1, max_size=5),
    places=st.lists(st.floats(0, 1), max_size=4),
)
@example(numbers=[0, 0, 0], places=[])
@example(numbers=[0, 5, 0, 17, 0], places=[0.5])
def test_any_requests_in_any_pieces(front: Front, numbers: list[int], places: list[float]) -> None:
    both_ways(front, cut(b"".join(PIECES[number] for number in numbers), places))


edits = st.lists(
    st.tuples(st.floats(0, 1), st.integers(0, 12), st.sampled_from(TOKENS) | st.binary(max_size=4)), max_size=3
)


@given(numbers=st.lists(st.integers(0, len(PIECES) - 1), min_size=1, max_size=3), edits=edits,
       places=st.lists(st.floats(0, 1), max_size=3))  # fmt: skip
def test_damaged_requests(
    front: Front, numbers: list[int], edits: list[tuple[float, int, bytes]], places: list[float]
) -> None:
    sent = b"".join(PIECES[number] for number in numbers)
    for place, removed, put in edits:
        at = int(place * len(sent))
        sent = sent[:at] + put + sent[at + removed :]
    both_ways(front, cut(sent, places))


def test_a_body_is_never_taken_for_another(front: Front) -> None:
    """A thousand requests on one connection, many with heads that are known: each body is the one that was sent."""
    chance = random.Random(3)  # noqa: S311
    bodies = [
        b'{"subject":"%b","features":{}}' % (b"s" * chance.randint(1, 30) + b"-%d" % number) for number in range(1000)
    ]
    sent = [request(body=body) for body in bodies]
    chunks: list[bytes] = []
    while sent:
        several = b"".join(sent[: (taken := chance.choice([1, 1, 1, 2, 5]))])
        del sent[:taken]
        chunks += cut(several, [chance.random()] if chance.random() < 0.3 else [])
    found, _ = both_ways(front, chunks)
    assert [json.loads(body)["body_sha256"] for _, body in found.answers] == [
        hashlib.sha256(body).hexdigest() for body in bodies
    ]


def test_answers_that_are_cut_are_noticed() -> None:
    with pytest.raises(AssertionError):
        answers_in(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n123")

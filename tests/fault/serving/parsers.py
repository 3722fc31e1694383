"""Every parser of the decision server, and inputs to begin with: our errors come out of them, and nothing else."""

from __future__ import annotations

import contextlib
import json
import time
from pathlib import Path
from typing import Any

from joserfc import jwt
from joserfc.jwk import ECKey

from aboveboard.clock import system_clock
from aboveboard.errors import AboveboardError
from aboveboard.serving import oip
from aboveboard.serving.access import NotAuthenticated
from aboveboard.serving.control import Rollback, TrackChange
from aboveboard.serving.deployment import Deployment
from aboveboard.serving.http import check_content_type, check_length
from aboveboard.serving.identity import Tokens, load_identity, parse_keys
from aboveboard.serving.inference import DATATYPES, from_binary
from aboveboard.serving.outcomes import parse_outcome
from aboveboard.serving.requests import Batch, decode, parse_decision

KEY = ECKey.generate_key("P-256", {"kid": "one"})
CLAIMS = {"iss": "https://login.test.example", "aud": "test", "sub": "desk"}


def tokens_of(directory: Path, **roles: list[str]) -> Tokens:
    """Return what judges tokens, over an `identity.json` and a key that it writes into a directory."""
    (directory / "keys.json").write_text(json.dumps({"keys": [KEY.as_dict(private=False)]}))
    path = directory / "identity.json"
    path.write_text(
        json.dumps({"issuer": CLAIMS["iss"], "audience": CLAIMS["aud"], "jwks": "keys.json", "roles": roles})
    )
    path.chmod(0o600)
    return load_identity(path, clock=system_clock)[0]


class Parsers:
    """All of them, over one deployment."""

    def __init__(self, deployment: Deployment, tokens: Tokens) -> None:
        self._deployment = deployment
        self._tokens = tokens

    def feed(self, data: bytes) -> None:
        """Give one input to every parser; raise what is not one of our errors, or an answer that must not be."""
        with contextlib.suppress(AboveboardError):
            request = parse_decision(data)
            # What is understood means the same to another reader (RFC 8259 leaves doubles and duplicates open).
            other = json.loads(data)
            assert other["subject"] == request.subject
            assert other["features"].keys() == request.features.keys()
        for shape in (Batch, TrackChange, Rollback):
            with contextlib.suppress(AboveboardError):
                decode(data, shape)
        with contextlib.suppress(AboveboardError):
            parse_outcome(data)
        self._feed_inference(data)
        with contextlib.suppress(AboveboardError):
            check_length(data)
        with contextlib.suppress(AboveboardError):
            check_content_type(data)
        with contextlib.suppress(AboveboardError):
            parse_keys(data, "a test")
        with contextlib.suppress(NotAuthenticated):
            self._tokens.client(data)
            assert data in GOOD_TOKENS, "a token nobody signed was believed"

    def _feed_inference(self, data: bytes) -> None:
        # In the binary form, the first line says where the JSON part ends, as a header does.
        declared, _, body = data.partition(b"\n")
        for content, length in ((data, None), (body, declared)):
            with contextlib.suppress(AboveboardError):
                answer = oip.infer(self._deployment, content, length)
                json.loads(answer.body[: answer.json_length])
        for datatype in (*set(DATATYPES.values()), "FP16", "UINT8", "nonsense"):
            with contextlib.suppress(AboveboardError):
                from_binary(datatype, data)


def _token(**claims: Any) -> bytes:
    now = int(time.time())
    return jwt.encode({"alg": "ES256", "kid": "one"}, {**CLAIMS, "exp": now + 3000, **claims}, KEY).encode()


GOOD_TOKENS = {_token()}


def seeds(deployment: Deployment) -> list[bytes]:
    """Return inputs that the parsers understand, one of each kind."""
    features = dict.fromkeys((f.name for f in deployment.model.encoding.features), 1)
    decision = {"subject": "a", "features": features, "locale": "de-AT", "jurisdiction": "us", "idempotency_key": "k"}
    inputs = [{"name": name, "shape": [1], "datatype": "INT64", "data": [value]} for name, value in features.items()]
    binary = [
        {"name": name, "shape": [1], "datatype": "INT64", "parameters": {"binary_data_size": 8}} for name in features
    ]
    head = json.dumps({"inputs": binary, "parameters": {"binary_data_output": True}}).encode()
    documents: list[Any] = [
        {**decision, "cohort": {"sex": 1}},
        {"requests": [decision, decision]},
        {"tracks": {"champion": "a", "challenger": "b", "weight": 5, "shadows": ["c"]}, "reason": "canary"},
        {"reason": "worse"},
        {"decision_id": "dec-" + "0" * 26, "label": "repaid", "observed": "2026-01-31"},
        {"inputs": inputs, "id": "7", "parameters": {"reasons": True, "locale": "zh"}},
        {"inputs": inputs, "outputs": [{"name": "score", "parameters": {"binary_data": True}}]},
        {"keys": [KEY.as_dict(private=False)]},
    ]
    return [
        *(json.dumps(document).encode() for document in documents),
        b"%d\n%b%b" % (len(head), head, b"\1\0\0\0\0\0\0\0" * len(features)),
        b"\3\0\0\0abc\0\0\0\0",
        *GOOD_TOKENS,
        _token(exp=1),
        b"application/json; charset=utf-8",
        b"1048577",
    ]

"""The Open Inference Protocol as others speak it: Triton's and KServe's own clients, over HTTP and gRPC."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc
import tritonclient.http
from tritonclient.grpc import service_pb2, service_pb2_grpc
from tritonclient.utils import InferenceServerException

from aboveboard.errors import Misuse
from aboveboard.serving.access import new_key
from aboveboard.serving.options import ServerOptions
from aboveboard.settings import Home
from tests.integration.serving.process import Released, Server, launch, running

ROOT = Path(__file__).parents[3]
MODEL = "credit-default"
PEOPLE = 50


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@dataclass(frozen=True)
class Both:
    """A server that speaks HTTP and gRPC."""

    server: Server
    grpc: str


@pytest.fixture(scope="module")
def both(released: Released, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    root = tmp_path_factory.mktemp("both") / "home"
    for name in ("keys", "releases"):
        shutil.copytree(released.home.root / name, root / name)
    port = free_port()
    with running(Home(root), release=released.digests[0], grpc_port=port) as server:
        yield Both(server, f"127.0.0.1:{port}")


@pytest.fixture(scope="module")
def features(released: Released) -> list[dict[str, int]]:
    return [client["features"] for client in released.clients[:PEOPLE]]


@pytest.fixture(scope="module")
def scores(released: Released, features: list[dict[str, int]]) -> list[float]:
    model = released.models[0]
    expected: list[float] = model.score(np.stack([model.encoding.encode(row) for row in features])).tolist()
    return expected


@pytest.fixture(scope="module")
def codes(released: Released, features: list[dict[str, int]], scores: list[float]) -> list[str]:
    """The reason codes as the protocol has them: flat, and filled up."""
    model = released.models[0]
    flat: list[str] = []
    for row, score in zip(features, scores, strict=True):
        adverse = score < model.approve_at
        given = [r.code for r in model.reasons(model.encoding.encode(row), "de")] if adverse else []
        flat += given + [""] * (model.decision.max_reasons - len(given))
    assert set(flat) > {""}
    return flat


def tensors(kind: Any, features: list[dict[str, int]], **how: Any) -> list[Any]:
    inputs = []
    for name in features[0]:
        column = kind.InferInput(name, [len(features)], "INT64")
        column.set_data_from_numpy(np.array([row[name] for row in features], np.int64), **how)
        inputs.append(column)
    return inputs


@pytest.mark.parametrize("speaks", ["http", "grpc"])
def test_tritons_client_asks_about_the_server_and_the_model(
    both: Both, released: Released, features: list[dict[str, int]], speaks: str
) -> None:
    digest = released.digests[0]
    if speaks == "http":
        client = tritonclient.http.InferenceServerClient(both.server.url.removeprefix("http://"))
        metadata, model = client.get_server_metadata(), client.get_model_metadata(MODEL, digest)
    else:
        client = tritonclient.grpc.InferenceServerClient(both.grpc)
        metadata = client.get_server_metadata(as_json=True)
        model = client.get_model_metadata(MODEL, digest, as_json=True)
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready(MODEL)
    assert client.is_model_ready(MODEL, digest)
    if speaks == "http":
        assert not client.is_model_ready("unknown")
    else:
        with pytest.raises(InferenceServerException, match="no such model"):
            client.is_model_ready("unknown")
    assert metadata["name"] == "aboveboard"
    assert model["name"] == MODEL
    assert model["versions"] == [digest]
    assert {(tensor["name"], tensor["datatype"]) for tensor in model["inputs"]} == {(n, "INT64") for n in features[0]}
    assert [(tensor["name"], tensor["datatype"]) for tensor in model["outputs"]] == [("score", "FP64")]
    client.close()


@pytest.mark.parametrize("binary_in", [True, False])
@pytest.mark.parametrize("binary_out", [True, False, None])
def test_tritons_http_client_infers(
    both: Both,
    features: list[dict[str, int]],
    scores: list[float],
    codes: list[str],
    binary_in: bool,
    binary_out: bool | None,
) -> None:
    client = tritonclient.http.InferenceServerClient(both.server.url.removeprefix("http://"))
    inputs = tensors(tritonclient.http, features, binary_data=binary_in)
    outputs = [
        tritonclient.http.InferRequestedOutput(name, binary_data=binary_out) for name in ("score", "reason_codes")
    ]
    answer = client.infer(
        MODEL,
        inputs,
        outputs=None if binary_out is None else outputs,
        request_id="batch-7",
        parameters={"reasons": True, "locale": "de"},
    )
    assert answer.get_response()["id"] == "batch-7"
    assert answer.as_numpy("score").tolist() == scores
    read = answer.as_numpy("reason_codes")
    assert read.shape == (PEOPLE, len(codes) // PEOPLE)
    assert [c.decode() if isinstance(c, bytes) else c for c in read.ravel()] == codes
    assert client.infer(MODEL, inputs).as_numpy("score").tolist() == scores
    client.close()


def test_tritons_grpc_client_infers(
    both: Both, released: Released, features: list[dict[str, int]], scores: list[float], codes: list[str]
) -> None:
    client = tritonclient.grpc.InferenceServerClient(both.grpc)
    inputs = tensors(tritonclient.grpc, features)
    answer = client.infer(MODEL, inputs, model_version=released.digests[0], request_id="batch-7")
    assert answer.get_response().id == "batch-7"
    assert answer.get_response().model_version == released.digests[0]
    assert [output.name for output in answer.get_response().outputs] == ["score"]
    assert answer.as_numpy("score").tolist() == scores
    answer = client.infer(
        MODEL,
        inputs,
        outputs=[tritonclient.grpc.InferRequestedOutput(name) for name in ("reason_codes", "score")],
        parameters={"reasons": True, "locale": "de"},
    )
    assert [output.name for output in answer.get_response().outputs] == ["reason_codes", "score"]
    assert [code.decode() for code in answer.as_numpy("reason_codes").ravel()] == codes
    assert answer.as_numpy("score").tolist() == scores
    client.close()


def request(features: list[dict[str, int]], **more: Any) -> Any:
    """Return a request with typed contents, which Triton's client never sends but its messages allow."""
    asked = service_pb2.ModelInferRequest(model_name=MODEL, id="typed", **more)
    for name in features[0]:
        tensor = asked.inputs.add(name=name, datatype="INT64", shape=[len(features)])
        tensor.contents.int64_contents.extend(row[name] for row in features)
    return asked


def test_typed_contents_are_answered_in_kind(
    both: Both, features: list[dict[str, int]], scores: list[float], codes: list[str]
) -> None:
    with tritonclient.grpc.grpc.insecure_channel(both.grpc) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        asked = request(features)
        asked.parameters["reasons"].bool_param = True
        answer = stub.ModelInfer(asked)
    assert answer.id == "typed"
    assert not answer.raw_output_contents
    found = {output.name: output for output in answer.outputs}
    assert list(found["score"].contents.fp64_contents) == scores
    assert [code.decode() for code in found["reason_codes"].contents.bytes_contents] == codes
    assert list(found["reason_texts"].shape) == [PEOPLE, len(codes) // PEOPLE]


def test_refuses_over_grpc_what_it_refuses_over_http(both: Both, features: list[dict[str, int]]) -> None:
    def mixed(asked: Any) -> None:
        asked.raw_input_contents.append(b"")

    def too_few(asked: Any) -> None:
        for tensor in asked.inputs:
            tensor.ClearField("contents")
        asked.raw_input_contents.append(b"\0" * 8)

    def wrong_place(asked: Any) -> None:
        asked.inputs[0].contents.fp64_contents.append(1)

    def wrong_type(asked: Any) -> None:
        asked.inputs[0].datatype = "INT46"

    def wrong_length(asked: Any) -> None:
        asked.inputs[0].contents.int64_contents.append(1)

    def out_of_range(asked: Any) -> None:
        asked.inputs[0].contents.int64_contents[0] = 10**12

    def missing(asked: Any) -> None:
        del asked.inputs[0]

    def not_text(asked: Any) -> None:
        asked.inputs[0].datatype = "BYTES"
        asked.inputs[0].ClearField("contents")
        asked.inputs[0].contents.bytes_contents.extend([b"\xff"] * len(features))

    def wrong_output(asked: Any) -> None:
        asked.outputs.add(name="probabilities")

    def wrong_parameter(asked: Any) -> None:
        asked.parameters["reasons"].string_param = "yes"

    with tritonclient.grpc.grpc.insecure_channel(both.grpc) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        for spoil in (
            mixed,
            too_few,
            wrong_place,
            wrong_type,
            wrong_length,
            out_of_range,
            missing,
            not_text,
            wrong_output,
            wrong_parameter,
        ):
            asked = request(features)
            spoil(asked)
            with pytest.raises(tritonclient.grpc.grpc.RpcError) as refused:
                stub.ModelInfer(asked)
            assert refused.value.code().name == "INVALID_ARGUMENT", spoil.__name__
            assert dict(refused.value.trailing_metadata())["aboveboard-code"], spoil.__name__
            assert "Traceback" not in refused.value.details()
        for asked in (request(features, model_version="7"), request(features)):
            asked.model_name = MODEL if asked.model_version else "unknown"
            with pytest.raises(tritonclient.grpc.grpc.RpcError) as refused:
                stub.ModelInfer(asked)
            assert refused.value.code().name == "NOT_FOUND"
        with pytest.raises(tritonclient.grpc.grpc.RpcError) as refused:
            stub.ModelInfer(request(features * 1200))
        assert refused.value.code().name == "RESOURCE_EXHAUSTED"
        with pytest.raises(tritonclient.grpc.grpc.RpcError) as refused:
            stub.RepositoryIndex(service_pb2.RepositoryIndexRequest())
        assert refused.value.code().name == "UNIMPLEMENTED"
        assert stub.ModelInfer(request(features)).model_name == MODEL


def test_a_key_is_asked_for_over_grpc_too(
    released: Released, home: Home, tmp_path: Path, features: list[dict[str, int]]
) -> None:
    keys = {role: new_key() for role in ("predict", "decide", "read")}
    records = [{"name": role, "key_sha256": digest, "roles": [role]} for role, (_, digest) in keys.items()]
    clients = tmp_path / "clients.json"
    clients.write_text(json.dumps({"clients": records}))
    clients.chmod(0o600)
    port = free_port()
    with running(home, release=released.digests[0], grpc_port=port, clients=str(clients)):
        client = tritonclient.grpc.InferenceServerClient(f"127.0.0.1:{port}")
        inputs = tensors(tritonclient.grpc, features)
        assert client.is_model_ready(MODEL)
        for headers, status in (
            ({}, "UNAUTHENTICATED"),
            ({"authorization": "Bearer abk_unknown"}, "UNAUTHENTICATED"),
            ({"authorization": f"Bearer {keys['read'][0]}"}, "PERMISSION_DENIED"),
            ({"authorization": f"Bearer {keys['decide'][0]}"}, "PERMISSION_DENIED"),
        ):
            with pytest.raises(InferenceServerException) as refused:
                client.infer(MODEL, inputs, headers=headers)
            assert refused.value.status() == f"StatusCode.{status}"
        answer = client.infer(MODEL, inputs, headers={"authorization": f"Bearer {keys['predict'][0]}"})
        assert len(answer.as_numpy("score")) == PEOPLE
        client.close()


def test_a_grpc_port_in_use_is_said_before_anything_is_loaded(released: Released, both: Both, home: Home) -> None:
    port = int(both.grpc.rpartition(":")[2])
    process = launch(home, release=released.digests[0], port=0, grpc_port=port)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 3
    assert json.loads(errors)["code"] == "conflict"
    assert f"port {port} " in errors


def test_workers_share_the_grpc_port(released: Released, home: Home, features: list[dict[str, int]]) -> None:
    port = free_port()
    with running(home, release=released.digests[0], grpc_port=port, workers=2):
        for _ in range(8):
            client = tritonclient.grpc.InferenceServerClient(f"127.0.0.1:{port}")
            assert len(client.infer(MODEL, tensors(tritonclient.grpc, features)).as_numpy("score")) == PEOPLE
            client.close()


def test_what_is_accepted_over_grpc_is_answered_when_the_server_stops(
    released: Released, home: Home, features: list[dict[str, int]], scores: list[float]
) -> None:
    port = free_port()
    outcomes: list[Any] = []
    with running(home, release=released.digests[0], grpc_port=port) as server:
        channel = tritonclient.grpc.grpc.insecure_channel(f"127.0.0.1:{port}")
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        answered = stub.ModelInfer(request(features))

        def ask() -> None:
            while True:
                try:
                    outcomes.append(stub.ModelInfer(request(features)))
                except tritonclient.grpc.grpc.RpcError as error:
                    outcomes.append(error.code().name)
                    return

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        time.sleep(0.3)
        assert server.stop() == 0
        for thread in threads:
            thread.join(timeout=10)
        channel.close()
    answers = [outcome for outcome in outcomes if not isinstance(outcome, str)]
    assert len(answers) > 10
    assert all(answer.outputs == answered.outputs for answer in answers)
    # Refused because it came too late: grpcio says CANCELLED to what arrives in the very moment it stops reading.
    refused = outcomes.count("UNAVAILABLE") + outcomes.count("CANCELLED")
    assert refused == len(outcomes) - len(answers) == 4


def test_grpc_is_optional(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = "import sys, aboveboard.serving.server; print('grpc' in sys.modules or 'google' in sys.modules)"
    finished = subprocess.run([sys.executable, "-c", loaded], capture_output=True, text=True, check=True)
    assert finished.stdout.strip() == "False"
    monkeypatch.setitem(sys.modules, "grpc", None)
    assert ServerOptions("credit-default").grpc_port == 0
    with pytest.raises(Misuse, match="grpcio") as refused:
        ServerOptions("credit-default", grpc_port=9000)
    assert refused.value.hint == "pip install 'aboveboard[grpc]'"


@pytest.fixture(scope="module")
def kserve_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """KServe's client in an environment of its own: it asks for older packages than ours."""
    environment = tmp_path_factory.mktemp("kserve")
    subprocess.run([sys.executable, "-m", "venv", environment], check=True)
    python = environment / "bin" / "python"
    install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
    subprocess.run([*install, "-r", str(ROOT / "requirements" / "kserve.txt")], check=True, timeout=240)
    return python


@pytest.mark.slow
def test_kserves_client_asks_and_infers(
    both: Both,
    released: Released,
    features: list[dict[str, int]],
    scores: list[float],
    codes: list[str],
    kserve_python: Path,
) -> None:
    finished = subprocess.run(
        [kserve_python, Path(__file__).with_name("kserve_client.py"), both.server.url, both.grpc, MODEL],
        input=json.dumps(features),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    got = json.loads(finished.stdout)
    assert got["live"] == got["ready"] == got["model ready"] == [True, True]
    assert len(got["answers"]) == len(got["reasons"]) == 6
    for answer in got["answers"] + got["reasons"]:
        assert answer["model"] == MODEL
        assert answer["version"] in (released.digests[0], None)  # its reader leaves it out of some answers
        assert answer["id"].startswith("asked-")
        assert answer["outputs"]["score"] == scores
    for answer in got["reasons"]:
        assert answer["outputs"]["reason_codes"] == codes

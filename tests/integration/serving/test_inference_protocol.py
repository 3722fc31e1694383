"""Open Inference Protocol v2 over REST, as KServe's and Triton's clients speak it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.integration.serving.process import Released, Server

MODEL = "/v2/models/credit-default"


def tensors(released: Released, count: int, *, nested: bool = False) -> list[dict[str, Any]]:
    names = released.clients[0]["features"]
    return [
        {
            "name": name,
            "shape": [count, 1] if nested else [count],
            "datatype": "INT64",
            "data": [[c["features"][name]] if nested else c["features"][name] for c in released.clients[:count]],
        }
        for name in names
    ]


def test_health_and_metadata(released: Released, server: Server) -> None:
    with server.client() as client:
        assert client.get("/v2").json().keys() == {"name", "version", "extensions"}
        assert client.get("/v2/health/live").json() == {"live": True}
        assert client.get("/v2/health/ready").json() == {"ready": True}
        assert client.get("/v2/models").json() == {"models": ["credit-default"]}
        for path in (MODEL, f"{MODEL}/versions/{released.digests[0]}"):
            metadata = client.get(path).json()
            assert metadata["name"] == "credit-default"
            assert metadata["versions"] == [released.digests[0]]
            assert {tensor["name"] for tensor in metadata["inputs"]} == set(released.clients[0]["features"])
            assert metadata["outputs"] == [{"name": "score", "datatype": "FP64", "shape": [-1]}]
            assert client.get(f"{path}/ready").json() == {"name": "credit-default", "ready": True}
        assert client.get("/v2/models/unknown").status_code == 404
        assert client.get(f"{MODEL}/versions/7").json().keys() == {"error"}


@pytest.mark.parametrize("nested", [False, True])
def test_infers_many_rows_and_echoes_the_id(released: Released, server: Server, nested: bool) -> None:
    request = {"id": "batch-7", "inputs": tensors(released, 300, nested=nested), "outputs": [{"name": "score"}]}
    with server.client() as client:
        answer = client.post(f"{MODEL}/infer", json=request).json()
    assert (answer["model_name"], answer["model_version"], answer["id"]) == (
        "credit-default",
        released.digests[0],
        "batch-7",
    )
    (output,) = answer["outputs"]
    assert (output["name"], output["datatype"], output["shape"]) == ("score", "FP64", [300])
    encoding = released.models[0].encoding
    rows = np.stack([encoding.encode(client["features"]) for client in released.clients[:300]])
    np.testing.assert_array_equal(output["data"], released.models[0].score(rows))


def test_refuses_what_the_protocol_or_the_contract_does_not_allow(released: Released, server: Server) -> None:
    good = tensors(released, 2)
    wrong = [
        {},
        {"inputs": []},
        {"inputs": good[1:]},
        {"inputs": [*good, good[0]]},
        {"inputs": [*good, {**good[0], "name": "SEX"}]},
        {"inputs": [{**good[0], "shape": [3]}, *good[1:]]},
        {"inputs": [{**good[0], "shape": [2, 2]}, *good[1:]]},
        {"inputs": [{**good[0], "shape": [-2]}, *good[1:]]},
        {"inputs": [{**good[0], "data": ["a", "b"]}, *good[1:]]},
        {"inputs": [{**good[0], "data": [10**9, 1]}, *good[1:]]},
        {"inputs": [{**good[0], "shape": [1], "data": [1]}, *good[1:]]},
        {"inputs": good, "outputs": [{"name": "probabilities"}]},
        {"inputs": [{**tensor, "shape": [10_001], "data": [1] * 10_001} for tensor in good[:1]]},
    ]
    with server.client() as client:
        for request in wrong:
            response = client.post(f"{MODEL}/infer", json=request)
            assert response.status_code == 422, request
            assert response.json().keys() == {"error"}
        without = client.post(f"{MODEL}/infer", json={"inputs": good[1:]})
        assert f"#/features/{good[0]['name']} is missing" in without.json()["error"]
        for path in (
            "/v2/models/unknown/infer",
            f"{MODEL}/versions/sha256:{'0' * 64}/infer",
            f"{MODEL}/versions/7/infer",
        ):
            response = client.post(path, json={"inputs": good})
            assert response.status_code == 404
            assert response.json().keys() == {"error"}
        assert client.post(f"{MODEL}/versions/{released.digests[0]}/infer", json={"inputs": good}).status_code == 200
        for content in (b"", b"{", b"\xff"):
            response = client.post(f"{MODEL}/infer", content=content, headers={"content-type": "application/json"})
            assert response.status_code == 400

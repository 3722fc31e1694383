"""Asks a decision server with KServe's own client, as its documentation has it: `kserve_client.py URL GRPC MODEL`.

It runs in an environment of its own, reads the features of some clients from standard input, and prints what it got.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import numpy as np
from kserve import InferenceGRPCClient, InferenceRESTClient, InferInput, InferRequest, RESTConfig
from kserve.protocol.infer_type import RequestedOutput


def request(model: str, features: list[dict[str, int]], *, form: str, reasons: bool = False) -> InferRequest:
    inputs = []
    for name in features[0]:
        values = [row[name] for row in features]
        if form == "list":
            inputs.append(InferInput(name=name, shape=[len(values)], datatype="INT64", data=values))
        else:
            column = InferInput(name=name, shape=[len(values)], datatype="INT64")
            column.set_data_from_numpy(np.array(values, np.int64), binary_data=form == "binary")
            inputs.append(column)
    return InferRequest(
        model_name=model,
        infer_inputs=inputs,
        request_id=f"asked-{form}",
        parameters={"reasons": True, "locale": "de"} if reasons else {},
        request_outputs=[RequestedOutput(name="score"), RequestedOutput(name="reason_codes")] if reasons else [],
    )


def read(answer: Any) -> dict[str, Any]:
    return {
        "id": answer.id,
        "model": answer.model_name,
        "version": answer.model_version,
        "outputs": {output.name: np.ravel(output.as_numpy()).tolist() for output in answer.outputs},
    }


def text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


async def main(url: str, grpc: str, model: str) -> None:
    features = json.load(sys.stdin)
    rest = InferenceRESTClient(RESTConfig(protocol="v2"))
    remote = InferenceGRPCClient(grpc)
    got: dict[str, Any] = {
        "live": [await rest.is_server_live(url), await remote.is_server_live()],
        "ready": [await rest.is_server_ready(url), await remote.is_server_ready()],
        "model ready": [await rest.is_model_ready(url, model), await remote.is_model_ready(model)],
        "answers": [],
        "reasons": [],
    }
    for form in ("list", "numpy", "binary"):
        for reasons in (False, True):
            asked = request(model, features, form=form, reasons=reasons)
            over_http = read(await rest.infer(url, asked, model_name=model))
            asked = request(model, features, form=form, reasons=reasons)
            over_grpc = read(await remote.infer(asked))
            got["reasons" if reasons else "answers"] += [over_http, over_grpc]
    await rest.close()
    await remote.close()
    json.dump(got, sys.stdout, default=text)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))

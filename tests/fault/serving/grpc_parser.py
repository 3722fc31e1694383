"""The fuzzer's part for gRPC, in a process of its own: the protocol cannot be defined twice in one, by us and Triton.

`python -m tests.fault.serving.grpc_parser` feeds a seed, whole and damaged.
"""

from __future__ import annotations

import contextlib
import random

from google.protobuf.message import DecodeError

from aboveboard.errors import AboveboardError
from aboveboard.serving import oip_grpc
from aboveboard.serving.deployment import Deployment
from aboveboard.serving.grpc import open_inference_pb2 as pb
from tests.fault.serving.small import small_deployment

DAMAGED = 300


def grpc_seed(deployment: Deployment) -> bytes:
    """Return a request that is understood."""
    message = pb.ModelInferRequest(model_name="m", id="7")
    for feature in deployment.model.encoding.features:
        message.inputs.add(name=feature.name, datatype="INT64", shape=[1]).contents.int64_contents.append(1)
    return message.SerializeToString()


def feed_grpc(deployment: Deployment, data: bytes) -> None:
    """Understand or refuse `data`; anything else is raised."""
    with contextlib.suppress(AboveboardError, DecodeError):
        oip_grpc.infer(deployment, pb.ModelInferRequest.FromString(data))


def main() -> None:
    """Feed the seed and what becomes of it when bytes of it are changed."""
    deployment, chance = small_deployment(), random.Random(20_261_122)  # noqa: S311  a seed, not a secret
    seed = grpc_seed(deployment)
    oip_grpc.infer(deployment, pb.ModelInferRequest.FromString(seed))
    for _ in range(DAMAGED):
        data = bytearray(seed)
        for _ in range(chance.randint(1, 4)):
            data[chance.randrange(len(data))] = chance.randrange(256)
        feed_grpc(deployment, bytes(data))


if __name__ == "__main__":
    main()

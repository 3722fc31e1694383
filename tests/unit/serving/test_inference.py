from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from aboveboard.errors import RequestRefused
from aboveboard.models import Model
from aboveboard.serving.decide import decide
from aboveboard.serving.deployment import Deployment, deploy
from aboveboard.serving.inference import ResponseTensor, Tensor, from_binary, predict, to_binary
from aboveboard.serving.oip import infer

INTEGERS = {
    f"{kind}{bits}": st.integers(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    if kind == "INT"
    else st.integers(0, 2**bits - 1)
    for kind in ("INT", "UINT")
    for bits in (8, 16, 32, 64)
}
VALUES: dict[str, st.SearchStrategy[Any]] = {
    **INTEGERS,
    "BOOL": st.booleans(),
    "FP16": st.floats(width=16, allow_nan=False),
    "FP32": st.floats(width=32, allow_nan=False),
    "FP64": st.floats(allow_nan=False),
    "BYTES": st.text(max_size=20),
}


@pytest.fixture(scope="module")
def deployment(release_files: dict[str, bytes]) -> Deployment:
    return deploy(f"sha256:{'1' * 64}", release_files)


@pytest.fixture(scope="module")
def inputs(model: Model, rows: NDArray[np.float64]) -> list[Tensor]:
    records = [model.encoding.decode(row) for row in rows[:40]]
    return [Tensor(name, [40], "INT64", [record[name] for record in records]) for name in records[0]]


@given(data=st.data(), datatype=st.sampled_from(sorted(VALUES)))
def test_the_binary_form_gives_back_what_went_in(data: st.DataObject, datatype: str) -> None:
    values = data.draw(st.lists(VALUES[datatype], max_size=8))
    assert from_binary(datatype, to_binary(datatype, values)) == values


@given(content=st.binary(max_size=40), datatype=st.sampled_from([*sorted(VALUES), "BF16", ""]))
def test_any_bytes_are_understood_or_refused(content: bytes, datatype: str) -> None:
    try:
        values = from_binary(datatype, content)
    except RequestRefused:
        return
    if not datatype.startswith("FP"):  # NaN has many spellings
        assert to_binary(datatype, values) == content


def test_the_binary_form_is_the_one_of_the_specification() -> None:
    assert to_binary("BYTES", ["a", "", "ü"]) == b"\x01\0\0\0a\0\0\0\0\x02\0\0\0\xc3\xbc"
    assert to_binary("INT64", [-2]) == b"\xfe" + b"\xff" * 7
    assert to_binary("FP64", [1.0]) == b"\0\0\0\0\0\0\xf0\x3f"
    assert to_binary("BOOL", [True, False]) == b"\x01\0"


def test_reasons_are_those_of_a_decision(
    deployment: Deployment, model: Model, rows: NDArray[np.float64], inputs: list[Tensor]
) -> None:
    scores, codes, texts = predict(deployment, inputs, (), {"reasons": True, "locale": "de"})
    assert codes.shape == texts.shape == [40, model.decision.max_reasons]
    assert scores.data is not None
    found = np.array(codes.data).reshape(codes.shape)
    worded = np.array(texts.data).reshape(texts.shape)
    explained = 0
    for index, row in enumerate(rows[:40]):
        decision = decide(model, row, locale="de")
        assert scores.data[index] == decision.score
        assert [code for code in found[index] if code] == [reason.code for reason in decision.reasons]
        assert [text for text in worded[index] if text] == [reason.text for reason in decision.reasons]
        explained += bool(decision.reasons)
    assert 0 < explained < 40


def test_outputs_come_in_the_order_asked_for(deployment: Deployment, inputs: list[Tensor]) -> None:
    def names(outputs: list[ResponseTensor]) -> list[str]:
        return [output.name for output in outputs]

    assert names(predict(deployment, inputs, (), None)) == ["score"]
    assert names(predict(deployment, inputs, ["reason_codes", "score"], {"reasons": True})) == [
        "reason_codes",
        "score",
    ]
    with pytest.raises(RequestRefused, match="an output was asked for"):
        predict(deployment, inputs, ["reason_codes"], None)


@pytest.mark.parametrize("parameters", [{"reasons": "yes"}, {"locale": "so-called language"}, {"locale": 7}])
def test_refuses_parameters_it_does_not_understand(
    deployment: Deployment, inputs: list[Tensor], parameters: dict[str, Any]
) -> None:
    with pytest.raises(RequestRefused):
        predict(deployment, inputs, (), parameters)


def test_refuses_reasons_for_more_rows_than_can_be_explained_at_once(
    deployment: Deployment, inputs: list[Tensor]
) -> None:
    many = [Tensor(t.name, [1040], t.datatype, (t.data or []) * 26) for t in inputs]
    assert predict(deployment, many, (), None)[0].shape == [1040]
    with pytest.raises(RequestRefused, match="too many rows"):
        predict(deployment, many, (), {"reasons": True})


def binary(inputs: list[Tensor], **more: Any) -> tuple[bytes, bytes]:
    """Return a request with its inputs in binary form, and how long its JSON part is."""
    contents = [to_binary(tensor.datatype, tensor.data or []) for tensor in inputs]
    document = json.dumps(
        {
            "inputs": [
                {
                    "name": tensor.name,
                    "shape": tensor.shape,
                    "datatype": tensor.datatype,
                    "parameters": {"binary_data_size": len(content)},
                }
                for tensor, content in zip(inputs, contents, strict=True)
            ],
            **more,
        }
    ).encode()
    return b"".join([document, *contents]), str(len(document)).encode()


def test_binary_inputs_and_outputs(deployment: Deployment, inputs: list[Tensor]) -> None:
    expected = predict(deployment, inputs, (), None)[0].data
    body, declared = binary(inputs)
    answer = infer(deployment, body, declared)
    assert answer.json_length is None
    assert json.loads(answer.body)["outputs"][0]["data"] == expected
    for more in (
        {"parameters": {"binary_data_output": True}},
        {"outputs": [{"name": "score", "parameters": {"binary_data": True}}]},
    ):
        body, declared = binary(inputs, **more)
        answer = infer(deployment, body, declared)
        assert answer.json_length is not None
        (output,) = json.loads(answer.body[: answer.json_length])["outputs"]
        assert output == {"name": "score", "shape": [40], "datatype": "FP64", "parameters": {"binary_data_size": 320}}
        assert from_binary("FP64", answer.body[answer.json_length :]) == expected


def test_only_the_outputs_asked_for_are_binary(deployment: Deployment, inputs: list[Tensor]) -> None:
    wanted = [
        {"name": "reason_codes", "parameters": {"binary_data": True}},
        {"name": "score", "parameters": {"binary_data": False}},
    ]
    body, declared = binary(inputs, parameters={"reasons": True, "binary_data_output": True}, outputs=wanted)
    answer = infer(deployment, body, declared)
    codes, score = json.loads(answer.body[: answer.json_length])["outputs"]
    assert "data" not in codes
    assert len(score["data"]) == 40
    read = from_binary("BYTES", answer.body[answer.json_length :])
    assert read == predict(deployment, inputs, ["reason_codes"], {"reasons": True})[0].data


def test_refuses_binary_data_that_do_not_fit(deployment: Deployment, inputs: list[Tensor]) -> None:
    body, declared = binary(inputs)
    for wrong, length in (
        (body[:-1], declared),
        (body + b"\0", declared),
        (body, b"0"),
        (body, b"-1"),
        (body, b"many"),
        (body, str(len(body) + 1).encode()),
        (body, None),
        (body.replace(b'"binary_data_size": 320', b'"binary_data_size": 312', 1), declared),
        (body.replace(b'"binary_data_size": 320', b'"binary_data_size": 32e', 1), declared),
        (body.replace(b'"INT64"', b'"INT46"', 1), declared),
        binary(inputs, parameters={"binary_data_output": 1}),
    ):
        with pytest.raises(RequestRefused):
            infer(deployment, wrong, length)
    text = json.dumps({"inputs": [{"name": "a", "shape": [1], "datatype": "INT64"}]}).encode()
    with pytest.raises(RequestRefused, match="has no data"):
        infer(deployment, text)

"""From tensors to scores and reasons: what the Open Inference Protocol asks of a model, in either of its forms.

`oip` reads and writes the REST form, `oip_grpc` the gRPC form. A prediction is not a decision: nobody is named,
nothing is decided and no outcome is answered, so nothing is journalled. What decides about a person goes through
`/v1/decisions`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from aboveboard.errors import NotFound, RequestRefused
from aboveboard.models import Model
from aboveboard.serving.decide import decide, score_of
from aboveboard.serving.deployment import Deployment
from aboveboard.serving.refusals import InvalidUtf8
from aboveboard.serving.requests import LOCALE
from aboveboard.serving.service import DEFAULT_LOCALE
from aboveboard.serving.tracks import Tracks
from aboveboard.spec.types import FeatureType

DATATYPES: Final = {
    FeatureType.NUMBER: "FP64",
    FeatureType.INTEGER: "INT64",
    FeatureType.BOOLEAN: "BOOL",
    FeatureType.CATEGORY: "BYTES",
}
LARGEST_BATCH: Final = 10_000
"""Rows in one inference request."""
LARGEST_EXPLAINED: Final = 1_000
"""Rows in one inference request that asks for reasons, too."""
SCORE: Final = "score"
REASON_CODES: Final = "reason_codes"
REASON_TEXTS: Final = "reason_texts"

_BINARY: Final = {
    "BOOL": "u1",
    "INT8": "i1",
    "INT16": "<i2",
    "INT32": "<i4",
    "INT64": "<i8",
    "UINT8": "u1",
    "UINT16": "<u2",
    "UINT32": "<u4",
    "UINT64": "<u8",
    "FP16": "<f2",
    "FP32": "<f4",
    "FP64": "<f8",
}
"""How numpy calls the protocol's types in binary form: flattened, little-endian, without padding."""
_FRACTIONS: Final = {"BYTES": False} | {name: name.startswith("FP") for name in _BINARY}
"""Of each of the protocol's types, whether its values have fractions."""
_ONE: Final = [1]
_LENGTH_BYTES: Final = 4
"""Before each BYTES element stands its length, an unsigned 32-bit integer."""


class Tensor(msgspec.Struct, frozen=True):
    """An input tensor, its data flat or nested; no data where they follow in binary form."""

    name: str
    shape: list[int]
    datatype: str
    data: list[Any] | None = None
    parameters: dict[str, Any] | None = None


class ResponseTensor(msgspec.Struct, frozen=True, omit_defaults=True):
    """An output tensor, its data flat in row-major order; no data where they follow in binary form."""

    name: str
    shape: list[int]
    datatype: str
    data: list[Any] | None = None
    parameters: dict[str, Any] | None = None


class TensorMetadata(msgspec.Struct, frozen=True):
    """Name, type and shape of an input or output; -1 is any number of rows."""

    name: str
    datatype: str
    shape: list[int]


def inputs_of(deployment: Deployment) -> list[TensorMetadata]:
    """Return what the model reads: one column of values for each feature."""
    return [TensorMetadata(f.name, DATATYPES[f.type], [-1]) for f in deployment.model.encoding.features]


def outputs_of(deployment: Deployment) -> list[TensorMetadata]:
    """Return what a request gets that asks for nothing in particular."""
    return [TensorMetadata(SCORE, "FP64", [-1])]


def served(tracks: Tracks, name: str, version: str | None) -> Deployment:
    """Return the release of a model, the champion where no version is named. Raises `NotFound`."""
    for deployment in tracks.deployments():
        if deployment.name == name and version in (None, deployment.digest):
            return deployment
    raise NotFound("no such model or version here", hint="GET /v2/models lists what is served")


def predict(
    deployment: Deployment, inputs: Sequence[Tensor], wanted: Collection[str], parameters: Mapping[str, Any] | None
) -> list[ResponseTensor]:
    """Return the outputs for some rows, in the order of `wanted` or, where that is empty, all there are.

    `score` has the shape [rows]. With the parameter `reasons` there are `reason_codes` and `reason_texts` of the
    shape [rows, most reasons], weightiest first, filled up with empty texts; they are empty where the score is
    favourable. The parameter `locale` is the language of the texts. Raises `RequestRefused`.
    """
    explained, locale = _options(parameters) if parameters else (False, DEFAULT_LOCALE)
    available = (SCORE, REASON_CODES, REASON_TEXTS) if explained else (SCORE,)
    for name in wanted:
        if name not in available:
            raise RequestRefused(
                "an output was asked for that the model does not have",
                hint="score, and with the parameter reasons: true also reason_codes and reason_texts",
            )
    model, record = deployment.model, _record(inputs)
    if record is not None:
        row = model.encoding.encode(record)
        if not explained:
            return [ResponseTensor(SCORE, [1], "FP64", [score_of(model, row)])]
        outputs = _explained(model, row[None, :], locale)
        return [outputs[name] for name in wanted or available]
    columns = {tensor.name: _column(tensor) for tensor in inputs}
    if len(columns) != len(inputs):
        raise RequestRefused("an input is given twice", hint="send each input once")
    if len({len(column) for column in columns.values()}) > 1:
        raise RequestRefused("the inputs differ in their number of rows", hint="send as many values of each")
    rows = model.encoding.encode_columns(columns)
    if not explained:
        scores: list[float] = model.score(rows).tolist() if len(rows) else []
        return [ResponseTensor(SCORE, [len(scores)], "FP64", scores)]
    outputs = _explained(model, rows, locale)
    return [outputs[name] for name in wanted or available]


def from_binary(datatype: str, content: bytes) -> list[Any]:
    """Return the values of a tensor in binary form. Raises `RequestRefused`."""
    if datatype == "BYTES":
        return _texts(content)
    kind = _BINARY.get(datatype)
    if kind is None:
        raise _unknown_datatype()
    if len(content) % np.dtype(kind).itemsize:
        raise _wrong_size()
    values: list[Any] = np.frombuffer(content, kind).tolist()
    if datatype == "BOOL":
        if not {0, 1}.issuperset(values):
            raise RequestRefused("a BOOL is neither 0 nor 1", hint="send one byte for each, 0 or 1")
        return [bool(value) for value in values]
    return values


def to_binary(datatype: str, values: Sequence[Any]) -> bytes:
    """Return the values of an output in binary form; the inverse of `from_binary`."""
    if datatype == "BYTES":
        encoded = [text.encode() for text in values]
        return b"".join(len(text).to_bytes(_LENGTH_BYTES, "little") + text for text in encoded)
    return np.array(values, _BINARY[datatype]).tobytes()


def text_of(content: bytes) -> str:
    """Return a BYTES element as text. Raises `InvalidUtf8`."""
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise InvalidUtf8("a BYTES element is not UTF-8", hint="encode texts as UTF-8") from None


def _texts(content: bytes) -> list[Any]:
    texts: list[str] = []
    position = 0
    while position < len(content):
        start = position + _LENGTH_BYTES
        position = start + int.from_bytes(content[position:start], "little")
        if position > len(content) or start > len(content):
            raise _wrong_size()
        texts.append(text_of(content[start:position]))
    return texts


def _options(parameters: Mapping[str, Any]) -> tuple[bool, str]:
    explained = parameters.get("reasons", False)
    if not isinstance(explained, bool):
        raise RequestRefused("the parameter reasons is not true or false", hint="send reasons: true to get reasons")
    locale = parameters.get("locale", DEFAULT_LOCALE)
    if not isinstance(locale, str) or LOCALE.fullmatch(locale) is None:
        raise RequestRefused("locale is not a BCP 47 language tag", hint="for example en, de-AT or zh")
    return explained, locale


def _record(inputs: Sequence[Tensor]) -> dict[str, object] | None:
    """Return the values of one row by name, as an online client sends it; None for anything else or amiss."""
    record: dict[str, object] = {}
    for tensor in inputs:
        data = tensor.data
        fraction = _FRACTIONS.get(tensor.datatype)
        if data is None or fraction is None or len(data) != 1 or tensor.shape != _ONE:
            return None
        value = data[0]
        record[tensor.name] = _number(value) if fraction else value
    return record if len(record) == len(inputs) else None


def _explained(model: Model, rows: NDArray[np.float64], locale: str) -> dict[str, ResponseTensor]:
    if len(rows) > LARGEST_EXPLAINED:
        raise RequestRefused(
            "too many rows in a request that asks for reasons", hint=f"send at most {LARGEST_EXPLAINED:,}"
        )
    most = model.decision.max_reasons
    scores: list[float] = []
    codes: list[str] = []
    texts: list[str] = []
    for row in rows:
        decision = decide(model, row, locale=locale)
        scores.append(decision.score)
        filling = [""] * (most - len(decision.reasons))
        codes += [*(reason.code for reason in decision.reasons), *filling]
        texts += [*(reason.text for reason in decision.reasons), *filling]
    return {
        SCORE: ResponseTensor(SCORE, [len(rows)], "FP64", scores),
        REASON_CODES: ResponseTensor(REASON_CODES, [len(rows), most], "BYTES", codes),
        REASON_TEXTS: ResponseTensor(REASON_TEXTS, [len(rows), most], "BYTES", texts),
    }


def _column(tensor: Tensor) -> Sequence[object]:
    rows = tensor.shape[0] if tensor.shape else -1
    if not (len(tensor.shape) == 1 or (len(tensor.shape) == 2 and tensor.shape[1] == 1)) or rows < 0:
        raise RequestRefused("an input is not one column of values", hint="give each input the shape [rows]")
    if rows > LARGEST_BATCH:
        raise RequestRefused("too many rows in one request", hint=f"send at most {LARGEST_BATCH:,}")
    if tensor.datatype != "BYTES" and tensor.datatype not in _BINARY:
        raise _unknown_datatype()
    data = tensor.data
    if data is None:
        raise RequestRefused("an input has no data", hint="send its values in data, or in binary form")
    if len(tensor.shape) == 2 and all(isinstance(cell, list) and len(cell) == 1 for cell in data):
        data = [cell[0] for cell in data]
    if len(data) != rows:
        raise RequestRefused("an input holds more or fewer values than its shape says", hint="mend the shape")
    if tensor.datatype.startswith("FP"):
        return [_number(cell) for cell in data]
    return data


def _number(cell: Any) -> Any:
    """Read the protocol's floats as such, so that 1 and 1.0 mean the same number."""
    return float(cell) if type(cell) is int and abs(cell) < 2**53 else cell


def _unknown_datatype() -> RequestRefused:
    return RequestRefused(
        "an input's datatype is not one of the protocol's", hint="GET the model's metadata for the types it reads"
    )


def _wrong_size() -> RequestRefused:
    return RequestRefused(
        "binary data are longer or shorter than their type allows", hint="send each tensor flat and little-endian"
    )

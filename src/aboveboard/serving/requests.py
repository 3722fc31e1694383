"""What a client may ask, and reading it: a request is understood wholly and in one way, or it is refused."""

from __future__ import annotations

import json
import re
from typing import Annotated, Any, TypeVar

import msgspec

from aboveboard.errors import RequestRefused
from aboveboard.serving.cards import SHORTEST, holds_card_number
from aboveboard.serving.cohort import Cohort, Scalar
from aboveboard.serving.refusals import CardNumber, DuplicateKey, InvalidUtf8, NotJson, TooDeep

LARGEST_BODY = 1 << 20
"""Bytes. A decision needs about one thousand."""

LOCALE = re.compile(r"[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8}){0,4}")
_END = r"$(?!\n)"
"""The end of a text in Python, whose `$` also stands before a last line feed, and in ECMA-262, as OpenAPI has it."""
Locale = Annotated[str, msgspec.Meta(pattern=f"^{LOCALE.pattern}{_END}", max_length=35)]
"""A BCP 47 language tag."""
Label = Annotated[str, msgspec.Meta(pattern=rf"^[a-z0-9]([a-z0-9-]{{0,61}}[a-z0-9])?{_END}")]
Key = Annotated[str, msgspec.Meta(pattern=rf"^[\x21-\x7e]+{_END}", max_length=128)]


class DecisionRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One person or payment to decide about."""

    subject: Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
    """Who it is, in the client's own words. Replaced by a keyed token before anything is stored."""
    features: dict[str, Scalar]
    """What the model reads, by the names in the model spec."""
    jurisdiction: Label | None = None
    """Whose law applies, one of those the model was released for."""
    locale: Locale | None = None
    """The language of the reasons."""
    cohort: Cohort | None = None
    """Protected attributes, for monitoring fairness only."""
    idempotency_key: Key | None = None
    """The same key with the same request gives the same decision, once."""
    recourse: bool = False
    """Whether to answer, where the outcome is not favourable, what would have led to it instead."""


class Batch(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`POST /v1/decisions/batch`: up to a thousand decision requests."""

    requests: Annotated[list[msgspec.Raw], msgspec.Meta(min_length=1, max_length=1000)]


_SCALARS = frozenset({bool, int, float, str, type(None)})


def _decode_cohort(kind: type, value: Any) -> Any:
    if kind is not Cohort:
        raise NotImplementedError(kind)
    if value.__class__ is not dict or not _SCALARS.issuperset(map(type, value.values())):
        raise ValueError("Expected an object of attributes and their values")
    return Cohort(value)


_decoder = msgspec.json.Decoder(DecisionRequest, dec_hook=_decode_cohort)
_NAMED = re.compile(r"`([^`]*)`|[0-9]{6,}")
_HARMLESS = re.compile(r"(?!.*[0-9]{6})[A-Za-z0-9_.$\[\]|, -]{0,64}")


def parse_decision(body: bytes) -> DecisionRequest:
    """Return the request in `body`, a JSON object in UTF-8.

    Raises a `RequestRefused`: `InvalidUtf8`, `NotJson`, `TooDeep`, `DuplicateKey`, `CardNumber`, or itself where
    the document is JSON but not a decision request. No message repeats a value that was sent.
    """
    try:
        request = _decoder.decode(body)
    except msgspec.DecodeError as error:
        raise unreadable(error) from None
    except (UnicodeDecodeError, RecursionError) as error:
        raise unreadable(error) from None
    refuse_duplicate_keys(body, _members(request))
    _refuse_card_numbers(request)
    return request


T = TypeVar("T")


def decode(body: bytes, shape: type[T]) -> T:
    """Return a JSON body as `shape`. Raises `RequestRefused` and its kinds; no object may name a member twice."""
    try:
        document = msgspec.json.decode(body, type=shape)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise unreadable(error) from None
    refuse_duplicate_keys(body, -1)
    return document


def unreadable(error: Exception) -> RequestRefused:
    """Return what to tell a client about a body that msgspec could not read, without repeating any value."""
    if isinstance(error, UnicodeDecodeError):
        return InvalidUtf8("the body is not UTF-8", hint="encode the JSON document as UTF-8")
    if isinstance(error, RecursionError):
        return TooDeep("the document is nested too deeply", hint="features is a flat object of names and values")
    text = str(error).replace(" - at ", " at ")
    if isinstance(error, msgspec.ValidationError):
        field = re.search(r"unknown field `([A-Za-z_][A-Za-z0-9_-]{0,63})`", text)
        if "unknown field" in text:
            named = f" {field[1]}" if field and not holds_card_number(field[1]) else ""
            return RequestRefused(f"unknown field{named}", hint="see /openapi.json for the fields of a request")
        return RequestRefused(_without_values(text), hint="see /openapi.json for the fields of a request")
    return NotJson(
        f"the body is not a JSON document: {_without_values(text)}",
        hint="send one JSON object; NaN and Infinity are not JSON, send null where a value is missing",
    )


def _without_values(text: str) -> str:
    """Return what msgspec says, with the types and places it names, and nothing else that could be the client's."""
    return _NAMED.sub(lambda named: named[0] if _HARMLESS.fullmatch(named[1] or "`") else "`…`", text)


def _members(request: DecisionRequest) -> int:
    """Return how many members the objects of the request had, if none was given twice."""
    return (
        2
        + len(request.features)
        + (request.jurisdiction is not None)
        + (request.locale is not None)
        + (request.cohort is not None and 1 + len(request.cohort))
        + (request.idempotency_key is not None)
        + request.recourse
    )


def refuse_duplicate_keys(body: bytes, members: int) -> None:
    """Raise `DuplicateKey` when an object in `body` names a member twice; `members` is what remained after decoding.

    Every member is written with a colon. As many colons as members therefore prove that none was lost; only
    where there are more (a colon inside a string, say) is the document read again, name by name.
    """
    if body.count(b":") == members:
        return
    try:
        json.loads(body, object_pairs_hook=_distinct)
    except RecursionError:
        raise TooDeep("the document is nested too deeply", hint="send flat objects") from None
    except ValueError as error:  # what msgspec read, json reads too; were it ever not so, refuse
        raise NotJson("the body is not a JSON document", hint="send one JSON object") from error


def _distinct(pairs: list[tuple[str, Any]]) -> None:
    if len({name for name, _ in pairs}) != len(pairs):
        raise DuplicateKey("an object names the same member twice", hint="send each name once")


def _refuse_card_numbers(request: DecisionRequest) -> None:
    texts = [request.subject, *[value for value in request.features.values() if value.__class__ is str]]
    if request.cohort is not None:
        texts += request.cohort.texts()
    if request.idempotency_key is not None:
        texts.append(request.idempotency_key)
    for text in texts:
        if len(text) >= SHORTEST and holds_card_number(text):
            raise CardNumber(
                "a field holds a payment card number",
                hint="send a token of the card instead; card numbers do not enter the decision server",
            )

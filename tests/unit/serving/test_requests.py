from __future__ import annotations

import json

import pytest

from aboveboard.errors import RequestRefused
from aboveboard.serving import refusals
from aboveboard.serving.requests import parse_decision


def body(**fields: object) -> bytes:
    return json.dumps({"subject": "c-1", "features": {"income": 1}, **fields}).encode()


def test_reads_every_field() -> None:
    request = parse_decision(
        body(
            features={"income": 52_000.5, "region": "north", "employed": True, "debt": None},
            jurisdiction="us",
            locale="de-AT",
            cohort={"sex": "female"},
            idempotency_key="a-1",
        )
    )
    assert request.subject == "c-1"
    assert request.features == {"income": 52_000.5, "region": "north", "employed": True, "debt": None}
    assert (request.jurisdiction, request.locale, request.idempotency_key) == ("us", "de-AT", "a-1")
    assert request.cohort is not None
    assert list(request.cohort.names()) == ["sex"]


@pytest.mark.parametrize(
    ("sent", "kind"),
    [
        (b"", refusals.NotJson),
        (b"{", refusals.NotJson),
        (b"nonsense", refusals.NotJson),
        (b'{"subject":"a","features":{}} x', refusals.NotJson),
        (b'{"subject":"a","features":{"x":NaN}}', refusals.NotJson),
        (b'{"subject":"a","features":{"x":-Infinity}}', refusals.NotJson),
        (b'{"subject":"a","features":{"x":01}}', refusals.NotJson),
        (b'{"subject":"a\\ud800","features":{}}', refusals.NotJson),
        (b'\xef\xbb\xbf{"subject":"a","features":{}}', refusals.NotJson),
        (b'{"subject":"a\xff","features":{}}', refusals.InvalidUtf8),
        (b'{"subject":"a","features":{"\xc0\xaf":1}}', refusals.InvalidUtf8),
        (b'{"subject":"a","features":{},"cohort":' + b"[" * 100_000, refusals.TooDeep),
        (b'{"subject":"a","subject":"b","features":{}}', refusals.DuplicateKey),
        (b'{"subject":"a","features":{"x":1,"x":2}}', refusals.DuplicateKey),
        (b'{"subject":"a","features":{"x":1,"\\u0078":2}}', refusals.DuplicateKey),
        (b'{"subject":"a:b","features":{"x":1,"x":2}}', refusals.DuplicateKey),
        (b'{"subject":"a\\u003a","features":{"x":1,"x":2}}', refusals.DuplicateKey),
        (b'{"subject":"a","features":{},"cohort":{"sex":"f","sex":"m"}}', refusals.DuplicateKey),
        (b'{"subject":"a","features":{},"locale":"en","locale":null}', refusals.DuplicateKey),
        (b"null", RequestRefused),
        (b"[]", RequestRefused),
        (b'"text"', RequestRefused),
        (b'{"features":{}}', RequestRefused),
        (b'{"subject":"a"}', RequestRefused),
        (b'{"subject":"","features":{}}', RequestRefused),
        (b'{"subject":7,"features":{}}', RequestRefused),
        (b'{"subject":"a","features":[]}', RequestRefused),
        (b'{"subject":"a","features":{"x":[1]}}', RequestRefused),
        (b'{"subject":"a","features":{"x":{"y":1}}}', RequestRefused),
        (b'{"subject":"a","features":{"x":1e999}}', RequestRefused),
        (b'{"subject":"a","features":{},"cohort":[]}', RequestRefused),
        (b'{"subject":"a","features":{},"cohort":{"sex":[1]}}', RequestRefused),
        (b'{"subject":"a","features":{},"locale":"not a locale"}', RequestRefused),
        (b'{"subject":"a","features":{},"jurisdiction":"US!"}', RequestRefused),
        (b'{"subject":"a","features":{},"idempotency_key":"\\u0000"}', RequestRefused),
        (b'{"subject":"a","features":{},"admin":true}', RequestRefused),
        (b'{"subject":"' + b"a" * 257 + b'","features":{}}', RequestRefused),
    ],
)
def test_refuses_what_it_cannot_read_in_one_way(sent: bytes, kind: type[RequestRefused]) -> None:
    with pytest.raises(RequestRefused) as caught:
        parse_decision(sent)
    assert type(caught.value) is kind
    assert caught.value.message


@pytest.mark.parametrize(
    "sent",
    [
        body(subject="4111 1111 1111 1111"),
        body(subject="4111111111111111"),
        body(features={"note": "paid with 5555-5555-5555-4444 today"}),
        body(cohort={"sex": "378282246310005"}),
        body(idempotency_key="6011111111111117"),
    ],
)
def test_refuses_a_card_number_and_does_not_repeat_it(sent: bytes) -> None:
    with pytest.raises(refusals.CardNumber) as caught:
        parse_decision(sent)
    assert not any(character.isdigit() for character in str(caught.value.as_dict()))


@pytest.mark.parametrize(
    "sent",
    [
        b'{"subject":"a","features":{},"4111111111111111":1}',
        b'{"subject":"a","features":{},"Jane Doe, born 1970":1}',
        b'{"subject":"a","features":{"Jane Doe":[1]}}',
        b'{"subject":"a","features":{},"jurisdiction":"Jane Doe"}',
    ],
)
def test_a_refusal_repeats_nothing_personal(sent: bytes) -> None:
    with pytest.raises(RequestRefused) as caught:
        parse_decision(sent)
    said = str(caught.value.as_dict())
    assert "Jane" not in said
    assert "4111" not in said


def test_a_colon_in_a_value_is_not_a_duplicate_key() -> None:
    request = parse_decision(b'{"subject":"urn:client:7","features":{"x":"a:b"},"locale":null}')
    assert request.subject == "urn:client:7"


def test_names_an_unknown_field() -> None:
    with pytest.raises(RequestRefused, match="unknown field featurs"):
        parse_decision(b'{"subject":"a","features":{},"featurs":{}}')


@pytest.mark.parametrize("fields", [{"locale": "de\n"}, {"idempotency_key": "k\n"}, {"jurisdiction": "eu\n"}])
def test_a_line_does_not_end_within_a_field(fields: dict[str, str]) -> None:
    with pytest.raises(RequestRefused):
        parse_decision(body(**fields))


@pytest.mark.parametrize(
    ("sent", "message"),
    [
        (b'{"subject":1,"features":{}}', "Expected `str`, got `int` at `$.subject`"),
        (b'{"subject":"","features":{}}', "Expected `str` of length >= 1 at `$.subject`"),
        (
            b'{"subject":"a","features":{"x":[1]}}',
            "Expected `bool | int | float | str | null`, got `array` at `$.features[...]`",
        ),
        (b"[]", "Expected `object`, got `array`"),
    ],
)
def test_says_what_was_expected_and_where(sent: bytes, message: str) -> None:
    with pytest.raises(RequestRefused) as refused:
        parse_decision(sent)
    assert refused.value.message == message

"""Identifiers of people do not get into a data set, and no message repeats one."""

from __future__ import annotations

import random
from pathlib import Path

import polars as pl
import pytest

from aboveboard.data.protection import count_card_numbers, iban_valid, luhn_valid, resembles, tokenise
from aboveboard.ids import subject_token
from tests.unit.data.data_cases import KEY, load, loans, make_spec, put, refusal

# Test numbers published by the card schemes.
CARDS = ["4111111111111111", "5555555555554444", "2223003122003222", "378282246310005", "6011111111111117",
         "3530111333300000", "30569309025904", "6200000000000005", "4222222222222"]  # fmt: skip


@pytest.mark.parametrize("card", CARDS)
def test_published_test_cards_are_found_in_text_and_as_numbers(card: str) -> None:
    grouped = " ".join([card[:4], card[4:10], card[10:]] if len(card) == 15 else
                       [card[i : i + 4] for i in range(0, len(card), 4)])  # fmt: skip
    in_words = [card, f"paid with {card}, thanks", None, card[:-1] + str((int(card[-1]) + 1) % 10)]
    assert count_card_numbers(pl.Series(in_words)) == 2
    if len(card) in (15, 16):
        assert count_card_numbers(pl.Series([f"12 {grouped}", grouped.replace(" ", "-")])) == 2
    assert count_card_numbers(pl.Series([int(card), 17, None])) == 1
    assert count_card_numbers(pl.Series([float(card), None])) == 1


def test_the_luhn_check_of_the_standard() -> None:
    assert luhn_valid("49927398716")
    assert not luhn_valid("49927398717")


def test_references_that_pass_the_check_by_chance_are_no_cards() -> None:
    draw = random.Random(3)  # noqa: S311
    references = pl.Series([f"4{draw.randrange(10**15):015}" for _ in range(400)])
    assert count_card_numbers(references) == 0
    assert count_card_numbers(pl.Series(["12345678901234567890123", "0000000000000000", "1.5", ""])) == 0


def test_cards_are_refused_wherever_they_stand_but_in_the_identifier(tmp_path: Path) -> None:
    frame = loans().with_columns(note=pl.lit("called twice"), reference=pl.int_range(pl.len()) + 1000)
    frame = put(put(frame, "note", 9, f"card {CARDS[0]}"), "reference", 11, CARDS[1])
    problems = refusal(tmp_path, frame)
    assert [problem.split(" (")[0] for problem in problems] == [
        "note: 1 record with what looks like a payment card number",
        "reference: 1 record with what looks like a payment card number",
    ]
    assert not any(card in problem for problem in problems for card in CARDS)
    dataset = load(tmp_path, put(loans(), "customer", 9, CARDS[0]))
    assert CARDS[0] not in dataset.frame.write_csv()


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("email", "ann.o'neil+x@mail.example.org"),
        ("phone", "+49 30 901820"),
        ("phone", "(212) 555-0123"),
        ("us-social-security-number", "078-05-1120"),
        ("uk-national-insurance-number", "AB 12 34 56 C"),
        ("bank-account-number", "DE89 3704 0044 0532 0130 00"),
    ],
)
def test_identifiers_of_well_known_kinds_are_recognised(tmp_path: Path, kind: str, value: str) -> None:
    assert resembles(pl.Series([value, "own", None])) == {kind: 1}
    problems = refusal(tmp_path, put(loans(), "housing", 5, value))
    assert any(kind.replace("-", " ") in problem for problem in problems)
    assert value not in "".join(problems)


def test_ordinary_codes_are_not_taken_for_identifiers() -> None:
    ordinary = [
        "A11",
        "2026-11-21",
        "1,234.50",
        "GB82 WEST 1234 5698 7654 33",
        "own",
        "12345",
        "a@b",
        "+",
        "Frankfurt am Main",
    ]
    assert resembles(pl.Series(ordinary)) == {}
    assert not iban_valid("GB82 WEST 1234 5698 7654 33")
    assert iban_valid("GB82 WEST 1234 5698 7654 32")


def test_what_is_not_declared_is_left_behind_and_listed(tmp_path: Path) -> None:
    frame = loans().with_columns(mail=pl.format("{}@bank.example", "customer"), shoe=pl.lit(42))
    dataset = load(tmp_path, frame)
    assert not {"mail", "shoe", "customer"} & set(dataset.frame.columns)
    assert [(column.name, column.resembles) for column in dataset.lineage.dropped] == [
        ("mail", ["email"]),
        ("shoe", []),
    ]


def test_tokens_are_those_of_the_whole_product() -> None:
    assert tokenise(pl.Series(["7", "é"]), KEY).to_list() == [subject_token(KEY, "7"), subject_token(KEY, "é")]


def test_the_same_number_has_the_same_token_from_csv_and_parquet(tmp_path: Path) -> None:
    frame = loans().with_columns(customer=pl.int_range(1, pl.len() + 1, eager=False).cast(pl.Float64))
    parquet = make_spec(source={"path": "loans.parquet", "format": "parquet", "region": "local"})
    tokens = load(tmp_path, frame, parquet).frame["subject"]
    assert tokens[0] == subject_token(KEY, "1")
    assert tokens.equals(load(tmp_path, frame.with_columns(pl.col("customer").cast(pl.Int64))).frame["subject"])

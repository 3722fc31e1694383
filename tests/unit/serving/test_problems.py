from __future__ import annotations

import importlib
import inspect

import msgspec
import pytest

from aboveboard import errors
from aboveboard.errors import AboveboardError, NotVerified, Overloaded, RequestRefused, StorageFailed
from aboveboard.serving import refusals
from aboveboard.serving.problems import in_one_line, problem_of, status_of


def kinds() -> list[type[AboveboardError]]:
    modules = [errors, importlib.import_module(refusals.__name__)]
    found = [kind for module in modules for _, kind in inspect.getmembers(module, inspect.isclass)]
    return [kind for kind in found if issubclass(kind, AboveboardError)]


def test_every_code_is_distinct() -> None:
    distinct = set(kinds())
    assert len({kind.code for kind in distinct}) == len(distinct)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (RequestRefused("no"), 422),
        (refusals.NotJson("no"), 400),
        (refusals.TooLarge("no"), 413),
        (refusals.UnsupportedMediaType("no"), 415),
        (refusals.CardNumber("no"), 422),
        (Overloaded("later"), 503),
        (StorageFailed("disk"), 503),
        (NotVerified("digest"), 500),
        (AboveboardError("what"), 500),
    ],
)
def test_statuses(error: AboveboardError, status: int) -> None:
    assert status_of(error) == status
    assert problem_of(error).status == status


def test_a_problem_is_what_rfc_9457_says() -> None:
    error = RequestRefused(
        "features: 2 problems", hint="see the contract", problems=[{"feature": "a/b", "problem": "is missing"}, "b"]
    )
    assert msgspec.to_builtins(problem_of(error)) == {
        "type": "/problems/request-refused",
        "title": "Request refused",
        "status": 422,
        "code": "request-refused",
        "detail": "features: 2 problems",
        "hint": "see the contract",
        "errors": [{"detail": "is missing", "pointer": "#/features/a~1b"}, {"detail": "b"}],
    }


@pytest.mark.parametrize("error", [StorageFailed("/srv/home/x: no space"), NotVerified("key /srv/keys/a")])
def test_our_own_faults_tell_a_client_no_details(error: AboveboardError) -> None:
    assert "/srv" not in str(msgspec.to_builtins(problem_of(error)))


@pytest.mark.parametrize("name", ["4111111111111111", "x" * 1_000])
def test_a_name_that_nobody_declared_is_not_repeated_whatever_it_is(name: str) -> None:
    error = RequestRefused("no", problems=[{"feature": name, "problem": "is not a feature of this model"}])
    assert [fault.pointer for fault in problem_of(error).errors] == ["#/features"]


def test_says_in_one_line_what_is_wrong() -> None:
    wrong = [{"feature": f"f{number}", "problem": "is missing"} for number in range(12)]
    assert in_one_line(problem_of(RequestRefused("no"))) == "no"
    assert in_one_line(problem_of(RequestRefused("no", problems=wrong[:2]))) == (
        "no: #/features/f0 is missing; #/features/f1 is missing"
    )
    assert in_one_line(problem_of(RequestRefused("no", problems=wrong))).endswith("#/features/f9 is missing; …")

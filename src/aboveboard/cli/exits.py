"""Exit codes: what a script can rely on. 64 and up follow BSD sysexits."""

from __future__ import annotations

from aboveboard import errors

PASS = 0
FAIL = 1
INSUFFICIENT = 2
MISUSE = 64
BUG = 70
INTERRUPTED = 130

_BY_ERROR: dict[type[errors.AboveboardError], int] = {
    errors.GateRefused: FAIL,
    errors.NotVerified: FAIL,
    errors.Misuse: MISUSE,
    errors.SpecInvalid: 65,
    errors.DataRefused: 65,
    errors.RequestRefused: 65,
    errors.NotFound: 66,
    errors.Conflict: 69,
    errors.StorageFailed: 74,
    errors.Overloaded: 75,
    errors.Retained: 75,
    errors.NotAuthorised: 77,
}

_BY_VERDICT = {"pass": PASS, "fail": FAIL, "insufficient": INSUFFICIENT}


def for_error(error: errors.AboveboardError) -> int:
    """Return the exit code of an error, or of the nearest kind of error it is; one without is a plain failure."""
    return next((_BY_ERROR[kind] for kind in type(error).__mro__ if kind in _BY_ERROR), FAIL)


def for_verdict(verdict: str) -> int:
    """Return the exit code of a gate's verdict; an unknown verdict is a failure."""
    return _BY_VERDICT.get(verdict, FAIL)

"""What can go wrong, one class for each decision a caller can take.

Every error has a stable `code`, a sentence for people, the facts as fields, and a hint what to do next.
HTTP statuses and exit codes are mapped where a process meets its user (`cli`, `serving`), never here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar


class AboveboardError(Exception):
    """Anything Aboveboard refuses or cannot do."""

    code: ClassVar[str] = "error"

    def __init__(self, message: str, *, hint: str = "", **facts: Any) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.facts = facts

    def as_dict(self) -> dict[str, Any]:
        """Return the error as a JSON-ready document: code, message, hint, facts."""
        return {"code": self.code, "message": self.message, "hint": self.hint, "facts": self.facts}


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong in something a person wrote: where it stands, what it is, what to write instead."""

    path: str
    message: str
    hint: str = ""
    file: str = ""
    line: int = 0

    def __str__(self) -> str:
        file = f"{self.file}:{self.line}" if self.line else self.file
        hint = f" ({self.hint})" if self.hint else ""
        return ": ".join(part for part in (file, self.path, self.message) if part) + hint


class SpecInvalid(AboveboardError):
    """A model spec that does not say what it must. `problems` lists everything that is wrong, at once."""

    code = "spec-invalid"

    def __init__(self, message: str, problems: list[Problem], *, hint: str = "") -> None:
        super().__init__(message, hint=hint, problems=[str(p) for p in problems])
        self.problems = problems


class DataRefused(AboveboardError):
    """Data outside its contract. `problems` lists every violated term, with counts and never with values."""

    code = "data-refused"

    def __init__(self, message: str, problems: list[Problem], *, hint: str = "") -> None:
        super().__init__(message, hint=hint, problems=[str(p) for p in problems])
        self.problems = problems


class GateRefused(AboveboardError):
    """A gate that did not pass stands between the caller and the next step."""

    code = "gate-refused"


class NotVerified(AboveboardError):
    """A digest, signature, proof or approval that does not hold."""

    code = "not-verified"


class NotAuthorised(AboveboardError):
    """The caller may not do this: wrong role, own work approved, key not trusted."""

    code = "not-authorised"


class NotFound(AboveboardError):
    """Nothing of that name, digest or id is known here."""

    code = "not-found"


class Conflict(AboveboardError):
    """Somebody else holds it: a port in use, a locked home, a name taken."""

    code = "conflict"


class RequestRefused(AboveboardError):
    """A request outside the contract of the model or of the protocol."""

    code = "request-refused"


class Overloaded(AboveboardError):
    """The work cannot be taken on now; the caller may try again later."""

    code = "overloaded"


class StorageFailed(AboveboardError):
    """A disk, database or object store did not take or give back what it should."""

    code = "storage-failed"


class Retained(AboveboardError):
    """Erasure is barred by a statutory retention period; the facts say which, and until when."""

    code = "retained"


class Misuse(AboveboardError):
    """The command or the call was put wrongly."""

    code = "misuse"

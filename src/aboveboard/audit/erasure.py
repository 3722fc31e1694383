"""The right to be forgotten in a log that forgets nothing: keys are destroyed, proofs stay.

A request is noted with the keys it is about; then the keys the law does not protect are destroyed and the index is
cleared of what they sealed; then `SubjectErased` is appended; then the request is done, or waits for the next hold to
end. Interrupted anywhere, it is carried on from there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from sqlalchemy import insert, select, update

from aboveboard.audit import tables
from aboveboard.audit.events import ErasureDeferred, Event, HoldLifted, HoldPlaced, SubjectErased
from aboveboard.audit.index import Index
from aboveboard.audit.retention import Hold, day_of, running, statutory_hold
from aboveboard.audit.vault import LOG, Name, Vault
from aboveboard.clock import Clock, timestamp
from aboveboard.errors import Misuse, NotFound, Retained
from aboveboard.ids import new_id

Append = Callable[[Event], object]


@dataclass(frozen=True, slots=True)
class Erasure:
    """What became of a request to be erased."""

    erasure_id: str
    erased_entries: list[int]
    """Leaves that nobody can read any more."""
    keys_destroyed: int
    deferred_until: str | None
    """The day on which the rest follows, if the law bars some of it until then."""
    holds: list[str]
    """Why the rest is kept."""

    def as_dict(self) -> dict[str, Any]:
        """Return the outcome as a JSON-ready document."""
        return {
            "erasure_id": self.erasure_id,
            "erased_entries": self.erased_entries,
            "keys_destroyed": self.keys_destroyed,
            "deferred_until": self.deferred_until,
            "holds": self.holds,
        }


class Eraser:
    """Erases persons, or says until when it may not."""

    def __init__(self, vault: Vault, index: Index, append: Append, clock: Clock) -> None:
        self._vault = vault
        self._index = index
        self._append = append
        self._clock = clock

    def erase(self, subject: str, *, actor: str, reason: str, defer: bool, override: str | None) -> Erasure:
        """Destroy a person's keys; see `AuditLog.erase`."""
        names = self._names(subject)
        holds = {} if override else self._holds(subject, names)
        barred = [found for found in holds.values() if found]
        if barred and not defer:
            last = max(found[0].until for found in barred)
            reasons = _reasons(barred)
            free = len(names) - len(barred)
            raise Retained(
                f"the law bars erasing this person before {last}: {'; '.join(reasons)}",
                hint="ask again then, or have the request noted now (defer)"
                + (f"; {free} of {len(names)} keys could go at once" if free else ""),
                until=str(last),
                holds=reasons,
            )
        moment = self._clock()
        erasure_id = new_id("era", moment)
        with self._vault.database.writing() as connection:
            connection.execute(
                insert(tables.erasure).values(
                    erasure_id=erasure_id,
                    subject=subject,
                    actor=actor,
                    reason=reason,
                    override=override,
                    requested=timestamp(moment),
                    due=str(day_of(moment)),
                    state="begun",
                )
            )
            rows = [{"erasure_id": erasure_id, "key_id": key_id} for key_id in names]
            connection.execute(insert(tables.erasure_key), rows)
        free_ids = [key_id for key_id in names if not holds.get(key_id)]
        leaves = self._index.leaves_of(free_ids)
        holds = self._step(erasure_id)
        if holds:
            self._append(
                ErasureDeferred(
                    time=timestamp(self._clock()),
                    actor=actor,
                    erasure_id=erasure_id,
                    reason=reason,
                    subject_keys=[key_id.hex() for key_id in holds],
                    until=str(max(found[0].until for found in holds.values())),
                )
            )
        last_day = max((found[0].until for found in holds.values()), default=None)
        until = None if last_day is None else str(last_day)
        return Erasure(erasure_id, leaves, len(names) - len(holds), until, _reasons(holds.values()))

    def run_due(self) -> list[str]:
        """Carry on what was interrupted and carry out what has become due; return the ids of what is done now."""
        columns = tables.erasure.c
        today = str(day_of(self._clock()))
        query = select(columns.erasure_id).where((columns.state != "done") & (columns.due <= today))
        with self._vault.database.reading() as connection:
            due = list(connection.execute(query).scalars())
        return [erasure_id for erasure_id in due if not self._step(erasure_id)]

    def place_hold(self, subject: str, *, until: date, basis: str, actor: str) -> str:
        """Bar the erasure of a person until a day; returns the hold's id."""
        key_ids = list(self._names(subject))
        moment = self._clock()
        hold_id = new_id("hold", moment)
        self._append(
            HoldPlaced(
                time=timestamp(moment),
                actor=actor,
                hold_id=hold_id,
                basis=basis,
                until=str(until),
                subject_keys=[key_id.hex() for key_id in key_ids],
            )
        )
        row = {"hold_id": hold_id, "subject": subject, "basis": basis, "until": str(until), "placed_by": actor}
        with self._vault.database.writing() as connection:
            connection.execute(insert(tables.hold).values(row))
        return hold_id

    def lift_hold(self, hold_id: str, *, actor: str, reason: str) -> None:
        """End a hold. Raises `NotFound` when there is none that runs."""
        columns = tables.hold.c
        moment = timestamp(self._clock())
        with self._vault.database.writing() as connection:
            statement = update(tables.hold).where(columns.hold_id == hold_id, columns.lifted.is_(None))
            if connection.execute(statement.values(lifted=moment)).rowcount == 0:
                raise NotFound(
                    f"there is no running hold {hold_id}", hint="see the holds on a person: aboveboard subject export"
                )
        self._append(HoldLifted(time=moment, actor=actor, hold_id=hold_id, reason=reason))

    def holds(self, subject: str) -> list[Hold]:
        """Return everything that bars erasing a person today, the longest first."""
        found = self._holds(subject, self._names(subject))
        return sorted({hold for holds in found.values() for hold in holds}, key=lambda hold: hold.until, reverse=True)

    # -- inside

    def _names(self, subject: str) -> dict[bytes, Name]:
        if subject == LOG or subject.startswith("@"):
            raise Misuse(f"{subject} is no person", hint="name a person by their token (sub-…)")
        if not (names := self._vault.names_of(self._vault.ids_of(subject))):
            raise NotFound(
                "nothing is held about this person", hint="is it their token (sub-…), and of this installation?"
            )
        return names

    def _holds(self, subject: str, names: dict[bytes, Name]) -> dict[bytes, list[Hold]]:
        """Return, for every key, what still bars destroying it, the longest first."""
        today = day_of(self._clock())
        columns = tables.hold.c
        query = select(columns.basis, columns.until).where(columns.subject == subject, columns.lifted.is_(None))
        with self._vault.database.reading() as connection:
            placed = [Hold(basis, date.fromisoformat(until)) for basis, until in connection.execute(query)]
        return {key_id: running([statutory_hold(name), *placed], today) for key_id, name in names.items()}

    def _step(self, erasure_id: str) -> dict[bytes, list[Hold]]:
        """Take a request as far as it may go, from wherever it stands, and return what still bars the rest."""
        columns = tables.erasure_key.c
        database = self._vault.database
        of_this = columns.erasure_id == erasure_id
        with self._vault.erasing():
            with database.reading() as connection:
                row = connection.execute(
                    select(tables.erasure).where(tables.erasure.c.erasure_id == erasure_id)
                ).one()
                pending = connection.execute(select(columns.key_id).where(of_this, columns.destroyed.is_(None)))
                names = self._vault.names_of(key_ids := list(pending.scalars()))
            holds = {} if row.override else self._holds(row.subject, names)
            holds = {key_id: found for key_id, found in holds.items() if found}
            # A key that is gone already went with another request of the same person.
            free = [key_id for key_id in key_ids if key_id not in holds]
            with database.writing() as connection:
                self._vault.destroy(connection, free)
                statement = update(tables.erasure_key).where(of_this, columns.key_id.in_(free))
                connection.execute(statement.values(destroyed=timestamp(self._clock())))
            with database.reading() as connection:
                untold = list(
                    connection.execute(
                        select(columns.key_id).where(
                            of_this, columns.destroyed.is_not(None), columns.logged.is_(None)
                        )
                    ).scalars()
                )
            self._index.clear(untold)
        if untold:
            self._append(
                SubjectErased(
                    time=timestamp(self._clock()),
                    actor=row.actor,
                    erasure_id=erasure_id,
                    reason=row.reason,
                    subject_keys=[key_id.hex() for key_id in untold],
                    override=row.override,
                )
            )
        # Not done before nothing is left in the write-ahead logs either; should this fail, it is tried again.
        database.forget_deleted()
        self._index.forget_cleared()
        due = min((found[0].until for found in holds.values()), default=None)
        ended = {"state": "done", "subject": None} if due is None else {"state": "deferred", "due": str(due)}
        with database.writing() as connection:
            statement = update(tables.erasure_key).where(of_this, columns.key_id.in_(untold))
            connection.execute(statement.values(logged=timestamp(self._clock())))
            connection.execute(
                update(tables.erasure).where(tables.erasure.c.erasure_id == erasure_id).values(**ended)
            )
        return holds


def _reasons(holds: Iterable[Sequence[Hold]]) -> list[str]:
    return sorted({hold.basis for found in holds for hold in found})

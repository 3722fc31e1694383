"""What happens, as typed and versioned records: decisions, and the acts of the people who govern them.

Every event is one msgspec Struct whose JSON carries its type and version in `type`, e.g. `decision/1`. A new
field gets a default; a changed meaning gets a new version beside the old one, which stays readable for as long
as the log does. Times are RFC 3339 in UTC with milliseconds, as `aboveboard.clock.timestamp` writes them.

An event about a person names them by their token in `subject` and is sealed under that person's key. Events
about *handling* a person's data (access, erasure, holds) name the person's keys instead (`subject_keys`): once
the person is erased, nothing leads from such an event to a token any more.
"""

from __future__ import annotations

from typing import Any, ClassVar

import msgspec

Feature = bool | int | float | str | None


class Event(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="type"):
    """Anything the log records."""

    time: str


class Personal(Event, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="type"):
    """An event about one person, sealed under their key (under the log's own key when `subject` is None)."""

    subject: str | None
    retention: str = "P25M"
    """How long the law bars erasure, an ISO 8601 duration; the default is 12 CFR 1002.12(b)."""


class ToldAlternative(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Other values of features that, all else as it was, would have led to the favourable outcome."""

    values: dict[str, Feature]
    score: float


class ToldAlternatives(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a client who asked for it was told would have led to the favourable outcome instead."""

    in_time: bool
    """Whether it was found before the answer went out; if not, nothing was told."""
    recourse: list[ToldAlternative] | None = None
    counter_offers: list[ToldAlternative] | None = None


class Decision(Personal, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="decision/1"):
    """One scored request and its outcome."""

    decision_id: str
    model: str
    release: str
    track: str
    jurisdiction: str
    locale: str
    features: dict[str, Feature]
    cohort: dict[str, str] | None
    """Protected attribute to group, where known; never an input of the model."""
    score: float
    outcome: str
    reasons: list[str]
    idempotency_key: str | None = None
    alternatives: ToldAlternatives | msgspec.UnsetType = msgspec.UNSET
    """Absent where nobody asked, and where the outcome was favourable."""


class OutcomeRecorded(Personal, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="outcome-recorded/1"):
    """What became of a decision later: repaid, defaulted, confirmed fraud."""

    decision_id: str
    label: str
    observed: str


class ReviewRequested(Personal, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="review-requested/1"):
    """A person asked for a human to look at a decision (GDPR art. 22(3))."""

    decision_id: str
    statement: str
    actor: str | None = None
    """Who brought it, where they had proved who they are."""


class ReviewClaimed(Personal, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="review-claimed/1"):
    """A reviewer took a case, for themselves until a moment."""

    decision_id: str
    actor: str
    until: str


class ReviewReleased(Personal, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="review-released/1"):
    """A reviewer gave a case back before their time was over."""

    decision_id: str
    actor: str


class ReviewProposed(Personal, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="review-proposed/1"):
    """A first reviewer decided where a second must agree (four eyes); until then what the model decided stands."""

    decision_id: str
    actor: str
    outcome: str
    comment: str


class ReviewRejected(Personal, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="review-rejected/1"):
    """A second reviewer did not agree with what the first proposed."""

    decision_id: str
    actor: str
    comment: str


class ReviewDecided(Personal, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="review-decided/1"):
    """A human looked at a decision and upheld or changed it."""

    decision_id: str
    actor: str
    outcome: str
    changed: bool
    comment: str
    proposed_by: str | None = None
    """The first of two reviewers, where a second confirmed."""


class Act(Event, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="type"):
    """Something a person or a service did to govern the system, kept ten years (AI Act art. 18)."""

    RETENTION: ClassVar[str] = "P10Y"
    actor: str


class RunStarted(Act, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="run-started/1"):
    """A pass of the pipeline began."""

    run_id: str
    model: str
    spec_digest: str


class RunFinished(Act, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="run-finished/1"):
    """A pass of the pipeline ended."""

    run_id: str
    model: str
    status: str
    model_digest: str | None = None
    data_digest: str | None = None


class GateVerdictReached(Act, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="gate-verdict-reached/1"):
    """The policy packs said pass, fail or insufficient evidence."""

    model: str
    verdict: str
    failed_rules: list[str]
    facts_digest: str
    packs: dict[str, str]
    run_id: str | None = None
    release: str | None = None


class ReleaseCreated(Act, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="release-created/1"):
    """A model, its report and its verdict were bound together under one digest."""

    release: str
    model: str
    run_id: str
    report_digest: str


class ReleaseApproved(Act, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="release-approved/1"):
    """A person with the right to do so approved a release."""

    release: str
    role: str
    comment: str = ""


class ReleaseWithdrawn(Act, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="release-withdrawn/1"):
    """A release was taken back by its author or by somebody who may approve: it may not run any more."""

    release: str
    model: str
    reason: str


class ReleaseRefused(Act, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="release-refused/1"):
    """A release was not made, or not let through."""

    model: str
    reason: str
    release: str | None = None
    run_id: str | None = None


class ReleasePromoted(Act, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="release-promoted/1"):
    """A release was given a track and a share of traffic, in per cent."""

    release: str
    track: str
    weight: int
    environment: str = ""


class ReleaseRolledBack(Act, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="release-rolled-back/1"):
    """A release was taken out of service for another."""

    release: str
    to_release: str
    reason: str
    environment: str = ""


class PolicyChanged(Act, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="policy-changed/1"):
    """A policy pack was put in, replaced or taken out."""

    pack: str
    from_digest: str | None
    to_digest: str | None
    reason: str


class KeyRotated(Act, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="key-rotated/1"):
    """A key was replaced; keys are named by fingerprint, never shown."""

    purpose: str
    from_key: str | None
    to_key: str
    rewrapped: int = 0


class LoggedIn(Act, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="logged-in/1"):
    """Somebody proved who they are, or failed to."""

    method: str
    outcome: str


class RoleChanged(Act, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="role-changed/1"):
    """A role was granted to, or taken from, a person or service."""

    principal: str
    role: str
    granted: bool


class PersonalDataAccessed(
    Act, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="personal-data-accessed/1"
):
    """Somebody looked at, searched for, or exported what is held about people."""

    purpose: str
    action: str
    entries: int
    subject_keys: list[str]
    query: str = ""
    """Which fields were searched by; never their values."""


class SubjectErased(Act, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="subject-erased/1"):
    """The keys and salts of a person were destroyed; their entries stay provable and can be read by nobody."""

    erasure_id: str
    reason: str
    subject_keys: list[str]
    override: str | None = None
    """Why a running retention period did not bar it, e.g. a court order."""


class ErasureDeferred(Act, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="erasure-deferred/1"):
    """A person asked to be erased while the law still bars it; it is carried out when the last hold ends."""

    erasure_id: str
    reason: str
    subject_keys: list[str]
    until: str


class HoldPlaced(Act, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="hold-placed/1"):
    """Erasure of a person was barred for a further reason, e.g. litigation or an AML record duty."""

    hold_id: str
    basis: str
    until: str
    subject_keys: list[str]


class HoldLifted(Act, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="hold-lifted/1"):
    """A hold ended before its date."""

    hold_id: str
    reason: str


class CheckpointAnchored(Act, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="checkpoint-anchored/1"):
    """The tree head of another log, witnessed by being an entry of this one."""

    origin: str
    size: int
    root: str
    note: str


class SuspicionRaised(Personal, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="suspicion-raised/1"):
    """A suspicious activity; belongs into a confidential log only (31 CFR 1020.320)."""

    CONFIDENTIAL: ClassVar[bool] = True
    case_id: str
    actor: str
    grounds: str
    filed: bool = False


EVENT_TYPES: tuple[type[Event], ...] = (
    Decision,
    OutcomeRecorded,
    ReviewRequested,
    ReviewClaimed,
    ReviewReleased,
    ReviewProposed,
    ReviewRejected,
    ReviewDecided,
    RunStarted,
    RunFinished,
    GateVerdictReached,
    ReleaseCreated,
    ReleaseApproved,
    ReleaseWithdrawn,
    ReleaseRefused,
    ReleasePromoted,
    ReleaseRolledBack,
    PolicyChanged,
    KeyRotated,
    LoggedIn,
    RoleChanged,
    PersonalDataAccessed,
    SubjectErased,
    ErasureDeferred,
    HoldPlaced,
    HoldLifted,
    CheckpointAnchored,
    SuspicionRaised,
)


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of every event, as one document."""
    _, components = msgspec.json.schema_components(EVENT_TYPES, ref_template="#/$defs/{name}")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "https://aboveboard.dev/audit/events-1.schema.json",
        "title": "Aboveboard audit events",
        "oneOf": [{"$ref": f"#/$defs/{kind.__name__}"} for kind in EVENT_TYPES],
        "$defs": components,
    }

"""`aboveboard review`: the queue of decisions that wait for a person, at a running server."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from aboveboard.cli.app import json_option, output_of
from aboveboard.cli.output import Output
from aboveboard.cli.remote import Remote, decision_path, remote_options, shown, text_of, text_options
from aboveboard.errors import AboveboardError, Conflict, NotFound

_DECISION = click.argument("decision")
_COMMENT = text_options("comment", "Why; the log keeps it, and the person may read it one day.")


@click.group(name="review")
def command() -> None:
    """Decide what waits for a person: referred by a model, or contested.

    The commands ask a running decision server with the role `review`; `show` needs `read`, too. Every step is an
    entry of the log under the name that the server knows your key by.
    """


@command.command(name="list")
@click.option("--state", type=click.Choice(["waiting", "claimed", "proposed"]), help="Only those that are so far.")
@click.option("--overdue/--in-time", default=None, help="Only those whose deadline has passed, or has not.")
@click.option("--model", help="Default: the model in service.")
@click.option(
    "--limit", type=click.IntRange(1, 500), default=50, show_default=True, help="The longest waiting first."
)
@click.option("--cursor", help="Where the page before says to go on.")
@remote_options
@json_option
def list_cases(
    state: str | None,
    overdue: bool | None,
    model: str | None,
    limit: int,
    cursor: str | None,
    remote: Remote,
    as_json: bool,
) -> None:
    """List what waits for a person, the longest waiting first."""
    out = output_of(as_json)
    late = None if overdue is None else str(overdue).lower()
    server = remote()
    page = server.get("/v1/reviews", state=state, overdue=late, model=model, limit=limit, cursor=cursor)
    cases: list[dict[str, Any]] = page["cases"]
    if not cases:
        out.say("nothing waits for a person")
    else:
        out.table(("decision", "cause", "state", "since", "due", "with", "proposed"), map(_row, cases))
        out.next(f"aboveboard review claim {cases[0]['decision_id']}")
    if page["next"]:
        out.say(f"[dim]more with:[/] --cursor {shown(page['next'])}")
    out.document(page)


@command.command()
@_DECISION
@remote_options
@json_option
def claim(decision: str, remote: Remote, as_json: bool) -> None:
    """Take a case for half an hour, or for longer if it is yours: nobody else decides it meanwhile."""
    out = output_of(as_json)
    done = remote().post(decision_path(decision, "claim"))
    out.say(f"[green]✓[/] yours until {shown(done['until'])}, {shown(done['claimed_by'])}")
    out.next(f"aboveboard review show {decision}")
    out.document(done)


@command.command()
@_DECISION
@remote_options
@json_option
def release(decision: str, remote: Remote, as_json: bool) -> None:
    """Give a case back before its time is over."""
    out = output_of(as_json)
    done = remote().ask("DELETE", decision_path(decision, "claim"))
    out.say("[green]✓[/] given back: others can take it")
    out.document(done)


@command.command()
@_DECISION
@click.option("--purpose", default="human review", show_default=True, help="Why you look; it is logged.")
@click.option("--locale", default="en", show_default=True, help="The language of the reasons.")
@remote_options
@json_option
def show(
    decision: str,
    purpose: str,
    locale: str,
    remote: Remote,
    as_json: bool,
) -> None:
    """Show a decision: what it was made from, why, what would have changed it, and its way since."""
    out = output_of(as_json)
    server = remote()
    record: dict[str, Any] = server.get(decision_path(decision), purpose=purpose)
    way: dict[str, Any] = server.get(decision_path(decision, "review"), purpose=purpose)
    notice: dict[str, Any] | None = None
    without: AboveboardError | None = None
    try:
        notice = server.get(decision_path(decision, "notice"), locale=locale)
    except (Conflict, NotFound) as error:  # it was favourable, or the release that decided is gone
        without = error
    _show(out, record, way, notice)
    if without is not None:
        out.say(f"[dim]no notice: {shown(without.message)}[/]")
    out.document({"decision": record, "review": way, "notice": notice})


@command.command()
@_DECISION
@click.argument("outcome")
@_COMMENT
@remote_options
@json_option
def decide(
    decision: str,
    outcome: str,
    comment: str | None,
    comment_file: Path | None,
    remote: Remote,
    as_json: bool,
) -> None:
    """Decide instead of the model: OUTCOME is approve or decline, or what the model's purpose calls them.

    With four eyes, a decision that is not the model's is a proposal until somebody else confirms it.
    """
    body = {"outcome": outcome, "comment": text_of(comment, comment_file, "comment")}
    _post(remote, decision, "review", body, as_json)


@command.command()
@_DECISION
@_COMMENT
@remote_options
@json_option
def confirm(
    decision: str,
    comment: str | None,
    comment_file: Path | None,
    remote: Remote,
    as_json: bool,
) -> None:
    """Agree, as the second of two, with what somebody else proposed: then it holds."""
    body = {"confirmed": True, "comment": text_of(comment, comment_file, "comment")}
    _post(remote, decision, "confirmation", body, as_json)


@command.command()
@_DECISION
@_COMMENT
@remote_options
@json_option
def reject(
    decision: str,
    comment: str | None,
    comment_file: Path | None,
    remote: Remote,
    as_json: bool,
) -> None:
    """Disagree, as the second of two, with what somebody else proposed: the case waits again."""
    body = {"confirmed": False, "comment": text_of(comment, comment_file, "comment")}
    _post(remote, decision, "confirmation", body, as_json)


def _row(case: Mapping[str, Any]) -> tuple[str, ...]:
    due = shown(case["due"])
    proposed = f"{case['proposed_outcome']} by {case['proposed_by']}" if case["proposed_by"] else ""
    return (
        shown(case["decision_id"]),
        shown(case["cause"]),
        shown(case["state"]),
        shown(case["since"]),
        f"[red]{due}[/]" if case["overdue"] else due,
        shown(case["claimed_by"] or ""),
        shown(proposed),
    )


def _post(remote: Remote, decision: str, step: str, body: Mapping[str, Any], as_json: bool) -> None:
    """Send a step of the review of a decision, and say what came of it."""
    out = output_of(as_json)
    done: Mapping[str, Any] = remote().post(decision_path(decision, step), body)
    outcome = shown(done["outcome"])
    match done["state"]:
        case "proposed":
            out.say(
                f"[yellow]proposed[/]: {shown(done['proposed_outcome'] or '')}; until a second reviewer confirms it,"
                f" {outcome} holds"
            )
            out.next(f"aboveboard review confirm {decision} --comment …", "by somebody else")
        case "rejected":
            out.say(f"[yellow]rejected[/]: {outcome} holds, and the case waits again")
        case _:
            changed = "not what the model decided" if done["changed"] else "as the model decided"
            out.say(f"[green]✓[/] {outcome}, {changed}")
            out.next(f"aboveboard review show {decision}", "the way of the decision, and the notice")
    out.document(done)


def _show(out: Output, record: Mapping[str, Any], way: Mapping[str, Any], notice: Mapping[str, Any] | None) -> None:
    by = "a person" if way["decided_by"] == "person" else "the model"
    out.say(f"[bold]{shown(record['decision_id'])}[/]  {shown(way['outcome'])}, by {by}")
    out.say(f"the model: {shown(record['outcome'])} at {record['score']:.3f}  [dim]{shown(record['release'])}[/]")
    if notice is not None:
        out.say("\nWhy")
        for reason in notice["principal_reasons"]:
            out.say(f"  • {shown(reason['text'])} [dim]{shown(reason['code'])}[/]")
        for title, ways in (("What the person could change", "recourse"), ("Other terms", "counter_offers")):
            for number, one in enumerate(notice[ways] or ()):
                said = ", ".join(f"{c['feature']} {c['to']} instead of {c['from']}" for c in one["changes"])
                out.say(("" if number else f"\n{title}\n") + f"  • {shown(said)}")
    out.say()
    out.table(("what the model read", "#"), [(shown(n), shown(str(v))) for n, v in record["features"].items()])
    out.say()
    steps = [
        (
            shown(step["time"]),
            shown(step["step"]),
            shown(step.get("actor") or ""),
            shown(step.get("outcome") or ""),
            shown(step.get("text") or step.get("until") or ""),
            str(step["index"]),
        )
        for step in way["steps"]
    ]
    out.table(("when", "step", "who", "outcome", "what was said", "entry#"), steps)

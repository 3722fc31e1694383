"""Changing which releases are in service while requests are answered: verified first, logged first, then at once."""

from __future__ import annotations

import gc
import logging
import threading
from collections.abc import Callable, Mapping
from typing import Annotated

import msgspec

from aboveboard.audit import AuditLog, events
from aboveboard.clock import Clock, timestamp
from aboveboard.errors import AboveboardError, Conflict, NotVerified
from aboveboard.release import ReleaseStore
from aboveboard.serving.deployment import Deployment, deploy
from aboveboard.serving.standing import Standing, StandingFile
from aboveboard.serving.tracks import CHAMPION, SHADOW, Arm, TrackPlan, Tracks

Reason = Annotated[str, msgspec.Meta(min_length=1, max_length=500)]

_log = logging.getLogger("aboveboard.serving")


class TrackChange(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`PUT /v1/tracks`: what is to be in service from now on, and why."""

    tracks: TrackPlan
    reason: Reason


class Rollback(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`POST /v1/tracks/rollback`: back to what was in service before, and why."""

    reason: Reason


class TrackControl:
    """The tracks of one process. Changes take turns; readers see the old tracks or the new ones, never a mixture.

    `started` are the tracks that the server's options name. What was changed since, here or in another process
    that was started with the same, stands in `file`.
    """

    def __init__(
        self,
        started: Tracks,
        *,
        store: ReleaseStore,
        log: AuditLog,
        clock: Clock,
        file: StandingFile,
        switch: Callable[[Tracks], None],
    ) -> None:
        self.tracks = started
        self._started = started.plan()
        self._before: Tracks | None = None
        self._before_plan: TrackPlan | None = None
        self._store = store
        self._log = log
        self._clock = clock
        self._file = file
        self._switch = switch
        self._turn = threading.Lock()
        self._complaint = ""

    def resume(self) -> None:
        """Take up what was in service when a server with the same options stopped; forget it after other options.

        Where somebody else keeps the tracks, they are what the options name. Raises `NotVerified` when that does not
        hold any more, or the file that says so is damaged.
        """
        with self._turn, self._file.turn():
            if self._file.kept_by is not None:
                self._file.clear()  # whatever was put in service here once
                return
            standing = self._file.read()
            if standing is not None and standing.started == self._started:
                try:
                    self._follow(standing)
                except Conflict as error:
                    raise NotVerified(
                        f"what was last put in service cannot go on: {error.message}", hint=error.hint
                    ) from error
            elif standing is not None:
                self._file.clear()

    def follow(self) -> None:
        """Put in service what another process has; what it has logged is not logged again. Blocks.

        What does not hold here stays out, is written to the server's log, and is tried again.
        """
        with self._turn:
            try:
                self._catch_up()
                self._complaint = ""
            except AboveboardError as error:
                self._file.unread()  # it is tried again
                if error.message != self._complaint:
                    self._complaint = error.message
                    _log.error("the tracks another process put in service do not hold here: %s", error.message)

    @property
    def behind(self) -> bool:
        """Tell whether another process has changed the tracks."""
        return self._file.changed()

    def change(self, plan: TrackPlan, *, actor: str) -> Tracks:
        """Verify and load what `plan` names, log it, and put it in service. Blocks; call it off the event loop.

        Raises what verification raises, `Misuse` for releases that do not belong side by side, and `Conflict` where
        somebody else keeps the tracks; then nothing has changed.
        """
        self._refuse_kept()
        with self._turn, self._file.turn():
            self._catch_up()
            tracks = load_tracks(plan, self._store, self._loaded())
            if tracks.plan() == self.tracks.plan():
                return self.tracks
            moment = timestamp(self._clock())
            with self._file.replaced(Standing(self._started, tracks.plan(), self.tracks.plan())):
                self._log.append_all(
                    [
                        events.ReleasePromoted(
                            time=moment, actor=actor, release=release, track=track, weight=round(weight)
                        )
                        for release, track, weight in placed(tracks)
                    ]
                )
            self._put(tracks)
            # What was just loaded stays; the collector need not look at it again.
            gc.freeze()
            return tracks

    def roll_back(self, *, actor: str, reason: str) -> Tracks:
        """Put back, at once, what was in service before the last change: it is still in memory.

        After a restart it is not, and is verified and loaded first. Raises `Conflict` when nothing was before, it
        was withdrawn since, or somebody else keeps the tracks.
        """
        self._refuse_kept()
        with self._turn, self._file.turn():
            self._catch_up()
            before = self._before
            if before is None and self._before_plan is not None:
                before = load_tracks(self._before_plan, self._store, self._loaded())
            elif before is not None:
                self._refuse_withdrawn(before)
            if before is None:
                raise Conflict("there is nothing to go back to", hint="the tracks have not changed since the start")
            with self._file.replaced(Standing(self._started, before.plan(), self.tracks.plan())):
                self._log.append(
                    events.ReleaseRolledBack(
                        time=timestamp(self._clock()),
                        actor=actor,
                        release=_newest(self.tracks, before),
                        to_release=before.champion.digest,
                        reason=reason,
                    )
                )
            self._put(before)
            return before

    def files_of(self, release: str) -> Mapping[str, bytes]:
        """Return the verified files of a release that is, or was, in service, whoever approves of it now. Blocks.

        Raises `NotFound` and `NotVerified`.
        """
        return self._store.verify(release, require_approval=False).files

    def _catch_up(self) -> None:
        if self._file.changed():
            standing = self._file.read()
            if standing is not None and standing.started == self._started:
                self._follow(standing)

    def _follow(self, standing: Standing) -> None:
        if standing.tracks != self.tracks.plan():
            remembered = self._before
            if remembered is not None and remembered.plan() == standing.tracks:
                self._put(remembered)  # a rollback is a switch, in every process
            else:
                self._put(load_tracks(standing.tracks, self._store, self._loaded()))
                gc.freeze()
        self._before_plan = standing.before
        if self._before is not None and self._before.plan() != standing.before:
            self._before = None

    def _refuse_kept(self) -> None:
        if self._file.kept_by is not None:
            raise Conflict(
                f"which releases are in service is said by {self._file.kept_by}",
                hint="change it there: asked over HTTP, this server would decide otherwise than those beside it",
            )

    def _refuse_withdrawn(self, tracks: Tracks) -> None:
        """Refuse what is in memory and was taken back since it was loaded. Raises `Conflict`."""
        for deployment in tracks.deployments():
            if (withdrawal := self._store.withdrawal(deployment.digest)) is not None:
                raise Conflict(str(withdrawal), hint="put another release in service: PUT /v1/tracks")

    def _loaded(self) -> dict[str, Deployment]:
        return {deployment.digest: deployment for deployment in self.tracks.deployments()}

    def _put(self, tracks: Tracks) -> None:
        self._before, self.tracks = self.tracks, tracks
        self._before_plan = self._before.plan()
        self._switch(tracks)


def load_tracks(plan: TrackPlan, store: ReleaseStore, loaded: dict[str, Deployment]) -> Tracks:
    """Return the tracks `plan` asks for, every release verified; those in `loaded` are not loaded again.

    Raises `NotFound`, `Misuse`, and `NotVerified` where nothing is loaded yet, else `Conflict`, for a release that
    does not hold.
    """

    def load(reference: str) -> Deployment:
        # Verified even where it is loaded: an approval may have been withdrawn since.
        try:
            verified = store.verify(reference)
        except NotVerified as error:
            if not loaded:
                raise
            # To the operator who asked this is no fault of the server, which goes on with what it has.
            raise Conflict(f"{reference} does not hold: {error.message}", hint=error.hint) from error
        deployment = loaded.get(verified.digest)
        if deployment is None:
            deployment = loaded[verified.digest] = deploy(verified.digest, verified.files)
        return deployment

    return Tracks(
        champion=load(plan.champion),
        arms=tuple(Arm(arm.name, load(arm.release), arm.weight) for arm in plan.all_arms()),
        shadows=tuple(load(reference) for reference in plan.shadows),
    )


def placed(tracks: Tracks) -> list[tuple[str, str, float]]:
    """Return every release in service with its track and its share of subjects in per cent."""
    return [
        (tracks.champion.digest, CHAMPION, tracks.champion_weight),
        *((arm.deployment.digest, arm.name, arm.weight) for arm in tracks.arms),
        *((shadow.digest, SHADOW, 0.0) for shadow in tracks.shadows),
    ]


def _newest(tracks: Tracks, before: Tracks) -> str:
    """Return the release that a way back takes out: the first in service that was not before, arms first."""
    known = {(arm.name, arm.deployment.digest) for arm in before.arms}
    gone = [arm.deployment.digest for arm in tracks.arms if (arm.name, arm.deployment.digest) not in known]
    if tracks.champion.digest != before.champion.digest:
        gone.append(tracks.champion.digest)
    return next(iter(gone), (tracks.arms[0].deployment if tracks.arms else tracks.champion).digest)

"""Sign, approve, verify; refuse the refused; then flip one byte and watch verification fail."""

from __future__ import annotations

import os
import shutil

from rich.markup import escape

from aboveboard.cli.demo.models import Judged
from aboveboard.cli.demo.scene import APPROVER, AUTHOR, Scene
from aboveboard.cli.release import approve_release, create_release
from aboveboard.errors import AboveboardError, GateRefused, NotAuthorised, NotVerified
from aboveboard.release import Keyring, ReleaseStore


def sign_and_tamper(scene: Scene, judged: Judged) -> str:
    """Release the champion and return the release's digest."""
    out = scene.out
    author, approver = scene.acting(AUTHOR), scene.acting(APPROVER)
    with scene.step(
        "release", "A content-addressed, signed OCI artifact: what was approved is what runs, to the byte."
    ):
        release = create_release(author, judged.champion.directory)
        out.say(f"[green]✓[/] created   {release.digest}")
        out.say(f"            signed by {AUTHOR}")
        _must_refuse(
            scene,
            "the refused model cannot be released",
            GateRefused,
            lambda: create_release(author, judged.refused.directory),
        )
        _must_refuse(
            scene,
            "its author cannot approve it",
            NotAuthorised,
            lambda: approve_release(author, release.digest, comment="looks good to me"),
        )
        approve_release(approver, release.digest, comment="validated independently; report and verdict read")
        out.say(f"[green]✓[/] approved  by {APPROVER}")
        verified = author.releases().verify(release.digest)
        out.say(f"[green]✓[/] verified  {len(verified.files)} files, every digest, signature and approval")
        _must_refuse(
            scene, "one byte flipped in a copy", NotVerified, lambda: _verify_tampered(scene, release.digest)
        )
    return release.digest


def _verify_tampered(scene: Scene, digest: str) -> None:
    """Copy the store, flip one byte of the model, and verify the copy."""
    copy = scene.home.root / "tampered"
    shutil.copytree(scene.home.releases, copy)
    blob = max((copy / "blobs" / "sha256").iterdir(), key=lambda path: path.stat().st_size)
    with blob.open("r+b") as file:
        file.seek(blob.stat().st_size // 2)
        byte = file.read(1)[0]
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte ^ 1]))
    scene.out.say(
        f"[dim]            byte {blob.stat().st_size // 2:,} of {blob.name[:16]}… is now {byte ^ 1}, was {byte}[/]"
    )
    store = ReleaseStore(copy, keys=Keyring(scene.home.keys), clock=scene.acting(AUTHOR).clock)
    store.verify(digest)


def _must_refuse(scene: Scene, what: str, kind: type[AboveboardError], attempt: object) -> None:
    """Run something that has to be refused; that it is not would be the demo's failure."""
    assert callable(attempt)  # noqa: S101
    try:
        attempt()
    except kind as refusal:
        scene.out.say(f"[green]✓[/] refused   {escape(what)}: [italic]{escape(refusal.message)}[/]")
        return
    raise NotVerified(f"{what}: this had to be refused and was not")

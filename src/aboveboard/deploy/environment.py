"""The environment repository: what should run where, in Git. Every change is a commit on a branch of its own.

The repository has a folder for each environment, in it one for each region, in it one file for each service. It is
cloned to a scratch directory, changed, committed and pushed by the `git` program, with the access of whoever calls.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

from aboveboard.clock import Clock
from aboveboard.errors import Conflict, Misuse, NotFound, StorageFailed

_TRANSPORTS: Final = "file:git:http:https:ssh"
"""`ext::` would run a command that stands in a URL."""
_SECONDS: Final = 120


@dataclass(frozen=True, slots=True)
class Proposal:
    """A change that waits for approval."""

    branch: str
    base: str
    commit: str
    """The commit, whole."""
    diff: str
    changed: tuple[str, ...]
    """The files, by their path in the repository."""
    open_at: str | None
    """Where to ask for it to be merged, on the forges whose addresses are known."""


class EnvironmentRepository:
    """A clone of the environment repository. Use `EnvironmentRepository.clone` in a `with` block."""

    def __init__(self, directory: Path, url: str, base: str) -> None:
        self._directory = directory
        self._url = url
        self.base = base

    @classmethod
    @contextmanager
    def clone(cls, url: str, *, base: str) -> Iterator[EnvironmentRepository]:
        """Clone branch `base` of the repository at `url` (or path) to a scratch directory, gone afterwards.

        Raises `Misuse` for what is no address, `NotFound` when there is no such repository or branch, and
        `StorageFailed` when it cannot be read.
        """
        if url.startswith("-") or base.startswith("-") or not url or not base:
            raise Misuse(f"{url or 'nothing'!r} is not the address of a repository", hint="give a URL or a path")
        if shutil.which("git") is None:
            raise Misuse("git is not installed here", hint="install git, or use aboveboard render and commit by hand")
        local = Path(url)
        source = str(local.absolute()) if local.exists() else url
        with tempfile.TemporaryDirectory(prefix="aboveboard-environment-") as scratch:
            directory = Path(scratch) / "clone"
            _git(
                ["clone", "--quiet", "--single-branch", "--branch", base, "--", source, str(directory)], Path(scratch)
            )
            yield cls(directory, url, base)

    def files(self, folder: str) -> dict[str, str]:
        """Return the text of every YAML file below a folder, by its path in the repository."""
        root = self._directory / _safe(folder)
        return {
            str(path.relative_to(self._directory)): path.read_text(encoding="utf-8")
            for path in sorted(root.rglob("*.yaml"))
            if path.is_file() and not path.is_symlink()
        }

    def history(self, path: str) -> list[str]:
        """Return what a file said after each change of it on the base branch, the newest first."""
        log = self._run("log", "--first-parent", "--format=%H", "--", _safe(path))
        versions = []
        for commit in log.split():
            try:
                versions.append(self._run("show", f"{commit}:{path}"))
            except StorageFailed:  # deleted in that commit: there is nothing to go back to
                continue
        return versions

    def propose(
        self, files: Mapping[str, str], *, branch: str, message: str, actor: str, clock: Clock, dry_run: bool = False
    ) -> Proposal | None:
        """Commit files to a new branch and push it; None when the base branch says just that already.

        The author is the actor. With `dry_run` nothing is pushed, and no commit is left. Raises `Conflict` when the
        branch is there and says something else.
        """
        _branch_name(branch)
        # Proposing the same on the same state is the same branch; on another state it is another change.
        branch = f"{branch}-{self._run('rev-parse', 'HEAD').strip()[:8]}"
        for path, text in files.items():
            target = self._directory / _safe(path)
            if target.is_symlink() or not target.parent.resolve().is_relative_to(self._directory.resolve()):
                raise Misuse(f"{path} is a link in the environment repository", hint="make it a file")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text, encoding="utf-8", newline="\n")
        self._run("add", "--", *files)
        diff = self._run("diff", "--cached", "--no-color", "--no-ext-diff")
        changed = tuple(self._run("diff", "--cached", "--name-only").splitlines())
        if not changed:
            return None
        if dry_run:
            self._run("reset", "--quiet", "--hard")
            return Proposal(branch, self.base, "", diff, changed, None)
        if self._is_proposed(branch):
            commit = self._run("rev-parse", "FETCH_HEAD").strip()
            return Proposal(branch, self.base, commit, diff, changed, _merge_address(self._url, branch, self.base))
        self._run("checkout", "--quiet", "-b", branch)
        self._run("commit", "--quiet", "--message", message, environment=_identity(actor, clock))
        commit = self._run("rev-parse", "HEAD").strip()
        self._run("push", "--quiet", "origin", f"HEAD:refs/heads/{branch}")
        return Proposal(branch, self.base, commit, diff, changed, _merge_address(self._url, branch, self.base))

    def _is_proposed(self, branch: str) -> bool:
        """Tell whether the branch is there and says what is staged. Raises `Conflict` if it says otherwise."""
        if not self._run("ls-remote", "origin", f"refs/heads/{branch}").strip():
            return False
        self._run("fetch", "--quiet", "origin", f"refs/heads/{branch}")
        wanted = self._run("write-tree").strip()
        if self._run("rev-parse", "FETCH_HEAD^{tree}").strip() == wanted:
            return True
        raise Conflict(
            f"branch {branch} is in the repository and says something else",
            hint="merge or delete it, then run the same command again",
        )

    def _run(self, *arguments: str, environment: Mapping[str, str] | None = None) -> str:
        return _git(arguments, self._directory, environment)


def _git(arguments: Sequence[str], directory: Path, environment: Mapping[str, str] | None = None) -> str:
    """Run git and return what it prints. Hooks of a stranger's repository are not run."""
    command = ["git", "-c", "core.hooksPath=/dev/null", "-c", "core.autocrlf=false", *arguments]
    settings = {
        **os.environ,
        "GIT_ALLOW_PROTOCOL": _TRANSPORTS,
        "GIT_TERMINAL_PROMPT": "0",
        "LC_ALL": "C",
        **(environment or {}),
    }
    try:
        finished = subprocess.run(  # noqa: S603  a list, no shell
            command, cwd=directory, env=settings, capture_output=True, timeout=_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise StorageFailed(f"git {arguments[0]}: {error}", hint="check the network and the repository") from error
    if finished.returncode != 0:
        said = _without_credentials(finished.stderr.decode(errors="replace").strip())[-600:]
        if arguments[0] == "clone":
            raise NotFound(
                f"the environment repository cannot be cloned: {said}", hint="check its address and branch"
            )
        raise StorageFailed(f"git {arguments[0]} failed: {said}", hint="check your access to the repository")
    return finished.stdout.decode(errors="replace")


def _without_credentials(text: str) -> str:
    return re.sub(r"://[^/@\s]+@", "://", text)


def _identity(actor: str, clock: Clock) -> dict[str, str]:
    name = re.sub(r"[<>\n\r\x00]", "", actor)
    email = name if "@" in name else f"{re.sub(r'[^A-Za-z0-9._-]', '-', name)}@localhost"
    moment = clock().strftime("%Y-%m-%dT%H:%M:%S+00:00")
    who = {"NAME": name, "EMAIL": email, "DATE": moment}
    return {f"GIT_{role}_{key}": value for role in ("AUTHOR", "COMMITTER") for key, value in who.items()}


def _safe(path: str) -> str:
    """Return a path that stays within the repository. Raises `Misuse` for any other."""
    parts = PurePosixPath(path).parts
    if not parts or path.startswith(("/", "-")) or ".." in parts or ".git" in parts:
        raise Misuse(f"{path!r} is not a path in the environment repository", hint="use plain names")
    return path


def _branch_name(branch: str) -> None:
    if re.fullmatch(r"[a-z0-9][a-z0-9._/-]{0,199}", branch) is None or ".." in branch:
        raise Misuse(f"{branch!r} is no name for a branch", hint="use lower-case letters, digits, dashes and slashes")


def _merge_address(url: str, branch: str, base: str) -> str | None:
    """Return where a pull or merge request for a branch is opened, on GitHub and GitLab."""
    found = re.fullmatch(r"(?:https?://(?:[^/@]+@)?|ssh://(?:[^/@]+@)?|[^/@]+@)([^/:]+)[:/](.+?)(?:\.git)?/?", url)
    if found is None:
        return None
    host, path = found.groups()
    if host == "github.com" or host.startswith("github."):
        return f"https://{host}/{path}/compare/{base}...{branch}?expand=1"
    if host == "gitlab.com" or host.startswith("gitlab."):
        return f"https://{host}/{path}/-/merge_requests/new?merge_request%5Bsource_branch%5D={branch}"
    return None

"""Regions, a service and an environment repository for the tests of deployment."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from aboveboard.cluster import DecisionService
from aboveboard.deploy.services import load_service_file
from aboveboard.spec.regions import Regions, load_regions

EXAMPLES = Path(__file__).parents[1] / "examples"
OLD = "sha256:" + "a" * 64
NEW = "sha256:" + "b" * 64
IMAGE = "registry.bank.example/platform/aboveboard@sha256:" + "1" * 64
REPOSITORY = "registry.bank.example/models/releases"


def regions() -> Regions:
    return load_regions(EXAMPLES / "regions.yaml")


def service() -> DecisionService:
    return load_service_file(EXAMPLES / "service.yaml")


def git(*arguments: str, cwd: Path) -> str:
    """Run git as a user of its own, with no settings of the machine."""
    identity = {
        f"GIT_{role}_{key}": "tester@bank.example" for role in ("AUTHOR", "COMMITTER") for key in ("NAME", "EMAIL")
    }
    return subprocess.run(
        ["git", *arguments],
        cwd=cwd,
        env={**os.environ, **identity, "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_SYSTEM": "/dev/null"},
        check=True,
        capture_output=True,
        text=True,
    ).stdout


def environment_repository(directory: Path) -> Path:
    """Make an environment repository with one commit on main, and return its path."""
    bare = directory / "environments.git"
    git("init", "--quiet", "--bare", "--initial-branch=main", str(bare), cwd=directory)
    work = directory / "work"
    git("clone", "--quiet", str(bare), str(work), cwd=directory)
    git("checkout", "--quiet", "-B", "main", cwd=work)
    (work / "README.md").write_text("What should run where.\n")
    git("add", ".", cwd=work)
    git("commit", "--quiet", "-m", "Begin", cwd=work)
    git("push", "--quiet", "origin", "main", cwd=work)
    return bare


def merge(bare: Path, branch: str) -> None:
    """Merge a branch into main, as an approver does on a forge."""
    work = bare.parent / "work"
    git("fetch", "--quiet", "origin", cwd=work)
    git("checkout", "--quiet", "main", cwd=work)
    git("reset", "--quiet", "--hard", "origin/main", cwd=work)
    git("merge", "--quiet", "--no-ff", "-m", f"Merge {branch}", f"origin/{branch}", cwd=work)
    git("push", "--quiet", "origin", "main", cwd=work)

"""What a stranger's repository, path or name could do, it does not."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from aboveboard.deploy.environment import EnvironmentRepository, Proposal, _merge_address
from aboveboard.errors import Conflict, Misuse
from tests.deploy_cases import environment_repository, git

NOW = datetime(2026, 11, 21, 9, 30, tzinfo=UTC)


def propose(
    url: Path, path: str, text: str = "a: 1\n", branch: str = "deploy/x", actor: str = "ada@bank.example"
) -> Proposal:
    with EnvironmentRepository.clone(str(url), base="main") as repository:
        proposal = repository.propose({path: text}, branch=branch, message="m", actor=actor, clock=lambda: NOW)
        assert proposal is not None
        return proposal


@pytest.mark.parametrize("path", ["../x.yaml", "/etc/x.yaml", "a/../../x", ".git/config", "a/.git/hooks/x", "-x", ""])
def test_no_path_leaves_the_repository(tmp_path: Path, path: str) -> None:
    with pytest.raises(Misuse):
        propose(environment_repository(tmp_path), path)


@pytest.mark.parametrize("branch", ["-x", "a..b", "A", "", "a b", "x" * 300])
def test_no_odd_branch(tmp_path: Path, branch: str) -> None:
    with pytest.raises(Misuse):
        propose(environment_repository(tmp_path), "x.yaml", branch=branch)


def test_a_link_in_the_repository_leads_nowhere(tmp_path: Path) -> None:
    bare = environment_repository(tmp_path)
    outside = tmp_path / "outside"
    outside.mkdir()
    work = tmp_path / "work"
    (work / "production").symlink_to(outside)
    git("add", ".", cwd=work)
    git("commit", "--quiet", "-m", "A link", cwd=work)
    git("push", "--quiet", "origin", "main", cwd=work)
    with pytest.raises(Misuse, match="is a link"):
        propose(bare, "production/x.yaml")
    assert list(outside.iterdir()) == []


def test_an_actor_cannot_write_headers(tmp_path: Path) -> None:
    bare = environment_repository(tmp_path)
    proposal = propose(bare, "x.yaml", actor="Eve <eve@bank.example>\nAuthor: ada")
    assert git("log", "-1", "--format=%an", proposal.commit, cwd=bare).strip() == "Eve eve@bank.exampleAuthor: ada"
    assert git("log", "-1", "--format=%aI", proposal.commit, cwd=bare).strip() == "2026-11-21T09:30:00+00:00"


def test_a_branch_that_says_something_else_is_a_conflict(tmp_path: Path) -> None:
    bare = environment_repository(tmp_path)
    first = propose(bare, "x.yaml")
    assert propose(bare, "x.yaml").commit == first.commit
    with pytest.raises(Conflict):
        propose(bare, "x.yaml", text="a: 2\n")


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("git@github.com:bank/environments.git", "https://github.com/bank/environments/compare/main...b?expand=1"),
        ("https://token@github.com/bank/env", "https://github.com/bank/env/compare/main...b?expand=1"),
        ("ssh://git@gitlab.com/bank/risk/env.git",
         "https://gitlab.com/bank/risk/env/-/merge_requests/new?merge_request%5Bsource_branch%5D=b"),
        ("https://git.bank.example/env.git", None),
        ("/srv/environments.git", None),
    ],
)  # fmt: skip
def test_where_a_change_is_opened(url: str, address: str | None) -> None:
    assert _merge_address(url, "b", "main") == address

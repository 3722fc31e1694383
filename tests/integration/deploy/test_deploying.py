"""Deploying, promoting and rolling back with a real release and real git."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy_cases import EXAMPLES, environment_repository, git, merge

TO = ("--to", "environments.git")


@dataclass
class Desk:
    """A home with two approved releases of one model, and an environment repository."""

    home: Path
    directory: Path
    first: str
    second: str

    def run(self, *arguments: str, actor: str = "ada@bank.example") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "aboveboard", "--actor", actor, *arguments],
            cwd=self.directory,
            env={**os.environ, "ABOVEBOARD_HOME": str(self.home), "GIT_CONFIG_GLOBAL": "/dev/null", "NO_COLOR": "1"},
            capture_output=True,
            text=True,
            check=False,
        )

    def json(self, *arguments: str) -> Any:
        finished = self.run(*arguments, "--json")
        assert finished.returncode == 0, finished.stderr
        return json.loads(finished.stdout)


@pytest.fixture(scope="module")
def road(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, str]:
    home = tmp_path_factory.mktemp("home")
    model = tmp_path_factory.mktemp("model")
    example = EXAMPLES / "01-credit-default"
    (model / "credit_default_taiwan.parquet").symlink_to(example / "credit_default_taiwan.parquet")
    desk = Desk(home, model, "", "")
    digests = []
    for seed in (1, 2):
        text = (example / "model.yaml").read_text(encoding="utf-8").replace("seed: 1\n", f"seed: {seed}\n")
        (model / "model.yaml").write_text(text, encoding="utf-8")
        assert desk.run("run", "--fast").returncode == 0
        digests.append(desk.json("release", "create", "latest")["release"])
        for approver in ("grace@bank.example", "mary@bank.example"):
            approved = desk.run("release", "approve", digests[-1], actor=approver)
            assert approved.returncode == 0, approved.stderr
    return home, digests[0], digests[1]


@pytest.fixture
def desk(road: tuple[Path, str, str], tmp_path: Path) -> Desk:
    environment_repository(tmp_path)
    (tmp_path / "regions.yaml").write_bytes((EXAMPLES / "regions.yaml").read_bytes())
    (tmp_path / "service.yaml").write_bytes((EXAMPLES / "service.yaml").read_bytes())
    return Desk(road[0], tmp_path, road[1], road[2])


def releases(desk: Desk, region: str = "eu-west") -> Any:
    work = desk.directory / "work"
    git("pull", "--quiet", "origin", "main", cwd=work)
    text = (work / "production" / region / "decisionservice-credit-default.yaml").read_text(encoding="utf-8")
    return yaml.safe_load(text)["spec"]["releases"]


def test_the_whole_life_of_a_service_is_commits(desk: Desk) -> None:
    bare = desk.directory / "environments.git"
    first = desk.json("deploy", "release", desk.first, "--to", "environments.git", "--service", "service.yaml")
    assert first["regions"] == ["eu-west", "us-east"]
    assert (
        git("log", "-1", "--format=%an <%ae>", first["branch"], cwd=bare).strip()
        == "ada@bank.example <ada@bank.example>"
    )
    message = git("log", "-1", "--format=%B", first["branch"], cwd=bare)
    assert f"Release: {desk.first}" in message
    assert "Approved-by: grace@bank.example" in message
    assert "production" not in git("ls-tree", "--name-only", "main", cwd=bare).split()  # nothing runs unapproved
    merge(bare, first["branch"])
    assert releases(desk) == {"champion": desk.first}
    assert releases(desk, "us-east") == {"champion": desk.first}

    again = desk.json("deploy", "release", desk.first, "--to", "environments.git")
    assert again["changed"] == []

    challenged = desk.json("deploy", "release", desk.second, "--to", "environments.git", "--challenger", "5")
    merge(bare, challenged["branch"])
    assert releases(desk) == {"champion": desk.first, "challenger": {"release": desk.second, "weight": 5}}

    promoted = desk.json("deploy", "promote", "credit-default", "--to", "environments.git")
    assert promoted["replaces"] == desk.first
    merge(bare, promoted["branch"])
    assert releases(desk) == {"champion": desk.second}

    back = desk.json("deploy", "rollback", "credit-default", "--to", "environments.git")
    assert back["message"].startswith("Roll back credit-default to")
    merge(bare, back["branch"])
    assert releases(desk) == {"champion": desk.first}
    subjects = git("log", "--no-merges", "--topo-order", "--format=%s", "main", cwd=bare).splitlines()
    assert [subject.split()[0] for subject in subjects] == ["Roll", "Promote", "Deploy", "Deploy", "Begin"]


def test_a_rollback_takes_a_challenger_out_first(desk: Desk) -> None:
    bare = desk.directory / "environments.git"
    for arguments in ([desk.first, "--service", "service.yaml"], [desk.second, "--challenger", "25"]):
        merge(bare, desk.json("deploy", "release", *arguments, "--to", "environments.git")["branch"])
    back = desk.json("deploy", "rollback", "credit-default", "--to", "environments.git")
    assert f"Takes-out: {desk.second}" in back["message"]
    merge(bare, back["branch"])
    assert releases(desk) == {"champion": desk.first}


def test_an_a_b_test_is_commits_too(desk: Desk) -> None:
    bare = desk.directory / "environments.git"

    def committed(*arguments: str) -> str:
        done = desk.json("deploy", *arguments, "--to", "environments.git")
        merge(bare, done["branch"])
        return str(done["message"])

    committed("release", desk.first, "--service", "service.yaml")
    committed("release", desk.first, "--arm", "control@20")
    message = committed("release", desk.second, "--arm", "second@20")
    assert message.splitlines()[0].endswith("as arm second for 20 % in production")
    arms = [
        {"name": "control", "release": desk.first, "weight": 20},
        {"name": "second", "release": desk.second, "weight": 20},
    ]
    assert releases(desk) == {"champion": desk.first, "arms": arms}
    assert desk.run("render", "work/production/eu-west/decisionservice-credit-default.yaml", "--region", "eu-west",
                    "--out", "objects", "--form", "objects", "--image", f"r/a@{desk.first}", "--repository", "r/m",
                    ).returncode == 0  # fmt: skip
    [workload] = (desk.directory / "objects").glob("*-statefulset-*.yaml")
    assert f"--arm=second={desk.second}@20" in workload.read_text(encoding="utf-8")
    committed("rollback", "credit-default", "--arm", "control")
    assert releases(desk) == {"champion": desk.first, "arms": arms[1:]}
    committed("promote", "credit-default", "--arm", "second")
    assert releases(desk) == {"champion": desk.second}


def test_a_dry_run_shows_the_change_and_pushes_nothing(desk: Desk) -> None:
    before = git("for-each-ref", cwd=desk.directory / "environments.git")
    finished = desk.run(
        "deploy", "release", desk.first, "--to", "environments.git", "--service", "service.yaml", "--dry-run"
    )
    assert finished.returncode == 0, finished.stderr
    assert f'+    champion: "{desk.first}"' in finished.stdout
    assert "nothing was pushed" in finished.stdout
    assert git("for-each-ref", cwd=desk.directory / "environments.git") == before


def test_the_same_command_twice_proposes_once(desk: Desk) -> None:
    arguments = ("deploy", "release", desk.first, "--to", "environments.git", "--service", "service.yaml")
    one, two = desk.json(*arguments), desk.json(*arguments)
    assert (one["branch"], one["commit"]) == (two["branch"], two["commit"])


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["release", "FIRST", "--to", "environments.git"], 66, "no such service"),
        (["release", "sha256:" + "0" * 64, "--to", "environments.git"], 66, "no release"),
        (["release", "FIRST", "--to", "nowhere.git", "--service", "service.yaml"], 66, "cannot be cloned"),
        (["release", "FIRST", "--to", "--upload-pack=touch x", "--service", "service.yaml"], 64, "not the address"),
        (["release", "FIRST", "--to", "ext::touch owned", "--service", "service.yaml"], 66, "cannot be cloned"),
        (["release", "FIRST", *TO, "--service", "service.yaml", "--challenger", "5"], 64, "champion"),
        (["release", "FIRST", *TO, "--service", "service.yaml", "--environment", "../x"], 64, "path"),
        (["release", "FIRST", *TO, "--service", "service.yaml", "--arm", "a@101"], 64, "NAME@WEIGHT"),
        (["release", "FIRST", *TO, "--arm", "a@1", "--challenger", "5"], 64, "either challenger or arm"),
        (["promote", "credit-default", "--to", "environments.git"], 66, "no service"),
        (["rollback", "credit-default", "--to", "environments.git"], 66, "no earlier release"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_with_a_code(desk: Desk, arguments: list[str], code: int, says: str) -> None:
    given = [desk.first if argument == "FIRST" else argument for argument in arguments]
    finished = desk.run("deploy", *given)
    assert finished.returncode == code, finished.stderr
    assert says in finished.stderr
    assert not (desk.directory / "owned").exists()


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        ("model: credit-default", "model: other", "is of credit-default"),
        ("regions: [eu-west, us-east]", "regions: [eu-west, us-west]", "was not released for us-west"),
        ("regions: [eu-west, us-east]", "regions: [eu-west, in-west]", "under the law of in"),
    ],
)
def test_a_service_the_release_is_not_for_is_refused(desk: Desk, before: str, after: str, says: str) -> None:
    path = desk.directory / "service.yaml"
    path.write_text(path.read_text(encoding="utf-8").replace(before, after), encoding="utf-8")
    finished = desk.run("deploy", "release", desk.first, "--to", "environments.git", "--service", "service.yaml")
    assert finished.returncode == 1
    assert says in finished.stderr


def test_a_data_flow_no_rule_allows_is_refused(desk: Desk) -> None:
    path = desk.directory / "regions.yaml"
    text = path.read_text(encoding="utf-8").replace("to: [us]\n      effect: allow", "to: [us]\n      effect: deny")
    path.write_text(text, encoding="utf-8")
    finished = desk.run("deploy", "release", desk.first, "--to", "environments.git", "--service", "service.yaml")
    assert finished.returncode == 1
    assert "may not flow to us-east: denied" in finished.stderr


def test_an_unapproved_release_is_refused(desk: Desk, tmp_path_factory: pytest.TempPathFactory) -> None:
    lonely = Desk(tmp_path_factory.mktemp("lonely"), desk.directory, "", "")
    model = tmp_path_factory.mktemp("model")
    for path in (EXAMPLES / "01-credit-default").iterdir():
        (model / path.name).symlink_to(path)
    assert lonely.run("run", "--fast", str(model / "model.yaml")).returncode == 0
    digest = lonely.json("release", "create", "latest")["release"]
    finished = lonely.run("deploy", "release", digest, "--to", "environments.git", "--service", "service.yaml")
    assert finished.returncode == 1
    assert "approv" in finished.stderr


def test_render_writes_whole_files_and_leaves_strangers_alone(desk: Desk) -> None:
    assert desk.run("render", "--region", "eu-west", "--out", "rendered").returncode == 0
    document = yaml.safe_load((desk.directory / "rendered" / "decisionservice-credit-default.yaml").read_text())
    assert document["spec"]["regions"] == ["eu-west"]
    (desk.directory / "rendered" / "mine.txt").write_text("keep")
    assert desk.run("render", "--region", "eu-west", "--out", "rendered").returncode == 69
    assert desk.run("render", "--region", "mars", "--out", "rendered").returncode == 66
    assert desk.run("render", "--region", "eu-west", "--out", "x", "--form", "objects").returncode == 64


def test_applications_are_written_for_every_region(desk: Desk) -> None:
    finished = desk.run(
        "deploy", "applications", "--repository", "https://git.bank.example/env.git", "--namespace", "credit",
        "--out", "argocd",
    )  # fmt: skip
    assert finished.returncode == 0, finished.stderr
    root = yaml.safe_load((desk.directory / "argocd" / "root.yaml").read_text(encoding="utf-8"))
    assert root["spec"]["source"]["path"] == "production/argocd"
    assert len(list((desk.directory / "argocd" / "production" / "argocd").iterdir())) == 4

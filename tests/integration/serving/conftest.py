from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from aboveboard.clock import system_clock
from aboveboard.files import secret_bytes
from aboveboard.models import load_model
from aboveboard.release import Keyring, ReleaseStore, Role
from aboveboard.settings import Home
from aboveboard.spec import load_spec
from aboveboard.training import run_pipeline
from tests.integration.serving.process import Released, Server, open_log, running

EXAMPLE = Path(__file__).parents[3] / "examples" / "01-credit-default"
DATA = "credit_default_taiwan.parquet"
REVIEW = "{fourEyes: true, deadlineDays: 10}"
"""What the second release wants of reviews; the first leaves it at what holds by itself."""
AUTHOR, APPROVERS = "author@bank.example", ("approver@bank.example", "validator@bank.example")


@pytest.fixture(scope="session")
def released(tmp_path_factory: pytest.TempPathFactory) -> Released:
    home = Home(tmp_path_factory.mktemp("home"))
    keys = Keyring(home.keys)
    now = system_clock()
    keys.ensure(AUTHOR, [Role.AUTHOR], at=now)
    for approver in APPROVERS:
        keys.ensure(approver, [Role.APPROVER, Role.VALIDATOR], at=now)
    store = ReleaseStore(home.releases, keys=keys, clock=system_clock)
    digests, models = [], []
    for trees in (60, 90):
        example = home.root / f"example-{trees}"
        example.mkdir()
        (example / DATA).symlink_to(EXAMPLE / DATA)
        text = (EXAMPLE / "model.yaml").read_text(encoding="utf-8")
        # What is tested here is the server, so the bar of the gate is one that small models clear.
        for stated, wanted in (
            (r"n_estimators: \d+", f"n_estimators: {trees}"),
            (r"equalOpportunityDifferenceAtMost: [\d.]+", "equalOpportunityDifferenceAtMost: 0.5"),
        ):
            text, found = re.subn(stated, wanted, text)
            assert found == 1
        if trees == 90:
            text, found = re.subn(r"reference: at-cut-off}", f"reference: at-cut-off, review: {REVIEW}}}", text)
            assert found == 1
        (example / "model.yaml").write_text(text, encoding="utf-8")
        with open_log(home) as log:
            run = run_pipeline(
                example / "model.yaml",
                home=home,
                log=log,
                token_key=secret_bytes(home.subject_key),
                actor=AUTHOR,
                clock=system_clock,
                trials=0,
            )
        assert run.verdict.verdict == "pass", [result for result in run.verdict.results if result.verdict != "pass"]
        release = store.create(run.directory, author=AUTHOR)
        for approver in APPROVERS:
            store.approve(release.digest, approver=approver)
        digests.append(release.digest)
        models.append(load_model(run.model.files()))
    spec = load_spec(EXAMPLE / "model.yaml").spec
    frame = pl.read_parquet(EXAMPLE / DATA).head(2_000)
    clients = [
        {
            "subject": f"client-{number}",
            "jurisdiction": "us" if number % 2 else "eu",
            "locale": ("en", "de", "zh")[number % 3],
            "features": {feature.name: row[feature.name] for feature in spec.features},
            "cohort": {attribute.name: row[attribute.column] for attribute in spec.protected},
        }
        for number, row in enumerate(frame.to_dicts())
    ]
    return Released(home, tuple(digests), tuple(models), clients)


@pytest.fixture
def home(released: Released, tmp_path: Path) -> Home:
    """A home of its own, with the releases and the keys and an empty log."""
    for name in ("keys", "releases"):
        shutil.copytree(released.home.root / name, tmp_path / "home" / name)
    return Home(tmp_path / "home")


@pytest.fixture(scope="module")
def server(released: Released, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for tests that leave no trace."""
    root = tmp_path_factory.mktemp("served") / "home"
    for name in ("keys", "releases"):
        shutil.copytree(released.home.root / name, root / name)
    with running(Home(root), release=released.digests[0]) as started:
        yield started

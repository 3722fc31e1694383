"""Loading packs: strict, all problems at once, and a digest over every byte."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest

from aboveboard.errors import Conflict, NotFound, SpecInvalid
from aboveboard.policy import built_in_packs, load_pack, load_packs
from aboveboard.spec.types import Purpose

MANIFEST = """\
name: br
title: Brazil
version: 1.0.0
jurisdiction: br
rules:
  - id: br-review
    title: A review can be had
    citation: LGPD art. 20
    text: Decisions taken solely by automated means can be reviewed on request.
    confirmed: false
    effective_from: 2020-09-18
    effective_to: 2030-12-31
    purposes: [credit-decision]
    remedy: Name governance.humanReview.
"""
REGO = 'package aboveboard.packs.br\n\nanswers["br-review"] := {"verdict": "pass", "message": "m"}\n'

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(manifest: str = MANIFEST, rego: str = REGO, name: str = "br") -> Path:
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        (folder / "pack.yaml").write_text(manifest, encoding="utf-8")
        (folder / "br.rego").write_text(rego, encoding="utf-8")
        return folder

    return write


def test_a_pack_is_read(write: Write) -> None:
    pack = load_pack(write())
    assert (pack.name, pack.package, list(pack.modules)) == ("br", "aboveboard.packs.br", ["br.rego"])
    (rule,) = pack.manifest.rules
    assert rule.concerns(Purpose.CREDIT_DECISION)
    assert not rule.concerns(Purpose.RECOMMENDATION)
    assert [rule.in_force(date(2020, 9, day)) for day in (17, 18)] == [False, True]
    assert [rule.in_force(day) for day in (date(2030, 12, 31), date(2031, 1, 1))] == [True, False]


def test_the_digest_covers_every_file(write: Write) -> None:
    folder = write()
    digests = {load_pack(folder).digest}
    (folder / "README.md").write_text("Why these rules.\n", encoding="utf-8")
    digests.add(load_pack(folder).digest)
    (folder / "br.rego").write_text(REGO + "# a comment\n", encoding="utf-8")
    digests.add(load_pack(folder).digest)
    (folder / "pack.yaml").write_text(MANIFEST.replace("1.0.0", "1.0.1"), encoding="utf-8")
    digests.add(load_pack(folder).digest)
    (folder / "br.rego").rename(folder / "other.rego")
    digests.add(load_pack(folder).digest)
    assert len(digests) == 5


@pytest.mark.parametrize(
    ("old", "new", "part"),
    [
        ("version: 1.0.0", "version: 1.0", "version"),
        ("title: Brazil\n", "", "title"),
        ("name: br\n", "name: ar\n", "br-review"),
        ("    confirmed: false\n", "", "confirmed"),
        ("confirmed: false", "confirmed: maybe", "confirmed"),
        ("confirmed: false", 'confirmed: "false"', "confirmed"),
        ("effective_to: 2030-12-31", "effective_to: 2019-12-31", "before effective_from"),
        ("effective_to: 2030-12-31", "effective_to: someday", "effective_to"),
        ("purposes: [credit-decision]", "purposes: [credit]", "purposes"),
        ("purposes: [credit-decision]", "purposes: []", "purposes"),
        ("    purposes: [credit-decision]\n", "", "purposes"),
        ("    remedy:", "    severity: mild\n    remedy:", "severity"),
        ("    remedy:", "    note: x\n    remedy:", "note"),
        ("id: br-review", "id: us-review", "does not start with"),
        ("rules:", "disclaimer: ''\nrules:", "disclaimer"),
        ("rules:", "rules: [", "not valid YAML"),
        (MANIFEST, "", "Input should be"),
        (MANIFEST.partition("rules:\n")[2], "  []\n", "no rule"),
        (MANIFEST, MANIFEST + MANIFEST.partition("rules:\n")[2], "twice"),
    ],
)
def test_a_manifest_that_is_not_right_is_refused(write: Write, old: str, new: str, part: str) -> None:
    assert old in MANIFEST
    folder = write(MANIFEST.replace(old, new))
    with pytest.raises(SpecInvalid) as refusal:
        load_pack(folder)
    assert part in "\n".join(map(str, refusal.value.problems))


def test_every_problem_is_named_at_once(write: Write) -> None:
    folder = write(MANIFEST.replace("title: Brazil\n", "").replace("confirmed: false", "confirmed: perhaps"))
    (folder / "more").mkdir()
    (folder / "rules.txt").write_text("x", encoding="utf-8")
    (folder / "broken.rego").write_bytes(b"\xff\xfe")
    with pytest.raises(SpecInvalid) as refusal:
        load_pack(folder)
    paths = {problem.path for problem in refusal.value.problems}
    assert paths == {"title", "rules.0.confirmed", "more", "rules.txt", "broken.rego"}


def test_a_folder_of_another_name_is_refused(write: Write) -> None:
    with pytest.raises(SpecInvalid) as refusal:
        load_pack(write(name="brazil"))
    assert "name of the folder" in str(refusal.value.problems[0])


@pytest.mark.parametrize(
    "rego",
    ["answers := {}\n", REGO.replace("packs.br", "packs.us"), REGO.replace("packs.br", "library"), REGO + REGO],
)
def test_rego_of_another_package_is_refused(write: Write, rego: str) -> None:
    with pytest.raises(SpecInvalid) as refusal:
        load_pack(write(rego=rego))
    assert "is not aboveboard.packs.br" in str(refusal.value.problems[0])


def test_a_pack_without_rego_is_refused(write: Write) -> None:
    folder = write()
    (folder / "br.rego").unlink()
    with pytest.raises(SpecInvalid) as refusal:
        load_pack(folder)
    assert "no .rego file" in str(refusal.value.problems[0])


def test_a_link_is_refused(write: Write, tmp_path: Path) -> None:
    folder = write()
    (tmp_path / "elsewhere.rego").write_text(REGO, encoding="utf-8")
    (folder / "link.rego").symlink_to(tmp_path / "elsewhere.rego")
    with pytest.raises(SpecInvalid):
        load_pack(folder)


def test_the_house_pack_is_always_there() -> None:
    assert [pack.name for pack in load_packs([])] == ["house"]
    assert [pack.name for pack in load_packs(["us", "eu", "us"])] == ["house", "us", "eu"]


@pytest.mark.parametrize("jurisdiction", ["mars", "../us", "", "US", "library.rego"])
def test_an_unknown_jurisdiction_names_the_known_ones(jurisdiction: str) -> None:
    with pytest.raises(NotFound) as refusal:
        load_packs([jurisdiction])
    assert refusal.value.facts["known"] == ["eu", "house", "uk", "us"]
    assert "eu, house, uk, us" in refusal.value.hint


def test_a_folder_of_ones_own_serves_its_jurisdiction(write: Write) -> None:
    assert [pack.name for pack in load_packs(["us", "br"], [write()])] == ["house", "br", "us"]


def test_a_pack_may_not_take_the_name_of_another(tmp_path: Path) -> None:
    folder = tmp_path / "us"
    folder.mkdir()
    (folder / "pack.yaml").write_text(MANIFEST.replace("br", "us"), encoding="utf-8")
    (folder / "us.rego").write_text(REGO.replace("br", "us"), encoding="utf-8")
    with pytest.raises(Conflict, match="'us'"):
        load_packs(["eu"], [folder])


def test_no_pack_there(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no policy pack there"):
        load_pack(tmp_path)


@pytest.mark.parametrize("name", built_in_packs())
def test_a_built_in_pack_says_what_it_must(name: str) -> None:
    (pack,) = [pack for pack in load_packs([name]) if pack.name == name]
    assert pack.manifest.jurisdiction == name
    for rule in pack.manifest.rules:
        assert rule.text.endswith(".")
        assert rule.remedy.endswith(".")
        assert f'answers["{rule.id}"]' in "".join(pack.modules.values())
    if name != "house":
        assert pack.manifest.disclaimer
        assert "not legal advice" in pack.manifest.disclaimer

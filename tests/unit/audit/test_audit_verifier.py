"""The stand-alone verifier: what it refuses, and how it speaks on the command line."""

from __future__ import annotations

import copy
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from aboveboard.audit import verifier
from aboveboard.audit.verifier import VerificationFailed
from tests.audit_cases import decision, open_log

Documents = tuple[dict[str, Any], list[str], Path]


@pytest.fixture(scope="module")
def issued(tmp_path_factory: pytest.TempPathFactory) -> Documents:
    """A receipt, the keys of its log, and the directory all is in."""
    root = tmp_path_factory.mktemp("log")
    with open_log(root) as log:
        log.append_all([decision(n, f"sub-{n}") for n in range(9)])
        content = log.receipt("dec-000004", actor="a", purpose="test").to_json()
        (root / "receipt.json").write_bytes(content)
        return json.loads(content), log.vkeys, root


def test_keys_are_given_as_text_or_as_files(issued: Documents, capsys: pytest.CaptureFixture[str]) -> None:
    _, keys, root = issued
    receipt = str(root / "receipt.json")
    for key in (*keys, str(root / "keys" / "audit-log.vkey"), str(root / "keys" / "audit-log-mldsa44.vkey")):
        assert verifier.main([receipt, "--key", key]) == 0
        assert capsys.readouterr().out.startswith(
            "verified: origin bank.example/audit, index 4, size 9, type decision/1"
        )


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["{receipt}"], 64, "required"),
        (["{receipt}", "--key", "nowhere"], 64, "nowhere"),
        (["missing.json", "--key", "{key}"], 64, "missing.json"),
        (["{receipt}", "--key", "{key}", "--quorum", "1"], 1, "NOT VERIFIED: signed by 0"),
        (["{receipt}", "--key", "a+b+c"], 1, "NOT VERIFIED"),
        (["{key_file}", "--key", "{key}"], 1, "NOT VERIFIED: not JSON"),
        (["{root}", "--key", "{key}"], 1, "NOT VERIFIED: the log's directory is not complete"),
    ],
)
def test_what_it_says_on_the_command_line(
    issued: Documents, capsys: pytest.CaptureFixture[str], arguments: list[str], status: int, said: str
) -> None:
    _, keys, root = issued
    names = {
        "receipt": str(root / "receipt.json"),
        "key": keys[0],
        "key_file": str(root / "keys" / "audit-log.vkey"),
        "root": str(root),
    }
    assert verifier.main([argument.format(**names) for argument in arguments]) == status
    assert said in capsys.readouterr().err


CHANGES: dict[str, Callable[[dict[str, Any]], object]] = {
    "another version": lambda r: r.update(version="aboveboard-receipt/2"),
    "another origin": lambda r: r.update(origin="other.example/log"),
    "a missing field": lambda r: r.pop("salt"),
    "a further field": lambda r: r.update(note="trust me"),
    "another index": lambda r: r.update(index=5),
    "an index beyond": lambda r: r.update(index=9),
    "an index below": lambda r: r.update(index=-1),
    "no index": lambda r: r.update(index=True),
    "a longer proof": lambda r: r["proof"].append("00" * 32),
    "a shorter proof": lambda r: r["proof"].pop(),
    "a proof that is none": lambda r: r.update(proof="00"),
    "upper-case hex": lambda r: r.update(salt=r["salt"].upper().replace("0", "A")),
    "a short salt": lambda r: r.update(salt=r["salt"][2:]),
    "a record that is none": lambda r: r.update(record=[]),
    "a deep record": lambda r: r.update(record={"a": json.loads("[" * 700 + "]" * 700)}),
    "a broken string": lambda r: r["record"].update(outcome="\ud800"),
    "no checkpoint": lambda r: r.update(checkpoint=7),
    "an unsigned checkpoint": lambda r: r.update(checkpoint=r["checkpoint"].split("\n\n")[0] + "\n"),
    "a large size": lambda r: r.update(checkpoint=r["checkpoint"].replace("\n9\n", "\n" + "9" * 5000 + "\n")),
    "a size with a zero": lambda r: r.update(checkpoint=r["checkpoint"].replace("\n9\n", "\n09\n")),
    "a control character": lambda r: r.update(checkpoint="\r" + r["checkpoint"]),
    "a bad line": lambda r: r.update(checkpoint=r["checkpoint"] + "- x y\n"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_is_refused(issued: Documents, change: str) -> None:
    receipt, keys, _ = issued
    changed = copy.deepcopy(receipt)
    CHANGES[change](changed)
    with pytest.raises(VerificationFailed):
        verifier.verify_receipt(changed, keys)


@pytest.mark.parametrize("text", ['{"a": 1, "a": 2}', "NaN", "[Infinity]", "[" * 5000, "{", b"\xff\xfe"])
def test_json_is_read_strictly(text: str | bytes) -> None:
    with pytest.raises(VerificationFailed):
        verifier.parse_json(text)


def test_another_ed25519_library_will_do(issued: Documents, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("nacl")
    receipt, keys, _ = issued
    for name in ("cryptography", "cryptography.exceptions"):
        monkeypatch.setitem(sys.modules, name, None)
    assert verifier.verify_receipt(receipt, keys[:1])["index"] == 4
    forged = {**receipt, "checkpoint": receipt["checkpoint"].replace("\n9\n", "\n8\n")}
    with pytest.raises(VerificationFailed, match="does not hold"):
        verifier.verify_receipt(forged, keys[:1])
    with pytest.raises(VerificationFailed, match="newer `cryptography`"):
        verifier.verify_receipt(receipt, keys)

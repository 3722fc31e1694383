"""Files are wholly there or not there; secrets are made once and kept from others."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from aboveboard.errors import NotVerified, StorageFailed
from aboveboard.files import secret_bytes, whole_directory, write_atomically


def test_a_write_replaces_the_file_and_leaves_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "file.json"
    write_atomically(target, b"one")
    write_atomically(target, b"two", mode=0o600)
    assert target.read_bytes() == b"two"
    assert target.stat().st_mode & 0o777 == 0o600
    assert os.listdir(target.parent) == ["file.json"]


def test_an_interrupted_directory_vanishes(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), whole_directory(tmp_path / "run") as scratch:
        (scratch / "half").write_bytes(b"x")
        raise KeyboardInterrupt
    assert os.listdir(tmp_path) == []


def test_a_whole_directory_appears_at_once(tmp_path: Path) -> None:
    with whole_directory(tmp_path / "run") as scratch:
        (scratch / "a").write_bytes(b"x")
        assert not (tmp_path / "run").exists()
    assert os.listdir(tmp_path) == ["run"]


def test_a_full_disk_keeps_the_old_file_and_says_what_to_do(tmp_path: Path) -> None:
    # A limit on the size of files is what a full disk looks like to one process, without needing root.
    target = tmp_path / "file"
    write_atomically(target, b"old")
    program = (
        "import signal, sys; from pathlib import Path; from aboveboard.files import write_atomically\n"
        "from aboveboard.errors import StorageFailed\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "try: write_atomically(Path(sys.argv[1]), b'x' * 100_000)\n"
        "except StorageFailed as error: print(error, error.hint); sys.exit(74)\n"
    )
    finished = subprocess.run(
        [sys.executable, "-c", program, str(target)],
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000)),
        check=False,
    )
    assert finished.returncode == 74, finished.stderr
    assert "File too large" in finished.stdout
    assert target.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]


def test_a_file_in_the_way_is_our_error(tmp_path: Path) -> None:
    (tmp_path / "taken").write_bytes(b"")
    with pytest.raises(StorageFailed):
        write_atomically(tmp_path / "taken" / "file", b"x")


def test_everybody_who_comes_first_gets_the_same_secret(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "subject.key"
    with ThreadPoolExecutor(16) as pool:
        secrets = set(pool.map(lambda _: secret_bytes(path), range(64)))
    assert len(secrets) == 1
    assert len(secrets.pop()) == 32
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert os.listdir(path.parent) == ["subject.key"]


def test_a_secret_others_can_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "subject.key"
    secret_bytes(path)
    path.chmod(0o644)
    with pytest.raises(NotVerified, match="others can read"):
        secret_bytes(path)


def test_a_truncated_secret_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "subject.key"
    secret_bytes(path)
    path.write_bytes(b"short")
    with pytest.raises(NotVerified, match="32 bytes"):
        secret_bytes(path)

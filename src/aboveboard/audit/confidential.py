"""Logs of their own for what must not be known to exist, such as suspicious-activity reports (31 CFR 1020.320).

A confidential log shares nothing with the general one: its own directory (mode 0700), signing keys, key-encryption
key, vault, tree and witnesses, and a list of the only people who may read it. The general log holds no entry, no
reference and no checkpoint of it, and reads the same whether there is one or not. Do not anchor a confidential log
in a general one, do not give it the same witnesses, and word holds in the general log neutrally: each would tell.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from aboveboard.audit.log import AuditLog
from aboveboard.audit.opening import Options
from aboveboard.clock import Clock, system_clock
from aboveboard.errors import Misuse
from aboveboard.files import storage_errors


def open_confidential(
    directory: Path,
    *,
    origin: str,
    readers: Iterable[str],
    clock: Clock = system_clock,
    options: Options | None = None,
    **wiring: Any,
) -> AuditLog:
    """Open the confidential log in `directory`, making it when there is none; `wiring` as for `AuditLog.open`.

    Raises `Misuse` when nobody may read it, or when it would share keys with another log.
    """
    allowed = frozenset(readers)
    if not allowed or "" in allowed:
        raise Misuse("a confidential log names the people who may read it", hint="readers=[…]")
    if "keys" in wiring:
        raise Misuse("a confidential log has keys of its own", hint="they are kept in its directory, or use kek=…")
    with storage_errors(directory):
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        directory.chmod(0o700)
    return AuditLog.open(
        directory / "audit",
        keys=directory / "keys",
        origin=origin,
        clock=clock,
        options=replace(options or Options(), readers=allowed),
        **wiring,
    )

"""Logging in to a real Vault as a service account does, and what happens to a login as time goes on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from aboveboard.audit.kek_transit import TransitKey
from aboveboard.audit.location import key_encryption_key
from aboveboard.audit.transit_login import TransitLogin
from aboveboard.errors import Misuse, NotAuthorised, NotVerified, StorageFailed
from aboveboard.settings import LogSettings, VaultIdentity
from tests.vault_server import Vault, vault_server

KEY = bytes(range(32))


@pytest.fixture(scope="module")
def vault(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Vault]:
    with vault_server(tmp_path_factory.mktemp("vault")) as server:
        yield server


class Pod:
    """A process with a token in a file and a clock that we move."""

    def __init__(self, vault: Vault, root: Path, *, mount: str = "kubernetes", role: str = "decisions") -> None:
        import hvac

        self.file = root / "token"
        self.file.write_text(vault.accounts.token())
        self.now = 1000.0
        self.client = hvac.Client(url=vault.url, token="")
        identity = VaultIdentity(role, self.file, mount=mount)
        self.login = TransitLogin(self.client, identity, timer=lambda: self.now)
        self.kek = TransitKey(self.client, "audit", login=self.login)


@pytest.mark.parametrize("mount", ["kubernetes", "clusters/eu"])
def test_a_service_account_may_wrap_and_unwrap(vault: Vault, tmp_path: Path, mount: str) -> None:
    pod = Pod(vault, tmp_path, mount=mount)
    wrapped = pod.kek.wrap(KEY)
    assert wrapped.startswith(b"vault:v1:")
    token = pod.client.token
    assert pod.kek.unwrap(wrapped) == KEY
    assert pod.client.token == token  # one login serves both


def test_a_token_is_renewed_in_the_last_third_of_its_life_and_replaced_after_it(vault: Vault, tmp_path: Path) -> None:
    pod = Pod(vault, tmp_path)
    pod.kek.wrap(KEY)
    first = pod.client.token
    pod.file.unlink()  # a renewal needs no login
    pod.now += 45
    pod.kek.wrap(KEY)
    assert pod.client.token == first
    pod.now += 30  # beyond the first minute: the renewal counts
    pod.kek.wrap(KEY)
    assert pod.client.token == first
    pod.now += 61
    with pytest.raises(NotAuthorised, match="no token"):
        pod.kek.wrap(KEY)
    pod.file.write_text(vault.accounts.token())
    pod.kek.wrap(KEY)
    assert pod.client.token != first


def test_what_cannot_be_renewed_is_asked_for_anew(vault: Vault, tmp_path: Path) -> None:
    pod = Pod(vault, tmp_path, mount="clusters/eu")
    pod.kek.wrap(KEY)
    first = pod.client.token
    pod.now += 45
    pod.kek.wrap(KEY)
    assert pod.client.token != first


@pytest.mark.parametrize("passed", [0, 45])
def test_a_token_that_vault_revoked_is_replaced(vault: Vault, tmp_path: Path, passed: float) -> None:
    pod = Pod(vault, tmp_path)
    wrapped = pod.kek.wrap(KEY)
    first = pod.client.token
    vault.admin().auth.token.revoke(first)
    pod.now += passed
    assert pod.kek.unwrap(wrapped) == KEY
    assert pod.client.token != first


def test_whoever_is_not_the_account_is_not_let_in(vault: Vault, tmp_path: Path) -> None:
    pod = Pod(vault, tmp_path)
    for token in (
        vault.accounts.token("other"),
        vault.accounts.token(audience="kubernetes"),
        vault.accounts.token(seconds=-60),
        vault.accounts.token()[:-8] + "AAAAAAAA",
        "nonsense",
    ):
        pod.file.write_text(token)
        with pytest.raises(NotAuthorised, match="decisions by auth/kubernetes") as refusal:
            pod.kek.wrap(KEY)
        assert token not in str(refusal.value.as_dict())
        assert refusal.value.__suppress_context__
    for content in (b"", b"\xff\xfe"):
        pod.file.write_bytes(content)
        with pytest.raises(NotAuthorised, match="there is no token"):
            pod.kek.wrap(KEY)
    with pytest.raises(NotAuthorised, match="as nobody"):
        Pod(vault, tmp_path, role="nobody").kek.wrap(KEY)
    with pytest.raises(NotAuthorised, match="auth/elsewhere"):
        Pod(vault, tmp_path, mount="elsewhere").kek.wrap(KEY)


def test_what_the_role_may_not_use_is_refused_after_one_more_login(vault: Vault, tmp_path: Path) -> None:
    pod = Pod(vault, tmp_path)
    other = TransitKey(pod.client, "payroll", login=pod.login)
    with pytest.raises(NotVerified, match="Forbidden"):
        other.wrap(KEY)
    assert pod.kek.unwrap(pod.kek.wrap(KEY)) == KEY


def test_a_vault_that_is_away_is_worth_another_try(vault: Vault, tmp_path: Path) -> None:
    pod = Pod(vault, tmp_path)
    pod.client.url = "http://127.0.0.1:9"
    with pytest.raises(StorageFailed, match="cannot be reached"):
        pod.kek.wrap(KEY)
    pod.client.url = vault.url
    pod.kek.wrap(KEY)


def test_the_environment_names_the_identity_and_no_token_of_it_counts(
    vault: Vault, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "token"
    file.write_text(vault.accounts.token("other"))
    environment = {"ABOVEBOARD_VAULT_ROLE": "decisions", "ABOVEBOARD_VAULT_TOKEN_FILE": str(file)}
    settings = LogSettings.from_environment(environment)
    assert settings.vault == VaultIdentity("decisions", file)
    monkeypatch.setenv("VAULT_ADDR", vault.url)
    monkeypatch.setenv("VAULT_TOKEN", "root")
    kek: Any = key_encryption_key("vault:audit", vault=settings.vault)
    with pytest.raises(NotAuthorised):
        kek.wrap(KEY)
    file.write_text(vault.accounts.token())
    assert kek.unwrap(kek.wrap(KEY)) == KEY


@pytest.mark.parametrize("name", ["ABOVEBOARD_VAULT_ROLE", "ABOVEBOARD_VAULT_TOKEN_FILE"])
def test_half_an_identity_is_refused(name: str) -> None:
    with pytest.raises(Misuse, match="go together"):
        LogSettings.from_environment({name: "something"})


def test_an_identity_is_whole(tmp_path: Path) -> None:
    assert VaultIdentity.from_environment({"ABOVEBOARD_VAULT_AUTH": "kubernetes", "VAULT_NAMESPACE": "eu"}) is None
    environment = {
        "ABOVEBOARD_VAULT_ROLE": "r",
        "ABOVEBOARD_VAULT_TOKEN_FILE": str(tmp_path / "t"),
        "ABOVEBOARD_VAULT_AUTH": "clusters/eu",
        "VAULT_NAMESPACE": "lending",
    }
    found = VaultIdentity.from_environment(environment)
    assert found == VaultIdentity("r", tmp_path / "t", "clusters/eu", "lending")

"""How brokers are reached: what may be said, what goes together, and what stays ours."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from aboveboard.errors import Misuse, NotFound
from aboveboard.streaming.kafka import KafkaSettings, Sender, require

SECRET = "s3cr3t"


def file(directory: Path, name: str, content: str = "") -> Path:
    path = directory / name
    path.write_text(content)
    return path


def test_without_the_package_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "confluent_kafka", None)
    with pytest.raises(Misuse) as refusal:
        require()
    assert "aboveboard[kafka]" in refusal.value.hint


def test_plain_brokers_and_mutual_tls(tmp_path: Path) -> None:
    assert KafkaSettings("a:9092,b:9092").configuration() == {
        "client.id": "aboveboard",
        "bootstrap.servers": "a:9092,b:9092",
    }
    authority, certificate, key = (file(tmp_path, name) for name in ("ca.crt", "user.crt", "user.key"))
    assert KafkaSettings("a:9093", authority, certificate, key).configuration() == {
        "client.id": "aboveboard",
        "bootstrap.servers": "a:9093",
        "security.protocol": "ssl",
        "ssl.ca.location": str(authority),
        "ssl.certificate.location": str(certificate),
        "ssl.key.location": str(key),
    }


def test_files_that_are_missing_or_do_not_go_together(tmp_path: Path) -> None:
    there = file(tmp_path, "user.crt")
    with pytest.raises(Misuse, match="together"):
        KafkaSettings("a:9093", certificate=there).configuration()
    for settings in (
        KafkaSettings("a:9093", tmp_path / "none"),
        KafkaSettings("a:9093", properties=tmp_path / "none"),
        KafkaSettings("a:9093", None, there, tmp_path / "none"),
    ):
        with pytest.raises(NotFound, match="none"):
            settings.configuration()


def test_properties_add_to_it_and_with_tls_choose_the_protocol(tmp_path: Path) -> None:
    text = f"# for SASL\n\nsecurity.protocol = sasl_ssl\nsasl.password={SECRET}=\nbootstrap.servers=elsewhere:1\n"
    properties = file(tmp_path, "client.properties", text)
    found = KafkaSettings("a:9093", file(tmp_path, "ca.crt"), properties=properties).configuration()
    assert found["security.protocol"] == "sasl_ssl"
    assert found["sasl.password"] == f"{SECRET}="
    assert found["bootstrap.servers"] == "a:9093"


def test_what_is_no_setting_is_named_by_its_line_and_not_repeated(tmp_path: Path) -> None:
    with pytest.raises(Misuse, match=r"client\.properties:2") as refusal:
        KafkaSettings("a:9093", properties=file(tmp_path, "client.properties", f"acks=1\n{SECRET}\n")).configuration()
    assert SECRET not in str(refusal.value.as_dict())


def test_safety_cannot_be_configured_away(tmp_path: Path) -> None:
    pytest.importorskip("confluent_kafka")
    unsafe = file(tmp_path, "client.properties", "acks=0\nenable.idempotence=false\n")
    sender = Sender(KafkaSettings("127.0.0.1:9", properties=unsafe), "topic")
    made = sender.configuration()
    assert (made["acks"], made["enable.idempotence"]) == ("all", True)
    sender.close()
    with pytest.raises(Misuse, match=r"no\.such\.setting"):
        Sender(KafkaSettings("127.0.0.1:9", properties=file(tmp_path, "other", "no.such.setting=1")), "topic")


def test_a_file_that_became_another_is_noticed(tmp_path: Path) -> None:
    """As a kubelet renews a mounted secret: a link to another directory, in one go."""
    for name in ("old", "new"):
        (tmp_path / name).mkdir()
        file(tmp_path / name, "user.crt", "same size")
        file(tmp_path / name, "user.key", "same size")
    (tmp_path / "data").symlink_to("old")
    settings = KafkaSettings("a:9093", None, tmp_path / "data" / "user.crt", tmp_path / "data" / "user.key")
    before = settings.state()
    assert settings.state() == before
    (tmp_path / "next").symlink_to("new")
    (tmp_path / "next").replace(tmp_path / "data")
    assert settings.state() != before
    assert KafkaSettings("a:9092").state() == (None, None, None, None)

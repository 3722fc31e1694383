from __future__ import annotations

import pytest

from aboveboard.errors import NotVerified, RequestRefused
from aboveboard.serving.deployment import deploy

DIGEST = "sha256:" + "0" * 64


def test_a_release_becomes_a_deployment(release_files: dict[str, bytes]) -> None:
    deployment = deploy(DIGEST, release_files)
    assert deployment.name == "credit-default"
    assert deployment.attributes == ("sex", "age", "marriage", "education")
    assert deployment.retention == "P25M"
    assert deployment.jurisdiction(None) == "us"
    assert deployment.jurisdiction("eu") == "eu"


def test_refuses_a_jurisdiction_the_release_was_not_judged_under(release_files: dict[str, bytes]) -> None:
    with pytest.raises(RequestRefused, match="not judged"):
        deploy(DIGEST, release_files).jurisdiction("sg")


@pytest.mark.parametrize("missing", ["model.yaml", "model/model.json", "model"])
def test_refuses_a_release_with_a_file_missing(release_files: dict[str, bytes], missing: str) -> None:
    files = {name: content for name, content in release_files.items() if not name.startswith(missing)}
    with pytest.raises(NotVerified):
        deploy(DIGEST, files)


def test_refuses_a_spec_that_is_not_text(release_files: dict[str, bytes]) -> None:
    with pytest.raises(NotVerified):
        deploy(DIGEST, {**release_files, "model.yaml": b"\xff\xfe"})

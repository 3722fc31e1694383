"""A command line of its own for each module."""

from __future__ import annotations

import pytest

from tests.integration.road.shell import Shell


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Shell:
    directory = tmp_path_factory.mktemp("shell")
    return Shell(directory / "home", directory)

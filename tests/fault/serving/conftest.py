from __future__ import annotations

from tests.integration.serving.conftest import home, released

__all__ = ["home", "released"]

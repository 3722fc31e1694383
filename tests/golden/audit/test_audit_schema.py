"""The schema of events is what others read the log's records by: it changes on purpose only."""

from __future__ import annotations

import json

from aboveboard.audit import events
from tests.conftest import Golden


def test_the_schema_of_events(golden: Golden) -> None:
    golden("audit/events.schema.json", json.dumps(events.json_schema(), indent=2) + "\n")

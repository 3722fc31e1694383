"""Write what is installed here as a CycloneDX 1.6 bill of materials to standard output. Standard library only."""

from __future__ import annotations

import importlib.metadata
import json
import os
import re
import sys
from datetime import UTC, datetime
from typing import Any


def bill_of_materials() -> dict[str, Any]:
    """Return the bill of materials; the same installation and SOURCE_DATE_EPOCH give the same document."""
    moment = datetime.fromtimestamp(int(os.environ.get("SOURCE_DATE_EPOCH", "0")), UTC)
    components = {}
    for distribution in importlib.metadata.distributions():
        name = re.sub(r"[-_.]+", "-", distribution.metadata["Name"]).lower()
        reference = f"pkg:pypi/{name}@{distribution.version}"
        component: dict[str, Any] = {
            "type": "library",
            "bom-ref": reference,
            "name": name,
            "version": distribution.version,
            "purl": reference,
        }
        if "License-Expression" in distribution.metadata:
            component["licenses"] = [{"expression": distribution.metadata["License-Expression"]}]
        components[reference] = component
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "timestamp": moment.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "component": {"type": "container", "bom-ref": "aboveboard-image", "name": "aboveboard"},
        },
        "components": [components[reference] for reference in sorted(components)],
    }


if __name__ == "__main__":
    json.dump(bill_of_materials(), sys.stdout, indent=2, sort_keys=True)
    sys.stdout.write("\n")

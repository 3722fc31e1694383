"""Write what is installed here as a CycloneDX 1.6 bill of materials to standard output. Standard library only.

Debian's packages from dpkg's own record, Python's from their metadata, and inside these what their wheels bring along
compiled in, where the wheel says so (PEP 770): OpenSSL in database drivers, crates in extensions written in Rust.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import re
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

Component = dict[str, Any]


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def python_components() -> Iterator[Component]:
    """Yield the Python packages, each with what its wheel says it contains."""
    for distribution in importlib.metadata.distributions():
        name = _normal(distribution.metadata["Name"])
        reference = f"pkg:pypi/{name}@{distribution.version}"
        component: Component = {
            "type": "library",
            "bom-ref": reference,
            "name": name,
            "version": distribution.version,
            "purl": reference,
        }
        if "License-Expression" in distribution.metadata:
            component["licenses"] = [{"expression": distribution.metadata["License-Expression"]}]
        if inside := sorted(_inside(distribution, name, reference), key=lambda each: each["bom-ref"]):
            component["components"] = inside
        yield component


def _inside(distribution: importlib.metadata.Distribution, name: str, reference: str) -> Iterator[Component]:
    seen = set()
    for file in distribution.files or []:
        if file.parent.name != "sboms" or file.suffix != ".json":
            continue
        for found in json.loads(file.read_text(encoding="utf-8")).get("components", []):
            if "purl" not in found:
                continue
            name_only, _, version = found["purl"].partition("?")[0].rpartition("@")
            key = f"{name_only}@{quote(unquote(version), safe=':~')}"
            if key in seen or (key.startswith("pkg:pypi/") and _normal(found["name"]) == name):
                continue
            seen.add(key)
            yield {
                "type": "library",
                "bom-ref": f"{reference}#{key}",
                "name": found["name"],
                "version": found.get("version", ""),
                "purl": key,
            }


def debian_components(record: Path, distro: str) -> Iterator[Component]:
    """Yield what dpkg's record (/var/lib/dpkg/status) has as installed; `distro` is e.g. debian-13.

    The purl names the source package as `upstream`, by which Debian's security tracker knows it.
    """
    if not record.exists():
        return
    for stanza in record.read_text(encoding="utf-8").split("\n\n"):
        fields = dict(re.findall(r"^([A-Za-z-]+): (.*)$", stanza, re.MULTILINE))
        if fields.get("Status", "").split()[-1:] != ["installed"]:
            continue
        name, version = fields["Package"], fields["Version"]
        source, _, source_version = str(fields.get("Source", name)).partition(" ")
        upstream = source + (f"@{source_version.strip('()')}" if source_version else "")
        qualifiers = {"arch": fields["Architecture"], "distro": distro, "upstream": upstream}
        query = "&".join(f"{key}={quote(value, safe=':~')}" for key, value in sorted(qualifiers.items()))
        yield {
            "type": "library",
            "bom-ref": f"pkg:deb/debian/{name}@{version}:{fields['Architecture']}",
            "name": name,
            "version": version,
            "purl": f"pkg:deb/debian/{quote(name, safe='')}@{quote(version, safe=':~')}?{query}",
        }


def interpreter(base: Path) -> Iterator[Component]:
    """Yield Python itself where it is not a package of the distribution's, as in the images called python."""
    if base != Path("/usr"):
        version = platform.python_version()
        yield {
            "type": "application",
            "bom-ref": f"pkg:generic/python@{version}",
            "name": "python",
            "version": version,
            "purl": f"pkg:generic/python@{version}",
            "cpe": f"cpe:2.3:a:python:python:{version}:*:*:*:*:*:*:*",
        }


def bill_of_materials(root: Path = Path("/")) -> Component:
    """Return the bill of materials; the same installation and SOURCE_DATE_EPOCH give the same document."""
    moment = datetime.fromtimestamp(int(os.environ.get("SOURCE_DATE_EPOCH", "0")), UTC)
    system = platform.freedesktop_os_release()
    distro = f"{system['ID']}-{system.get('VERSION_ID', 'testing')}"
    components = [
        *interpreter(Path(sys.base_prefix)),
        *debian_components(root / "var/lib/dpkg/status", distro),
        *{each["bom-ref"]: each for each in python_components()}.values(),
        {
            "type": "operating-system",
            "bom-ref": f"os:{distro}",
            "name": system["ID"],
            "version": system.get("VERSION_ID", "testing"),
        },
    ]
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "timestamp": moment.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "component": {
                "type": "container",
                "bom-ref": "aboveboard-image",
                "name": "aboveboard",
                "version": importlib.metadata.version("aboveboard"),
            },
        },
        "components": sorted(components, key=lambda each: each["bom-ref"]),
    }


if __name__ == "__main__":
    json.dump(bill_of_materials(), sys.stdout, indent=2, sort_keys=True)
    sys.stdout.write("\n")

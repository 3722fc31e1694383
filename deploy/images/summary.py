"""Print what each layer of an OCI layout weighs, and put its bill of materials beside it. Standard library only.

python3 deploy/images/summary.py build/image      writes build/image.cdx.json
"""

from __future__ import annotations

import gzip
import json
import sys
import tarfile
from pathlib import Path
from typing import Any

BILL = "usr/share/aboveboard/sbom.cdx.json"


def blob(layout: Path, descriptor: dict[str, Any]) -> Path:
    """Return the file a descriptor names."""
    return layout / "blobs" / str(descriptor["digest"]).replace(":", "/")


def unpacked(path: Path) -> int:
    """Return the bytes of a gzipped file, unpacked."""
    total = 0
    with gzip.open(path) as stream:
        while chunk := stream.read(1 << 20):
            total += len(chunk)
    return total


def bill_of_materials(layer: Path) -> bytes:
    """Return the bill from the layer it is in, the last one."""
    with tarfile.open(layer) as archive:
        found = archive.extractfile(BILL)
        if found is None:
            raise ValueError(f"{BILL} is no file")
        return found.read()


def main(layout: Path) -> None:
    """Print a line for each layer, and their sum."""
    [entry] = json.loads((layout / "index.json").read_text())["manifests"]
    manifest = json.loads(blob(layout, entry).read_text())
    history = json.loads(blob(layout, manifest["config"]).read_text())["history"]
    made = [
        step.get("created_by", "").replace("/bin/sh -c #(nop) ", "")
        for step in history
        if not step.get("empty_layer")
    ]
    sizes = [(layer["size"], unpacked(blob(layout, layer))) for layer in manifest["layers"]]
    print(f"{entry['digest']}\n{'packed':>9} {'unpacked':>9}  MB")
    for (packed, whole), text in zip(sizes, made, strict=True):
        print(f"{packed / 1e6:9.1f} {whole / 1e6:9.1f}  {text[:90]}")
    print(f"{sum(s[0] for s in sizes) / 1e6:9.1f} {sum(s[1] for s in sizes) / 1e6:9.1f}  all")
    bill = layout.with_name(f"{layout.name}.cdx.json")
    bill.write_bytes(bill_of_materials(blob(layout, manifest["layers"][-1])))
    print(f"bill of materials: {bill}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))

"""An image as an OCI layout: what is in it, and programs run in it as a cluster runs them.

As user 65532 without a single capability, the root read-only, only the home and /tmp writable: what the pods'
security context says. It takes mount namespaces, so these tests need root.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tarfile
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest

from aboveboard.cluster.pod import HOME, USER

_ENTER = """
mount --rbind "$root" "$root"
mount -t proc proc "$root/proc"
mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
mount --rbind /dev "$root/dev"
mount --bind "$home" "$root$inside"
mount -o remount,ro,bind "$root"
exec setpriv --no-new-privs chroot --userspec="$user:$user" --groups= "$root" "$@"
"""


class Image:
    """One image in a layout directory."""

    def __init__(self, layout: Path) -> None:
        self.layout = layout
        [self.descriptor] = self._read(layout / "index.json")["manifests"]
        self.manifest = self._read(self.blob(self.descriptor))
        self.config = self._read(self.blob(self.manifest["config"]))

    @staticmethod
    def _read(path: Path) -> Any:
        return json.loads(path.read_text(encoding="utf-8"))

    def blob(self, descriptor: dict[str, Any]) -> Path:
        """Return the file that a descriptor names."""
        return self.layout / "blobs" / str(descriptor["digest"]).replace(":", "/")

    def unpack(self, root: Path) -> None:
        """Lay the layers over each other in `root`, as the OCI image specification says, whiteouts included."""
        for layer in self.manifest["layers"]:
            with tarfile.open(self.blob(layer)) as archive:
                for member in archive:
                    path = root / member.name
                    if path.name.startswith(".wh."):
                        hidden = path.with_name(path.name.removeprefix(".wh."))
                        shutil.rmtree(hidden) if hidden.is_dir() and not hidden.is_symlink() else hidden.unlink()
                        continue
                    if path.is_symlink() or (path.exists() and not member.isdir()):
                        path.unlink()
                    archive.extract(member, root, numeric_owner=True, filter="fully_trusted")
        root.chmod(0o755)


class Container:
    """The unpacked image and a home, in which programs run."""

    def __init__(self, image: Image, root: Path, home: Path) -> None:
        self.image, self.root, self.home = image, root, home

    @cached_property
    def environment(self) -> dict[str, str]:
        """The environment that the image sets."""
        return dict(line.split("=", 1) for line in self.image.config["config"]["Env"])

    def command(self, arguments: Sequence[str], **environment: str) -> list[str]:
        """Return the command line that runs `arguments` in the image's working directory."""
        settings = {**self.environment, **environment}
        where = self.image.config["config"]["WorkingDir"]
        inside = ["/usr/bin/env", f"--chdir={where}", "-i", *(f"{k}={v}" for k, v in settings.items()), *arguments]
        apart = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--propagation=private"]
        places = {"root": str(self.root), "home": str(self.home), "inside": HOME, "user": str(USER)}
        return [*apart, "env", *(f"{k}={v}" for k, v in places.items()), "sh", "-ec", _ENTER, "sh", *inside]

    def run(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a program to its end."""
        return subprocess.run(
            self.command(arguments, **environment), capture_output=True, text=True, check=False, timeout=200
        )


def built_image() -> Image:
    """Return the image that `make image` left; skip the test where there is none or it cannot be run."""
    place = os.environ.get("ABOVEBOARD_IMAGE")
    if place is None:
        pytest.skip("no image to look at: `make image-test` builds one, and says where by ABOVEBOARD_IMAGE")
    if os.geteuid() != 0:
        pytest.skip("an image's owners and mounts need root")
    return Image(Path(place))

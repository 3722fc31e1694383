"""A folder that Kubernetes mounts from a ConfigMap or a Secret: links, but only those the kubelet makes.

The kubelet writes the content into a folder whose name begins with two dots, lets `..data` point to it, and each
visible file to `..data/` and its own name; an update swaps `..data` (`AtomicWriter` in kubernetes/kubernetes,
pkg/volume/util). Exactly that is accepted. A link to anywhere else is not.
"""

from __future__ import annotations

from pathlib import Path

from aboveboard.errors import Problem

_DATA = "..data"


def mounted_content(folder: Path) -> tuple[Path, list[Problem]]:
    """Return the folder in which the files of `folder` really are, and what is wrong with the links to them.

    A folder without `..data` is its own content. All files are read from one generation of a mount, whatever is
    swapped meanwhile.
    """
    if not (folder / _DATA).is_symlink():
        return folder, []
    generation = str((folder / _DATA).readlink())
    content = folder / generation
    hint = "mount the ConfigMap as a whole, or use a plain folder"
    inside = generation.startswith("..") and "/" not in generation and generation not in ("..", _DATA)
    if not inside or content.is_symlink() or not content.is_dir():
        return folder, [Problem(_DATA, "does not point to a folder beside it", hint, str(folder / _DATA))]
    problems = []
    for path in sorted(folder.iterdir()):
        if path.name == _DATA or (path.name.startswith("..") and path.is_dir() and not path.is_symlink()):
            continue
        if not path.is_symlink() or str(path.readlink()) != f"{_DATA}/{path.name}":
            problems.append(Problem(path.name, f"is not the link to {_DATA} that a mount has", hint, str(path)))
    return content, problems

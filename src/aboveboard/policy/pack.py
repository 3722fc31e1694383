"""A policy pack: the rules of one jurisdiction in a folder, `pack.yaml` beside the Rego that answers them.

The manifest says what each rule is, where it stands in the law and from when to when it is law; the Rego says
whether a model obeys it. Superseded rules stay, with their last day, so that an old decision can be judged by the
law of its time.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from aboveboard.canonical import canonical_json
from aboveboard.errors import Conflict, NotFound, Problem, SpecInvalid
from aboveboard.files import storage_errors
from aboveboard.ids import sha256_digest
from aboveboard.policy.mount import mounted_content
from aboveboard.policy.verdict import Severity
from aboveboard.spec.types import Name, Purpose, Text

BUILT_IN = Path(__file__).parent / "packs"
HOUSE = "house"
"""The pack of the limits a model spec sets itself; it judges every model."""

_MANIFEST = "pack.yaml"
_PACKAGE = re.compile(r"^\s*package\s+(\S+)\s*$", re.MULTILINE)


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, use_attribute_docstrings=True)


class Rule(_Strict):
    """One rule of law, or of the house, and when it applies."""

    id: Name
    title: Text
    citation: Text
    text: Text
    """What the law asks, in one sentence of our own words."""
    confirmed: bool
    """Whether somebody has read the source; otherwise results carry `review_required`."""
    effective_from: date | None = None
    """The first day it is law; None where that was before anybody used this pack."""
    effective_to: date | None = None
    """The last day it is law."""
    severity: Severity = Field(default=Severity.BLOCK, strict=False)
    purposes: (
        Annotated[tuple[Annotated[Purpose, Field(strict=False)], ...], Field(min_length=1, strict=False)]
        | Literal["any"]
    )
    remedy: Text
    """What to do when it does not pass."""

    @model_validator(mode="after")
    def _days_in_order(self) -> Self:
        if self.effective_from and self.effective_to and self.effective_from > self.effective_to:
            raise ValueError("effective_to is before effective_from")
        return self

    def in_force(self, day: date) -> bool:
        """Tell whether the rule is law on `day`; both ends count."""
        return (self.effective_from is None or self.effective_from <= day) and (
            self.effective_to is None or day <= self.effective_to
        )

    def concerns(self, purpose: Purpose) -> bool:
        """Tell whether the rule speaks about models of this purpose."""
        return self.purposes == "any" or purpose in self.purposes


class Manifest(_Strict):
    """The contents of `pack.yaml`."""

    name: Name
    title: Text
    version: Annotated[str, Field(pattern=r"^\d+\.\d+\.\d+$")]
    jurisdiction: Name
    disclaimer: Text | None = None
    rules: Annotated[tuple[Rule, ...], Field(strict=False)]

    @model_validator(mode="after")
    def _ids_are_this_packs_own(self) -> Self:
        if not self.rules:
            raise ValueError("the pack has no rule")
        seen: set[str] = set()
        for rule in self.rules:
            if rule.id in seen:
                raise ValueError(f"rule {rule.id!r} stands here twice")
            if not rule.id.startswith(f"{self.name}-"):
                raise ValueError(f"rule {rule.id!r} does not start with the name of the pack, {self.name}-")
            seen.add(rule.id)
        return self


@dataclass(frozen=True, slots=True)
class PolicyPack:
    """A pack as it was read: the manifest, the Rego by file name, and the digest over every byte of the folder."""

    manifest: Manifest
    modules: Mapping[str, str]
    digest: str

    @property
    def name(self) -> str:
        """The pack's name, also the name of its folder."""
        return self.manifest.name

    @property
    def package(self) -> str:
        """The Rego package its modules declare, e.g. `aboveboard.packs.us`."""
        return f"aboveboard.packs.{self.manifest.name.replace('-', '_')}"


def load_packs(
    jurisdictions: Sequence[str], extra: Sequence[Path] = (), more: Sequence[PolicyPack] = ()
) -> list[PolicyPack]:
    """Return the house pack, the pack of each jurisdiction, those in the folders `extra`, and `more`; each once.

    A pack in `extra` or `more` may itself be that of a jurisdiction asked for. Raises `NotFound` with the known packs
    when a jurisdiction has none, `SpecInvalid` when a pack is not valid, and `Conflict` when two share a name.
    """
    packs = {HOUSE: load_pack(BUILT_IN / HOUSE)}
    for where, pack in (
        *((str(folder), load_pack(folder)) for folder in extra),
        *((pack.name, pack) for pack in more),
    ):
        if pack.name in packs or pack.name in built_in_packs():
            raise Conflict(f"{where}: there already is a pack named {pack.name!r}", hint="give this one another name")
        packs[pack.name] = pack
    provided = {pack.manifest.jurisdiction for pack in packs.values()}
    for jurisdiction in jurisdictions:
        if jurisdiction in built_in_packs():
            packs.setdefault(jurisdiction, load_pack(BUILT_IN / jurisdiction))
        elif jurisdiction not in provided:
            known = sorted({*built_in_packs(), *packs})
            raise NotFound(
                f"no policy pack for jurisdiction {jurisdiction!r}",
                hint=f"known packs: {', '.join(known)}; or write your own and name its folder",
                known=known,
            )
    return list(packs.values())


def built_in_packs() -> list[str]:
    """Return the names of the packs that come with Aboveboard."""
    return sorted(path.parent.name for path in BUILT_IN.glob(f"*/{_MANIFEST}"))


def load_pack(folder: Path) -> PolicyPack:
    """Return the pack in `folder`. Raises `NotFound` without a manifest and `SpecInvalid` with every problem.

    The folder may be the mount of a ConfigMap.
    """
    if not (folder / _MANIFEST).is_file():
        raise NotFound(f"{folder}: no policy pack there", hint=f"a pack is a folder with {_MANIFEST} and .rego files")
    source, problems = mounted_content(folder)
    files: dict[str, str] = {}
    with storage_errors(folder):  # a mount may be swapped, and this generation of it removed
        paths = sorted(source.iterdir())
    for path in paths:
        if not path.is_file() or path.is_symlink() or path.suffix not in (".rego", ".yaml", ".md"):
            hint = "a pack holds pack.yaml, .rego files and Markdown, no folders and no links"
            problems.append(Problem(path.name, "does not belong in a pack", hint, str(path)))
            continue
        try:
            files[path.name] = path.read_bytes().decode("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            problems.append(Problem(path.name, f"cannot be read as UTF-8 text: {error}", file=str(path)))
    manifest, complaints = _manifest(files.get(_MANIFEST, ""), folder)
    problems.extend(complaints)
    modules = {name: text for name, text in files.items() if name.endswith(".rego")}
    if not modules:
        problems.append(Problem("", "no .rego file answers the rules", "add one", str(folder)))
    if problems or manifest is None:
        raise SpecInvalid(f"{folder}: not a valid policy pack", problems, hint="mend each file named and try again")
    digests = {name: sha256_digest(text.encode()) for name, text in files.items()}
    return assemble_pack(manifest, modules, sha256_digest(canonical_json(digests)), where=str(folder))


def assemble_pack(manifest: Manifest, modules: Mapping[str, str], digest: str, *, where: str) -> PolicyPack:
    """Return the pack of a manifest and its Rego; `where` stands for the pack in messages.

    Raises `SpecInvalid` when a module declares another package than the pack's own.
    """
    pack = PolicyPack(manifest, modules, digest)
    problems = [
        Problem("package", f"is not {pack.package}", "mend its first line", f"{where}/{name}")
        for name, text in modules.items()
        if _PACKAGE.findall(text) != [pack.package]
    ]
    if problems:
        raise SpecInvalid(f"{where}: not a valid policy pack", problems, hint="mend each file named and try again")
    return pack


def _manifest(text: str, folder: Path) -> tuple[Manifest | None, list[Problem]]:
    """Return the manifest, or every problem with it."""
    file = str(folder / _MANIFEST)
    try:
        document: Any = YAML(typ="safe", pure=True).load(text)
    except (YAMLError, ValueError, RecursionError) as error:
        return None, [Problem("", f"not valid YAML: {error}", file=file)]
    try:
        manifest = Manifest.model_validate(document)
    except ValidationError as error:
        return None, [
            Problem(".".join(map(str, e["loc"])), e["msg"].removeprefix("Value error, "), file=file)
            for e in error.errors()
        ]
    if manifest.name != folder.resolve().name:
        return None, [Problem("name", f"{manifest.name!r} is not the name of the folder", "rename one", file)]
    return manifest, []

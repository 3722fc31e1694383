"""The files of the Helm chart that follow from our types: values, their schema, CRDs, the API server's orders."""

from __future__ import annotations

import json
import textwrap
from typing import Any, Final

from aboveboard.cluster import crd_documents
from aboveboard.cluster.policies import admission_policies, webhook_configuration
from aboveboard.deploy.dashboards import dashboard_files
from aboveboard.deploy.manifests import file_name, to_yaml
from aboveboard.deploy.values import Values, values_schema
from aboveboard.spec.types import Strict

_WIDTH: Final = 110
_HEADER: Final = """\
# Values of the aboveboard chart. values.schema.json refuses what is not here. See docs/operations/cluster.md.
#
# A first look, on any cluster:  helm install aboveboard deploy/chart -f deploy/chart/examples/trial.yaml
# The control plane needs at least registry.repository, region, regions and trust.document.
"""


def chart_files() -> dict[str, str]:
    """Return the files of the chart that are generated, by their path within it."""
    files = {
        "values.yaml": _HEADER + "\n" + "\n".join(_commented(Values(), 0)).rstrip() + "\n",
        "values.schema.json": json.dumps(values_schema(), indent=2, ensure_ascii=False) + "\n",
    }
    # The template fills in where the webhook is, and whose certificate is trusted.
    files["files/webhook.yaml"] = to_yaml([webhook_configuration(namespace="set-by-helm", service="set-by-helm")])
    files["files/admission-policies.yaml"] = to_yaml(admission_policies())
    files |= {f"files/dashboards/{name}": text for name, text in dashboard_files().items()}
    for crd in crd_documents():
        files[f"crds/{file_name(crd)}"] = to_yaml([crd])
    return files


def _commented(values: Strict, depth: int) -> list[str]:
    """Return the lines of values.yaml for an object: each value with what its type says about it."""
    pad = "  " * depth
    document: dict[str, Any] = values.model_dump(mode="json", by_alias=True)
    lines = []
    for name, field in type(values).model_fields.items():
        key = field.alias or name
        if key == "global":
            continue
        value = getattr(values, name)
        about = field.description or (type(value).__doc__ if isinstance(value, Strict) and depth == 0 else None)
        if about:
            lines += [f"{pad}# {line}" for line in textwrap.wrap(" ".join(about.split()), _WIDTH - len(pad))]
        if isinstance(value, Strict):
            lines += [f"{pad}{key}:", *_commented(value, depth + 1)]
        else:
            # JSON is YAML, and means the same in every version of it.
            lines.append(f"{pad}{key}: {json.dumps(document[key])}")
        if depth == 0:
            lines.append("")
    return lines

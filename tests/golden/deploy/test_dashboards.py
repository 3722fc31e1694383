"""The dashboards: every query is understood by Prometheus, and asks only for what exists."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from aboveboard.deploy.dashboards import dashboard_files
from tests.golden.test_metrics_reference import known_series
from tests.prometheus_server import check_queries

FILES = Path(__file__).parents[3] / "deploy" / "dashboards"
EVERY = pytest.mark.parametrize("name", dashboard_files())
_LABELS = re.compile(r"\{[^}]*\}")


def dashboard(name: str) -> dict[str, Any]:
    """Return a dashboard as it lies in deploy/dashboards."""
    found: dict[str, Any] = json.loads((FILES / name).read_text(encoding="utf-8"))
    return found


def queries(document: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield every query with the title of its panel."""
    for panel in document["panels"]:
        for target in panel["targets"]:
            yield f"{panel['title']} {target['refId']}", target["expr"]


def asked(query: str, document: dict[str, Any], **chosen: str) -> str:
    """Return a query as Grafana sends it: with `All` where values can be chosen, and what stands there otherwise."""
    values = {"__rate_interval": "1m"}
    for variable in document["templating"]["list"]:
        values[variable["name"]] = variable.get("allValue") or variable.get("current", {}).get("value", "")
    values |= chosen
    return re.sub(r"\$(\w+)", lambda found: values[found[1]], query)


@EVERY
def test_prometheus_understands_every_query(name: str, tmp_path: Path) -> None:
    document = dashboard(name)
    check_queries({title: asked(query, document) for title, query in queries(document)}, tmp_path)


@EVERY
def test_every_query_asks_for_series_that_exist(name: str) -> None:
    document = dashboard(name)
    choices = [v["query"]["query"] for v in document["templating"]["list"] if v["type"] == "query"]
    for title, query in [*queries(document), *(("variable", choice) for choice in choices)]:
        names = set(re.findall(r"\b(?:aboveboard|process)[a-z0-9_:]*", _LABELS.sub("", query)))
        assert names or "vector(" in query, title
        assert names <= known_series(), f"{title}: {names - known_series()}"


@EVERY
def test_a_dashboard_is_whole(name: str) -> None:
    document = dashboard(name)
    declared = {variable["name"] for variable in document["templating"]["list"]}
    used = set(re.findall(r"\$\{?(\w+)", json.dumps(document["panels"]))) - {"__rate_interval"}
    assert used <= declared
    assert declared - {"datasource"} <= used | set(re.findall(r"\$(\w+)", json.dumps(document["templating"])))
    identifiers = [panel["id"] for panel in document["panels"]]
    assert len(set(identifiers)) == len(identifiers)
    for panel in document["panels"]:
        assert panel["description"].strip(), panel["title"]
        assert panel["targets"], panel["title"]
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
    places = [
        (x, y)
        for panel in document["panels"]
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(set(places)) == len(places), "two panels lie on each other"


def test_each_dashboard_has_a_name_of_its_own() -> None:
    documents = [dashboard(name) for name in dashboard_files()]
    for key in ("uid", "title"):
        assert len({document[key] for document in documents}) == len(documents)
    assert {path.name for path in FILES.iterdir()} == set(dashboard_files())

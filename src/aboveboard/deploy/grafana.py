"""A Grafana dashboard as JSON of the classic model: panels placed row by row, and variables to choose by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

_SCHEMA: Final = 39
_COLUMNS: Final = 24
_HEIGHT: Final = 8
SOURCE: Final = {"type": "prometheus", "uid": "${datasource}"}

Kind = Literal["timeseries", "stat", "table", "bargauge"]


@dataclass(frozen=True, slots=True)
class Query:
    """One question to Prometheus, and what its answers are called: text with `{{label}}`."""

    expression: str
    legend: str = ""


@dataclass(frozen=True, slots=True)
class Panel:
    """One picture on a dashboard."""

    title: str
    about: str
    queries: tuple[Query, ...]
    unit: str = "short"
    """A unit of Grafana's, e.g. `s`, `percentunit`, `reqps`."""
    kind: Kind = "timeseries"
    width: int = 12
    limits: tuple[tuple[float | None, str], ...] = ((None, "green"),)
    """Colours from a value upwards; the first has no value."""
    largest: float | None = None


@dataclass(frozen=True, slots=True)
class Dashboard:
    """A page of panels, and what can be chosen on it."""

    name: str
    """Its file and its unique id in Grafana."""
    title: str
    about: str
    panels: tuple[Panel, ...]
    variables: tuple[dict[str, Any], ...]


def document(dashboard: Dashboard) -> dict[str, Any]:
    """Return a dashboard as Grafana reads it."""
    return {
        "uid": f"aboveboard-{dashboard.name}",
        "title": f"Aboveboard / {dashboard.title}",
        "description": dashboard.about,
        "tags": ["aboveboard"],
        "schemaVersion": _SCHEMA,
        "version": 1,
        "editable": False,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "timezone": "utc",
        "links": [
            {
                "type": "dashboards",
                "title": "Aboveboard",
                "tags": ["aboveboard"],
                "asDropdown": True,
                "keepTime": True,
            }
        ],
        "templating": {"list": [*dashboard.variables]},
        "annotations": {"list": []},
        "panels": _placed(dashboard.panels),
    }


def _placed(panels: Sequence[Panel]) -> list[dict[str, Any]]:
    """Return panels from left to right, row by row."""
    x = y = 0
    placed = []
    for number, panel in enumerate(panels, 1):
        if x + panel.width > _COLUMNS:
            x, y = 0, y + _HEIGHT
        place = {"x": x, "y": y, "w": panel.width, "h": _HEIGHT}
        placed.append(_panel(panel, number, place))
        x += panel.width
    return placed


def _panel(panel: Panel, number: int, place: dict[str, int]) -> dict[str, Any]:
    defaults: dict[str, Any] = {
        "unit": panel.unit,
        "min": 0,
        "thresholds": {
            "mode": "absolute",
            "steps": [{"value": value, "color": colour} for value, colour in panel.limits],
        },
    }
    if panel.largest is not None:
        defaults["max"] = panel.largest
    if panel.kind == "timeseries":
        defaults["custom"] = {"fillOpacity": 8, "showPoints": "never", "spanNulls": False}
        if len(panel.limits) > 1:
            defaults["custom"]["thresholdsStyle"] = {"mode": "dashed"}
    at_once = panel.kind in ("table", "bargauge")
    targets = [
        {
            "refId": chr(ord("A") + index),
            "datasource": SOURCE,
            "expr": query.expression,
            "legendFormat": query.legend,
            "range": not at_once,
            "instant": at_once,
            "format": "table" if panel.kind == "table" else "time_series",
        }
        for index, query in enumerate(panel.queries)
    ]
    made: dict[str, Any] = {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.about,
        "gridPos": place,
        "datasource": SOURCE,
        "targets": targets,
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "options": _options(panel),
    }
    if panel.kind == "table":
        made["transformations"] = [
            {"id": "merge", "options": {}},
            {
                "id": "organize",
                "options": {
                    "excludeByName": {"Time": True},
                    "renameByName": {f"Value #{target['refId']}": target["legendFormat"] for target in targets},
                },
            },
        ]
    return made


def _options(panel: Panel) -> dict[str, Any]:
    last = {"calcs": ["lastNotNull"], "fields": "", "values": False}
    match panel.kind:
        case "timeseries":
            return {
                "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
                "tooltip": {"mode": "multi", "sort": "desc"},
            }
        case "stat":
            return {"reduceOptions": last, "colorMode": "value", "graphMode": "area"}
        case "bargauge":
            return {"reduceOptions": last, "orientation": "horizontal", "displayMode": "lcd"}
        case "table":
            return {"showHeader": True, "cellHeight": "sm"}


def of_label(name: str, label: str, series: str) -> dict[str, Any]:
    """Return a variable whose choices are the values of a label."""
    return {
        "name": name,
        "type": "query",
        "label": name,
        "datasource": SOURCE,
        "query": {"query": f"label_values({series}, {label})", "refId": name},
        "refresh": 2,
        "sort": 1,
        "multi": True,
        "includeAll": True,
        # A series without the label matches, too.
        "allValue": ".*",
        "current": {"text": ["All"], "value": ["$__all"]},
    }


def of_list(name: str, label: str, choices: Sequence[str], chosen: str) -> dict[str, Any]:
    """Return a variable with choices of our own."""
    return {
        "name": name,
        "type": "custom",
        "label": label,
        "query": ",".join(choices),
        "options": [{"text": each, "value": each, "selected": each == chosen} for each in choices],
        "current": {"text": chosen, "value": chosen},
        "multi": False,
        "includeAll": False,
    }

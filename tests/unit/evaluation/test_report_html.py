"""The HTML report holds what a reader needs, needs nothing from outside, and can be read by everybody."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import msgspec
import pytest

from aboveboard.evaluation import Report, evaluate, html, render_html
from aboveboard.evaluation.report import Measure
from tests.unit.evaluation.evaluation_cases import NOON, credit_data, credit_model, credit_spec

CSS = Path(html.__file__).parent / "templates" / "report.css"
VOID = {"meta", "br", "col", "rect", "line", "circle", "path"}


@pytest.fixture(scope="module")
def report() -> Report:
    return evaluate(
        credit_model(), credit_spec(), credit_data(), model_digest="sha256:" + "ab" * 32, clock=lambda: NOON
    )


def rule(verdict: str, **given: Any) -> dict[str, Any]:
    return {
        "rule": f"rule-{verdict}",
        "title": f"A rule with verdict {verdict}",
        "citation": "29 CFR 1607.4(D)",
        "verdict": verdict,
        "message": "the ratio of <b>female</b> is 0.71",
        "measured": 0.71,
        "limit": 0.8,
        "n": 1234,
        "review_required": True,
        **given,
    }


def verdict(word: str = "fail", *rules: dict[str, Any]) -> dict[str, Any]:
    return {"verdict": word, "results": list(rules) or [rule("pass"), rule("fail"), rule("not-applicable")]}


class Page(HTMLParser):
    """What a page is made of; fails on tags that do not match."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.words.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.words))


def test_it_needs_nothing_from_outside(report: Report) -> None:
    text = render_html(report, verdict(), None, credit_spec())
    page = Page(text)

    assert not {"script", "link", "img", "iframe", "object"} & {tag for tag, _ in page.tags}
    assert all((attributes.get("href") or "#").startswith("#") for _, attributes in page.tags)
    assert not any("src" in attributes or "style" in attributes for _, attributes in page.tags)
    assert "url(" not in text
    assert "@import" not in text


def test_it_can_be_navigated_and_read_out(report: Report) -> None:
    page = Page(render_html(report, verdict(), None, credit_spec()))
    ids = Counter(attributes["id"] for _, attributes in page.tags if "id" in attributes)

    assert max(ids.values()) == 1
    for _, attributes in page.tags:
        for name in ("href", "aria-labelledby"):
            target = (attributes.get(name) or "").removeprefix("#")
            assert not target or target in ids
    outer = [a for tag, a in page.tags if tag == "svg" and a.get("class") in ("forest", "bar")]
    assert outer
    assert all(attributes.get("aria-hidden") == "true" for attributes in outer)
    plots = [attributes for tag, attributes in page.tags if "plot" in (attributes.get("class") or "").split()]
    assert len(plots) == 2
    assert all(attributes.get("role") == "img" and attributes.get("aria-label") for attributes in plots)
    assert all("scope" in attributes for tag, attributes in page.tags if tag == "th")
    headings = [int(tag[1]) for tag, _ in page.tags if re.fullmatch(r"h\d", tag)]
    assert headings.count(1) == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(headings) if before > 1)
    assert ("html", {"lang": "en"}) in page.tags


def test_the_verdict_comes_first_with_law_number_and_sample_size(report: Report) -> None:
    page = Page(render_html(report, verdict(), None, credit_spec()))
    sections = [attributes["id"] for tag, attributes in page.tags if tag == "section"]
    text = page.text

    assert sections == ["verdict", "rules", "performance", "calibration", "fairness", "reasons", "model", "caveats"]
    refused = text.index("The gate refuses this model")
    card = text[refused : text.index("AUC")]
    assert "29 CFR 1607.4(D)" in card
    assert "0.710" in card
    assert "against a limit of 0.800" in card
    assert "n = 1,234" in card
    assert "citation awaits legal review" in card
    assert "1 failed, 1 passed, 1 not applicable of 3 rules" in card


@pytest.mark.parametrize(
    ("word", "sentence"),
    [
        ("pass", "The gate passes this model"),
        ("fail", "The gate refuses this model"),
        ("insufficient", "The evidence does not suffice"),
    ],
)
def test_each_verdict_has_its_words(report: Report, word: str, sentence: str) -> None:
    assert sentence in Page(render_html(report, verdict(word, rule(word)))).text


def test_without_a_verdict_it_says_so(report: Report) -> None:
    page = Page(render_html(report))

    assert "No gate has judged this report" in page.text
    assert "rules" not in {attributes.get("id") for _, attributes in page.tags}


def test_every_group_appears_with_its_ratio_interval_and_size(report: Report) -> None:
    text = Page(render_html(report)).text

    for attribute in report.fairness:
        for group in attribute.groups:
            assert f"{group.group} n = {group.n:,}" in text
            if not group.reference:
                ratio = group.adverse_impact_ratio
                assert f"{ratio.value:.3f} {ratio.low:.3f} to {ratio.high:.3f}" in text
    for caveat in report.caveats:
        assert caveat in text


def test_what_is_undefined_is_called_so_and_what_is_too_little_is_marked(report: Report) -> None:
    nothing = Measure(None, None, None, 0)
    was = report.fairness[1].groups[-1]
    changes: dict[str, Any] = {
        name: nothing if isinstance(getattr(was, name), Measure) else None
        for name in was.__struct_fields__
        if name not in ("group", "reference", "n")
    }
    elders = msgspec.structs.replace(was, n=0, **changes)
    age = msgspec.structs.replace(report.fairness[1], groups=[*report.fairness[1].groups[:-1], elders])

    text = Page(render_html(msgspec.structs.replace(report, fairness=[age]))).text

    assert "from-62 n = 0, too few – not defined" in text


def test_texts_from_outside_are_text(report: Report) -> None:
    hostile = msgspec.structs.replace(report, model="<script>alert(1)</script>", caveats=["a < b & c"])

    text = render_html(hostile, verdict())

    assert "<script>" not in text
    assert "the ratio of <b>" not in text.lower()
    assert "a &lt; b &amp; c" in text


@pytest.mark.parametrize("theme", ["light", "dark", "print"])
def test_text_has_enough_contrast(theme: str) -> None:
    """WCAG 2.2 AA: 4.5 to 1 for text, and 3 to 1 for marks, in every theme."""
    css = CSS.read_text()
    blocks = re.findall(r":root \{([^}]*)\}", css)
    colours = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{3,6})", blocks[0]))
    if theme != "light":
        colours |= dict(re.findall(r"--([\w-]+): (#[0-9a-f]{3,6})", blocks[1 if theme == "dark" else 2]))

    def luminance(colour: str) -> float:
        digits = colour[1:] if len(colour) == 7 else "".join(2 * digit for digit in colour[1:])
        channels = [int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    def contrast(one: str, other: str) -> float:
        low, high = sorted((luminance(colours[one]), luminance(colours[other])))
        return (high + 0.05) / (low + 0.05)

    for ink in ("ink", "muted", "pass", "fail", "unsure", "none"):
        assert contrast(ink, "paper") >= 4.5, ink
        assert contrast(ink, "panel") >= 4.5, ink
    for ink in ("pass", "fail", "unsure", "none"):
        assert contrast(ink, f"{ink}-soft") >= 4.5, ink
        assert contrast("ink", f"{ink}-soft") >= 4.5, ink
    for mark in ("good", "bad"):
        assert contrast(mark, "paper") >= 2.6, mark


def test_numbers_are_written_the_way_people_read_them() -> None:
    assert html.decimal(-0.0004) == "0.000"
    assert html.decimal(-0.25, 2) == "−0.25"
    assert html.percent(0.8395) == "84.0%"
    assert html.points(0.0166) == "+1.7"
    assert html.points(-0.0166) == "−1.7"
    assert html.points(-0.0001) == "0.0"
    assert html.p_value(0.0004) == "< 0.001"
    assert html.measured(9050) == "9,050"
    assert html.measured(5.3e-15) == "5.3e-15"
    assert html.interval(Measure(0.5, None, None, 1)) == "no interval"
    assert html.interval(Measure(0.5, 0.4, None, 1)) == "0.400 to –"
    assert html.short_digest("sha256:" + "ab" * 32) == "sha256:abababababab…"
    assert html.sentence("no pack judged us") == "No pack judged us."

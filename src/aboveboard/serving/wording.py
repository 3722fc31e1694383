"""The words of the notice, by language. Every language says the same things."""

from __future__ import annotations

from typing import Final

WORDS: Final = {
    "en": {
        "title": "Notice of a decision",
        "decision": "Decision",
        "decided": "Decided",
        "outcome": "Outcome",
        "reasons": "The principal reasons",
        "factors": "Key factors of the score",
        "score": "Score, on a scale from {low:g} to {high:g}",
        "data": "The data that was used",
        "procedure": "How the decision came about",
        "explanation": "A statistical model computed from this data the probability that the obligation will be met. "
        "Below a fixed limit a decision is not favourable. The reasons are the factors that lowered the result most, "
        "compared with applicants who are just approved. Where the General Data Protection Regulation applies, this "
        "page is the explanation to which its art. 15(1)(h) entitles you; what would have changed the outcome "
        "belongs to it.",
        "changed": "What would have changed the outcome",
        "had": "With these values, all else as it is, the outcome would have been favourable:",
        "recourse": "What you could change",
        "recourse_ways": "Each of these by itself would have led the model to a favourable outcome, with everything "
        "else as it was:",
        "recourse_none": "Of what can be changed, no single change and no two together were found that would have "
        "led the model to a favourable outcome.",
        "recourse_caution": "This describes the model that decided, with the data of this decision. It is not a "
        "promise: another application is decided on all data and rules of its day.",
        "offers": "Other terms",
        "offers_ways": "With each of these terms, and everything else as it was, the model would have come to a "
        "favourable outcome:",
        "offers_none": "No other terms were found with which the model would have come to a favourable outcome.",
        "offers_caution": "This is a computation with the model, not an offer. Only we ourselves make offers.",
        "instead_of": "instead of",
        "review": "You can have a person decide, state your view and contest the decision",
        "model": "Model and release",
        "since": "A person has decided since, on {day}: {outcome}",
    },
    "de": {
        "title": "Mitteilung einer Entscheidung",
        "decision": "Entscheidung",
        "decided": "Entschieden am",
        "outcome": "Ergebnis",
        "reasons": "Die wesentlichen Gründe",
        "factors": "Wesentliche Einflüsse auf den Punktwert",
        "score": "Punktwert, auf einer Skala von {low:g} bis {high:g}",
        "data": "Die verwendeten Daten",
        "procedure": "Wie die Entscheidung zustande kam",
        "explanation": "Ein statistisches Modell hat aus diesen Daten die Wahrscheinlichkeit berechnet, dass die "
        "Verpflichtung erfüllt wird. Unter einer festen Grenze fällt die Entscheidung nicht günstig aus. Die Gründe "
        "sind die Einflüsse, die das Ergebnis am meisten verringert haben, verglichen mit gerade noch angenommenen "
        "Antragstellern. Soweit die Datenschutz-Grundverordnung gilt, ist diese Seite die Erläuterung, auf die Sie "
        "nach Art. 15 Abs. 1 Buchst. h Anspruch haben; dazu gehört, was das Ergebnis geändert hätte.",
        "changed": "Was das Ergebnis geändert hätte",
        "had": "Mit diesen Werten, alles andere unverändert, wäre das Ergebnis günstig gewesen:",
        "recourse": "Was Sie ändern könnten",
        "recourse_ways": "Jede dieser Möglichkeiten für sich hätte das Modell zu einem günstigen Ergebnis geführt, "
        "alles andere unverändert:",
        "recourse_none": "Unter dem, was sich ändern lässt, wurde keine einzelne Änderung und wurden keine zwei "
        "gefunden, die das Modell zu einem günstigen Ergebnis geführt hätten.",
        "recourse_caution": "Das beschreibt das Modell, das entschieden hat, mit den Daten dieser Entscheidung. Es "
        "ist keine Zusage: Über einen neuen Antrag wird nach allen Daten und Regeln seines Tages entschieden.",
        "offers": "Andere Bedingungen",
        "offers_ways": "Mit jeder dieser Bedingungen, alles andere unverändert, wäre das Modell zu einem günstigen "
        "Ergebnis gekommen:",
        "offers_none": "Es wurden keine anderen Bedingungen gefunden, mit denen das Modell zu einem günstigen "
        "Ergebnis gekommen wäre.",
        "offers_caution": "Das ist eine Berechnung mit dem Modell, kein Angebot. Angebote machen nur wir selbst.",
        "instead_of": "statt",
        "review": "Sie können einen Menschen entscheiden lassen, Ihren Standpunkt darlegen und die Entscheidung "
        "anfechten",
        "model": "Modell und Ausgabe",
        "since": "Seither hat ein Mensch entschieden, am {day}: {outcome}",
    },
}

# General Data Protection Regulation.
package aboveboard.packs.eu

import data.aboveboard.library as lib

bases := {"consent", "contract", "legal-obligation", "vital-interests", "public-task", "legitimate-interests"}

classes := {"pii", "sensitive", "financial", "public"}

founded(feature) if {
	feature.legal_basis in bases
	feature.classification in classes
}

unfounded contains feature.name if {
	some feature in input.features
	not founded(feature)
}

all_founded_features := [feature.name |
	some feature in input.features
	founded(feature)
]

all_founded if {
	lib.stated(input.model.purpose)
	lib.all_of(all_founded_features, input.features)
}

answers["eu-purpose-per-feature"] := lib.passed(sprintf("%v features serve %s, each on a legal basis", [
	count(input.features), input.model.purpose,
])) if {
	all_founded
}

answers["eu-purpose-per-feature"] := lib.failed(sprintf("no legal basis, classification or purpose for: %s", [lib.listed(unfounded)])) if {
	not all_founded
}

ordinary(feature) if feature.classification in {"pii", "financial", "public"}

ordinary(feature) if {
	feature.classification == "sensitive"
	feature.legal_basis == "consent"
}

special contains feature.name if {
	some feature in input.features
	not ordinary(feature)
}

all_ordinary_features := [feature.name |
	some feature in input.features
	ordinary(feature)
]

all_ordinary if {
	lib.all_of(all_ordinary_features, input.features)
}

answers["eu-special-categories"] := lib.passed("no sensitive feature is processed without consent") if all_ordinary

answers["eu-special-categories"] := lib.failed(sprintf("sensitive and not on consent: %s", [lib.listed(special)])) if {
	not all_ordinary
}

findable if input.data.identifier == "tokenised"

bounded if lib.within(input.retention.decisions_months, 1, 120)

answers["eu-erasable"] := {
	"verdict": "pass",
	"message": sprintf("people are known by a keyed token, and decisions are kept %v months", [input.retention.decisions_months]),
	"measured": input.retention.decisions_months,
	"limit": 120,
} if {
	findable
	bounded
}

answers["eu-erasable"] := lib.failed("no identifier was replaced by a token, so that nobody's records can be found and erased") if {
	not findable
}

answers["eu-erasable"] := lib.failed("the retention of decisions is not between one month and ten years") if {
	findable
	not bounded
}

reviewable if lib.stated(input.governance.human_review)

reached := lib.passed(sprintf("people can turn to %s", [input.governance.human_review])) if reviewable

reached := lib.failed("no contact is named where a person can ask for a human to decide") if not reviewable

answers["eu-human-intervention"] := reached

worded(feature) if {
	lib.stated(feature.reason_code)
	lib.worded(feature)
}

wordless contains feature.name if {
	some feature in input.features
	not worded(feature)
}

all_worded_features := [feature.name |
	some feature in input.features
	worded(feature)
]

all_worded if {
	lib.all_of(all_worded_features, input.features)
}

add_up if {
	input.explanation.rows > 0
	lib.within(input.explanation.largest_additivity_error, 0, 0.000001)
}

answers["eu-procedure-explained"] := {
	"verdict": "pass",
	"message": sprintf("each of %v features has words, and contributions add up on %v records", [
		count(input.features), input.explanation.rows,
	]),
	"measured": input.explanation.largest_additivity_error,
	"limit": 0.000001,
	"n": input.explanation.rows,
} if {
	all_worded
	add_up
}

answers["eu-procedure-explained"] := lib.failed(sprintf("no words for: %s", [lib.listed(wordless)])) if not all_worded

answers["eu-procedure-explained"] := lib.failed("contributions do not add up to the score they explain") if {
	all_worded
	not add_up
}

assessed if lib.stated(input.governance.dpia)

answers["eu-impact-assessment"] := lib.passed(sprintf("assessment %s", [input.governance.dpia])) if assessed

answers["eu-impact-assessment"] := lib.failed("no data protection impact assessment is named") if not assessed

kept_five_years if {
	is_number(input.retention.decisions_months)
	input.retention.decisions_months >= 60
}

answers["eu-laundering-intervention"] := lib.passed(sprintf("human intervention at %s; records kept %v months", [
	input.governance.human_review, input.retention.decisions_months,
])) if {
	reviewable
	kept_five_years
}

answers["eu-laundering-intervention"] := lib.failed("no human intervention is named") if {
	not reviewable
}

answers["eu-laundering-intervention"] := lib.months_kept("records are", input.retention.decisions_months, 60) if {
	reviewable
	not kept_five_years
}

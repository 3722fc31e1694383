# UK GDPR, the Consumer Duty, model risk principles and the Equality Act.
package aboveboard.packs.uk

import data.aboveboard.library as lib

reviewable if lib.stated(input.governance.human_review)

answers["uk-human-intervention"] := lib.passed(sprintf("people can turn to %s", [input.governance.human_review])) if {
	reviewable
}

answers["uk-human-intervention"] := lib.failed("no contact is named where a person can ask for a human to decide") if {
	not reviewable
}

unexamined contains sprintf("%s (%s, n = %v)", [group.group, attribute.attribute, group.n]) if {
	some attribute in input.protected
	some group in attribute.groups
	not lib.examined(attribute, group)
}

answers["uk-outcomes-by-segment"] := {
	"verdict": "pass",
	"message": sprintf("outcomes are known for %v groups; the smallest has %v members", [
		lib.group_total, lib.smallest(lib.sizes),
	]),
	"n": lib.smallest(lib.sizes),
} if {
	lib.all_examined
}

answers["uk-outcomes-by-segment"] := lib.insufficient(sprintf("not enough evidence about: %s", [lib.listed(unexamined)])) if {
	not lib.all_examined
}

inventoried if {
	lib.stated(input.model.name)
	lib.stated(input.model.owner)
	input.model.materiality in {"low", "medium", "high"}
	lib.independent_validator
}

answers["uk-model-inventory"] := lib.passed(sprintf("%s: owner %s, materiality %s, validated by %s", [
	input.model.name, input.model.owner, input.model.materiality, input.governance.validator,
])) if {
	inventoried
}

answers["uk-model-inventory"] := lib.failed("owner, materiality or an independent validator is not stated") if {
	not inventoried
}

answers["uk-reconstructable"] := lib.passed(sprintf("model %s on data %s, both known by digest", [
	input.model.digest, input.data.digest,
])) if {
	lib.traceable
}

answers["uk-reconstructable"] := lib.failed("a digest of the model, the source, the data set or one of its parts is missing") if {
	not lib.traceable
}

excused(attribute) if {
	lib.about_age(attribute)
	lib.justified(attribute)
}

grounds contains attribute if {
	some attribute in lib.scored
	not excused(attribute)
}

none_scored if {
	lib.scoring_known
	count(grounds) == 0
}

answers["uk-protected-not-scored"] := lib.passed(sprintf("none of %v protected attributes is scored without a stated ground", [
	count(input.protected),
])) if {
	none_scored
}

answers["uk-protected-not-scored"] := {
	"verdict": "fail",
	"message": sprintf("the model scores %s, against the Equality Act 2010, sections 13, 19 and 29", [lib.listed(grounds)]),
	"measured": count(grounds),
	"limit": 0,
	"attribute": lib.listed(grounds),
} if {
	count(grounds) > 0
}

answers["uk-protected-not-scored"] := lib.failed("the facts do not say which attributes are protected and scored") if {
	not none_scored
	count(grounds) == 0
}

# AI Act 2024/1689: duties of Annex III high-risk systems.
package aboveboard.packs.eu

import data.aboveboard.library as lib

answers["eu-data-provenance"] := {
	"verdict": "pass",
	"message": sprintf("model, source, data set and its three parts are known by digest, %v records in all", [input.data.rows]),
	"n": input.data.rows,
} if {
	lib.traceable
}

answers["eu-data-provenance"] := lib.failed("a digest of the model, the source, the data set or one of its parts is missing") if {
	not lib.traceable
}

unexamined contains sprintf("%s (%s, n = %v)", [group.group, attribute.attribute, group.n]) if {
	some attribute in input.protected
	some group in attribute.groups
	not lib.examined(attribute, group)
}

smallest_group := lib.smallest(lib.sizes)

answers["eu-bias-examined"] := {
	"verdict": "pass",
	"message": sprintf("every group of %v protected attributes was examined; the smallest has %v members", [
		count(input.protected), smallest_group,
	]),
	"n": smallest_group,
} if {
	lib.all_examined
}

answers["eu-bias-examined"] := {
	"verdict": "insufficient",
	"message": sprintf("not enough evidence about: %s", [lib.listed(unexamined)]),
	"n": smallest_group,
} if {
	not lib.all_examined
}

answers["eu-logs-kept"] := lib.months_kept("decisions are", input.retention.decisions_months, 6)

answers["eu-documents-kept"] := lib.months_kept("releases and their evidence are", input.retention.releases_months, 120)

overseen if {
	reviewable
	is_number(input.decision.refer_at)
	is_number(input.decision.approve_at)
	input.decision.refer_at < input.decision.approve_at
}

answers["eu-human-oversight"] := lib.passed(sprintf("a person decides from a score of %s up to %s", [
	lib.shown(input.decision.refer_at), lib.shown(input.decision.approve_at),
])) if {
	overseen
}

answers["eu-human-oversight"] := lib.failed("no band of scores is left to a person, or no contact for review is named") if {
	not overseen
}

answers["eu-accuracy-declared"] := lib.at_least("AUC", input.performance.auc, input.limits.auc_at_least)

answers["eu-role-explained"] := lib.passed(sprintf("every reason is worded in %s", [lib.listed(common_languages)])) if {
	explained
}

answers["eu-role-explained"] := lib.failed("no official language of the Union has words for every reason") if not explained

# The limits the model spec sets itself. They judge every model, whatever the jurisdiction.
package aboveboard.packs.house

import data.aboveboard.library as lib

minimum := input.evaluation.minimum_group_size

comparisons := lib.comparisons(input.protected)

# --- evidence ------------------------------------------------------------------------------------------------------

complete if {
	input.declared.features > 0
	input.declared.protected > 0
	count(input.features) == input.declared.features
	count(input.protected) == input.declared.protected
	lib.all_of(complete_attributes, input.protected)
}

complete_attributes := [attribute.attribute |
	some attribute in input.protected
	attribute.declared_groups > 1
	count(attribute.groups) == attribute.declared_groups
	lib.references(attribute) == [attribute.reference]
	count(lib.others(attribute)) == attribute.declared_groups - 1
]

answers["house-lists-complete"] := lib.passed(sprintf(
	"%v features and %v protected attributes, all of their groups among them",
	[input.declared.features, input.declared.protected],
)) if {
	complete
}

answers["house-lists-complete"] := lib.failed(
	"features, protected attributes or groups that the spec declares are missing from the facts",
) if {
	not complete
}

same_data if {
	lib.stated(input.data.digest)
	input.evaluation.data_digest == input.data.digest
}

answers["house-same-data"] := lib.passed(sprintf("judged on %s", [input.data.digest])) if same_data

answers["house-same-data"] := lib.failed("the report was made from another data set than the lineage records") if {
	not same_data
}

# --- performance and calibration -----------------------------------------------------------------------------------

answers["house-auc"] := lib.at_least("AUC", input.performance.auc, input.limits.auc_at_least)

answers["house-ks"] := lib.at_least("KS", input.performance.ks, input.limits.ks_at_least) if {
	is_number(input.limits.ks_at_least)
}

answers["house-ks"] := lib.not_applicable("the spec sets no limit for KS") if input.limits.ks_at_least == null

answers["house-brier"] := lib.at_most("the Brier score", input.performance.brier, input.limits.brier_at_most) if {
	is_number(input.limits.brier_at_most)
}

answers["house-brier"] := lib.not_applicable("the spec sets no limit for the Brier score") if {
	input.limits.brier_at_most == null
}

answers["house-calibration"] := lib.at_most(
	"the expected calibration error",
	input.calibration.error,
	input.limits.calibration_error_at_most,
)

# --- groups --------------------------------------------------------------------------------------------------------

small contains sprintf("%s (%s, n = %v)", [group.group, attribute.attribute, group.n]) if {
	some attribute in input.protected
	some group in attribute.groups
	not lib.at_least_so_many(group.n, minimum)
}

large := [group.n |
	some attribute in input.protected
	some group in attribute.groups
	lib.at_least_so_many(group.n, minimum)
]

all_large if lib.all_groups(large)

smallest := lib.smallest(lib.sizes)

answers["house-group-size"] := {
	"verdict": "pass",
	"message": sprintf("the smallest group has %v held-out members; the limit is at least %v", [smallest, minimum]),
	"measured": smallest,
	"limit": minimum,
} if {
	all_large
}

answers["house-group-size"] := {
	"verdict": "insufficient",
	"message": sprintf("too few held-out members to judge: %s; the limit is at least %v", [lib.listed(small), minimum]),
	"measured": smallest,
	"limit": minimum,
} if {
	not all_large
	count(small) > 0
}

unassigned_limit := 0.05

stray contains attribute.attribute if {
	some attribute in input.protected
	attribute.unassigned > unassigned_limit * input.evaluation.rows
}

assigned := [attribute.attribute |
	some attribute in input.protected
	is_number(attribute.unassigned)
	attribute.unassigned <= unassigned_limit * input.evaluation.rows
]

all_assigned if {
	input.evaluation.rows > 0
	lib.all_of(assigned, input.protected)
}

most_unassigned := lib.largest([attribute.unassigned | some attribute in input.protected])

answers["house-assigned"] := {
	"verdict": "pass",
	"message": sprintf("at most %v of %v held-out records belong to no group", [most_unassigned, input.evaluation.rows]),
	"measured": most_unassigned / input.evaluation.rows,
	"limit": unassigned_limit,
	"n": input.evaluation.rows,
} if {
	all_assigned
}

answers["house-assigned"] := {
	"verdict": "fail",
	"message": sprintf("%v of %v held-out records belong to no group of %s", [
		most_unassigned, input.evaluation.rows, lib.listed(stray),
	]),
	"measured": most_unassigned / input.evaluation.rows,
	"limit": unassigned_limit,
	"n": input.evaluation.rows,
} if {
	not all_assigned
	input.evaluation.rows > 0
}

answers["house-adverse-impact-ratio"] := lib.compared(
	lib.ratio_findings(input.protected, input.limits.adverse_impact_ratio_at_least, minimum),
	comparisons,
	"the adverse impact ratio",
	"lowest",
	input.limits.adverse_impact_ratio_at_least,
)

answers["house-equal-opportunity"] := difference(
	"the difference in true positive rates",
	"equal_opportunity_difference",
	input.limits.equal_opportunity_difference_at_most,
)

answers["house-mean-difference"] := difference(
	"the standardised mean difference",
	"standardized_mean_difference",
	input.limits.standardized_mean_difference_at_most,
)

difference(what, measure, limit) := lib.compared(
	lib.difference_findings(input.protected, measure, limit, minimum),
	comparisons,
	what,
	"widest",
	limit,
) if {
	is_number(limit)
}

difference(what, _, limit) := lib.not_applicable(sprintf("the spec sets no limit for %s", [lib.words(what)])) if limit == null

# --- reasons -------------------------------------------------------------------------------------------------------

additivity_limit := 0.000001

add_up if {
	input.explanation.rows > 0
	lib.within(input.explanation.largest_additivity_error, 0, additivity_limit)
}

answers["house-reasons-add-up"] := {
	"verdict": "pass",
	"message": sprintf("contributions add up within one part in a million on %v records", [input.explanation.rows]),
	"measured": input.explanation.largest_additivity_error,
	"limit": additivity_limit,
	"n": input.explanation.rows,
} if {
	add_up
}

answers["house-reasons-add-up"] := {
	"verdict": "fail",
	"message": sprintf("contributions miss the score by up to %v log-odds on %v records; the limit is 0.000001", [
		input.explanation.largest_additivity_error, input.explanation.rows,
	]),
	"measured": input.explanation.largest_additivity_error,
	"limit": additivity_limit,
	"n": input.explanation.rows,
} if {
	not add_up
}

directed := [feature.name |
	some feature in input.features
	feature.monotonic in {"increasing", "decreasing"}
]

undirected := [feature.name |
	some feature in input.features
	feature.monotonic == "none"
]

directions_known if {
	count(input.features) > 0
	count(directed) + count(undirected) == count(input.features)
}

obeyed if {
	directions_known
	input.explanation.monotonic_rows > 0
	input.explanation.monotonic_violations == 0
}

answers["house-monotonic"] := {
	"verdict": "pass",
	"message": sprintf("%v declared directions hold on %v records", [count(directed), input.explanation.monotonic_rows]),
	"measured": 0,
	"limit": 0,
	"n": input.explanation.monotonic_rows,
} if {
	obeyed
	count(directed) > 0
}

answers["house-monotonic"] := lib.not_applicable("the spec declares no direction") if {
	obeyed
	count(directed) == 0
}

answers["house-monotonic"] := {
	"verdict": "fail",
	"message": sprintf("%v records of %v score against a declared direction", [
		input.explanation.monotonic_violations, input.explanation.monotonic_rows,
	]),
	"measured": input.explanation.monotonic_violations,
	"limit": 0,
	"n": input.explanation.monotonic_rows,
} if {
	not obeyed
}

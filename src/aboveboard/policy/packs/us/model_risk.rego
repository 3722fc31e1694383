# Model risk guidance, confidentiality of reports, and state law on automated decisions.
package aboveboard.packs.us

import data.aboveboard.library as lib

inventoried if {
	lib.stated(input.model.name)
	lib.stated(input.model.owner)
	lib.stated(input.model.purpose)
	input.model.materiality in {"low", "medium", "high"}
}

answers["us-model-inventory"] := lib.passed(sprintf("%s: owner %s, purpose %s, materiality %s", [
	input.model.name, input.model.owner, input.model.purpose, input.model.materiality,
])) if {
	inventoried
}

answers["us-model-inventory"] := lib.failed("name, owner, purpose or materiality is not stated") if not inventoried

validation := lib.passed(sprintf("validated by %s, owned by %s", [input.governance.validator, input.model.owner])) if {
	lib.independent_validator
}

validation := lib.failed("no validator is named, or the validator is the owner") if not lib.independent_validator

answers["us-independent-validation"] := validation

answers["us-effective-challenge"] := validation

monitored if {
	lib.stated(input.governance.monitoring_plan)
	input.monitoring.drift_index_at_most > 0
	is_number(input.monitoring.drift_index_at_most)
	lib.within(input.monitoring.auc_drop_at_most, 0, 1)
	lib.within(input.monitoring.adverse_impact_ratio_at_least, 0, 1)
	is_number(input.monitoring.minimum_decisions)
}

answers["us-monitoring-plan"] := lib.passed(sprintf("plan at %s; validated again at a drift index above %v or an AUC %v lower", [
	input.governance.monitoring_plan, input.monitoring.drift_index_at_most, input.monitoring.auc_drop_at_most,
])) if {
	monitored
}

answers["us-monitoring-plan"] := lib.failed("no monitoring plan is named, or a trigger is not set") if not monitored

telling := {"suspicious activity", "sar filing", "money laundering report"}

told(feature) := [phrase |
	some phrase in telling
	some text in feature.reason_texts
	contains(lower(text), phrase)
]

discreet(feature) if {
	lib.worded(feature)
	lib.stated(feature.name)
	count(told(feature)) == 0
}

indiscreet contains feature.name if {
	some feature in input.features
	not discreet(feature)
}

all_discreet_features := [feature.name |
	some feature in input.features
	discreet(feature)
]

all_discreet if {
	lib.all_of(all_discreet_features, input.features)
}

answers["us-suspicion-confidential"] := lib.passed(sprintf("no reason of %v features speaks of reported suspicion", [count(input.features)])) if {
	all_discreet
}

answers["us-suspicion-confidential"] := lib.failed(sprintf("the reason would tell of a report, or is missing: %s", [lib.listed(indiscreet)])) if {
	not all_discreet
}

reviewable if lib.stated(input.governance.human_review)

kept_three_years if {
	is_number(input.retention.decisions_months)
	input.retention.decisions_months >= 36
}

answers["us-colorado"] := lib.passed(sprintf("human review at %s; records kept %v months", [
	input.governance.human_review, input.retention.decisions_months,
])) if {
	reviewable
	kept_three_years
}

answers["us-colorado"] := lib.failed("no human review is named") if not reviewable

answers["us-colorado"] := lib.months_kept("records are", input.retention.decisions_months, 36) if {
	reviewable
	not kept_three_years
}

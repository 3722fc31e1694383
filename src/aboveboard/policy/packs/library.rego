# Functions every policy pack may import: `import data.aboveboard.library`.
#
# Three habits keep them from passing by accident. A pass has conditions that all must hold, and is never what is left
# over. Whatever is compared is first shown to be a number, since Rego orders null below and strings above every number.
# "All of them" is said by counting those that are good, since a missing list makes `not some` and `every` true.
package aboveboard.library

# --- answers -------------------------------------------------------------------------------------------------------

passed(message) := {"verdict": "pass", "message": message}

failed(message) := {"verdict": "fail", "message": message}

insufficient(message) := {"verdict": "insufficient", "message": message}

not_applicable(message) := {"verdict": "not-applicable", "message": message}

# --- small questions -----------------------------------------------------------------------------------------------

stated(value) if {
	is_string(value)
	trim_space(value) != ""
}

# Whether `good`, the list of those found good, is all there is: `all` exists, holds something, and lost nothing.
all_of(good, all) if {
	count(all) > 0
	count(good) == count(all)
}

within(value, low, high) if {
	is_number(value)
	value >= low
	value <= high
}

# A sentence of literal text, made fit for sprintf: rego-cpp would print a string that stands in a module with its quotes.
words(text) := trim_space(text)

# The least and the greatest of some numbers. Written out, since min, max and sort of rego-cpp 1.5.2 order numbers as
# text: 1500 before 3.
smallest(numbers) := number if {
	some number in numbers
	count([other | some other in numbers; other < number]) == 0
}

largest(numbers) := number if {
	some number in numbers
	count([other | some other in numbers; other > number]) == 0
}

listed(names) := words(concat(", ", sort([name |
	some raw in names
	name := words(raw)
]))) if {
	count(names) > 0
} else := words("nothing that has a name")

# Three decimals. A whole number is written by hand, since OPA and rego-cpp disagree about "%.3f" of an integer.
shown(value) := sprintf("%v.000", [value]) if {
	is_number(value)
	value == round(value)
} else := sprintf("%.3f", [value]) if {
	is_number(value)
} else := words("undefined")

# The verdict that several verdicts add up to. Undefined for none at all.
worst(verdicts) := "fail" if {
	"fail" in verdicts
} else := "insufficient" if {
	"insufficient" in verdicts
} else := "pass" if {
	verdicts == {"pass"}
}

# --- one number against a limit ------------------------------------------------------------------------------------

# A measure that supports a claim: a value, an interval around it, and records to rest on.
measured(m) if {
	is_number(m.value)
	is_number(m.low)
	is_number(m.high)
	is_number(m.n)
	m.n > 0
}

at_least(what, m, limit) := judged("pass", what, m, "at least", limit) if {
	measured(m)
	is_number(limit)
	m.value >= limit
} else := judged("fail", what, m, "at least", limit) if {
	measured(m)
	is_number(limit)
	m.value < limit
} else := unmeasured(what, m, limit)

at_most(what, m, limit) := judged("pass", what, m, "at most", limit) if {
	measured(m)
	is_number(limit)
	m.value <= limit
} else := judged("fail", what, m, "at most", limit) if {
	measured(m)
	is_number(limit)
	m.value > limit
} else := unmeasured(what, m, limit)

unmeasured(what, m, limit) := {
	"verdict": "insufficient",
	"message": sprintf("%s cannot be told from %v held-out records: there is no value with an interval", [words(what), m.n]),
	"measured": m.value,
	"low": m.low,
	"high": m.high,
	"limit": limit,
	"n": m.n,
} if {
	is_number(limit)
}

judged(verdict, what, m, relation, limit) := {
	"verdict": verdict,
	"message": sprintf("%s is %s [%s to %s] on %v held-out records; the limit is %s %s", [
		words(what), shown(m.value), shown(m.low), shown(m.high), m.n, words(relation), shown(limit),
	]),
	"measured": m.value,
	"low": m.low,
	"high": m.high,
	"limit": limit,
	"n": m.n,
}

# --- groups against their reference group --------------------------------------------------------------------------

# Every comparison of a group with its reference, for the measure named; `compared` counts that none is missing.
ratio_findings(attributes, limit, minimum) := [found |
	some attribute in attributes
	some reference in attribute.groups
	reference.reference == true
	reference.group == attribute.reference
	some group in attribute.groups
	group.reference == false
	found := finding(attribute, group, group.adverse_impact_ratio, ratio_verdict(group, reference, limit, minimum))
]

difference_findings(attributes, measure, limit, minimum) := [found |
	some attribute in attributes
	some reference in attribute.groups
	reference.reference == true
	reference.group == attribute.reference
	some group in attribute.groups
	group.reference == false
	found := finding(attribute, group, group[measure], difference_verdict(group, reference, group[measure], limit, minimum))
]

finding(attribute, group, m, verdict) := {
	"attribute": attribute.attribute,
	"group": group.group,
	"verdict": verdict,
	"measured": m.value,
	"low": m.low,
	"high": m.high,
	"n": group.n,
	"p_value": group.p_value_adjusted,
}

# Adverse impact ratio. Pass: the whole interval is at or above the limit. Fail: the ratio is below it, and either the
# whole interval is too or the selection rates differ significantly. Anything else is not decided by the evidence.
ratio_verdict(group, reference, limit, minimum) := "insufficient" if {
	too_few(group, reference, minimum)
} else := "insufficient" if {
	not measured(group.adverse_impact_ratio)
} else := "pass" if {
	is_number(limit)
	group.adverse_impact_ratio.low >= limit
	group.adverse_impact_ratio.value >= limit
} else := "fail" if {
	is_number(limit)
	group.adverse_impact_ratio.value < limit
	group.adverse_impact_ratio.high < limit
} else := "fail" if {
	is_number(limit)
	group.adverse_impact_ratio.value < limit
	is_number(group.p_value_adjusted)
	group.p_value_adjusted < 0.05
} else := "insufficient"

# A difference from the reference group, judged in both directions. Pass: the whole interval is within the limit.
# Fail: the difference is beyond the limit and differs from zero. Anything else is not decided by the evidence.
difference_verdict(group, reference, m, limit, minimum) := "insufficient" if {
	too_few(group, reference, minimum)
} else := "insufficient" if {
	not measured(m)
} else := "insufficient" if {
	m.n < minimum
} else := "pass" if {
	is_number(limit)
	m.low >= 0 - limit
	m.high <= limit
	abs(m.value) <= limit
} else := "fail" if {
	is_number(limit)
	abs(m.value) > limit
	m.low > 0
} else := "fail" if {
	is_number(limit)
	abs(m.value) > limit
	m.high < 0
} else := "insufficient"

too_few(group, _, minimum) if not at_least_so_many(group.n, minimum)

too_few(_, reference, minimum) if not at_least_so_many(reference.n, minimum)

at_least_so_many(n, minimum) if {
	is_number(n)
	is_number(minimum)
	n >= minimum
}

# The names of the groups that call themselves the reference, and of those that say they are not.
references(attribute) := [group.group |
	some group in attribute.groups
	group.reference == true
]

others(attribute) := [group.group |
	some group in attribute.groups
	group.reference == false
]

# How many groups there must be, by what the spec declares; a group without its name or its place still counts.
group_total := sum([attribute.declared_groups |
	some attribute in input.protected
	is_number(attribute.declared_groups)
])

# Whether `good`, found by going through every group of every attribute, lost none of them.
all_groups(good) if {
	group_total > 1
	count(good) == group_total
}

sizes := [group.n |
	some attribute in input.protected
	some group in attribute.groups
	is_number(group.n)
]

# How many comparisons there must be: each group of each attribute but the reference.
comparisons(attributes) := count([1 |
	some attribute in attributes
	some _ in attribute.groups
]) - count(attributes)

# The answer over all comparisons; it shows the one that decided. `order` is "lowest" for ratios and "widest" for
# differences.
compared(findings, expected, what, order, limit) := answer if {
	expected > 0
	count(findings) == expected
	verdict := worst({found.verdict | some found in findings})
	shown_first := decisive(findings, verdict, order)
	answer := {
		"verdict": verdict,
		"message": sprintf("%s of %s (%s) is %s [%s to %s] with n = %v; the limit is %s; %v comparisons, %s", [
			words(what), shown_first.group, shown_first.attribute, shown(shown_first.measured), shown(shown_first.low),
			shown(shown_first.high), shown_first.n, shown(limit), expected, words(meaning[verdict]),
		]),
		"measured": shown_first.measured,
		"low": shown_first.low,
		"high": shown_first.high,
		"limit": limit,
		"n": shown_first.n,
		"attribute": shown_first.attribute,
		"group": shown_first.group,
		"findings": findings,
	}
} else := failed(sprintf("%s: %v of %v comparisons could be made", [words(what), count(findings), expected]))

meaning := {
	"pass": "all within it beyond doubt",
	"fail": "this one beyond it",
	"insufficient": "the evidence does not decide this one",
}

# The first of the findings with this verdict whose rank is the least.
decisive(findings, verdict, order) := findings[position] if {
	candidates := [place |
		some place
		findings[place].verdict == verdict
	]
	ranks := [value |
		some candidate in candidates
		value := rank(order, findings[candidate])
	]
	least := smallest(ranks)
	leading := [candidate |
		some candidate in candidates
		rank(order, findings[candidate]) == least
	]
	position := leading[0]
}

rank("lowest", found) := found.measured if is_number(found.measured)

rank("widest", found) := 0 - abs(found.measured) if is_number(found.measured)

rank(_, found) := -1000000 if found.measured == null

# --- protected attributes ------------------------------------------------------------------------------------------

# The attributes whose column the model scores, told from the spec and from the report: either is enough.
scored contains attribute.attribute if {
	some attribute in input.protected
	not attribute.used_as_feature == false
}

scored contains attribute.attribute if {
	some attribute in input.protected
	some feature in input.features
	feature.name == attribute.column
}

# A list of features that says, for each, whether it is a protected attribute; and so the other way round.
scoring_known if {
	all_of(known_features, input.features)
	all_of(known_attributes, input.protected)
	count(marked_features) <= count(scored)
}

known_features := [feature.name |
	some feature in input.features
	stated(feature.name)
	is_boolean(feature.is_protected)
]

known_attributes := [attribute.attribute |
	some attribute in input.protected
	stated(attribute.attribute)
	stated(attribute.column)
	is_boolean(attribute.used_as_feature)
]

marked_features := [feature.name |
	some feature in input.features
	feature.is_protected == true
]

# The spec states a statute that allows the attribute to be scored. Whether it does is for the rule to say.
justified(attribute) if {
	some declared in input.protected
	declared.attribute == attribute
	some feature in input.features
	feature.name == declared.column
	stated(feature.protected_use)
}

about_age(name) if name in {"age", "age-band", "age-group", "age-years"}

# --- reasons -------------------------------------------------------------------------------------------------------

# A feature has words in some language, and none of them is empty.
worded(feature) if all_of(wordings(feature), feature.reason_texts)

wordings(feature) := [wording |
	some wording in feature.reason_texts
	stated(wording)
]

# --- people who answer for the model -------------------------------------------------------------------------------

independent_validator if {
	stated(input.governance.validator)
	stated(input.model.owner)
	lower(trim_space(input.governance.validator)) != lower(trim_space(input.model.owner))
}

# --- what the packs of jurisdictions hold evidence to ----------------------------------------------------------------

# A spec may ask for smaller groups or wider doubt than a jurisdiction should accept.
prudent_minimum := input.evaluation.minimum_group_size if {
	is_number(input.evaluation.minimum_group_size)
	input.evaluation.minimum_group_size >= 30
} else := 30

prudent_confidence if {
	is_number(input.evaluation.confidence)
	input.evaluation.confidence >= 0.95
}

too_little_confidence if {
	is_number(input.evaluation.confidence)
	input.evaluation.confidence < 0.95
}

months_kept(what, months, limit) := {
	"verdict": "pass",
	"message": sprintf("%s kept %v months; the law asks for at least %v", [words(what), months, limit]),
	"measured": months,
	"limit": limit,
} if {
	is_number(months)
	months >= limit
}

months_kept(what, months, limit) := {
	"verdict": "fail",
	"message": sprintf("%s kept %v months; the law asks for at least %v", [words(what), months, limit]),
	"measured": months,
	"limit": limit,
} if {
	is_number(months)
	months < limit
}

# Every group was large enough and had its selection rate and its ratio measured, at 95 % confidence or more.
examined(attribute, group) if {
	at_least_so_many(group.n, prudent_minimum)
	measured(group.selection_rate)
	measured(group.adverse_impact_ratio)
	stated(attribute.attribute)
}

examined_groups := [group.n |
	some attribute in input.protected
	some group in attribute.groups
	examined(attribute, group)
]

all_examined if {
	prudent_confidence
	all_groups(examined_groups)
}

# --- digests --------------------------------------------------------------------------------------------------------

sha256(digest) if {
	is_string(digest)
	regex.match(`^sha256:[0-9a-f]{64}$`, digest)
}

traceable if {
	sha256(input.model.digest)
	sha256(input.data.digest)
	sha256(input.data.source_digest)
	input.evaluation.data_digest == input.data.digest
	all_of(traceable_parts, parts)
	all_of(features_with_origin, input.features)
}

parts := ["train", "calibration", "holdout"]

traceable_parts := [part |
	some part in parts
	sha256(input.data.partitions[part].digest)
	input.data.partitions[part].rows > 0
]

features_with_origin := [feature.name |
	some feature in input.features
	stated(feature.origin)
]

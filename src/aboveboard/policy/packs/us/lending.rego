# Regulation B and the Fair Credit Reporting Act: what may be scored, and what an applicant is told.
package aboveboard.packs.us

import data.aboveboard.library as lib

# --- what may be scored --------------------------------------------------------------------------------------------

# Declared protected by a model, and no prohibited basis of the Act: these may be scored where a statute is stated.
other_bases := {"education"}

barred contains attribute if {
	some attribute in lib.scored
	not lib.about_age(attribute)
	not excused(attribute)
}

excused(attribute) if {
	attribute in other_bases
	lib.justified(attribute)
}

nothing_barred if {
	lib.scoring_known
	count(barred) == 0
}

answers["us-protected-not-scored"] := lib.passed(sprintf(
	"none of %v protected attributes that Regulation B bars is scored",
	[count(input.protected)],
)) if {
	nothing_barred
}

answers["us-protected-not-scored"] := {
	"verdict": "fail",
	"message": sprintf("the model scores %s, which Regulation B, 12 CFR 1002.5(b) and 1002.6(b)(2), bars from scoring", [lib.listed(barred)]),
	"measured": count(barred),
	"limit": 0,
	"attribute": lib.listed(barred),
} if {
	count(barred) > 0
}

answers["us-protected-not-scored"] := lib.failed("the facts do not say which attributes are protected and scored") if {
	not nothing_barred
	count(barred) == 0
}

ages := [attribute |
	some attribute in input.protected
	lib.about_age(attribute.attribute)
	attribute.attribute in lib.scored
]

# The score may only rise with age, and somebody has stated the statute.
age_harmless(attribute) if {
	some feature in input.features
	feature.name == attribute.column
	feature.monotonic == "increasing"
	lib.stated(feature.protected_use)
	input.explanation.monotonic_violations == 0
}

harmless_ages := [attribute.attribute |
	some attribute in ages
	age_harmless(attribute)
]

ages_harmless if lib.all_of(harmless_ages, ages)

answers["us-age-not-negative"] := lib.passed("age is not scored") if {
	lib.scoring_known
	count(ages) == 0
}

answers["us-age-not-negative"] := lib.passed("the score can only rise with age") if {
	lib.scoring_known
	count(ages) > 0
	ages_harmless
}

answers["us-age-not-negative"] := lib.failed(
	"age is scored and nothing keeps it from counting against applicants of 62 or older, 12 CFR 1002.6(b)(2)",
) if {
	lib.scoring_known
	count(ages) > 0
	not ages_harmless
}

answers["us-age-not-negative"] := lib.failed("the facts do not say whether age is scored") if not lib.scoring_known

# --- reasons -------------------------------------------------------------------------------------------------------

vague := {"qualifying score", "credit score too low", "internal standard", "internal polic", "scoring system"}

says_nothing(text) if {
	some phrase in vague
	contains(lower(text), phrase)
}

specific(feature) if {
	lib.stated(feature.reason_code)
	lib.stated(feature.reason_texts.en)
	not says_nothing(feature.reason_texts.en)
}

unspecific contains feature.name if {
	some feature in input.features
	not specific(feature)
}

all_specific_features := [feature.name |
	some feature in input.features
	specific(feature)
]

all_specific if {
	lib.all_of(all_specific_features, input.features)
}

few_reasons if lib.within(input.decision.max_reasons, 1, 4)

answers["us-specific-reasons"] := {
	"verdict": "pass",
	"message": sprintf("at most %v reasons are given, and each of %v features has one of its own words", [
		input.decision.max_reasons, count(input.features),
	]),
	"measured": input.decision.max_reasons,
	"limit": 4,
	"n": count(input.features),
} if {
	all_specific
	few_reasons
}

answers["us-specific-reasons"] := lib.failed(sprintf("no specific reason in English for %s", [lib.listed(unspecific)])) if {
	not all_specific
}

answers["us-specific-reasons"] := lib.failed("the number of reasons is not between one and four") if {
	all_specific
	not few_reasons
}

feature_codes contains feature.reason_code if some feature in input.features

unscored contains code if {
	some code in input.explanation.codes
	not code in feature_codes
}

scored_codes := [code |
	some code in input.explanation.codes
	code in feature_codes
]

actually_scored if lib.all_of(scored_codes, input.explanation.codes)

add_up if {
	input.explanation.rows > 0
	lib.within(input.explanation.largest_additivity_error, 0, 0.000001)
}

answers["us-reasons-actually-scored"] := {
	"verdict": "pass",
	"message": sprintf("%v reason codes belong to scored features and add up to the score on %v records", [
		count(input.explanation.codes), input.explanation.rows,
	]),
	"measured": input.explanation.largest_additivity_error,
	"limit": 0.000001,
	"n": input.explanation.rows,
} if {
	actually_scored
	add_up
}

answers["us-reasons-actually-scored"] := lib.failed(sprintf("reason codes that belong to no feature: %s", [lib.listed(unscored)])) if {
	not actually_scored
}

answers["us-reasons-actually-scored"] := lib.failed("contributions do not add up to the score they explain") if {
	actually_scored
	not add_up
}

conventional if input.decision.reference in {"at-cut-off", "all-approved"}

answers["us-reference-convention"] := lib.passed(sprintf("declined applicants are compared by the convention %s", [input.decision.reference])) if {
	conventional
}

answers["us-reference-convention"] := lib.failed("the comparison behind the reasons is neither convention of the commentary") if {
	not conventional
}

answers["us-key-factors"] := {
	"verdict": "pass",
	"message": sprintf("at most %v factors are listed; the limit is 4", [input.decision.max_reasons]),
	"measured": input.decision.max_reasons,
	"limit": 4,
} if {
	few_reasons
}

answers["us-key-factors"] := lib.failed("more than four key factors may be listed, or the facts do not say how many") if {
	not few_reasons
}

# --- records -------------------------------------------------------------------------------------------------------

answers["us-retention"] := lib.months_kept("decisions are", input.retention.decisions_months, 25)

# --- effect --------------------------------------------------------------------------------------------------------

four_fifths := lib.compared(
	lib.ratio_findings(input.protected, 0.8, lib.prudent_minimum),
	lib.comparisons(input.protected),
	"the adverse impact ratio",
	"lowest",
	0.8,
) if {
	lib.prudent_confidence
}

wide := lib.insufficient("intervals of less than 95 % confidence do not support a claim about groups") if {
	lib.too_little_confidence
}

answers["us-four-fifths"] := four_fifths

answers["us-four-fifths"] := wide

answers["us-effects-test"] := four_fifths

answers["us-effects-test"] := wide

# Consumer Credit Directive 2023/2225.
package aboveboard.packs.eu

import data.aboveboard.library as lib

barred_origins := {"social-network", "health"}

open_origins := {
	"application", "internal", "bureau", "open-banking", "utility", "telecom", "device", "public-register",
}

barred contains sprintf("%s (%s)", [feature.name, feature.origin]) if {
	some feature in input.features
	feature.origin in barred_origins
}

all_open_features := [feature.name |
	some feature in input.features
	feature.origin in open_origins
]

all_open if {
	lib.all_of(all_open_features, input.features)
}

answers["eu-barred-origins"] := lib.passed(sprintf("none of %v features comes from a social network or concerns health", [count(input.features)])) if {
	all_open
}

answers["eu-barred-origins"] := {
	"verdict": "fail",
	"message": sprintf("barred from creditworthiness by Directive 2023/2225, article 18(3): %s", [lib.listed(barred)]),
	"measured": count(barred),
	"limit": 0,
} if {
	not all_open
	count(barred) > 0
}

answers["eu-barred-origins"] := lib.failed("a feature has no known origin") if {
	not all_open
	count(barred) == 0
}

# Age may weigh where an objective reason is stated (article 6 leaves room for conditions that are duly justified).
excused(attribute) if {
	lib.about_age(attribute)
	lib.justified(attribute)
}

excused("education") if lib.justified("education")

grounds contains attribute if {
	some attribute in lib.scored
	not excused(attribute)
}

none_scored if {
	lib.scoring_known
	count(grounds) == 0
}

answers["eu-protected-not-scored"] := lib.passed(sprintf("none of %v protected attributes is scored without a stated ground", [count(input.protected)])) if {
	none_scored
}

answers["eu-protected-not-scored"] := {
	"verdict": "fail",
	"message": sprintf("the model scores %s, against Directive 2023/2225, article 6, and article 21 of the Charter", [lib.listed(grounds)]),
	"measured": count(grounds),
	"limit": 0,
	"attribute": lib.listed(grounds),
} if {
	count(grounds) > 0
}

answers["eu-protected-not-scored"] := lib.failed("the facts do not say which attributes are protected and scored") if {
	not none_scored
	count(grounds) == 0
}

answers["eu-credit-explanation"] := lib.passed(sprintf("review at %s; every reason is worded in %s", [
	input.governance.human_review, lib.listed(common_languages),
])) if {
	reviewable
	explained
}

answers["eu-credit-explanation"] := lib.failed("no contact is named where a consumer can ask for a review") if not reviewable

answers["eu-credit-explanation"] := lib.failed("no official language of the Union has words for every reason") if {
	reviewable
	not explained
}

# --- languages -----------------------------------------------------------------------------------------------------

official := {
	"bg", "cs", "da", "de", "el", "en", "es", "et", "fi", "fr", "ga", "hr",
	"hu", "it", "lt", "lv", "mt", "nl", "pl", "pt", "ro", "sk", "sl", "sv",
}

common_languages contains language if {
	some language in official
	lib.all_of(features_worded_in(language), input.features)
}

features_worded_in(language) := [feature.name |
	some feature in input.features
	lib.stated(feature.reason_texts[language])
]

explained if count(common_languages) > 0

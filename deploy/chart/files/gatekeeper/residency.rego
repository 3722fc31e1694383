# The label aboveboard.dev/residency says where a decision pod may be, and that is where this cluster is.
package aboveboard.residency

residency := object.get(input.review.object.metadata, ["labels", "aboveboard.dev/residency"], "")

violation contains {"msg": "the label aboveboard.dev/residency says where the pod may be"} if {
	residency == ""
}

violation contains {"msg": msg} if {
	residency != ""
	regions := object.get(input, ["parameters", "regions"], [])
	count(regions) > 0
	not residency in regions
	msg := sprintf("the pod belongs in %s, which is no region of this cluster", [residency])
}

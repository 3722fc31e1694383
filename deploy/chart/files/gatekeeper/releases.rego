# The annotation aboveboard.dev/releases names every release a decision pod loads, by digest.
package aboveboard.releases

named := object.get(input.review.object.metadata, ["annotations", "aboveboard.dev/releases"], "")

violation contains {"msg": "the annotation aboveboard.dev/releases names the releases by digest"} if {
	not regex.match(`^sha256:[0-9a-f]{64}(,sha256:[0-9a-f]{64})*$`, named)
}

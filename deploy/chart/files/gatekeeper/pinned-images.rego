# Images of decision pods are pinned by digest: what was scanned and signed is what runs.
package aboveboard.pinnedimages

ours contains container if {
	some field in ["containers", "initContainers"]
	some container in input.review.object.spec[field]
	not istio(container)
}

# The proxy that Istio puts into a pod is Istio's to pin; it is told apart by name and image.
istio(container) if {
	startswith(container.name, "istio-")
	contains(container.image, "/proxyv2")
}

images contains {"of": container.name, "reference": object.get(container, "image", "")} if {
	some container in ours
}

# A release that is mounted as an image volume is code of ours, too.
images contains {"of": volume.name, "reference": object.get(volume.image, "reference", "")} if {
	some volume in input.review.object.spec.volumes
	volume.image
}

violation contains {"msg": msg} if {
	some image in images
	not regex.match(`@sha256:[0-9a-f]{64}$`, image.reference)
	msg := sprintf("%s: images are pinned by digest: what was scanned and signed is what runs", [image.of])
}

violation contains {"msg": msg} if {
	some image in images
	contains(image.reference, ":latest")
	msg := sprintf("%s: no image is named latest", [image.of])
}

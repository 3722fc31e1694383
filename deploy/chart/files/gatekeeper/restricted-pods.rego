# Decision pods are restricted: not root, a read-only root file system, no privilege, no capability, nothing of the host.
package aboveboard.restrictedpods

ours contains container if {
	some field in ["containers", "initContainers"]
	some container in input.review.object.spec[field]
	not istio(container)
}

istio(container) if {
	startswith(container.name, "istio-")
	contains(container.image, "/proxyv2")
}

restricted(container) if {
	context := container.securityContext
	context.allowPrivilegeEscalation == false
	context.readOnlyRootFilesystem == true
	context.runAsNonRoot == true
	object.get(context, "privileged", false) == false
	"ALL" in context.capabilities.drop
	not context.capabilities.add
}

violation contains {"msg": msg} if {
	some container in ours
	not restricted(container)
	msg := sprintf("%s: containers are restricted: not root, a read-only root, no privilege", [container.name])
}

violation contains {"msg": "the seccomp profile is RuntimeDefault"} if {
	not input.review.object.spec.securityContext.seccompProfile.type == "RuntimeDefault"
}

violation contains {"msg": msg} if {
	some field in ["hostNetwork", "hostPID", "hostIPC"]
	input.review.object.spec[field] == true
	msg := sprintf("nothing of the host is shared: %s", [field])
}

violation contains {"msg": msg} if {
	some volume in input.review.object.spec.volumes
	volume.hostPath
	msg := sprintf("nothing of the host is shared: volume %s", [volume.name])
}

violation contains {"msg": msg} if {
	some container in input.review.object.spec.ephemeralContainers
	msg := sprintf("nobody debugs inside a pod that decides: %s", [container.name])
}

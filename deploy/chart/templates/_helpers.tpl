{{/* Names, labels, images and the security settings every pod has. */}}

{{/* Services are named after it: they begin with a letter and have no dot, which Helm allows in names of releases. */}}
{{- define "aboveboard.name" -}}
{{- $name := .Release.Name | replace "." "-" -}}
{{- if regexMatch "^[0-9]" $name -}}
{{- $name = printf "a%s" $name -}}
{{- end -}}
{{- if not (contains .Chart.Name $name) -}}
{{- $name = printf "%s-%s" ($name | trunc 29) .Chart.Name -}}
{{- end -}}
{{- $name | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{/* Called with (list $ component): the labels by which a component's pods are chosen; they never change. */}}
{{- define "aboveboard.selector" -}}
app.kubernetes.io/name: aboveboard-{{ index . 1 }}
app.kubernetes.io/instance: {{ (index . 0).Release.Name | quote }}
{{- end -}}

{{- define "aboveboard.labels" -}}
{{ include "aboveboard.selector" . }}
app.kubernetes.io/component: {{ index . 1 }}
app.kubernetes.io/part-of: aboveboard
app.kubernetes.io/version: {{ (index . 0).Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ (index . 0).Release.Service }}
helm.sh/chart: {{ printf "%s-%s" (index . 0).Chart.Name (index . 0).Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "aboveboard.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end -}}

{{- define "aboveboard.repository" -}}
{{- required "registry.repository: name the OCI repository releases are in; to try out without one: --set trial.enabled=true --set operator.enabled=false --set admission.enabled=false" .Values.registry.repository -}}
{{- end -}}

{{- define "aboveboard.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
fsGroupChangePolicy: OnRootMismatch
seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{- define "aboveboard.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
runAsNonRoot: true
capabilities: {drop: [ALL]}
seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{/* Called with resources of values.yaml. No CPU limit: a throttled webhook or server is a late one. */}}
{{- define "aboveboard.resources" -}}
requests:
  cpu: {{ .cpu | quote }}
  memory: {{ .memory | quote }}
limits:
  memory: {{ .memory | quote }}
{{- end -}}

{{/* Called with (list $ component workload): where pods may be, and spread over what. */}}
{{- define "aboveboard.placement" -}}
{{- $workload := index . 2 -}}
{{- with (index . 0).Values.registry.secret }}
imagePullSecrets:
  - name: {{ . }}
{{- end }}
{{- with $workload.priorityClass }}
priorityClassName: {{ . }}
{{- end }}
{{- with $workload.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $workload.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
topologySpreadConstraints:
  {{- range $key := list "topology.kubernetes.io/zone" "kubernetes.io/hostname" }}
  - maxSkew: 1
    topologyKey: {{ $key }}
    whenUnsatisfiable: ScheduleAnyway
    matchLabelKeys: [pod-template-hash]
    labelSelector:
      matchLabels: {{- include "aboveboard.selector" $ | nindent 8 }}
  {{- end }}
{{- end -}}

{{/* What operator and admission are both told: where releases come from, whom to trust, how nodes name our regions. */}}
{{- define "aboveboard.sources" -}}
- --releases={{ include "aboveboard.repository" . }}
{{- if .Values.registry.plainHttp }}
- --plain-http
{{- end }}
- --trust=/etc/aboveboard/trust/trust.json
{{- with .Values.regions }}
{{- range (. | fromYaml).spec.regions }}
- --node-region={{ .name }}={{ .location | default .name }}
{{- end }}
{{- end }}
{{- end -}}

{{- define "aboveboard.environment" -}}
- {name: ABOVEBOARD_HOME, value: /var/lib/aboveboard}
- {name: ABOVEBOARD_ACTOR, value: "system:serviceaccount:{{ (index . 0).Release.Namespace }}:{{ index . 1 }}"}
- name: POD_NAME
  valueFrom: {fieldRef: {fieldPath: metadata.name}}
- name: POD_NAMESPACE
  valueFrom: {fieldRef: {fieldPath: metadata.namespace}}
{{- if (index . 0).Values.registry.secret }}
- {name: DOCKER_CONFIG, value: /etc/aboveboard/registry}
{{- end }}
{{- end -}}

{{- define "aboveboard.mounts" -}}
- {name: home, mountPath: /var/lib/aboveboard}
- {name: scratch, mountPath: /tmp}
- {name: trust, mountPath: /etc/aboveboard/trust, readOnly: true}
{{- if .Values.registry.secret }}
- {name: registry, mountPath: /etc/aboveboard/registry, readOnly: true}
{{- end }}
{{- end -}}

{{- define "aboveboard.volumes" -}}
- name: home
  emptyDir: {sizeLimit: 2Gi}
- name: scratch
  emptyDir: {sizeLimit: 1Gi}
- name: trust
  configMap: {name: {{ .Values.trust.configMap }}}
{{- with .Values.registry.secret }}
- name: registry
  secret:
    secretName: {{ . }}
    defaultMode: 0400
    items: [{key: .dockerconfigjson, path: config.json}]
{{- end }}
{{- end -}}

{{/* A change of these starts new pods. */}}
{{- define "aboveboard.checksums" -}}
aboveboard.dev/trust: {{ .Values.trust.document | default "" | sha256sum | quote }}
{{- end -}}

{{/*
Called with (list "to" or "from", address ranges, more peers): the peers of a rule. Where everything is allowed no peer is
named: 0.0.0.0/0 is not IPv6, and to Cilium nodes, with the API server on them, are no addresses at all.
*/}}
{{- define "aboveboard.peers" -}}
{{- if not (has "0.0.0.0/0" (index . 1)) }}
{{ index . 0 }}:
  {{- range index . 1 }}
  - ipBlock: {cidr: {{ . | quote }}}
  {{- end }}
  {{- range slice . 2 }}
  - {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}
{{- end -}}

{{- define "aboveboard.dnsEgress" -}}
- to:
    - namespaceSelector:
        matchLabels:
          kubernetes.io/metadata.name: {{ .Values.networkPolicies.dnsNamespace }}
      podSelector:
        matchExpressions:
          - {key: k8s-app, operator: In, values: [kube-dns, node-local-dns]}
    # The NodeLocal DNSCache, where a node has one.
    - ipBlock: {cidr: 169.254.20.10/32}
  ports: [{protocol: UDP, port: 53}, {protocol: TCP, port: 53}]
{{- end -}}

{{- define "aboveboard.registryEgress" -}}
{{ include "aboveboard.dnsEgress" . }}
- ports: [{protocol: TCP, port: {{ .Values.registry.port }}}]
  {{- include "aboveboard.peers" (list "to" .Values.registry.cidrs) | indent 2 }}
{{- end -}}

{{- define "aboveboard.egress" -}}
{{ include "aboveboard.registryEgress" . }}
- ports:
    {{- range .Values.networkPolicies.apiServer.ports }}
    - {protocol: TCP, port: {{ . }}}
    {{- end }}
  {{- include "aboveboard.peers" (list "to" .Values.networkPolicies.apiServer.cidrs) | indent 2 }}
{{- if .Values.mesh.enabled }}
# Where a proxy gets its certificate and its configuration.
- to:
    - namespaceSelector:
        matchLabels:
          kubernetes.io/metadata.name: istio-system
      podSelector:
        matchLabels:
          app: istiod
  ports: [{protocol: TCP, port: 15012}]
{{- end }}
{{- end -}}

{{/* Called with (list $ port): Prometheus may scrape, where there is one. */}}
{{- define "aboveboard.scraped" -}}
- from:
    - namespaceSelector:
        matchLabels:
          kubernetes.io/metadata.name: {{ (index . 0).Values.monitoring.namespace }}
      podSelector:
        matchLabels:
          app.kubernetes.io/name: prometheus
  ports: [{protocol: TCP, port: {{ index . 1 }}}]
{{- end -}}

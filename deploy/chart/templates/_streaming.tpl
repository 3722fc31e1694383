{{/* What relay and collector are told: which brokers, and where the log is. */}}

{{/* Which brokers, whether they are the chart's own, and the Secret with their authority. */}}
{{- define "aboveboard.streaming.kafka" -}}
{{- $cluster := printf "%s-kafka" (include "aboveboard.name" .) -}}
{{- $own := and .Values.kafka.enabled (not .Values.streaming.brokers) -}}
{{- $bootstrap := ternary (printf "%s-kafka-bootstrap.%s.svc:9093" $cluster .Release.Namespace) "" $own -}}
cluster: {{ $cluster }}
own: {{ $own }}
brokers: {{ required "streaming.brokers: name the brokers, or have some with kafka.enabled" (.Values.streaming.brokers | default $bootstrap) | quote }}
authority: {{ .Values.streaming.authoritySecret | default (ternary (printf "%s-cluster-ca-cert" $cluster) "" $own) | quote }}
{{- end -}}

{{/* Called with the log's settings: where it is, as decision pods are told. What is secret is in the files named. */}}
{{- define "aboveboard.streaming.logEnvironment" -}}
- {name: ABOVEBOARD_LOG_DATABASE, value: "file:/etc/aboveboard/database/uri"}
- {name: ABOVEBOARD_LOG_KEYS, value: /etc/aboveboard/log-keys}
{{- with .tiles }}
- {name: ABOVEBOARD_LOG_TILES, value: {{ . | quote }}}
{{- end }}
{{- with .kek }}
- {name: ABOVEBOARD_LOG_KEK, value: {{ . | quote }}}
{{- end }}
{{- if or .credentialsSecret .credentialsProviderClass }}
- {name: AWS_SHARED_CREDENTIALS_FILE, value: /etc/aboveboard/credentials/credentials}
{{- end }}
{{- with .vault }}
- {name: VAULT_ADDR, value: {{ .address | quote }}}
- {name: ABOVEBOARD_VAULT_ROLE, value: {{ .role | quote }}}
- {name: ABOVEBOARD_VAULT_AUTH, value: {{ .auth | default "kubernetes" | quote }}}
- {name: ABOVEBOARD_VAULT_TOKEN_FILE, value: /etc/aboveboard/vault-token/token}
{{- with .namespace }}
- {name: VAULT_NAMESPACE, value: {{ . | quote }}}
{{- end }}
{{- if .caConfigMap }}
- {name: VAULT_CACERT, value: /etc/aboveboard/vault-ca/ca.crt}
{{- end }}
{{- end }}
{{- end -}}

{{/* Called with the log's settings: its volumes and where they are mounted. */}}
{{- define "aboveboard.streaming.logVolumes" -}}
volumes:
  - path: /etc/aboveboard/database
    volume: {{- include "aboveboard.streaming.secret" (list "log-database" .databaseSecret .databaseProviderClass "uri") | nindent 6 }}
  - path: /etc/aboveboard/log-keys
    volume: {{- include "aboveboard.streaming.secret" (list "log-keys" .keysSecret .keysProviderClass "") | nindent 6 }}
  {{- if or .credentialsSecret .credentialsProviderClass }}
  - path: /etc/aboveboard/credentials
    volume: {{- include "aboveboard.streaming.secret" (list "log-credentials" .credentialsSecret .credentialsProviderClass "credentials") | nindent 6 }}
  {{- end }}
  {{- with .vault }}
  # Not the account's own token, which the API server would take: one for Vault only, and for a while.
  - path: /etc/aboveboard/vault-token
    volume:
      name: vault-token
      projected:
        defaultMode: 0440
        sources:
          - serviceAccountToken: {audience: {{ .audience | default "vault" }}, expirationSeconds: {{ .tokenSeconds | default 3600 }}, path: token}
  {{- with .caConfigMap }}
  - path: /etc/aboveboard/vault-ca
    volume:
      name: vault-ca
      configMap:
        name: {{ . }}
        items: [{key: ca.crt, path: ca.crt}]
  {{- end }}
  {{- end }}
{{- end -}}

{{/* Called with (list name secret provider-class key): a volume of a Secret, or of a SecretProviderClass. */}}
{{- define "aboveboard.streaming.secret" -}}
name: {{ index . 0 }}
{{- if index . 1 }}
secret:
  secretName: {{ index . 1 }}
  defaultMode: 0440
  {{- with index . 3 }}
  items: [{key: {{ . }}, path: {{ . }}}]
  {{- end }}
{{- else }}
csi:
  driver: secrets-store.csi.k8s.io
  readOnly: true
  volumeAttributes:
    secretProviderClass: {{ required "log: name a Secret or a SecretProviderClass for the database, and for the keys" (index . 2) }}
{{- end }}
{{- end -}}

{{- define "droveway.fullname" -}}
{{- if contains .Chart.Name .Release.Name }}{{ .Release.Name | trunc 50 | trimSuffix "-" }}
{{- else }}{{ printf "%s-%s" .Release.Name .Chart.Name | trunc 50 | trimSuffix "-" }}{{ end }}
{{- end }}

{{- /* Labels: (dict "root" $ "component" "gateway"); without a component, those of all pods. */ -}}
{{- define "droveway.selector" -}}
app.kubernetes.io/name: {{ .root.Chart.Name }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
{{- with .component }}
app.kubernetes.io/component: {{ . }}
{{- end }}
{{- end }}

{{- define "droveway.labels" -}}
{{ include "droveway.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
{{- end }}

{{- define "droveway.image" -}}
{{ .Values.image.repository }}
{{- if .Values.image.digest }}@{{ .Values.image.digest }}{{ else }}:{{ .Values.image.tag | default .Chart.AppVersion }}{{ end }}
{{- end }}

{{- define "droveway.natsUrl" -}}
{{- if .Values.nats.url }}{{ .Values.nats.url }}
{{- else if .Values.nats.embedded }}nats://{{ include "droveway.fullname" . }}-nats:4222
{{- else }}{{ fail "nats.url: empty; name the NATS server (nats://host:4222), or set nats.embedded: true for a trial" }}{{ end }}
{{- end }}

{{- define "droveway.configMap" -}}
{{- if .Values.existingConfigMap }}{{ .Values.existingConfigMap }}
{{- else if .Values.config }}{{ include "droveway.fullname" . }}
{{- else }}{{ fail "config: empty; write providers, routes and keys there, or name an existingConfigMap" }}{{ end }}
{{- end }}

{{- /* What every pod of this chart has. */ -}}
{{- define "droveway.pod" -}}
automountServiceAccountToken: false
# Service-link variables of a release named droveway would be taken for settings (DROVEWAY_…).
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  fsGroup: 65532
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile: {type: RuntimeDefault}
{{- with .Values.imagePullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "droveway.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{- /* How a process of ours reaches NATS: (dict "root" $ "user" "gateway"). */ -}}
{{- define "droveway.natsEnv" -}}
- {name: DROVEWAY_NATS_URL, value: {{ include "droveway.natsUrl" .root | quote }}}
- {name: DROVEWAY_{{ upper .user }}_NATS_NKEY_FILE, value: /run/secrets/droveway/nats/{{ .user }}.nk}
{{- if .root.Values.nats.caSecret }}
- {name: SSL_CERT_FILE, value: /run/secrets/droveway/nats-ca/ca.crt}
{{- end }}
{{- end }}

{{- define "droveway.natsMounts" -}}
- {name: nats-seed, mountPath: /run/secrets/droveway/nats, readOnly: true}
{{- if .root.Values.nats.caSecret }}
- {name: nats-ca, mountPath: /run/secrets/droveway/nats-ca, readOnly: true}
{{- end }}
{{- end }}

{{- define "droveway.natsVolumes" -}}
- name: nats-seed
  secret:
    secretName: {{ .root.Values.nats.seedSecret }}
    defaultMode: 0440
    items: [{key: {{ .user }}.nk, path: {{ .user }}.nk}]
{{- with .root.Values.nats.caSecret }}
- name: nats-ca
  secret:
    secretName: {{ . }}
    items: [{key: ca.crt, path: ca.crt}]
{{- end }}
{{- end }}

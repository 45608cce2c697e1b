{{/* What all pods have in common: (list . component). Pod Security Standard "restricted" throughout. */}}
{{- define "roomscribe.podMetadata" -}}
{{- $root := index . 0 -}}
{{- $component := index $root.Values (index . 1) -}}
labels:
  {{- toYaml (merge (include "roomscribe.selector" . | fromYaml) $component.podLabels $root.Values.commonLabels) | nindent 2 }}
{{- with $component.podAnnotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "roomscribe.podSpec" -}}
{{- $root := index . 0 -}}
{{- $component := index $root.Values (index . 1) -}}
serviceAccountName: {{ include "roomscribe.serviceAccount" . }}
enableServiceLinks: false
{{- with include "roomscribe.pullSecrets" . | fromJsonArray }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  fsGroup: 65532
  seccompProfile: {type: RuntimeDefault}
{{- with $component.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with $component.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $component.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $component.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
topologySpreadConstraints:
  {{- if $component.topologySpreadConstraints }}
  {{- toYaml $component.topologySpreadConstraints | nindent 2 }}
  {{- else }}
  - maxSkew: 1
    topologyKey: kubernetes.io/hostname
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- include "roomscribe.selector" . | nindent 8 }}
  {{- end }}
{{- end -}}

{{/* The beginning of a container: (list . component). */}}
{{- define "roomscribe.container" -}}
{{- $root := index . 0 -}}
{{- $component := index $root.Values (index . 1) -}}
name: {{ index . 1 }}
image: {{ include "roomscribe.image" . | quote }}
imagePullPolicy: {{ $root.Values.image.pullPolicy }}
# A program that ends says why in one line: `kubectl describe pod` shows it.
terminationMessagePolicy: FallbackToLogsOnError
securityContext:
  allowPrivilegeEscalation: false
  capabilities: {drop: [ALL]}
  readOnlyRootFilesystem: true
resources:
  {{- toYaml $component.resources | nindent 2 }}
{{- end -}}

{{/* NATS, for operator and gateway. */}}
{{- define "roomscribe.natsEnv" -}}
- {name: RETENTION_DAYS, value: {{ .Values.transcripts.retentionDays | quote }}}
{{- with include "roomscribe.natsUrl" . }}
- {name: NATS_URL, value: {{ . | quote }}}
- {name: NATS_REPLICAS, value: {{ include "roomscribe.copies" $ | quote }}}
{{- end }}
{{- if .Values.nats.existingSecret }}
- {name: NATS_CREDS, value: /etc/roomscribe/nats/nats.creds}
{{- end }}
{{- end -}}

{{/* A Secret as a folder: (list name secret). */}}
{{- define "roomscribe.secretVolume" -}}
- name: {{ index . 0 }}
  secret:
    secretName: {{ index . 1 }}
    defaultMode: 0440
{{- end -}}

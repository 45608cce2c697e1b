{{/* Labels that the operator gives to every worker pod. */}}
{{- define "roomscribe.workerLabels" -}}
app.kubernetes.io/name: roomscribe
app.kubernetes.io/component: worker
app.kubernetes.io/managed-by: roomscribe-operator
{{- end -}}

{{/* Peer: pods of a component of this release, in whatever namespace the policy is: (list . component). */}}
{{- define "roomscribe.peer" -}}
- namespaceSelector:
    matchLabels:
      kubernetes.io/metadata.name: {{ (index . 0).Release.Namespace }}
  podSelector:
    matchLabels:
      {{- include "roomscribe.selector" . | nindent 6 }}
{{- end -}}

{{/* Peer: workers of every namespace that is watched. */}}
{{- define "roomscribe.workers" -}}
{{- with .Values.operator.watchNamespaces -}}
- namespaceSelector:
    matchExpressions:
      - {key: kubernetes.io/metadata.name, operator: In, values: {{ uniq . | toJson }}}
{{- else -}}
- namespaceSelector: {}
{{- end }}
  podSelector:
    matchLabels:
      {{- include "roomscribe.workerLabels" . | nindent 6 }}
{{- end -}}

{{/* metricsFrom as an ingress rule: (list . port). */}}
{{- define "roomscribe.scrapers" -}}
{{- with (index . 0).Values.networkPolicy.metricsFrom -}}
- ports: [{port: {{ index $ 1 }}}]
  from:
    {{- toYaml . | nindent 4 }}
{{- end -}}
{{- end -}}

{{/* Names. */}}
{{- define "roomscribe.toNames" -}}
- ports:
    {{- range .Values.networkPolicy.egress.dnsPorts }}
    - {port: {{ . }}, protocol: UDP}
    - {port: {{ . }}}
    {{- end }}
{{- end -}}

{{/* What every pod that is limited may ask: names, and the ports of networkPolicy.egress. */}}
{{- define "roomscribe.outside" -}}
{{ include "roomscribe.toNames" . }}
- ports:
    {{- range .Values.networkPolicy.egress.ports }}
    - port: {{ . }}
    {{- end }}
{{- if and (not .Values.nats.enabled) .Values.nats.url }}
# The NATS of nats.url.
- ports:
    {{- range splitList "," .Values.nats.url }}
    - port: {{ regexFind ":[0-9]+$" (trim .) | trimPrefix ":" | default "4222" }}
    {{- end }}
{{- end }}
{{- end -}}

{{/* Egress to NATS and to our speech server, where the chart runs them. */}}
{{- define "roomscribe.toNats" -}}
{{- if .Values.nats.enabled -}}
- ports: [{port: 4222}]
  to:
    {{- include "roomscribe.peer" (list . "nats") | nindent 4 }}
{{- end -}}
{{- end -}}

{{- define "roomscribe.toSpeech" -}}
{{- if .Values.speech.enabled -}}
- ports: [{port: 8080}]
  to:
    {{- include "roomscribe.peer" (list . "speech") | nindent 4 }}
{{- end -}}
{{- end -}}

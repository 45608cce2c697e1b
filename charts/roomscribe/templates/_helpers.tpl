{{/* Names. */}}
{{- define "roomscribe.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{- define "roomscribe.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- $name := include "roomscribe.name" . -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Context of one component: (list . "operator"). */}}
{{- define "roomscribe.component" -}}
{{- printf "%s-%s" (include "roomscribe.fullname" (index . 0)) (index . 1) -}}
{{- end -}}

{{/* What selects a component's pods; it can never change. */}}
{{- define "roomscribe.selector" -}}
{{- $root := index . 0 -}}
app.kubernetes.io/name: {{ include "roomscribe.name" $root }}
app.kubernetes.io/instance: {{ $root.Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end -}}

{{/* Labels of an object. Not of pods: a new chart must not restart a NATS that stays the same. */}}
{{- define "roomscribe.labels" -}}
{{- $root := index . 0 -}}
{{- $own := dict
  "app.kubernetes.io/part-of" "roomscribe"
  "app.kubernetes.io/managed-by" $root.Release.Service
  "app.kubernetes.io/version" $root.Chart.AppVersion
  "helm.sh/chart" (printf "%s-%s" $root.Chart.Name ($root.Chart.Version | replace "+" "_")) -}}
{{- $more := gt (len .) 2 | ternary (last .) dict -}}
{{- toYaml (merge (include "roomscribe.selector" . | fromYaml) $own $more $root.Values.commonLabels) -}}
{{- end -}}

{{/* metadata of an object in the release's namespace: (list . component name), and perhaps annotations, and then labels. */}}
{{- define "roomscribe.metadata" -}}
{{- $root := index . 0 -}}
name: {{ index . 2 }}
namespace: {{ $root.Release.Namespace }}
{{ include "roomscribe.about" . }}
{{- end -}}

{{/* As above, without name and namespace. */}}
{{- define "roomscribe.about" -}}
{{- $root := index . 0 -}}
labels:
  {{- include "roomscribe.labels" (list $root (index . 1) (gt (len .) 4 | ternary (last .) dict)) | nindent 2 }}
{{- with merge (dict) (gt (len .) 3 | ternary (index (concat . (list dict)) 3) dict) $root.Values.commonAnnotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "roomscribe.serviceAccount" -}}
{{- $account := (index (index . 0).Values (index . 1)).serviceAccount -}}
{{- if $account.create -}}
{{- default (include "roomscribe.component" .) $account.name -}}
{{- else -}}
{{- default "default" $account.name -}}
{{- end -}}
{{- end -}}

{{/* Whole name of an image: (list . component). */}}
{{- define "roomscribe.image" -}}
{{- $root := index . 0 -}}
{{- $image := (index $root.Values (index . 1)).image -}}
{{- $name := $image.repository -}}
{{- if ne (index . 1) "nats" -}}
{{- $name = list $root.Values.image.registry $image.repository | compact | join "/" -}}
{{- end -}}
{{- if $image.digest -}}
{{- printf "%s@%s" $name $image.digest -}}
{{- else -}}
{{- printf "%s:%s" $name (coalesce $image.tag $root.Values.image.tag $root.Chart.AppVersion) -}}
{{- end -}}
{{- end -}}

{{/* Names of pull Secrets as JSON. */}}
{{- define "roomscribe.pullSecrets" -}}
{{- $image := (index (index . 0).Values (index . 1)).image -}}
{{- $image.pullSecrets | default (index . 0).Values.image.pullSecrets | toJson -}}
{{- end -}}

{{/* Namespaces whose sessions are shown by the gateway, as JSON. */}}
{{- define "roomscribe.gatewayNamespaces" -}}
{{- $named := coalesce .Values.gateway.namespaces .Values.operator.watchNamespaces (list .Release.Namespace) -}}
{{- uniq $named | toJson -}}
{{- end -}}

{{/* Namespaces of sessions that the chart knows, as JSON. */}}
{{- define "roomscribe.sessionNamespaces" -}}
{{- if .Values.operator.watchNamespaces -}}
{{- uniq .Values.operator.watchNamespaces | toJson -}}
{{- else if .Values.gateway.enabled -}}
{{- include "roomscribe.gatewayNamespaces" . -}}
{{- else -}}
{{- list .Release.Namespace | toJson -}}
{{- end -}}
{{- end -}}

{{- define "roomscribe.installSecret" -}}
{{- default (include "roomscribe.component" (list . "install")) .Values.install.existingSecret -}}
{{- end -}}

{{- define "roomscribe.gatewaySecret" -}}
{{- default (include "roomscribe.component" (list . "gateway")) .Values.gateway.auth.existingSecret -}}
{{- end -}}

{{/* Secret with the speech service's key; empty: it needs none. */}}
{{- define "roomscribe.speechSecret" -}}
{{- if .Values.speech.enabled -}}
{{- default (include "roomscribe.component" (list . "speech")) .Values.speech.existingSecret -}}
{{- else -}}
{{- .Values.gladia.existingSecret -}}
{{- end -}}
{{- end -}}

{{- define "roomscribe.speechUrl" -}}
{{- if .Values.speech.enabled -}}
http://{{ include "roomscribe.component" (list . "speech") }}.{{ .Release.Namespace }}.svc:8080
{{- else -}}
{{- .Values.gladia.apiUrl -}}
{{- end -}}
{{- end -}}

{{/* Empty: transcripts live in the workers' pods. */}}
{{- define "roomscribe.natsUrl" -}}
{{- if .Values.nats.enabled -}}
nats://{{ include "roomscribe.component" (list . "nats") }}.{{ .Release.Namespace }}.svc:4222
{{- else -}}
{{- .Values.nats.url -}}
{{- end -}}
{{- end -}}

{{- define "roomscribe.copies" -}}
{{- .Values.transcripts.replicas | default (.Values.nats.enabled | ternary .Values.nats.replicas 1) -}}
{{- end -}}

{{- define "roomscribe.publicUrl" -}}
{{- $gateway := .Values.gateway -}}
{{- if $gateway.publicUrl -}}
{{- $gateway.publicUrl -}}
{{- else if and $gateway.ingress.enabled $gateway.ingress.hosts -}}
{{ empty $gateway.ingress.tls | ternary "http" "https" }}://{{ first $gateway.ingress.hosts }}
{{- else if and $gateway.httpRoute.enabled $gateway.httpRoute.hostnames -}}
https://{{ first $gateway.httpRoute.hostnames }}
{{- end -}}
{{- end -}}

{{/* A value of a Secret that the chart made before, or a new one: (list . secret key length). In base64. */}}
{{- define "roomscribe.kept" -}}
{{- $root := index . 0 -}}
{{- $there := lookup "v1" "Secret" $root.Release.Namespace (index . 1) -}}
{{- $value := dig "data" (index . 2) "" ($there | default dict) -}}
{{- if $value -}}
{{- $value -}}
{{- else -}}
{{- randBytes 64 | sha256sum | trunc (int (index . 3)) | b64enc -}}
{{- end -}}
{{- end -}}

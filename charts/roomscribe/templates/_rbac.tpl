{{/* operator/rbac.yaml; a test compares the two. */}}
{{- define "roomscribe.operatorRules" -}}
- apiGroups: [roomscribe.io]
  resources: [transcriptionsessions]
  verbs: [get, list, watch, patch, delete]
- apiGroups: [roomscribe.io]
  resources: [transcriptionsessions/status]
  verbs: [update]
- apiGroups: [roomscribe.io]
  resources: [transcriptionsessions/finalizers]
  verbs: [update]
- apiGroups: [""]
  resources: [pods]
  verbs: [list, watch, create, delete]
- apiGroups: [""]
  resources: [services]
  verbs: [list, watch, create, patch, delete]
- apiGroups: [""]
  resources: [secrets]
  verbs: [create, patch, delete]
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create, patch]
{{- end -}}

{{/* gateway/rbac.yaml; sessions are created in the first namespace only. */}}
{{- define "roomscribe.gatewayRules" -}}
- apiGroups: [roomscribe.io]
  resources: [transcriptionsessions]
  verbs: [get, list, watch, patch{{ if . }}, create{{ end }}]
{{- end -}}

{{/* A Role and who has it: (list . component name namespace rules). */}}
{{- define "roomscribe.role" -}}
{{- $root := index . 0 -}}
{{- $component := index . 1 -}}
{{- $name := index . 2 -}}
{{- $namespace := index . 3 -}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata:
  name: {{ $name }}
  namespace: {{ $namespace }}
  {{- include "roomscribe.about" (list $root $component $name) | nindent 2 }}
rules:
  {{- index . 4 | nindent 2 }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata:
  name: {{ $name }}
  namespace: {{ $namespace }}
  {{- include "roomscribe.about" (list $root $component $name) | nindent 2 }}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: Role
  name: {{ $name }}
subjects:
  - kind: ServiceAccount
    name: {{ include "roomscribe.serviceAccount" (list $root $component) }}
    namespace: {{ $root.Release.Namespace }}
{{ end -}}

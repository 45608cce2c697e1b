{{/* Whose sessions, for the operator, `drain` and `self-test`. */}}
{{- define "roomscribe.operatorScope" -}}
- name: POD_NAMESPACE
  valueFrom: {fieldRef: {fieldPath: metadata.namespace}}
{{- with .Values.operator.watchNamespaces }}
- {name: WATCH_NAMESPACES, value: {{ uniq . | join "," | quote }}}
{{- end }}
{{- end -}}

{{/* The rest of the operator's and of `self-test`'s environment. */}}
{{- define "roomscribe.operatorEnv" -}}
{{ include "roomscribe.operatorScope" . }}
- {name: RUST_LOG, value: {{ .Values.operator.log | quote }}}
- {name: INSTALL_DIR, value: /etc/roomscribe/install}
{{- with .Values.livekit.existingSecret }}
{{- /* From the environment, so that kubelet names a Secret or a key that is not there; from files, so that new keys are noticed. */}}
{{- range $env, $key := dict "LIVEKIT_HTTP_URL" "url" "LIVEKIT_API_KEY" "apiKey" "LIVEKIT_API_SECRET" "apiSecret" }}
- name: {{ $env }}
  valueFrom: {secretKeyRef: {name: {{ $.Values.livekit.existingSecret }}, key: {{ $key }}}}
{{- end }}
- {name: LIVEKIT_API_KEY_FILE, value: /etc/roomscribe/livekit/apiKey}
- {name: LIVEKIT_API_SECRET_FILE, value: /etc/roomscribe/livekit/apiSecret}
{{- end }}
- {name: LIVEKIT_RATE, value: {{ .Values.livekit.rate | quote }}}
- {name: LIVEKIT_BURST, value: {{ .Values.livekit.burst | quote }}}
{{- with include "roomscribe.speechSecret" . }}
- name: GLADIA_API_KEY
  valueFrom: {secretKeyRef: {name: {{ . }}, key: apiKey}}
- {name: GLADIA_API_KEY_FILE, value: /etc/roomscribe/speech/apiKey}
{{- end }}
- {name: GLADIA_API_URL, value: {{ include "roomscribe.speechUrl" . | quote }}}
{{- if and .Values.gladia.region (not .Values.speech.enabled) }}
- {name: GLADIA_REGION, value: {{ .Values.gladia.region | quote }}}
{{- end }}
- {name: SPEECH_MAX_CONCURRENT, value: {{ .Values.speech.maxConcurrent | quote }}}
{{ include "roomscribe.natsEnv" . }}
- {name: WORKER_IMAGE, value: {{ include "roomscribe.image" (list . "worker") | quote }}}
- {name: WORKER_PULL_POLICY, value: {{ .Values.image.pullPolicy }}}
{{- with include "roomscribe.pullSecrets" (list . "worker") | fromJsonArray }}
- {name: WORKER_PULL_SECRETS, value: {{ join "," . | quote }}}
{{- end }}
{{- with .Values.worker.resources }}
- {name: WORKER_RESOURCES, value: {{ toJson . | quote }}}
{{- end }}
- {name: WORKER_GRACE_SECONDS, value: {{ .Values.worker.graceSeconds | quote }}}
{{- with .Values.worker.serviceAnnotations }}
- {name: WORKER_SERVICE_ANNOTATIONS, value: {{ toJson . | quote }}}
{{- end }}
- {name: WORKER_LOG, value: {{ .Values.worker.log | quote }}}
{{- if .Values.credentials.perSession }}
- {name: CREDENTIALS_PER_SESSION, value: "true"}
{{- end }}
{{- with .Values.operator.nodePortHost }}
- {name: NODE_PORT_HOST, value: {{ . | quote }}}
{{- end }}
- {name: LOAD_BALANCER_NODE_PORTS, value: {{ .Values.operator.loadBalancerNodePorts | quote }}}
- {name: CLEANUP_DEADLINE_SECONDS, value: {{ .Values.operator.cleanupDeadlineSeconds | quote }}}
- {name: LEASE_NAME, value: {{ include "roomscribe.component" (list . "operator") }}}
- {name: LEASE_SECONDS, value: {{ .Values.operator.leaseSeconds | quote }}}
- {name: CONCURRENCY, value: {{ .Values.operator.concurrency | quote }}}
- {name: METRICS_LISTEN, value: "[::]:9090"}
{{- with .Values.operator.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Folders with Secrets, as pairs. `optional`: a Secret that is not there is named by the environment above, in the pod's status. */}}
{{- define "roomscribe.operatorMounts" -}}
- {name: install, mountPath: /etc/roomscribe/install, readOnly: true}
{{- if .Values.livekit.existingSecret }}
- {name: livekit, mountPath: /etc/roomscribe/livekit, readOnly: true}
{{- end }}
{{- if include "roomscribe.speechSecret" . }}
- {name: speech, mountPath: /etc/roomscribe/speech, readOnly: true}
{{- end }}
{{- if .Values.nats.existingSecret }}
- {name: nats, mountPath: /etc/roomscribe/nats, readOnly: true}
{{- end }}
{{- end -}}

{{- define "roomscribe.operatorVolumes" -}}
{{ include "roomscribe.secretVolume" (list "install" (include "roomscribe.installSecret" .)) }}
{{- with .Values.livekit.existingSecret }}
{{ include "roomscribe.secretVolume" (list "livekit" .) }}
    optional: true
{{- end }}
{{- with include "roomscribe.speechSecret" . }}
{{ include "roomscribe.secretVolume" (list "speech" .) }}
    optional: true
{{- end }}
{{- with .Values.nats.existingSecret }}
{{ include "roomscribe.secretVolume" (list "nats" .) }}
{{- end }}
{{- end -}}

{{/* Pod of a job of the operator's program: (list . arguments). */}}
{{- define "roomscribe.operatorOnce" -}}
{{- $root := index . 0 -}}
restartPolicy: Never
automountServiceAccountToken: true
{{ include "roomscribe.podSpec" (list $root "operator") }}
containers:
  - {{- include "roomscribe.container" (list $root "operator") | nindent 4 }}
    args: {{ toJson (index . 1) }}
{{- end -}}

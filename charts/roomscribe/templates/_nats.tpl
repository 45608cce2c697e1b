{{- define "roomscribe.natsConfig" -}}
{{- $name := include "roomscribe.component" (list . "nats") -}}
server_name: $POD_NAME
port: 4222
http_port: 8222
lame_duck_duration: 30s
lame_duck_grace_period: 5s
jetstream {
  store_dir: /data
  max_file_store: {{ .Values.nats.maxFileStore }}
  max_memory_store: {{ .Values.nats.maxMemoryStore }}
}
{{- if gt (int .Values.nats.replicas) 1 }}
cluster {
  name: {{ $name }}
  port: 6222
  routes: [
    {{- range until (int .Values.nats.replicas) }}
    nats://{{ $name }}-{{ . }}.{{ $name }}-peers.{{ $.Release.Namespace }}.svc:6222
    {{- end }}
  ]
}
{{- end }}
{{- end -}}

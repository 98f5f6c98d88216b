{{/*
Labels of an object. Argument: dict "root" $ "component" NAME ("" for objects of all components).
*/}}
{{- define "fairlead.labels" -}}
app.kubernetes.io/name: fairlead
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ .root.Chart.Name }}-{{ .root.Chart.Version | replace "+" "_" }}
{{- with .component }}
app.kubernetes.io/component: {{ . }}
{{- end }}
{{- end }}

{{/*
The labels by which a workload selects its pods; they never change. Argument: the component.
*/}}
{{- define "fairlead.selector" -}}
app.kubernetes.io/name: fairlead
app.kubernetes.io/component: {{ . }}
{{- end }}

{{- define "fairlead.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{/*
fairlead.yaml: the value `config`, with what depends on the release or the cluster filled in.
*/}}
{{- define "fairlead.config" -}}
{{- $config := deepCopy .Values.config }}
{{- if not $config.apiServers }}
{{- $_ := set $config "apiServers" .Values.discovered.apiServers }}
{{- end }}
{{- $_ := set $config.status "leaseNamespace" (include "fairlead.leaseNamespace" .) }}
{{- if not $config.lb.nodeService }}
{{- $_ := set $config.lb "nodeService" (printf "%s/fairlead-node" .Release.Namespace) }}
{{- end }}
{{- if and .Values.gateway.enabled (not $config.gateway.service) }}
{{- $_ := set $config.gateway "service" (printf "%s/fairlead-gateway" .Release.Namespace) }}
{{- end }}
{{- range $protocol := list "tcp" "udp" }}
{{- $key := printf "%sServices" $protocol }}
{{- if and $.Values.gateway.enabled (index $.Values.gateway $protocol) (not (index $config.gateway $key)) }}
{{- $_ := set $config.gateway $key (printf "%s/fairlead-gateway-%s" $.Release.Namespace $protocol) }}
{{- end }}
{{- end }}
{{- if and .Values.controller.acmeCA (not $config.acme.caFile) }}
{{- $_ := set $config.acme "caFile" "/etc/fairlead-acme/ca.crt" }}
{{- end }}
{{- if .Values.dns.tlsSecret }}
{{- $_ := set $config.dns "tls" (dict "listen" (list "[::]:853") "certificate" "/etc/fairlead-dns-tls/tls.crt" "key" "/etc/fairlead-dns-tls/tls.key") }}
{{- if .Values.dns.https }}
{{- $_ := set $config.dns "https" (dict "listen" (list "[::]:443")) }}
{{- end }}
{{- else if .Values.dns.https }}
{{- fail "dns.https needs dns.tlsSecret: a Secret with the certificate" }}
{{- end }}
{{- toYaml $config }}
{{- end }}

{{/*
Pods are replaced, some at a time, when the configuration changes. Running processes read a changed file
themselves, within the minute or two that the kubelet takes to write it; this makes certain that all of them do.
*/}}
{{- define "fairlead.podAnnotations" -}}
checksum/config: {{ include "fairlead.config" . | sha256sum }}
{{- end }}

{{/*
The port of the first DNS listener.
*/}}
{{- define "fairlead.dnsPort" -}}
{{ regexFind "[0-9]+$" (first .Values.config.dns.listen) }}
{{- end }}

{{/*
How clients choose among the DNS pods: the newest wording that the cluster knows (KEP-4444, KEP-3015).
*/}}
{{- define "fairlead.trafficDistribution" -}}
{{- $want := .Values.dns.trafficDistribution }}
{{- if semverCompare ">=1.34.0-0" .Capabilities.KubeVersion.Version }}
{{- $want }}
{{- else if and $want (semverCompare ">=1.31.0-0" .Capabilities.KubeVersion.Version) }}
{{- "PreferClose" }}
{{- end }}
{{- end }}

{{/*
Tolerations of pods that every node needs, whatever its state.
*/}}
{{- define "fairlead.tolerateAll" -}}
- operator: Exists
{{- end }}

{{- define "fairlead.env" -}}
- name: NODE_NAME
  valueFrom:
    fieldRef:
      fieldPath: spec.nodeName
{{- end }}


{{/*
The namespace of what the processes keep: the controller's lease, and what gateways share.
*/}}
{{- define "fairlead.leaseNamespace" -}}
{{ .Values.config.status.leaseNamespace | default .Release.Namespace }}
{{- end }}

{{/*
The ConfigMaps that the controller reads for gateways, as JSON: by namespace those that the configuration names,
and under "" the names that ingress-nginx has by default. Nobody has said that its namespace is there, and a Role
needs one.
*/}}
{{- define "fairlead.gatewayConfigMaps" -}}
{{- $gateway := (include "fairlead.config" . | fromYaml).gateway }}
{{- $all := dict }}
{{- range $key, $default := dict "nginxConfigMap" "ingress-nginx-controller" "tcpServices" "tcp-services" "udpServices" "udp-services" }}
{{- $at := splitList "/" (printf "/%s" $default) }}
{{- with index $gateway $key }}
{{- $at = splitList "/" . }}
{{- end }}
{{- if or (first $at) $.Values.config.migration.ingressNginx }}
{{- $_ := set $all (first $at) (append (get $all (first $at) | default list) (last $at) | uniq | sortAlpha) }}
{{- end }}
{{- end }}
{{- toJson $all }}
{{- end }}

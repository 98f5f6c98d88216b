package main

import (
	"bytes"
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"text/template"
)

// Ports, in a network namespace of the bench's own. Each proxy has one for HTTP and
// the next one for HTTPS.
const (
	backendPort = 7001 + iota
	grpcPort
	proxyPort
)

// backendAddress is where the backend is: at the machine itself, but not at an address
// of loopback, which no endpoint in a cluster has.
var backendAddress = netip.AddrFrom4([4]byte{10, 0, 0, 1})

// domain is what all hosts are in. One of them has HTTPS, and gRPC.
const (
	domain     = "bench.example"
	secureHost = "secure." + domain
)

// label is what a route's host begins with, and the name of its Service.
func label(i int) string { return fmt.Sprintf("h%04d", i) }

func host(i int) string { return label(i) + "." + domain }

// names are the proxies, in the order in which they take turns. Of Traefik and Caddy,
// which take long to build, either may be left out.
func (o options) names() []string {
	all := []string{"fairlead", "nginx", "haproxy"}
	if o.traefik != "" {
		all = append(all, "traefik")
	}
	if o.caddy != "" {
		all = append(all, "caddy")
	}
	return all
}

// launch starts a proxy with so many routes, each of a host and a backend of its own,
// and HTTPS; it waits until the last one answers.
func (w *world) launch(name string, routes int) (*peer, error) {
	p := &peer{name: name}
	for i, n := range w.names() {
		if n == name {
			p.plain, p.tls = at(uint16(proxyPort+2*i)), at(uint16(proxyPort+2*i+1))
		}
	}
	if err := w.launchAs(p, routes); err != nil {
		return nil, err
	}
	for _, i := range []int{0, routes - 1} {
		if err := w.expect(p, host(i)); err != nil {
			return nil, err
		}
	}
	return p, nil
}

func (w *world) launchAs(p *peer, routes int) error {
	switch p.name {
	case "fairlead":
		return w.startFairlead(p, routes)
	case "nginx":
		path, err := w.write(p, routes, "nginx.conf", nginxConfig)
		if err != nil {
			return err
		}
		return w.start(p, w.nginx, "-p", w.directory, "-c", path)
	case "haproxy":
		path, err := w.write(p, routes, "haproxy.cfg", haproxyConfig)
		if err != nil {
			return err
		}
		return w.start(p, w.haproxy, "-db", "-f", path)
	case "traefik":
		if _, err := w.write(p, routes, "traefik-routes.yml", traefikRoutes); err != nil {
			return err
		}
		path, err := w.write(p, routes, "traefik.yml", traefikConfig)
		if err != nil {
			return err
		}
		return w.start(p, w.traefik, "--configfile="+path)
	case "caddy":
		path, err := w.write(p, routes, "Caddyfile", caddyConfig)
		if err != nil {
			return err
		}
		return w.start(p, w.caddy, "run", "--adapter", "caddyfile", "--config", path)
	}
	return fmt.Errorf("no proxy is called %q", p.name)
}

// write writes a configuration to a file.
func (w *world) write(p *peer, routes int, file, config string) (string, error) {
	t, err := template.New(file).Parse(config)
	if err != nil {
		return "", err
	}
	values := map[string]any{
		"Directory": w.directory, "Plain": p.plain, "TLS": p.tls, "PlainPort": p.plain.Port(), "TLSPort": p.tls.Port(),
		"Backend": netip.AddrPortFrom(backendAddress, backendPort), "GRPC": netip.AddrPortFrom(backendAddress, grpcPort), "GRPCPath": grpcPath,
		"Certificate": w.path(certificateFile), "Key": w.path(keyFile), "Bundle": w.path(bundleFile),
		"Connections": strconv.Itoa(maxSockets),
	}
	hosts := []string{}
	for i := range routes {
		hosts = append(hosts, host(i))
	}
	values["Hosts"], values["First"], values["Secure"] = hosts, hosts[0], secureHost
	var out bytes.Buffer
	if err := t.Execute(&out, values); err != nil {
		return "", err
	}
	return w.path(file), os.WriteFile(w.path(file), out.Bytes(), 0o600)
}

// As nginx's documentation has it for upstream keep-alive; buffers hold the large
// body, which else may go to a file. One host more has HTTPS and gRPC.
const nginxConfig = `daemon off;
user root;
worker_processes 1;
worker_rlimit_nofile {{.Connections}};
pid {{.Directory}}/nginx.pid;
error_log stderr error;
events { worker_connections {{.Connections}}; }
http {
	access_log off;
	client_body_temp_path {{.Directory}}/nginx-body;
	proxy_temp_path {{.Directory}}/nginx-proxy;
	fastcgi_temp_path {{.Directory}}/nginx-fastcgi;
	uwsgi_temp_path {{.Directory}}/nginx-uwsgi;
	scgi_temp_path {{.Directory}}/nginx-scgi;
	tcp_nodelay on;
	keepalive_requests 1000000000;
	keepalive_timeout 1h;
	server_names_hash_max_size 65536;
	server_names_hash_bucket_size 128;
	proxy_http_version 1.1;
	proxy_set_header Connection "";
	proxy_set_header Host $host;
	proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
	proxy_set_header X-Forwarded-Proto $scheme;
	proxy_buffer_size 16k;
	proxy_buffers 8 16k;
	proxy_busy_buffers_size 32k;
	upstream grpc { server {{.GRPC}}; keepalive 128; keepalive_requests 1000000000; keepalive_timeout 1h; }
	server {
		listen {{.TLS}} ssl http2;
		server_name {{.Secure}};
		ssl_certificate {{.Certificate}};
		ssl_certificate_key {{.Key}};
		ssl_protocols TLSv1.3;
		ssl_ecdh_curve X25519;
		ssl_conf_command Ciphersuites TLS_AES_128_GCM_SHA256;
		location / { proxy_pass http://backend-{{.First}}; }
		location {{.GRPCPath}} { grpc_pass grpc://grpc; }
	}
{{- range .Hosts}}
	upstream backend-{{.}} { server {{$.Backend}}; keepalive 128; keepalive_requests 1000000000; keepalive_timeout 1h; }
	server { listen {{$.Plain}}; server_name {{.}}; location / { proxy_pass http://backend-{{.}}; } }
{{- end}}
}
`

// One thread; connections to servers are shared by those of clients. HAProxy would want
// two files for each connection, which few machines allow by default.
const haproxyConfig = `global
	nbthread 1
	maxconn {{.Connections}}
	no strict-limits
	ssl-default-bind-options ssl-min-ver TLSv1.3
	ssl-default-bind-curves X25519
	ssl-default-bind-ciphersuites TLS_AES_128_GCM_SHA256
defaults
	mode http
	option forwardfor
	http-reuse always
	timeout connect 5s
	timeout client 1h
	timeout server 1h
	timeout http-request 10s
	timeout http-keep-alive 1h
frontend plain
	bind {{.Plain}}
	http-request set-header X-Forwarded-Proto http
	use_backend %[req.hdr(host),lower]
frontend secure
	bind {{.TLS}} ssl crt {{.Bundle}} alpn h2,http/1.1
	http-request set-header X-Forwarded-Proto https
	use_backend grpc if { path {{.GRPCPath}} }
	use_backend {{.First}} if { req.hdr(host) -i {{.Secure}} }
backend grpc
	server s {{.GRPC}} proto h2
{{- range .Hosts}}
backend {{.}}
	server s {{$.Backend}}
{{- end}}
`

const traefikConfig = `global: {checkNewVersion: false, sendAnonymousUsage: false}
log: {level: ERROR}
entryPoints:
  plain: {address: "{{.Plain}}", transport: {respondingTimeouts: {readTimeout: 0s, idleTimeout: 1h}}}
  secure: {address: "{{.TLS}}", transport: {respondingTimeouts: {readTimeout: 0s, idleTimeout: 1h}}}
providers:
  file: {filename: "{{.Directory}}/traefik-routes.yml", watch: false}
`

const traefikRoutes = `tls:
  certificates: [{certFile: "{{.Certificate}}", keyFile: "{{.Key}}"}]
  options: {default: {minVersion: VersionTLS13, curvePreferences: [X25519]}}
http:
  serversTransports: {bench: {maxIdleConnsPerHost: 256}}
  routers:
    secure: {rule: "Host(` + "`{{.Secure}}`" + `)", service: "{{.First}}", entryPoints: [secure], tls: {}}
    grpc: {rule: "Host(` + "`{{.Secure}}`) && Path(`{{.GRPCPath}}`)" + `", service: grpc, entryPoints: [secure], tls: {}}
{{- range .Hosts}}
    "{{.}}": {rule: "Host(` + "`{{.}}`" + `)", service: "{{.}}", entryPoints: [plain]}
{{- end}}
  services:
    grpc: {loadBalancer: {servers: [{url: "h2c://{{.GRPC}}"}]}}
{{- range .Hosts}}
    "{{.}}": {loadBalancer: {serversTransport: bench, servers: [{url: "http://{{$.Backend}}"}]}}
{{- end}}
`

const caddyConfig = `{
	admin off
	persist_config off
	auto_https off
	default_bind 127.0.0.1
	http_port {{.PlainPort}}
	https_port {{.TLSPort}}
	log {
		level ERROR
	}
	servers {
		protocols h1 h2
		timeouts {
			idle 1h
		}
	}
}
(backend) {
	reverse_proxy {{.Backend}} {
		transport http {
			versions 1.1
			compression off
			keepalive 1h
			keepalive_idle_conns_per_host 256
		}
	}
}
https://{{.Secure}} {
	tls {{.Certificate}} {{.Key}} {
		protocols tls1.3
		curves x25519
	}
	handle {{.GRPCPath}} {
		reverse_proxy h2c://{{.GRPC}}
	}
	handle {
		import backend
	}
}
{{- range .Hosts}}
http://{{.}} {
	import backend
}
{{- end}}
`

// Package health answers those who ask a node whether to send it traffic.
//
// In go an lb.Table, whose HealthChecks a Plane serves, one port per Service
// with externalTrafficPolicy: Local (KEP-27); and, for Healthz, functions that
// tell whether the proxy works and whether the node stays (KEP-3836). Out come
// HTTP answers with kube-proxy's paths, status codes, headers and JSON, for load
// balancers and tools that were made for it; a Waiting serves any of them at a
// port that kube-proxy may still have. The package judges nothing itself and
// changes nothing but its own listeners.
package health

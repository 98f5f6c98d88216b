// Package migrate says what becomes of a cluster's Ingresses when Fairlead takes over
// from ingress-nginx, and writes them down as objects of Gateway API.
//
// In goes the Table that gateways would serve, with the Reasons of Compile, the
// ConfigMaps and the command line of ingress-nginx; out comes a Report, or objects with
// what they cannot express. What it says of annotations and routes it has from
// internal/l7 and internal/l7/nginx, which also serve them, so that it says nothing that
// is not so.
//
// The package reads no cluster and changes nothing.
package migrate

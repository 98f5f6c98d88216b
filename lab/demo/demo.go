// Package demo is what `lab up` puts on the cluster to try things with: a small shop and probe pods.
//
// In: the digests of the images it uses. Out: manifests. It never talks to a cluster itself.
package demo

import (
	"embed"
	"fmt"
	"io/fs"
	"strings"
	"text/template"
)

// Namespace is where everything of the demo lives.
const Namespace = "demo"

//go:embed manifests
var manifests embed.FS

// Images are the demo's images: their names, and digests that change when their content does. A digest
// goes into the pods' annotations, so that applying the manifests replaces pods whose image is outdated.
type Images struct{ Shop, ShopID, Probe, ProbeID string }

// tier is one Deployment of the shop; its Service has the role's name unless Service says otherwise.
type tier struct {
	Role, Service string
	Replicas      int
	GRPC          bool
}

func tiers() []tier {
	return []tier{
		{Role: "front", Service: "shop", Replicas: 2},
		{Role: "catalogue", Service: "catalogue", Replicas: 2},
		{Role: "cart", Service: "cart", Replicas: 1}, // it keeps the cart in memory
		{Role: "payments", Service: "payments", Replicas: 2, GRPC: true},
	}
}

// Manifests renders every object of the demo, as one YAML stream.
func Manifests(images Images) (string, error) {
	var out strings.Builder
	entries, err := fs.ReadDir(manifests, "manifests")
	if err != nil {
		return "", fmt.Errorf("list the demo's manifests: %w", err)
	}
	for _, e := range entries { // sorted by name: the namespace comes first
		t, err := template.New(e.Name()).Option("missingkey=error").ParseFS(manifests, "manifests/"+e.Name())
		if err != nil {
			return "", fmt.Errorf("read manifest %s: %w", e.Name(), err)
		}
		data := map[string]any{"Images": images, "Tiers": tiers(), "Namespace": Namespace}
		if err := t.Execute(&out, data); err != nil {
			return "", fmt.Errorf("render manifest %s: %w", e.Name(), err)
		}
	}
	return out.String(), nil
}

// Workloads are what must be rolled out for the demo to be up, in kubectl's notation.
func Workloads() []string {
	var out []string
	for _, t := range tiers() {
		out = append(out, "deployment/"+t.Role)
	}
	return append(out, "statefulset/warehouse", "daemonset/probe")
}

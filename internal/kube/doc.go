// Package kube is the edge towards the Kubernetes API: the only importer of
// client-go.
//
// In go API objects, by list and watch or from files of manifests; out come
// desired.Objects, always whole and consistent, and nothing else: no other
// package sees a client. Objects are stripped to the fields that Fairlead uses
// before they are kept. What Fairlead has to say about a user's objects goes
// back as Events. The package decides nothing.
package kube

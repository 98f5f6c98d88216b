package kube

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/fairlead-net/fairlead/internal/desired"
)

func containing(image string, command, args []string) corev1.PodTemplateSpec {
	return corev1.PodTemplateSpec{Spec: corev1.PodSpec{Containers: []corev1.Container{
		{Image: image, Command: command, Args: args}, {Image: image + "-sidecar"},
	}}}
}

// TestContainers holds that all Deployments and DaemonSets are listed with how they start
// their programs, and that what may not be read is named.
func TestContainers(t *testing.T) {
	s := newAPIServer(t)
	s.set("deployments", &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: "in", Name: "controller"}, Spec: appsv1.DeploymentSpec{
		Template: containing("nginx", []string{"/run", "--a"}, []string{"--b=c"})}})
	s.set("daemonsets", &appsv1.DaemonSet{ObjectMeta: metav1.ObjectMeta{Namespace: "edge", Name: "controller"}, Spec: appsv1.DaemonSetSpec{
		Template: containing("nginx:2", nil, []string{"--d"})}})
	client := s.client(t)
	all, err := client.Containers(t.Context())
	got := []string{}
	for _, c := range all {
		got = append(got, fmt.Sprint(c.Owner, " ", c.Image, " ", c.Args))
	}
	want := []string{
		"Deployment in/controller nginx [/run --a --b=c]", "Deployment in/controller nginx-sidecar []",
		"DaemonSet edge/controller nginx:2 [--d]", "DaemonSet edge/controller nginx:2-sidecar []",
	}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%q, error %v, want %q", got, err, want)
	}
	for resource, kind := range map[string]string{"deployments": "Deployments", "daemonsets": "DaemonSets"} {
		s.setRefused(resource, true)
		if _, err := client.Containers(t.Context()); err == nil || !strings.Contains(err.Error(), kind) {
			t.Errorf("%s are refused: error %v", resource, err)
		}
		s.setRefused(resource, false)
	}
}

// TestConfigMaps holds that those of some names are read, text and bytes, that one which is
// not there is left out, and that a failure is none.
func TestConfigMaps(t *testing.T) {
	s := newAPIServer(t)
	s.set("configmaps", &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "in", Name: "settings"},
		Data: map[string]string{"use-http2": "false"}, BinaryData: map[string][]byte{"raw": {0, 255}}})
	s.set("configmaps", &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "in", Name: "other"}, Data: map[string]string{"secret": "x"}})
	client := s.client(t)
	settings, gone := desired.Name{Namespace: "in", Name: "settings"}, desired.Name{Namespace: "in", Name: "gone"}
	got, err := client.ConfigMaps(t.Context(), []desired.Name{settings, gone})
	if err != nil || len(got) != 1 || got[settings] == nil {
		t.Fatalf("%v, error %v", got, err)
	}
	if keys := got[settings].Keys; len(keys) != 2 || string(keys["use-http2"]) != "false" || string(keys["raw"]) != "\x00\xff" {
		t.Errorf("%q", keys)
	}
	s.setRefused("configmaps", true)
	if got, err := client.ConfigMaps(t.Context(), []desired.Name{settings}); err == nil || !strings.Contains(err.Error(), "in/settings") {
		t.Errorf("refused: %v, error %v", got, err)
	}
}

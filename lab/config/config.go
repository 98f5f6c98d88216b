// Package config renders what every machine of the lab needs to know.
//
// In: a plan, credentials and the host's abilities. Out: the files and command lines of each machine, as
// machine.Spec values, and kubeconfigs. It is pure: it reads and writes nothing.
package config

import (
	"embed"
	"fmt"
	"strings"
	"text/template"

	"github.com/fairlead-net/fairlead/lab/pki"
)

const (
	// Domain is the cluster's DNS domain.
	Domain = "cluster.local"
	// PauseImage is what every pod's sandbox runs.
	PauseImage = "registry.k8s.io/pause:3.10"
	// ForwardAddress is where the host reaches the API server.
	ForwardAddress = "127.0.0.1:16443"

	containerdSocket = "/run/containerd/containerd.sock"
	kubernetesDir    = "/etc/kubernetes/"
	pkiDir           = kubernetesDir + "pki/"
)

// files are templates of configuration files that people know by sight.
//
//go:embed files
var files embed.FS

func render(name string, data any) string {
	text, err := files.ReadFile("files/" + name)
	if err != nil {
		panic("config: " + err.Error()) // embedded: it is there or the program doesn't build
	}
	var out strings.Builder
	t := template.Must(template.New(name).Funcs(template.FuncMap{"indent": indent}).Parse(string(text)))
	if err := t.Execute(&out, data); err != nil {
		panic("config: " + err.Error()) // the data's type is fixed
	}
	return out.String()
}

func indent(spaces int, text string) string {
	pad := strings.Repeat(" ", spaces)
	return pad + strings.ReplaceAll(strings.TrimSpace(text), "\n", "\n"+pad)
}

// Kubeconfig lets a user reach the API server at server (host:port).
func Kubeconfig(server, user string, authority []byte, credentials pki.Pair) string {
	return render("kubeconfig.yaml", map[string]any{
		"Server": "https://" + server, "User": user,
		"CA": encode(authority), "Cert": encode(credentials.Cert), "Key": encode(credentials.Key),
	})
}

func flag(name string, value any) string { return fmt.Sprintf("--%s=%v", name, value) }

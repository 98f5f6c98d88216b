package cluster

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"

	"github.com/fairlead-net/fairlead/lab/build"
	"github.com/fairlead-net/fairlead/lab/config"
	"github.com/fairlead-net/fairlead/lab/image"
)

// suitePackages are the tools that specs run in the suite's images. Where upstream's images have Alpine's or
// their own builds, these have Debian's: what matters is the command line.
var suitePackages = []string{
	"ca-certificates", "curl", "wget", "dnsutils", "netcat-openbsd", "iproute2", "iputils-ping", "iperf", "socat",
	"util-linux", "procps", "conntrack", "iptables", "nftables", "busybox-static", "nginx-light",
}

// suiteRegistries are where images lie that the suite may use here; it names others that need a login.
var suiteRegistries = []string{"registry.k8s.io/", "registry.k8s.io/e2e-test-images/", "registry.k8s.io/build-image/"}

// suiteImages builds the images of the specs that can run here, under the names that the suite says.
func (c *Cluster) suiteImages(ctx context.Context, listed string) (image.Image, error) {
	tree, err := image.DebianTree(ctx, c.Layout.Dir("cache"), suitePackages, c.note)
	if err != nil {
		return image.Image{}, err
	}
	busybox, err := c.busybox(ctx, tree)
	if err != nil {
		return image.Image{}, err
	}
	if err := os.MkdirAll(c.Layout.Dir("images"), 0o755); err != nil {
		return image.Image{}, fmt.Errorf("make the image folder: %w", err)
	}
	agnhost, err := c.agnhost(ctx)
	if err != nil {
		return image.Image{}, err
	}
	recipes := []image.Recipe{
		{
			Refs: suiteRefs(listed, "agnhost"), Tree: tree, Files: agnhost,
			Entrypoint: []string{"/agnhost"}, Cmd: []string{"pause"},
		},
		{Refs: suiteRefs(listed, "glibc-dns-testing"), Tree: tree, Cmd: []string{"sleep", "infinity"}},
		{Refs: suiteRefs(listed, "distroless-iptables"), Tree: tree, Cmd: []string{"sleep", "infinity"}},
		{Refs: suiteRefs(listed, "nginx"), Tree: tree, Cmd: []string{"nginx", "-g", "daemon off;"}},
		{Refs: suiteRefs(listed, "busybox"), Files: busybox, Cmd: []string{"sh"}},
		{
			Refs: suiteRefs(listed, "regression-issue-74839"), Entrypoint: []string{"/regression-issue-74839"},
			Files: map[string]image.File{"/regression-issue-74839": {Program: c.Layout.Bin("regression-issue-74839")}},
		},
		{
			Refs: suiteRefs(listed, "pause"), Entrypoint: []string{"/pause"},
			Files: map[string]image.File{"/pause": {Program: c.Layout.Bin("pause")}},
		},
	}
	return image.Bundle("the end-to-end suite's", recipes, c.Layout.Image("conformance"))
}

// agnhost is what that image holds beside the tools: the program, what its servers serve, and a DNS server.
func (c *Cluster) agnhost(ctx context.Context) (map[string]image.File, error) {
	pause, err := image.Static(config.PauseImage, c.Layout.Bin("pause"), "/pause", c.Layout.Image("pause"))
	if err != nil {
		return nil, err
	}
	files, err := image.Registry("/var/registry", "pause", "testing", pause)
	if err != nil {
		return nil, err
	}
	source, err := build.ModuleFolder(ctx, c.Layout, "k8s.io/kubernetes")
	if err != nil {
		return nil, err
	}
	for _, name := range []string{"localhost.crt", "localhost.key"} {
		text, err := os.ReadFile(filepath.Join(source, "test", "images", "agnhost", "porter", name))
		if err != nil {
			return nil, fmt.Errorf("read what agnhost serves TLS with: %w", err)
		}
		files["/"+name] = image.File{Text: string(text)}
	}
	files["/agnhost"] = image.File{Program: c.Layout.Bin("agnhost")}
	files["/agnhost-2"] = image.File{Link: "agnhost"}
	files["/coredns"] = image.File{Program: c.Layout.Bin("hostsdns")}
	files["/uploads"] = image.File{}
	return files, nil
}

// suiteRefs are the names of an image among those that e2e.test --list-images printed, one a line.
func suiteRefs(listed, name string) []string {
	var out []string
	for ref := range strings.FieldsSeq(listed) {
		for _, registry := range suiteRegistries {
			if strings.HasPrefix(ref, registry+name+":") {
				out = append(out, ref)
			}
		}
	}
	return out
}

// busybox is Debian's busybox as the files of an image: the program, and a link for each of its names.
func (c *Cluster) busybox(ctx context.Context, tree string) (map[string]image.File, error) {
	program := c.Layout.Bin("busybox")
	if err := image.Extract(tree, "bin/busybox", program); err != nil {
		return nil, err
	}
	names, err := exec.CommandContext(ctx, program, "--list").Output()
	if err != nil {
		return nil, fmt.Errorf("ask busybox for its names: %w", err)
	}
	files := map[string]image.File{
		"/bin": {}, "/tmp": {}, "/etc": {}, "/root": {}, "/bin/busybox": {Program: program},
		"/etc/passwd": {Text: "root:x:0:0:root:/root:/bin/sh\n"}, "/etc/group": {Text: "root:x:0:\n"},
	}
	for name := range strings.FieldsSeq(string(names)) {
		if name != "busybox" {
			files[path.Join("/bin", name)] = image.File{Link: "busybox"}
		}
	}
	return files, nil
}

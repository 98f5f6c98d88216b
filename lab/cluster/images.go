package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"

	"github.com/fairlead-net/fairlead/lab/config"
	"github.com/fairlead-net/fairlead/lab/image"
	"github.com/fairlead-net/fairlead/lab/machine"
)

// Names of the images that the lab builds.
const (
	ProductImage = "ghcr.io/fairlead-net/fairlead:dev"
	ShopImage    = "ghcr.io/fairlead-net/shop:dev"
	ProbeImage   = "ghcr.io/fairlead-net/probe:dev"
)

// probePackages are the tools that probe pods have.
var probePackages = []string{
	"ca-certificates", "curl", "dnsutils", "openssl", "iproute2", "netcat-openbsd", "wget", "iputils-ping",
}

// buildImages makes the tarballs of all images.
func (c *Cluster) buildImages(ctx context.Context) error {
	_, err := c.images(ctx)
	return err
}

// images builds what is missing and names all images of the lab.
func (c *Cluster) images(ctx context.Context) ([]image.Image, error) {
	if err := os.MkdirAll(c.Layout.Dir("images"), 0o755); err != nil {
		return nil, fmt.Errorf("make the image folder: %w", err)
	}
	static := [][3]string{
		{config.PauseImage, "pause", "/pause"},
		{ShopImage, "shop", "/shop"},
	}
	if c.withProduct() {
		static = append(static, [3]string{ProductImage, "fairlead", "/fairlead"})
	}
	var out []image.Image
	for _, s := range static {
		built, err := image.Static(s[0], c.Layout.Bin(s[1]), s[2], c.Layout.Image(s[1]))
		if err != nil {
			return nil, err
		}
		out = append(out, built)
	}
	tree, err := image.DebianTree(ctx, c.Layout.Dir("cache"), probePackages, c.note)
	if err != nil {
		return nil, err
	}
	probe, err := image.Root(ProbeImage, tree, []string{"sleep", "infinity"}, c.Layout.Image("probe"))
	if err != nil {
		return nil, err
	}
	return append(out, probe), nil
}

// loadImages brings every node's images up to date, all nodes at once.
func (c *Cluster) loadImages(ctx context.Context) error {
	images, err := c.images(ctx)
	if err != nil {
		return err
	}
	return c.everyNode(func(node string) error {
		for _, img := range images {
			if err := c.loadOnce(ctx, node, img); err != nil {
				return err
			}
		}
		return nil
	})
}

// Load brings the tarball of an image, in OCI or docker-archive form, to every node.
func (c *Cluster) Load(ctx context.Context, tarball string) error {
	if _, err := os.Stat(tarball); err != nil {
		return fmt.Errorf("load an image from a tarball: %w", err)
	}
	return c.everyNode(func(node string) error { return c.load(ctx, node, tarball) })
}

func (c *Cluster) everyNode(do func(node string) error) error {
	var wait sync.WaitGroup
	errs := make([]error, len(c.Plan.Nodes))
	for i, n := range c.Plan.Nodes {
		wait.Go(func() { errs[i] = do(n.Name) })
	}
	wait.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// loadOnce loads an image unless the node's disk has this very content under this name.
func (c *Cluster) loadOnce(ctx context.Context, node string, img image.Image) error {
	record := filepath.Join(c.Layout.Machine(node), "images.json")
	loaded := map[string]string{}
	if text, err := os.ReadFile(record); err == nil {
		if err := json.Unmarshal(text, &loaded); err != nil {
			loaded = map[string]string{} // half written in a crash: load all again
		}
	}
	if loaded[img.Ref] == img.ID {
		return nil
	}
	if err := c.load(ctx, node, img.Tarball); err != nil {
		return err
	}
	loaded[img.Ref] = img.ID
	text, err := json.Marshal(loaded)
	if err != nil {
		return fmt.Errorf("encode the record of images: %w", err)
	}
	return os.WriteFile(record, text, 0o644)
}

// load hands a tarball to a node's containerd, whose socket is reached through its init's file tree.
func (c *Cluster) load(ctx context.Context, node, tarball string) error {
	pid, err := machine.PID(c.hierarchies, node)
	if err != nil {
		return err
	}
	socket := fmt.Sprintf("/proc/%d/root/run/containerd/containerd.sock", pid)
	cmd := exec.CommandContext(ctx, c.Layout.Bin("ctr"), "--address", socket, "--namespace", "k8s.io",
		"images", "import", "--local", tarball)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("load %s into %s: %w\n%s", filepath.Base(tarball), node, err, out)
	}
	return nil
}

package cluster

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// needs are files of Debian packages that the lab uses.
var needs = []struct{ file, pkg string }{
	{"runc", "runc"},
	{"nsenter", "util-linux"},
	{"ip", "iproute2"},
	{"nft", "nftables"},
	{"mmdebstrap", "mmdebstrap"},
	{"/usr/lib/frr/bgpd", "frr"},
	{"/usr/sbin/bird", "bird2"},
	{"/usr/share/keyrings/debian-archive-keyring.gpg", "debian-archive-keyring"}, // Ubuntu has it not
}

// installPackages installs what is missing and nothing that is there.
func (c *Cluster) installPackages(ctx context.Context) error {
	var missing, names []string
	for _, n := range needs {
		if !present(n.file) {
			missing, names = append(missing, n.file+":"+n.pkg), append(names, n.pkg)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	c.note("installing Debian packages: %s", strings.Join(names, " "))
	return c.run(ctx, filepath.Join(c.Layout.Root, "hack", "packages.sh"), missing...)
}

func present(file string) bool {
	if strings.HasPrefix(file, "/") {
		_, err := os.Stat(file)
		return err == nil
	}
	_, err := exec.LookPath(file)
	return err == nil
}

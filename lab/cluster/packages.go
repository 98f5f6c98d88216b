package cluster

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
)

// needs are files of Debian packages that the lab uses.
var needs = []struct{ file, pkg string }{
	{"runc", "runc"},
	{"nsenter", "util-linux"},
	{"ip", "iproute2"},
	{"nft", "nftables"},
	{"mmdebstrap", "mmdebstrap"},
	{"/usr/share/keyrings/debian-archive-keyring.gpg", "debian-archive-keyring"}, // Ubuntu has it not
}

// installPackages installs what is missing and nothing that is there.
func (c *Cluster) installPackages(ctx context.Context) error {
	var missing []string
	for _, n := range needs {
		if !present(n.file) {
			missing = append(missing, n.pkg)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	c.note("installing Debian packages: %s", strings.Join(missing, " "))
	for _, args := range [][]string{
		{"update", "-q"},
		append([]string{"install", "-q", "-y", "--no-install-recommends"}, missing...),
	} {
		cmd := exec.CommandContext(ctx, "apt-get", args...)
		cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("apt-get %s (install by hand: %s): %w\n%s", args[0], strings.Join(missing, " "), err, out)
		}
	}
	return nil
}

func present(file string) bool {
	if strings.HasPrefix(file, "/") {
		_, err := os.Stat(file)
		return err == nil
	}
	_, err := exec.LookPath(file)
	return err == nil
}

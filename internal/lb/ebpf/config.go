package ebpf

import (
	"fmt"
	"log/slog"
	"os"

	"golang.org/x/sys/unix"
)

// DefaultDirectory is where maps and links are pinned unless configured.
const DefaultDirectory = "/sys/fs/bpf/fairlead"

// Config says where and how large. The zero value works on a usual machine.
type Config struct {
	// Cgroup is the directory of the cgroup2 hierarchy whose processes are
	// served; empty means the one that this process sees mounted.
	Cgroup string
	// Directory is where maps and links are pinned, on a mounted bpffs.
	Directory string
	Sizes     Sizes
	// Netns is the cookie of the node's network namespace (SO_NETNS_COOKIE); 0
	// means that of this process.
	Netns uint64
	// NetnsDirectory holds the network namespaces of pods, as container runtimes
	// mount them; empty means /run/netns.
	NetnsDirectory string
	Logger         *slog.Logger
}

// Sizes are the most entries that each map may have; zero takes the default.
// Maps take memory as they fill, except for 16 bytes an entry, and Affinity,
// which is allocated in full (about 110 bytes an entry).
type Sizes struct {
	Frontends uint32 // addresses times ports of all Services
	Backends  uint32 // the sum of all lists of backends
	Members   uint32 // the same for UDP and for Services with session affinity
	Affinity  uint32 // clients times Services with session affinity; the least recently used is forgotten
}

// sizes returns the wanted size of each map by the map's name.
func (c Config) sizes() map[string]uint32 {
	return map[string]uint32{
		socketMapFrontends: c.Sizes.Frontends,
		socketMapBackends:  c.Sizes.Backends,
		socketMapMembers:   c.Sizes.Members,
		socketMapAffinity:  c.Sizes.Affinity,
	}
}

func (c Config) withDefaults() (Config, error) {
	if c.Directory == "" {
		c.Directory = DefaultDirectory
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.NetnsDirectory == "" {
		c.NetnsDirectory = "/run/netns"
	}
	if c.Netns == 0 {
		cookie, err := netnsCookie()
		if err != nil {
			return c, err
		}
		c.Netns = cookie
	}
	if c.Cgroup == "" {
		root, err := FindCgroup("/")
		if err != nil {
			return c, err
		}
		c.Cgroup = root
	}
	if !isFileSystem(c.Cgroup, unix.CGROUP2_SUPER_MAGIC) {
		return c, fmt.Errorf("%s is not a cgroup2 directory: mount it (mount -t cgroup2 none DIRECTORY) or set the cgroup path to where it is mounted", c.Cgroup)
	}
	if err := os.MkdirAll(c.Directory, 0o700); err != nil {
		return c, fmt.Errorf("creating the directory for pinned maps (is a bpffs mounted there? mount -t bpf bpf /sys/fs/bpf): %w", err)
	}
	if !isFileSystem(c.Directory, unix.BPF_FS_MAGIC) {
		return c, fmt.Errorf("%s is not on a bpffs: mount one (mount -t bpf bpf /sys/fs/bpf) or set the directory to where it is mounted", c.Directory)
	}
	return c, nil
}

// isFileSystem compares 32 bits: all that a file system's magic number has, while
// the width of Statfs_t.Type depends on the architecture.
func isFileSystem(path string, magic uint32) bool {
	var stat unix.Statfs_t
	return unix.Statfs(path, &stat) == nil && uint32(stat.Type) == magic
}

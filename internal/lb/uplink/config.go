package uplink

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// DefaultDirectory is where maps and links are pinned unless configured.
const DefaultDirectory = "/sys/fs/bpf/fairlead-uplink"

// Config says where and how large. The zero value works on a usual machine.
type Config struct {
	// Directory is where maps and links are pinned, on a mounted bpffs.
	Directory string
	Logger    *slog.Logger
	// FlowsSize is the most flows that are remembered in each direction; beyond
	// that nftables serves new ones. Default 1<<18. An entry takes about 170
	// bytes, while it lives. A new size counts from the next boot on.
	FlowsSize uint32
	// Frontends and Backends are the most that the programs serve, of all Services
	// together, backends counted once per frontend; defaults 1<<17 and 1<<19.
	// nftables serves what is beyond.
	Frontends, Backends uint32
	// NodePorts is the API server's range of NodePorts, which are never used as
	// source ports; the default is 30000-32767.
	NodePorts PortRange
	// XDP says whether packets of known flows take a short cut in the driver.
	XDP XDPMode
	// Recheck is how often routes are asked for again, and dead flows are
	// forgotten. Default 30 s.
	Recheck time.Duration
	// WithoutTCX attaches as Linux before 6.6 needs it, by clsact.
	WithoutTCX bool

	timeouts timeouts
}

// PortRange includes both ends.
type PortRange struct{ First, Last uint16 }

// timeouts are how many seconds flows may be silent before they are forgotten.
type timeouts struct {
	closed     uint32 // both sides have said FIN, or one RST
	waiting    uint32 // the same, while there is room; as long as endpoints wait
	unanswered uint32 // a TCP client that does not go on after its SYN
	finishing  uint32 // one side has said FIN; kube-proxy's timeout for CLOSE_WAIT
	leaving    uint32 // the same, where only one direction passes; conntrack's timeout for FIN_WAIT
	connected  uint32 // TCP
	datagram   uint32 // UDP that nobody answered, as conntrack has it
	datagrams  uint32 // UDP
}

func defaultTimeouts() timeouts {
	return timeouts{closed: 10, waiting: 60, unanswered: 60, finishing: 3600, leaving: 120, connected: 6 * 3600, datagram: 30, datagrams: 180}
}

func (c Config) withDefaults() (Config, error) {
	if c.Directory == "" {
		c.Directory = DefaultDirectory
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.FlowsSize == 0 {
		c.FlowsSize = 1 << 18
	}
	if c.Frontends == 0 {
		c.Frontends = 1 << 17
	}
	if c.Backends == 0 {
		c.Backends = 1 << 19
	}
	if c.NodePorts == (PortRange{}) {
		c.NodePorts = PortRange{First: 30000, Last: 32767}
	}
	if c.Recheck == 0 {
		c.Recheck = 30 * time.Second
	}
	if c.timeouts == (timeouts{}) {
		c.timeouts = defaultTimeouts()
	}
	if err := os.MkdirAll(c.Directory, 0o700); err != nil {
		return c, fmt.Errorf("creating the directory for pinned maps (is a bpffs mounted there? mount -t bpf bpf /sys/fs/bpf): %w", err)
	}
	var stat unix.Statfs_t
	// All that a file system's magic number has are 32 bits.
	if err := unix.Statfs(c.Directory, &stat); err != nil || uint32(stat.Type) != unix.BPF_FS_MAGIC {
		return c, fmt.Errorf("%s is not on a bpffs: mount one (mount -t bpf bpf /sys/fs/bpf) or set the directory to where it is mounted", c.Directory)
	}
	return c, nil
}

// leastPorts are the fewest that are worth to send from.
const leastPorts = 1024

// sourcePorts finds the largest range of ports that neither the kernel nor
// NodePorts take from.
func sourcePorts(ephemeral string, nodePorts PortRange) (PortRange, error) {
	var kernel PortRange
	if _, err := fmt.Sscan(ephemeral, &kernel.First, &kernel.Last); err != nil || kernel.First > kernel.Last {
		return PortRange{}, fmt.Errorf("net.ipv4.ip_local_port_range says %q, which is no range of ports", ephemeral)
	}
	var best, current PortRange
	length := func(r PortRange) int { return int(r.Last) - int(r.First) + 1 }
	for port := 1024; port <= 65535; port++ {
		p := uint16(port)
		if p >= kernel.First && p <= kernel.Last || p >= nodePorts.First && p <= nodePorts.Last {
			current = PortRange{}
			continue
		}
		if current.First == 0 {
			current.First = p
		}
		current.Last = p
		if best.First == 0 || length(current) > length(best) {
			best = current
		}
	}
	if best.First == 0 || length(best) < leastPorts {
		return PortRange{}, errors.New("fewer than 1024 ports in a row are left to send from, as net.ipv4.ip_local_port_range and NodePorts have the others: make that range smaller")
	}
	return best, nil
}

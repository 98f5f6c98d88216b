package ebpf

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"

	"github.com/fairlead-net/fairlead/internal/lb"
)

// netnsCookie returns the number by which the programs know the network
// namespace of this thread.
func netnsCookie() (uint64, error) {
	socket, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, fmt.Errorf("opening a socket to learn the network namespace: %w", err)
	}
	defer func() { _ = unix.Close(socket) }()
	cookie, err := unix.GetsockoptUint64(socket, unix.SOL_SOCKET, unix.SO_NETNS_COOKIE)
	if err != nil {
		return 0, fmt.Errorf("asking for the network namespace's cookie (needs Linux 5.14): %w", os.NewSyscallError("getsockopt", err))
	}
	return cookie, nil
}

func addressOf(address netip.Addr) socketAddress {
	var a socketAddress
	b := address.As16()
	for i := range a.Address {
		a.Address[i] = binary.NativeEndian.Uint32(b[4*i:])
	}
	return a
}

// writeAddresses makes the kernel know the node's addresses.
func (p *Plane) writeAddresses(want lb.Table) error {
	wanted := map[socketAddress]bool{}
	var fresh, gone []socketAddress
	for _, address := range want.NodeAddresses {
		a := addressOf(address)
		wanted[a] = true
		if !p.addresses[a] {
			fresh = append(fresh, a)
		}
	}
	for a := range p.addresses {
		if !wanted[a] {
			gone = append(gone, a)
		}
	}
	if err := p.update(socketMapAddresses, fresh, make([]uint32, len(fresh)), len(fresh)); err != nil {
		return fmt.Errorf("NodePorts are not served at all addresses of the node: %w", err)
	}
	if err := deleteAll(p.maps[socketMapAddresses], gone); err != nil {
		return fmt.Errorf("forgetting former addresses of the node: %w", err)
	}
	p.addresses = wanted
	return nil
}

// adoptAddresses reads which addresses the kernel knows already.
func (p *Plane) adoptAddresses() error {
	p.addresses = map[socketAddress]bool{}
	return forEach(p.maps[socketMapAddresses], func(a socketAddress, _ uint32) { p.addresses[a] = true })
}

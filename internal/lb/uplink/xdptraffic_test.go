package uplink

import (
	"fmt"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/fairlead-net/fairlead/internal/desired"
)

// TestXDPTraffic sends through the short cut on a veth, which is made fit for it:
// its other end has a program too, and nobody leaves checksums to a card.
func TestXDPTraffic(t *testing.T) {
	for _, f := range ways() {
		t.Run(f.String(), func(t *testing.T) {
			w := newWorld(t)
			for _, each := range []struct {
				ns      netns.NsHandle
				devices []string
			}{{w.client, []string{"eth0"}}, {w.router, []string{"client", "node1", "node2"}}, {w.nodes[1], []string{"uplink", "pod"}},
				{w.nodes[2], []string{"uplink", "pod"}}, {w.pods[1], []string{"eth0"}}, {w.pods[2], []string{"eth0"}}} {
				w.plain(each.ns, each.devices...)
			}
			w.poll(w.router, "node1")
			p := w.short(f, XDPForce)
			if lines := strings.Join(p.Describe(), "\n"); !strings.Contains(lines, "by XDP on uplink") {
				t.Fatal(lines)
			}
			pod := podIP(f.pod, 0, f.six)
			w.serve(w.pods[f.pod], desired.UDP, join(pod, 8080))
			c := w.open(desired.UDP, join(f.vip, 80))
			for range 3 {
				w.checkAnswer(p, w.must(c), f, desired.UDP, join(pod, 8080))
			}
			w.bulk(w.pods[f.pod], join(pod, 8081), join(f.vip, 81))
			counters, err := p.Counters()
			if err != nil || counters.Dropped != (Counters{}).Dropped {
				t.Errorf("%+v, %v", counters, err)
			}
		})
	}
}

// poll gives a veth a program that passes everything. Without one the kernel
// does not wake it for what XDP sends to it.
func (w *world) poll(ns netns.NsHandle, device string) {
	w.t.Helper()
	w.in(ns, func() error {
		program, err := ebpf.NewProgram(&ebpf.ProgramSpec{
			Type: ebpf.XDP, License: "Dual BSD/GPL",
			Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, xdpPass), asm.Return()},
		})
		if err != nil {
			return err
		}
		w.t.Cleanup(func() { program.Close() })
		l, err := netlink.LinkByName(device)
		if err != nil {
			return err
		}
		attached, err := link.AttachXDP(link.XDPOptions{Interface: l.Attrs().Index, Program: program, Flags: link.XDPDriverMode})
		if err == nil {
			w.t.Cleanup(func() { attached.Close() })
		}
		return err
	})
}

// plain makes veths compute their own checksums.
func (w *world) plain(ns netns.NsHandle, devices ...string) {
	w.t.Helper()
	const setTXChecksum = 0x17 // ETHTOOL_STXCSUM
	w.in(ns, func() error {
		socket, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(socket)
		for _, device := range devices {
			if err := ethtool(socket, device, setTXChecksum, 0); err != nil {
				return fmt.Errorf("%s: %w", device, err)
			}
		}
		return nil
	})
}

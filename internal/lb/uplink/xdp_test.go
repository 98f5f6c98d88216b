package uplink

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/fairlead-net/fairlead/internal/desired"
)

const (
	xdpPass      = 2
	xdpRedirects = 4
)

// TestXDPLikeTC gives the same packets to the short cut and to the program
// behind it: where the short cut sends, it sends the same packet.
func TestXDPLikeTC(t *testing.T) {
	for _, f := range ways() {
		t.Run(f.String(), func(t *testing.T) {
			w := newWorld(t)
			p := w.short(f, XDPAuto) // loaded, and not used on a veth
			w.serve(w.pods[f.pod], desired.UDP, join(podIP(f.pod, 0, f.six), 8080))
			w.must(w.open(desired.UDP, join(f.vip, 80))) // neighbours know each other from here on
			tc, xdp := w.bench(p), &bench{w: w, p: p, program: packetsProgUplinkXdp}
			// Test runs come by the loopback interface, and leave by another.
			w.pretend(p)
			client := netip.AddrPortFrom(netip.MustParseAddr(f.client), 41000)
			for _, protocol := range []desired.Protocol{desired.TCP, desired.UDP} {
				q := packet{from: client, to: netip.AddrPortFrom(netip.MustParseAddr(f.vip), 80), protocol: protocol, flags: flagSYN, data: []byte("odd")[:int(protocol)/17*3]}
				w.in(w.nodes[1], func() error {
					if err := xdp.passes("unknown", q.frame(make([]byte, 6))); err != nil {
						return err
					}
					_, begun, err := tc.run(q.frame(tc.card), 1)
					if err != nil {
						return err
					}
					q.flags = flagACK
					if err := xdp.like(t, tc, f.kind != packetsFlowKindTO_LOCAL, q); err != nil {
						return err
					}
					// The answer to what began it.
					first := read(t, begun)
					answer := packet{from: first.to, to: first.from, protocol: protocol, flags: flagACK, data: []byte("odd!")}
					remote := f.kind == packetsFlowKindTO_REMOTE || f.kind == packetsFlowKindTO_DIRECT && protocol == desired.UDP
					return xdp.like(t, tc, remote, answer)
				})
			}
		})
	}
}

// passes expects a frame to pass the short cut as it is.
func (b *bench) passes(name string, frame []byte) error {
	verdict, out, err := b.runXDP(frame)
	if err != nil || verdict != xdpPass || !bytes.Equal(frame, out) {
		return fmt.Errorf("%s: verdict %d, %x: %w", name, verdict, out, err)
	}
	return nil
}

func (b *bench) runXDP(frame []byte) (verdict uint32, out []byte, err error) {
	return b.p.programs[b.program].Test(frame)
}

// like compares the short cut with the program behind it.
func (b *bench) like(t *testing.T, tc *bench, sends bool, q packet) error {
	verdict, fast, err := b.runXDP(q.frame(make([]byte, 6)))
	if err != nil {
		return err
	}
	if !sends {
		return b.passes("local", q.frame(make([]byte, 6)))
	}
	_, slow, err := tc.run(q.frame(tc.card), 1)
	if err != nil {
		return err
	}
	read(t, fast)
	if verdict != xdpRedirects || !bytes.Equal(fast[12:], slow[12:]) {
		return fmt.Errorf("verdict %d for %+v; tc and XDP made of it:\n%x\n%x", verdict, q, slow, fast)
	}
	if bytes.Equal(fast[:6], make([]byte, 6)) {
		return errors.New("the frame is for nobody")
	}
	return nil
}

// short starts planes whose first one has the short cut.
func (w *world) short(f way, mode XDPMode) *Plane {
	w.t.Helper()
	config := w.config(1)
	config.XDP = mode
	p, other := w.planeOf(1, config), w.plane(2)
	for n, plane := range map[int]*Plane{1: p, 2: other} {
		want := table(n, f.services(n))
		want.Options.DirectReturn = f.kind == packetsFlowKindTO_DIRECT
		w.apply(n, plane, want)
	}
	return p
}

// pretend makes the loopback interface an uplink to the programs, and lets them
// send by the true one.
func (w *world) pretend(p *Plane) {
	w.t.Helper()
	w.in(w.nodes[1], func() error {
		l, err := netlink.LinkByName("uplink")
		if err != nil {
			return err
		}
		var value packetsUplink
		if err := p.maps[packetsMapUplinks].Lookup(uint32(l.Attrs().Index), &value); err != nil {
			return err
		}
		value.Transmits = 1
		err = p.maps[packetsMapUplinks].Put(uint32(l.Attrs().Index), value)
		value.Card = [6]uint8{}
		return errors.Join(err, p.maps[packetsMapUplinks].Put(uint32(1), value))
	})
}

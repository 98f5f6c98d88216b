package kernel

import (
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
)

// longest is the longest pause after which an interface that refused the program is
// asked again, in looks at the interfaces (period): about a minute. The first is one.
const longest = 32

// attached is an interface that has the program.
type attached struct {
	name string
	link link.Link
	// peer is set if replies go to the other end at once.
	peer bool
}

// refusal is an interface that does not take the program.
type refusal struct {
	name string
	why  error
	// pause is how many looks at the interfaces pass before the next try, left how
	// many of them are still to come.
	pause, left int
}

func (r *refusal) String() string {
	return fmt.Sprintf("interface %s does not take the program, and is asked again (%s): %v", r.name, needs, r.why)
}

// hasPeer tells whether an interface is one end of a pair whose other end is in
// another network namespace, as a pod's is, so that the kernel can receive a reply
// there without a queue between (bpf_redirect_peer, Linux 5.10). Between ends in one
// network namespace it would drop it.
func hasPeer(l netlink.Link) bool {
	_, veth := l.(*netlink.Veth)
	return veth && l.Attrs().NetNsID >= 0
}

// attach puts the program on an interface, if it is not there.
func (p *Plane) attach(l netlink.Link) {
	index, name, peer := l.Attrs().Index, l.Attrs().Name, hasPeer(l)
	if there, ok := p.links[index]; ok {
		err := p.keep(index, there, peer)
		if err == nil {
			p.links[index] = attached{name, there.link, peer}
			return
		}
		p.config.Log.Debug("the DNS fast path is put on an interface anew", "interface", name, "reason", err)
		p.detach(index)
	}
	r := p.refused[index]
	if r != nil && r.left > 0 {
		r.left--
		return
	}
	made, err := link.AttachTCX(link.TCXOptions{Interface: index, Program: p.programFor(peer), Attach: ebpf.AttachTCXIngress})
	if err == nil {
		if r != nil {
			p.config.Log.Info("the DNS fast path is on an interface that refused it before", "interface", name)
			delete(p.refused, index)
		}
		p.links[index] = attached{name, made, peer}
		return
	}
	if r == nil {
		r = &refusal{}
		p.refused[index] = r
	}
	if r.why == nil || r.why.Error() != err.Error() {
		p.config.Log.Warn("the DNS fast path is not on an interface, which is asked again", "interface", name, "error", err)
	}
	pause := min(max(1, 2*r.pause), longest)
	*r = refusal{name: name, why: err, pause: pause, left: pause}
}

// keep lets an interface that has a program have the right one of the two, or says
// why it has none any more.
func (p *Plane) keep(index int, there attached, peer bool) error {
	info, err := there.link.Info()
	if err != nil {
		return err
	}
	if at := info.TCX(); at == nil || int(at.Ifindex) != index {
		return fmt.Errorf("interface %d is another one by now", index)
	}
	if there.peer == peer {
		return nil
	}
	return there.link.Update(p.programFor(peer))
}

func (p *Plane) programFor(peer bool) *ebpf.Program {
	if peer {
		return p.peerProgram
	}
	return p.program
}

func (p *Plane) detach(index int) {
	_ = p.links[index].link.Close() // it may have gone with its interface
	delete(p.links, index)
}

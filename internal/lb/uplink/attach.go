package uplink

import (
	"errors"

	"github.com/cilium/ebpf"
)

// refusal is the no of a kernel or a driver to a program on one interface.
type refusal struct{ error }

// Unwrap returns the kernel's answer.
func (r refusal) Unwrap() error { return r.error }

// bar is an interface that refused the programs, and why: its packets are left
// to nftables, and none are sent by it, as nobody would translate the answers.
type bar struct {
	index int
	why   string
}

// attachAll puts the programs on every uplink, and takes them off all others.
// What was refused is tried again on demand.
func (p *Plane) attachAll(again bool) error {
	names, pins := map[string]bool{}, map[string]bool{}
	var failed []error
	for _, u := range p.uplinks {
		names[u.name] = true
		for _, h := range hooks() {
			pins[pinName(u.name, h)] = h.attach != ebpf.AttachXDP || u.xdp
		}
		failed = append(failed, p.attachUplink(u, again))
	}
	if p.applied.Synced {
		failed = append(failed, p.detachOthers(names, pins))
		for name := range p.attached {
			if !names[name] {
				delete(p.attached, name)
				delete(p.short, name)
				delete(p.refused, name)
			}
		}
	}
	return errors.Join(failed...)
}

// attachUplink puts the programs on one uplink. If it refuses them, that is
// noted and no error; without the short cut alone it works.
func (p *Plane) attachUplink(u uplink, again bool) error {
	if p.attached[u.name] != u.index {
		for _, h := range hooks() {
			if h.attach == ebpf.AttachXDP {
				continue
			}
			err := p.attach(u, h, p.programs[h.program])
			var no refusal
			if errors.As(err, &no) {
				p.barred[u.name] = bar{u.index, no.Error()}
				delete(p.attached, u.name)
				p.log.Warn("an uplink refused the programs, nftables serves what comes by it", "interface", u.name, "error", err)
				return nil
			}
			if err != nil {
				return err
			}
		}
		p.attached[u.name], again = u.index, true
		p.log.Info("forwards packets that come by an uplink", "interface", u.name, "xdp", u.xdp)
	}
	p.attachShort(u, again)
	return nil
}

// attachShort puts the short cut on an uplink that may have it.
func (p *Plane) attachShort(u uplink, again bool) {
	if !u.xdp {
		delete(p.short, u.name)
		delete(p.refused, u.name)
		return
	}
	if p.short[u.name] == u.index || !again {
		return
	}
	for _, h := range hooks() {
		if h.attach != ebpf.AttachXDP {
			continue
		}
		if err := p.attach(u, h, p.programs[h.program]); err != nil {
			p.refused[u.name] = err.Error()
			return
		}
		p.short[u.name] = u.index
		delete(p.refused, u.name)
	}
}

// dropBarred forgets the uplinks that have just refused the programs, and tells
// whether there were any.
func (p *Plane) dropBarred() bool {
	var usable []uplink
	for _, u := range p.uplinks {
		if b, ok := p.barred[u.name]; !ok || b.index != u.index {
			usable = append(usable, u)
		}
	}
	dropped := len(usable) < len(p.uplinks)
	p.uplinks = usable
	return dropped
}

// usable tells whether an uplink takes the programs, as far as is known. One that
// refused them is asked again on demand, before anything is sent by it.
func (p *Plane) usable(u uplink, again bool) bool {
	if b, ok := p.barred[u.name]; !ok || b.index != u.index {
		delete(p.barred, u.name)
		return true
	}
	if !again {
		return false
	}
	why := p.barred[u.name]
	delete(p.barred, u.name)
	if err := p.attachUplink(u, true); err != nil {
		p.barred[u.name] = bar{why.index, err.Error()}
	}
	_, still := p.barred[u.name]
	return !still
}

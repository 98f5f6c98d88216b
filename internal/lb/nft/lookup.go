package nft

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"

	"github.com/fairlead-net/fairlead/internal/lb"
)

// Lookup returns what the kernel has for one frontend, without the Service's
// name, and whether it has it. It reads what belongs to this frontend and, of
// Services with source ranges, the ranges of all.
func (p *Plane) Lookup(f lb.Frontend) (*lb.Entry, bool, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, false, os.ErrClosed
	}
	r := reader{plane: p, family: p.layout.of(f.Address), all: map[string][]kernelElement{}}
	found, err := r.readFrontend(f)
	if err != nil || !found {
		return nil, false, err
	}
	entries, err := r.entries()
	if err != nil {
		return nil, false, err
	}
	return entries[f], true, nil
}

// Knows tells whether the kernel takes an address for one of the node's at which
// NodePorts are served, and whether for a ClusterIP.
func (p *Plane) Knows(address netip.Addr) (node, clusterIP bool, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return false, false, os.ErrClosed
	}
	f := p.layout.of(address)
	_, node, err = p.element(f.node, address.AsSlice())
	if err != nil {
		return false, false, err
	}
	_, clusterIP, err = p.element(f.clusterIPs, address.AsSlice())
	return node, clusterIP, err
}

// readFrontend reads the elements of one frontend.
func (r *reader) readFrontend(f lb.Frontend) (bool, error) {
	key := frontendKey(f)
	for i, m := range []set{r.family.inside, r.family.outside} {
		x, found, err := r.read1(m, key)
		if err != nil {
			return false, err
		}
		if !found {
			if i == 0 {
				return false, nil
			}
			continue
		}
		list := []set{r.family.backends, r.family.outsideBackends}[i]
		for slot := range binary.NativeEndian.Uint32(x.data[4:]) & maxBackends {
			if _, found, err := r.read1(list, binary.NativeEndian.AppendUint32(key[:len(key):len(key)], slot)); err != nil || !found {
				return false, errors.Join(err, fmt.Errorf("%s has no slot %d of %s", list.name, slot, f))
			}
		}
	}
	_, restricted, err := r.read1(r.family.restricted, key)
	if err != nil || !restricted {
		return true, err
	}
	name := r.family.allowed.name
	err = r.plane.socket.readElements(r.plane.config.Table, name, func() { r.all[name] = nil }, func(x kernelElement) {
		if r.frontend(x.key) == f {
			r.all[name] = append(r.all[name], x.clone())
		}
	})
	return true, err
}

// read1 reads one element, and keeps it.
func (r *reader) read1(s set, key []byte) (kernelElement, bool, error) {
	x, found, err := r.plane.element(s, key)
	if found {
		r.all[s.name] = append(r.all[s.name], x)
	}
	return x, found, err
}

// element returns what the kernel has for one key.
func (p *Plane) element(s set, key []byte) (kernelElement, bool, error) {
	var got kernelElement
	found := false
	m := request(unix.NFT_MSG_GETSETELEM, unix.NLM_F_ACK, func(a *attributes) {
		a.string(unix.NFTA_SET_ELEM_LIST_TABLE, p.config.Table)
		a.string(unix.NFTA_SET_ELEM_LIST_SET, s.name)
		a.nested(unix.NFTA_SET_ELEM_LIST_ELEMENTS, func(a *attributes) {
			a.nested(unix.NFTA_LIST_ELEM, func(a *attributes) { a.value(unix.NFTA_SET_ELEM_KEY, key) })
		})
	})
	err := p.socket.query(m, func(data []byte) {
		eachElement(data, func(x kernelElement) { got, found = x.clone(), true })
	})
	if errors.Is(err, unix.ENOENT) {
		return got, false, nil
	}
	if err != nil {
		return got, false, fmt.Errorf("reading %s of table %s: %w", s.name, p.config.Table, err)
	}
	return got, found, nil
}

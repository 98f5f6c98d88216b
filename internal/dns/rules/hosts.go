package rules

import (
	"bufio"
	"bytes"
	"net/netip"
	"slices"
	"strings"

	wire "github.com/miekg/dns"

	"github.com/fairlead-net/fairlead/internal/dns"
	"github.com/fairlead-net/fairlead/internal/dns/corefile"
)

// maxHosts bounds the names of a hosts file.
const maxHosts = 1 << 20

// hosts is the directive hosts.
type hosts struct {
	zones        []string
	ttl          uint32
	names        map[string][]netip.Addr // by folded name
	reverse      map[netip.Addr][]string // names with their final dot, as written
	fallthroughs corefile.Fallthrough
}

// newHosts follows the README of CoreDNS's plugin/hosts: lines of the file, then those
// in the Corefile. A name that the Corefile has is not looked for in the file.
func newHosts(c corefile.Hosts, zones []string, files Files) *hosts {
	h := &hosts{
		zones: c.Zones, ttl: uint32(c.TTL), fallthroughs: c.Fallthrough,
		names: map[string][]netip.Addr{}, reverse: map[netip.Addr][]string{},
	}
	if len(h.zones) == 0 {
		h.zones = zones
	}
	for _, e := range c.Entries {
		h.add(e, nil)
	}
	own := make(map[string]bool, len(h.names))
	for name := range h.names {
		own[name] = true
	}
	if content, err := files(c.File); err == nil {
		for _, e := range readHosts(content) {
			h.add(e, own)
		}
	}
	if c.NoReverse {
		clear(h.reverse)
	}
	return h
}

// readHosts reads a hosts file (hosts(5)); lines that are none are left out, as the C
// library does.
func readHosts(content []byte) []corefile.HostEntry {
	var all []corefile.HostEntry
	lines := bufio.NewScanner(bytes.NewReader(content))
	for lines.Scan() {
		text, _, _ := strings.Cut(lines.Text(), "#")
		fields := strings.Fields(text)
		if len(fields) < 2 {
			continue
		}
		if address, err := netip.ParseAddr(fields[0]); err == nil {
			all = append(all, corefile.HostEntry{Address: address.WithZone(""), Names: fields[1:]})
		}
	}
	return all
}

// add takes in a line, but for the names that are there already by another source.
func (h *hosts) add(e corefile.HostEntry, except map[string]bool) {
	address := e.Address.Unmap().WithZone("")
	for _, name := range e.Names {
		key := fold(name)
		if _, ok := wire.IsDomainName(name); !ok || except[key] || len(h.names) >= maxHosts {
			continue
		}
		if !slices.Contains(h.names[key], address) {
			h.names[key] = append(h.names[key], address)
		}
		if written := wire.Fqdn(name); !strings.HasPrefix(name, "*.") && !slices.Contains(h.reverse[address], written) {
			h.reverse[address] = append(h.reverse[address], written)
		}
	}
}

// lookup returns the addresses of a name, or of the wildcard that covers it, which
// stands for one label.
func (h *hosts) lookup(name string) ([]netip.Addr, bool) {
	if addresses, ok := h.names[name]; ok {
		return addresses, true
	}
	if next, end := wire.NextLabel(name, 0); !end {
		addresses, ok := h.names["*."+name[next:]]
		return addresses, ok
	}
	return nil, false
}

// answer makes the Reply of an Outcome if the query does not go on.
func (h *hosts) answer(o *Outcome, name string) {
	asked := o.Request.Question[0]
	_, in := zoneOf(h.zones, name)
	address, isReverse := dns.ReverseAddress(name)
	if !in && !(isReverse && len(h.reverse[address]) > 0) || asked.Qclass != wire.ClassINET {
		return
	}
	if isReverse && asked.Qtype == wire.TypePTR && len(h.reverse[address]) > 0 {
		o.reply("hosts", wire.RcodeSuccess)
		for _, to := range h.reverse[address] {
			o.Reply.Answer = append(o.Reply.Answer, &wire.PTR{Hdr: header(asked.Name, wire.TypePTR, h.ttl), Ptr: to})
		}
		return
	}
	addresses, exists := h.lookup(name)
	switch {
	case exists:
		o.reply("hosts", wire.RcodeSuccess)
		for _, a := range addresses {
			if rr := addressRecord(asked, a, h.ttl); rr != nil {
				o.Reply.Answer = append(o.Reply.Answer, rr)
			}
		}
	case in && !through(h.fallthroughs, name):
		// Without a zone there is no SOA record for a negative answer; CoreDNS says
		// SERVFAIL here too.
		o.reply("hosts", wire.RcodeServerFailure)
		o.Error = &dns.ExtendedError{Code: dns.ErrorOther, Text: "the directive hosts has the name's zone and not the name, and it does not fall through"}
	}
}

// addressRecord returns the A or AAAA record of an address if that type is asked for.
func addressRecord(asked wire.Question, address netip.Addr, ttl uint32) wire.RR {
	switch {
	case asked.Qtype == wire.TypeA && address.Is4():
		return &wire.A{Hdr: header(asked.Name, wire.TypeA, ttl), A: address.AsSlice()}
	case asked.Qtype == wire.TypeAAAA && address.Is6():
		return &wire.AAAA{Hdr: header(asked.Name, wire.TypeAAAA, ttl), AAAA: address.AsSlice()}
	}
	return nil
}

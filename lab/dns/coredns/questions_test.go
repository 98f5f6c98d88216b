package coredns

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/miekg/dns"
)

// What questions are made of beside the names of a cluster.
var (
	labels = []string{"_http", "http", "_tcp", "tcp", "_udp", "_sctp", "_", "__tcp", "svc", "pod", "dns", "ns", "apex", "any", "*", "web", "default", "gone",
		"10-244-0-1", "fd00-244--1", "--1", "1-2-3", "300-1-1-1", "web-0", "dns-version", "kube-dns", "a\\.b", "\\000", "x\\ y", strings.Repeat("z", 63)}
	outside = []string{"www.example.com.", "none.example.com.", "alias.example.com.", "local.", "com.", ".", "cluster.local.cluster.local.example.com.",
		"in-addr.arpa.", "ip6.arpa.", "arpa.", "96.10.in-addr.arpa.", "x.in-addr.arpa.", "svc.in-addr.arpa.", "1.2.0.192.in-addr.arpa.", "0.244.10.in-addr.arpa."}
	commonTypes = []uint16{dns.TypeA, dns.TypeA, dns.TypeAAAA, dns.TypeAAAA, dns.TypeSRV, dns.TypeSRV, dns.TypePTR}
	otherTypes  = []uint16{dns.TypeTXT, dns.TypeCNAME, dns.TypeSOA, dns.TypeNS, dns.TypeMX, dns.TypeANY, dns.TypeHTTPS, dns.TypeHINFO, dns.TypeDS, dns.TypeDNSKEY,
		dns.TypeCAA, dns.TypeAXFR, dns.TypeIXFR, dns.TypeTKEY, dns.TypeMAILB, 0, 64000}
)

// asker makes questions about one cluster.
type asker struct {
	generator
	cluster *cluster
	names   names
	known   []string // all names, sorted
}

func (g generator) asker(c *cluster) *asker {
	a := &asker{generator: g, cluster: c, names: c.names()}
	a.known = slices.Sorted(maps.Keys(a.names.data))
	a.known = append(a.known, slices.Sorted(maps.Keys(a.names.empty))...)
	for address := range maps.Keys(a.names.addresses) {
		a.known = append(a.known, reverse(address))
	}
	slices.Sort(a.known)
	return a
}

func reverse(address string) string {
	name, err := dns.ReverseAddr(address)
	if err != nil {
		panic(err)
	}
	return name
}

func (a *asker) question() dns.Question {
	q := dns.Question{Name: a.name(), Qtype: pick(a.generator, commonTypes), Qclass: dns.ClassINET}
	if a.chance(25) {
		q.Qtype = pick(a.generator, otherTypes)
	}
	if a.chance(3) {
		q.Qclass = pick(a.generator, []uint16{dns.ClassCHAOS, dns.ClassANY, dns.ClassNONE, 0})
	}
	for a.chance(40) {
		q.Name = a.mutate(q.Name)
	}
	if _, ok := dns.IsDomainName(q.Name); !ok {
		q.Name = "."
	}
	if a.chance(10) {
		q.Name = a.mixCase(q.Name)
	}
	return q
}

// name returns one that exists or might.
func (a *asker) name() string {
	switch n := a.IntN(100); {
	case n < 57:
		return pick(a.generator, a.known)
	case n < 60:
		return pick(a.generator, []string{"", "ns.dns.", "dns-version."}) + a.cluster.domain + "."
	case n < 72:
		text := a.podAddress(pick(a.generator, families))
		if a.chance(20) {
			text = pick(a.generator, []string{"10.96.0.10", "10.96.1.3", "192.0.2.1", "::", "::ffff:10.244.0.1", "fd00:96::a"})
		}
		return reverse(text)
	case n < 82:
		text := strings.NewReplacer(".", "-", ":", "-").Replace(a.podAddress(pick(a.generator, families)))
		return text + "." + pick(a.generator, namespaceNames) + ".pod." + a.cluster.domain + "."
	case n < 90:
		return pick(a.generator, outside)
	}
	// A name as glibc makes it from a search list.
	return pick(a.generator, []string{"www.example.com.", "web.default.", "db."}) + pick(a.generator, namespaceNames) + ".svc." + a.cluster.domain + "."
}

// mutate changes a label.
func (a *asker) mutate(name string) string {
	parts := dns.SplitDomainName(name)
	if len(parts) == 0 {
		return pick(a.generator, labels) + "."
	}
	// Most changes are to the left, where names of clusters differ.
	at := min(a.IntN(len(parts)), a.IntN(len(parts)))
	switch a.IntN(7) {
	case 0:
		parts = parts[1:]
	case 1:
		parts = slices.Insert(parts, at, pick(a.generator, labels))
	case 2:
		parts[at] = pick(a.generator, labels)
	case 3:
		parts = slices.Delete(parts, at, at+1)
	case 4:
		if rest, had := strings.CutPrefix(parts[at], "_"); had && rest != "" {
			parts[at] = rest
		} else if len(parts[at]) < 60 {
			parts[at] = "_" + parts[at]
		}
	case 5:
		parts = slices.Insert(parts, 0, "_"+pick(a.generator, portNames), pick(a.generator, []string{"_tcp", "_udp", "tcp", "_x"}))
	case 6:
		parts = slices.Insert(parts, 0, pick(a.generator, hostnames))
	}
	return dns.Fqdn(strings.Join(parts, "."))
}

// mixCase turns some letters into capital ones, as resolvers do to make spoofing
// harder.
func (a *asker) mixCase(name string) string {
	text := []byte(name)
	for i, c := range text {
		if c >= 'a' && c <= 'z' && a.chance(50) {
			text[i] -= 'a' - 'A'
		}
	}
	return string(text)
}

func describe(q dns.Question) string {
	return fmt.Sprintf("%s %s %s", q.Name, dns.Class(q.Qclass), dns.Type(q.Qtype))
}

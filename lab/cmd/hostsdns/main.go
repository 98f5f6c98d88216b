// Command hostsdns answers DNS from the hosts block of a Corefile. It stands in for the CoreDNS that the
// end-to-end suite's agnhost image holds: specs start that as a server of their own, beside the cluster's DNS.
package main

import (
	"flag"
	"log"
	"net/netip"
	"os"
	"strings"

	"github.com/miekg/dns"
)

func main() {
	conf := flag.String("conf", "Corefile", "the Corefile")
	flag.Parse()
	text, err := os.ReadFile(*conf)
	if err != nil {
		log.Fatal(err)
	}
	names := hosts(string(text))
	handler := dns.HandlerFunc(func(w dns.ResponseWriter, query *dns.Msg) { _ = w.WriteMsg(answer(names, query)) })
	failed := make(chan error)
	for _, network := range []string{"udp", "tcp"} {
		server := &dns.Server{Addr: ":53", Net: network, Handler: handler}
		go func() { failed <- server.ListenAndServe() }()
	}
	log.Fatal(<-failed)
}

// hosts reads lines of ADDRESS NAME... between "hosts {" and "}".
func hosts(corefile string) map[string][]netip.Addr {
	names := map[string][]netip.Addr{}
	_, rest, _ := strings.Cut(corefile, "hosts {")
	block, _, _ := strings.Cut(rest, "}")
	for line := range strings.Lines(block) {
		fields := strings.Fields(line)
		if len(fields) == 0 {
			continue
		}
		addr, err := netip.ParseAddr(fields[0])
		if err != nil {
			continue // an option, such as fallthrough
		}
		for _, name := range fields[1:] {
			name = strings.ToLower(dns.Fqdn(name))
			names[name] = append(names[name], addr)
		}
	}
	return names
}

func answer(names map[string][]netip.Addr, query *dns.Msg) *dns.Msg {
	reply := new(dns.Msg).SetReply(query)
	if len(query.Question) != 1 {
		return reply.SetRcode(query, dns.RcodeFormatError)
	}
	question := query.Question[0]
	addrs, known := names[strings.ToLower(question.Name)]
	if !known {
		return reply.SetRcode(query, dns.RcodeNameError)
	}
	reply.Authoritative = true
	for _, addr := range addrs {
		header := dns.RR_Header{Name: question.Name, Class: dns.ClassINET, Ttl: 5}
		switch {
		case addr.Is4() && question.Qtype == dns.TypeA:
			header.Rrtype = dns.TypeA
			reply.Answer = append(reply.Answer, &dns.A{Hdr: header, A: addr.AsSlice()})
		case addr.Is6() && question.Qtype == dns.TypeAAAA:
			header.Rrtype = dns.TypeAAAA
			reply.Answer = append(reply.Answer, &dns.AAAA{Hdr: header, AAAA: addr.AsSlice()})
		}
	}
	return reply
}

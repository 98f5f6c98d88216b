package rules

import (
	"net/netip"
	"os"
	"strings"
	"testing"

	wire "github.com/miekg/dns"
)

func noFiles(string) ([]byte, error) { return nil, os.ErrNotExist }

// TestNewMistakes: what cannot be followed is named with its line.
func TestNewMistakes(t *testing.T) {
	for directive, want := range map[string]string{
		"acl {\n block type AAA\n}":                  `Corefile:2: "AAA" is not a type of records`,
		"rewrite ttl exact a. 60-5":                  `Corefile:2: rewrite ttl: the range "60-5" ends before it begins`,
		"rewrite ttl exact a. -":                     `Corefile:2: rewrite ttl: "-" is neither`,
		"rewrite ttl exact a. soon":                  `Corefile:2: rewrite ttl: "soon" is neither`,
		"rewrite class IN XX":                        `Corefile:2: "XX" is not a class`,
		"rewrite type A AA":                          `Corefile:2: "AA" is not a type of records`,
		"template IN B {\n rcode NXDOMAIN\n}":        `Corefile:2: "B" is not a type of records`,
		"template IN A {\n answer \"{{ .Name \"\n}":  `Corefile:2: template: "{{ .Name ": `,
		"template IN A {\n answer \"{{ nope }}\"\n}": `Corefile:2: template: "{{ nope }}": `,
	} {
		_, err := read(t, ". {\n"+directive+"\n}\n", noFiles)
		if err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s:\n%v, want %s", directive, err, want)
		}
	}
}

func TestEmpty(t *testing.T) {
	for text, want := range map[string]bool{"errors\nforward . 192.0.2.1": true, "minimal": false, "hosts": false} {
		r, err := read(t, ". {\n"+text+"\n}\n", noFiles)
		if err != nil || r.Empty() != want {
			t.Errorf("%s: %v, %v", text, r.Empty(), err)
		}
	}
}

// FuzzQuery asks for anything: there is an outcome, the client's query stays as it is,
// and a reply can be packed.
func FuzzQuery(f *testing.F) {
	for _, name := range []string{"old.example.com", "ip-10-1-2-3.example", "localhost", "a\\000\\\"b.echo", "first-"} {
		f.Add(name, wire.TypeA, uint16(wire.ClassINET))
	}
	var all []*Rules
	for _, text := range []string{
		"rewrite name prefix first- x-\nrewrite name regex (.*)a(.*) {2}{1}{2}{1}\nrewrite name substring b bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb",
		"template ANY ANY {\n answer \"{{ .Name }} 60 IN TXT \\\"{{ .Name }}\\\"\"\n}",
		"rewrite continue edns0 local append 0xfff0 {qname} revert\nrewrite continue edns0 subnet set 24 56\nrewrite edns0 nsid replace revert",
		"whoami\nlog . \"{combined} {rcode}\"\nrewrite rcode substring a NOERROR 3\nrewrite continue cname regex (.*) {1}x{1}\n",
		"local\nany\nchaos\nhosts /none . {\n 192.0.2.1 *.example\n fallthrough\n}\nacl {\n block type TXT\n}",
	} {
		file, err := read(f, ". {\n"+text+"\n}\n", noFiles)
		if err != nil {
			f.Fatal(err)
		}
		all = append(all, file)
	}
	f.Fuzz(func(t *testing.T, name string, qtype, class uint16) {
		request := new(wire.Msg).SetQuestion(wire.Fqdn(name), qtype)
		request.Question[0].Qclass = class
		packed, err := request.Pack()
		if err != nil || request.Unpack(packed) != nil {
			return // no client can ask so
		}
		before := request.String()
		for _, r := range all {
			o := r.Query(Client{Address: netip.IPv6Loopback(), Port: 4242}, request)
			reply := o.Reply
			if reply == nil {
				reply = new(wire.Msg).SetReply(o.Request)
				reply.Answer = []wire.RR{&wire.CNAME{Hdr: header(o.Request.Question[0].Name, wire.TypeCNAME, 1), Target: "other."}}
			}
			for range len(o.aliases) {
				o.Retarget(reply)
			}
			r.Undo(o, reply)
			o.Echo()
			if line, ok := r.Log(Exchange{Request: request, Reply: reply}); ok && strings.ContainsAny(line, "\n\r\x00") {
				t.Errorf("%q", line)
			}
			if who := r.Whoami(Client{Address: netip.IPv6Loopback()}, request); who != nil {
				reply = who
			}
			if _, err := reply.Pack(); err != nil && !o.Drop {
				t.Errorf("%s\n%v", reply, err)
			}
		}
		if request.String() != before {
			t.Errorf("the query was changed:\n%s\n%s", before, request)
		}
	})
}

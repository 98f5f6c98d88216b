package forward

import (
	"context"
	"net"
	"slices"
	"testing"
	"time"

	wire "github.com/miekg/dns"
)

// FuzzReply lets an upstream say anything, by UDP or TCP. What is made of it is
// an error or a reply to the question, about the question, that the cache gives
// back as it was.
func FuzzReply(f *testing.F) {
	q := a("www.example.com.")
	for _, m := range []*wire.Msg{
		message(f, q, 0, "www.example.com. 60 A 192.0.2.1", "--", "com. 1 NS ns.example.", "--", "ns.example. 1 A 192.0.2.1"),
		message(f, q, 3, "--", soa), message(f, q, 2),
		message(f, q, 0, "www.example.com. 1 CNAME a.example.", "a.example. 1 CNAME www.example.com."),
		message(f, q, 0, "www.example.com. 60 TYPE65280 \\# 3 010203", "www.example.com. 60 SVCB 1 . port=53"),
	} {
		m.Compress = true
		f.Add(must(m.Pack()), false)
		f.Add(must(m.Pack()), true)
	}
	f.Fuzz(func(t *testing.T, content []byte, tcp bool) {
		if len(content) > 4096 {
			return
		}
		fw := must(New(Config{ReadTimeout: 20 * time.Millisecond, Timeout: 40 * time.Millisecond, Zones: []Zone{{Name: ".", TCP: tcp, Servers: []Server{{Address: addr}}}}}))
		defer fw.stop()
		fw.dial = func(context.Context, string, string) (net.Conn, error) { return liar(tcp, content), nil }
		u := fw.all()[0]
		defer u.streams.close()
		reply, err := u.exchange(t.Context(), q)
		if err != nil {
			return
		}
		if !sameName(reply.Question[0].Name, q.Name) || reply.Question[0].Qtype != q.Type {
			t.Fatalf("another question: %s", reply)
		}
		scrub(q, reply)
		key := must(q.key())
		fw.cache.put(key, q.Name, reply, 1)
		e := fw.cache.find(key, 1)
		if e == nil {
			return
		}
		kept, err := fw.cache.packed(e, 1).unpack()
		if err != nil {
			t.Fatalf("the cache gives what cannot be read: %v\n%s", err, reply)
		}
		if kept.Rcode != reply.Rcode || len(kept.Answer) != len(reply.Answer) || len(kept.Ns) != len(reply.Ns) {
			t.Fatalf("kept\n%s\nof\n%s", kept, reply)
		}
		for i, rr := range slices.Concat(kept.Answer, kept.Ns) {
			if was := slices.Concat(reply.Answer, reply.Ns)[i]; rr.Header().Ttl != was.Header().Ttl || rr.Header().Rrtype != was.Header().Rrtype {
				t.Fatalf("kept %s of %s", rr, was)
			}
		}
	})
}

var addr = must(net.ResolveUDPAddr("udp", "192.0.2.1:53")).AddrPort()

// liar is a connection to a server that answers every query with some content,
// with the query's ID in front.
func liar(tcp bool, content []byte) net.Conn {
	client, server := net.Pipe()
	go func() {
		defer server.Close()
		buffer := make([]byte, 4096)
		for {
			n, err := server.Read(buffer)
			if err != nil {
				return
			}
			skip := 0
			if tcp {
				skip = 2
			}
			answer := slices.Clone(content)
			if n >= skip+2 {
				copy(answer, buffer[skip:skip+2])
			}
			if tcp {
				answer = append([]byte{byte(len(answer) >> 8), byte(len(answer))}, answer...)
			}
			if _, err := server.Write(answer); err != nil {
				return
			}
		}
	}()
	return client
}

// FuzzTTLOffsets: no message makes the search for TTLs read beyond its end.
func FuzzTTLOffsets(f *testing.F) {
	q := a("www.example.com.")
	m := message(f, q, 0, "www.example.com. 60 A 192.0.2.1", "x.example.com. 60 MX 1 a.example.com.")
	m.Compress = true
	f.Add(must(m.Pack()), 33, 2)
	f.Fuzz(func(t *testing.T, content []byte, begin, records int) {
		if begin < 0 || begin > len(content) || records < 0 || records > 1000 {
			return
		}
		offsets, err := ttlOffsets(content, begin, records)
		if err != nil {
			return
		}
		for _, offset := range offsets {
			if begin+int(offset)+6 > len(content) {
				t.Fatalf("offset %d of %d bytes", offset, len(content)-begin)
			}
		}
	})
}

package forward

import (
	"bytes"
	"net"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	wire "github.com/miekg/dns"
)

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

// FuzzReply takes anything as a packet of an upstream. What is made of it is no
// reply, or one to the question, about the question, that the cache gives back
// as it was.
func FuzzReply(f *testing.F) {
	q := a("www.example.com.")
	for _, m := range []*wire.Msg{
		message(f, q, 0, "www.example.com. 60 A 192.0.2.1", "--", "com. 1 NS ns.example.", "--", "ns.example. 1 A 192.0.2.1"),
		message(f, q, 3, "--", soa), message(f, q, 2),
		message(f, q, 0, "www.example.com. 1 CNAME a.example.", "a.example. 1 CNAME www.example.com."),
		message(f, q, 0, "www.example.com. 60 TYPE65280 \\# 3 010203", "www.example.com. 60 SVCB 1 . port=53"),
	} {
		m.Compress = true
		f.Add(must(m.Pack()))
	}
	kept := newKept(f, Cache{Success: Share{Entries: 8}, Denial: Share{Entries: 8}})
	key := must(q.key())
	f.Fuzz(func(t *testing.T, content []byte) {
		asked, reply := q.message(), new(wire.Msg)
		if reply.Unpack(content) != nil {
			return
		}
		if reply.Id = asked.Id; !answers(asked, reply) {
			return
		}
		scrub(q, reply)
		for _, rr := range reply.Answer {
			if h := rr.Header(); h.Class != q.Class || h.Rrtype != q.Type && h.Rrtype != wire.TypeCNAME && h.Rrtype != wire.TypeDNAME && h.Rrtype != wire.TypeRRSIG {
				t.Fatalf("left in: %s", rr)
			}
		}
		kept.now += int64(time.Hour)
		kept.put(key, q.Name, reply, kept.now)
		e := kept.find(key, kept.now)
		if e == nil {
			return
		}
		again, err := kept.packed(e, kept.now).unpack()
		if err != nil {
			t.Fatalf("the cache gives what cannot be read: %v\n%s", err, reply)
		}
		if again.Rcode != reply.Rcode || len(again.Answer) != len(reply.Answer) || len(again.Ns) != len(reply.Ns) {
			t.Fatalf("kept\n%s\nof\n%s", again, reply)
		}
		for i, rr := range slices.Concat(again.Answer, again.Ns) {
			if was := slices.Concat(reply.Answer, reply.Ns)[i]; rr.Header().Ttl != was.Header().Ttl || rr.Header().Rrtype != was.Header().Rrtype {
				t.Fatalf("kept %s of %s", rr, was)
			}
		}
	})
}

// canned is a connection on which something arrives.
type canned struct {
	net.Conn
	*bytes.Reader
}

func (c canned) Read(b []byte) (int, error)    { return c.Reader.Read(b) }
func (canned) SetReadDeadline(time.Time) error { return nil }

// FuzzStream takes anything as what arrives by TCP: the reader comes to an end,
// and gives nobody a reply with another ID.
func FuzzStream(f *testing.F) {
	f.Add([]byte("\x00\x0c\x00\x07\x80\x00\x00\x00\x00\x00\x00\x00\x00\x00"))
	f.Add([]byte("\x00\x03abc\xff\xff"))
	f.Fuzz(func(t *testing.T, content []byte) {
		answer := make(chan []byte, 1)
		s := &stream{
			owner: &streams{foreign: new(atomic.Uint64)}, conn: canned{Reader: bytes.NewReader(content)},
			pending: map[uint16]chan<- []byte{7: answer},
		}
		if err := s.read(); err == nil {
			t.Fatal("no end")
		}
		select {
		case reply := <-answer:
			if len(reply) < headerSize || reply[0] != 0 || reply[1] != 7 {
				t.Fatalf("given to another query: %x", reply)
			}
		default:
		}
	})
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

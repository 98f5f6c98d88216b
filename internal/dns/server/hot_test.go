package server

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	wire "github.com/miekg/dns"
)

// TestHotIsSlow asks random clusters random questions in random forms and
// expects the hot path to give the bytes of the slow one, up to the order of
// addresses, which is random in both; where addresses are left out for lack of
// room, as many of the same.
func TestHotIsSlow(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 8))
	p, err := New(Config{})
	if err != nil {
		t.Fatal(err)
	}
	h, reference := newHot(p, new(tally)), new(tally)
	hits := map[string]int{}
	for round := range 600 {
		if p.Apply(t.Context(), randomCluster(rng)); round%8 == 0 {
			p.Apply(t.Context(), cluster(t, rng.IntN(1200)))
		}
		for range 200 {
			packet := randomQuery(t, rng)
			n := []network{overUDP, overUDP, overTCP}[rng.IntN(3)]
			got, ok := h.answer(packet, nil, n, nobody)
			if !ok {
				hits["left to the slow path"]++
				continue
			}
			want, later := p.handle(packet, reference, n, nobody)
			if later != nil {
				t.Fatalf("forwarded: %x", packet)
			}
			compareReplies(t, p, packet, got, want, hits)
		}
	}
	for _, kind := range []string{"left to the slow path", "NOERROR A", "NOERROR AAAA", "NOERROR SRV", "NOERROR PTR", "NXDOMAIN", "NODATA", "TC"} {
		if hits[kind] < 100 {
			t.Errorf("only %d cases of %s in %v", hits[kind], kind, hits)
		}
	}
	compareTallies(t, h.tally, reference)
	for n := range networks {
		if a, b := h.tally.sent[n].sum.Load(), reference.sent[n].sum.Load(); a != b || a == 0 {
			t.Errorf("%s: %d and %d bytes sent", networkNames[n], a, b)
		}
	}
}

// classify reads a reply and counts what kind it is of.
func classify(t *testing.T, packed []byte, hits map[string]int) *wire.Msg {
	t.Helper()
	m := new(wire.Msg)
	if err := m.Unpack(packed); err != nil {
		t.Fatalf("%v: %x", err, packed)
	}
	switch name := wire.TypeToString[m.Question[0].Qtype]; {
	case m.Truncated:
		hits["TC"]++
	case len(m.Answer) == 0 && m.Rcode == 0:
		hits["NODATA"]++
	case m.Rcode == 0:
		hits["NOERROR "+name]++
	default:
		hits[wire.RcodeToString[m.Rcode]]++
	}
	return m
}

func compareReplies(t *testing.T, p *Plane, packet, got, want []byte, hits map[string]int) {
	t.Helper()
	m := classify(t, got, hits)
	if m.Truncated && m.Question[0].Qtype != wire.TypeSRV {
		full, _ := p.handle(packet, new(tally), overTCP, nobody)
		all := new(wire.Msg)
		if err := all.Unpack(full); err != nil {
			t.Fatal(err)
		}
		known, seen := map[string]bool{}, map[string]bool{}
		for _, rr := range all.Answer {
			known[rr.String()] = true
		}
		for _, rr := range m.Answer {
			if text := rr.String(); !known[text] || seen[text] {
				t.Fatalf("%s is none of the answers, or repeated", text)
			} else {
				seen[text] = true
			}
		}
		if len(got) != len(want) || !bytes.Equal(got[:headerSize], want[:headerSize]) {
			t.Fatalf("truncated to %d bytes\n%x, want %d\n%x", len(got), got, len(want), want)
		}
		return
	}
	if a, b := sorted(t, got), sorted(t, want); !bytes.Equal(a, b) {
		reference := new(wire.Msg)
		t.Fatalf("query %x\ngot  %x\nwant %x\ngot %v\nwant %v %v", packet, got, want, m, reference.Unpack(want), reference)
	}
}

// compareTallies expects both ways to count alike.
func compareTallies(t *testing.T, hot, slow *tally) {
	t.Helper()
	for n := range networks {
		if a, b := hot.received[n].sum.Load(), slow.received[n].sum.Load(); a != b || a == 0 {
			t.Errorf("%s: %d and %d bytes received", networkNames[n], a, b)
		}
		for i := range types {
			if a, b := hot.requests[n][ipv4][i].Load(), slow.requests[n][ipv4][i].Load(); a != b {
				t.Errorf("%d and %d queries of type %s", a, b, types[i])
			}
		}
	}
	for from := range sources {
		for rcode := range rcodes {
			if a, b := hot.responses[from][rcode].Load(), slow.responses[from][rcode].Load(); a != b {
				t.Errorf("%d and %d replies with code %d from source %d", a, b, rcode, from)
			}
		}
	}
}

// sorted returns a reply with its address records, which have to follow each
// other, in the order of their bytes.
func sorted(t *testing.T, reply []byte) []byte {
	t.Helper()
	reply = bytes.Clone(reply)
	name := func(at int) int {
		for reply[at] != 0 {
			if reply[at] >= 0xc0 {
				return at + 2
			}
			at += 1 + int(reply[at])
		}
		return at + 1
	}
	at := name(headerSize) + 4
	var run [][]byte
	start := at
	flush := func() {
		slices.SortFunc(run, bytes.Compare)
		copy(reply[start:], bytes.Join(run, nil))
		run = nil
	}
	for at < len(reply) {
		end := name(at)
		qtype := binary.BigEndian.Uint16(reply[end:])
		end += 10 + int(binary.BigEndian.Uint16(reply[end+8:]))
		if qtype != wire.TypeA && qtype != wire.TypeAAAA {
			flush()
			start = end
		} else {
			run = append(run, bytes.Clone(reply[at:end]))
		}
		at = end
	}
	flush()
	return reply
}

// randomQuery returns a query about the cluster.
func randomQuery(t *testing.T, rng *rand.Rand) []byte {
	t.Helper()
	name := randomName(rng)
	switch rng.IntN(6) {
	case 0:
		name = []string{"", "_http._tcp.", "10-1-0-3."}[rng.IntN(3)] + "big.shop.svc.cluster.local."
	case 1:
		name = "web.shop.svc.cluster.local."
	}
	qtype := []uint16{wire.TypeA, wire.TypeA, wire.TypeAAAA, wire.TypeAAAA, wire.TypeSRV, wire.TypeSRV, wire.TypePTR, wire.TypeTXT, wire.TypeMX, wire.TypeHTTPS, wire.TypeCNAME, wire.TypeSOA, wire.TypeANY, wire.TypeAXFR, wire.TypeTSIG, uint16(rng.Uint32())}[rng.IntN(16)]
	if strings.HasSuffix(name, ".arpa.") && rng.IntN(2) == 0 {
		qtype = wire.TypePTR
	}
	return randomForm(t, rng, name, qtype)
}

// randomForm returns a query for a name and a type in one of the many forms that there are.
func randomForm(t *testing.T, rng *rand.Rand, name string, qtype uint16) []byte {
	t.Helper()
	if rng.IntN(3) == 0 {
		mixed := []byte(name)
		for i, c := range mixed {
			if rng.IntN(2) == 0 && (c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z') {
				mixed[i] = c ^ 0x20
			}
		}
		name = string(mixed)
	}
	m := query(name, qtype)
	m.RecursionDesired, m.CheckingDisabled, m.AuthenticatedData, m.Zero = rng.IntN(2) == 0, rng.IntN(2) == 0, rng.IntN(2) == 0, rng.IntN(2) == 0
	m.Authoritative, m.Truncated, m.RecursionAvailable = rng.IntN(4) == 0, rng.IntN(4) == 0, rng.IntN(4) == 0
	if rng.IntN(9) == 0 {
		m.Question[0].Qclass = uint16(rng.IntN(5))
	}
	if rng.IntN(3) > 0 {
		m.SetEdns0(uint16([]int{0, 511, 512, 600, 1000, 1232, 4096, 65535}[rng.IntN(8)]), rng.IntN(2) == 0)
		if opt := m.IsEdns0(); rng.IntN(4) == 0 {
			opt.Option = append(opt.Option, &wire.EDNS0_COOKIE{Code: wire.EDNS0COOKIE, Cookie: strings.Repeat("a5", []int{8, 8, 16, 24, 40, 7, 12, 41}[rng.IntN(8)])})
		} else if rng.IntN(6) == 0 {
			opt.SetVersion(uint8(rng.IntN(2)))
			opt.Option = append(opt.Option, &wire.EDNS0_LOCAL{Code: 65001, Data: []byte(fmt.Sprint(rng.IntN(9)))})
		}
	}
	packet, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	if rng.IntN(9) == 0 {
		packet[rng.IntN(len(packet))] = byte(rng.Uint32())
	}
	return packet
}

// FuzzReadUsual expects the library to accept every packet that the reader of
// usual queries does, and to find the same in it. The other way round the
// reader leaves to the library: other opcodes and replies, any number of
// questions but one or of records but an OPT, pointers in names, classes but
// IN, other versions of EDNS, options but one cookie, and bytes after the last record.
func FuzzReadUsual(f *testing.F) {
	for _, m := range []*wire.Msg{
		query("web.shop.svc.cluster.local.", wire.TypeA), query(".", wire.TypeNS), query(`a\.b\200.c.`, wire.TypeSRV).SetEdns0(1232, true),
		withCookie(query("x.", wire.TypeA), "0102030405060708"), new(wire.Msg).SetNotify("cluster.local."),
	} {
		packed, err := m.Pack()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(packed)
	}
	for _, packet := range oddNames() {
		f.Add(packet)
	}
	f.Fuzz(func(t *testing.T, packet []byte) {
		m := new(wire.Msg)
		err := m.Unpack(packet)
		q, ok := readUsual(packet)
		if !ok {
			if err == nil && isUsual(m, packet) {
				t.Fatalf("usual, but left to the library: %v", m)
			}
			return
		}
		if err != nil || len(m.Question) != 1 || m.Response || m.Opcode != wire.OpcodeQuery || m.Question[0].Qclass != wire.ClassINET || len(m.Answer)+len(m.Ns) > 0 {
			t.Fatalf("accepted, but %v, %v", err, m)
		}
		if want := readOptions(m); q.options != want || q.qtype != m.Question[0].Qtype {
			t.Fatalf("got %+v, want %+v of %v", q, want, m)
		}
		question := *m
		question.Extra, question.Rcode = nil, 0
		if packed, err := question.Pack(); err != nil || !bytes.EqualFold(packed[headerSize:], packet[headerSize:q.end]) {
			t.Fatalf("the question ends at %d, want %x, %v", q.end, packed, err)
		}
	})
}

// oddNames returns queries for names in wire form that are none: with labels of sizes and
// kinds that there are not, too long by a byte and by more, without an end, and with a reference;
// and one with a byte too many at its end, and one with a byte too few.
func oddNames() (packets [][]byte) {
	const header = "\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00"
	label := func(size int) string { return string([]byte{byte(size)}) + strings.Repeat("x", size) }
	for _, name := range []string{
		label(63) + label(63) + label(63) + label(62) + "\x00", label(63) + label(63) + label(63) + label(63) + label(63) + "\x00",
		label(64) + "\x00", label(100) + "\x00", label(128) + "\x00", label(192) + "\x00", "\x03www\xc0\x0c", "\xc0\x0c", "\x41x\x00", label(63),
	} {
		packets = append(packets, []byte(header+name+"\x00\x01\x00\x01"))
	}
	return append(packets, []byte(header+"\x01x\x00\x00\x01\x00\x01\x00"), []byte(header+"\x01x\x00\x00\x01\x00"))
}

func isUsualOption(options []wire.EDNS0) bool {
	if len(options) == 0 {
		return true
	}
	sent, ok := options[0].(*wire.EDNS0_COOKIE)
	if !ok || len(options) > 1 {
		return false
	}
	n := len(sent.Cookie) / 2
	return n == 8 || n >= 16 && n <= 40
}

// isUsual reports whether a query that the library accepts has the form that
// readUsual is for: packing it again gives the packet.
func isUsual(m *wire.Msg, packet []byte) bool {
	if m.Response || m.Opcode != wire.OpcodeQuery || len(m.Question) != 1 || len(m.Answer)+len(m.Ns) > 0 || len(m.Extra) > 1 || m.Question[0].Qclass != wire.ClassINET {
		return false
	}
	if len(m.Extra) == 1 {
		opt := m.IsEdns0()
		if opt == nil || opt.Version() != 0 || !isUsualOption(opt.Option) || opt.Hdr.Name != "." || opt.ExtendedRcode() != 0 {
			return false
		}
	}
	packed, err := m.Pack()
	return err == nil && bytes.Equal(packed[headerSize:], packet[headerSize:]) && bytes.Equal(packed[4:headerSize], packet[4:headerSize])
}

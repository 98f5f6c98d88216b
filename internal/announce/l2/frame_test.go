package l2

import (
	"encoding/hex"
	"net/netip"
	"slices"
	"strings"
	"testing"
)

// The frames below were written down by hand from RFC 826, RFC 4861 and RFC 8200.
const (
	askARP    = "ffffffffffff 020000000001 0806 0001 0800 06 04 0001 020000000001 c0000201 000000000000 c0000232"
	answerARP = "020000000001 020000000002 0806 0001 0800 06 04 0002 020000000002 c0000232 020000000001 c0000201"
	probeARP  = "ffffffffffff 020000000002 0806 0001 0800 06 04 0001 020000000002 00000000 000000000000 c0000232"
	claimARP  = "ffffffffffff 020000000002 0806 0001 0800 06 04 0001 020000000002 c0000232 000000000000 c0000232"
	tellARP   = "ffffffffffff 020000000002 0806 0001 0800 06 04 0002 020000000002 c0000232 020000000002 c0000232"

	// From fd00::1 for fd00::50; the checksum was computed apart.
	askNDP = "3333ff000050 020000000001 86dd 60000000 0020 3a ff fd000000000000000000000000000001 ff0200000000000000000001ff000050" +
		"87 00 7cfb 00000000 fd000000000000000000000000000050 01 01 020000000001"
)

var (
	station, own = hardware{2, 0, 0, 0, 0, 1}, hardware{2, 0, 0, 0, 0, 2}
	vip4, vip6   = netip.MustParseAddr("192.0.2.50"), netip.MustParseAddr("fd00::50")
	client4      = netip.MustParseAddr("192.0.2.1")
	client6      = netip.MustParseAddr("fd00::1")
)

func bytesOf(t testing.TB, text string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(text, " ", ""))
	must(t, err)
	return b
}

// TestARP compares what is built with frames written by hand, and reads those.
func TestARP(t *testing.T) {
	question, ok := parseARP(append(bytesOf(t, askARP), make([]byte, 18)...))
	if !ok || question.senderIP != client4 || question.targetIP != vip4 || question.sender != station || question.operation != arpRequest {
		t.Fatalf("the question is read as %+v, %t", question, ok)
	}
	for want, a := range map[string]arp{
		answerARP: question.answer(own),
		probeARP:  arpProbe(own, vip4),
		claimARP:  announcement(own, vip4, arpRequest),
		tellARP:   announcement(own, vip4, arpReply),
	} {
		built := appendARP(nil, a)
		if !slices.Equal(built, bytesOf(t, want)) {
			t.Errorf("%+v is built as\n%x, want\n%x", a, built, bytesOf(t, want))
		}
		if read, ok := parseARP(built); !ok || read != a {
			t.Errorf("%x is read as %+v, want %+v", built, read, a)
		}
	}
}

// TestARPRefused spoils one byte at a time.
func TestARPRefused(t *testing.T) {
	for what, spoil := range map[string]func(b []byte) []byte{
		"cut short":            func(b []byte) []byte { return b[:len(b)-1] },
		"empty":                func([]byte) []byte { return nil },
		"another ethertype":    func(b []byte) []byte { b[13] = 0; return b },
		"no Ethernet":          func(b []byte) []byte { b[15] = 6; return b },
		"no IPv4":              func(b []byte) []byte { b[16] = 0x86; return b },
		"hardware length":      func(b []byte) []byte { b[18] = 8; return b },
		"protocol length":      func(b []byte) []byte { b[19] = 16; return b },
		"reverse ARP":          func(b []byte) []byte { b[21] = 3; return b },
		"operation 0":          func(b []byte) []byte { b[21] = 0; return b },
		"a group's sender":     func(b []byte) []byte { b[22] = 3; return b },
		"no sender":            func(b []byte) []byte { clear(b[22:28]); return b },
		"a multicast sender":   func(b []byte) []byte { b[28] = 224; return b },
		"the broadcast sender": func(b []byte) []byte { copy(b[28:], []byte{255, 255, 255, 255}); return b },
	} {
		if a, ok := parseARP(spoil(bytesOf(t, askARP))); ok {
			t.Errorf("%s: accepted as %+v", what, a)
		}
	}
}

func TestNDP(t *testing.T) {
	question, ok := parseNDP(bytesOf(t, askNDP))
	want := ndp{
		to: hardware{0x33, 0x33, 0xff, 0, 0, 0x50}, from: station, source: client6, destination: netip.MustParseAddr("ff02::1:ff00:50"),
		kind: solicitation, target: vip6, station: station,
	}
	if !ok || question != want {
		t.Fatalf("the question is read as %+v, %t, want %+v", question, ok, want)
	}
	if built := appendNDP(nil, want); !slices.Equal(built, bytesOf(t, askNDP)) {
		t.Errorf("the question is built as\n%x, want\n%x", built, bytesOf(t, askNDP))
	}
	everybody := hardware{0x33, 0x33, 0, 0, 0, 1}
	duplicate := question
	duplicate.source, duplicate.station = netip.IPv6Unspecified(), hardware{}
	unicast := question
	unicast.station = hardware{}
	for what, c := range map[string]struct{ got, want ndp }{
		"answer": {question.answer(own), ndp{
			to: station, from: own, source: vip6, destination: client6, kind: advertisement, flags: 0x60, target: vip6, station: own,
		}},
		"answer without an option": {unicast.answer(own), ndp{
			to: station, from: own, source: vip6, destination: client6, kind: advertisement, flags: 0x60, target: vip6, station: own,
		}},
		"answer to duplicate address detection": {duplicate.answer(own), ndp{
			to: everybody, from: own, source: vip6, destination: allNodes(), kind: advertisement, flags: 0x20, target: vip6, station: own,
		}},
		"announcement": {advertise(own, vip6), ndp{
			to: everybody, from: own, source: vip6, destination: allNodes(), kind: advertisement, flags: 0x20, target: vip6, station: own,
		}},
		"question": {solicit(own, client6, vip6), ndp{
			to: question.to, from: own, source: client6, destination: question.destination, kind: solicitation, target: vip6, station: own,
		}},
	} {
		if c.got != c.want {
			t.Errorf("%s: %+v, want %+v", what, c.got, c.want)
		}
		if read, ok := parseNDP(appendNDP(nil, c.got)); !ok || read != c.got {
			t.Errorf("%s: read as %+v, %t, want %+v", what, read, ok, c.got)
		}
	}
}

// resum makes the checksum of an NDP frame right again, so that a test spoils just
// what it means to.
func resum(b []byte) []byte {
	message := b[ethernetLength+ipv6Length:]
	message[2], message[3] = 0, 0
	sum := checksum(netip.AddrFrom16([16]byte(b[22:])), netip.AddrFrom16([16]byte(b[38:])), message)
	message[2], message[3] = byte(sum>>8), byte(sum)
	return b
}

// TestNDPRefused has each rule of RFC 4861, sections 7.1.1 and 7.1.2, broken.
func TestNDPRefused(t *testing.T) {
	const message = ethernetLength + ipv6Length
	advertised := func() []byte { return appendNDP(nil, advertise(own, vip6)) }
	for what, frame := range map[string][]byte{
		"cut short":         bytesOf(t, askNDP)[:80],
		"empty":             nil,
		"another ethertype": change(t, 12, 8),
		"IPv4":              change(t, 14, 0x45),
		"a hop-by-hop header, which this parser does not follow": change(t, 20, 0),
		"passed on by a router":                                  change(t, 21, 254),
		"longer than the frame":                                  change(t, 19, 0x21),
		"shorter than a solicitation":                            change(t, 19, 16),
		"a router's":                                             change(t, message, 134),
		"a code":                                                 change(t, message+1, 1),
		"a multicast target":                                     change(t, message+8, 0xff),
		"an option of length 0":                                  change(t, message+25, 0),
		"an option beyond the end":                               change(t, message+25, 2),
		"a group's hardware address":                             change(t, message+26, 3),
		"a multicast source":                                     change(t, 22, 0xff),
		"from a group":                                           change(t, 6, 3),
		"no source, but a hardware address":                      resum(slices.Replace(bytesOf(t, askNDP), 22, 38, make([]byte, 16)...)),
		"no source, and not to the solicited-node group":         changed(appendNDP(nil, ndp{to: station, from: station, destination: vip6, kind: solicitation, source: netip.IPv6Unspecified(), target: vip6}), 38, 0xfc),
		"the wrong checksum":                                     append(bytesOf(t, askNDP)[:85], 9),
		"an advertisement to all that claims to be an answer":    changed(advertised(), message+4, 0x60),
		"an advertisement from nowhere":                          resum(slices.Replace(advertised(), 22, 38, make([]byte, 16)...)),
		"an advertisement with a longer hardware address":        changed(append(appendLength(advertised(), 8), make([]byte, 8)...), message+25, 2),
		"an advertisement with the hardware address of nobody":   resum(slices.Replace(advertised(), message+26, message+32, make([]byte, 6)...)),
	} {
		if n, ok := parseNDP(frame); ok {
			t.Errorf("%s: accepted as %+v", what, n)
		}
	}
	// The same tools, with nothing broken.
	for what, frame := range map[string][]byte{
		"nothing changed":   resum(bytesOf(t, askNDP)),
		"another sender":    change(t, 37, 2),
		"an unknown option": changed(append(appendLength(bytesOf(t, askNDP), 8), 14, 1, 1, 2, 3, 4, 5, 6), 37, 1),
		"padding":           append(bytesOf(t, askNDP), 0, 0, 0),
	} {
		if _, ok := parseNDP(frame); !ok {
			t.Errorf("%s: refused", what)
		}
	}
}

func change(t *testing.T, at int, to byte) []byte { return changed(bytesOf(t, askNDP), at, to) }

func changed(b []byte, at int, to byte) []byte {
	b[at] = to
	return resum(b)
}

// appendLength makes the IPv6 header say that there is more.
func appendLength(b []byte, more byte) []byte {
	b[19] += more
	return b
}

func TestSolicitedNode(t *testing.T) {
	for address, want := range map[string]string{
		"fd00::50": "ff02::1:ff00:50", "4037::1:800:200e:8c6c": "ff02::1:ff0e:8c6c", // the latter is the RFC's
	} {
		group := solicitedNode(netip.MustParseAddr(address))
		if group.String() != want || !isSolicitedNode(group) {
			t.Errorf("the group of %s is %s, want %s", address, group, want)
		}
	}
	for _, a := range []string{"ff02::1", "fd00::1:ff00:50", "ff05::1:ff00:50"} {
		if isSolicitedNode(netip.MustParseAddr(a)) {
			t.Errorf("%s is no solicited-node group", a)
		}
	}
}

// FuzzARP expects that what was accepted is sound, and reads the same when it is
// written again.
func FuzzARP(f *testing.F) {
	for _, seed := range []string{askARP, answerARP, probeARP, claimARP, tellARP} {
		f.Add(bytesOf(f, seed))
	}
	f.Fuzz(func(t *testing.T, frame []byte) {
		a, ok := parseARP(frame)
		if !ok {
			return
		}
		if !a.sender.isStation() || a.senderIP.IsMulticast() {
			t.Errorf("accepted %+v", a)
		}
		if again, ok := parseARP(appendARP(nil, a)); !ok || again != a {
			t.Errorf("%+v is read again as %+v", a, again)
		}
		if reply, ok := parseARP(appendARP(nil, a.answer(own))); !a.targetIP.IsMulticast() && a.targetIP != netip.AddrFrom4([4]byte{255, 255, 255, 255}) && (!ok || reply.to != a.sender) {
			t.Errorf("the answer to %+v is %+v", a, reply)
		}
	})
}

// FuzzNDP is the same for neighbour discovery. It makes checksums right, or the
// fuzzer would hardly ever get past them.
func FuzzNDP(f *testing.F) {
	f.Add(bytesOf(f, askNDP))
	f.Add(appendNDP(nil, advertise(own, vip6)))
	f.Add(appendNDP(nil, solicit(own, client6, vip6)))
	f.Fuzz(func(t *testing.T, frame []byte) {
		parseNDP(frame)
		if length := ethernetLength + ipv6Length + ndpLength; len(frame) >= length {
			end := min(len(frame), ethernetLength+ipv6Length+int(frame[18])<<8+int(frame[19]))
			if end >= length {
				resum(frame[:end])
			}
		}
		n, ok := parseNDP(frame)
		if !ok {
			return
		}
		if !n.from.isStation() || !n.sender().isStation() || n.source.IsMulticast() || n.target.IsMulticast() || frame[21] != 255 {
			t.Errorf("accepted %+v", n)
		}
		if again, ok := parseNDP(appendNDP(nil, n)); !ok || again != n {
			t.Errorf("%+v is read again as %+v, %t", n, again, ok)
		}
		if n.kind != solicitation || n.target.IsUnspecified() {
			return
		}
		reply, ok := parseNDP(appendNDP(nil, n.answer(own)))
		if !ok || reply.kind != advertisement || reply.target != n.target || reply.station != own {
			t.Errorf("the answer to %+v is %+v, %t", n, reply, ok)
		}
	})
}

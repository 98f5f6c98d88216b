package proxy

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/fairlead-net/fairlead/internal/l7"
)

// errPreamble is that a connection does not begin with the PROXY protocol as it has to.
var errPreamble = errors.New("the header of the PROXY protocol is malformed")

const (
	// preambleText is how long a header of version 1 may be (The PROXY protocol, section
	// 2.1), preambleMin how long each at least is.
	preambleText, preambleMin = 107, 15
	// preambleMax bounds what a header of version 2 may have behind its first 16 bytes:
	// addresses, and what is skipped.
	preambleMax  = 4 << 10
	preambleSign = "\r\n\r\n\x00\r\nQUIT\n"
)

// readPreamble reads the header of the PROXY protocol, of version 1 or 2, and no byte
// behind it. It returns the client's address and the one that it connected to; neither
// is valid if the header does not say: the peer speaks for itself, as in checks of its
// health.
func readPreamble(r io.Reader) (client, local netip.AddrPort, err error) {
	b := make([]byte, preambleMin, preambleText)
	if _, err := io.ReadFull(r, b); err != nil {
		return client, local, err
	}
	switch {
	case bytes.HasPrefix(b, []byte(preambleSign)):
		return readBinary(r, b)
	case !bytes.HasPrefix(b, []byte("PROXY ")):
		return client, local, errPreamble
	}
	for b[len(b)-1] != '\n' {
		if len(b) == preambleText {
			return client, local, errPreamble
		}
		if _, err := io.ReadFull(r, b[len(b):len(b)+1]); err != nil {
			return client, local, err
		}
		b = b[:len(b)+1]
	}
	return parseText(string(b))
}

// parseText reads a header of version 1 (section 2.1).
func parseText(line string) (client, local netip.AddrPort, err error) {
	line, ended := strings.CutSuffix(line, "\r\n")
	words := strings.Split(line, " ")
	if ended && words[1] == "UNKNOWN" {
		return client, local, nil
	}
	if !ended || len(words) != 6 {
		return client, local, errPreamble
	}
	client, ok1 := parseAddress(words[1], words[2], words[4])
	local, ok2 := parseAddress(words[1], words[3], words[5])
	if !ok1 || !ok2 {
		return netip.AddrPort{}, netip.AddrPort{}, errPreamble
	}
	return client, local, nil
}

func parseAddress(family, address, port string) (netip.AddrPort, bool) {
	a, err := netip.ParseAddr(address)
	n, wrong := strconv.ParseUint(port, 10, 16)
	ok := err == nil && wrong == nil && a.Zone() == "" && strconv.FormatUint(n, 10) == port &&
		(family == "TCP4" && a.Is4() || family == "TCP6" && a.Is6())
	return netip.AddrPortFrom(a.Unmap(), uint16(n)), ok
}

// readBinary reads on in a header of version 2 (section 2.2).
func readBinary(r io.Reader, begin []byte) (client, local netip.AddrPort, err error) {
	b := begin[:16]
	if _, err := io.ReadFull(r, b[len(begin):]); err != nil {
		return client, local, err
	}
	command, family, length := b[12], b[13], int(binary.BigEndian.Uint16(b[14:]))
	if command != 0x20 && command != 0x21 || length > preambleMax {
		return client, local, errPreamble
	}
	rest := make([]byte, length)
	if _, err := io.ReadFull(r, rest); err != nil {
		return client, local, err
	}
	size := map[byte]int{0x11: 4, 0x21: 16}[family] // of an address; TCP over IPv4 and IPv6
	switch {
	case command == 0x20 || family == 0: // LOCAL, and UNSPEC
		return client, local, nil
	case size == 0 || length < 2*size+4:
		return client, local, errPreamble
	}
	from, _ := netip.AddrFromSlice(rest[:size])
	to, _ := netip.AddrFromSlice(rest[size : 2*size])
	ports := rest[2*size:]
	return netip.AddrPortFrom(from.Unmap(), binary.BigEndian.Uint16(ports)), netip.AddrPortFrom(to.Unmap(), binary.BigEndian.Uint16(ports[2:])), nil
}

// appendPreamble appends the header of the PROXY protocol, in version 1 or 2, that says
// who the client is and what it connected to (sections 2.1 and 2.2). If one of them is not
// valid it says that nothing is known.
func appendPreamble(b []byte, version uint8, client, local netip.AddrPort) []byte {
	from, to := client.Addr().Unmap().WithZone(""), local.Addr().Unmap().WithZone("")
	known := from.IsValid() && to.IsValid()
	if known && from.Is4() != to.Is4() { // by a load balancer's word; IPv6 can hold both
		from, to = netip.AddrFrom16(from.As16()), netip.AddrFrom16(to.As16())
	}
	if version == 1 {
		if !known {
			return append(b, "PROXY UNKNOWN\r\n"...)
		}
		family := "TCP6"
		if from.Is4() {
			family = "TCP4"
		}
		return fmt.Appendf(b, "PROXY %s %s %s %d %d\r\n", family, inText(from), inText(to), client.Port(), local.Port())
	}
	b = append(b, preambleSign...)
	switch {
	case !known:
		return append(b, 0x20, 0, 0, 0) // LOCAL
	case from.Is4():
		b = append(b, 0x21, 0x11, 0, 2*4+2*2)
	default:
		b = append(b, 0x21, 0x21, 0, 2*16+2*2)
	}
	b = append(append(b, from.AsSlice()...), to.AsSlice()...)
	return binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(b, client.Port()), local.Port())
}

// inText writes an address as version 1 has it: of IPv6 in hexadecimal digits only.
func inText(a netip.Addr) string {
	if a.Is4In6() {
		return a.StringExpanded()
	}
	return a.String()
}

// ends returns who the client is, and what it connected to.
func (c *conn) ends() (client, local netip.AddrPort) {
	if c.said != nil {
		return c.said[0], c.said[1]
	}
	to := c.socket.LocalAddr().(*net.TCPAddr).AddrPort()
	return c.from, netip.AddrPortFrom(to.Addr().Unmap(), to.Port())
}

// announces tells whether the connections of a peer begin with a header of the PROXY
// protocol, and whether its word is taken. A Listener of TCP demands one of everybody or of
// nobody; then it counts of peers in Config.ProxyProtocol, or of all if there are none.
func (l *listener) announces(peer netip.Addr) (has, believed bool) {
	ranges := l.proxy.settings().ProxyProtocol
	if l.protocol != l7.TCP {
		has = within(ranges, peer)
		return has, has
	}
	_, spec := l.current()
	has = spec != nil && spec.Preambles
	return has, has && (len(ranges) == 0 || within(ranges, peer))
}

// vouches reports whether a peer is one that an administrator names, whose connections do
// not count for itself until it has said who the client is. Where everybody may say so, it
// does: else who says nothing would have what places there are.
func (l *listener) vouches(peer netip.Addr) bool {
	_, believed := l.announces(peer)
	return believed && slices.ContainsFunc(l.proxy.settings().ProxyProtocol, func(r netip.Prefix) bool { return r.Bits() > 0 && r.Contains(peer) })
}

// introduce finds out who the client is, and reports whether the connection can be
// served. Peers in Config.ProxyProtocol have to say it first.
func (c *conn) introduce() bool {
	has, believed := c.listener.announces(c.from.Addr())
	if !has {
		return true
	}
	client, local, err := readPreamble(c.socket)
	if err != nil {
		c.proxy.tally.refuse(400)
		return false
	}
	if !client.IsValid() || !believed {
		return true
	}
	c.said = &[2]netip.AddrPort{client, local}
	c.meet(client, local.Port())
	c.proxy.part(c.guest)
	var may bool
	if c.guest, may = c.proxy.join(client.Addr()); !may {
		c.proxy.tally.shed.Add(1)
	}
	return may
}

func within(ranges []netip.Prefix, a netip.Addr) bool {
	for _, prefix := range ranges {
		if prefix.Contains(a) {
			return true
		}
	}
	return false
}

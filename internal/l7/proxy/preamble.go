package proxy

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net/netip"
	"strconv"
	"strings"
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

// introduce finds out who the client is, and reports whether the connection can be
// served. Peers in Config.ProxyProtocol have to say it first.
func (c *conn) introduce() bool {
	if !within(c.proxy.settings().ProxyProtocol, c.from.Addr()) {
		return true
	}
	client, local, err := readPreamble(c.socket)
	if err != nil {
		c.proxy.tally.refuse(400)
		return false
	}
	if !client.IsValid() {
		return true
	}
	c.meet(client, local.Port())
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

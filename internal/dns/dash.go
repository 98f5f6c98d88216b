package dns

import (
	"net/netip"
	"strings"
)

// What names say about addresses is read without allocating: strangers choose
// them, and most are no addresses at all.

// appendDashed appends the label that stands for an address in names of
// endpoints without hostname: its text with every dot or colon as '-', and a
// zero at the end where an IPv6 address would otherwise end in one.
func appendDashed(to []byte, address netip.Addr) []byte {
	from := len(to)
	to = address.AppendTo(to)
	for i, c := range to[from:] {
		if c == '.' || c == ':' {
			to[from+i] = '-'
		}
	}
	if to[len(to)-1] == '-' {
		to = append(to, '0')
	}
	return to
}

// parseDashed returns the address that a label in lower case stands for. In
// IPv6 several labels may stand for one address.
func parseDashed(label string) (netip.Addr, bool) {
	if strings.Count(label, "-") == 3 && !strings.Contains(label, "--") {
		var bytes [4]byte
		for i := range bytes {
			text, rest, _ := strings.Cut(label, "-")
			octet, ok := parseOctet(text)
			if !ok {
				return netip.Addr{}, false
			}
			bytes[i], label = octet, rest
		}
		return netip.AddrFrom4(bytes), true
	}
	return parseDashed6(label)
}

// parseOctet reads a decimal number up to 255 without leading zeros.
func parseOctet(text string) (byte, bool) {
	if len(text) == 0 || len(text) > 3 || len(text) > 1 && text[0] == '0' {
		return 0, false
	}
	value := 0
	for _, c := range []byte(text) {
		if c < '0' || c > '9' {
			return 0, false
		}
		value = 10*value + int(c-'0')
	}
	return byte(value), value <= 255
}

// parseDashed6 reads the text form of an IPv6 address (RFC 4291, section 2.2)
// with '-' in the place of ':'.
func parseDashed6(label string) (netip.Addr, bool) {
	var bytes [16]byte
	at, gap := 0, -1
	if rest, ok := strings.CutPrefix(label, "--"); ok {
		gap, label = 0, rest
	}
	for label != "" {
		value, digits := 0, 0
		for ; digits < len(label) && label[digits] != '-'; digits++ {
			digit, ok := hexDigit(label[digits])
			if !ok || digits == 4 {
				return netip.Addr{}, false
			}
			value = value<<4 | int(digit)
		}
		if digits == 0 || at == len(bytes) {
			return netip.Addr{}, false
		}
		bytes[at], bytes[at+1] = byte(value>>8), byte(value)
		at += 2
		label = label[digits:]
		if rest, ok := strings.CutPrefix(label, "--"); ok {
			if gap >= 0 {
				return netip.Addr{}, false
			}
			gap, label = at, rest
		} else if label == "-" {
			return netip.Addr{}, false
		} else if label != "" {
			label = label[1:]
		}
	}
	if (gap < 0) != (at == len(bytes)) {
		return netip.Addr{}, false
	}
	if gap >= 0 {
		end := len(bytes) - (at - gap)
		copy(bytes[end:], bytes[gap:at])
		clear(bytes[gap:end])
	}
	return netip.AddrFrom16(bytes).Unmap(), true
}

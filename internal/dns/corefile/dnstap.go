package corefile

import (
	"fmt"
	"strconv"
	"strings"
)

// Dnstap is the directive dnstap: queries and replies are told to a collector.
type Dnstap struct {
	// Network is unix, tcp or tls, Address a path or HOST:PORT.
	Network, Address string
	// Full sends the messages, too.
	Full bool
	// WriteBuffer is that of TCP connections, in MiB, Queue how many times 10 000
	// messages may wait.
	WriteBuffer, Queue int
	// Identity and Version say who reports; empty means the host's name and the program's.
	Identity, Version string
	// Extra is text that goes with every message, with the words in braces of log.
	Extra string
	// SkipVerify takes any certificate.
	SkipVerify bool
}

// Effect implements Setting.
func (d Dnstap) Effect() string {
	what := "queries and replies are reported"
	if d.Full {
		what = "queries and replies are reported in full"
	}
	return fmt.Sprintf("%s to %s://%s", what, d.Network, d.Address)
}

// The largest multiples, as CoreDNS has them.
const (
	maxTapBuffer = 1024
	maxTapQueue  = 4096
)

// readDnstap follows CoreDNS's plugin/dnstap.
func readDnstap(l *line) Setting {
	const usage = "SOCKET [full] [WRITEBUFFER] [QUEUE]"
	d := Dnstap{Network: "unix", WriteBuffer: 1, Queue: 1}
	if l.text(0) == "listen" {
		l.lacks("dnstap listen")
		l.Words = append(l.Words[:1:1], l.Words[2:]...)
		d.Network = ""
	}
	if !l.takes(1, 4, usage) {
		return d
	}
	d.endpoint(l)
	if word := l.text(1); word != "" && word != "full" {
		l.mistake("dnstap: %q is not \"full\"; write %q", word, "dnstap "+usage)
	} else {
		d.Full = word == "full"
	}
	if len(l.args()) > 2 {
		d.WriteBuffer = l.number(2, 1, maxTapBuffer)
	}
	if len(l.args()) > 3 {
		d.Queue = l.number(3, 1, maxTapQueue)
	}
	l.options(options{
		"identity": func(o *line) { o.takes(1, 1, "IDENTITY"); d.Identity = o.text(0) },
		"version":  func(o *line) { o.takes(1, 1, "VERSION"); d.Version = o.text(0) },
		"extra": func(o *line) {
			o.takes(1, 1, "EXTRA")
			if d.Extra = o.text(0); strings.Contains(d.Extra, "{/") {
				o.lacks("dnstap extra values")
			}
		},
		"skipverify": func(o *line) { d.SkipVerify = o.takes(0, 0, "") },
		"tls":        func(o *line) { o.takes(2, 3, "CERT KEY [CA]") }, // of listen
	})
	return d
}

// endpoint reads where the collector is; a text without transport is a path.
func (d *Dnstap) endpoint(l *line) {
	transport, address, ok := strings.Cut(l.text(0), "://")
	if !ok {
		transport, address = "unix", l.text(0)
	}
	colon := strings.LastIndexByte(address, ':')
	port, err := strconv.ParseUint(address[colon+1:], 10, 16)
	switch {
	case transport == "unix":
		// An address of a socket, see unix(7), has no room for more.
		if address == "" || len(address) > 107 {
			l.mistake("dnstap: %q is no path of a socket", address)
		}
	case transport != "tcp" && transport != "tls":
		l.mistake("dnstap: %q is no transport; use unix, tcp or tls", transport)
	case colon < 0 || err != nil || port == 0 || strings.Contains(strings.Trim(address[:colon], "[]"), ":") && address[0] != '[':
		l.mistake("dnstap: %q is not HOST:PORT; write for example %s://192.0.2.1:6000", address, transport)
	}
	if d.Network != "" {
		d.Network, d.Address = transport, address
	}
}

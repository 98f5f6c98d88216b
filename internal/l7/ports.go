package l7

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/fairlead-net/fairlead/internal/desired"
)

// StreamEntry is what a ConfigMap says of one port of TCP or UDP.
type StreamEntry struct {
	Backend BackendID
	// Decode: each connection begins with a header of the PROXY protocol.
	Decode bool
	// Encode is the version of that header which endpoints get, 1 or 2; 0: none.
	Encode uint8
}

// ParseStreamEntry reads one entry of a ConfigMap of ingress-nginx's that lists ports of TCP
// or of UDP: a port, and NAMESPACE/SERVICE:PORT[:PROXY[:PROXY]], where the first PROXY is
// Decode, the second Encode. Where ingress-nginx sends version 1, PROXY2 sends version 2.
// Errors say what to correct.
func ParseStreamEntry(protocol desired.Protocol, key, value string) (port uint16, s StreamEntry, err error) {
	number, err := strconv.ParseUint(strings.TrimSpace(key), 10, 16)
	if err != nil || number == 0 {
		return 0, s, fmt.Errorf("%q is no port from 1 to 65535", key)
	}
	words := strings.Split(strings.TrimSpace(value), ":")
	if len(words) < 2 || len(words) > 4 {
		return 0, s, fmt.Errorf("%q is not of the form NAMESPACE/SERVICE:PORT, with :PROXY:PROXY behind it or without", value)
	}
	namespace, name, ok := strings.Cut(words[0], "/")
	if !ok || namespace == "" || name == "" || strings.Contains(name, "/") || words[1] == "" {
		return 0, s, fmt.Errorf("%q does not begin with NAMESPACE/SERVICE:PORT", value)
	}
	s = StreamEntry{Backend: BackendID{Service: desired.Name{Namespace: namespace, Name: name}, Port: words[1], UDP: protocol == desired.UDP}}
	for n, word := range words[2:] {
		switch word = strings.ToUpper(word); {
		case word == "":
		case protocol == desired.UDP:
			return 0, s, errors.New("the PROXY protocol is for TCP; leave PROXY out")
		case word == "PROXY" && n == 0:
			s.Decode = true
		case word == "PROXY":
			s.Encode = 1
		case word == "PROXY2" && n == 1:
			s.Encode = 2
		default:
			return 0, s, fmt.Errorf("%q has %q where only PROXY can be", value, word)
		}
	}
	return uint16(number), s, nil
}

// entry is one of those, in its ConfigMap.
type entry struct {
	StreamEntry
	port uint16
	in   *desired.ConfigMap
}

// listed are the ports that ConfigMaps list.
type listed struct {
	// tcp and udp are the objects; nil where there is none. published are the ports that the
	// gateways' Service has.
	tcp, udp  *desired.ConfigMap
	published string
	entries   []entry
	users     map[BackendID][]entry
}

// has tells whether a Backend is named.
func (s *listed) has(id BackendID) bool { return s != nil && len(s.users[id]) > 0 }

// readListed takes in the ConfigMaps as they are now.
func (b *builder) readListed(last *listed) {
	made := &listed{users: map[BackendID][]entry{}}
	made.tcp, _ = b.state.ConfigMaps.Get(b.config.TCPServices)
	made.udp, _ = b.state.ConfigMaps.Get(b.config.UDPServices)
	service, _ := b.state.Services.Get(b.config.Service)
	if service != nil {
		made.published = fmt.Sprint(service.Ports)
	}
	if last != nil && last.tcp == made.tcp && last.udp == made.udp && last.published == made.published {
		b.listed = last
		return
	}
	b.listed = made
	var reasons []desired.Reason
	for _, of := range []struct {
		protocol desired.Protocol
		object   *desired.ConfigMap
	}{{desired.TCP, made.tcp}, {desired.UDP, made.udp}} {
		if of.object != nil {
			reasons = append(reasons, b.readEntries(of.protocol, of.object, service)...)
		}
	}
	b.say(origin{part: fromListed}, reasons)
	if last != nil {
		for id := range last.users {
			if _, used := b.users.Get(id); !used {
				b.removePort(id)
			}
			b.stale[id] = true
		}
	}
	for id := range made.users {
		b.addPort(id)
		b.stale[id] = true
	}
}

// readEntries takes in what one ConfigMap lists, and returns what is wrong with it.
func (b *builder) readEntries(protocol desired.Protocol, in *desired.ConfigMap, service *desired.Service) []desired.Reason {
	var reasons []desired.Reason
	wrong := func(code, format string, args ...any) {
		reasons = append(reasons, desired.Reason{Object: in.Ref(), Code: code, Message: fmt.Sprintf(format, args...)})
	}
	taken := map[uint16]string{}
	for _, key := range slices.Sorted(maps.Keys(in.Data)) {
		port, stream, err := ParseStreamEntry(protocol, key, in.Data[key])
		if err != nil {
			wrong("StreamInvalid", "entry %s: %v; it is left out", key, err)
			continue
		}
		if by := b.config.TakenBy(protocol, port); by != "" {
			wrong("StreamPortTaken", "entry %s: gateways have %s at this port; it is left out, use another port", key, by)
			continue
		}
		if other, has := taken[port]; has {
			wrong("StreamPortTaken", "entry %s: entry %s has the same port; it is left out", key, other)
			continue
		}
		taken[port] = key
		if service != nil && !publishes(service, protocol, port) {
			wrong("StreamNotPublished", "entry %s: Service %s has no %s port %d, so only who reaches the gateways' pods themselves is served; add it, by gateway.%s of the chart's values",
				key, service.Name, protocol, port, strings.ToLower(protocol.String()))
		}
		e := entry{stream, port, in}
		b.listed.entries = append(b.listed.entries, e)
		b.listed.users[stream.Backend] = append(b.listed.users[stream.Backend], e)
	}
	return reasons
}

// TakenBy returns what gateways serve at a port themselves, so that it is passed on to no
// Service; "" for nothing.
func (c *Config) TakenBy(protocol desired.Protocol, port uint16) string {
	http, https := or(c.HTTPPort, 80), or(c.HTTPSPort, 443)
	switch {
	case protocol == desired.TCP && port == http:
		return "HTTP"
	case protocol == desired.TCP && port == https:
		return "HTTPS"
	case protocol == desired.UDP && port == https && c.HTTP3:
		return "HTTP/3"
	}
	for _, taken := range c.Taken {
		if taken.Protocol == protocol && taken.Port == port {
			return taken.By
		}
	}
	return ""
}

// publishes tells whether a Service has a port.
func publishes(s *desired.Service, protocol desired.Protocol, port uint16) bool {
	return slices.ContainsFunc(s.Ports, func(p desired.Port) bool { return p.Protocol == protocol && p.Port == port })
}

// problems returns what is wrong with a Backend, for each entry that names it.
func (s *listed) problems(b *Backend) []desired.Reason {
	if s == nil || b.Problem == "" && (!b.ID.UDP || b.Host == "") {
		return nil
	}
	var reasons []desired.Reason
	for _, e := range s.users[b.ID] {
		code, what := b.code, strings.ReplaceAll(b.Problem, "so its requests get 503", "so its connections are closed")
		if b.Host != "" {
			code, what = "ExternalNameRefused", "UDP is not passed on to Services of type ExternalName"
		}
		reasons = append(reasons, desired.Reason{Object: e.in.Ref(), Code: code, Message: fmt.Sprintf("entry %d: %s", e.port, what)})
	}
	return reasons
}

// listen adds the Listeners.
func (s *listed) listen(to map[string]*Listener) {
	for _, e := range s.entries {
		l := &Listener{Port: e.port, Protocol: TCP, Preambles: e.Decode}
		l.Name = "tcp-" + strconv.Itoa(int(e.port))
		if e.Backend.UDP {
			l.Protocol, l.Name = UDP, "udp-"+strconv.Itoa(int(e.port))
		}
		l.Streams = NewStreams(map[string]*Stream{"": {
			Source: e.in.Ref(), Rule: l.Name, Backends: []Weighted{{Backend: e.Backend, Weight: 1}}, ProxyProtocol: e.Encode,
		}})
		to[l.Name] = l
	}
}

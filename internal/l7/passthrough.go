package l7

import "fmt"

// AnnotationProxyProtocol says, of an Ingress whose TLS is passed through, in which
// version of the PROXY protocol its backend is told who the client is: v1 or v2.
const AnnotationProxyProtocol = "fairlead.dev/proxy-protocol"

// readPassthrough closes an Ingress whose TLS is to be passed through if that cannot be:
// without it, requests would get in that its backend would not have let in.
func (i *ingress) readPassthrough(c *Config) {
	text, told := i.source.Annotations[AnnotationProxyProtocol]
	wrong := func(code, format string, args ...any) {
		i.options.Closed = true
		i.reasons = append(i.reasons, i.reason(code, format, args...))
	}
	if !i.options.Passthrough {
		if told {
			i.reasons = append(i.reasons, i.reason("ProxyProtocolWithoutEffect", "annotation %s has no effect without annotation ssl-passthrough, as connections that carry requests are shared by clients", AnnotationProxyProtocol))
		}
		return
	}
	if !c.Passthrough {
		wrong("PassthroughDisabled", "annotation ssl-passthrough: TLS is not passed through unless the configuration says gateway.tlsPassthrough: true; the Ingress gets 503, set that, or remove the annotation")
	}
	switch text {
	case "v1":
		i.proxyProtocol = 1
	case "v2":
		i.proxyProtocol = 2
	default:
		if told {
			wrong("ProxyProtocolInvalid", "annotation %s: %q is neither v1 nor v2; the Ingress gets 503 until it is corrected, as its backend would not know who its clients are", AnnotationProxyProtocol, text)
		}
	}
}

// passthrough returns where connections for the host are passed on to; nil: they are
// not. As in ingress-nginx the oldest Ingress of the host decides, and the backend of the
// host's root gets them, whatever other paths there are. Unlike there, the root has to be
// of the same namespace, and what cannot be passed through is closed.
func (m *hostMaker) passthrough() *Stream {
	to := m.stream()
	for n, i := range m.by {
		if n > 0 && to == nil && i.options.Passthrough && !i.options.Closed {
			m.closes(i, fmt.Sprintf("host %s belongs to Ingress %s, whose TLS is not passed through", hostText(m.name), m.by[0].source.Name))
		}
	}
	return to
}

func (m *hostMaker) stream() *Stream {
	if len(m.by) == 0 || !m.by[0].options.Passthrough || m.by[0].options.Closed {
		return nil
	}
	first, root := m.by[0], m.root()
	switch {
	case m.name == "":
		m.closes(first, "a rule without host has no name that clients could ask for in the handshake")
	case root == nil:
		m.closes(first, "host "+m.name+" has no path /, whose backend would get the connections")
	case root.ingress.source.Name.Namespace != first.source.Name.Namespace:
		m.closes(first, fmt.Sprintf("path / of host %s belongs to Ingress %s of another namespace", m.name, root.ingress.source.Name))
	case len(root.rule.route.Backends) > 0:
		r := root.rule.route
		return &Stream{
			Source: r.Source, Rule: r.Rule, Host: m.name, Access: r.Access, Backends: r.Backends[:1:1],
			ProxyProtocol: first.proxyProtocol, Connect: r.Upstream.Connect,
		}
	case root.rule.route.Redirect == nil: // else it is a host that leads to the one meant
		m.closes(first, fmt.Sprintf("path / of host %s has no Service as its backend", m.name))
	}
	return nil
}

// closes has the rules of an Ingress at this host answer 503.
func (m *hostMaker) closes(i *ingress, why string) {
	m.reasons = append(m.reasons, i.reason("PassthroughImpossible", "annotation ssl-passthrough: %s; its requests there get 503, as they would reach what is to be reached by TLS only", why))
	for n := range m.rules {
		r := &m.rules[n]
		if r.route.Source == i.source.Ref() && len(r.route.Backends) > 0 {
			made := *r.route
			made.Backends, made.Status = nil, 503
			r.route = &made
		}
	}
}

// root returns who has path / of the host, also as what takes everything; nil: nobody.
func (m *hostMaker) root() *holder {
	for _, at := range []place{{exact, "/"}, {pattern, "/"}, {guest, "/"}, {elements, ""}, {text, "/"}, {fallback, ""}} {
		if has := m.taken[at]; has != nil {
			return has
		}
	}
	return nil
}

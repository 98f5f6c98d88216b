package l7

import (
	"fmt"
	"slices"
	"strings"

	"github.com/fairlead-net/fairlead/internal/desired"
	"github.com/fairlead-net/fairlead/internal/l7/filter"
	"github.com/fairlead-net/fairlead/internal/pmap"
)

// Compile returns the Table for a State, and every Reason for which an object is not
// served as it is written, which is not to be changed. last is the result of an earlier Compile, or the zero
// Table; what did not change since is taken from it. A changed Ingress costs its
// hosts, a changed Service its Backends; a change of endpoints makes no Route anew.
func Compile(s *desired.State, last Table, c Config) (Table, []desired.Reason) {
	said := readSettings(s, last, c)
	if c.Nginx == nil {
		c.Nginx = said.settings
	}
	before := last
	if last.config != c {
		last = Table{}
	}
	known := last.state
	if known == nil {
		known = &desired.State{}
	}
	b := newBuilder(s, last, c)
	b.settings, b.listed, b.ruled.before = said, last.index.listed, before
	b.say(origin{part: fromSettings}, said.reasons)
	b.readIngresses(known)
	b.rule()
	b.hosts.each(b.host)
	b.secrets.each(b.secret)
	b.defaults(last.state == nil)
	b.readListed(last.index.listed)
	for change := range pmap.Diff(known.Services, s.Services) {
		if ports, _ := b.ports.Get(change.Key); ports != nil {
			for _, id := range ports.ids {
				b.backend(id)
			}
		}
	}
	if known.Node.Name != s.Node.Name || known.Node.Zone != s.Node.Zone { // which endpoints are near depends on it
		for id := range last.Backends.All() {
			b.stale[id] = true
		}
	}
	for id := range b.stale {
		b.backend(id)
	}
	t := b.table(last)
	return t, t.reasons
}

// builder is a Table being made.
type builder struct {
	config  Config
	state   *desired.State
	classes classes

	ingresses *pmap.Editor[desired.Name, *ingress]
	hosts     claimed
	secrets   claimed
	users     *pmap.Editor[BackendID, pmap.Map[desired.Name, struct{}]]
	ports     *pmap.Editor[desired.Name, *portList]
	reasons   *pmap.Editor[origin, *reasonList]
	backends  *pmap.Editor[BackendID, *Backend]
	// references are the objects that Filters name.
	references *pmap.Editor[filter.Reference, Users]
	// stale are the Backends whose users changed.
	stale map[BackendID]bool

	names, wildcards *pmap.Editor[string, *host]
	others           *host
	standard         *Route
	certificates     *pmap.Editor[string, CertificateID]
	streams          streamsEditor

	settings *settings
	listed   *listed
	ruled    ruled
}

func newBuilder(s *desired.State, last Table, c Config) *builder {
	b := &builder{
		config: c, state: s, stale: map[BackendID]bool{},
		ingresses: last.index.ingresses.Edit(),
		hosts:     newClaimed(last.index.hosts), secrets: newClaimed(last.index.secrets),
		users: last.index.users.Edit(), ports: last.index.ports.Edit(),
		reasons: last.index.reasons.Edit(), backends: last.Backends.Edit(),
		references: last.References.Edit(),
		ruled:      ruled{all: last.index.ruled.Edit(), pending: last.index.pending},
	}
	routes, certificates := Routes{}, pmap.Map[string, CertificateID]{}
	var streams *Streams
	if l := last.Listeners[ListenerHTTPS]; l != nil {
		routes, certificates, streams = *l.Routes, l.Certificates, l.Streams
	}
	b.names, b.wildcards, b.others = routes.names.Edit(), routes.wildcards.Edit(), routes.others
	b.standard = routes.standard
	b.certificates, b.streams = certificates.Edit(), streams.edit()
	classes, reasons := readClasses(s.IngressClasses, c)
	b.classes = classes
	b.say(origin{part: fromClasses}, reasons)
	return b
}

// readIngresses takes in what changed among Ingresses. If classes changed, every
// Ingress may have: who serves it depends on them.
func (b *builder) readIngresses(known *desired.State) {
	before, _ := readClasses(known.IngressClasses, b.config)
	if !before.equal(b.classes) {
		known = &desired.State{Ingresses: b.unchanged(known)}
	}
	for change := range pmap.Diff(known.Ingresses, b.state.Ingresses) {
		b.ingress(change.Key, change.New)
	}
}

// unchanged returns those of the earlier Ingresses whose being served is as it was.
func (b *builder) unchanged(known *desired.State) pmap.Map[desired.Name, *desired.Ingress] {
	same := known.Ingresses.Edit()
	for name, source := range known.Ingresses.All() {
		was := foreign
		if i, _ := b.ingresses.Get(name); i != nil {
			was = i.standing
		}
		if is, _ := b.classes.serve(source); is != was {
			same.Delete(name)
			if _, ok := b.state.Ingresses.Get(name); !ok {
				b.ingress(name, nil)
			}
		}
	}
	return same.Map()
}

// ingress takes in an Ingress as it is now; nil: it is gone.
func (b *builder) ingress(name desired.Name, source *desired.Ingress) {
	old, _ := b.ingresses.Get(name)
	var now *ingress
	if source != nil {
		if is, _ := b.classes.serve(source); is != foreign {
			served, _ := b.ruled.before.index.ingresses.Get(name)
			now = readIngress(source, is, &b.config, ruling{former: served.inForce()})
		}
	}
	b.replace(name, old, now)
}

// replace puts an Ingress, as it is made now, in the place of what it was; nil: it is
// not served.
func (b *builder) replace(name desired.Name, old, now *ingress) {
	b.ruled.note(name, old, now)
	if old != nil {
		for host := range old.rules {
			b.hosts.remove(host, old)
		}
		for host := range old.secrets {
			b.secrets.remove(host, old)
		}
	}
	if now == nil {
		b.ingresses.Delete(name)
		b.say(origin{fromIngress, name.String()}, nil)
		b.use(name, old, nil)
		b.refer(name, old, nil)
		return
	}
	b.ingresses.Set(name, now)
	for host := range now.rules {
		b.hosts.add(host, now)
	}
	for host := range now.secrets {
		b.secrets.add(host, now)
	}
	b.say(origin{fromIngress, name.String()}, now.reasons)
	b.use(name, old, now)
	b.refer(name, old, now)
}

// say sets all that there is to say from one origin.
func (b *builder) say(from origin, reasons []desired.Reason) {
	old, _ := b.reasons.Get(from)
	switch {
	case len(reasons) == 0:
		b.reasons.Delete(from)
	case old == nil || !slices.Equal(old.reasons, reasons):
		b.reasons.Set(from, &reasonList{reasons})
	}
}

// secret chooses the certificate of a host: that of the oldest Ingress.
func (b *builder) secret(host string, by []*ingress) {
	from := origin{fromSecrets, host}
	if len(by) == 0 {
		b.certificates.Delete(host)
		b.say(from, nil)
		return
	}
	chosen := by[0].secrets[host]
	b.certificates.Set(host, chosen)
	var reasons []desired.Reason
	for _, i := range by[1:] {
		if other := i.secrets[host]; other != chosen {
			reasons = append(reasons, i.reason("CertificateTaken", "host %s has the certificate in Secret %s of Ingress %s, %s; Secret %s is not used for it, remove the host from spec.tls of one of them",
				host, chosen, by[0].source.Name, earlier(by[0], i), other))
		}
	}
	b.say(from, reasons)
}

// defaults sets what the configuration gives those who have nothing.
func (b *builder) defaults(fresh bool) {
	if !fresh {
		return
	}
	if b.config.DefaultCertificate != (CertificateID{}) {
		b.certificates.Set("", b.config.DefaultCertificate)
	}
	if id := b.config.DefaultBackend; id != (BackendID{}) {
		b.addPort(id)
		b.stale[id] = true
		b.standard = &Route{
			Source: desired.Ref{Kind: "Service", Namespace: id.Service.Namespace, Name: id.Service.Name}, Rule: "(default backend of the configuration)",
			Backends: []Weighted{{Backend: id, Weight: 1}},
		}
	}
}

func (b *builder) table(last Table) Table {
	t := Table{
		Revision: b.state.Revision, Synced: b.state.Synced, Backends: b.backends.Map(), References: b.references.Map(),
		config: b.config, state: b.state,
		index: index{
			classes: b.classes, ingresses: b.ingresses.Map(), hosts: b.hosts.of.Map(), secrets: b.secrets.of.Map(),
			users: b.users.Map(), ports: b.ports.Map(), reasons: b.reasons.Map(), settings: b.settings, listed: b.listed, ruled: b.ruled.all.Map(), pending: b.ruled.pending,
		},
		Engine: b.settings.engine,
	}
	t.reasons = last.reasons
	if t.index.reasons != last.index.reasons {
		t.reasons = t.index.allReasons()
	}
	routes := &Routes{names: b.names.Map(), wildcards: b.wildcards.Map(), others: b.others, standard: b.standard, parametersAsSent: b.config.ParametersAsSent}
	certificates, streams := b.certificates.Map(), b.streams.streams()
	if l := last.Listeners[ListenerHTTPS]; l != nil && *l.Routes == *routes && l.Certificates == certificates && l.Streams.same(streams) && last.index.listed == b.listed {
		t.Listeners = last.Listeners
		return t
	}
	t.Listeners = map[string]*Listener{
		ListenerHTTP:  {Name: ListenerHTTP, Port: or(b.config.HTTPPort, 80), Protocol: HTTP, Routes: routes},
		ListenerHTTPS: {Name: ListenerHTTPS, Port: or(b.config.HTTPSPort, 443), Protocol: HTTPS, Routes: routes, Certificates: certificates, Streams: streams},
	}
	b.listed.listen(t.Listeners)
	return t
}

func or(port, otherwise uint16) uint16 {
	if port == 0 {
		return otherwise
	}
	return port
}

// setHost stores the rules of a host; nil: there are none.
func (b *builder) setHost(name string, h *host) {
	if name == "" {
		b.others = h
		return
	}
	to, key := b.names, name
	if rest, ok := strings.CutPrefix(name, "*."); ok {
		to, key = b.wildcards, rest
	}
	if h == nil {
		to.Delete(key)
	} else {
		to.Set(key, h)
	}
}

// reason returns a Reason against the Ingress.
func (i *ingress) reason(code, format string, args ...any) desired.Reason {
	return desired.Reason{Object: i.source.Ref(), Code: code, Message: fmt.Sprintf(format, args...)}
}

package corefile

import (
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// The directives about the server itself. Address is empty if none is given.
type (
	// Health is the directive health: whether the process lives.
	Health struct {
		Address  string
		Lameduck time.Duration
	}
	// Ready is the directive ready: whether clients should be sent here.
	Ready struct{ Address string }
	// Prometheus is the directive prometheus: metrics.
	Prometheus struct{ Address string }
	// Loop is the directive loop: upstream servers that lead back here are found out.
	Loop struct{}
	// Reload is the directive reload: the Corefile is looked at again.
	Reload struct{ Interval, Jitter time.Duration }
	// Loadbalance is the directive loadbalance: the order of addresses.
	Loadbalance struct {
		Policy string // round_robin or weighted
		File   string // of weights
	}
	// Bind is the directive bind: where to listen.
	Bind struct {
		At     []string // addresses and interfaces
		Except []string
	}
)

// Effect implements Setting.
func (h Health) Effect() string {
	return "health at :8080/health" + beside(h.Address, ":8080") + "; a server that is told to stop goes on answering for " + h.Lameduck.String()
}

// Effect implements Setting.
func (r Ready) Effect() string { return "readiness at :8181/ready" + beside(r.Address, ":8181") }

// Effect implements Setting.
func (p Prometheus) Effect() string {
	return "metrics under CoreDNS's names at :9153/metrics" + beside(p.Address, ":9153")
}

// Effect implements Setting.
func (Loop) Effect() string {
	return "an upstream server that leads back here is found out and not asked; the process goes on"
}

// Effect implements Setting.
func (Reload) Effect() string { return "changes take effect by themselves, after some seconds" }

// Effect implements Setting.
func (Loadbalance) Effect() string { return "addresses in answers are rotated" }

// Effect implements Setting.
func (Bind) Effect() string { return "UDP and TCP are served at these addresses only" }

// maxLameduck is the longest dns.lameduck of fairlead.yaml.
const maxLameduck = time.Minute

// address reads the only argument, HOST:PORT, and says so if it cannot be served
// there. CoreDNS's own default is what it stands for when it is left out.
func (l *line) address(port string) string {
	if !l.takes(0, 1, "[ADDRESS:PORT]") || len(l.args()) == 0 {
		return ""
	}
	colon := strings.LastIndexByte(l.text(0), ':')
	if _, err := strconv.ParseUint(l.text(0)[colon+1:], 10, 16); err != nil || colon < 0 {
		l.mistake("%s: %q is not ADDRESS:PORT; write for example :%s", l.path, l.text(0), port)
		return ""
	}
	if _, ok := Endpoint(l.text(0)); !ok {
		l.lacks(l.path + " address")
	}
	return l.text(0)
}

// Endpoint returns the address that HOST:PORT of a directive means; no host means
// all addresses. It returns false if the host is neither an address nor localhost.
func Endpoint(text string) (netip.AddrPort, bool) {
	colon := strings.LastIndexByte(text, ':')
	if colon < 0 {
		return netip.AddrPort{}, false
	}
	host, port := strings.Trim(text[:colon], "[]"), text[colon+1:]
	switch host {
	case "":
		host = "::"
	case "localhost":
		host = "127.0.0.1"
	}
	number, err := strconv.ParseUint(port, 10, 16)
	address, problem := netip.ParseAddr(host)
	return netip.AddrPortFrom(address, uint16(number)), err == nil && problem == nil && number > 0
}

// beside says that an endpoint is at an address too.
func beside(text, standard string) string {
	if at, ok := Endpoint(text); ok && text != standard {
		return ", and at " + at.String()
	}
	return ""
}

func readHealth(l *line) Setting {
	h := Health{Address: l.address("8080")}
	l.options(options{"lameduck": func(o *line) {
		o.takes(1, 1, "DURATION")
		if h.Lameduck = o.duration(0, 0); h.Lameduck > maxLameduck {
			h.Lameduck = maxLameduck
			o.lacks("health lameduck longer")
		}
	}})
	return h
}

func readReady(l *line) Setting {
	r := Ready{l.address("8181")}
	l.options(options{"monitor": func(o *line) {
		if o.takes(1, 1, "until-ready|continuously") {
			o.choice(0, "until-ready", "continuously")
		}
	}})
	return r
}

func readPrometheus(l *line) Setting {
	p := Prometheus{l.address("9153")}
	l.options(nil)
	return p
}

func readLoop(l *line) Setting {
	l.takes(0, 0, "")
	l.options(nil)
	return Loop{}
}

func readReload(l *line) Setting {
	r := Reload{30 * time.Second, 15 * time.Second}
	if l.takes(0, 2, "[INTERVAL] [JITTER]") && len(l.args()) > 0 {
		// CoreDNS's least values, in plugin/reload.
		if l.text(0) != "0" {
			r.Interval = l.duration(0, 2*time.Second)
		}
		if r.Jitter = min(r.Jitter, r.Interval/2); len(l.args()) > 1 {
			r.Jitter = l.duration(1, time.Second)
		}
	}
	l.options(nil)
	return r
}

func readLoadbalance(l *line) Setting {
	b := Loadbalance{Policy: "round_robin"}
	if b.Policy = l.choice(0, "round_robin", "weighted"); b.Policy == "weighted" {
		if l.takes(2, 2, "weighted FILE") {
			b.File = l.text(1)
		}
		l.lacks("loadbalance weighted")
		l.options(options{"reload": func(o *line) { o.takes(1, 1, "DURATION"); o.duration(0, 0) }})
		return b
	}
	l.takes(0, 1, "[round_robin]")
	l.options(options{"prefer": func(o *line) { o.takes(1, -1, "CIDR...") }})
	return b
}

func readBind(l *line) Setting {
	var b Bind
	if l.takes(1, maxArguments, "ADDRESS...") {
		b.At = l.texts(0)
	}
	for _, text := range b.At {
		if _, err := netip.ParseAddr(text); err != nil {
			l.lacks("bind interface")
		}
	}
	l.options(options{"except": func(o *line) { o.takes(1, -1, "ADDRESS..."); b.Except = o.texts(0) }})
	return b
}

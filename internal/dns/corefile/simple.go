package corefile

import "fmt"

// Simple is a directive whose arguments are checked, and which says nothing more
// than its name and these.
type Simple struct {
	Name string
	Args []string
}

// Effect implements Setting.
func (s Simple) Effect() string { return s.Name + " as in CoreDNS" }

// simple reads a directive with so many arguments and these options, each of
// which has its own usage; an empty usage takes no arguments.
func simple(least, most int, usage string, known map[string]string) func(*line) Setting {
	return func(l *line) Setting {
		l.takes(least, most, usage)
		all := options{}
		for name, usage := range known {
			all[name] = func(o *line) {
				if usage == "" {
					o.takes(0, 0, "")
				} else {
					o.takes(1, -1, usage)
				}
			}
		}
		l.options(all)
		return Simple{l.Words[0].Text, l.texts(0)}
	}
}

// Bufsize is the directive bufsize: how large replies by UDP may be, in bytes.
type Bufsize struct{ Size int }

// Effect implements Setting.
func (b Bufsize) Effect() string {
	return fmt.Sprintf("replies by UDP have at most %d bytes", b.Size)
}

// readBufsize follows CoreDNS's plugin/bufsize.
func readBufsize(l *line) Setting {
	b := Bufsize{1232}
	if l.takes(0, 1, "[SIZE]") && len(l.args()) > 0 {
		b.Size = l.number(0, 512, 4096)
	}
	l.options(nil)
	if !l.server.main() {
		l.lacks("bufsize elsewhere")
	}
	return b
}

// Autopath is the directive autopath: names along the search paths of pods are
// answered at the first attempt.
type Autopath struct {
	// Zones of the names; empty means those of the server block.
	Zones []string
	// Effective is set if it is known which pods there are.
	Effective bool
}

// Effect implements Setting.
func (a Autopath) Effect() string {
	if !a.Effective {
		return "none"
	}
	return "a pod that looks a name up along its search path gets the answer at the first attempt"
}

// readAutopath follows CoreDNS's plugin/autopath.
func readAutopath(l *line) Setting {
	var a Autopath
	if !l.takes(1, maxArguments, "[ZONE...] @kubernetes") {
		return a
	}
	last := len(l.args()) - 1
	from := l.text(last)
	l.Words = l.Words[:last+1]
	a.Zones = l.zones(0)
	l.options(nil)
	if from != "@kubernetes" {
		l.lacks("autopath file")
		return a
	}
	if a.Effective = l.server.verified; !a.Effective {
		l.note(without["autopath"])
	}
	return a
}

// readWhoami follows CoreDNS's plugin/whoami.
func readWhoami(l *line) Setting {
	l.takes(0, 0, "")
	l.options(nil)
	if l.server.forwards {
		l.note(without["whoami"])
	}
	return Simple{"whoami", nil}
}

// directives are those of CoreDNS that are read. Their arguments are those of
// the READMEs below plugin/ in github.com/coredns/coredns.
var directives = map[string]definition{
	"errors":       {true, readErrors},
	"log":          {false, readLog},
	"health":       {false, readHealth},
	"ready":        {true, readReady},
	"kubernetes":   {true, readKubernetes},
	"prometheus":   {true, readPrometheus},
	"forward":      {false, readForward},
	"cache":        {true, readCache},
	"loop":         {true, readLoop},
	"reload":       {true, readReload},
	"loadbalance":  {false, readLoadbalance},
	"hosts":        {true, readHosts},
	"rewrite":      {false, readRewrite},
	"template":     {false, readTemplate},
	"bind":         {false, readBind},
	"acl":          {false, readACL},
	"bufsize":      {false, readBufsize},
	"autopath":     {false, readAutopath},
	"k8s_external": {false, readExternal},
	"dns64":        {false, readDNS64},
	"whoami":       {false, readWhoami},
	"any":          {false, simple(0, 0, "", nil)},
	"minimal":      {false, simple(0, 0, "", nil)},
	"nsid":         {true, simple(0, -1, "[DATA]", nil)},
	"trace": {false, simple(0, 2, "[ENDPOINT-TYPE] [ENDPOINT]", map[string]string{
		"every": "AMOUNT", "service": "NAME", "client_server": "", "datadog_analytics_rate": "RATE",
		"zipkin_max_backlog_size": "SIZE", "zipkin_max_batch_size": "SIZE", "zipkin_max_batch_interval": "DURATION"})},
	"dnstap": {false, readDnstap},
	"local":  {false, simple(0, 0, "", nil)},
	"chaos":  {false, simple(0, -1, "[VERSION] [AUTHOR...]", nil)},
	"cancel": {false, simple(0, 1, "[TIMEOUT]", nil)},
	"debug":  {false, simple(0, 0, "", nil)},
	"root":   {false, simple(1, 1, "PATH", nil)},
	"tls":    {true, simple(2, 3, "CERT KEY [CA]", map[string]string{"client_auth": "MODE"})},
}

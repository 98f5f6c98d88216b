package agent

import (
	"crypto/sha512"
	"encoding/hex"
	"fmt"
	"reflect"
	"slices"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/fairlead-net/fairlead/internal/config"
	"github.com/fairlead-net/fairlead/internal/l7/proxy"
)

// Kept is what a process keeps when it begins anew (ErrConfigChanged). Make one with
// NewKept, and give it to one Agent after the other.
type Kept struct {
	// corefile holds the Corefile that was in force last, nil if there was none, and name
	// is that of its file.
	corefile *texts
	name     string
	// refused is the last one that could not be followed.
	refused string
	// changes counts those that a running server took.
	changes prometheus.Counter
	// As plugin/reload of CoreDNS has them.
	failures prometheus.Counter
	version  *prometheus.GaugeVec
	// spans are where its proxy records traces, as tracing says; nil: nowhere.
	spans   *spans
	tracing config.Tracing
	// proxy is the gateway's; nil in other processes.
	proxy *proxy.Proxy
	// stapling is what the gateway knows of revocation; nil if it is not to.
	stapling *stapling
}

// NewKept returns what a process has that has kept nothing yet.
func NewKept() *Kept {
	return &Kept{
		changes:  prometheus.NewCounter(prometheus.CounterOpts{Name: "fairlead_dns_reload_total", Help: "Changes of the Corefile that the running server took."}),
		failures: prometheus.NewCounter(prometheus.CounterOpts{Name: "coredns_reload_failed_total", Help: "Changes of the Corefile that could not be followed."}),
		version:  prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "coredns_reload_version_info", Help: "1 for the Corefile in force, with the files that it names, by its hash."}, []string{"hash", "value"}),
	}
}

func (k *Kept) metrics() []prometheus.Collector {
	return []prometheus.Collector{k.changes, k.failures, k.version}
}

// followKept is follow, but that the Corefile which was in force last stays so in the
// place of one that is not usable. The error says why that is not.
func (k *Kept) followKept(c config.Config) (followed, error) {
	f, unusable := follow(c)
	if unusable != nil {
		k.refuse(f, unusable)
		if k.corefile != nil && k.name == c.DNS.Corefile {
			last, err := followFrom(c, k.corefile.files())
			if err != nil {
				k.version.Reset()
				return f, unusable // the kept one may be of use again, with another fairlead.yaml
			}
			f = last
		}
	}
	k.keep(f)
	return f, unusable
}

// keep notes what is in force.
func (k *Kept) keep(f followed) {
	k.corefile, k.name = f.texts, f.config.DNS.Corefile
	k.version.Reset()
	if f.inForce() {
		hash := sha512.Sum512([]byte(f.read))
		k.version.WithLabelValues("sha512", hex.EncodeToString(hash[:])).Set(1)
	}
}

// refuse counts what cannot be followed, once.
func (k *Kept) refuse(f followed, why error) {
	if what := f.read + why.Error(); what != k.refused {
		k.refused = what
		k.failures.Inc()
	}
}

// takeCorefile has the DNS server answer by the Corefile if it says something else by
// now that can be done. What cannot be is reported, and what was in force before
// stays. It reports whether it takes a new Agent.
func (a *Agent) takeCorefile() (anew bool) {
	if !slices.Contains(a.options.Planes, "dns") {
		return false
	}
	kept := a.options.Kept
	now, err := follow(a.base)
	if now.read == a.corefile.read && err == nil {
		kept.refused = ""
		a.noteCorefile(nil) // it has been changed back
		return false
	}
	if err == nil && !a.options.inPlace(a.corefile, now) {
		return true
	}
	if err == nil {
		err = a.answerBy(now)
	}
	if err != nil {
		kept.refuse(now, err)
		a.noteCorefile(err)
		return false
	}
	select {
	case a.renewed <- struct{}{}:
	default: // what was changed before has not been looked at yet
	}
	a.corefile = now
	kept.refused = ""
	kept.keep(now)
	kept.changes.Inc()
	a.noteCorefile(nil)
	if now.inForce() {
		a.log.Info("Corefile changed, the DNS server answers by it", "file", a.base.DNS.Corefile)
	} else {
		a.log.Info("there is no Corefile any more, the DNS server answers by section dns of fairlead.yaml", "file", a.base.DNS.Corefile)
	}
	return false
}

// inPlace tells whether a process that follows one Corefile can go on with another: what
// is read of the cluster, where is listened, and what concerns other planes stays.
func (o Options) inPlace(now, next followed) bool {
	others := func(c config.Config) config.Config {
		c.ClusterDomain, c.DNS = "", config.DNS{}
		return c
	}
	before, after := o, o
	before.Config, after.Config = now.config, next.config
	return before.reads() == after.reads() && slices.Equal(now.endpoints, next.endpoints) && reflect.DeepEqual(others(now.config), others(next.config))
}

// noteCorefile makes known why the Corefile is not in force; nil if it is.
func (a *Agent) noteCorefile(unusable error) {
	if unusable == nil {
		a.corefileProblem.Store(nil)
		return
	}
	stays := "what was in force before stays"
	if !a.corefile.inForce() {
		stays = "the section dns of fairlead.yaml counts"
	}
	problem := fmt.Sprintf("the Corefile is not usable, and %s: %v", stays, unusable)
	if old := a.corefileProblem.Swap(&problem); old == nil || *old != problem {
		a.log.Error("Corefile not usable", "file", a.base.DNS.Corefile, "error", unusable)
	}
}

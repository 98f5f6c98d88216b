package agent

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"

	"github.com/fairlead-net/fairlead/internal/desired"
	"github.com/fairlead-net/fairlead/internal/l7"
	"github.com/fairlead-net/fairlead/internal/l7/acme"
	"github.com/fairlead-net/fairlead/internal/l7/proxy"
)

// folderOrders orders the certificates of the Ingresses of a folder. What there is to say
// goes to the log: there are no Events.
type folderOrders struct {
	manager *acme.Manager
	log     *slog.Logger
	// said is what has been logged. Only the Manager's Run touches it.
	said []desired.Reason
	last atomic.Pointer[acme.Report]
}

// orderInFolder has a gateway order certificates, which are kept in a directory.
func (a *Agent) orderInFolder(plane *gatewayPlane, data secretData) error {
	config, err := ACMEConfig(a.options.Config)
	if err != nil {
		return err
	}
	o := &folderOrders{log: a.log.With("plane", "certificates")}
	o.last.Store(new(acme.Report))
	o.manager, err = acme.New(acme.Options{
		Config: config, Store: data.secretDir, Peers: func() []acme.Peer { return ownPeer(plane.proxy) }, Report: o.report, Log: o.log,
	})
	if err != nil {
		return err
	}
	plane.orders = o
	a.registry.MustRegister(o.manager)
	a.services = append(a.services, data.run, func(ctx context.Context) error {
		_ = o.manager.Run(ctx)
		return nil
	})
	return nil
}

// ownPeer is this process, which has to answer a challenge before the authority is told to
// ask.
func ownPeer(p *proxy.Proxy) []acme.Peer {
	http, https := p.Addresses(l7.ListenerHTTP), p.Addresses(l7.ListenerHTTPS)
	if len(http) == 0 || len(https) == 0 {
		return nil
	}
	return []acme.Peer{{HTTP: reachable(http[0]), HTTPS: reachable(https[0])}}
}

// reachable is where a listener is reached from its own machine.
func reachable(a netip.AddrPort) netip.AddrPort {
	if a.Addr().IsUnspecified() {
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), a.Port())
	}
	return a
}

// offer makes this what certificates are ordered for.
func (o *folderOrders) offer(t *l7.Table) {
	if o != nil {
		o.manager.Offer(t)
	}
}

func (o *folderOrders) report(r acme.Report) {
	for _, reason := range r.Reasons {
		if !slices.Contains(o.said, reason) {
			o.log.Warn("there is no certificate", "object", reason.Object.String(), "code", reason.Code, "message", reason.Message)
		}
	}
	o.said = r.Reasons
	o.last.Store(&r)
}

// notes says how many certificates there are, and what is missing.
func (o *folderOrders) notes() []string {
	if o == nil {
		return nil
	}
	total, missing := certificateNotes(o.last.Load().Certificates)
	return append([]string{"orders certificates; " + total}, missing...)
}

// certificateNotes says how many certificates of those that are wanted are valid, and
// which are not.
func certificateNotes(all []acme.Certificate) (total string, missing []string) {
	valid, now := 0, time.Now()
	for _, one := range all {
		if one.NotAfter.After(now) {
			valid++
			continue
		}
		missing = append(missing, fmt.Sprintf("there is no valid certificate in Secret %s for %v", one.Secret, one.Hosts))
	}
	return fmt.Sprintf("of %d that are wanted, %d are valid", len(all), valid), missing[:min(len(missing), maxNotes-1)]
}

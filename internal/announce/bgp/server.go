package bgp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"time"

	"github.com/osrg/gobgp/v4/api"
	"github.com/osrg/gobgp/v4/pkg/apiutil"
	wire "github.com/osrg/gobgp/v4/pkg/packet/bgp"
	gobgp "github.com/osrg/gobgp/v4/pkg/server"
)

// chunk is how many paths GoBGP is told at a time: it does nothing else meanwhile.
const chunk = 500

// server is GoBGP. It listens at no port. Its methods must not be called from
// several goroutines at once.
type server struct {
	bgp     *gobgp.BgpServer
	journal *journal
	unwatch context.CancelFunc
	tables  uint32 // so many have been made
}

// startServer returns a server without sessions. The AS number is one that no session
// uses, as each has its own.
func startServer(routerID netip.Addr, j *journal, log *slog.Logger) (*server, error) {
	level := new(slog.LevelVar)
	level.Set(slog.LevelDebug)
	s := &server{bgp: gobgp.NewBgpServer(gobgp.LoggerOption(slog.New(j.handler(log)), level)), journal: j, unwatch: func() {}}
	go s.bgp.Serve()
	if err := s.start(routerID); err != nil {
		return nil, errors.Join(fmt.Errorf("start GoBGP: %w", err), s.stop())
	}
	return s, nil
}

func (s *server) start(routerID netip.Addr) error {
	ctx := context.Background()
	global := &api.Global{Asn: 65535, RouterId: routerID.String(), ListenPort: -1}
	if err := s.bgp.StartBgp(ctx, &api.StartBgpRequest{Global: global}); err != nil {
		return err
	}
	if err := s.refuseImports(ctx); err != nil {
		return err
	}
	watching, cancel := context.WithCancel(ctx)
	s.unwatch = cancel
	return s.bgp.WatchEvent(watching, gobgp.WatchEventMessageCallbacks{OnPeerUpdate: s.journal.transition}, gobgp.WatchPeer())
}

// refuseImports has GoBGP take no route into its tables but those that it is told
// here.
func (s *server) refuseImports(ctx context.Context) error {
	own := &api.Policy{Name: "own", Statements: []*api.Statement{{
		Name:       "own",
		Conditions: &api.Conditions{RouteType: api.Conditions_ROUTE_TYPE_LOCAL},
		Actions:    &api.Actions{RouteAction: api.RouteAction_ROUTE_ACTION_ACCEPT},
	}}}
	if err := s.bgp.AddPolicy(ctx, &api.AddPolicyRequest{Policy: own}); err != nil {
		return err
	}
	return s.bgp.AddPolicyAssignment(ctx, &api.AddPolicyAssignmentRequest{Assignment: &api.PolicyAssignment{
		Name: "global", Direction: api.PolicyDirection_POLICY_DIRECTION_IMPORT,
		Policies: []*api.Policy{{Name: own.Name}}, DefaultAction: api.RouteAction_ROUTE_ACTION_REJECT,
	}})
}

// stop ends all sessions, so that routers that restart gracefully keep the routes,
// and everything that GoBGP has running.
func (s *server) stop() error {
	s.unwatch()
	err := s.bgp.StopBgp(context.Background(), &api.StopBgpRequest{AllowGracefulRestart: true})
	s.bgp.Stop() // what StopBgp leaves running
	return err
}

// add makes a session that begins with these paths: all that there are at the time
// when it comes up, so that a router which has kept those of the process before can
// tell which of them are no more.
func (s *server) add(n neighbor, paths []path) error {
	ctx := context.Background()
	// Nothing of it is there, unless something failed that cannot fail.
	_ = s.bgp.DeletePeer(ctx, &api.DeletePeerRequest{Address: n.key()})
	_ = s.bgp.DeleteVrf(ctx, &api.DeleteVrfRequest{Name: n.table()})
	s.tables++
	rd, err := apiutil.MarshalRD(wire.NewRouteDistinguisherTwoOctetAS(0, s.tables))
	if err != nil {
		return err
	}
	target, err := apiutil.MarshalRTs([]wire.ExtendedCommunityInterface{
		wire.NewTwoOctetAsSpecificExtended(wire.EC_SUBTYPE_ROUTE_TARGET, 0, s.tables, true),
	})
	if err != nil {
		return err
	}
	vrf := &api.Vrf{Name: n.table(), Id: s.tables, Rd: rd, ImportRt: target, ExportRt: target}
	if err := s.bgp.AddVrf(ctx, &api.AddVrfRequest{Vrf: vrf}); err != nil {
		return err
	}
	s.journal.open(n.key())
	err = s.announce(n, paths)
	if err == nil {
		err = s.bgp.AddPeer(ctx, &api.AddPeerRequest{Peer: n.peer()})
	}
	if err != nil {
		s.journal.close(n.key())
		return errors.Join(err, s.bgp.DeleteVrf(ctx, &api.DeleteVrfRequest{Name: n.table()}))
	}
	return nil
}

// update changes a session whose router stays where it is. GoBGP makes a new one
// where it must.
func (s *server) update(n neighbor) error {
	_, err := s.bgp.UpdatePeer(context.Background(), &api.UpdatePeerRequest{Peer: n.peer()})
	return err
}

// remove ends a session; the router withdraws its routes.
func (s *server) remove(n neighbor) error {
	ctx := context.Background()
	err := s.bgp.DeletePeer(ctx, &api.DeletePeerRequest{Address: n.key()})
	s.journal.close(n.key())
	return errors.Join(err, s.bgp.DeleteVrf(ctx, &api.DeleteVrfRequest{Name: n.table()}))
}

// announce adds paths, or replaces them.
func (s *server) announce(n neighbor, paths []path) error {
	return s.change(paths, func(some []*apiutil.Path) error {
		_, err := s.bgp.AddPath(apiutil.AddPathRequest{VRFID: n.table(), Paths: some})
		return err
	})
}

// withdraw takes paths back.
func (s *server) withdraw(n neighbor, paths []path) error {
	return s.change(paths, func(some []*apiutil.Path) error {
		return s.bgp.DeletePath(apiutil.DeletePathRequest{VRFID: n.table(), Paths: some})
	})
}

func (s *server) change(paths []path, tell func([]*apiutil.Path) error) error {
	var errs []error
	var some []*apiutil.Path
	for _, p := range paths {
		translated, err := translate(p)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if some = append(some, translated); len(some) == chunk {
			errs = append(errs, tell(some))
			some = nil
		}
	}
	if len(some) > 0 {
		errs = append(errs, tell(some))
	}
	return errors.Join(errs...)
}

// hold keeps a session from being made, or lets it be made again. GoBGP may forget
// what it is asked for, so look whether it did it.
func (s *server) hold(n neighbor, down bool) error {
	ctx := context.Background()
	if down {
		return s.bgp.DisablePeer(ctx, &api.DisablePeerRequest{Address: n.key()})
	}
	return s.bgp.EnablePeer(ctx, &api.EnablePeerRequest{Address: n.key()})
}

// look returns what GoBGP knows of its sessions, by key.
func (s *server) look() (map[string]*api.Peer, error) {
	all := map[string]*api.Peer{}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	err := s.bgp.ListPeer(ctx, &api.ListPeerRequest{}, func(p *api.Peer) { all[p.GetState().GetNeighborAddress()] = p })
	return all, err
}

package agent

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fairlead-net/fairlead/internal/announce"
	"github.com/fairlead-net/fairlead/internal/announce/l2"
	"github.com/fairlead-net/fairlead/internal/desired"
)

// memory is what the API says of one node, the requests that made it so, and the Events.
type memory struct {
	node     string
	mu       sync.Mutex
	objects  map[string]desired.Announcement // NODE PROTOCOL SERVICE
	requests []string
	fail     func(request string) error
	sessions map[string]time.Time
	rivals   []l2.Conflict
}

func key(node string, what desired.Announced) string {
	if what.BGP {
		return node + " bgp " + what.Service.Name
	}
	return node + " l2 " + what.Service.Name
}

// edit changes the world under the loop.
func (m *memory) edit(change func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	change()
}

func (m *memory) request(what string) error {
	m.requests = append(m.requests, what)
	if m.fail != nil {
		return m.fail(what)
	}
	return nil
}

func (m *memory) List(context.Context, string) ([]desired.Announcement, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var all []desired.Announcement
	for _, k := range slices.Sorted(maps.Keys(m.objects)) {
		if strings.HasPrefix(k, m.node+" ") {
			all = append(all, m.objects[k])
		}
	}
	return all, m.request("list")
}

func (m *memory) Put(_ context.Context, _ string, before, now desired.Announcement) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	k := key(m.node, now.Announced)
	if err := m.request("put " + k); err != nil {
		return err
	}
	if _, there := m.objects[k]; there != (before.Announced == now.Announced) {
		return errors.New("not what was expected")
	}
	m.objects[k] = now
	return nil
}

func (m *memory) Delete(_ context.Context, node string, what desired.Announced) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.objects, key(node, what))
	return m.request("delete " + key(node, what))
}

func (m *memory) deleteAll(_ context.Context, node string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	maps.DeleteFunc(m.objects, func(k string, _ desired.Announcement) bool { return strings.HasPrefix(k, node+" ") })
	return m.request("delete all of " + node)
}

func (m *memory) tell(_ context.Context, what desired.Reason, _ bool) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.request("event " + what.Object.Name + " " + what.Code + ": " + what.Message)
}

// did checks what was asked of the API since the last time.
func (m *memory) did(t *testing.T, when string, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, m.requests); diff != "" {
		t.Errorf("%s (-want +got):\n%s", when, diff)
	}
	m.edit(func() { m.requests = nil })
}

// statusWorld is a node with its loop at work.
type statusWorld struct {
	*announceStatus
	memory *memory
}

func startStatus(t *testing.T, m *memory) (*statusWorld, func()) {
	s := &announceStatus{
		node: m.node, log: slog.New(slog.DiscardHandler), store: m, deleteAll: m.deleteAll, tell: m.tell, woken: make(chan struct{}, 1),
		sessions: func() (all map[string]time.Time) {
			m.edit(func() { all = maps.Clone(m.sessions) })
			return all
		},
		conflicts: func() (all []l2.Conflict) {
			m.edit(func() { all = m.rivals })
			return all
		},
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- s.run(ctx) }()
	return &statusWorld{announceStatus: s, memory: m}, func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// table hands over the routes by BGP, of Services, to all peers named in the memory.
func (w *statusWorld) table(services ...string) {
	t := announce.Table{Synced: true, Node: w.node, Nodes: []announce.Node{{Name: "one"}, {Name: "two"}, {Name: "three"}}}
	for _, name := range []string{"tor-1", "tor-2"} {
		t.Peers = append(t.Peers, announce.Peer{Peer: &desired.Peer{Name: desired.Name{Name: name}}})
	}
	for _, service := range services {
		t.Routes = append(t.Routes, announce.Route{Services: []desired.Name{{Namespace: "demo", Name: service}}})
	}
	w.offer(t, desired.Node{Name: w.node, About: &desired.NodeObject{UID: "uid"}, Network: &desired.Network{Uplinks: []string{"eth0"}}})
}

// election hands over owners as "SERVICE ADDRESS OWNER", with the nodes that live.
func (w *statusWorld) election(live string, owners ...string) {
	l := announce.Live{Nodes: map[string]*announce.Condition{}}
	for name := range strings.FieldsSeq(live) {
		name, leaving := strings.CutSuffix(name, "-")
		l.Nodes[name] = &announce.Condition{Leaving: leaving}
	}
	e := announce.Election{Synced: true, Node: w.node}
	for _, text := range owners {
		f := strings.Fields(text)
		one := announce.Elected{Address: netip.MustParseAddr(f[1]), Services: []desired.Name{{Namespace: "demo", Name: f[0]}}}
		if len(f) > 2 {
			one.Owner = f[2]
		}
		e.Addresses = append(e.Addresses, one)
	}
	w.elected(e, l)
}

func pass(d time.Duration) { time.Sleep(d); synctest.Wait() }

const assigned = `nodeAssigned: announcing from node "one" with protocol "layer2": `

// TestAnnounceStatus follows a node through its life.
func TestAnnounceStatus(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &memory{node: "one", objects: map[string]desired.Announcement{}}
		w, stop := startStatus(t, m)
		w.election("one two three", "a 192.0.2.1 one", "b 192.0.2.2 two")
		pass(time.Minute)
		m.did(t, "before the State is known")
		w.table()
		pass(500 * time.Millisecond)
		m.did(t, "at once")
		pass(time.Second)
		m.did(t, "first", "list", "put one l2 a", "event a "+assigned+"192.0.2.1")
		pass(time.Minute)
		m.did(t, "confirmed", "list")
		pass(100 * time.Hour)
		m.did(t, "while nothing changes")

		// Gone and back within the pause: nothing is written.
		w.election("one three", "a 192.0.2.1 one", "b 192.0.2.2 one")
		w.election("one two- three", "a 192.0.2.1 one", "b 192.0.2.2 two")
		pass(5 * time.Second)
		m.did(t, "a blip")
		pass(10 * time.Second)
		m.did(t, "the others may have held this node for dead", "list")

		// The other node dies: its object cannot be true any more, and is nobody's to delete but the heir's.
		m.edit(func() { m.objects["two l2 b"] = desired.Announcement{} })
		w.election("one three", "a 192.0.2.1 one", "b 192.0.2.2 one", "b 2001:db8::2 three")
		pass(3 * time.Second)
		m.did(t, "the heir", "put one l2 b", "event b "+assigned+"192.0.2.2", "delete two l2 b")
		w.election("one three", "a 192.0.2.1 one", "b 192.0.2.2 one", "b 2001:db8::2 one")
		pass(3 * time.Second)
		m.did(t, "another address", "put one l2 b", "event b "+assigned+"2001:db8::2")
		w.election("one three", "b 192.0.2.2 one", "b 2001:db8::2 three")
		pass(3 * time.Second)
		m.did(t, "the Service is gone, an address moves", "put one l2 b", "delete one l2 a")
		stop()

		// A restart of everything, after which all is as it was.
		w, stop = startStatus(t, m)
		w.table()
		w.election("", "b 192.0.2.2", "b 2001:db8::2")
		pass(3 * time.Second)
		m.did(t, "nobody is known to live", "list")
		w.election("one three", "b 192.0.2.2 one", "b 2001:db8::2 three")
		pass(time.Hour)
		m.did(t, "a restart", "list")
		stop()
	})
}

// TestAnnounceStatusOfRoutes expects peers to be told of that have a session that
// lasts, and what was so before a restart to stay for a while.
func TestAnnounceStatusOfRoutes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		routed := desired.Announcement{Announced: desired.Announced{Service: desired.Name{Namespace: "demo", Name: "a"}, BGP: true}, Through: []string{"tor-1", "tor-2"}}
		m := &memory{node: "one", objects: map[string]desired.Announcement{"one bgp a": routed}, sessions: map[string]time.Time{}}
		w, stop := startStatus(t, m)
		defer stop()
		w.table("a")
		pass(3 * time.Second)
		m.did(t, "no session yet", "list")
		m.edit(func() { m.sessions["tor-1"] = time.Now() })
		w.wake()
		pass(20 * time.Second)
		m.did(t, "one of two")
		pass(time.Minute)
		m.did(t, "the other did not come back", "list", "put one bgp a")
		for range 30 { // a session that is lost every second
			m.edit(func() { m.sessions["tor-2"] = time.Now() })
			w.wake()
			pass(time.Second)
		}
		m.did(t, "a session that flaps")
		pass(10 * time.Second)
		m.did(t, "the session lasts", "put one bgp a")
		m.edit(func() { clear(m.sessions) })
		w.wake()
		pass(10 * time.Second)
		m.did(t, "no session", "delete one bgp a")
	})
}

// TestAnnounceStatusFailures expects failures to be tried again, ever more rarely,
// and one object not to keep others from being written.
func TestAnnounceStatusFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &memory{node: "one", objects: map[string]desired.Announcement{}}
		w, stop := startStatus(t, m)
		defer stop()
		m.edit(func() {
			m.fail = func(request string) error {
				if request == "put one l2 bad" {
					return errors.New("refused")
				}
				return nil
			}
		})
		w.table()
		w.election("one", "bad 192.0.2.1 one", "good 192.0.2.2 one")
		pass(2 * time.Hour)
		tries := strings.Count(strings.Join(m.requests, "\n"), "put one l2 bad")
		if _, ok := m.objects["one l2 good"]; !ok || tries < 10 || tries > 60 {
			t.Errorf("%d tries, %v", tries, m.objects)
		}
		if d := strings.Join(w.Describe(), "\n"); !strings.Contains(d, "refused") || !strings.Contains(d, "by 1 ServiceL2Status") {
			t.Error(d)
		}
		w.election("one", "bad 192.0.2.1 one", "good 192.0.2.2 one", "new 192.0.2.3 one")
		pass(3 * time.Second)
		if _, ok := m.objects["one l2 new"]; !ok {
			t.Error("a new one waits for the one that fails")
		}
		m.edit(func() {
			m.fail, m.requests = func(string) error { return errors.New("no API server") }, nil
		})
		w.election("one", "new 192.0.2.3 one")
		pass(time.Hour)
		if n := len(m.requests); n < 5 || n > 50 {
			t.Errorf("%d requests while there is no API server", n)
		}
		m.edit(func() { m.fail = nil })
		pass(10 * time.Minute)
		if len(m.objects) != 1 || len(w.Describe()) != 1 {
			t.Errorf("afterwards: %v, %v", m.objects, w.Describe())
		}
	})
}

// TestAnnounceStatusPace expects many changes to be spread, and what became untrue
// meanwhile not to be written.
func TestAnnounceStatusPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &memory{node: "one", objects: map[string]desired.Announcement{}}
		w, stop := startStatus(t, m)
		defer stop()
		var owners []string
		for i := range 200 {
			owners = append(owners, "s"+string(rune('a'+i/26))+string(rune('a'+i%26))+" "+netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}).String()+" one")
		}
		w.table()
		w.election("one two", owners...)
		pass(6 * time.Second)
		if n := len(m.requests); n < 60 || n > 110 {
			t.Errorf("%d requests in five seconds", n)
		}
		w.election("one two", owners[:10]...)
		pass(time.Hour)
		if len(m.objects) != 10 || len(m.requests) > 250 {
			t.Errorf("%d objects, %d requests", len(m.objects), len(m.requests))
		}
	})
}

// TestAnnounceStatusConflict expects a warning at all Services of the address, once.
func TestAnnounceStatusConflict(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &memory{node: "one", objects: map[string]desired.Announcement{}}
		w, stop := startStatus(t, m)
		defer stop()
		w.table()
		w.election("one", "a 192.0.2.1 one")
		pass(time.Hour)
		m.edit(func() { m.requests = nil })
		rival := l2.Conflict{Address: netip.MustParseAddr("192.0.2.1"), MAC: net.HardwareAddr{2, 0, 0, 0, 0, 9}, Interface: "eth7", Since: time.Now()}
		for range 20 { // it comes and goes
			m.edit(func() { m.rivals = []l2.Conflict{rival} })
			w.wake()
			pass(10 * time.Second)
			m.edit(func() { m.rivals = nil })
			w.wake()
			pass(10 * time.Second)
			rival.Since = time.Now()
		}
		if len(m.requests) != 1 || !strings.HasPrefix(m.requests[0], "event a AddressConflict: ") || !strings.Contains(m.requests[0], "02:00:00:00:00:09") ||
			!strings.Contains(m.requests[0], "eth7") || !strings.Contains(m.requests[0], "take this one from the pool") {
			t.Errorf("%q", m.requests)
		}
	})
}

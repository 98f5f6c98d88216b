package nft

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fairlead-net/fairlead/internal/desired"
	"github.com/fairlead-net/fairlead/internal/lb"
	"github.com/fairlead-net/fairlead/internal/reconcile"
)

// eventually repeats a check that is nil once it holds.
func eventually(t testing.TB, check func() error) {
	t.Helper()
	deadline := time.Now().Add(long)
	for err := check(); err != nil; err = check() {
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// follows expects a UDP socket that never stops to reach a backend in the end.
func follows(t *testing.T, c net.Conn, backend string) {
	t.Helper()
	eventually(t, func() error {
		if a := talk(c, patience); a.backend != backend {
			return fmt.Errorf("answer %+v, want one from %s", a, backend)
		}
		return nil
	})
}

// udpClients opens a socket at each place.
func (w *world) udpClients(a addresses) []net.Conn {
	w.t.Helper()
	var all []net.Conn
	for place, to := range map[lb.Place]string{lb.Pod: a.clusterIP, lb.Host: a.clusterIP, lb.Outside: a.node} {
		c, err := w.dial(w.place(place), desired.UDP, at(to, "53"), long)
		if err != nil {
			w.t.Fatal(err)
		}
		all = append(all, c)
	}
	return all
}

// TestUDPFollows sends from one socket on and on: when its backend leaves it must
// go to another, when one comes it must reach it, though to conntrack it is one
// connection all the time.
func TestUDPFollows(t *testing.T) {
	for _, a := range families() {
		w := newWorld(t, 3)
		first, second := at(a.pod(2), "5353"), at(a.pod(3), "5353")
		w.serve(w.pods[2], desired.UDP, first)
		w.serve(w.pods[3], desired.UDP, second)
		cluster, node := frontendOf(at(a.clusterIP, "53"), desired.UDP), frontendOf(at(a.any, "53"), desired.UDP)
		p := w.plane()
		apply := func(e *lb.Entry) {
			t.Helper()
			entries := map[lb.Frontend]*lb.Entry{}
			if e != nil {
				entries[cluster], entries[node] = e, e
			}
			w.apply(p, table(entries))
		}
		all := w.udpClients(a)
		// Nothing serves yet, not even the rules: conntrack notes connections to
		// where nobody is.
		for _, c := range all {
			talk(c, patience)
		}
		for _, step := range []struct {
			entry *lb.Entry
			want  string
		}{
			{&lb.Entry{Choice: choiceOf(first)}, first},
			{&lb.Entry{Choice: choiceOf(second)}, second},
			{&lb.Entry{}, ""},
			{&lb.Entry{Choice: choiceOf(first)}, first},
			{nil, ""},
			{&lb.Entry{Choice: choiceOf(second), Affinity: time.Hour}, second},
			{&lb.Entry{Choice: choiceOf(first), Affinity: time.Hour}, first},
		} {
			apply(step.entry)
			for _, c := range all {
				if step.want != "" {
					follows(t, c, step.want)
				} else if got := talk(c, patience); got.err == nil {
					t.Errorf("answer from %s, which is gone", got.backend)
				}
			}
		}
		// What others leave is in order too: a new process finds out by itself.
		p.Close()
		p = w.plane()
		apply(&lb.Entry{Choice: choiceOf(second)})
		for _, c := range all {
			follows(t, c, second)
		}
	}
}

// TestUDPStays expects connections to stay with a backend that stays.
func TestUDPStays(t *testing.T) {
	w := newWorld(t, 3)
	first, second := "10.244.0.2:5353", "10.244.0.3:5353"
	w.serve(w.pods[2], desired.UDP, first)
	w.serve(w.pods[3], desired.UDP, second)
	f := frontendOf("10.96.0.1:53", desired.UDP)
	p := w.plane()
	w.apply(p, table(map[lb.Frontend]*lb.Entry{f: {Choice: choiceOf(first)}}))
	c, err := w.dial(w.pods[1], desired.UDP, "10.96.0.1:53", long)
	if err != nil {
		t.Fatal(err)
	}
	watcher := w.watcher()
	port := netip.MustParseAddrPort(c.LocalAddr().String()).Port()
	follows(t, c, first)
	for _, list := range [][]string{{first, second}, {second, first}, {first}} {
		w.apply(p, table(map[lb.Frontend]*lb.Entry{f: {Choice: choiceOf(list...)}}))
		if _, found := watcher.flow(t, f, port); !found {
			t.Fatalf("with %v conntrack forgot the connection", list)
		}
		if got := talk(c, long); got.backend != first {
			t.Fatalf("with %v: %+v", list, got)
		}
	}
}

// TestNoConnectionLost replaces the process again and again while a connection is
// open and others are made without a pause.
func TestNoConnectionLost(t *testing.T) {
	w := newWorld(t, 3)
	w.serve(w.pods[2], desired.TCP, "10.244.0.2:8080")
	w.serve(w.pods[3], desired.TCP, "10.244.0.3:8080")
	f := frontendOf("10.96.0.1:80", desired.TCP)
	want := table(map[lb.Frontend]*lb.Entry{f: {Choice: choiceOf("10.244.0.2:8080", "10.244.0.3:8080")}})
	p := w.plane()
	w.apply(p, want)
	open, err := w.dial(w.pods[1], desired.TCP, "10.96.0.1:80", long)
	if err != nil {
		t.Fatal(err)
	}
	var tried atomic.Int32
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			default:
			}
			if a := w.ask(w.pods[1], desired.TCP, "10.96.0.1:80", long); a.err != nil {
				t.Errorf("connection %d: %v", tried.Load(), a.err)
				return
			}
			tried.Add(1)
		}
	}()
	// A connection that is made while the list changes may take a second.
	for i := 0; i < 20 || tried.Load() < 20 && !t.Failed(); i++ {
		p.Close()
		p = w.plane()
		unsynced := table(nil)
		unsynced.Synced = false
		w.apply(p, unsynced) // a process that has not read everything yet
		w.apply(p, want)
		list := []string{"10.244.0.2:8080", "10.244.0.3:8080"}[i%2 : i%2+1]
		w.apply(p, table(map[lb.Frontend]*lb.Entry{f: {Choice: choiceOf(list...)}}))
		w.apply(p, want)
		if a := talk(open, long); a.err != nil {
			t.Fatal(a.err)
		}
	}
	close(stop)
	<-stopped
}

// TestUnsynced expects nothing to be removed for being absent from a Table that
// may lack objects.
func TestUnsynced(t *testing.T) {
	w := newWorld(t, 0)
	p := w.plane()
	one, two := frontendOf("10.96.0.1:80", desired.TCP), frontendOf("10.96.0.2:80", desired.TCP)
	w.apply(p, table(map[lb.Frontend]*lb.Entry{one: {Choice: choiceOf("10.244.0.1:80")}}))
	later := table(map[lb.Frontend]*lb.Entry{two: {Choice: choiceOf("10.244.0.2:80")}})
	later.Synced = false
	for synced, want := range []int{2, 1} {
		later.Synced = synced == 1
		w.apply(p, later)
		if got, err := p.Dump(); err != nil || len(got) != want {
			t.Errorf("synced %t: %d frontends, %v", later.Synced, len(got), err)
		}
	}
}

// TestOthersFlush removes rules as firewalls do: they must come back by
// themselves, and be right at the next Apply in any case.
func TestOthersFlush(t *testing.T) {
	w := newWorld(t, 2)
	w.serve(w.pods[2], desired.TCP, "10.244.0.2:8080")
	f, other := frontendOf("10.96.0.1:80", desired.TCP), frontendOf("10.96.0.2:80", desired.TCP)
	entry := &lb.Entry{Choice: choiceOf("10.244.0.2:8080")}
	want := table(map[lb.Frontend]*lb.Entry{f: entry})
	more := table(map[lb.Frontend]*lb.Entry{f: entry, other: entry})
	p := w.plane()
	w.apply(p, want)
	for _, flush := range []string{
		"flush ruleset", "delete table inet fairlead", "flush table inet fairlead", "flush chain inet fairlead inside4",
		"delete table inet fairlead; add table inet fairlead", "add rule inet fairlead inside4 drop",
	} {
		w.nft(flush)
		eventually(t, func() error { return w.ask(w.pods[1], desired.TCP, "10.96.0.1:80", patience).err })
		w.nft(flush)
		w.apply(p, more)
		for _, to := range []string{"10.96.0.1:80", "10.96.0.2:80"} {
			if got := w.ask(w.pods[1], desired.TCP, to, long); got.err != nil {
				t.Errorf("after %q and an Apply, %s: %v", flush, to, got.err)
			}
		}
		w.apply(p, want)
	}
	// Others may change tables of their own as often as they like.
	for i := range 20 {
		w.nft("add table inet other; flush table inet other")
		w.apply(p, []lb.Table{want, more}[i%2])
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	restored := p.restored
	w.nft("add table inet other; add chain inet other c")
	if err := p.look(); err != nil || !p.written || p.restored != restored {
		t.Errorf("another table changed: %v, restored %d times", err, p.restored-restored)
	}
}

// TestStrangeElements puts elements into the maps by another's hand, in the way of
// what Apply wants to write.
func TestStrangeElements(t *testing.T) {
	w := newWorld(t, 2)
	w.serve(w.pods[2], desired.TCP, "10.244.0.2:8080")
	f, other := frontendOf("10.96.0.1:80", desired.TCP), frontendOf("10.96.0.2:80", desired.TCP)
	entry := &lb.Entry{Choice: choiceOf("10.244.0.2:8080")}
	p := w.plane()
	w.apply(p, table(map[lb.Frontend]*lb.Entry{f: entry}))
	w.nft("add element inet fairlead inside4 { 10.96.0.2 . tcp . 80 : 0 . 0 . 0 }")
	w.apply(p, table(map[lb.Frontend]*lb.Entry{f: entry, other: entry}))
	w.nft("delete element inet fairlead backends4 { 10.96.0.1 . tcp . 80 . 0 }")
	w.apply(p, table(map[lb.Frontend]*lb.Entry{other: entry}))
	if got, err := p.Dump(); err != nil || len(got) != 1 {
		t.Errorf("%d frontends, %v", len(got), err)
	}
	if got := w.ask(w.pods[1], desired.TCP, "10.96.0.2:80", long); got.err != nil {
		t.Error(got.err)
	}
}

// TestRefused gives the plane Entries that it or the kernel cannot take: the
// others must be written, and the error must name them.
func TestRefused(t *testing.T) {
	w := newWorld(t, 0)
	p := w.plane()
	good := &lb.Entry{Choice: choiceOf("10.244.0.2:8080")}
	bad := &lb.Entry{Choice: choiceOf("[fd00::1]:8080")}
	entries := map[lb.Frontend]*lb.Entry{frontendOf("10.96.0.9:80", desired.TCP): bad}
	for i := range 3000 {
		entries[lb.Frontend{Address: netip.AddrFrom4([4]byte{10, 96, byte(i >> 8), byte(i)}), Port: 1000, Protocol: desired.TCP}] = good
	}
	odd := frontendOf("10.96.0.8:80", desired.TCP)
	entries[odd] = &lb.Entry{Choice: choiceOf("10.244.0.2:8080")}
	p.mu.Lock()
	p.spoil = func(x *element) {
		if x.set == "inside4" && string(x.key) == string(frontendKey(odd)) {
			x.key = x.key[:4] // no key of this map has 4 bytes
		}
	}
	p.mu.Unlock()
	for round := range 3 {
		err := p.Apply(t.Context(), table(entries))
		if err == nil {
			t.Fatal("no error")
		}
		if !reconcile.IsPartial(err) {
			t.Errorf("round %d: an error that concerns more than parts: %v", round, err)
		}
		for _, name := range []string{"10.96.0.9:80", "10.96.0.8:80"} {
			if !strings.Contains(err.Error(), name) {
				t.Errorf("round %d: the error does not name %s: %v", round, name, err)
			}
		}
		if got, err := p.Dump(); err != nil || len(got) != 3000+round {
			t.Errorf("round %d: %d frontends, %v", round, len(got), err)
		}
		entries[lb.Frontend{Address: netip.AddrFrom4([4]byte{10, 97, 0, byte(round)}), Port: 1000, Protocol: desired.TCP}] = good
	}
	// While the plane is at work in the background, that is all it says.
	lines := p.Describe()
	for start := time.Now(); len(lines) < 2 && time.Since(start) < 10*time.Second; lines = p.Describe() {
		time.Sleep(time.Millisecond)
	}
	if len(lines) < 2 {
		t.Errorf("Describe says only %q", lines)
	}
	p.mu.Lock()
	p.spoil = nil
	p.mu.Unlock()
	delete(entries, frontendOf("10.96.0.9:80", desired.TCP))
	w.apply(p, table(entries))
	if got, err := p.Dump(); err != nil || len(got) != len(entries) {
		t.Errorf("%d frontends, want %d: %v", len(got), len(entries), err)
	}
}

// TestClosed expects no method to hang or crash after Close.
func TestClosed(t *testing.T) {
	w := newWorld(t, 0)
	p := w.plane()
	p.Close()
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	if err := p.Apply(t.Context(), table(nil)); !errors.Is(err, os.ErrClosed) {
		t.Error(err)
	}
	if _, err := p.Dump(); !errors.Is(err, os.ErrClosed) {
		t.Error(err)
	}
	p.Describe()
}

// TestBusy asks a Plane that hangs in an Apply, which must not wait.
func TestBusy(t *testing.T) {
	w := newWorld(t, 0)
	p := w.plane()
	w.apply(p, table(nil))
	before := p.Describe()
	p.mu.Lock()
	defer p.mu.Unlock()
	lines := p.Describe()
	if len(lines) != len(before)+1 || lines[0] != before[0] || !strings.HasPrefix(lines[len(lines)-1], "busy: ") {
		t.Errorf("%q, and without an Apply %q", lines, before)
	}
	p.dropped.Store(7)
	if n, err := p.InvalidDropped(); n != 7 || err != nil {
		t.Errorf("%d dropped, %v; want what was last known", n, err)
	}
}

// TestLiberal lets invalid packets pass where the sysctl is yet to be set.
func TestLiberal(t *testing.T) {
	w := newWorld(t, 0)
	p := w.planeWith(func(c *Config) { c.Liberal = true })
	w.apply(p, table(nil))
	if lines := strings.Join(p.Describe(), "\n"); !strings.Contains(lines, "calls invalid pass, as lb.conntrack.tcpBeLiberal is set") {
		t.Error(lines)
	}
	if p.dropInvalid {
		t.Error("invalid packets are dropped")
	}
}

// TestInvalid expects packets that belong to no connection not to pass the node,
// and to be counted.
func TestInvalid(t *testing.T) {
	w := newWorld(t, 2)
	p := w.plane()
	w.apply(p, table(nil))
	w.in(w.pods[1], func() error { return sendRaw(desired.TCP, "10.244.0.2", tcpNonsense(40000, 80)) })
	eventually(t, func() error {
		if n, err := p.InvalidDropped(); err != nil || n == 0 {
			return errors.Join(fmt.Errorf("%d packets counted", n), err)
		}
		return nil
	})
}

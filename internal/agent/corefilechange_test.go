package agent

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	wire "github.com/miekg/dns"

	"github.com/fairlead-net/fairlead/internal/config"
	"github.com/fairlead-net/fairlead/internal/kube"
)

// hostCorefile names a host: which Corefile counts is told by its address and its TTL.
const hostCorefile = `.:53 {
    kubernetes cluster.local {
       ttl TTL
    }
    hosts {
       192.0.2.TTL corefile.test
       ttl TTL
       fallthrough
    }
}
`

// follower is a process that follows a Corefile, without an API server.
type follower struct {
	*Agent
	t    *testing.T
	file string
	at   string
}

// startFollower runs one with a Corefile in which words are replaced.
func startFollower(t *testing.T, words ...string) *follower {
	t.Helper()
	at := freeAddress(t)
	c := writeCorefile(t, map[string]string{"Corefile": strings.NewReplacer(words...).Replace(hostCorefile)})
	a := bare(t, Options{Planes: []string{"dns"}})
	a.base, a.renewed = c, make(chan struct{}, 1)
	a.base.DNS.Listen = []netip.AddrPort{at}
	var err error
	a.corefile, err = a.options.Kept.followKept(a.base)
	if err != nil {
		t.Fatal(err)
	}
	a.options.Config = a.corefile.config
	p, err := a.newDNS()
	if err != nil {
		t.Fatal(err)
	}
	a.pipelines = []pipeline{p}
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { _ = p.run(ctx) })
	running.Go(func() { _ = a.build(ctx, make(chan kube.View)) })
	t.Cleanup(func() { cancel(); running.Wait() })
	return &follower{Agent: a, t: t, file: c.DNS.Corefile, at: at.String()}
}

// write replaces the Corefile as the kubelet does, at once.
func (f *follower) write(text string, words ...string) {
	f.t.Helper()
	next := filepath.Join(filepath.Dir(f.file), "next")
	if err := os.WriteFile(next, []byte(strings.NewReplacer(words...).Replace(text)), 0o600); err != nil {
		f.t.Fatal(err)
	}
	if err := os.Rename(next, f.file); err != nil {
		f.t.Fatal(err)
	}
}

func (f *follower) ask(name string, qtype uint16) (*wire.Msg, error) {
	reply, _, err := new(wire.Client).Exchange(new(wire.Msg).SetQuestion(name, qtype), f.at)
	return reply, err
}

// host returns which Corefile counts, and why none seems to.
func (f *follower) host() (string, error) {
	reply, err := f.ask("corefile.test.", wire.TypeA)
	if err != nil || len(reply.Answer) != 1 {
		return "", errors.Join(err, errors.New(reply.String()))
	}
	rr := reply.Answer[0].(*wire.A)
	if rr.Hdr.Ttl != uint32(rr.A.To4()[3]) {
		return "", errors.New("address and TTL of several Corefiles: " + rr.String())
	}
	return rr.A.String(), nil
}

// becomes waits until a Corefile counts.
func (f *follower) becomes(want string) {
	f.t.Helper()
	got, err := "", error(nil)
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if got, err = f.host(); got == want {
			return
		}
	}
	f.t.Fatalf("%s, not %s: %v", got, want, err)
}

// metric returns the sum of a metric's values, and the label value of its last one.
func (f *follower) metric(name string) (sum float64, value string) {
	f.t.Helper()
	families, err := f.registry.Gather()
	if err != nil {
		f.t.Fatal(err)
	}
	for _, family := range families {
		for _, m := range family.GetMetric() {
			if family.GetName() == name {
				sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
				for _, l := range m.GetLabel() {
					value = l.GetValue()
				}
			}
		}
	}
	return sum, value
}

// TestCorefileInPlace changes a Corefile a hundred times under load: every query is
// answered by one Corefile, and what the cluster's zone says follows.
func TestCorefileInPlace(t *testing.T) {
	f := startFollower(t, "TTL", "1")
	f.becomes("192.0.2.1")
	before := f.naming.Load()
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	var asked atomic.Int64
	for range 2 {
		all.Go(func() {
			for ctx.Err() == nil {
				if got, err := f.host(); err != nil {
					t.Errorf("%s: %v", got, err)
					cancel()
				}
				asked.Add(1)
			}
		})
	}
	last := "1"
	for n := 2; n <= 100 && ctx.Err() == nil; n++ {
		last = []string{"7", "8", "9"}[n%3]
		f.write(hostCorefile, "TTL", last)
		if f.takeCorefile() {
			t.Fatal("it takes a new Agent")
		}
		for then := asked.Load(); asked.Load() == then && ctx.Err() == nil; time.Sleep(50 * time.Microsecond) {
		}
	}
	cancel()
	all.Wait()
	f.becomes("192.0.2." + last)
	if reply, err := f.ask("cluster.local.", wire.TypeSOA); err != nil || len(reply.Answer) != 1 || reply.Answer[0].Header().Ttl != f.naming.Load().zone.TTL {
		t.Errorf("%v, %v", reply, err)
	}
	if serial := f.naming.Load().zone.Serial; serial != before.zone.Serial+99 {
		t.Errorf("the serial number was %d and is %d", before.zone.Serial, serial)
	}
	if changes, _ := f.metric("fairlead_dns_reload_total"); changes != 99 {
		t.Errorf("%v changes counted", changes)
	}
	t.Logf("%d queries", asked.Load())
}

// TestCorefileGoesBad: a Corefile that cannot be followed leaves the last one in force, is
// named once, counted once, and forgotten as soon as it is mended or changed back.
func TestCorefileGoesBad(t *testing.T) {
	f := startFollower(t, "TTL", "1")
	f.becomes("192.0.2.1")
	_, hash := f.metric("coredns_reload_version_info")
	expect := func(when, host, problem string, failures float64) {
		t.Helper()
		f.becomes(host)
		if got := strings.Join(f.Status().Problems, "\n"); problem == "" && got != "" || !strings.Contains(got, problem) {
			t.Errorf("%s: problems %q, want %q", when, got, problem)
		}
		if notes := strings.Join(f.Status().Planes[0].Notes, "\n"); !strings.Contains(notes, "follows "+f.file) {
			t.Errorf("%s: notes %q", when, notes)
		}
		if got, _ := f.metric("coredns_reload_failed_total"); got != failures {
			t.Errorf("%s: %v failures counted, want %v", when, got, failures)
		}
	}
	for range 3 {
		f.write(hostCorefile+"oops {\n", "TTL", "2")
		if f.takeCorefile() {
			t.Error("a bad Corefile is taken")
		}
		expect("bad", "192.0.2.1", "what was in force before stays", 1)
	}
	if _, now := f.metric("coredns_reload_version_info"); now != hash || hash == "" {
		t.Errorf("the hash was %s and is %s", hash, now)
	}
	f.write(hostCorefile, "TTL", "1")
	f.takeCorefile()
	expect("changed back", "192.0.2.1", "", 1)
	f.write(hostCorefile, "TTL", "2", "ttl", "tll")
	f.takeCorefile()
	expect("bad again", "192.0.2.1", "tll", 2)
	f.write(hostCorefile, "TTL", "3")
	f.takeCorefile()
	expect("mended", "192.0.2.3", "", 2)
	if sum, now := f.metric("coredns_reload_version_info"); now == hash || sum != 1 {
		t.Errorf("%v hashes, %s after %s", sum, now, hash)
	}
	if err := os.Remove(f.file); err != nil {
		t.Fatal(err)
	}
	if f.takeCorefile() || f.corefile.inForce() || f.naming.Load().notes != nil {
		t.Error("a Corefile that is gone is followed")
	}
}

// TestCorefileAnew: what is read of the cluster and where is listened takes a new Agent,
// and nothing changes before.
func TestCorefileAnew(t *testing.T) {
	f := startFollower(t, "TTL", "1")
	f.becomes("192.0.2.1")
	for _, text := range []string{
		strings.Replace(hostCorefile, "ttl TTL", "ttl TTL\n noendpoints", 1),
		strings.Replace(hostCorefile, "ttl TTL", "ttl TTL\n labels team=a", 1),
		strings.Replace(hostCorefile, "    hosts", "    prometheus :9253\n    hosts", 1),
	} {
		f.write(text, "TTL", "2")
		for range 2 {
			if !f.takeCorefile() {
				t.Errorf("taken by a running server:\n%s", text)
			}
		}
		f.becomes("192.0.2.1")
	}
	f.write(hostCorefile, "TTL", "2")
	if f.takeCorefile() {
		t.Error("the rules alone take a new Agent")
	}
	f.becomes("192.0.2.2")
}

// TestCorefileKept: when a process begins anew with a Corefile that has gone bad, the last
// good one stays in force, with the files that it names, by the new configuration.
func TestCorefileKept(t *testing.T) {
	c := writeCorefile(t, map[string]string{
		"Corefile":          ".:53 {\n kubernetes cluster.local {\n ttl 17\n }\n hosts extra\n import custom/*.override\n}",
		"extra":             "192.0.2.1 corefile.test",
		"custom/a.override": "forward . 192.0.2.53",
	})
	kept := NewKept()
	good, err := kept.followKept(c)
	if err != nil || !good.inForce() {
		t.Fatal(err)
	}
	for _, name := range []string{"extra", "custom/a.override"} {
		if err := os.Remove(filepath.Join(filepath.Dir(c.DNS.Corefile), name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(c.DNS.Corefile, []byte("oops {"), 0o600); err != nil {
		t.Fatal(err)
	}
	c.DNS.CountNames, c.LogLevel = true, "debug"
	for range 2 {
		again, err := kept.followKept(c)
		if err == nil || !again.inForce() || again.read != good.read || again.config.DNS.TTL != 17 || !again.config.DNS.CountNames || again.config.LogLevel != "debug" ||
			len(again.config.DNS.Upstreams) != 1 || again.config.DNS.Upstreams[0].String() != "192.0.2.53:53" || again.blocks[0].Rules.Empty() {
			t.Errorf("%+v, %v", again, err)
		}
	}
	if other, err := NewKept().followKept(c); err == nil || other.inForce() || other.config.DNS.TTL != config.Default().DNS.TTL {
		t.Errorf("nothing was kept: %+v, %v", other.config.DNS, err)
	}
	elsewhere := c
	elsewhere.DNS.Corefile = filepath.Join(t.TempDir(), "Corefile")
	if other, err := kept.followKept(elsewhere); err != nil || other.inForce() {
		t.Errorf("another file: %+v, %v", other, err)
	}
}

// TestWatchCorefile: a change that takes a new Agent comes to pass within the time over
// which nodes spread it, and one that has gone meanwhile does not.
func TestWatchCorefile(t *testing.T) {
	c := writeCorefile(t, map[string]string{"Corefile": strings.ReplaceAll(hostCorefile, "TTL", "1"), "fairlead.yaml": ""})
	a := bare(t, Options{Planes: []string{"dns"}, ConfigFile: filepath.Join(filepath.Dir(c.DNS.Corefile), "fairlead.yaml")})
	a.base = c
	var err error
	if a.corefile, err = a.options.Kept.followKept(c); err != nil {
		t.Fatal(err)
	}
	write := func(text string) {
		if err := os.WriteFile(c.DNS.Corefile, []byte(strings.ReplaceAll(text, "TTL", "1")), 0o600); err != nil {
			t.Error(err)
		}
	}
	watched := strings.Replace(hostCorefile, "ttl TTL", "ttl TTL\n noendpoints", 1)
	synctest.Test(t, func(t *testing.T) {
		result := make(chan error, 1)
		began := time.Now()
		go func() { result <- a.watchConfig(t.Context()) }()
		time.Sleep(configPeriod - time.Millisecond)
		write(watched)
		time.Sleep(time.Millisecond + time.Nanosecond)
		synctest.Wait()
		write(hostCorefile)
		time.Sleep(2 * (configPeriod + changeSpread))
		synctest.Wait()
		if len(result) > 0 {
			t.Fatalf("changed back: %v", <-result)
		}
		write(watched)
		if err := <-result; !errors.Is(err, ErrConfigChanged) || time.Since(began) > 4*(configPeriod+changeSpread) {
			t.Errorf("%v after %s", err, time.Since(began))
		}
	})
}

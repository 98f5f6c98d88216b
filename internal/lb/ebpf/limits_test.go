package ebpf

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fairlead-net/fairlead/internal/desired"
	"github.com/fairlead-net/fairlead/internal/lb"
	"github.com/fairlead-net/fairlead/internal/lb/pin"
	"github.com/fairlead-net/fairlead/internal/pmap"
	"github.com/fairlead-net/fairlead/internal/reconcile"
)

// many makes n frontends with two backends each.
func many(n int) lb.Table {
	e := pmap.Map[lb.Frontend, *lb.Entry]{}.Edit()
	for i := range n {
		e.Set(numbered(i), numberedEntry(i, 0))
	}
	return lb.Table{Revision: 1, Synced: true, Entries: e.Map()}
}

func numbered(i int) lb.Frontend {
	return lb.Frontend{Address: netip.AddrFrom4([4]byte{10, 100, byte(i >> 8), byte(i)}), Port: uint16(80 + i>>16), Protocol: desired.TCP}
}

func numberedEntry(i, version int) *lb.Entry {
	pod := func(n byte) netip.AddrPort {
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 200 + n, byte(i >> 8), byte(i)}), uint16(8000+version%1000))
	}
	return &lb.Entry{Backends: []netip.AddrPort{pod(0), pod(1)}}
}

// TestFull fills a map and expects a message that names it and the setting, all
// other Services to work, and the failed one to be written once there is room.
func TestFull(t *testing.T) {
	for name, sizes := range map[string]Sizes{
		"frontends": {Frontends: 10},
		"backends":  {Backends: 20},
		"members":   {Members: 1},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			config := w.config()
			config.Sizes = sizes
			p := w.planeOf(config)
			w.apply(p, many(9))
			want := many(9).Entries
			stuck := frontend("10.96.0.1:80", desired.TCP)
			want = want.Set(stuck, &lb.Entry{Backends: addrPorts("10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80"), Affinity: time.Hour})
			want = want.Set(frontend("10.96.0.2:80", desired.TCP), &lb.Entry{})
			want = want.Set(frontend("10.96.0.3:80", desired.TCP), &lb.Entry{Drop: true})
			err := p.Apply(context.Background(), lb.Table{Synced: true, Entries: want})
			if !errors.Is(err, unix.E2BIG) || !strings.Contains(err.Error(), "raise lb.max"+map[string]string{"frontends": "Frontends", "backends": "Backends", "members": "Backends"}[name]) {
				t.Fatalf("error %q, want one that names map %s and its setting", err, name)
			}
			if !reconcile.IsPartial(err) {
				t.Errorf("what finds no room is to concern a part: %v", err)
			}
			got, err := p.Dump()
			if err != nil || len(got) < 10 {
				t.Errorf("%d frontends in the kernel, want all that fit (%v)", len(got), err)
			}
			if lines := strings.Join(p.Describe(), "\n"); !strings.Contains(lines, "wait to be written") {
				t.Errorf("described as %q", lines)
			}
			room := map[lb.Frontend]*lb.Entry{}
			if name == "members" {
				want = want.Set(stuck, &lb.Entry{Backends: addrPorts("10.0.0.1:80"), Affinity: time.Hour})
			} else {
				for i := range 9 {
					want = want.Delete(numbered(i))
				}
			}
			for f, e := range want.All() {
				room[f] = e
			}
			// Removals make room at the end of a round, so the retry is what fits.
			if err := p.Apply(context.Background(), table(room)); err != nil {
				w.apply(p, table(room))
			}
			w.holds(p, room)
		})
	}
}

// TestTooSmall restarts with maps that are too small for what the old ones
// hold, and expects one retry and then to go on with what fits.
func TestTooSmall(t *testing.T) {
	w := newWorld(t)
	p := w.plane()
	w.apply(p, many(20))
	p.Close()
	config := w.config()
	config.Sizes.Frontends = 10
	p = w.planeOf(config)
	for _, serving := range []int{20, 10} {
		if err := p.Apply(context.Background(), many(20)); !errors.Is(err, unix.E2BIG) || !reconcile.IsPartial(err) {
			t.Fatalf("error %v, want one of a full map", err)
		}
		reader, err := Open(config.Directory)
		if err != nil {
			t.Fatal(err)
		}
		got, err := reader.Dump()
		reader.Close()
		if err != nil || len(got) != serving {
			t.Errorf("%d frontends serve, want %d (%v)", len(got), serving, err)
		}
	}
}

// TestBusy asks a Plane that hangs in an Apply, which must not wait.
func TestBusy(t *testing.T) {
	w := newWorld(t)
	p := w.plane()
	w.apply(p, many(2))
	before := p.Describe()
	p.mu.Lock()
	defer p.mu.Unlock()
	if lines := p.Describe(); len(lines) != len(before)+1 || lines[0] != before[0] || !strings.HasPrefix(lines[len(lines)-1], "busy: ") {
		t.Errorf("%q, and without an Apply %q", lines, before)
	}
}

// TestLoad applies 50,000 Services at once, restarts, and changes one.
func TestLoad(t *testing.T) {
	w := newWorld(t)
	p := w.plane()
	want := many(50_000)
	start := time.Now()
	w.apply(p, want)
	t.Logf("50,000 frontends in %s", time.Since(start))
	p.Close()
	start = time.Now()
	p = w.plane()
	w.apply(p, want)
	t.Logf("adopted in %s", time.Since(start))
	want.Entries = want.Entries.Set(numbered(777), numberedEntry(777, 1))
	w.apply(p, want)
	if e, found, err := p.Lookup(numbered(777)); err != nil || !found || !alike(e, numberedEntry(777, 1)) {
		t.Errorf("%+v, %t, %v", e, found, err)
	}
	if n := count(t, p, socketMapBackends); n != 100_000 {
		t.Errorf("%d backends, want 100,000", n)
	}
	w.apply(p, table(nil))
	w.isEmpty(p)
}

// TestMissing expects words that say what to do.
func TestMissing(t *testing.T) {
	w := newWorld(t)
	plain := t.TempDir()
	held := w.plane()
	defer held.Close()
	tests := map[string]struct {
		change func(*Config)
		want   string
	}{
		"no bpffs":       {func(c *Config) { c.Directory = filepath.Join(plain, "fairlead") }, "mount -t bpf"},
		"no cgroup2":     {func(c *Config) { c.Cgroup = plain }, "mount -t cgroup2"},
		"absent cgroup":  {func(c *Config) { c.Cgroup = filepath.Join(plain, "absent") }, "is not a cgroup2 directory"},
		"second process": {func(*Config) {}, "another process"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			config := w.config()
			test.change(&config)
			p, err := New(config)
			if err == nil {
				p.Close()
			}
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want one with %q", err, test.want)
			}
		})
	}
}

// TestTampered starts on pinned maps that somebody damaged.
func TestTampered(t *testing.T) {
	damages := map[string]func(p *Plane, folder string) error{
		"a slot is gone": func(p *Plane, _ string) error {
			return p.maps[socketMapBackends].Delete(socketSlot{List: p.known[frontend("10.96.0.1:80", desired.TCP)].list})
		},
		"an absurd count": func(p *Plane, _ string) error {
			return p.maps[socketMapFrontends].Put(keyOf(frontend("10.96.0.1:80", desired.TCP)), socketFrontend{List: 1 << 40, Count: 1<<32 - 1})
		},
		"a map is gone": func(_ *Plane, folder string) error { return os.Remove(filepath.Join(folder, socketMapMembers)) },
		"a map is another": func(_ *Plane, folder string) error {
			if err := os.Remove(filepath.Join(folder, socketMapMembers)); err != nil {
				return err
			}
			return os.Rename(filepath.Join(folder, socketMapFrontends), filepath.Join(folder, socketMapMembers))
		},
	}
	for name, damage := range damages {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			p := w.plane()
			w.apply(p, table(services()))
			if err := damage(p, filepath.Join(p.config.Directory, p.folder)); err != nil {
				t.Fatal(err)
			}
			p.Close()
			p = w.plane()
			w.apply(p, table(services()))
			w.holds(p, services())
			if folders := pin.Folders(p.config.Directory); len(folders) != 1 {
				t.Errorf("folders %v, want one", folders)
			}
		})
	}
}

// TestCgroupMount reads tables of mounts as hosts and containers show them.
func TestCgroupMount(t *testing.T) {
	const unified = `30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate`
	const hybrid = `31 23 0:27 / /sys/fs/cgroup ro shared:9 - tmpfs tmpfs ro,mode=755
32 31 0:28 / /sys/fs/cgroup/unified rw shared:10 - cgroup2 cgroup2 rw
33 31 0:29 / /sys/fs/cgroup/cpu rw shared:11 - cgroup cgroup rw,cpu`
	const container = `40 39 0:26 /kubepods/pod1 /sys/fs/cgroup ro - cgroup2 cgroup rw
41 39 0:26 / /host/cgroup rw - cgroup2 cgroup2 rw
42 39 0:26 / /host/with\040space rw - cgroup2 cgroup2 rw`
	for _, test := range []struct{ mounts, below, want string }{
		{unified, "/", "/sys/fs/cgroup"},
		{hybrid, "/", "/sys/fs/cgroup/unified"},
		{container, "/host/cgroup", "/host/cgroup"},
		{container, "/host/with space", "/host/with space"},
		{container, "/hos", ""},
		{"", "/", ""},
		{fmt.Sprintf("nonsense\n%s\n- - -", hybrid), "/sys", "/sys/fs/cgroup/unified"},
	} {
		if got := cgroupMount(strings.NewReader(test.mounts), test.below); got != test.want {
			t.Errorf("below %s of\n%s\nis %q, want %q", test.below, test.mounts, got, test.want)
		}
	}
}

// FuzzCgroupMount expects any table of mounts to be read without harm.
func FuzzCgroupMount(f *testing.F) {
	f.Add("30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw", "/")
	f.Fuzz(func(t *testing.T, mounts, below string) {
		if got := cgroupMount(strings.NewReader(mounts), below); got != "" && !strings.Contains(mounts, "cgroup2") {
			t.Errorf("found %q", got)
		}
	})
}

// FuzzEndpoint expects what is read back from a map to be what was written, and
// any bytes to be read without harm.
func FuzzEndpoint(f *testing.F) {
	f.Add(uint32(0), uint32(0), uint32(0xffff0000), uint32(0x0100600a), uint16(0x5000), uint8(6))
	f.Fuzz(func(t *testing.T, a, b, c, d uint32, port uint16, protocol uint8) {
		e := socketEndpoint{Address: [4]uint32{a, b, c, d}, Port: port, Protocol: protocol}
		if got := keyOf(e.frontend()); got != e {
			t.Errorf("%+v became %+v by way of %s", e, got, e.frontend())
		}
	})
}

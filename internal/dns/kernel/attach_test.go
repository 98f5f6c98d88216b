package kernel

import (
	"errors"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// newNamespaces makes two network namespaces and leaves the test's goroutine in the
// first; it returns the other one.
func newNamespaces(t *testing.T) netns.NsHandle {
	t.Helper()
	runtime.LockOSThread() // and never unlock it: the thread ends with the test
	other, err := netns.New()
	if err != nil {
		t.Fatalf("network namespaces need root: %v", err)
	}
	if _, err := netns.New(); err != nil {
		t.Fatal(err)
	}
	return other
}

func newPlane(t *testing.T) *Plane {
	t.Helper()
	p, err := New(Config{})
	if err != nil {
		t.Fatalf("these tests load a BPF program, which needs root and Linux 6.6: %v", err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

// add makes an interface, and returns its index.
func add(t *testing.T, l netlink.Link) int {
	t.Helper()
	if err := netlink.LinkAdd(l); err != nil {
		t.Fatal(err)
	}
	made, err := netlink.LinkByName(l.Attrs().Name)
	if err != nil {
		t.Fatal(err)
	}
	return made.Attrs().Index
}

func named(name string) netlink.LinkAttrs {
	attributes := netlink.NewLinkAttrs()
	attributes.Name = name
	return attributes
}

func look(t *testing.T, p *Plane) {
	t.Helper()
	if err := p.refresh(); err != nil {
		t.Fatal(err)
	}
}

// fill puts programs on an interface until it takes no more.
func fill(t *testing.T, index int) []link.Link {
	t.Helper()
	spec := &ebpf.ProgramSpec{Type: ebpf.SchedCLS, License: "Dual BSD/GPL", Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, -1), asm.Return()}}
	var taken []link.Link
	for { // each program at most once on an interface
		program, err := ebpf.NewProgram(spec)
		if err != nil {
			t.Fatal(err)
		}
		l, err := link.AttachTCX(link.TCXOptions{Interface: index, Program: program, Attach: ebpf.AttachTCXIngress})
		program.Close()
		if errors.Is(err, unix.ERANGE) {
			return taken
		}
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close() })
		taken = append(taken, l)
	}
}

// TestRefused puts the program on an interface that does not take it at first. It
// must be asked again, more and more rarely, until it does.
func TestRefused(t *testing.T) {
	newNamespaces(t)
	index := add(t, &netlink.Bridge{LinkAttrs: named("busy")})
	good := add(t, &netlink.Bridge{LinkAttrs: named("good")})
	taken := fill(t, index)
	p := newPlane(t)
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	if _, ok := p.links[good]; !ok || len(p.links) != 1 {
		t.Fatalf("it is on %v, want the other interface", p.links)
	}
	var pauses []int
	for range 200 {
		r := p.refused[index]
		if r == nil {
			t.Fatalf("it is on %v", p.links)
		}
		if r.left == r.pause {
			pauses = append(pauses, r.pause)
		}
		if text := strings.Join(p.Describe(), "\n"); !strings.Contains(text, "interface busy does not take the program, and is asked again (needs Linux 6.6") || !strings.Contains(text, unix.ERANGE.Error()) {
			t.Fatalf("nobody is told: %s", text)
		}
		look(t, p)
	}
	// 1+1, 2+1, 4+1, 8+1, 16+1 looks, then 33 each.
	if want := []int{1, 2, 4, 8, 16, 32, 32, 32, 32, 32}; len(pauses) < 8 || len(pauses) > len(want) || !slices.Equal(pauses, want[:len(pauses)]) {
		t.Errorf("pauses of %v looks", pauses)
	}
	if err := taken[0].Close(); err != nil {
		t.Fatal(err)
	}
	for range longest + 1 {
		look(t, p)
	}
	if text := strings.Join(p.Describe(), "\n"); p.refused[index] != nil || p.links[index].name != "busy" || strings.Contains(text, "does not take") {
		t.Errorf("it is not on an interface that would take it: %s", text)
	}
}

// TestPeer has interfaces of several kinds. The program that gives replies to the
// other end belongs where this is in another network namespace, and nowhere else.
func TestPeer(t *testing.T) {
	other := newNamespaces(t)
	away := add(t, &netlink.Veth{LinkAttrs: named("away"), PeerName: "far", PeerNamespace: netlink.NsFd(other)})
	here := add(t, &netlink.Veth{LinkAttrs: named("here"), PeerName: "near"})
	bridge := add(t, &netlink.Bridge{LinkAttrs: named("bridge")})
	p := newPlane(t)
	expect := func(want map[int]bool) {
		t.Helper()
		look(t, p)
		for index, peer := range want {
			if got := on(t, index); got != id(t, p.programFor(peer)) {
				t.Errorf("interface %d has program %d; its other end is away: %t", index, got, peer)
			}
		}
	}
	expect(map[int]bool{away: true, here: false, bridge: false})
	near, err := netlink.LinkByName("near")
	if err != nil {
		t.Fatal(err)
	}
	if err := netlink.LinkSetNsFd(near, int(other)); err != nil {
		t.Fatal(err)
	}
	expect(map[int]bool{away: true, here: true, bridge: false})
}

// TestAnother has an interface that is another one by now, with the same index.
func TestAnother(t *testing.T) {
	newNamespaces(t)
	attributes := named("first")
	attributes.Index = 77
	add(t, &netlink.Bridge{LinkAttrs: attributes})
	p := newPlane(t)
	look(t, p)
	if err := netlink.LinkDel(&netlink.Bridge{LinkAttrs: attributes}); err != nil {
		t.Fatal(err)
	}
	attributes.Name = "second"
	add(t, &netlink.Bridge{LinkAttrs: attributes})
	look(t, p)
	if got := on(t, 77); got != id(t, p.program) || p.links[77].name != "second" {
		t.Errorf("program %d on it, and %v", got, p.links)
	}
}

// on returns the number of the one program on an interface, or 0.
func on(t *testing.T, index int) ebpf.ProgramID {
	t.Helper()
	found, err := link.QueryPrograms(link.QueryOptions{Target: index, Attach: ebpf.AttachTCXIngress})
	if err != nil {
		t.Fatal(err)
	}
	if len(found.Programs) != 1 {
		return 0
	}
	return found.Programs[0].ID
}

func id(t *testing.T, program *ebpf.Program) ebpf.ProgramID {
	t.Helper()
	info, err := program.Info()
	if err != nil {
		t.Fatal(err)
	}
	n, _ := info.ID()
	return n
}

package l2

import (
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// with calls f on a thread in the machine that has no privileges but these.
func (m machine) with(t *testing.T, f func(), capabilities ...uint) {
	t.Helper()
	m.in(t, func() {
		header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var all, few [2]unix.CapUserData
		must(t, unix.Capget(&header, &all[0]))
		few = all
		few[0].Effective, few[1].Effective = 0, 0
		for _, c := range capabilities {
			few[c/32].Effective |= 1 << (c % 32)
		}
		must(t, unix.Capset(&header, &few[0]))
		defer func() { must(t, unix.Capset(&header, &all[0])) }()
		f()
	})
}

// TestPrivileges does everything with the two capabilities that the package asks
// for, and without them says what it lacks.
func TestPrivileges(t *testing.T) {
	w := newWorld(t)
	node, poor := w.machine(), w.machine()
	client := w.machine("192.0.2.1/24", "fd00::1/64")
	p, q := node.plane(t), poor.plane(t)
	node.with(t, func() {
		gain(t, p, "192.0.2.50", "fd00::50")
		must(t, p.Apply(t.Context(), elsewhere("192.0.2.50", "eth0")))
		gain(t, p, "192.0.2.50", "fd00::50")
	}, unix.CAP_NET_RAW, unix.CAP_NET_ADMIN)
	client.reaches(t, "192.0.2.50", node.mac)
	client.reaches(t, "fd00::50", node.mac)

	const want = "interface eth0: open a packet socket: operation not permitted; the process needs CAP_NET_RAW"
	poor.with(t, func() {
		if err := q.Apply(t.Context(), elect("192.0.2.51")); err == nil || err.Error() != want {
			t.Errorf("Apply = %v", err)
		}
		if text := strings.Join(q.Describe(), "\n"); !strings.Contains(text, want) {
			t.Errorf("described as %s", text)
		}
	})
	must(t, q.Apply(t.Context(), elect("192.0.2.51"))) // with all privileges again
	client.reaches(t, "192.0.2.51", poor.mac)
}

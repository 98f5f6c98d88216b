package pin

import (
	"testing"

	"github.com/cilium/ebpf"
)

// TestFingerprint tells layouts apart whose inner maps differ alone.
func TestFingerprint(t *testing.T) {
	of := func(inner uint32) string {
		return Layout{Version: 1, Specs: map[string]*ebpf.MapSpec{"pages": {
			Type: ebpf.ArrayOfMaps, KeySize: 4, ValueSize: 4, MaxEntries: 8,
			InnerMap: &ebpf.MapSpec{Type: ebpf.Array, KeySize: 4, ValueSize: 4, MaxEntries: inner},
		}}}.fingerprint()
	}
	if a, again, b := of(16), of(16), of(32); a != again || a == b {
		t.Errorf("%s, %s, %s", a, again, b)
	}
}

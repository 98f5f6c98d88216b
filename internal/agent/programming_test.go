package agent

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/fairlead-net/fairlead/internal/desired"
	"github.com/fairlead-net/fairlead/internal/lb"
	"github.com/fairlead-net/fairlead/internal/reconcile"
)

type fakePlane struct{ err error }

func (p *fakePlane) Apply(context.Context, lb.Table) error { return p.err }
func (p *fakePlane) Close() error                          { return nil }

// samples returns how many times were measured for IPv4 and for IPv6.
func samples(t *testing.T, p *programming) (v4, v6 uint64) {
	t.Helper()
	registry := prometheus.NewRegistry()
	registry.MustRegister(p.proxy)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != "kubeproxy_network_programming_duration_seconds" {
			continue
		}
		for _, m := range f.GetMetric() {
			if m.GetLabel()[0].GetValue() == "IPv6" {
				v6 = m.GetHistogram().GetSampleCount()
			} else {
				v4 = m.GetHistogram().GetSampleCount()
			}
		}
	}
	return v4, v6
}

// TestProgramming times changes of EndpointSlices once they are applied, and
// nothing else: not the first list, not what carries an old time, not a failure.
func TestProgramming(t *testing.T) {
	p, plane := newProgramming(), &fakePlane{}
	measured := timed{plane, p}
	var before desired.Objects
	revision := uint64(0)
	step := func(name, trigger string, family discoveryv1.AddressType, synced bool) {
		t.Helper()
		now := before
		now.Synced = synced
		slice := &discoveryv1.EndpointSlice{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{discoveryv1.LabelServiceName: "shop"}, Annotations: map[string]string{corev1.EndpointsLastChangeTriggerTime: trigger}}, AddressType: family}
		now.Slices = now.Slices.Set(desired.Name{Namespace: "demo", Name: name}, desired.ParseSlice(slice))
		revision++
		p.note(revision, before, now)
		before = now
		_ = measured.Apply(t.Context(), lb.Table{Revision: revision})
	}
	expect := func(want4, want6 uint64) {
		t.Helper()
		if v4, v6 := samples(t, p); v4 != want4 || v6 != want6 {
			t.Errorf("%d and %d times, want %d and %d", v4, v6, want4, want6)
		}
	}
	first, second := time.Now().Add(-time.Minute).Format(time.RFC3339Nano), time.Now().Format(time.RFC3339Nano)
	step("a", first, discoveryv1.AddressTypeIPv4, false)
	step("b", first, discoveryv1.AddressTypeIPv4, true)
	expect(0, 0) // all of it may have been there before
	step("a", second, discoveryv1.AddressTypeIPv4, true)
	expect(1, 0)
	step("a", second, discoveryv1.AddressTypeIPv4, true)
	step("c", "yesterday", discoveryv1.AddressTypeIPv4, true)
	expect(1, 0)
	plane.err = errors.New("the kernel said no")
	step("d", second, discoveryv1.AddressTypeIPv6, true)
	expect(1, 0)
	plane.err = nil
	step("e", second, discoveryv1.AddressTypeIPv6, true)
	expect(1, 2)
	plane.err = reconcile.Partial(errors.New("one is refused"))
	step("f", second, discoveryv1.AddressTypeIPv4, true)
	expect(2, 2)
}

// TestPacketMetrics finds what nftables does with connections among the metrics.
func TestPacketMetrics(t *testing.T) {
	a := bare(t, Options{})
	plane, err := a.newPackets([2]uint16{})
	if err != nil {
		t.Fatal(err)
	}
	defer plane.Close()
	a.registry = prometheus.NewRegistry()
	a.registerMetrics()
	a.programming.looked(false, desired.UDP, time.Millisecond, 2)
	a.programming.looked(true, desired.TCP, time.Millisecond, 3)
	families, err := a.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			name := f.GetName()
			for _, l := range m.GetLabel() {
				name += " " + l.GetValue()
			}
			got[name] = m.GetCounter().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	for name, want := range map[string]float64{
		"kubeproxy_conntrack_reconciler_deleted_entries_total IPv4": 2,
		"kubeproxy_conntrack_reconciler_deleted_entries_total IPv6": 3,
		"kubeproxy_conntrack_reconciler_sync_duration_seconds IPv4": 1,
		"kubeproxy_conntrack_reconciler_sync_duration_seconds IPv6": 1,
		"kubeproxy_iptables_ct_state_invalid_dropped_packets_total": 0,
		"fairlead_state_synced": 0,
	} {
		if value, found := got[name]; !found || value != want {
			t.Errorf("%s is %v (%v), want %v", name, value, found, want)
		}
	}
}

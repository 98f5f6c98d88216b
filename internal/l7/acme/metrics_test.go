package acme

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// TestMetrics: of one certificate that is there and one that is refused.
func TestMetrics(t *testing.T) {
	in(t, func(t *testing.T) {
		w := newWorld(t)
		w.answer = func(want Want) (time.Duration, error) {
			if want.Secret.Name == "bad" {
				return 0, errors.New("no")
			}
			return 0, nil
		}
		w.Offer(testTable(asks("demo", "good", "good.example.com"), asks("demo", "bad", "bad.example.com")))
		time.Sleep(10 * time.Second)
		want := `fairlead_acme_certificates missing 1
fairlead_acme_certificates valid 1
fairlead_acme_orders_total interrupted 0
fairlead_acme_orders_total issued 1
fairlead_acme_orders_total refused 1
fairlead_acme_orders_total unavailable 0
`
		if got := gather(t, w.Manager); got != want {
			t.Errorf("%swant\n%s", got, want)
		}
		w.stop()
		if got := gather(t, w.Manager); strings.Contains(got, "acme_certificate") {
			t.Errorf("who does not lead says %s", got)
		}
	})
}

func gather(t *testing.T, c prometheus.Collector) string {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(c)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	for _, family := range families {
		for _, m := range family.Metric {
			out.WriteString(family.GetName())
			for _, l := range m.Label {
				out.WriteString(" " + l.GetValue())
			}
			fmt.Fprintf(&out, " %d\n", int64(m.GetGauge().GetValue()+m.GetCounter().GetValue()))
		}
	}
	return out.String()
}

package filter

import (
	"net/netip"
	"testing"
	"time"
)

// TestBucket holds how many of requests at certain times are let through: with a burst
// of 5 that is 6 at once, then one whenever the rate allows it.
func TestBucket(t *testing.T) {
	const second = int64(time.Second)
	var b Bucket
	for _, c := range []struct {
		at, requests, want int64
	}{{1, 20, 6}, {second / 2, 5, 0}, {second + second/100, 5, 1}, {3*second + second/50, 5, 2}, {60 * second, 20, 6}, {50 * second, 1, 0}} {
		got := int64(0)
		for range c.requests {
			if b.Take(c.at, 1000, 5) {
				got++
			}
		}
		if got != c.want {
			t.Errorf("%d of %d at %v, want %d", got, c.requests, time.Duration(c.at), c.want)
		}
	}
	if b.Empty(60*second, 1000) || !b.Empty(67*second, 1000) {
		t.Error("the bucket is empty too early or too late")
	}
}

func TestClient(t *testing.T) {
	for text, want := range map[string]string{"192.0.2.1": "192.0.2.1", "::ffff:192.0.2.1": "192.0.2.1", "2001:db8:1:2:3::4": "2001:db8:1:2::", "fe80::1%eth0": "fe80::"} {
		if got := Client(netip.MustParseAddr(text)); got != netip.MustParseAddr(want) {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
}

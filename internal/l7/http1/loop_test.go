package http1

import (
	"net/netip"
	"strings"
	"testing"
)

// TestLoop holds how often a request is seen to have been here, and that every upstream
// learns of once more, whatever a Route sets or a client has left out for the next hop.
func TestLoop(t *testing.T) {
	for fields, want := range map[string]struct {
		rounds int
		sent   string
	}{
		"":                       {0, "fairlead"},
		"CDN-Loop: fairlead\r\n": {1, "fairlead, fairlead"},
		"CDN-Loop: other;a=b,FairLead ; x=y\r\ncdn-loop:\r\ncdn-loop: fairlead\r\n": {2, "other;a=b,FairLead ; x=y, fairlead, fairlead"},
		"CDN-Loop: fairleads, a fairlead, a;fairlead\r\n":                           {0, "fairleads, a fairlead, a;fairlead, fairlead"},
		"Connection: cdn-loop\r\nCDN-Loop: fairlead\r\n":                            {1, "fairlead, fairlead"},
	} {
		var r Request
		if _, err := r.Parse([]byte("GET / HTTP/1.1\r\nHost: x\r\n"+fields+"\r\n"), &Limits{Line: 100, Head: 1000, Fields: 10}); err != nil {
			t.Fatal(fields, err)
		}
		r.Set(NewField("CDN-Loop", "nobody"))
		got := string(AppendRequest(nil, &r, NewHop(netip.MustParseAddr("192.0.2.1"), "http", 80, nil), new(Onward)))
		if r.Rounds != want.rounds || strings.Count(strings.ToLower(got), "cdn-loop:") != 1 || !strings.Contains(got, "\r\nCDN-Loop: "+want.sent+"\r\n") {
			t.Errorf("%q: %d rounds, %q", fields, r.Rounds, got)
		}
	}
}

// TestCertificateOfTrusted holds whose word about a client's certificate is passed on.
func TestCertificateOfTrusted(t *testing.T) {
	for peer, want := range map[string]bool{"192.0.2.1": true, "192.0.2.2": false} {
		var r Request
		if _, err := r.Parse([]byte("GET / HTTP/1.1\r\nHost: x\r\nssl-client-verify: SUCCESS\r\nssl_client_verify: SUCCESS\r\nssl-client-a_b: c\r\n\r\n"), &Limits{Line: 100, Head: 1000, Fields: 10}); err != nil {
			t.Fatal(err)
		}
		trusted := netip.MustParseAddr("192.0.2.1")
		hop := NewHop(netip.MustParseAddr(peer), "http", 80, func(a netip.Addr) bool { return a == trusted })
		got := string(AppendRequest(nil, &r, hop, new(Onward)))
		if strings.Contains(got, "\r\nssl-client-verify: SUCCESS\r\n") != want || strings.Contains(got, "_") {
			t.Errorf("%s: %q", peer, got)
		}
		if hop.PassesTrailer(&r, []byte("ssl-client-verify")) {
			t.Errorf("%s: a trailer is passed on", peer)
		}
	}
}

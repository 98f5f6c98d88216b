package agent

import (
	"fmt"
	"testing"
)

// TestAPIServers holds which addresses names of users do not lead to, and which port is
// for none of their requests.
func TestAPIServers(t *testing.T) {
	got := fmt.Sprint(apiServers([]string{"https://192.0.2.1:6443", "https://api.example.com", "https://[2001:db8::1]"}, "10.96.0.1"))
	if got != "[10.96.0.1/32 192.0.2.1/32 2001:db8::1/128]" {
		t.Error(got)
	}
	if got := apiServers(nil, ""); len(got) > 0 {
		t.Error(got)
	}
	for address, want := range map[string]string{":9153": "[9153]", "127.0.0.1:80": "[80]", "": "[]", ":0": "[]", "x": "[]"} {
		if got := fmt.Sprint(portOf(address)); got != want {
			t.Errorf("%q: %s", address, got)
		}
	}
}

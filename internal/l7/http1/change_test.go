package http1

import "testing"

// TestOwnValues holds that nothing in the value of a field of the proxy's own begins
// another field.
func TestOwnValues(t *testing.T) {
	const value, want = "CN=a\r\nX-Admin: 1\x00\x7f\tü", "CN=a  X-Admin: 1  \tü"
	var r Response
	r.Make(200, "OK")
	r.Add("Location", value)
	for _, f := range []Field{NewField("ssl-client-subject-dn", value), r.Fields[0]} {
		if string(f.Value) != want {
			t.Errorf("%s: %q, want %q", f.Name, f.Value, want)
		}
	}
}

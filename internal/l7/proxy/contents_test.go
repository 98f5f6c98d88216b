package proxy

import (
	"encoding/pem"
	"net/http"
	"strings"
	"testing"

	"github.com/fairlead-net/fairlead/internal/l7"
	"github.com/fairlead-net/fairlead/internal/l7/filter"
)

// TestBackendSecret holds that backends are verified by what the Secret of a Route has,
// and by nothing if that is not there.
func TestBackendSecret(t *testing.T) {
	up, certificate := serveTLS(t, func(http.ResponseWriter, *http.Request) {}, nil)
	ref := filter.Reference{Purpose: filter.BackendTLS, Namespace: "shop", Name: "ca"}
	content, problems := filter.Read(ref, map[string][]byte{"ca.crt": pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate.Raw})})
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	with := l7.UpstreamTLS{Verify: true, Name: "example.com", Secret: l7.CertificateID{Namespace: "shop", Name: "ca"}}
	p := start(t, Config{}, tableFor(up), overTLS(l7.UpstreamHTTPS, with))
	for _, c := range []struct {
		contents Contents
		want     string
	}{{nil, "503"}, {Contents{ref: content}, "200"}, {Contents{ref: {}}, "503"}} {
		p.SetContents(c.contents)
		if got := talk(t, p, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"); !strings.HasPrefix(got, "HTTP/1.1 "+c.want) {
			t.Errorf("%v: %.80q, want %s", c.contents, got, c.want)
		}
	}
	for _, data := range []map[string][]byte{{"ca.crt": []byte("x")}, {"tls.crt": []byte("x"), "tls.key": []byte("y")}} {
		if c, problems := filter.Read(ref, data); c != nil || len(problems) != 1 {
			t.Errorf("%s is taken", data)
		}
	}
}

package proxy

import (
	"bufio"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/fairlead-net/fairlead/internal/l7"
	"github.com/fairlead-net/fairlead/internal/pmap"
)

// TestDrainTimeout holds that Close ends requests that take longer than it may wait,
// whether they are answered within a read of the client's connection or not.
func TestDrainTimeout(t *testing.T) {
	for name, request := range map[string]string{
		"at once": "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
		"body":    "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhal",
	} {
		begun := make(chan bool, 1)
		up := serveRaw(t, func(conn net.Conn) {
			r := bufio.NewReader(conn)
			if _, err := http.ReadRequest(r); err == nil {
				begun <- true
				io.Copy(io.Discard, r) // and never an answer
			}
		})
		p := start(t, Config{DrainTimeout: 50 * time.Millisecond}, tableFor(up), toBackend())
		conn, err := net.Dial("tcp", p.Addresses("web")[0].String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		io.WriteString(conn, request)
		<-begun
		closed := make(chan error, 1)
		go func() { closed <- p.Close() }()
		select {
		case err := <-closed:
			if err != nil {
				t.Error(err)
			}
		case <-time.After(10 * time.Second):
			t.Fatalf("%s: Close does not return", name)
		}
	}
}

// TestFullBuffer holds that a header which fills the buffer with an empty line before
// it is refused, with TLS too, where to read into no space returns at once.
func TestFullBuffer(t *testing.T) {
	source := httptest.NewUnstartedServer(nil)
	source.StartTLS()
	defer source.Close()
	id := l7.CertificateID{Namespace: "shop", Name: "cert"}
	var names pmap.Map[string, l7.CertificateID]
	table := tableFor()
	table.Listeners["web"] = &l7.Listener{Name: "web", Protocol: l7.HTTPS, Routes: new(l7.Routes), Certificates: names.Set("x.example", id)}
	p := start(t, Config{DrainTimeout: 50 * time.Millisecond}, table, toBackend())
	p.SetCertificates(Certificates{id: &source.TLS.Certificates[0]})
	conn, err := tls.Dial("tcp", p.Addresses("web")[0].String(), &tls.Config{ServerName: "x.example", InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	go io.WriteString(conn, "\r\nGET / HTTP/1.1\r\nA: "+strings.Repeat("a", 40000))
	if line, err := bufio.NewReader(conn).ReadString('\n'); !strings.HasPrefix(line, "HTTP/1.1 431") {
		t.Errorf("%q, error %v", line, err)
	}
}

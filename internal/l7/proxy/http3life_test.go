package proxy

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quic-go/qpack"
	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
	"github.com/quic-go/quic-go/quicvarint"

	"github.com/fairlead-net/fairlead/internal/l7"
)

// dial3 returns a connection of QUIC on which nothing has been said but what there has
// to be first (RFC 9114, section 6.2.1).
func dial3(t *testing.T, p *Proxy) *quic.Conn {
	t.Helper()
	conn, err := quic.DialAddr(contextFor(t, 10*time.Second), p.Addresses("web")[0].String(), &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h3"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.CloseWithError(0, "") })
	control, err := conn.OpenUniStream()
	if err != nil {
		t.Fatal(err)
	}
	control.Write([]byte{0, 4, 0}) // a stream of control, SETTINGS of none
	return conn
}

// headers is a frame of HEADERS with these fields, names and values in turn.
func headers(fields ...string) []byte {
	var block bytes.Buffer
	encoder := qpack.NewEncoder(&block)
	for i := 0; i < len(fields); i += 2 {
		encoder.WriteField(qpack.HeaderField{Name: fields[i], Value: fields[i+1]})
	}
	return append(quicvarint.Append([]byte{1}, uint64(block.Len())), block.Bytes()...)
}

// ask3 sends a request and returns the answer's status, or how the stream ends.
func ask3(t *testing.T, conn *quic.Conn, request []byte, end bool) string {
	t.Helper()
	s, err := conn.OpenStreamSync(contextFor(t, 10*time.Second))
	if err != nil {
		return err.Error()
	}
	s.SetDeadline(time.Now().Add(10 * time.Second))
	s.Write(request)
	if end {
		s.Close()
	}
	answer, err := io.ReadAll(s)
	if reset, ok := errors.AsType[*quic.StreamError](err); ok {
		return fmt.Sprintf("reset %s", http3.ErrCode(reset.ErrorCode))
	}
	in := bytes.NewReader(answer)
	kind, _ := quicvarint.Read(in)
	length, _ := quicvarint.Read(in)
	block := make([]byte, length)
	if _, err := io.ReadFull(in, block); err != nil || kind != 1 {
		return fmt.Sprintf("%q, %v", answer, err)
	}
	field, err := qpack.NewDecoder().Decode(block)()
	return fmt.Sprint(field.Value, map[bool]string{false: "", true: fmt.Sprint(err)}[err != nil])
}

// TestHTTP3Wrong holds that what is no request, or not clearly one, does not reach an
// endpoint.
func TestHTTP3Wrong(t *testing.T) {
	var asked atomic.Int64
	up := serveHTTP(t, func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		asked.Add(1)
	})
	p := start3(t, Config{}, up)
	conn := dial3(t, p)
	get := []string{":method", "GET", ":scheme", "https", ":authority", "shop.example", ":path", "/"}
	post := append([]string{":method", "POST"}, get[2:]...)
	with := func(list []string, fields ...string) []byte {
		return headers(append(list[:len(list):len(list)], fields...)...)
	}
	const malformed = "reset H3_MESSAGE_ERROR"
	for name, c := range map[string]struct {
		request []byte
		want    string
	}{
		"method twice":      {with(get, ":method", "GET"), malformed},
		"no path":           {headers(get[:6]...), malformed},
		"relative path":     {headers(append(get[:6:6], ":path", "x")...), malformed},
		"absolute path":     {headers(append(get[:6:6], ":path", "http://other/")...), malformed},
		"unknown pseudo":    {with(get, ":other", "x"), malformed},
		"pseudo after":      {headers(append([]string{"x", "y"}, get...)...), malformed},
		"upper case":        {with(get, "X-A", "b"), malformed},
		"connection":        {with(get, "connection", "close"), malformed},
		"transfer-encoding": {with(post, "transfer-encoding", "chunked"), malformed},
		"te":                {with(get, "te", "gzip"), malformed},
		"other host":        {with(get, "host", "other.example"), malformed},
		"line end":          {with(get, "x", "a\r\nb: c"), malformed},
		"blank":             {with(get, "x", " a"), malformed},
		"two lengths":       {with(post, "content-length", "1", "content-length", "2"), malformed},
		"signed length":     {with(post, "content-length", "+1"), malformed},
		"body missing":      {with(post, "content-length", "5"), "400"},
		"dots":              {headers(append(get[:6:6], ":path", "/%2e%2e/../x%00")...), "400"},
		"authority":         {headers(":method", "GET", ":scheme", "https", ":authority", "a b", ":path", "/"), malformed},
		"CONNECT":           {headers(":method", "CONNECT", ":authority", "a:1"), "501"},
		"extended CONNECT":  {with(append([]string{":method", "CONNECT", ":protocol", "connect-udp"}, get[2:]...)), "501"},
		"large":             {with(get, "x", strings.Repeat("x", 40<<10)), "431"},
		"many fields":       {with(get, strings.Split(strings.Repeat("a|b|", 150)+"a|b", "|")...), "431"},
	} {
		if got := ask3(t, conn, c.request, true); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
	if n := asked.Load(); n != 0 {
		t.Errorf("an endpoint was asked %d times", n)
	}
	if got := ask3(t, conn, with(get), true); got != "200" {
		t.Errorf("a request: %s", got)
	}
	until(t, func() bool { return p.streams.Load() == 0 })
}

// TestHTTP3Routes holds that Routes and limits count as elsewhere.
func TestHTTP3Routes(t *testing.T) {
	up := serveHTTP(t, func(w http.ResponseWriter, r *http.Request) { io.Copy(io.Discard, r.Body) })
	denied := &l7.Access{Deny: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}
	backends := toBackend()(nil).Backends
	for name, c := range map[string]struct {
		route    l7.Route
		want     int
		location string
	}{
		"already https": {l7.Route{HTTPSRedirect: &l7.Redirect{Status: 308, Scheme: "https"}, Backends: backends}, 200, ""},
		"redirect":      {l7.Route{Redirect: &l7.Redirect{Status: 301, Location: "https://other.example/x", AppendURI: true}}, 301, "https://other.example/x/a/b?c=d"},
		"denied":        {l7.Route{Access: denied, Backends: backends}, 403, ""},
		"allowed":       {l7.Route{Access: &l7.Access{Allow: denied.Deny}, Backends: backends}, 200, ""},
		"body":          {l7.Route{MaxBody: 9, Backends: backends}, 413, ""},
		"body allowed":  {l7.Route{MaxBody: 10, Backends: backends}, 200, ""},
	} {
		p := startTLSRouted(t, Config{HTTP3: true}, up, func(*l7.Request) *l7.Route { return &c.route })
		for _, chunked := range []bool{false, true} {
			request, _ := http.NewRequest("POST", p.secureURL()+"/a/./b?c=d", strings.NewReader("ten octets"))
			request.Host = "shop.example"
			if chunked {
				request.ContentLength = -1
			}
			response, err := client3(t).Do(request)
			if err != nil {
				t.Fatal(name, err)
			}
			response.Body.Close()
			if response.StatusCode != c.want || response.Header.Get("Location") != c.location {
				t.Errorf("%s, chunked %t: %d, Location %q", name, chunked, response.StatusCode, response.Header.Get("Location"))
			}
		}
	}
}

// TestHTTP3Slow holds that clients which do not go on do not hold what they have.
func TestHTTP3Slow(t *testing.T) {
	up := serveHTTP(t, func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		w.Write(make([]byte, 8<<20))
	})
	const soon = 300 * time.Millisecond
	p := start3(t, Config{HeadTimeout: soon, IdleTimeout: soon, BodyTimeout: soon, WriteTimeout: soon}, up)
	post := headers(":method", "POST", ":scheme", "https", ":authority", "x", ":path", "/", "content-length", "5")
	if got := ask3(t, dial3(t, p), append(post, 0, 1, 'x'), false); got != "408" {
		t.Errorf("a part of a body: %s", got)
	}
	conn := dial3(t, p)
	stuck, _ := conn.OpenStream()
	stuck.Write(headers(":method", "GET", ":scheme", "https", ":authority", "x", ":path", "/"))
	stuck.Close()
	part := dial3(t, p)
	open, _ := part.OpenStream()
	open.Write(post[:5])
	<-part.Context().Done() // the connection ends, though a request has begun
	<-conn.Context().Done() // and this one, though the answer is not taken
	until(t, func() bool { return p.streams.Load() == 0 && p.connections.Load() <= 1 })
}

// TestHTTP3GivenUp holds that an endpoint learns that nobody waits for its answer.
func TestHTTP3GivenUp(t *testing.T) {
	begun, gone := make(chan struct{}), make(chan struct{})
	up := serveHTTP(t, func(w http.ResponseWriter, r *http.Request) {
		close(begun)
		<-r.Context().Done()
		close(gone)
	})
	p := start3(t, Config{}, up)
	ctx, cancel := context.WithCancel(t.Context())
	request, _ := http.NewRequestWithContext(ctx, "GET", p.secureURL(), nil)
	go func() {
		<-begun // one that is given up before does not reach the endpoint
		cancel()
	}()
	if _, err := client3(t).Do(request); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	<-gone
	until(t, func() bool { return p.streams.Load() == 0 })
}

// TestHTTP3Drains holds that what is under way when the proxy closes is answered, nothing
// after that, and that the port is free then.
func TestHTTP3Drains(t *testing.T) {
	release, asked := make(chan struct{}), make(chan struct{}, 1)
	up := serveHTTP(t, func(w http.ResponseWriter, r *http.Request) {
		asked <- struct{}{}
		<-release
	})
	p := start3(t, Config{}, up)
	conn := dial3(t, p)
	get := headers(":method", "GET", ":scheme", "https", ":authority", "x", ":path", "/")
	first := make(chan string)
	go func() { first <- ask3(t, conn, get, true) }()
	<-asked
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		p.Close()
	}()
	control, err := conn.AcceptUniStream(contextFor(t, 10*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	said := quicvarint.NewReader(control)
	for kind, _ := quicvarint.Read(said); kind != 7; { // GOAWAY
		if kind, err = quicvarint.Read(said); err != nil {
			t.Fatal("no GOAWAY", err)
		}
		if kind == 4 {
			length, _ := quicvarint.Read(said)
			io.CopyN(io.Discard, said, int64(length))
		}
	}
	if got := ask3(t, conn, get, true); got != "reset H3_REQUEST_REJECTED" {
		t.Errorf("after GOAWAY: %s", got)
	}
	close(release)
	if got := <-first; got != "200" {
		t.Errorf("the request under way: %s", got)
	}
	<-closed
	<-conn.Context().Done()
	if n := p.connections.Load(); n != 0 {
		t.Errorf("%d connections are left", n)
	}
}

// TestHTTP3Absent holds that a listener without its UDP port serves all the same.
func TestHTTP3Absent(t *testing.T) {
	up := serveHTTP(t, func(w http.ResponseWriter, r *http.Request) {})
	p := startTLS(t, up)
	l := p.listeners["web"]
	taken, err := net.ListenPacket("udp4", l.address().String()) // without SO_REUSEPORT
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	if l.openHTTP3(t.Context()); l.quic != nil || l.offer != nil {
		t.Error("HTTP/3 is offered at a port that another has")
	}
	if ready, reasons := p.Ready(); !ready {
		t.Error(reasons)
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	defer transport.CloseIdleConnections()
	response, err := (&http.Client{Transport: transport, Timeout: 10 * time.Second}).Get(p.secureURL())
	if err != nil {
		t.Fatal(err)
	}
	if response.Body.Close(); response.StatusCode != 200 || response.Header.Get("Alt-Svc") != "" {
		t.Error(response)
	}
}

package http1

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"net/http/httputil"
	"net/netip"
	"net/textproto"
	"net/url"
	"strings"
	"testing"
)

var wide = Limits{Line: 8 << 10, Head: 32 << 10, Fields: 100}

var seeds = []string{
	"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
	"\r\nGET /a%20b?c=d HTTP/1.1\r\nHost: a.example:80\r\nA: b\r\nA:  c\t\r\nPragma: no-cache\r\n\r\n",
	"GET http://b.example/x?y HTTP/1.1\r\nHost: a\r\n\r\n",
	"OPTIONS * HTTP/1.1\r\nHost: [2001:db8::1]:80\r\n\r\n",
	"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
	"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
	"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTrailer: B\r\n\r\n5;x=y\r\nhello\r\n0\r\nB: c\r\n\r\n",
	"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n",
	"GET / HTTP/1.1\r\nHost: a\r\nConnection: cdn-loop\r\nCDN-Loop: other; a=\"b,c\"\r\nCDN-Loop: fairlead;x\r\n\r\n",
	"GET / HTTP/1.1\r\nHost: a\r\nX : y\r\n z\r\n\r\n",
	"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade, X-Y\r\nUpgrade: websocket\r\nX-Y: z\r\n\r\n",
}

// FuzzRequest holds that net/http reads what is accepted here in the same way, as it
// came and as it is passed on. These differences are meant:
//   - An empty line before a request, which net/http refuses and RFC 9112, section
//     2.2, asks to ignore: nothing of it is passed on.
//   - The field Trailer with a name that trailers must not have, which net/http refuses:
//     neither it nor any trailer is passed on.
//   - net/http makes Cache-Control of Pragma; here fields stay what they are.
func FuzzRequest(f *testing.F) {
	for _, s := range seeds {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var r Request
		n, err := r.Parse(data, &wide)
		if err != nil || n == 0 {
			return
		}
		body, whole := decode(t, &r, data[n:])
		text := bytes.TrimPrefix(data, []byte("\r\n"))
		read, err := http.ReadRequest(bufio.NewReaderSize(bytes.NewReader(text), 64<<10))
		if err != nil {
			if strings.Contains(err.Error(), "bad trailer key") {
				return
			}
			t.Fatalf("net/http refuses what is accepted: %v", err)
		}
		compare(t, &r, read)
		if got, err := io.ReadAll(read.Body); whole && (err != nil || !bytes.Equal(got, body)) {
			t.Errorf("body %q, net/http has %q, error %v", body, got, err)
		}
		forwarded(t, &r)
	})
}

// decode returns the body that follows a header, and whether all of it is there.
func decode(t *testing.T, r *Request, data []byte) (body []byte, whole bool) {
	if !r.Chunked {
		length := max(r.Length, 0)
		if int64(len(data)) < length {
			return nil, false
		}
		return data[:length], true
	}
	var c Chunks
	for len(data) > 0 && !c.Done() {
		part, n, err := c.Next(data)
		if err != nil {
			return nil, false
		}
		body = append(body, part...)
		data = data[n:]
	}
	return body, c.Done()
}

// compare holds that net/http has read the same header.
func compare(t *testing.T, r *Request, read *http.Request) {
	if string(r.Method) != read.Method || !strings.HasSuffix(read.RequestURI, string(r.Target)) && string(r.Target) != "/" {
		t.Errorf("%s %s, net/http has %s %s", r.Method, r.Target, read.Method, read.RequestURI)
	}
	if path, err := url.PathUnescape(string(r.Path)); err != nil || path != read.URL.Path && read.URL.Path != "" {
		t.Errorf("path %q, net/http has %q, error %v", r.Path, read.URL.Path, err)
	}
	if string(r.Query) != read.URL.RawQuery {
		t.Errorf("query %q, net/http has %q", r.Query, read.URL.RawQuery)
	}
	if string(r.Authority) != read.Host {
		t.Errorf("host %q, net/http has %q", r.Authority, read.Host)
	}
	fields := http.Header{}
	for _, f := range r.Fields {
		switch string(f.Lower) {
		case "host", "transfer-encoding", "trailer", "cache-control":
		default:
			fields.Add(textproto.CanonicalMIMEHeaderKey(string(f.Name)), string(f.Value))
		}
	}
	read.Header.Del("Cache-Control")
	read.Header.Del("Trailer")
	for name := range read.Header {
		if a, b := fields[name], read.Header[name]; strings.Join(a, "|") != strings.Join(b, "|") {
			t.Errorf("%s: %q, net/http has %q", name, a, b)
		}
		delete(fields, name)
	}
	if len(fields) > 0 {
		t.Errorf("net/http has not %v", fields)
	}
}

// forwarded holds that what is passed on says the same, and only that.
func forwarded(t *testing.T, r *Request) {
	hop := NewHop(netip.MustParseAddr("192.0.2.1"), "http", 80, nil)
	out := AppendRequest(nil, r, hop, &Onward{ID: []byte("id"), Upgrade: r.Upgrade() != nil})
	read, err := http.ReadRequest(bufio.NewReaderSize(bytes.NewReader(out), 64<<10))
	if err != nil {
		t.Fatalf("net/http refuses what is passed on: %v\n%q", err, out)
	}
	if string(r.Method) != read.Method || string(r.Target) != read.RequestURI || string(r.Authority) != read.Host {
		t.Errorf("passed on %q", out)
	}
	if r.Chunked != (len(read.TransferEncoding) > 0) || !r.Chunked && max(r.Length, 0) != read.ContentLength {
		t.Errorf("framing passed on differs: %q", out)
	}
	for _, name := range []string{"X-Forwarded-For", "X-Real-Ip"} {
		if got := read.Header.Values(name); len(got) != 1 || got[0] != "192.0.2.1" {
			t.Errorf("%s: %q", name, got)
		}
	}
	for _, name := range []string{"Te", "Trailer", "Keep-Alive", "Proxy-Connection", "Proxy", "Http2-Settings"} {
		if len(read.Header.Values(name)) > 0 {
			t.Errorf("%s is passed on", name)
		}
	}
	if r.Authority == nil {
		return // of HTTP/1.0: the Host is empty then, as RFC 9112, section 3.2 demands
	}
	var again Request
	if n, err := again.Parse(out, &Limits{Line: 64 << 10, Head: 64 << 10, Fields: 200}); err != nil || n != len(out) {
		t.Errorf("own parser: %d of %d bytes, %v\n%q", n, len(out), err, out)
	}
	if again.Rounds != r.Rounds+1 {
		t.Errorf("%d rounds, then %d: %q", r.Rounds, again.Rounds, out)
	}
}

// FuzzChunks holds that net/http reads the same out of a body in chunks, and that it
// does not matter in which pieces a body comes.
func FuzzChunks(f *testing.F) {
	for _, s := range []string{"0\r\n\r\n", "5;a=b\r\nhello\r\n00\r\nA: b\r\n\r\nrest", "A\r\n0123456789\r\n0\r\n\r\n", "1 \r\nx\r\n", "1\nx\n0\n\n"} {
		f.Add([]byte(s), uint8(3))
	}
	f.Fuzz(func(t *testing.T, data []byte, piece uint8) {
		read := func(size int) (body []byte, n int, done bool, err error) {
			var c Chunks
			for n < len(data) && !c.Done() {
				b := data[n:min(n+size, len(data))]
				for len(b) > 0 && !c.Done() {
					part, m, err := c.Next(b)
					body = append(body, part...)
					n += m
					if err != nil {
						return body, n, false, err
					}
					b = b[m:]
				}
			}
			return body, n, c.Done(), nil
		}
		body, n, done, err := read(len(data))
		body2, n2, done2, err2 := read(int(piece) + 1)
		if !bytes.Equal(body, body2) || n != n2 || done != done2 || (err == nil) != (err2 == nil) {
			t.Errorf("in one piece %q %d %v %v, in pieces of %d %q %d %v %v", body, n, done, err, int(piece)+1, body2, n2, done2, err2)
		}
		if !done {
			return
		}
		got, err := io.ReadAll(httputil.NewChunkedReader(bufio.NewReader(bytes.NewReader(data[:n]))))
		if err != nil || !bytes.Equal(got, body) {
			t.Errorf("%q, net/http has %q, error %v", body, got, err)
		}
	})
}

// FuzzResponse holds that net/http reads what is accepted here in the same way.
func FuzzResponse(f *testing.F) {
	for _, s := range []string{
		"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", "HTTP/1.0 404\r\n\r\n", "HTTP/1.1 101 Go\r\nUpgrade: x\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var r Response
		n, err := r.Parse(data, &wide)
		if err != nil || n == 0 {
			return
		}
		read, err := http.ReadResponse(bufio.NewReaderSize(bytes.NewReader(data), 64<<10), nil)
		if err != nil {
			if strings.Contains(err.Error(), "bad trailer key") {
				return
			}
			t.Fatalf("net/http refuses what is accepted: %v", err)
		}
		if r.Status != read.StatusCode {
			t.Errorf("status %d, net/http has %d", r.Status, read.StatusCode)
		}
		switch framing := r.Framing(false); {
		case framing == ByChunks && len(read.TransferEncoding) == 0,
			framing == ByLength && read.ContentLength != r.Length,
			framing == UntilClose && read.ContentLength != -1:
			t.Errorf("framing %d, net/http has length %d, coding %v", framing, read.ContentLength, read.TransferEncoding)
		}
		out := AppendResponse(nil, &r, Answer{Framing: r.Framing(false), Length: r.Length, Minor: 1})
		if _, err := http.ReadResponse(bufio.NewReaderSize(bytes.NewReader(out), 64<<10), nil); err != nil {
			t.Errorf("net/http refuses what is passed on: %v\n%q", err, out)
		}
	})
}

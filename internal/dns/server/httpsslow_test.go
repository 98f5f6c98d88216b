package server

import (
	"bytes"
	"crypto/tls"
	"encoding/base64"
	"net"
	"testing"
	"time"

	wire "github.com/miekg/dns"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// TestHTTPSClientThatDoesNotRead: by HTTP/2 as well its connection ends, and what it has
// asked for keeps nobody else out.
func TestHTTPSClientThatDoesNotRead(t *testing.T) {
	p, _, url := startHTTPS(t, Config{IOTimeout: 100 * time.Millisecond}, true)
	plain, err := net.Dial("tcp", p.https[0].listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	plain.(*net.TCPConn).SetReadBuffer(4096)
	conn := tls.Client(plain, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}})
	packed, _ := query("big.shop.svc.cluster.local.", wire.TypeA).Pack() // 6 kB of reply each
	var block bytes.Buffer
	encoder := hpack.NewEncoder(&block)
	for _, f := range [][2]string{{":method", "GET"}, {":scheme", "https"}, {":authority", "dns.example"}, {":path", "/dns-query?dns=" + base64.RawURLEncoding.EncodeToString(packed)}} {
		if err := encoder.WriteField(hpack.HeaderField{Name: f[0], Value: f[1], Sensitive: true}); err != nil {
			t.Fatal(err)
		}
	}
	conn.Write([]byte(http2.ClientPreface))
	framer := http2.NewFramer(conn, conn)
	framer.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 30})
	framer.WriteWindowUpdate(0, 1<<30)
	go func() {
		// More than the kernel keeps for a client, but at no time more streams than a
		// connection may have begun.
		for stream := uint32(1); stream < 2*1300; stream += 2 {
			if stream%200 == 1 {
				time.Sleep(30 * time.Millisecond)
			}
			if framer.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: block.Bytes(), EndStream: true, EndHeaders: true}) != nil {
				return
			}
		}
	}()
	guests := func() int {
		p.https[0].guests.mu.Lock()
		defer p.https[0].guests.mu.Unlock()
		return p.https[0].guests.all
	}
	// TLS takes five seconds more for its last words (crypto/tls, closeNotify).
	for end := time.Now().Add(15 * time.Second); guests() > 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("the connection to %s is still there; %d queries have been answered", url, p.https[0].tally.statuses[0].Load())
		}
	}
	if busy := p.https[0].busy.Load(); busy != 0 {
		t.Errorf("%d queries are still being answered", busy)
	}
}

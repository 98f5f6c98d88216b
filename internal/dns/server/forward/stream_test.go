package forward

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/binary"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	wire "github.com/miekg/dns"
)

// certificate makes a CA, and a certificate by it for a server's name and
// address. It returns the CA's file.
func certificate(t *testing.T, name string, address net.IP) (ca string, pair tls.Certificate) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	root := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "private CA"}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	rootDER, err := x509.CreateCertificate(rand.Reader, root, root, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	leaf := &x509.Certificate{SerialNumber: big.NewInt(2), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{name}, IPAddresses: []net.IP{address}}
	leafDER, err := x509.CreateCertificate(rand.Reader, leaf, root, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	ca = filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: rootDER}), 0o600); err != nil {
		t.Fatal(err)
	}
	return ca, tls.Certificate{Certificate: [][]byte{leafDER}, PrivateKey: key}
}

// accepted counts the connections of a listener.
type accepted struct {
	net.Listener
	n atomic.Int32
}

func (a *accepted) Accept() (net.Conn, error) {
	conn, err := a.Listener.Accept()
	if err == nil {
		a.n.Add(1)
	}
	return conn, err
}

// serveStream runs a server by TCP, or TLS if there is a certificate.
func serveStream(t testing.TB, pair *tls.Certificate, handler wire.HandlerFunc) (netip.AddrPort, *accepted) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.31:0")
	if err != nil {
		t.Fatal(err)
	}
	counted := &accepted{Listener: listener}
	s := &wire.Server{Listener: counted, Handler: handler, MaxTCPQueries: -1}
	if pair != nil {
		s.Listener = tls.NewListener(counted, &tls.Config{Certificates: []tls.Certificate{*pair}})
	}
	started := make(chan struct{})
	s.NotifyStartedFunc = func() { close(started) }
	go s.ActivateAndServe()
	<-started
	t.Cleanup(func() { s.ShutdownContext(context.Background()) })
	return listener.Addr().(*net.TCPAddr).AddrPort(), counted
}

// TestTLS asks a server with a private CA, by its name and by its address, and
// expects servers that cannot prove who they are not to be believed.
func TestTLS(t *testing.T) {
	ca, pair := certificate(t, "dns.example", net.ParseIP("127.0.0.31"))
	otherCA, _ := certificate(t, "dns.example", nil)
	at, connections := serveStream(t, &pair, says("192.0.2.31"))
	for _, c := range []struct {
		files  TLSFiles
		server string
		want   string
	}{
		{TLSFiles{CA: ca, ServerName: "dns.example"}, "", "192.0.2.31"},
		{TLSFiles{CA: ca, ServerName: "other.example"}, "dns.example", "192.0.2.31"},
		{TLSFiles{CA: ca}, "", "192.0.2.31"},
		{TLSFiles{CA: ca, ServerName: "other.example"}, "", "valid for dns.example, not other.example"},
		{TLSFiles{CA: otherCA, ServerName: "dns.example"}, "", "unknown authority"},
		{TLSFiles{ServerName: "dns.example"}, "", "unknown authority"},
	} {
		connections.n.Store(0)
		f := forwarder(t, Config{Zones: []Zone{{Name: ".", TLS: c.files, Servers: []Server{{Address: at, Protocol: TLS, ServerName: c.server}}}}})
		for i := range 10 {
			if got := address(f.Exchange(t.Context(), a(fmt.Sprintf("n%d.example.", i)))); !strings.Contains(got, c.want) {
				t.Errorf("%+v: %s", c, got)
			}
		}
		if n := connections.n.Load(); strings.HasPrefix(c.want, "192") && n != 1 {
			t.Errorf("%d connections for 10 queries", n)
		}
		if text := f.Describe()[0]; !strings.HasPrefix(text, "upstream tls://"+at.String()) {
			t.Error(text)
		}
		(*f.zones[0].upstreams.Load())[0].streams.close()
	}
}

func TestBadTLS(t *testing.T) {
	junk := filepath.Join(t.TempDir(), "junk")
	if err := os.WriteFile(junk, []byte("junk"), 0o600); err != nil {
		t.Fatal(err)
	}
	for want, files := range map[string]TLSFiles{
		"CA's certificate cannot be read": {CA: "/nonexistent"},
		"holds no certificate":            {CA: junk},
		"cannot be used":                  {Cert: junk, Key: junk},
	} {
		_, err := New(Config{Zones: []Zone{{Name: "a.example", TLS: files, Servers: []Server{{Address: netip.MustParseAddrPort("192.0.2.1:853"), Protocol: TLS}}}}})
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), `zone "a.example."`) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

// TestPipelining sends many queries at the same time, answered in any order,
// and expects few connections and each answer to reach who asked.
func TestPipelining(t *testing.T) {
	at, connections := serveStream(t, nil, func(w wire.ResponseWriter, m *wire.Msg) {
		go func() {
			var n int
			fmt.Sscanf(m.Question[0].Name, "n%d.", &n)
			w.WriteMsg(reply(m, 60, fmt.Sprintf("192.0.%d.%d", n/100, n%100)))
		}()
	})
	f := forwarder(t, Config{ // a busy machine may take its time
		Patience: time.Minute, ReadTimeout: time.Minute, Timeout: time.Minute,
		Zones: []Zone{{Name: ".", TCP: true, Servers: []Server{{Address: at}}}},
	})
	for round := range 3 {
		var all sync.WaitGroup
		for i := round * 400; i < round*400+400; i++ {
			all.Go(func() {
				if got := address(f.Exchange(t.Context(), a(fmt.Sprintf("n%d.example.", i)))); got != fmt.Sprintf("192.0.%d.%d", i/100, i%100) {
					t.Errorf("%d: %s", i, got)
				}
			})
		}
		all.Wait()
	}
	if n := connections.n.Load(); n > maxStreams {
		t.Errorf("%d connections", n)
	}
	u := (*f.zones[0].upstreams.Load())[0]
	for i := range u.streams.slots {
		if load := u.streams.slots[i].load.Load(); load != 0 {
			t.Errorf("slot %d still has %d queries", i, load)
		}
	}
}

// TestClosedConnection: a server may close a connection that has served, in the
// moment at which the next query is sent, and nobody shall notice; one that
// closes within a reply has failed.
func TestClosedConnection(t *testing.T) {
	at, connections := serveStream(t, nil, func(w wire.ResponseWriter, m *wire.Msg) {
		w.WriteMsg(reply(m, 60, "192.0.2.32"))
		w.Close()
	})
	f := forwarder(t, Config{Zones: []Zone{{Name: ".", TCP: true, Servers: []Server{{Address: at}}}}})
	for i := range 20 {
		if got := address(f.Exchange(t.Context(), a(fmt.Sprintf("n%d.example.", i)))); got != "192.0.2.32" {
			t.Error(got)
		}
	}
	if n := connections.n.Load(); n < 20 {
		t.Errorf("%d connections", n)
	}
}

// pipe makes the streams of a Forwarder's upstreams end at a function that plays
// the server of each connection.
func pipe(f *Forwarder, server func(net.Conn)) *atomic.Int32 {
	dialled := new(atomic.Int32)
	f.dial = func(context.Context, string, string) (net.Conn, error) {
		dialled.Add(1)
		client, end := net.Pipe()
		go func() {
			server(end)
			// Writers that wait for each other at a pipe would stop the clock.
			io.Copy(io.Discard, end)
		}()
		return client, nil
	}
	return dialled
}

// read returns the next query of a connection, or nil at its end.
func read(conn net.Conn) *wire.Msg {
	var length [2]byte
	if _, err := io.ReadFull(conn, length[:]); err != nil {
		return nil
	}
	content := make([]byte, binary.BigEndian.Uint16(length[:]))
	if _, err := io.ReadFull(conn, content); err != nil {
		return nil
	}
	m := new(wire.Msg)
	if m.Unpack(content) != nil {
		return nil
	}
	return m
}

func framed(m *wire.Msg) []byte {
	packed, _ := m.Pack()
	return append(binary.BigEndian.AppendUint16(nil, uint16(len(packed))), packed...)
}

// TestBrokenStreams holds what comes of servers that misbehave by TCP.
func TestBrokenStreams(t *testing.T) {
	for want, server := range map[string]func(net.Conn){
		"the connection ended within a reply": func(c net.Conn) { m := read(c); c.Write(framed(reply(m, 60, "192.0.2.1"))[:20]); c.Close() },
		"the connection has been closed":      func(c net.Conn) { read(c); c.Close() },
		"a reply has only 3 bytes":            func(c net.Conn) { read(c); c.Write([]byte{0, 3, 1, 2, 3}) },
		"the reply is malformed": func(c net.Conn) {
			text := framed(reply(read(c), 60, "192.0.2.1"))
			text[len(text)-5] = 200
			c.Write(text)
		},
		"the reply answers another question": func(c net.Conn) {
			m := reply(read(c), 60, "192.0.2.1")
			m.Question[0].Name = "evil.example."
			c.Write(framed(m))
		},
		"too many packets that answer another question": func(c net.Conn) {
			m := reply(read(c), 60, "192.0.2.1")
			go io.Copy(io.Discard, c)
			for m.Id++; ; m.Id++ {
				if _, err := c.Write(framed(m)); err != nil {
					return
				}
			}
		},
		"every upstream failed (192.0.2.1:53: no answer in time": func(c net.Conn) {
			for read(c) != nil {
			}
		},
	} {
		bubble(t, func(t *testing.T) {
			f := forwarder(t, Config{Timeout: 1500 * time.Millisecond, ReadTimeout: time.Second, Zones: []Zone{{Name: ".", TCP: true, Servers: []Server{{Address: netip.MustParseAddrPort("192.0.2.1:53")}}}}})
			defer f.stop()
			pipe(f, server)
			started := time.Now()
			got := address(f.Exchange(t.Context(), a("www.example.")))
			if !strings.Contains(got, want) || time.Since(started) > 1500*time.Millisecond {
				t.Errorf("%q after %s, want %q", got, time.Since(started), want)
			}
			if foreign := f.all()[0].foreign.Load(); (foreign > 0) != strings.Contains(want, "another question") {
				t.Errorf("%s: %d replies are counted that answer no query", want, foreign)
			}
			(*f.zones[0].upstreams.Load())[0].streams.close()
		})
	}
}

// TestStreamTimes: connections that are not used are closed, one that stays
// silent for the time of a query is not used again, and one that is open serves
// the next query.
func TestStreamTimes(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var mute atomic.Bool
		f := forwarder(t, Config{Zones: []Zone{{Name: ".", TCP: true, IdleTimeout: 7 * time.Second, Servers: []Server{{Address: netip.MustParseAddrPort("192.0.2.1:53")}}}}})
		defer f.stop()
		dialled := pipe(f, func(c net.Conn) {
			for m := read(c); m != nil; m = read(c) {
				if !mute.Load() {
					c.Write(framed(reply(m, 60, "192.0.2.1")))
				}
			}
		})
		u := (*f.zones[0].upstreams.Load())[0]
		expect := func(what string, open int, connections int32) {
			t.Helper()
			synctest.Wait()
			if u.streams.open() != open || dialled.Load() != connections {
				t.Errorf("%s: %d connections of %d are open, want %d of %d", what, u.streams.open(), dialled.Load(), open, connections)
			}
		}
		ask(t, f, "a.")
		time.Sleep(6 * time.Second)
		ask(t, f, "b.")
		expect("two queries", 1, 1)
		time.Sleep(8 * time.Second)
		expect("after the idle time", 0, 1)
		ask(t, f, "c.")
		expect("another query", 1, 2)
		mute.Store(true)
		if _, err := u.exchange(t.Context(), a("d.")); err == nil {
			t.Error("an answer")
		}
		expect("after silence", 0, 2)
		mute.Store(false)
		if got, _ := ask(t, f, "e."); got != "192.0.2.1" {
			t.Error(got)
		}
		u.streams.close()
		expect("closed", 0, 3)
	})
}

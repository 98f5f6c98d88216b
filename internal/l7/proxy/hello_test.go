package proxy

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// recorded is a connection on which what is sent is kept, and nothing ever comes.
type recorded struct {
	net.Conn
	in  io.Reader
	out bytes.Buffer
}

func (r *recorded) Write(p []byte) (int, error)      { return r.out.Write(p) }
func (r *recorded) Read(p []byte) (int, error)       { return r.in.Read(p) }
func (r *recorded) Close() error                     { return nil }
func (r *recorded) SetDeadline(time.Time) error      { return nil }
func (r *recorded) SetReadDeadline(time.Time) error  { return nil }
func (r *recorded) SetWriteDeadline(time.Time) error { return nil }
func (r *recorded) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (r *recorded) RemoteAddr() net.Addr             { return &net.TCPAddr{} }

// helloFor returns what crypto/tls sends first.
func helloFor(config *tls.Config) []byte {
	config.InsecureSkipVerify = true
	r := &recorded{in: strings.NewReader("")}
	_ = tls.Client(r, config).Handshake()
	return r.out.Bytes()
}

// inRecords returns the same in records that hold so many bytes each.
func inRecords(b []byte, size int) []byte {
	var out []byte
	for message := b[recordHead:]; len(message) > 0; {
		n := min(size, len(message))
		out = append(append(out, 22, 3, 1, byte(n>>8), byte(n)), message[:n]...)
		message = message[n:]
	}
	return out
}

// read reads a ClientHello that comes byte by byte.
func read(b []byte) (name string, looks int, err error) {
	more := 1
	for n := range len(b) + 1 {
		if n < more {
			continue
		}
		looks++
		if name, more, err = readHello(b[:n]); err != nil || more == 0 {
			return name, looks, err
		}
		if more <= n {
			return "", looks, errors.New("the same is to be looked at again")
		}
	}
	return "", looks, io.ErrUnexpectedEOF
}

func TestHello(t *testing.T) {
	for _, config := range []*tls.Config{{}, {MaxVersion: tls.VersionTLS12}, {MinVersion: tls.VersionTLS13, NextProtos: []string{"h2", "http/1.1"}}} {
		for asked, want := range map[string]string{"": "", "Shop.Example.com": "shop.example.com", "a": "a", "shop.example.com.": "shop.example.com", "192.0.2.1": ""} {
			config := config.Clone()
			config.ServerName = asked
			hello := helloFor(config)
			for _, size := range []int{1 << 14, 100, 33} {
				got, looks, err := read(inRecords(hello, size))
				if got != want || err != nil || looks > 2*len(hello)/size+4 {
					t.Errorf("%q in records of %d: %q after %d looks, error %v", asked, size, got, looks, err)
				}
			}
		}
	}
}

// serverNames makes an extension server_name.
func serverNames(list string) string {
	data := string([]byte{byte(len(list) >> 8), byte(len(list))}) + list
	return "\x00\x00" + string([]byte{byte(len(data) >> 8), byte(len(data))}) + data
}

func hostName(name string) string { return "\x00" + string([]byte{0, byte(len(name))}) + name }

// helloWith makes a ClientHello with these extensions.
func helloWith(extensions string) string {
	body := "\x03\x03" + strings.Repeat("r", 32) + "\x00" + "\x00\x02\x13\x01" + "\x01\x00" + string([]byte{byte(len(extensions) >> 8), byte(len(extensions))}) + extensions
	return inRecord("\x01\x00" + string([]byte{byte(len(body) >> 8), byte(len(body))}) + body)
}

func inRecord(message string) string {
	return "\x16\x03\x01" + string([]byte{byte(len(message) >> 8), byte(len(message))}) + message
}

// malformed are beginnings of connections that are no ClientHello, or one that can be read
// in two ways.
var malformed = map[string]string{
	"no TLS":                      "GET / HTTP/1.1\r\n\r\n",
	"SSL 2":                       "\x80\x2e\x01\x03\x01",
	"another kind of record":      "\x17\x03\x03\x00\x01\x00",
	"another version":             "\x16\x02\x00\x00\x01\x01",
	"a record of nothing":         "\x16\x03\x01\x00\x00",
	"a record that is too long":   "\x16\x03\x01\x40\x01\x01",
	"another message":             "\x16\x03\x01\x00\x04\x02\x00\x00\x00",
	"a message that is too long":  inRecord("\x01\x01\x00\x00"),
	"too many records":            "\x16\x03\x01\x00\x01\x01" + "\x16\x03\x01\x00\x01\x00\x16\x03\x01\x00\x01\x3f\x16\x03\x01\x00\x01\xff" + strings.Repeat("\x16\x03\x01\x00\x01\x03", maxHelloRecords),
	"an empty message":            inRecord("\x01\x00\x00\x00"),
	"something after it":          inRecord(helloWith(serverNames(hostName("a.example")))[recordHead:] + "x"),
	"two lists of names":          helloWith(serverNames(hostName("a.example")) + serverNames(hostName("b.example"))),
	"two extensions of one kind":  helloWith("\x00\x05\x00\x00\x00\x05\x00\x00"),
	"two names":                   helloWith(serverNames(hostName("a.example") + hostName("b.example"))),
	"a name of another kind":      helloWith(serverNames("\x01\x00\x01a")),
	"an empty list":               helloWith(serverNames("")),
	"an empty name":               helloWith(serverNames(hostName(""))),
	"a name with a final dot":     helloWith(serverNames(hostName("a.example."))),
	"a name with NUL":             helloWith(serverNames(hostName("a.example\x00.b.example"))),
	"a name that is not of ASCII": helloWith(serverNames(hostName("ä.example"))),
	"a list beyond its extension": helloWith("\x00\x00\x00\x04\x00\x09\x00\x00"),
	"an extension beyond its end": helloWith("\x00\x05\x00\x09x"),
	"less than an extension":      helloWith("\x00\x05\x00"),
}

func TestHelloMalformed(t *testing.T) {
	good := helloWith(serverNames(hostName("a.example")))
	for what, b := range malformed {
		if name, _, err := read([]byte(b)); !errors.Is(err, errHello) {
			t.Errorf("%s: %q, error %v", what, name, err)
		}
	}
	if name, _, err := read([]byte(good)); name != "a.example" || err != nil {
		t.Errorf("%q, error %v", name, err)
	}
	if name, _, err := read([]byte(good + "more")); name != "a.example" || err != nil {
		t.Errorf("with a further record: %q, error %v", name, err)
	}
}

// FuzzHello holds that crypto/tls reads the same name of what is read here, however the
// bytes arrive.
func FuzzHello(f *testing.F) {
	for _, b := range malformed {
		f.Add([]byte(b))
	}
	for _, name := range []string{"", "shop.example.com"} {
		hello := helloFor(&tls.Config{ServerName: name})
		f.Add(hello)
		f.Add(inRecords(hello, 100))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		name, more, err := readHello(b)
		again, _, byByte := read(b)
		switch {
		case err != nil && more != 0 || more != 0 && more <= len(b):
			t.Fatalf("more %d, error %v", more, err)
		// What is short may be known to be bad before as much is there as was waited for.
		case name != again, (err == nil && more == 0) != (byByte == nil), err == nil && more != 0 && !errors.Is(byByte, io.ErrUnexpectedEOF):
			t.Fatalf("%q, %v at once, %q, %v byte by byte", name, err, again, byByte)
		case err != nil || more != 0:
			return
		}
		other := errors.New("not read")
		server := tls.Server(&recorded{in: bytes.NewReader(b)}, &tls.Config{GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			other = nil
			if !strings.EqualFold(hello.ServerName, name) {
				other = errors.New("as " + hello.ServerName)
			}
			return nil, io.EOF
		}})
		if err := server.Handshake(); other != nil && err != nil && other.Error() != "not read" {
			t.Fatalf("%q is read %v", name, other)
		}
	})
}

package server

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	tap "github.com/dnstap/golang-dnstap"
	framestream "github.com/farsightsec/golang-framestream"
	wire "github.com/miekg/dns"
	"google.golang.org/protobuf/proto"

	"github.com/fairlead-net/fairlead/internal/dns/corefile"
	"github.com/fairlead-net/fairlead/internal/dns/rules"
)

// collect takes one connection after the other, and returns what comes over them.
func collect(t *testing.T, listener net.Listener) <-chan *tap.Dnstap {
	t.Helper()
	got := make(chan *tap.Dnstap, 100)
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			reader, err := framestream.NewReader(conn, &framestream.ReaderOptions{ContentTypes: [][]byte{[]byte("protobuf:dnstap.Dnstap")}, Bidirectional: true})
			buffer := make([]byte, 1<<17)
			for err == nil {
				var n int
				if n, err = reader.ReadFrame(buffer); err == nil {
					d := new(tap.Dnstap)
					err = proto.Unmarshal(buffer[:n], d)
					got <- d
				}
			}
			conn.Close()
		}
	}()
	return got
}

// collectors runs one for each transport, and returns where they are, and what they get.
func collectors(t *testing.T) ([]any, []<-chan *tap.Dnstap) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "tap.sock")
	local, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	plain, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	files := certificateFiles(t, TLS{}, "tap.example")
	pair, err := tls.LoadX509KeyPair(files.Certificate, files.Key)
	if err != nil {
		t.Fatal(err)
	}
	secure, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{pair}})
	if err != nil {
		t.Fatal(err)
	}
	return []any{path, plain.Addr(), secure.Addr()}, []<-chan *tap.Dnstap{collect(t, local), collect(t, plain), collect(t, secure)}
}

// said writes a message in one line; of the time it says only that it is a recent one.
func said(t *testing.T, d *tap.Dnstap) string {
	t.Helper()
	m := d.Message
	address := func(b []byte, port *uint32) string {
		a, ok := netip.AddrFromSlice(b)
		if !ok {
			return "-"
		}
		return a.String() + map[bool]string{true: ":port"}[port != nil && *port != 0]
	}
	text := fmt.Sprintf("%s %s %s %s %s", m.GetType(), m.GetSocketFamily(), m.GetSocketProtocol(), address(m.QueryAddress, m.QueryPort), address(m.ResponseAddress, m.ResponsePort))
	for _, seconds := range []*uint64{m.QueryTimeSec, m.ResponseTimeSec} {
		if seconds != nil && time.Since(time.Unix(int64(*seconds), 0)).Abs() < time.Hour {
			text += " time"
		}
	}
	for _, packed := range [][]byte{m.QueryMessage, m.ResponseMessage} {
		if packed == nil {
			continue
		}
		message := new(wire.Msg)
		if err := message.Unpack(packed); err != nil {
			t.Error(err)
		}
		text += fmt.Sprintf(" [%s %s %d]", message.Question[0].Name, wire.TypeToString[message.Question[0].Qtype], len(message.Answer))
	}
	return text + " " + strings.Join([]string{string(d.Identity), string(d.Version), string(d.Extra)}, ",")
}

// expectTaps expects a collector to get what is said about a query by UDP, and about one by
// TCP that another server answers; texts are the messages of these with their number of
// answers, and what ends each line, with the protocol.
func expectTaps(t *testing.T, number int, collector <-chan *tap.Dnstap, texts [3]string) {
	t.Helper()
	line := func(start, message string, answers int, protocol string) string {
		if message != "" {
			message = fmt.Sprintf(message, answers)
		}
		return start + message + strings.ReplaceAll(texts[2], "%s", protocol)
	}
	const ends, other = "127.0.0.1:port 127.0.0.1:port", "- 127.0.0.11:port"
	for _, want := range []string{
		line("CLIENT_QUERY INET UDP "+ends+" time", texts[0], 0, "udp"),
		line("CLIENT_RESPONSE INET UDP "+ends+" time time", texts[0], 1, "udp"),
		line("CLIENT_QUERY INET TCP "+ends+" time", texts[1], 0, "tcp"),
		line("FORWARDER_QUERY INET UDP "+other+" time", texts[1], 0, "udp"),
		line("FORWARDER_RESPONSE INET UDP "+other+" time time", texts[1], 1, "udp"),
		line("CLIENT_RESPONSE INET TCP "+ends+" time time", texts[1], 1, "tcp"),
	} {
		select {
		case d := <-collector:
			if got := said(t, d); got != want {
				t.Errorf("collector %d:\n got %s\nwant %s", number, got, want)
			}
		case <-time.After(20 * time.Second):
			t.Fatalf("collector %d: nothing, want %s", number, want)
		}
	}
}

// TestDnstap expects a message about every query and every reply, and about what others
// are asked, at every collector, over each transport; and nothing about queries in a
// block without the directive.
func TestDnstap(t *testing.T) {
	places, collectors := collectors(t)
	up := upstream(t, addresses)
	p, at, _ := startWith(t, Config{Forward: once(up)}, fmt.Sprintf(`. {
		kubernetes cluster.local
		forward . 192.0.2.1
		dnstap %s full {
			identity me
			version 7
			extra "{type} {proto} {/some/metadata} {rcode}"
		}
		dnstap tcp://%s {
			identity me
		}
		dnstap tls://%s full {
			identity me
			skipverify
		}
	}
	quiet.example {
		forward . 192.0.2.1
	}`, places...))
	if p.live.Load().plain {
		t.Error("the hot path takes queries that are to be reported")
	}
	ask(t, "udp", at, query("www.quiet.example.", wire.TypeA))
	ask(t, "udp", at, query("web.shop.svc.cluster.local.", wire.TypeA))
	ask(t, "tcp", at, query("www.example.com.", wire.TypeA))
	for i, texts := range [][3]string{
		{" [web.shop.svc.cluster.local. A %d]", " [www.example.com. A %d]", " me,7,A %s - -"}, {"", "", " me,Fairlead,"}, {" [web.shop.svc.cluster.local. A %d]", " [www.example.com. A %d]", " me,Fairlead,"},
	} {
		expectTaps(t, i, collectors[i], texts)
	}
	p.Close()
	for collector, n := range p.tapped() {
		if n != [2]uint64{6, 0} {
			t.Errorf("%s: %v", collector, n)
		}
	}
}

// TestDnstapIsBounded expects messages that nobody takes to be left out, by number and by
// size, and counted; and the rest to be there when a collector comes.
func TestDnstapIsBounded(t *testing.T) {
	log := new(lines)
	path := filepath.Join(t.TempDir(), "tap.sock")
	s := newTapStream(&rules.Tap{Dnstap: corefile.Dnstap{Network: "unix", Address: path, Queue: 1}}, "me", slog.New(slog.NewTextHandler(log, nil)))
	for range tapMessages + 5 {
		s.add(&tap.Message{Type: tap.Message_CLIENT_QUERY.Enum()}, "")
	}
	if n := s.dropped.Load(); n != 5 {
		t.Errorf("%d left out, want 5", n)
	}
	s.take()
	large := &tap.Message{Type: tap.Message_CLIENT_RESPONSE.Enum(), ResponseMessage: make([]byte, 1<<16)}
	for range tapBytes >> 16 {
		s.add(large, "")
	}
	if n := s.dropped.Load() - 5; n == 0 || n > 5 || s.bytes > tapBytes {
		t.Errorf("%d of the large ones left out, %d bytes wait", n, s.bytes)
	}
	if s.connected(t.Context()) == nil {
		t.Error("connected with nobody")
	}
	s.report()
	if s.report(); strings.Count(log.String(), "are left out") != 1 {
		t.Errorf("%s", log)
	}
	waiting := len(s.queue)
	listener, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	got := collect(t, listener)

	go s.run(t.Context())
	for range waiting {
		select {
		case <-got:
		case <-time.After(10 * time.Second):
			t.Fatal("what has waited does not come")
		}
	}
}

// TestDnstapChange has other settings name other collectors: one that stays keeps its
// stream, and one that goes is told nothing more.
func TestDnstapChange(t *testing.T) {
	places, collectors := collectors(t)
	block := func(taps string) string { return ".:53 {\n kubernetes cluster.local\n" + taps + "}" }
	stays, goes, comes := fmt.Sprintf(" dnstap %s {\n identity stays\n }\n", places[0]), fmt.Sprintf(" dnstap tcp://%s {\n identity goes\n }\n", places[1]), fmt.Sprintf(" dnstap tls://%s {\n identity comes\n skipverify\n }\n", places[2])
	p, at, _ := startWith(t, Config{}, block(stays+goes))
	hear := func(i int, who string) {
		t.Helper()
		for _, what := range []tap.Message_Type{tap.Message_CLIENT_QUERY, tap.Message_CLIENT_RESPONSE} {
			select {
			case d := <-collectors[i]:
				if string(d.Identity) != who || d.Message.GetType() != what {
					t.Errorf("collector %d: %s of %s, want %s of %s", i, d.Message.GetType(), d.Identity, what, who)
				}
			case <-time.After(20 * time.Second):
				t.Fatalf("collector %d: nothing", i)
			}
		}
	}
	ask(t, "udp", at, query("web.shop.svc.cluster.local.", wire.TypeA))
	hear(0, "stays")
	hear(1, "goes")
	before := p.live.Load().taps
	var gone *tapStream
	for _, all := range before {
		gone = all[1]
	}
	for end := time.Now().Add(20 * time.Second); gone.sent.Load() < 2; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d messages are sent to the collector that goes", gone.sent.Load())
		}
	}
	settings, err := p.Settings(Config{Blocks: readBlocks(t, block(comes+stays))})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Change(t.Context(), p.live.Load().table, settings); err != nil {
		t.Fatal(err)
	}
	ask(t, "udp", at, query("web.shop.svc.cluster.local.", wire.TypeA))
	hear(0, "stays")
	hear(2, "comes")
	streams := func(of taps) []*tapStream { return slices.Concat(slices.Collect(maps.Values(of))...) }
	if !slices.Contains(streams(p.live.Load().taps), streams(before)[0]) {
		t.Error("the stream of a collector that stays is another one")
	}
	if left := gone.take(); gone.sent.Load() != 2 || len(left) > 0 {
		t.Errorf("the collector that went is told more: %d messages sent, %d wait", gone.sent.Load(), len(left))
	}
	p.changing.Lock()
	defer p.changing.Unlock()
	if len(p.tapping) != 2 {
		t.Errorf("%d streams are under way, want 2", len(p.tapping))
	}
}

package server

import (
	"encoding/hex"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	wire "github.com/miekg/dns"

	"github.com/fairlead-net/fairlead/internal/dns/server/forward"
)

// TestOptions expects options that rules make to reach other servers, from queries by UDP
// and TCP, with the addresses of both ends; answers to other options not to be given from
// the cache; and the reply to have what is not reverted, if its client can read options.
func TestOptions(t *testing.T) {
	up, heard := listening(t)
	_, at, _ := startWith(t, Config{Forward: once(up)}, `. {
		kubernetes cluster.local
		rewrite continue edns0 local set 0xffee {client_ip}
		rewrite continue edns0 local append 0xffef {server_ip} revert
		rewrite continue edns0 local set 0xfff0 {server_port} revert
		rewrite continue edns0 local replace 0xfff1 new revert
		rewrite edns0 subnet set 24 56 revert
		forward . 192.0.2.1
	}`)
	port := hex.EncodeToString([]byte{byte(at.Port() >> 8), byte(at.Port())})
	for i, c := range []struct{ network, from, to string }{
		{"udp", "127.0.0.1", "127.0.0.1"}, {"udp", "127.0.0.1", "127.0.0.1"}, {"udp", "127.0.0.1", "127.0.0.3"}, {"tcp", "127.0.0.3", "127.0.0.3"}, {"udp", "::1", "::1"},
	} {
		m := query("www.example.com.", wire.TypeA).SetEdns0(1232, false)
		m.IsEdns0().Option = []wire.EDNS0{&wire.EDNS0_LOCAL{Code: 0xfff1, Data: []byte("old")}, &wire.EDNS0_LOCAL{Code: 0xfff2, Data: []byte("mine")}}
		reply := askFrom(t, c.network, c.from, netip.AddrPortFrom(netip.MustParseAddr(c.to), at.Port()), m)
		expect(t, reply, 0, "192.0.2.1")
		from := hex.EncodeToString(bytesOf(c.from))
		var got []string
		for _, option := range reply.IsEdns0().Option {
			got = append(got, option.String())
		}
		if want := "65521:0x6f6c64 65518:0x" + from; strings.Join(got, " ") != want {
			t.Errorf("%v: the reply has %s, want %s", c, got, want)
		}
		subnet := "127.0.0.0/24/0"
		if c.from == "::1" {
			subnet = "[::]/56/0"
		}
		want := []string{" 6e6577 " + from + " " + hex.EncodeToString(bytesOf(c.to)) + " " + port + " " + subnet}
		if i == 1 {
			want = nil // it is in the cache
		}
		if got := heard(); !slices.Equal(got, want) {
			t.Errorf("%v: asked with %q, want %q", c, got, want)
		}
	}
	if reply := ask(t, "udp", at, query("web.example.com.", wire.TypeA)); reply.IsEdns0() != nil {
		t.Errorf("a client that knows no options gets %v", reply)
	}
}

// listening runs another server and returns a function that tells with what options it
// was asked since the last call.
func listening(t *testing.T) (netip.AddrPort, func() []string) {
	t.Helper()
	var mu sync.Mutex
	var heard []string
	up := upstream(t, func(w wire.ResponseWriter, m *wire.Msg) {
		text := ""
		for _, option := range m.IsEdns0().Option {
			if local, ok := option.(*wire.EDNS0_LOCAL); ok {
				text += " " + hex.EncodeToString(local.Data)
			} else {
				text += " " + option.String()
			}
		}
		if m.Question[0].Qtype == wire.TypeA { // not a probe
			mu.Lock()
			heard = append(heard, text)
			mu.Unlock()
		}
		addresses(w, m)
	})
	return up, func() []string {
		mu.Lock()
		defer mu.Unlock()
		all := heard
		heard = nil
		return all
	}
}

// askFrom asks from an address of the client.
func askFrom(t *testing.T, network, from string, to netip.AddrPort, m *wire.Msg) *wire.Msg {
	t.Helper()
	client := wire.Client{Net: network, Timeout: 20 * time.Second, Dialer: &net.Dialer{LocalAddr: &net.UDPAddr{IP: net.ParseIP(from)}}}
	if network == "tcp" {
		client.Dialer.LocalAddr = &net.TCPAddr{IP: net.ParseIP(from)}
	}
	reply, _, err := client.Exchange(m, to.String())
	if err != nil {
		t.Fatal(err)
	}
	return reply
}

// once asks a server once for a query, however long it takes.
func once(server netip.AddrPort) forward.Config {
	const long = 20 * time.Second
	return forward.Config{Upstreams: []netip.AddrPort{server}, Patience: long, MinPatience: long, ReadTimeout: long, Timeout: long}
}

func bytesOf(address string) []byte { return netip.MustParseAddr(address).AsSlice() }

// TestOptionsOfOthers expects what another server says in an option of the rules to come
// back, and nothing else that it says.
func TestOptionsOfOthers(t *testing.T) {
	up := upstream(t, func(w wire.ResponseWriter, m *wire.Msg) {
		reply := new(wire.Msg).SetReply(m).SetEdns0(1232, false)
		reply.IsEdns0().Option = []wire.EDNS0{&wire.EDNS0_NSID{Code: wire.EDNS0NSID, Nsid: "6162"}, &wire.EDNS0_LOCAL{Code: 65001, Data: []byte("x")}}
		w.WriteMsg(reply)
	})
	_, at, _ := startWith(t, Config{Forward: once(up)}, `. {
		kubernetes cluster.local
		rewrite edns0 nsid set
		forward . 192.0.2.1
	}`)
	reply := ask(t, "udp", at, query("www.example.com.", wire.TypeA).SetEdns0(1232, false))
	if all := reply.IsEdns0().Option; len(all) != 1 || all[0].String() != "6162" {
		t.Errorf("options %v", all)
	}
}

package probe

import (
	"bytes"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fairlead-net/fairlead/internal/announce"
)

func some() packet {
	return packet{
		from: []byte("node-1"), session: 0x0102030405060708, seq: 9, echoed: number{10, 11}, interval: 100 * time.Millisecond,
		leaving: true, offers: packOffers([]uint32{1, 0xfffffffe}),
	}
}

// TestLayout has the bytes that all versions of the format's number 1 agree on.
func TestLayout(t *testing.T) {
	want := "464c0101" + "000186a0" + "0102030405060708" + "0000000000000009" + "000000000000000a" + "000000000000000b" +
		"06020000" + fmt.Sprintf("%x", "node-1") + "00000001fffffffe" + "2b0d614a3617c2ca5347dd48fdf52fe8"
	k := some()
	if got := fmt.Sprintf("%x", newSigner([]byte("key")).sign(k.append(nil), []byte("node-2"))); got != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
}

func TestLargestPacket(t *testing.T) {
	k := some()
	k.from = bytes.Repeat([]byte("n"), maxName)
	var hashes []uint32
	for i := range announce.MaxOffers {
		hashes = append(hashes, uint32(i))
	}
	k.offers = packOffers(hashes)
	b := newSigner([]byte("key")).sign(k.append(nil), nil)
	if len(b) != maxPacket || len(b) > 1280-40-8 {
		t.Errorf("%d bytes", len(b))
	}
	got, err := parse(b)
	if err != nil || !slices.Equal(got.offers.unpack(), hashes) {
		t.Error(got, err)
	}
}

// TestMalformed changes a good packet in one place.
func TestMalformed(t *testing.T) {
	k := some()
	good := append(k.append(nil), make([]byte, macSize)...)
	if _, err := parse(good); err != nil {
		t.Fatal(err)
	}
	put := func(at int, values ...byte) func([]byte) []byte {
		return func(b []byte) []byte { copy(b[at:], values); return b }
	}
	for name, change := range map[string]func([]byte) []byte{
		"magic": put(0, 'f'), "version": put(2, 2), "flag": put(3, 2), "no interval": put(4, 0, 0, 0, 0), "interval": put(4, 1, 0, 0, 0),
		"no session": put(8, make([]byte, 8)...), "no number": put(16, make([]byte, 8)...), "name": put(40, 0), "long name": put(40, 254),
		"offers": put(41, 3), "fewer offers": put(41, 1), "reserved": put(43, 1), "order of offers": put(50, 0xff, 0xff, 0xff, 0xff),
		"one byte less": func(b []byte) []byte { return b[:len(b)-1] }, "one more": func(b []byte) []byte { return append(b, 0) },
		"nothing": func([]byte) []byte { return nil }, "header alone": func(b []byte) []byte { return b[:headerSize] },
	} {
		if k, err := parse(change(bytes.Clone(good))); err == nil {
			t.Errorf("%s: %+v", name, k)
		}
	}
}

func FuzzParse(f *testing.F) {
	k := some()
	f.Add(append(k.append(nil), make([]byte, macSize)...))
	f.Add([]byte("FL\x01\x00"))
	f.Add(make([]byte, headerSize+macSize))
	f.Fuzz(func(t *testing.T, b []byte) {
		k, err := parse(b)
		if err != nil {
			return
		}
		if again := k.append(nil); !bytes.Equal(again, b[:len(b)-macSize]) {
			t.Errorf("%x is read as %+v, which is written as %x", b, k, again)
		}
		if hashes := k.offers.unpack(); !slices.IsSorted(hashes) || len(hashes) > announce.MaxOffers {
			t.Error(hashes)
		}
	})
}

// FuzzHear lets somebody who has the key, but hears nothing, say what he likes: he
// can never make himself count as alive, as he cannot repeat what he was sent.
func FuzzHear(f *testing.F) {
	k := some()
	f.Add(append(k.append(nil), k.append(nil)...))
	f.Fuzz(func(t *testing.T, content []byte) {
		now := time.Now()
		m := newMachine("a", 100*time.Millisecond, 5, now, slog.New(slog.DiscardHandler))
		m.session = 1 << 63
		m.apply(now, []target{{"node-1", netip.MustParseAddrPort("192.0.2.1:1")}}, true, nil)
		for len(content) > headerSize {
			end := min(len(content), headerSize+6+8)
			k, err := parse(append(bytes.Clone(content[:end]), make([]byte, macSize)...))
			content = content[end:]
			if err == nil && k.echoed.session != m.session {
				m.hear(now, m.order[0], k, false)
			}
			now = now.Add(50 * time.Millisecond)
			for _, p := range m.tick(now) {
				m.packet(now, p)
			}
			if !m.next(now).After(now.Add(-time.Second)) || m.order[0].alive || len(m.live().Nodes) > 1 {
				t.Fatalf("%+v", m.order[0])
			}
		}
	})
}

// BenchmarkPackets is what 1,000 packets cost, without the kernel's part.
func BenchmarkPackets(b *testing.B) {
	now := time.Now()
	log := slog.New(slog.DiscardHandler)
	keys := keys{}
	keys.set(now, []byte(strings.Repeat("k", 43)))
	one, two := newMachine("node-1", time.Second, 5, now, log), newMachine("node-2", time.Second, 5, now, log)
	to := netip.MustParseAddrPort("192.0.2.1:7947")
	offers := packOffers([]uint32{1, 2, 3})
	one.apply(now, []target{{"node-2", to}}, true, offers)
	two.apply(now, []target{{"node-1", to}}, true, offers)
	name := []byte("node-2")
	buffer := make([]byte, 0, maxPacket)
	b.Run("send 1000", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			for range 1000 {
				k := one.packet(now, one.order[0])
				buffer = keys.by(false).sign(k.append(buffer[:0]), name)
			}
		}
	})
	b.Run("receive 1000", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			for range 1000 {
				k, err := parse(buffer)
				if good, _ := keys.check(buffer, name); err != nil || !good {
					b.Fatal(err)
				}
				two.hear(now, two.peers[string(k.from)], k, false)
			}
		}
	})
}

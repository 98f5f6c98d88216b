package bfd

import (
	"bytes"
	"testing"
	"time"

	oracle "github.com/osrg/gobgp/v4/pkg/packet/bfd"
)

// TestPacket compares what is written with what another implementation reads.
func TestPacket(t *testing.T) {
	p := packet{
		diagnostic: NeighborDown, state: Up, poll: true, demand: true, multiplier: 7, mine: 0x01020304, yours: 0x05060708,
		transmit: 50 * time.Millisecond, receive: 300 * time.Millisecond, echo: 0,
	}
	var h oracle.BFDHeader
	if err := h.UnmarshalBinary(p.append(nil)); err != nil {
		t.Fatal(err)
	}
	if h.Version != 1 || h.State != oracle.StateUp || !h.Poll || h.Final || h.DetectTimeMultiplier != 7 || h.MyDiscriminator != p.mine ||
		h.YourDiscriminator != p.yours || h.DesiredMinTxInterval != 50000 || h.RequiredMinRxInterval != 300000 || uint8(h.Diagnostic) != 3 {
		t.Errorf("got %+v", h)
	}
}

// TestMalformed: each of these must be dropped (RFC 5880, section 6.8.6).
func TestMalformed(t *testing.T) {
	good := packet{state: Up, multiplier: 3, mine: 1, yours: 2, transmit: slow, receive: slow}.append(nil)
	if _, err := parse(good); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(b []byte) []byte{
		"short":          func(b []byte) []byte { return b[:23] },
		"empty":          func([]byte) []byte { return nil },
		"version":        func(b []byte) []byte { b[0] = 2 << 5; return b },
		"length":         func(b []byte) []byte { b[3] = 25; return b },
		"short length":   func(b []byte) []byte { b[3] = 23; return b },
		"multiplier":     func(b []byte) []byte { b[2] = 0; return b },
		"mine":           func(b []byte) []byte { b[7] = 0; return b },
		"yours":          func(b []byte) []byte { b[11] = 0; return b },
		"authentication": func(b []byte) []byte { b[1] |= flagAuth; return b },
		"multipoint":     func(b []byte) []byte { b[1] |= flagMultipoint; return b },
		"poll and final": func(b []byte) []byte { b[1] |= flagPoll | flagFinal; return b },
	} {
		if p, err := parse(change(bytes.Clone(good))); err == nil {
			t.Errorf("%s: read as %+v", name, p)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(packet{state: Up, multiplier: 3, mine: 1, yours: 2, transmit: slow, receive: slow, poll: true}.append(nil))
	f.Add(packet{state: Down, diagnostic: DetectionExpired, multiplier: 255, mine: 1 << 31, echo: time.Hour}.append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := parse(b)
		if err != nil {
			return
		}
		again, err := parse(p.append(nil))
		if err != nil || again != p {
			t.Errorf("%+v reads %+v, %v", p, again, err)
		}
		var h oracle.BFDHeader
		if err := h.UnmarshalBinary(b[:b[3]]); err == nil && (h.MyDiscriminator != p.mine || uint8(h.State) != uint8(p.state)) {
			t.Errorf("another implementation reads %+v, this one %+v", h, p)
		}
	})
}

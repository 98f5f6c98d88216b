package main

import (
	"encoding/binary"
	"fmt"

	"golang.org/x/net/http2"
)

// preface is what a client of HTTP/2 says first (RFC 9113, 3.4).
const preface = http2.ClientPreface

// frame is one of HTTP/2 (RFC 9113, 4.1).
type frame struct {
	kind    http2.FrameType
	flags   http2.Flags
	stream  uint32
	payload []byte
}

// next returns the first frame and what follows it; false if it has not come whole.
func next(in []byte) (frame, []byte, bool) {
	if len(in) < 9 {
		return frame{}, in, false
	}
	length := int(in[0])<<16 | int(in[1])<<8 | int(in[2])
	if len(in) < 9+length {
		return frame{}, in, false
	}
	f := frame{http2.FrameType(in[3]), http2.Flags(in[4]), binary.BigEndian.Uint32(in[5:]) & (1<<31 - 1), in[9 : 9+length]}
	return f, in[9+length:], true
}

// appendFrame writes a frame.
func appendFrame(out []byte, kind http2.FrameType, flags http2.Flags, stream uint32, payload ...byte) []byte {
	n := len(payload)
	out = append(out, byte(n>>16), byte(n>>8), byte(n), byte(kind), byte(flags))
	return append(binary.BigEndian.AppendUint32(out, stream), payload...)
}

// window is what connections may send us without being told more: enough that
// what is told hardly costs anything.
const window = 1 << 30

// appendHello writes the settings of one side, which lets the other send much, on
// a stream and in all.
func appendHello(out []byte) []byte {
	var settings []byte
	for _, s := range []http2.Setting{{ID: http2.SettingMaxConcurrentStreams, Val: 1000}, {ID: http2.SettingInitialWindowSize, Val: 1 << 20}} {
		settings = binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint16(settings, uint16(s.ID)), s.Val)
	}
	return appendUpdate(appendFrame(out, http2.FrameSettings, 0, 0, settings...), window)
}

// appendUpdate lets the other side send n bytes more.
func appendUpdate(out []byte, n int) []byte {
	return appendFrame(out, http2.FrameWindowUpdate, 0, 0, binary.BigEndian.AppendUint32(nil, uint32(n))...)
}

// flow is what both sides of a connection keep of HTTP/2 beside its streams.
type flow struct {
	// out is what is to be written.
	out []byte
	// room is how many bytes of data the other side takes still.
	room int
	// received counts data since the other side was let send more.
	received int
	// indexes: we use the table that the other side has of fields (RFC 7541, 2.3.2).
	indexes bool
}

// control does what frames ask for that belong to no stream in particular, and
// reports whether this was one of them.
func (f *flow) control(in frame) (bool, error) {
	switch in.kind {
	case http2.FrameSettings:
		if in.flags.Has(http2.FlagSettingsAck) {
			return true, nil
		}
		for s := in.payload; len(s) >= 6; s = s[6:] {
			id, v := http2.SettingID(binary.BigEndian.Uint16(s)), binary.BigEndian.Uint32(s[2:])
			if f.indexes && id == http2.SettingHeaderTableSize && v < 4096 || id == http2.SettingInitialWindowSize && v < 2*small {
				return true, fmt.Errorf("the bench does not know how to keep to setting %s of %d", id, v)
			}
		}
		f.out = appendFrame(f.out, http2.FrameSettings, http2.FlagSettingsAck, 0)
	case http2.FramePing:
		if !in.flags.Has(http2.FlagPingAck) {
			f.out = appendFrame(f.out, http2.FramePing, http2.FlagPingAck, 0, in.payload...)
		}
	case http2.FrameWindowUpdate:
		if in.stream == 0 {
			f.room += int(binary.BigEndian.Uint32(in.payload))
		}
	case http2.FrameGoAway:
		return true, fmt.Errorf("the other side ends the connection: %q", in.payload)
	case http2.FramePriority:
	default:
		return false, nil
	}
	return true, nil
}

// took counts data, and lets the other side send more.
func (f *flow) took(n int) {
	if f.received += n; f.received > window/2 {
		f.out = appendUpdate(f.out, f.received)
		f.received = 0
	}
}

package http2

import "encoding/binary"

// Preface is what a client says first (RFC 9113, section 3.4).
const Preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

// The types of frames (RFC 9113, section 6).
const (
	frameData = iota
	frameHeaders
	framePriority
	frameReset
	frameSettings
	framePushPromise
	framePing
	frameGoAway
	frameWindowUpdate
	frameContinuation
)

// Flags of frames. Those of DATA and HEADERS are the same.
const (
	flagAck        = 0x1
	flagEndStream  = 0x1
	flagEndHeaders = 0x4
	flagPadded     = 0x8
	flagPriority   = 0x20
)

// Settings (RFC 9113, section 6.5.2).
const (
	settingEnablePush     = 2
	settingMaxStreams     = 3
	settingInitialWindow  = 4
	settingMaxFrame       = 5
	settingMaxHeaderList  = 6
	settingConnect        = 8 // SETTINGS_ENABLE_CONNECT_PROTOCOL (RFC 8441, section 3)
	standardWindow        = 65535
	maxWindow             = 1<<31 - 1
	maxStreamID           = 1<<31 - 1
	frameHeaderSize       = 9
	standardFrame         = 16384
	largestFrame          = 1<<24 - 1
	standardTable         = 4096
	MaxFrame              = frameHeaderSize + standardFrame // is the largest frame that a Conn reads
	prioritySize          = 5
	settingSize, pingSize = 6, 8
)

// frame is a frame's header.
type frame struct {
	length      int
	kind, flags byte
	stream      uint32
}

func (f *frame) has(flag byte) bool { return f.flags&flag != 0 }

func readFrame(b []byte) frame {
	return frame{
		length: int(b[0])<<16 | int(b[1])<<8 | int(b[2]), kind: b[3], flags: b[4],
		stream: binary.BigEndian.Uint32(b[5:]) & maxStreamID,
	}
}

func appendFrame(dst []byte, length int, kind, flags byte, stream uint32) []byte {
	dst = append(dst, byte(length>>16), byte(length>>8), byte(length), kind, flags)
	return binary.BigEndian.AppendUint32(dst, stream)
}

func appendWindowUpdate(dst []byte, stream uint32, n int) []byte {
	return binary.BigEndian.AppendUint32(appendFrame(dst, 4, frameWindowUpdate, 0, stream), uint32(n))
}

func appendReset(dst []byte, stream uint32, code Code) []byte {
	return binary.BigEndian.AppendUint32(appendFrame(dst, 4, frameReset, 0, stream), uint32(code))
}

func appendGoAway(dst []byte, stream uint32, code Code) []byte {
	dst = binary.BigEndian.AppendUint32(appendFrame(dst, 8, frameGoAway, 0, 0), stream)
	return binary.BigEndian.AppendUint32(dst, uint32(code))
}

// appendSettings appends SETTINGS of pairs of identifier and value.
func appendSettings(dst []byte, pairs ...uint32) []byte {
	dst = appendFrame(dst, len(pairs)/2*settingSize, frameSettings, 0, 0)
	for i := 0; i < len(pairs); i += 2 {
		dst = binary.BigEndian.AppendUint16(dst, uint16(pairs[i]))
		dst = binary.BigEndian.AppendUint32(dst, pairs[i+1])
	}
	return dst
}

// unpad takes the padding off the payload of DATA or HEADERS.
func unpad(f *frame, p []byte) ([]byte, error) {
	if !f.has(flagPadded) {
		return p, nil
	}
	if len(p) == 0 {
		return nil, &Error{FrameSize, "a padded frame without its padding's length"}
	}
	n := int(p[0])
	if n >= len(p) {
		return nil, &Error{Protocol, "padding larger than its frame"}
	}
	return p[1 : len(p)-n], nil
}

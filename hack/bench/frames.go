package main

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// frames are UDP packets of 64 bytes of data in so many flows, which differ in
// their source address and port; First is the number of the first flow.
type frames struct {
	MAC          net.HardwareAddr
	To           string
	Port         int
	Flows, First int
	Count        int
}

const (
	dataSize  = 64
	frameSize = 14 + 20 + 8 + dataSize
	batch     = 64 // packets a system call
)

// message is struct mmsghdr of sendmmsg(2).
type message struct {
	header unix.Msghdr
	sent   uint32
	_      [4]byte
}

// messages makes a frame for each flow.
func (f frames) messages() ([]message, error) {
	to, err := netip.ParseAddr(f.To)
	if err != nil {
		return nil, err
	}
	all := make([]message, f.Flows)
	for i := range all {
		frame := f.frame(f.First+i, to)
		vector := &unix.Iovec{Base: unsafe.SliceData(frame)}
		vector.SetLen(len(frame))
		all[i].header.Iov = vector
		all[i].header.SetIovlen(1)
	}
	return all, nil
}

// frame is the packet of one flow: from 10.200.0.0/16 outside.
func (f frames) frame(flow int, to netip.Addr) []byte {
	b := make([]byte, frameSize)
	copy(b, f.MAC)
	copy(b[6:], []byte{2, 0, 0, 0, 0, 1})
	binary.BigEndian.PutUint16(b[12:], unix.ETH_P_IP)
	ip := b[14:]
	ip[0], ip[8], ip[9] = 0x45, 64, unix.IPPROTO_UDP
	binary.BigEndian.PutUint16(ip[2:], uint16(len(ip)))
	copy(ip[12:], []byte{10, 200, byte(flow >> 8), byte(flow)})
	address := to.As4()
	copy(ip[16:], address[:])
	binary.BigEndian.PutUint16(ip[10:], checksum(0, ip[:20]))
	datagram := ip[20:]
	binary.BigEndian.PutUint16(datagram, uint16(1024+flow*61%60_000))
	binary.BigEndian.PutUint16(datagram[2:], uint16(f.Port))
	binary.BigEndian.PutUint16(datagram[4:], uint16(len(datagram)))
	binary.BigEndian.PutUint16(datagram[6:], checksum(unix.IPPROTO_UDP+uint32(len(datagram)), ip[12:]))
	return b
}

// checksum is that of RFC 1071, over an even number of bytes.
func checksum(sum uint32, bytes []byte) uint16 {
	for ; len(bytes) > 1; bytes = bytes[2:] {
		sum += uint32(binary.BigEndian.Uint16(bytes))
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}

// flood sends the messages in turn until Count are sent.
func (f frames) flood(fd int, all []message) (worked, error) {
	var a worked
	start, cpu := time.Now(), cpuTime()
	for at := 0; a.Count < int64(f.Count); at %= len(all) {
		n := min(batch, len(all)-at, f.Count-int(a.Count))
		sent, _, errno := unix.Syscall6(unix.SYS_SENDMMSG, uintptr(fd), uintptr(unsafe.Pointer(&all[at])), uintptr(n), 0, 0, 0)
		if errno != 0 && errno != unix.EINTR {
			return a, fmt.Errorf("sendmmsg: %w", errno)
		}
		if errno == 0 {
			a.Count += int64(sent)
			at += int(sent)
		}
	}
	a.Wall, a.CPU = time.Since(start), cpuTime()-cpu
	return a, nil
}

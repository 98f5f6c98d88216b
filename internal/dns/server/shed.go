package server

import (
	"unsafe"

	wire "github.com/miekg/dns"
	"golang.org/x/sys/unix"
)

// A server that falls behind refuses what costs it most and can be had
// elsewhere: queries that are not usual or not about the cluster, of clients that
// have not shown by a cookie that their address is theirs. Usual queries about
// the cluster cost no more to answer than to refuse.

// meminfo holds what SO_MEMINFO tells about a socket, in bytes (sock(7),
// linux/sock_diag.h): first what waits to be read, then how much may.
type meminfo [9]uint32

// pressed reports whether more than half of the room for packets of a socket is
// taken. The rest is a fraction of a second's work, so this is also the limit
// for how long a query has waited.
func pressed(fd uintptr) bool {
	var m meminfo
	size := uint32(unsafe.Sizeof(m))
	_, _, err := unix.Syscall6(unix.SYS_GETSOCKOPT, fd, unix.SOL_SOCKET, unix.SO_MEMINFO, uintptr(unsafe.Pointer(&m)), uintptr(unsafe.Pointer(&size)), 0)
	return err == 0 && 2*uint64(m[0]) > uint64(m[1])
}

// refuse appends the shortest reply that refuses a query, or nothing if the
// packet is none.
func refuse(packet, buffer []byte) []byte {
	if len(packet) < headerSize || packet[2]&0x80 != 0 {
		return nil
	}
	end, questions := headerSize, byte(0)
	if q, ok := readUsual(packet); ok {
		end, questions = q.end, 1
	}
	reply := append(buffer[:0], packet[:end]...)
	reply[2] = 0x80 | packet[2]&0x79
	reply[3] = packet[3]&0x10 | wire.RcodeRefused
	clear(reply[4:headerSize])
	reply[5] = questions
	return reply
}

// trusts reports whether a packet is a usual query with a cookie of this server.
func (p *Plane) trusts(packet []byte, c client) bool {
	q, ok := readUsual(packet)
	if !ok {
		return false
	}
	_, ok = p.cookies.valid(&q.options.cookie, c.address, c.now)
	return ok
}

// reserve takes one of the places for queries that wait for an upstream; free
// gives it back. Without a place there is the reply that refuses.
func (x *exchange) reserve() (refused []byte, ok bool) {
	p := x.plane
	if p.waiting.Add(1) <= int64(p.config.MaxWaiting) {
		return nil, true
	}
	p.waiting.Add(-1)
	if len(x.search) > 0 {
		return x.finishSearch(nil, fromTable), false // resolvers do not go on after a refusal
	}
	x.tally.refused.Add(1)
	return x.failed(errBusy), false
}

func (x *exchange) free() { x.plane.waiting.Add(-1) }

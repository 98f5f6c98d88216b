package server

import (
	"encoding/binary"
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	// batchSize is how many packets one system call receives or sends at most.
	// More gain little: what the kernel does per packet is most of the cost.
	batchSize = 32
	// stride keeps the buffers of a batch from all falling on the same lines of
	// the processor's cache, which distances of a power of two would do.
	stride = maxQuery + 192
)

// mmsghdr is struct mmsghdr of recvmmsg(2): a message, and how many bytes of it
// were received or sent.
type mmsghdr struct {
	unix.Msghdr
	n uint32
}

// inbox is memory for one batch of packets; their headers point into it.
type inbox struct {
	headers  [batchSize]mmsghdr
	vectors  [batchSize]unix.Iovec
	senders  [batchSize]unix.RawSockaddrInet6 // large enough for IPv4 too
	controls [batchSize][maxControl]byte
	data     []byte

	// want is how many packets to ask for, got how many there were.
	want, got int
	failure   unix.Errno
	// pressed is set if many more are waiting.
	pressed bool
}

func newInbox() *inbox {
	b := &inbox{data: make([]byte, batchSize*stride), want: 1}
	for i := range b.headers {
		b.vectors[i].Base = &b.data[i*stride]
		b.vectors[i].SetLen(maxQuery)
		h := &b.headers[i]
		h.Name = (*byte)(unsafe.Pointer(&b.senders[i]))
		h.Iov = &b.vectors[i]
		h.SetIovlen(1)
		h.Control = &b.controls[i][0]
	}
	return b
}

// receive fills the inbox with what is waiting, and returns false if that is
// nothing. It asks for one packet after a pause and for twice as many each time
// that there were as many as asked for, because asking for more than there are
// costs a little.
func (b *inbox) receive(fd uintptr) bool {
	for i := range b.headers[:b.want] {
		h := &b.headers[i]
		h.Namelen, h.Flags = unix.SizeofSockaddrInet6, 0
		h.SetControllen(maxControl)
	}
	for {
		n, _, err := unix.Syscall6(unix.SYS_RECVMMSG, fd, uintptr(unsafe.Pointer(&b.headers)), uintptr(b.want), unix.MSG_DONTWAIT, 0, 0)
		switch err {
		case unix.EINTR:
			continue
		case unix.EAGAIN:
			b.want, b.pressed = max(1, b.want/2), false
			return false
		}
		if b.failure = err; err != 0 {
			n = 0
		}
		if b.got = int(n); b.got == b.want {
			b.want = min(2*b.want, batchSize)
		}
		b.pressed = b.got == batchSize && pressed(fd)
		return true
	}
}

func (b *inbox) packet(i int) []byte { return b.data[i*stride:][:b.headers[i].n] }

// sender returns the address that a packet came from. IPv4 addresses come in
// mapped form by a socket for both families.
func (b *inbox) sender(i int) netip.Addr {
	from := &b.senders[i]
	if from.Family == unix.AF_INET {
		return netip.AddrFrom4((*unix.RawSockaddrInet4)(unsafe.Pointer(from)).Addr)
	}
	return netip.AddrFrom16(from.Addr)
}

// port returns the port that a packet came from, which both families have in the
// same place, in network order.
func (b *inbox) port(i int) uint16 {
	return binary.BigEndian.Uint16((*[2]byte)(unsafe.Pointer(&b.senders[i].Port))[:])
}

// outbox is a batch of packets to send.
type outbox struct {
	headers []mmsghdr
	vectors []unix.Iovec
	n       int
	// next is the first that is not sent yet, failure the latest of an error.
	next    int
	failure unix.Errno
}

func newOutbox(size int) outbox {
	return outbox{headers: make([]mmsghdr, size), vectors: make([]unix.Iovec, size)}
}

// add puts a reply to a received packet in. Nothing is copied.
func (o *outbox) add(reply []byte, to *mmsghdr) {
	if len(reply) == 0 {
		return
	}
	v, h := &o.vectors[o.n], &o.headers[o.n]
	v.Base = &reply[0]
	v.SetLen(len(reply))
	*h = mmsghdr{Msghdr: unix.Msghdr{Name: to.Name, Namelen: to.Namelen, Iov: v}}
	h.SetIovlen(1)
	if control := replyFrom(unsafe.Slice(to.Control, to.Controllen)); len(control) > 0 {
		h.Control = &control[0]
		h.SetControllen(len(control))
	}
	o.n++
}

// send sends what is left, and returns false if the socket has no room for more.
// A packet that cannot be sent is left out.
func (o *outbox) send(fd uintptr) bool {
	for o.next < o.n {
		n, _, err := unix.Syscall6(unix.SYS_SENDMMSG, fd, uintptr(unsafe.Pointer(&o.headers[o.next])), uintptr(o.n-o.next), unix.MSG_DONTWAIT, 0, 0)
		switch err {
		case 0:
			o.next += int(n)
		case unix.EINTR:
		case unix.EAGAIN:
			return false
		default:
			// An error is always about the first one.
			o.failure = err
			o.next++
		}
	}
	return true
}

// destination is where the reply to a packet goes, for when the inbox has been
// filled anew.
type destination struct {
	header  mmsghdr
	sender  unix.RawSockaddrInet6
	control [maxControl]byte
}

func (b *inbox) destination(i int) *destination {
	d := &destination{header: b.headers[i], sender: b.senders[i], control: b.controls[i]}
	d.header.Name = (*byte)(unsafe.Pointer(&d.sender))
	d.header.Control = &d.control[0]
	return d
}

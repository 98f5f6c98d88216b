package l2

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

const (
	// receiveBuffer holds a burst of some 1,000 requests.
	receiveBuffer = 1 << 20
	// pause lies between a failure and the next attempt.
	pause = 100 * time.Millisecond
)

// wire is a packet socket for one protocol at one interface. It hears only what
// comes in, and costs packets of other protocols nothing.
type wire struct {
	file *os.File
	raw  syscall.RawConn

	mu    sync.Mutex
	frame []byte // for attempt, which exists once so that send allocates nothing
	err   error
	write func(fd uintptr) bool
}

// openWire needs CAP_NET_RAW.
func openWire(n namespace, index int, protocol uint16) (*wire, error) {
	program, err := bpf.Assemble(filter(index, protocol))
	if err != nil {
		return nil, fmt.Errorf("assemble the filter: %w", err)
	}
	fd := -1
	// Of no protocol yet, so that nothing comes in before there is a filter.
	err = n.do(func() (err error) {
		fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
		return err
	})
	if errors.Is(err, unix.EPERM) {
		return nil, fmt.Errorf("open a packet socket: %w; the process needs CAP_NET_RAW", err)
	}
	if err != nil {
		return nil, fmt.Errorf("open a packet socket: %w", err)
	}
	w := &wire{file: os.NewFile(uintptr(fd), "packet socket")}
	if err := w.setUp(fd, index, protocol, program); err != nil {
		_ = w.file.Close()
		return nil, err
	}
	return w, nil
}

func (w *wire) setUp(fd, index int, protocol uint16, program []bpf.RawInstruction) (err error) {
	filters := make([]unix.SockFilter, len(program))
	for i, instruction := range program {
		filters[i] = unix.SockFilter{Code: instruction.Op, Jt: instruction.Jt, Jf: instruction.Jf, K: instruction.K}
	}
	attach := unix.SockFprog{Len: uint16(len(filters)), Filter: &filters[0]}
	if err := unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &attach); err != nil {
		return fmt.Errorf("attach the filter: %w", err)
	}
	// Beyond the system's limit where CAP_NET_ADMIN permits it.
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, receiveBuffer) != nil {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, receiveBuffer)
	}
	if err := unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: networkOrder(protocol), Ifindex: index}); err != nil {
		return fmt.Errorf("bind a packet socket: %w", err)
	}
	if w.raw, err = w.file.SyscallConn(); err != nil {
		return err
	}
	w.write = func(fd uintptr) bool {
		_, w.err = unix.Write(int(fd), w.frame)
		for errors.Is(w.err, unix.EINTR) {
			_, w.err = unix.Write(int(fd), w.frame)
		}
		return true
	}
	return nil
}

// send never waits: an interface that takes no more loses the frame, as any
// network may.
func (w *wire) send(frame []byte) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.frame = frame
	if err := w.raw.Write(w.write); err != nil {
		return err
	}
	return w.err
}

// receive hands over every frame until the wire is closed. The frame is
// overwritten afterwards.
func (w *wire) receive(handle func(frame []byte)) {
	buffer := make([]byte, maxFrame)
	for {
		n, err := w.file.Read(buffer)
		switch {
		case errors.Is(err, os.ErrClosed):
			return
		case err != nil:
			// The interface is down or gone; the first ends by itself, and the second is
			// noticed elsewhere.
			time.Sleep(pause)
		default:
			handle(buffer[:n])
		}
	}
}

func (w *wire) close() { _ = w.file.Close() }

// filter lets ARP through, or solicitations and advertisements of neighbours.
//
// The kernel shows a socket at an interface also what came in there and belongs
// to another on top of it, a VLAN, a bond or a bridge: those packets name that
// one. Of a VLAN that nobody has here they are marked as somebody else's, as is
// what a promiscuous interface overhears. Tags are gone by now, so the offsets
// are fixed.
func filter(index int, protocol uint16) []bpf.Instruction {
	const drop, pass = 0, maxFrame
	program := []bpf.Instruction{
		bpf.LoadExtension{Num: bpf.ExtInterfaceIndex},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: uint32(index), SkipTrue: 1},
		bpf.RetConstant{Val: drop},
		bpf.LoadExtension{Num: bpf.ExtType},
		bpf.JumpIf{Cond: bpf.JumpLessThan, Val: unix.PACKET_OTHERHOST, SkipTrue: 1},
		bpf.RetConstant{Val: drop},
	}
	if protocol == typeIPv6 {
		program = append(program,
			bpf.LoadAbsolute{Off: ethernetLength + 6, Size: 1},
			bpf.JumpIf{Cond: bpf.JumpEqual, Val: protocolICMPv6, SkipFalse: 3},
			bpf.LoadAbsolute{Off: ethernetLength + ipv6Length, Size: 1},
			bpf.JumpIf{Cond: bpf.JumpEqual, Val: solicitation, SkipTrue: 2},
			bpf.JumpIf{Cond: bpf.JumpEqual, Val: advertisement, SkipTrue: 1},
			bpf.RetConstant{Val: drop},
		)
	}
	return append(program, bpf.RetConstant{Val: pass})
}

// networkOrder is htons.
func networkOrder(v uint16) uint16 {
	return binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, v))
}

package nft

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/fairlead-net/fairlead/internal/desired"
	"github.com/fairlead-net/fairlead/internal/lb"
)

// Kernels without SCTP sockets pass SCTP on all the same, so these tests speak it
// themselves (RFC 9260): an association begins with INIT, answered by INIT ACK.
const (
	sctpInit    = 1
	sctpInitAck = 2
)

func sctpPacket(from, to uint16, verification uint32, chunk byte) []byte {
	packet := make([]byte, 12+20)
	binary.BigEndian.PutUint16(packet[0:], from)
	binary.BigEndian.PutUint16(packet[2:], to)
	binary.BigEndian.PutUint32(packet[4:], verification)
	packet[12] = chunk
	binary.BigEndian.PutUint16(packet[14:], 20)
	binary.BigEndian.PutUint32(packet[16:], 0x01020304) // initiate tag
	binary.BigEndian.PutUint32(packet[20:], 1<<16)      // receive window
	binary.BigEndian.PutUint16(packet[24:], 1)          // streams
	binary.BigEndian.PutUint16(packet[26:], 1)
	binary.BigEndian.PutUint32(packet[28:], 1)
	binary.LittleEndian.PutUint32(packet[8:], crc32.Checksum(packet, crc32.MakeTable(crc32.Castagnoli)))
	return packet
}

func sctpValid(packet []byte) bool {
	if len(packet) < 32 {
		return false
	}
	sum := binary.LittleEndian.Uint32(packet[8:])
	clear(packet[8:12])
	return crc32.Checksum(packet, crc32.MakeTable(crc32.Castagnoli)) == sum
}

// tcpNonsense is a TCP segment that no connection has.
func tcpNonsense(from, to uint16) []byte {
	segment := make([]byte, 20)
	binary.BigEndian.PutUint16(segment[0:], from)
	binary.BigEndian.PutUint16(segment[2:], to)
	segment[12], segment[13] = 5<<4, 3 // SYN and FIN
	return segment
}

func rawNetwork(address netip.Addr, protocol desired.Protocol) string {
	if address.Is6() {
		return fmt.Sprint("ip6:", uint8(protocol))
	}
	return fmt.Sprint("ip4:", uint8(protocol))
}

// sendRaw sends one packet without its IP header.
func sendRaw(protocol desired.Protocol, to string, packet []byte) error {
	address := netip.MustParseAddr(to)
	c, err := net.Dial(rawNetwork(address, protocol), to)
	if err != nil {
		return err
	}
	defer c.Close()
	_, err = c.Write(packet)
	return err
}

// answerSCTP answers associations to an address and port.
func (w *world) answerSCTP(i int, backend netip.AddrPort) {
	w.t.Helper()
	var socket net.PacketConn
	w.in(w.pods[i], func() (err error) {
		socket, err = net.ListenPacket(rawNetwork(backend.Addr(), desired.SCTP), backend.Addr().String())
		return err
	})
	w.t.Cleanup(func() { socket.Close() })
	go func() {
		buffer := make([]byte, 256)
		for {
			n, from, err := socket.ReadFrom(buffer)
			if err != nil {
				return
			}
			if packet := buffer[:n]; sctpValid(packet) && packet[12] == sctpInit && binary.BigEndian.Uint16(packet[2:]) == backend.Port() {
				client := binary.BigEndian.Uint16(packet)
				socket.WriteTo(sctpPacket(backend.Port(), client, 0x01020304, sctpInitAck), from)
			}
		}
	}()
}

// associate sends INIT and waits for INIT ACK.
func associate(from uint16, to netip.AddrPort, wait time.Duration) error {
	socket, err := net.Dial(rawNetwork(to.Addr(), desired.SCTP), to.Addr().String())
	if err != nil {
		return err
	}
	defer socket.Close()
	socket.SetDeadline(time.Now().Add(wait))
	if _, err := socket.Write(sctpPacket(from, to.Port(), 0, sctpInit)); err != nil {
		return err
	}
	buffer := make([]byte, 256)
	for {
		n, err := socket.Read(buffer)
		if err != nil {
			return err
		}
		packet := buffer[:n]
		if to.Addr().Is4() && n > 20 && packet[0]>>4 == 4 {
			packet = packet[20:] // a raw IPv4 socket shows the header
		}
		if sctpValid(packet) && packet[12] == sctpInitAck && binary.BigEndian.Uint16(packet) == to.Port() && binary.BigEndian.Uint16(packet[2:]) == from {
			return nil
		}
	}
}

// TestSCTP begins associations over both families from each place, by ClusterIP
// and NodePort, next to a Service of TCP at the same port.
func TestSCTP(t *testing.T) {
	for _, a := range families() {
		w := newWorld(t, 2)
		backend := netip.MustParseAddrPort(at(a.pod(2), "7777"))
		w.answerSCTP(2, backend)
		entries := map[lb.Frontend]*lb.Entry{}
		for _, address := range []string{a.clusterIP, a.any} {
			entries[frontendOf(at(address, "80"), desired.SCTP)] = &lb.Entry{Choice: choiceOf(backend.String()), Affinity: time.Hour}
			entries[frontendOf(at(address, "80"), desired.TCP)] = &lb.Entry{}
			entries[frontendOf(at(address, "81"), desired.SCTP)] = &lb.Entry{Choice: lb.Choice{Drop: true}}
		}
		w.apply(w.plane(), table(entries))
		for i, place := range []lb.Place{lb.Pod, lb.Host, lb.Outside} {
			for j, address := range []string{a.clusterIP, a.node} {
				from := uint16(20000 + 10*i + j)
				if err := within(w.place(place), func() error {
					return associate(from, netip.MustParseAddrPort(at(address, "80")), long)
				}); err != nil {
					t.Errorf("%s to %s: %v", place, address, err)
				}
				err := within(w.place(place), func() error {
					return associate(from+5, netip.MustParseAddrPort(at(address, "81")), patience)
				})
				if err == nil || place != lb.Host && !errors.Is(err, os.ErrDeadlineExceeded) {
					t.Errorf("%s to %s with Drop: %v", place, address, err)
				}
			}
		}
	}
}

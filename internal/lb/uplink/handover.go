package uplink

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/fairlead-net/fairlead/internal/lb"
)

// passings are the addresses of which packets are passed on, as the programs know
// them. Writing them waits for no Apply.
type passings struct {
	mu     sync.Mutex
	closed bool
	in     *ebpf.Map
	have   map[packetsAddress]bool
}

// Pass makes the programs pass on exactly these; what an earlier process wrote ends.
// What finds no room is left to nftables, as is what is not on a network of this
// node. It may be called at any time between New and Close.
func (p *Plane) Pass(want []lb.Passing) error {
	s := &p.passings
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return os.ErrClosed
	}
	now, err := bpfNow()
	if err != nil {
		return err
	}
	if s.have == nil {
		s.have = map[packetsAddress]bool{}
		if err := forEach(s.in, func(key packetsAddress, _ packetsPassing) { s.have[key] = true }); err != nil {
			return err
		}
	}
	wanted := map[packetsAddress]packetsPassing{}
	for _, one := range want {
		wanted[addressOf(one.Address)] = packetsPassing{To: addressOf(one.To), Until: now + uint64(max(one.For, 0)/time.Nanosecond)}
	}
	var failed []error
	for key := range s.have {
		if _, ok := wanted[key]; !ok {
			if err := deleteKey(s.in, key); err != nil {
				failed = append(failed, err)
				continue
			}
			delete(s.have, key)
		}
	}
	for key, value := range wanted {
		err := s.in.Put(key, value)
		if errors.Is(err, unix.E2BIG) {
			break
		}
		if err != nil {
			failed = append(failed, err)
			continue
		}
		s.have[key] = true
	}
	if err := errors.Join(failed...); err != nil {
		return fmt.Errorf("telling the programs which node knows connections that began elsewhere: %w", err)
	}
	return nil
}

// close ends the use of the map; what it has goes on until it expires.
func (s *passings) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
}

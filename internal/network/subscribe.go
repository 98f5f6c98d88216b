package network

import (
	"errors"
	"fmt"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// subscribe asks the kernel for news of links, addresses and routes until done
// is closed; that goes for an error too. Each news that matters pokes; the first
// error afterwards is sent, and then everything must be asked for and read
// again: the kernel may have lost news for want of memory.
//
// The kernel says nothing of IPv4 routes that go with their interface or
// address; but then it has told of the interface or the address.
func subscribe(done <-chan struct{}, poke chan<- struct{}) (<-chan error, error) {
	ended := make(chan error, 1)
	failed := func(err error) {
		select {
		case ended <- err:
		default:
		}
	}
	links := make(chan netlink.LinkUpdate)
	if err := netlink.LinkSubscribeWithOptions(links, done, netlink.LinkSubscribeOptions{ErrorCallback: failed}); err != nil {
		return nil, fmt.Errorf("subscribe to interfaces: %w", err)
	}
	go relay(links, poke, failed, func(netlink.LinkUpdate) bool { return true })
	addresses := make(chan netlink.AddrUpdate)
	if err := netlink.AddrSubscribeWithOptions(addresses, done, netlink.AddrSubscribeOptions{ErrorCallback: failed}); err != nil {
		return nil, fmt.Errorf("subscribe to addresses: %w", err)
	}
	go relay(addresses, poke, failed, func(netlink.AddrUpdate) bool { return true })
	routes := make(chan netlink.RouteUpdate)
	if err := netlink.RouteSubscribeWithOptions(routes, done, netlink.RouteSubscribeOptions{ErrorCallback: failed}); err != nil {
		return nil, fmt.Errorf("subscribe to routes: %w", err)
	}
	// A node has a route per pod or more; only default routes say something here.
	go relay(routes, poke, failed, func(u netlink.RouteUpdate) bool { return isDefault(u.Route) })
	return ended, nil
}

// relay pokes for every update that matters, and reads all: what is left in the
// channel would hold up the goroutine that fills it.
func relay[T any](updates <-chan T, poke chan<- struct{}, failed func(error), matters func(T) bool) {
	for u := range updates {
		if matters(u) {
			signal(poke)
		}
	}
	failed(errors.New("the kernel ended a subscription"))
}

// isDefault tells whether a route leads everywhere, by the tables that apply to
// everything.
func isDefault(r netlink.Route) bool {
	if r.Table != unix.RT_TABLE_MAIN && r.Table != unix.RT_TABLE_DEFAULT || r.Type != unix.RTN_UNICAST || r.MPLSDst != nil {
		return false
	}
	if r.Dst == nil {
		return true
	}
	ones, _ := r.Dst.Mask.Size()
	return ones == 0 && r.Dst.IP.IsUnspecified()
}

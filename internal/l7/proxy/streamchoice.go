package proxy

import (
	"net/netip"

	"github.com/cespare/xxhash/v2"

	"github.com/fairlead-net/fairlead/internal/l7/filter"
)

// chooseFor returns the endpoint for a connection of a client that is passed on as it is,
// not the one that failed if there is another; nil if there is none. Where a key decides,
// it is the client's address, as nothing else is known.
func (b *backend) chooseFor(client netip.Addr, how filter.Algorithm, failed *endpoint, now int64) *endpoint {
	if s := b.usable.Load(); s.keys != nil && how.ByKey() {
		address := client.As16()
		return s.byKey(xxhash.Sum64(address[:]), failed)
	}
	return b.choose(how, failed, now)
}

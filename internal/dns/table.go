package dns

import (
	"net/netip"

	"github.com/fairlead-net/fairlead/internal/desired"
	"github.com/fairlead-net/fairlead/internal/pmap"
)

// Table is everything that a server needs to answer for the cluster. It and
// all it points to are immutable. The zero Table knows no name and is not
// synced.
type Table struct {
	// Revision is that of the State this Table was compiled from.
	Revision uint64
	// Synced is false while the State may lack objects; names that are not known
	// then answer SERVFAIL instead of NXDOMAIN.
	Synced bool

	config Config
	zones  []zone // the longest names first
	state  *desired.State
	// namespaces are those that have names.
	namespaces pmap.Map[string, *desired.Namespace]
	// pods counts the pods that have an address, if Config.Pods asks for it.
	pods     pmap.Map[podAddress, int]
	services pmap.Map[desired.Name, *service]
	// reverse holds who uses an address: ClusterIPs and ready endpoints.
	reverse pmap.Map[netip.Addr, *owners]
	reasons pmap.Map[desired.Ref, *desired.Reason]
	// imports are the ServiceImports, if Config.Multicluster asks for them.
	imports pmap.Map[desired.Name, *service]
}

// Config returns the configuration that the Table was compiled with, complete.
func (t Table) Config() Config { return t.config }

// Len returns the number of Services and of addresses that have names.
func (t Table) Len() (services, addresses int) { return t.services.Len(), t.reverse.Len() }

// ServerAddresses returns the addresses at which clients reach this server, as
// far as the cluster knows: those of the Config's Server, else the configured
// ones.
func (t Table) ServerAddresses() []netip.Addr {
	if t.state != nil {
		// Not by t.services: clients reach it even if it has no name.
		if s, ok := t.state.Services.Get(t.config.Server); ok && len(s.Addresses) > 0 {
			return s.Addresses
		}
	}
	return t.config.ServerAddresses
}

// service is a Service with an index of its ready endpoints.
type service struct {
	source *desired.Service
	// ready is sorted by hostname, then by address.
	ready []ready
	// podNames is set if endpoints without hostname are named after their pods.
	podNames bool
	// imported is set for a ServiceImport.
	imported bool
	// repeated is set if an address occurs more than once in ready.
	repeated bool
	// owner names this Service alone as the user of an endpoint address, so that
	// its endpoints share one value in Table.reverse.
	owner *owners
}

// ready is the position of a ready endpoint in its Service: 8 bytes, because
// there can be hundreds of thousands.
type ready struct{ slice, endpoint int32 }

func (s *service) at(r ready) (*desired.Slice, *desired.Endpoint) {
	slice := s.source.Slices[r.slice]
	return slice, &slice.Endpoints[r.endpoint]
}

// owners are the Services that use an address, each list sorted by name.
type owners struct {
	clusterIP []desired.Name
	endpoint  []desired.Name
}

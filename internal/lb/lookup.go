package lb

import "net/netip"

// Verdict is what happens to a connection.
type Verdict string

// The verdicts.
const (
	// Pass: the address and port belong to no Service; nothing is changed.
	Pass Verdict = "pass"
	// Forward: the connection goes to one of the Decision's Backends.
	Forward Verdict = "forward"
	// Refuse: connect fails at once, as no endpoint can serve it.
	Refuse Verdict = "refuse"
	// Drop: the connection gets no answer.
	Drop Verdict = "drop"
)

// Decision is the answer to where a connection goes.
type Decision struct {
	Verdict Verdict
	// Entry is what was found in the Table; nil for Pass.
	Entry *Entry
	// Backends are those that may be chosen. A client with affinity gets the one
	// it had, for as long as it is among them.
	Backends []netip.AddrPort
}

// Lookup decides as every plane that has applied t must. An IPv4 address mapped
// into IPv6 is the IPv4 address.
func (t Table) Lookup(f Frontend) Decision {
	f.Address = f.Address.Unmap()
	entry, ok := t.Entries.Get(f)
	switch {
	case !ok:
		return Decision{Verdict: Pass}
	case len(entry.Backends) > 0:
		return Decision{Verdict: Forward, Entry: entry, Backends: entry.Backends}
	case entry.Drop:
		return Decision{Verdict: Drop, Entry: entry}
	}
	return Decision{Verdict: Refuse, Entry: entry}
}

package agent

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/fairlead-net/fairlead/internal/desired"
	"github.com/fairlead-net/fairlead/internal/lb"
	"github.com/fairlead-net/fairlead/internal/lb/ebpf"
)

const (
	maxTraceQuery  = 256 // more than any question needs
	maxDifferences = 20  // that are told
)

// TraceQuestion asks a node where a connection goes.
type TraceQuestion struct {
	From   lb.Place
	Source netip.Addr // may be invalid: not known
	To     lb.Frontend
}

// TraceAnswer is what a node says: what it has decided, and what its kernel
// holds. It names no Service and no pod: whoever can reach a node may ask.
type TraceAnswer struct {
	Node     string `json:"node"`
	Revision uint64 `json:"revision"`
	// NodeAddress: the node takes the asked address for one of its own.
	NodeAddress bool `json:"nodeAddress"`
	// Frontend is the entry of the tables that decides, empty if none.
	Frontend string       `json:"frontend,omitempty"`
	Verdict  lb.Verdict   `json:"verdict"`
	Why      string       `json:"why,omitempty"`
	Backends []string     `json:"backends,omitempty"`
	Kernel   []KernelSays `json:"kernel"`
}

// KernelSays is what one plane's part of the kernel holds for a connection.
type KernelSays struct {
	Plane string `json:"plane"`
	// Held says in words what is there.
	Held string `json:"held"`
	// Differences from what the node has decided; none means the same.
	Differences []string `json:"differences,omitempty"`
	// Problem says why the kernel could not be asked.
	Problem string `json:"problem,omitempty"`
}

// Query is the question in the form of a URL's query.
func (q TraceQuestion) Query() map[string]string {
	query := map[string]string{
		"from": string(q.From),
		"to":   netip.AddrPortFrom(q.To.Address, q.To.Port).String() + "/" + strings.ToLower(q.To.Protocol.String()),
	}
	if q.Source.IsValid() {
		query["source"] = q.Source.String()
	}
	return query
}

// ParseTrace reads a question. Whatever is not understood is an error.
func ParseTrace(raw string) (TraceQuestion, error) {
	var q TraceQuestion
	if len(raw) > maxTraceQuery {
		return q, fmt.Errorf("the question is longer than %d bytes", maxTraceQuery)
	}
	values, err := url.ParseQuery(raw)
	if err != nil {
		return q, fmt.Errorf("not a query: %w", err)
	}
	for name, all := range values {
		if !slices.Contains([]string{"from", "source", "to"}, name) || len(all) != 1 {
			return q, fmt.Errorf("%q: wanted are from, to and perhaps source, each once", name)
		}
	}
	q.From = lb.Place(values.Get("from"))
	if !slices.Contains([]lb.Place{lb.Pod, lb.Host, lb.Outside}, q.From) {
		return q, fmt.Errorf("from=%q is none of pod, host and outside", q.From)
	}
	if text := values.Get("source"); text != "" {
		if q.Source, err = netip.ParseAddr(text); err != nil || q.Source.Zone() != "" {
			return q, fmt.Errorf("source=%q is not an address", text)
		}
	}
	q.To, err = ParseFrontend(values.Get("to"))
	return q, err
}

// ParseFrontend reads ADDRESS:PORT/PROTOCOL.
func ParseFrontend(text string) (lb.Frontend, error) {
	end, name, found := strings.Cut(text, "/")
	protocol, known := desired.ParseProtocol(name)
	at, err := netip.ParseAddrPort(end)
	if !found || !known || err != nil || at.Port() == 0 || at.Addr().Zone() != "" {
		return lb.Frontend{}, fmt.Errorf("%q is not of the form ADDRESS:PORT/PROTOCOL", text)
	}
	return lb.Frontend{Address: at.Addr().Unmap(), Port: at.Port(), Protocol: protocol}, nil
}

// serveTrace answers one question at a time: reading the kernel's tables costs
// more than asking does.
func (a *Agent) serveTrace(w http.ResponseWriter, r *http.Request) {
	q, err := ParseTrace(r.URL.RawQuery)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if !a.tracing.TryLock() {
		http.Error(w, "this node answers another question, ask again", http.StatusTooManyRequests)
		return
	}
	defer a.tracing.Unlock()
	answer, err := a.trace(q)
	if err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(answer); err != nil {
		a.log.Debug("trace not sent", "error", err)
	}
}

func (a *Agent) trace(q TraceQuestion) (TraceAnswer, error) {
	table := a.table.Load()
	if table == nil {
		return TraceAnswer{}, errors.New("this node has decided nothing yet: it has not read everything from the API server")
	}
	packet := lb.Packet{From: q.From, Source: q.Source, To: q.To}
	d := table.Lookup(packet)
	answer := TraceAnswer{
		Node: a.options.Node, Revision: table.Revision, Verdict: d.Verdict, Why: d.Why,
		NodeAddress: slices.Contains(table.NodeAddresses, q.To.Address),
	}
	if d.Entry != nil {
		answer.Frontend = d.Frontend.String()
	}
	for _, b := range d.Backends {
		answer.Backends = append(answer.Backends, b.String())
	}
	if a.sockets && q.From != lb.Outside && q.To.Protocol != desired.SCTP {
		answer.Kernel = append(answer.Kernel, a.askSockets(packet, d))
	}
	if a.uplink != nil && q.From == lb.Outside && q.To.Protocol != desired.SCTP {
		answer.Kernel = append(answer.Kernel, a.askUplink(packet, d))
	}
	return answer, a.askPackets(&answer, packet, d)
}

// asked is the frontend to look for in the kernel: that which decides, or that
// which must not be there.
func asked(p lb.Packet, d lb.Decision) lb.Frontend {
	if d.Entry != nil {
		return d.Frontend
	}
	return p.To
}

// askSockets reads the maps that the attached programs use.
func (a *Agent) askSockets(p lb.Packet, d lb.Decision) KernelSays {
	says := KernelSays{Plane: "eBPF in sockets"}
	reader, err := ebpf.Open(a.options.Config.LB.BPFFS)
	if err != nil {
		says.Problem = err.Error()
		return says
	}
	defer func() { _ = reader.Close() }()
	held, found, err := reader.Lookup(asked(p, d))
	if err != nil {
		says.Problem = err.Error()
		return says
	}
	says.compare(p.From, d.Entry, held, found)
	if found && held.Sources != nil {
		says.Held = "left to nftables, because of loadBalancerSourceRanges"
		if d.Entry != nil && d.Entry.Sources != nil {
			says.Differences = nil // it holds no more than that
		}
	}
	return says
}

// askUplink reads the maps of the programs at the uplinks.
func (a *Agent) askUplink(p lb.Packet, d lb.Decision) KernelSays {
	says := KernelSays{Plane: "eBPF at the uplinks"}
	held, err := a.uplink.Lookup(asked(p, d))
	switch {
	case err != nil:
		says.Problem = err.Error()
	case held.Backends != nil:
		says.compare(p.From, d.Entry, &lb.Entry{Choice: lb.Choice{Backends: held.Backends}}, true)
	case held.Left != "":
		says.Held = "left to nftables: " + held.Left
	default:
		says.Held = "left to nftables"
	}
	return says
}

// askPackets adds what nftables holds.
func (a *Agent) askPackets(answer *TraceAnswer, p lb.Packet, d lb.Decision) error {
	if a.packets == nil {
		return errors.New("this process has no nftables plane")
	}
	says := KernelSays{Plane: "nftables"}
	held, found, err := a.packets.Lookup(asked(p, d))
	node, clusterIP, err2 := a.packets.Knows(p.To.Address)
	if err := errors.Join(err, err2); err != nil {
		says.Problem = err.Error()
		answer.Kernel = append(answer.Kernel, says)
		return nil
	}
	says.compare(p.From, d.Entry, held, found)
	if found && d.Entry != nil && d.Frontend.IsNodePort() && !p.To.Address.IsLoopback() && !node {
		says.differ("%s is not among the addresses of the node", p.To.Address)
	}
	if d.Entry == nil && d.Verdict == lb.Refuse && !clusterIP {
		says.differ("%s is not among the ClusterIPs, so the packet is not refused", p.To.Address)
	}
	answer.Kernel = append(answer.Kernel, says)
	return nil
}

// differ adds a difference; the first ones tell enough.
func (k *KernelSays) differ(format string, args ...any) {
	if len(k.Differences) == maxDifferences {
		return
	}
	k.Differences = append(k.Differences, fmt.Sprintf(format, args...))
}

// compare says what is held for clients at a place, and how that differs from
// what is wanted, which is nil where no Service has the frontend.
func (k *KernelSays) compare(from lb.Place, want, held *lb.Entry, found bool) {
	if !found {
		k.Held = "no entry"
		if want != nil {
			k.differ("the entry is missing")
		}
		return
	}
	has := held.For(from)
	k.Held = string(has.Verdict())
	if has.Verdict() == lb.Forward {
		k.Held = "forward to " + strconv.Itoa(len(has.Backends)) + " backends"
	}
	if want == nil {
		k.differ("there is an entry that no Service has")
		return
	}
	wants := want.For(from)
	if has.Verdict() != wants.Verdict() {
		k.differ("it says %s instead of %s", has.Verdict(), wants.Verdict())
	}
	for _, b := range wants.Backends {
		if !slices.Contains(has.Backends, b) {
			k.differ("backend %s is missing", b)
		}
	}
	for _, b := range has.Backends {
		if !slices.Contains(wants.Backends, b) {
			k.differ("backend %s should not be there", b)
		}
	}
	if len(wants.Backends) > 0 && held.Affinity != want.Affinity {
		k.differ("clients are remembered for %s instead of %s", held.Affinity, want.Affinity)
	}
	if (held.Sources == nil) != (want.Sources == nil) {
		k.differ("loadBalancerSourceRanges are checked: %t instead of %t", held.Sources != nil, want.Sources != nil)
	}
}

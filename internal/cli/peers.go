package cli

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/fairlead-net/fairlead/internal/agent"
	"github.com/fairlead-net/fairlead/internal/desired"
)

// peerRow is the session of one node with the router of one BGPPeer, or a BGPPeer
// that no node has a session for.
type peerRow struct {
	agent.Session
	Node string `json:"node,omitempty"`
}

// listPeers joins BGPPeers with the sessions that nodes say they have.
func listPeers(state *desired.State, reasons []desired.Reason, sessions []peerRow) []peerRow {
	all := slices.Clone(sessions)
	for name, p := range state.Addressing.Peers.All() {
		if slices.ContainsFunc(sessions, func(r peerRow) bool { return r.Peer == name.Name }) {
			continue
		}
		row := peerRow{Session: agent.Session{Peer: name.Name, AS: p.PeerASN, State: "Idle", Address: p.Interface}}
		if p.Address.IsValid() {
			row.Address = p.Address.String()
		}
		problems := problemsOf(state, reasons, desired.Ref{Kind: "BGPPeer", Namespace: name.Namespace, Name: name.Name})
		row.Problem = cmp.Or(strings.Join(problems, "; "), "no node makes the session: look at spec.nodeSelectors, and at what fairlead status says of the nodes")
		all = append(all, row)
	}
	slices.SortFunc(all, func(a, b peerRow) int {
		return cmp.Or(strings.Compare(a.Peer, b.Peer), strings.Compare(a.Node, b.Node))
	})
	return all
}

// problemsOf returns what is to be said against an object.
func problemsOf(state *desired.State, reasons []desired.Reason, ref desired.Ref) []string {
	if status, ok := state.Statuses.Get(ref); ok {
		reasons = slices.Concat(reasons, status.Reasons)
	}
	var problems []string
	for _, reason := range reasons {
		if reason.Object == ref {
			problems = append(problems, reason.Message)
		}
	}
	return problems
}

func printPeers(w io.Writer, peers []peerRow, now time.Time) {
	if len(peers) == 0 {
		return
	}
	fmt.Fprintln(w, "\nPEER\tROUTER\tAS\tNODE\tSTATE\tSINCE\tROUTES\tBFD\tPROBLEM")
	for _, p := range peers {
		since, as := "-", "-"
		if !p.Since.IsZero() {
			since = now.Sub(p.Since).Round(time.Second).String()
		}
		if p.AS != 0 {
			as = fmt.Sprint(p.AS)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%d\t%s\t%s\n",
			p.Peer, dash(p.Address), as, dash(p.Node), p.State, since, p.Routes, dash(p.BFD), dash(p.Problem))
	}
}

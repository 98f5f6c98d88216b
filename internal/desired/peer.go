package desired

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/fairlead-net/fairlead/api/metallb"
)

// Peer is a router that nodes hold a BGP session with.
type Peer struct {
	Name Name `json:"name"`
	// ASN is the node's, as the router is to see it, PeerASN the router's. PeerASN is 0 where any AS is taken:
	// only the node's own if Internal, else only others.
	ASN      uint32 `json:"asn"`
	PeerASN  uint32 `json:"peerASN,omitempty"`
	Internal bool   `json:"internal,omitempty"`
	// Address is the router's; where it is not valid, the router is the neighbour at
	// Interface (unnumbered).
	Address   netip.Addr `json:"address,omitzero"`
	Interface string     `json:"interface,omitempty"`
	Port      uint16     `json:"port"`
	// Source is the node's end; not valid means as the route says.
	Source netip.Addr `json:"source,omitzero"`
	// Times of RFC 4271; 0 means the usual (hold 90 s, keepalive a third of it).
	Hold      time.Duration `json:"hold,omitempty"`
	Keepalive time.Duration `json:"keepalive,omitempty"`
	Connect   time.Duration `json:"connect,omitempty"`
	// RouterID is the node's; not valid means its IPv4 address.
	RouterID      netip.Addr `json:"routerID,omitzero"`
	NodeSelectors Selectors  `json:"nodeSelectors,omitempty"`
	// Password is the key of TCP MD5 signatures (RFC 2385); PasswordSecret names a
	// Secret that has it.
	Password       string `json:"-"`
	PasswordSecret Name   `json:"passwordSecret,omitzero"`
	// BFD is the name of a BFDProfile; empty means no BFD.
	BFD             string `json:"bfd,omitempty"`
	GracefulRestart bool   `json:"gracefulRestart,omitempty"`
	// MultiHop lets the router be more than one hop away.
	MultiHop bool   `json:"multiHop,omitempty"`
	VRF      string `json:"vrf,omitempty"`
	// BothFamilies exchanges routes of both families in the session; else only of
	// that of the session's addresses.
	BothFamilies bool `json:"bothFamilies,omitempty"`

	reasons []Reason // against the object
}

// BFDProfile says how fast the loss of a router is noticed (RFC 5880).
type BFDProfile struct {
	Name     Name          `json:"name"`
	Receive  time.Duration `json:"receive"`
	Transmit time.Duration `json:"transmit"`
	// Multiplier is how many packets may be missing.
	Multiplier uint8 `json:"multiplier"`
	Passive    bool  `json:"passive,omitempty"`

	reasons []Reason // against the object
}

// Community is a community (RFC 1997) of two numbers, or a large one (RFC 8092)
// of three.
type Community struct {
	Large   bool
	Numbers [3]uint32
}

// String returns ASN:NUMBER, or large:ASN:NUMBER:NUMBER.
func (c Community) String() string {
	if c.Large {
		return fmt.Sprintf("large:%d:%d:%d", c.Numbers[0], c.Numbers[1], c.Numbers[2])
	}
	return fmt.Sprintf("%d:%d", c.Numbers[0], c.Numbers[1])
}

// MarshalText writes what String returns.
func (c Community) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// ParseCommunity reads ASN:NUMBER, large:ASN:NUMBER:NUMBER, or one of the names of
// RFC 1997 and its successors.
func ParseCommunity(text string) (Community, bool) {
	if number, ok := wellKnown(text); ok {
		return Community{Numbers: [3]uint32{number >> 16, number & 0xffff}}, true
	}
	rest, large := strings.CutPrefix(text, "large:")
	c, bits := Community{Large: large}, 16
	if large {
		bits = 32
	}
	parts := strings.Split(rest, ":")
	if c.Large && len(parts) != 3 || !c.Large && len(parts) != 2 {
		return Community{}, false
	}
	for i, part := range parts {
		number, err := strconv.ParseUint(part, 10, bits)
		if err != nil {
			return Community{}, false
		}
		c.Numbers[i] = uint32(number)
	}
	return c, true
}

// wellKnown returns the number of a community that has a name (RFC 1997, 3765,
// 7999, 8326).
func wellKnown(name string) (uint32, bool) {
	switch strings.ToLower(name) {
	case "graceful-shutdown":
		return 0xffff0000, true
	case "blackhole":
		return 0xffff029a, true
	case "no-export":
		return 0xffffff01, true
	case "no-advertise":
		return 0xffffff02, true
	case "no-export-subconfed", "local-as":
		return 0xffffff03, true
	case "no-peer":
		return 0xffffff04, true
	}
	return 0, false
}

// CommunityNames are the names in one Community object.
type CommunityNames struct {
	Name   Name                 `json:"name"`
	Values map[string]Community `json:"values,omitempty"`

	reasons []Reason // against the object
}

// ParseCommunityNames reads a Community object.
func ParseCommunityNames(o *metallb.Community) *CommunityNames {
	c := &CommunityNames{Name: Name{o.Namespace, o.Name}, Values: map[string]Community{}}
	var r reasons
	for i, alias := range o.Spec.Communities {
		value, ok := ParseCommunity(alias.Value)
		if !ok || alias.Name == "" {
			r.add("CommunityInvalid", "spec.communities[%d]: %q=%q is not a name and ASN:NUMBER or large:ASN:NUMBER:NUMBER; it is left out", i, alias.Name, alias.Value)
			continue
		}
		c.Values[alias.Name] = value
	}
	c.reasons = r.of(Ref{Kind: "Community", Namespace: o.Namespace, Name: o.Name})
	return c
}

// ParsePeer turns the object into a Peer, which knows what of the object cannot be
// used; nil where no session can be made of it.
func ParsePeer(o *metallb.BGPPeer) *Peer {
	s := o.Spec
	p := &Peer{
		Name: Name{o.Namespace, o.Name}, ASN: s.MyASN, PeerASN: s.ASN, Internal: s.DynamicASN == "internal",
		Interface: s.Interface, Port: s.Port, Hold: duration(s.HoldTime), Keepalive: duration(s.KeepaliveTime),
		Connect: duration(s.ConnectTime), Password: s.Password, BFD: s.BFDProfile,
		PasswordSecret:  Name{s.PasswordSecret.Namespace, s.PasswordSecret.Name},
		GracefulRestart: s.EnableGracefulRestart, MultiHop: s.EBGPMultiHop, VRF: s.VRF,
		BothFamilies: s.DualStackAddressFamily && !s.DisableMP,
	}
	if s.LocalASN != 0 && p.ASN != 0 {
		p.ASN = s.LocalASN
	}
	if p.Port == 0 {
		p.Port = 179
	}
	if p.PasswordSecret.Name != "" && p.PasswordSecret.Namespace == "" {
		p.PasswordSecret.Namespace = o.Namespace
	}
	var r reasons
	address := func(text, field string) (a netip.Addr) {
		if text == "" {
			return a
		}
		a, err := netip.ParseAddr(text)
		if err != nil {
			r.add("PeerInvalid", "%s: %q is not an IP address", field, text)
			return netip.Addr{}
		}
		return a.Unmap()
	}
	p.Address, p.Source, p.RouterID = address(s.Address, "spec.peerAddress"), address(s.SourceAddress, "spec.sourceAddress"), address(s.RouterID, "spec.routerID")
	p.NodeSelectors = parseSelectors(s.NodeSelectors, "spec.nodeSelectors", &r)
	p.validate(s.DynamicASN, &r)
	p.reasons = r.of(Ref{Kind: "BGPPeer", Namespace: o.Namespace, Name: o.Name})
	return p
}

// Usable tells whether a session can be made.
func (p *Peer) Usable() bool {
	return p.ASN != 0 && p.Address.IsValid() != (p.Interface != "") && len(p.reasons) == 0
}

func (p *Peer) validate(dynamic string, r *reasons) {
	bad := func(format string, args ...any) {
		r.add("PeerInvalid", format+"; no session is made with this peer", args...)
	}
	if p.ASN == 0 {
		bad("spec.myASN is missing")
	}
	if (p.PeerASN == 0) == (dynamic == "") {
		bad("one of spec.peerASN and spec.dynamicASN is needed, and not both")
	}
	if dynamic != "" && dynamic != "internal" && dynamic != "external" {
		bad("spec.dynamicASN: %q is neither internal nor external", dynamic)
	}
	if !p.Address.IsValid() && p.Interface == "" || p.Address.IsValid() && p.Interface != "" {
		bad("one of spec.peerAddress and spec.interface is needed, and not both")
	}
	if p.Source.IsValid() && p.Address.IsValid() && p.Source.Is4() != p.Address.Is4() {
		bad("spec.sourceAddress is not of the family of spec.peerAddress")
	}
	if p.RouterID.IsValid() && !p.RouterID.Is4() {
		bad("spec.routerID must have the form of an IPv4 address")
	}
	if p.Hold != 0 && (p.Hold < 3*time.Second || p.Hold > 65535*time.Second) {
		bad("spec.holdTime is %s, allowed are 3s to 65535s (RFC 4271, section 4.2)", p.Hold)
	}
	if p.Keepalive != 0 && p.Hold != 0 && p.Keepalive > p.Hold {
		bad("spec.keepaliveTime is %s, longer than spec.holdTime (%s)", p.Keepalive, p.Hold)
	}
	if p.Password != "" && p.PasswordSecret.Name != "" {
		bad("only one of spec.password and spec.passwordSecret can be given")
	}
}

// ParseBFDProfile turns the object into a BFDProfile, which knows what of the
// object cannot be used.
func ParseBFDProfile(o *metallb.BFDProfile) *BFDProfile {
	s := o.Spec
	var r reasons
	milliseconds := func(value *uint32, field string) time.Duration {
		if value == nil {
			return 300 * time.Millisecond
		}
		if *value < 10 || *value > 60000 {
			r.add("BFDProfileInvalid", "%s is %d, allowed are 10 to 60000 milliseconds; 300 is used", field, *value)
			return 300 * time.Millisecond
		}
		return time.Duration(*value) * time.Millisecond
	}
	p := &BFDProfile{
		Name: Name{o.Namespace, o.Name}, Multiplier: 3, Passive: isTrue(s.PassiveMode, false),
		Receive:  milliseconds(s.ReceiveInterval, "spec.receiveInterval"),
		Transmit: milliseconds(s.TransmitInterval, "spec.transmitInterval"),
	}
	if m := s.DetectMultiplier; m != nil && (*m < 2 || *m > 255) {
		r.add("BFDProfileInvalid", "spec.detectMultiplier is %d, allowed are 2 to 255; 3 is used", *m)
	} else if m != nil {
		p.Multiplier = uint8(*m)
	}
	if isTrue(s.EchoMode, false) {
		r.add("BFDEchoUnsupported", "spec.echoMode: echo packets are not sent; control packets at spec.transmitInterval detect the same")
	}
	p.reasons = r.of(Ref{Kind: "BFDProfile", Namespace: o.Namespace, Name: o.Name})
	return p
}

func duration(d *metav1.Duration) time.Duration {
	if d == nil {
		return 0
	}
	return d.Duration
}

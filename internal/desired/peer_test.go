package desired

import (
	"fmt"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/fairlead-net/fairlead/api/metallb"
)

func peerOf(change func(*metallb.BGPPeerSpec)) *metallb.BGPPeer {
	o := &metallb.BGPPeer{ObjectMeta: meta("tor"), Spec: metallb.BGPPeerSpec{MyASN: 64512, ASN: 64513, Address: "192.0.2.1"}}
	change(&o.Spec)
	return o
}

// TestPeerProblems holds that a session is made only where nothing is wrong, and that
// what is wrong is said.
func TestPeerProblems(t *testing.T) {
	seconds := func(n int) *metav1.Duration { return &metav1.Duration{Duration: time.Duration(n) * time.Second} }
	for name, c := range map[string]struct {
		change func(*metallb.BGPPeerSpec)
		want   []string
	}{
		"good":                {func(*metallb.BGPPeerSpec) {}, nil},
		"unnumbered":          {func(s *metallb.BGPPeerSpec) { s.Address, s.Interface = "", "eth0" }, nil},
		"dynamic":             {func(s *metallb.BGPPeerSpec) { s.ASN, s.DynamicASN = 0, "external" }, nil},
		"no AS":               {func(s *metallb.BGPPeerSpec) { s.MyASN = 0 }, []string{"PeerInvalid: spec.myASN is missing; no session"}},
		"no AS but another":   {func(s *metallb.BGPPeerSpec) { s.MyASN, s.LocalASN = 0, 64600 }, []string{"PeerInvalid: spec.myASN is missing"}},
		"no AS of the router": {func(s *metallb.BGPPeerSpec) { s.ASN = 0 }, []string{"PeerInvalid: one of spec.peerASN and spec.dynamicASN"}},
		"two":                 {func(s *metallb.BGPPeerSpec) { s.DynamicASN = "internal" }, []string{"PeerInvalid: one of spec.peerASN and spec.dynamicASN"}},
		"unknown":             {func(s *metallb.BGPPeerSpec) { s.ASN, s.DynamicASN = 0, "any" }, []string{`PeerInvalid: spec.dynamicASN: "any" is neither`}},
		"nowhere":             {func(s *metallb.BGPPeerSpec) { s.Address = "" }, []string{"PeerInvalid: one of spec.peerAddress and spec.interface"}},
		"two places":          {func(s *metallb.BGPPeerSpec) { s.Interface = "eth0" }, []string{"PeerInvalid: one of spec.peerAddress and spec.interface"}},
		"no address":          {func(s *metallb.BGPPeerSpec) { s.Address = "tor.example" }, []string{`PeerInvalid: spec.peerAddress: "tor.example" is not an IP address`, "PeerInvalid: one of"}},
		"source":              {func(s *metallb.BGPPeerSpec) { s.SourceAddress = "here" }, []string{`PeerInvalid: spec.sourceAddress: "here"`}},
		"source's family":     {func(s *metallb.BGPPeerSpec) { s.SourceAddress = "2001:db8::1" }, []string{"PeerInvalid: spec.sourceAddress is not of the family"}},
		"mapped source":       {func(s *metallb.BGPPeerSpec) { s.SourceAddress = "::ffff:192.0.2.2" }, nil},
		"router ID":           {func(s *metallb.BGPPeerSpec) { s.RouterID = "2001:db8::1" }, []string{"PeerInvalid: spec.routerID must have the form"}},
		"hold":                {func(s *metallb.BGPPeerSpec) { s.HoldTime = seconds(2) }, []string{"PeerInvalid: spec.holdTime is 2s, allowed are 3s to"}},
		"long hold":           {func(s *metallb.BGPPeerSpec) { s.HoldTime = seconds(65536) }, []string{"PeerInvalid: spec.holdTime"}},
		"no hold":             {func(s *metallb.BGPPeerSpec) { s.HoldTime, s.KeepaliveTime = seconds(0), seconds(9) }, nil},
		"keepalive":           {func(s *metallb.BGPPeerSpec) { s.HoldTime, s.KeepaliveTime = seconds(9), seconds(10) }, []string{"PeerInvalid: longer than spec.holdTime (9s)"}},
		"passwords": {func(s *metallb.BGPPeerSpec) {
			s.Password, s.PasswordSecret = "a", corev1.SecretReference{Name: "b"}
		}, []string{"PeerInvalid: only one of spec.password and spec.passwordSecret"}},
		"selector": {func(s *metallb.BGPPeerSpec) { s.NodeSelectors = []metav1.LabelSelector{broken()} }, []string{"SelectorInvalid: spec.nodeSelectors[0]"}},
	} {
		p := ParsePeer(peerOf(c.change))
		said(t, name, p.reasons, "BGPPeer", c.want...)
		if p.Usable() != (len(c.want) == 0) {
			t.Errorf("%s: a session is made: %v", name, p.Usable())
		}
	}
}

func TestParsePeer(t *testing.T) {
	p := ParsePeer(peerOf(func(s *metallb.BGPPeerSpec) { s.PasswordSecret.Name = "key" }))
	if p.Port != 179 || p.ASN != 64512 || p.PeerASN != 64513 || p.Internal || p.PasswordSecret != (Name{"metallb-system", "key"}) {
		t.Errorf("%+v", p)
	}
	p = ParsePeer(peerOf(func(s *metallb.BGPPeerSpec) {
		s.Port, s.LocalASN, s.ASN, s.DynamicASN, s.PasswordSecret = 1179, 4200000000, 0, "internal", corev1.SecretReference{Namespace: "other", Name: "key"}
		s.DualStackAddressFamily = true
	}))
	if p.Port != 1179 || p.ASN != 4200000000 || !p.Internal || p.PasswordSecret != (Name{"other", "key"}) || !p.BothFamilies {
		t.Errorf("%+v", p)
	}
	if p = ParsePeer(peerOf(func(s *metallb.BGPPeerSpec) { s.DualStackAddressFamily, s.DisableMP = true, true })); p.BothFamilies {
		t.Error("disableMP is not seen")
	}
}

func TestParseBFDProfile(t *testing.T) {
	number, yes := func(n uint32) *uint32 { return &n }, true
	const usual = 300 * time.Millisecond
	for name, c := range map[string]struct {
		spec metallb.BFDProfileSpec
		want BFDProfile
		said []string
	}{
		"empty": {metallb.BFDProfileSpec{}, BFDProfile{Receive: usual, Transmit: usual, Multiplier: 3}, nil},
		"full": {
			metallb.BFDProfileSpec{ReceiveInterval: number(10), TransmitInterval: number(60000), DetectMultiplier: number(255), PassiveMode: &yes},
			BFDProfile{Receive: 10 * time.Millisecond, Transmit: time.Minute, Multiplier: 255, Passive: true}, nil,
		},
		"out of bounds": {
			metallb.BFDProfileSpec{ReceiveInterval: number(9), TransmitInterval: number(60001), DetectMultiplier: number(1)},
			BFDProfile{Receive: usual, Transmit: usual, Multiplier: 3},
			[]string{"BFDProfileInvalid: spec.receiveInterval is 9, allowed are 10 to 60000", "BFDProfileInvalid: spec.transmitInterval is 60001", "BFDProfileInvalid: spec.detectMultiplier is 1, allowed are 2 to 255"},
		},
		"too many": {metallb.BFDProfileSpec{DetectMultiplier: number(256)}, BFDProfile{Receive: usual, Transmit: usual, Multiplier: 3}, []string{"BFDProfileInvalid: 256"}},
		"echo":     {metallb.BFDProfileSpec{EchoMode: &yes}, BFDProfile{Receive: usual, Transmit: usual, Multiplier: 3}, []string{"BFDEchoUnsupported: spec.echoMode"}},
	} {
		p := ParseBFDProfile(&metallb.BFDProfile{ObjectMeta: meta("fast"), Spec: c.spec})
		said(t, name, p.reasons, "BFDProfile", c.said...)
		if p.Receive != c.want.Receive || p.Transmit != c.want.Transmit || p.Multiplier != c.want.Multiplier || p.Passive != c.want.Passive {
			t.Errorf("%s: %+v", name, p)
		}
	}
}

func TestCommunities(t *testing.T) {
	for text, want := range map[string]string{
		"64512:7": "64512:7", "0:0": "0:0", "65535:65535": "65535:65535", "large:4200000000:1:2": "large:4200000000:1:2",
		"no-export": "65535:65281", "NO-ADVERTISE": "65535:65282", "local-as": "65535:65283", "blackhole": "65535:666", "graceful-shutdown": "65535:0",
		"": "", "vip": "", "1": "", "1:2:3": "", "65536:1": "", "1:65536": "", "large:1:2": "", "large:1:2:4294967296": "", "-1:2": "", "1: 2": "",
	} {
		c, ok := ParseCommunity(text)
		if got := c.String(); ok != (want != "") || ok && got != want {
			t.Errorf("%q: %s, %v", text, got, ok)
		}
		if again, _ := ParseCommunity(c.String()); ok && again != c {
			t.Errorf("%q is read as %v and then as %v", text, c, again)
		}
	}
	o := &metallb.Community{ObjectMeta: meta("names")}
	o.Spec.Communities = []metallb.CommunityAlias{{Name: "vip", Value: "64512:1"}, {Name: "bad", Value: "vip"}, {Value: "64512:2"}}
	names := ParseCommunityNames(o)
	said(t, "names", names.reasons, "Community", `CommunityInvalid: spec.communities[1]: "bad"="vip" is not a name and ASN:NUMBER`, "CommunityInvalid: spec.communities[2]")
	if fmt.Sprint(names.Values) != "map[vip:64512:1]" {
		t.Error(names.Values)
	}
}

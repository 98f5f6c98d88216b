package bgp

import (
	"encoding/hex"
	"net/netip"
	"slices"
	"testing"

	wire "github.com/osrg/gobgp/v4/pkg/packet/bgp"
)

// FuzzSession reads what a router may send in a session as GoBGP does it, with what
// sessions of this package agree to. A panic there would end the process, and so would
// an error that is not of the type that GoBGP takes for granted (in fsm.go).
func FuzzSession(f *testing.F) {
	add := func(kind byte, body []byte) { f.Add(kind, body, byte(0)) }
	add(wire.BGP_MSG_OPEN, open()[wire.BGP_HEADER_LENGTH:])
	add(wire.BGP_MSG_KEEPALIVE, nil)
	add(wire.BGP_MSG_NOTIFICATION, []byte{6, 2, 3, 'b', 'y', 'e'})
	add(wire.BGP_MSG_ROUTE_REFRESH, []byte{0, 1, 0, 1})
	for _, body := range updates(f) {
		add(wire.BGP_MSG_UPDATE, body)
	}
	f.Fuzz(func(t *testing.T, kind byte, body []byte, flags byte) {
		families := map[wire.Family]wire.BGPAddPathMode{wire.RF_IPv4_UC: wire.BGP_ADD_PATH_NONE, wire.RF_IPv6_UC: wire.BGP_ADD_PATH_NONE}
		own := func(what string, err error) {
			if _, proper := err.(*wire.MessageError); err != nil && !proper { //nolint:errorlint // as GoBGP asks for it
				t.Errorf("%s: the error is a %T: %v", what, err, err)
			}
		}
		header := wire.BGPHeader{}
		if err := header.DecodeFromBytes(message(kind, body)[:wire.BGP_HEADER_LENGTH]); err != nil {
			own("header", err)
			return
		}
		m, err := wire.ParseBGPBody(&header, slices.Clone(body), &wire.MarshallingOption{
			AddPath: families, Use2ByteAS: flags&1 != 0, ExtendedMessage: flags&2 != 0,
		})
		own("body", err)
		if err != nil {
			return
		}
		switch b := m.Body.(type) {
		case *wire.BGPOpen:
			_, err := wire.ValidateOpenMsg(b, 64513, 64512, netip.MustParseAddr("10.0.0.1"))
			own("OPEN", err)
			capabilities(b)
		case *wire.BGPUpdate:
			_, err := wire.ValidateUpdateMsg(b, families, flags&4 != 0, false, flags&8 != 0)
			own("UPDATE", err)
		}
	})
}

// FuzzNLRI is FuzzSession for routes of all families that GoBGP knows: it reads them
// whether or not they were agreed to.
func FuzzNLRI(f *testing.F) {
	for family := range wire.AddressFamilyNameMap {
		for _, nlri := range [][]byte{
			{24, 192, 0, 2}, {0, 1, 0, 12, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0}, {2, 12, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 1}, slices.Repeat([]byte{1}, 40),
			{0, 6, 0, 34, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 8, 2, 0, 0, 4, 0, 0, 0xfc, 1, 1, 7, 0, 2, 0, 1, 2, 6, 0, 4, 1, 2, 3, 4},
		} {
			f.Add(family.Afi(), family.Safi(), nlri)
		}
	}
	f.Fuzz(func(t *testing.T, afi uint16, safi byte, nlri []byte) {
		if len(nlri) > 3000 {
			return
		}
		reach := slices.Concat([]byte{byte(afi >> 8), byte(afi), safi, 4, 192, 0, 2, 1, 0}, nlri)
		unreach := slices.Concat([]byte{byte(afi >> 8), byte(afi), safi}, nlri)
		for code, value := range map[byte][]byte{14: reach, 15: unreach} {
			attribute := slices.Concat([]byte{0x90, code, byte(len(value) >> 8), byte(len(value))}, value)
			body := slices.Concat([]byte{0, 0, byte(len(attribute) >> 8), byte(len(attribute))}, attribute)
			header := wire.BGPHeader{Type: wire.BGP_MSG_UPDATE, Len: uint16(wire.BGP_HEADER_LENGTH + len(body))}
			_, err := wire.ParseBGPBody(&header, body, &wire.MarshallingOption{})
			if _, proper := err.(*wire.MessageError); err != nil && !proper { //nolint:errorlint // as GoBGP asks for it
				t.Errorf("the error is a %T: %v", err, err)
			}
		}
	})
}

// capabilities reads those of an OPEN message.
func capabilities(o *wire.BGPOpen) []wire.ParameterCapabilityInterface {
	var all []wire.ParameterCapabilityInterface
	for _, parameter := range o.OptParams {
		if list, ok := parameter.(*wire.OptionParameterCapability); ok {
			all = append(all, list.Capability...)
		}
	}
	takesExtended(all)
	takesFamilies(all)
	return all
}

// updates returns bodies of UPDATE messages with many kinds of attributes.
func updates(t testing.TB) [][]byte {
	attributes := []wire.PathAttributeInterface{
		wire.NewPathAttributeOrigin(0),
		wire.NewPathAttributeAsPath([]wire.AsPathParamInterface{wire.NewAs4PathParam(wire.BGP_ASPATH_ATTR_TYPE_SEQ, []uint32{64513, 131072})}),
		wire.NewPathAttributeCommunities([]uint32{1, 2}),
		wire.NewPathAttributeLargeCommunities([]*wire.LargeCommunity{wire.NewLargeCommunity(1, 2, 3)}),
		wire.NewPathAttributeExtendedCommunities([]wire.ExtendedCommunityInterface{wire.NewTwoOctetAsSpecificExtended(wire.EC_SUBTYPE_ROUTE_TARGET, 1, 2, true)}),
	}
	prefix := must2(wire.NewIPAddrPrefix(netip.MustParsePrefix("2001:db8::/32")))(t)
	reach := must2(wire.NewPathAttributeMpReachNLRI(wire.RF_IPv6_UC, []wire.PathNLRI{{NLRI: prefix}}, netip.MustParseAddr("fe80::1")))(t)
	var all [][]byte
	for _, some := range [][]wire.PathAttributeInterface{nil, attributes, append(slices.Clone(attributes), reach)} {
		var b []byte
		for _, a := range some {
			b = append(b, must2(a.Serialize())(t)...)
		}
		all = append(all, slices.Concat([]byte{0, 0, byte(len(b) >> 8), byte(len(b))}, b))
	}
	// Attributes that nobody here asked for: AGGREGATOR, AS4_PATH, CLUSTER_LIST, TUNNEL_ENCAP,
	// AIGP, BGP-LS, PREFIX_SID, and one that is not known.
	for _, text := range []string{
		"c00706fc010a000001", "c0110602010000fc01", "800a040a000001", "c0170c000f00080106010400000001",
		"801a0b01000b0000000000000001", "801d0401070002abcd", "c0280a01000700000000000001", "c0f003010203",
		"800f0400020101", "800e1e00010104c000020100180a0000", "c01004000200640000000a", "c0160900060a00000a0a000001",
	} {
		b := must2(hex.DecodeString(text))(t)
		all = append(all, slices.Concat([]byte{0, 0, byte(len(b) >> 8), byte(len(b))}, b))
	}
	return all
}

// FuzzAdvertisement: whatever is heard at an interface, what is believed is well-formed.
func FuzzAdvertisement(f *testing.F) {
	f.Add(routerAdvertisement([]byte{2, 0, 0, 0, 0, 1}), 255)
	f.Add(appendSolicitation(nil, nil), 255)
	f.Fuzz(func(t *testing.T, b []byte, hops int) {
		if trusted(b, hops, netip.MustParseAddr("2001:db8::1")) && (len(b) < 8 || b[0] != solicitation) {
			t.Errorf("% x is taken from a stranger", b)
		}
		if trusted(b, hops, netip.MustParseAddr("fe80::1")) && hops != 255 {
			t.Errorf("% x is taken from afar", b)
		}
	})
}

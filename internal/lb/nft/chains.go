package nft

import (
	"encoding/binary"
	"net/netip"

	"golang.org/x/sys/unix"
)

// hook is where packets enter a chain.
type hook struct {
	kind     string
	number   uint32
	priority int32
}

// Priorities of the kernel (NF_IP_PRI_*).
const (
	priorityDNAT   = -100
	priorityFilter = 0
	prioritySNAT   = 100
)

const (
	chainRefuse    = "refuse"
	invalidCounter = "invalid-dropped"
)

// addChains writes all chains but those that pick backends.
func (t *transaction) addChains(dropInvalid bool) {
	t.newChain(chainRefuse, nil)
	t.newRule(chainRefuse, refuseTCP())
	t.newRule(chainRefuse, refuseOthers())
	for _, f := range t.layout.families {
		t.addFamily(f)
	}
	t.newChain("prerouting", &hook{"nat", unix.NF_INET_PRE_ROUTING, priorityDNAT})
	t.newChain("output", &hook{"nat", unix.NF_INET_LOCAL_OUT, priorityDNAT})
	t.newChain("postrouting", &hook{"nat", unix.NF_INET_POST_ROUTING, prioritySNAT})
	for _, f := range t.layout.families {
		from := f.rule("from outside the cluster, or from another node")
		from.meta(0, unix.NFT_META_IIFNAME)
		from.in(t.layout.uplinks)
		from.goTo("outside" + f.suffix)
		t.newRule("prerouting", from)
		for _, chain := range []string{"prerouting", "output"} {
			r := f.rule("")
			r.goTo("inside" + f.suffix)
			t.newRule(chain, r)
		}
		translated := f.rule("")
		translated.ct(0, unix.NFT_CT_STATUS, false)
		translated.mask(binary.NativeEndian.AppendUint32(nil, statusDNAT))
		translated.zero(0, unix.NFT_CMP_NEQ)
		translated.goTo("translated" + f.suffix)
		t.newRule("postrouting", translated)
	}
	if !dropInvalid {
		return
	}
	t.newCounter(invalidCounter)
	t.newChain("forward", &hook{"filter", unix.NF_INET_FORWARD, priorityFilter})
	r := rule{comment: "else replies that conntrack does not know would leave untranslated"}
	r.ct(0, unix.NFT_CT_STATE, false)
	r.mask(binary.NativeEndian.AppendUint32(nil, stateInvalid))
	r.zero(0, unix.NFT_CMP_NEQ)
	r.count(invalidCounter)
	r.drop()
	t.newRule("forward", r)
}

func refuseTCP() rule {
	var r rule
	r.meta(0, unix.NFT_META_L4PROTO)
	r.compare(0, unix.NFT_CMP_EQ, []byte{unix.IPPROTO_TCP})
	r.reject(unix.NFT_REJECT_TCP_RST, 0)
	return r
}

func refuseOthers() rule {
	var r rule
	r.reject(unix.NFT_REJECT_ICMPX_UNREACH, unix.NFT_REJECT_ICMPX_PORT_UNREACH)
	return r
}

// rule starts a rule for packets of this family.
func (f *family) rule(comment string) rule {
	r := rule{comment: comment}
	r.meta(0, unix.NFT_META_NFPROTO)
	r.compare(0, unix.NFT_CMP_EQ, []byte{f.number})
	return r
}

// addFamily writes the chains of one family.
func (t *transaction) addFamily(f *family) {
	t.newChain("misses"+f.suffix, nil)
	t.newChain("unallocated"+f.suffix, nil)
	other := f.rule("a port that the Service does not have")
	other.load(0, f, f.destination)
	other.in(f.clusterIPs)
	other.goTo(chainRefuse)
	t.newRule("misses"+f.suffix, other)
	var unallocated rule
	unallocated.goTo("unallocated" + f.suffix)
	t.newRule("misses"+f.suffix, unallocated)

	for _, outside := range []bool{false, true} {
		name := placeName(outside)
		t.newChain("node-"+name+f.suffix, nil)
		t.addLookups("node-"+name+f.suffix, f, true, outside)
		t.newChain(name+f.suffix, nil)
		t.addLookups(name+f.suffix, f, false, outside)
		node := f.rule("")
		node.load(0, f, f.destination)
		node.in(f.node)
		node.jump("node-" + name + f.suffix)
		t.newRule(name+f.suffix, node)
		var miss rule
		miss.goTo("misses" + f.suffix)
		t.newRule(name+f.suffix, miss)
	}
	t.addPostrouting(f)
}

func placeName(outside bool) string {
	if outside {
		return "outside"
	}
	return "inside"
}

// addLookups writes the rules that find a frontend and act on it.
func (t *transaction) addLookups(chain string, f *family, node, outside bool) {
	size := words(f.inside.key)
	sources := f.rule("loadBalancerSourceRanges")
	sources.frontend(0, f, node)
	sources.in(f.restricted)
	sources.load(size, f, f.source)
	sources.notIn(0, f.allowed)
	sources.drop()
	t.newRule(chain, sources)
	maps := []set{f.inside}
	if outside {
		maps = []set{f.outside, f.inside}
	}
	for _, m := range maps {
		r := f.rule("")
		r.frontend(0, f, node)
		r.stand(size+1, 2)
		r.get(0, m, size)
		r.zero(size, unix.NFT_CMP_EQ)
		r.follow(size+1, f.actions)
		t.newRule(chain, r)
	}
}

// load puts an address of the packet into registers.
func (r *rule) load(word int, f *family, offset uint32) {
	r.payload(word, unix.NFT_PAYLOAD_NETWORK_HEADER, offset, f.address.length)
}

// frontend puts what the packet is for into registers; node stands for all of
// the node's addresses.
func (r *rule) frontend(word int, f *family, node bool) {
	if node {
		r.constant(word, f.any.AsSlice())
	} else {
		r.load(word, f, f.destination)
	}
	word += f.address.words()
	r.meta(word, unix.NFT_META_L4PROTO)
	r.port(word + 1)
}

// port loads the destination port, which TCP, UDP and SCTP have at one place.
func (r *rule) port(word int) { r.payload(word, unix.NFT_PAYLOAD_TRANSPORT_HEADER, 2, 2) }

// addPostrouting writes what decides whose address the backend sees. Only
// connections to our frontends are touched: others that were translated, such as
// to host ports, belong to who translated them.
func (t *transaction) addPostrouting(f *family) {
	masquerade := "masquerade" + f.suffix
	t.newChain(masquerade, nil)
	t.addMasquerade(masquerade, f)
	chain := "translated" + f.suffix
	t.newChain(chain, nil)
	size := words(f.inside.key)
	for _, node := range []bool{false, true} {
		var r rule
		r.ct(0, f.ctOriginal, true)
		if node {
			r.in(f.node)
			r.constant(0, f.any.AsSlice())
		}
		word := f.address.words()
		r.ct(word, unix.NFT_CT_PROTOCOL, true)
		r.ct(word+1, unix.NFT_CT_PROTO_DST, true)
		r.get(0, f.inside, size)
		r.zero(size, unix.NFT_CMP_GTE) // whatever it is, it is ours
		r.goTo(masquerade)
		t.newRule(chain, r)
	}
}

func (t *transaction) addMasquerade(chain string, f *family) {
	hairpin := f.rule("a pod that is its own backend must answer by way of the node")
	hairpin.meta(0, unix.NFT_META_IIF)
	hairpin.zero(0, unix.NFT_CMP_NEQ)
	hairpin.load(0, f, f.source)
	hairpin.load(f.address.words(), f, f.destination)
	hairpin.in(f.hairpin)
	hairpin.masquerade(t.layout.masqueradePorts)
	t.newRule(chain, hairpin)

	local := f.rule("replies pass here anyway")
	local.load(0, f, f.destination)
	local.in(f.local)
	local.accept()
	t.newRule(chain, local)

	self := rule{comment: "from the node itself"}
	self.meta(0, unix.NFT_META_IIF)
	self.zero(0, unix.NFT_CMP_EQ)
	self.masquerade(t.layout.masqueradePorts)
	t.newRule(chain, self)

	transit := rule{comment: "came by an uplink and leaves the node again"}
	transit.meta(0, unix.NFT_META_IIFNAME)
	transit.in(t.layout.uplinks)
	transit.masquerade(t.layout.masqueradePorts)
	t.newRule(chain, transit)
}

// setRanges writes what is dropped because no Service has the address.
func (t *transaction) setRanges(ranges []netip.Prefix) {
	for _, f := range t.layout.families {
		chain := "unallocated" + f.suffix
		t.deleteRules(chain)
		for _, p := range ranges {
			if p.Addr().Is6() != f.is6() {
				continue
			}
			r := f.rule("an address that no Service has")
			r.load(0, f, f.destination)
			r.mask(maskOf(p))
			r.compare(0, unix.NFT_CMP_EQ, p.Masked().Addr().AsSlice())
			r.drop()
			t.newRule(chain, r)
		}
	}
}

func maskOf(p netip.Prefix) []byte {
	mask := make([]byte, p.Addr().BitLen()/8)
	for i := range p.Bits() {
		mask[i/8] |= 0x80 >> (i % 8)
	}
	return mask
}

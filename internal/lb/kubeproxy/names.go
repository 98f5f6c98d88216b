package kubeproxy

import (
	"regexp"
	"strings"
)

// markMasq and postrouting belong together: the one marks what the other
// masquerades.
const (
	markMasq    = "KUBE-MARK-MASQ"
	postrouting = "KUBE-POSTROUTING"
)

// ownTable is the table of kube-proxy's nftables mode, of families ip and ip6.
const ownTable = "kube-proxy"

// chainPattern matches the chains of kube-proxy's iptables and ipvs modes, as a
// person can give it to grep -E too. Those of a Service or an endpoint end in 16
// letters and digits of a hash. Other programs use the prefix KUBE- too, such as
// kube-router for its network policies.
const chainPattern = `KUBE-(SERVICES|EXTERNAL-SERVICES|NODEPORTS|POSTROUTING|MARK-MASQ|FORWARD|PROXY-FIREWALL|PROXY-CANARY` +
	`|LOAD-BALANCER|NODE-PORT|SOURCE-RANGES-FIREWALL|IPVS-FILTER|IPVS-OUT-FILTER|(SVC|SVL|SEP|FW|EXT|XLB)-[A-Z2-7]{16})`

// isChain returns what tells whether a chain is kube-proxy's.
func isChain() func(string) bool {
	return regexp.MustCompile("^" + chainPattern + "$").MatchString
}

// isKubelets tells whether a chain is the kubelet's, which looks after it itself.
func isKubelets(chain string) bool {
	switch chain {
	case "KUBE-FIREWALL", "KUBE-KUBELET-CANARY", "KUBE-MARK-DROP", "KUBE-IPTABLES-HINT":
		return true
	}
	return false
}

// isSet tells whether an ipset is that of kube-proxy's ipvs mode, for either
// family; names end after 31 letters.
func isSet(name string) bool {
	name = strings.Replace(name, "KUBE-6-", "KUBE-", 1)
	for _, known := range []string{
		"KUBE-LOOP-BACK", "KUBE-CLUSTER-IP", "KUBE-EXTERNAL-IP", "KUBE-EXTERNAL-IP-LOCAL", "KUBE-LOAD-BALANCER", "KUBE-LOAD-BALANCER-LOCAL",
		"KUBE-LOAD-BALANCER-FW", "KUBE-LOAD-BALANCER-SOURCE-IP", "KUBE-LOAD-BALANCER-SOURCE-CIDR", "KUBE-NODE-PORT-TCP", "KUBE-NODE-PORT-LOCAL-TCP",
		"KUBE-NODE-PORT-UDP", "KUBE-NODE-PORT-LOCAL-UDP", "KUBE-NODE-PORT-SCTP-HASH", "KUBE-NODE-PORT-LOCAL-SCTP-HASH", "KUBE-HEALTH-CHECK-NODE-PORT",
		"KUBE-IPVS-IPS",
	} {
		if name == known || len(name) >= 29 && strings.HasPrefix(known, name) {
			return true
		}
	}
	return false
}

package ipam

import (
	"cmp"
	"fmt"
	"net/netip"
	"strings"

	"github.com/fairlead-net/fairlead/internal/desired"
)

// problem is a Reason that does not know its object yet.
type problem struct {
	code, message string
	// passing problems are over when what is released now has been.
	passing bool
}

func (p *problem) against(s *desired.Service) *desired.Reason {
	if p == nil {
		return nil
	}
	return &desired.Reason{
		Object: desired.Ref{Kind: "Service", Namespace: s.Name.Namespace, Name: s.Name.Name},
		Code:   p.code, Message: p.message,
	}
}

// codeUnreadable is the code by which package desired says the same.
const codeUnreadable = "RequestedAddressInvalid"

func requestUnreadable() *problem {
	return &problem{code: codeUnreadable, message: "what the Service asks for is not an IP address, so it is given none; correct it or leave it out"}
}

func requestOfOtherFamily(a netip.Addr) *problem {
	return &problem{code: "RequestedAddressFamily", message: fmt.Sprintf(
		"the Service asks for %s but has no %s (spec.ipFamilies), so it is given no address; ask for one of its family, or add the family", a, familyOf(a))}
}

func requestTwice(f family) *problem {
	return &problem{code: "RequestedAddressesTooMany", message: fmt.Sprintf(
		"the Service asks for more than one %s address, so it is given none; a Service has one address of each family, name one", f)}
}

func requestOutside(a netip.Addr) *problem {
	return &problem{code: "RequestedAddressOutside", message: fmt.Sprintf(
		"%s, which the Service asks for, is in no IPAddressPool; add it to one, or ask for another address", a)}
}

func requestInOtherPool(a netip.Addr, p *pool, names []string) *problem {
	return &problem{code: "RequestedAddressNotInPool", message: fmt.Sprintf(
		"%s, which the Service asks for, is in pool %s, and it asks for pool %s; correct one of the two", a, p.Name.Name, strings.Join(names, " or "))}
}

func requestTaken(a netip.Addr, by string) *problem {
	return &problem{code: "RequestedAddressTaken", message: fmt.Sprintf(
		"%s, which the Service asks for, is not free: %s; ask for another address, or let the two share it", a, by)}
}

func requestForbidden(a netip.Addr, p *pool) *problem {
	return &problem{code: "PoolForbidden", message: fmt.Sprintf(
		"%s, which the Service asks for, is in pool %s, which is for Services with other namespaces or labels (spec.serviceAllocation); change the pool, or ask for another address", a, p.Name.Name)}
}

func poolForbidden(names []string) *problem {
	return &problem{code: "PoolForbidden", message: fmt.Sprintf(
		"the Service asks for pool %s, which is for Services with other namespaces or labels (spec.serviceAllocation); change the pool, or ask for another", strings.Join(names, " or "))}
}

func poolNotFound(names []string) *problem {
	return &problem{code: "PoolNotFound", message: fmt.Sprintf(
		"the Service asks for pool %s, and there is no such IPAddressPool; create it, or correct the annotation", strings.Join(names, " or "))}
}

func withoutPool(pools int) *problem {
	if pools == 0 {
		return &problem{code: "PoolNotFound", message: "there is no IPAddressPool; create one with addresses for Services"}
	}
	return &problem{code: "PoolForbidden", message: fmt.Sprintf(
		"none of the pools (%d) is for this Service: they have autoAssign: false, or are for other namespaces or labels (spec.serviceAllocation); name a pool with the annotation metallb.io/address-pool, or change one", pools)}
}

func withoutFamily() *problem {
	return &problem{code: "ServiceWithoutFamily", message: "the Service has no cluster IP, by which the families of its addresses are known; it is given none until it has"}
}

func withoutSecondFamily() *problem {
	return &problem{code: "DualStackIncomplete", message: "the Service has ipFamilyPolicy RequireDualStack and a cluster IP of one family alone, so it is given no address; see spec.clusterIPs"}
}

func waiting(a netip.Addr, h *holding) *problem {
	return &problem{code: "AddressInRelease", passing: true, message: fmt.Sprintf(
		"%s is being released by Service %s; as soon as that is done it can be given", a, h.leaving[0])}
}

// exhausted says that pools have no more addresses of a family.
func (c *compiler) exhausted(f family, pools []*pool) *problem {
	var full, without []string
	for _, p := range pools {
		name := "pool " + p.Name.Name
		if total := p.size[f]; total != (number{}) {
			full = append(full, fmt.Sprintf("%s (%d of %d in use)", name, c.stock[p.index].used[f], total.clamped()))
		} else {
			without = append(without, name)
		}
	}
	if len(full) > 0 {
		return &problem{code: "PoolExhausted", message: fmt.Sprintf("no %s address is left in %s; add addresses to %s or remove Services", f, some(full), whichOf(full))}
	}
	return &problem{code: "PoolWithoutFamily", message: fmt.Sprintf("there are no %s addresses in %s; add some to %s", f, some(without), whichOf(without))}
}

// some lists names as far as somebody reads on.
func some(names []string) string {
	const most = 5
	if len(names) > most {
		names = append(names[:most:most], fmt.Sprintf("%d more", len(names)-most))
	}
	return strings.Join(names, ", ")
}

func whichOf(names []string) string {
	if len(names) == 1 {
		return "it"
	}
	return "one of them"
}

// incomplete says that a Service has an address of one family alone, or none where
// it needs both.
func incomplete(a *ask, problems []*problem) *problem {
	why := join(problems)
	why.code = "DualStackIncomplete"
	if a.service.Balancer.RequireDualStack {
		why.message = "ipFamilyPolicy RequireDualStack needs an address of each family, so the Service has none: " + why.message
		return why
	}
	for _, f := range families() {
		if !a.addresses[f].IsValid() {
			why.message = fmt.Sprintf("the Service has an %s address but none of %s: %s", f.other(), f, why.message)
		}
	}
	return why
}

// join makes one of several problems.
func join(problems []*problem) *problem {
	one := *problems[0]
	for _, p := range problems[1:] {
		if one.message != p.message {
			one.message += "; " + p.message
		}
		one.passing = one.passing || p.passing
	}
	return &one
}

// loss is the Reason for all that a Service lost.
func (a *ask) loss() *desired.Reason {
	if len(a.lost) == 0 {
		return nil
	}
	message := "the Service loses " + strings.Join(a.lost, "; and ")
	if now := a.assigned(); len(now) > 0 {
		message += fmt.Sprintf("; it now has %s", text(now))
	}
	return (&problem{code: "AddressLost", message: message}).against(a.service)
}

func text(addresses []netip.Addr) string {
	var texts []string
	for _, a := range addresses {
		texts = append(texts, a.String())
	}
	return strings.Join(texts, " and ")
}

// compareReasons orders reasons, so that the same are always in the same order.
func compareReasons(a, b desired.Reason) int {
	return cmp.Or(strings.Compare(a.Object.Kind, b.Object.Kind), strings.Compare(a.Object.Namespace, b.Object.Namespace),
		strings.Compare(a.Object.Name, b.Object.Name), strings.Compare(a.Code, b.Code), strings.Compare(a.Message, b.Message))
}

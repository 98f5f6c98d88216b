// Package ipam gives addresses from pools to Services of type LoadBalancer.
//
// In goes a desired.State: pools, Services with what they ask for and have, and
// the claims by which the API server knows who has an address. Out comes a Table:
// for each Service its addresses, or why it has none, and what each pool has left;
// and the Effects that bring claims and statuses there, in an order in which no
// address is ever two Services' at once. What a Service has it keeps, unless there
// is a Reason. The package is a pure function: it remembers nothing that is not in
// the State, so that a restart or another process comes to the same.
//
// # Who gets what
//
// First, Services keep what they have: what claims say, then what statuses say
// without a claim (given by a controller before Fairlead). Of two that cannot both
// keep an address the older one does, or the one whose name sorts first. Then those
// get addresses that have none: first those that ask for a certain address, then
// the others, each by age and name. An address that somebody still has, or is named
// for in a claim, goes to nobody else before it is released.
//
// A pool that an address comes from must admit the Service, by namespace and by
// labels. Pools are tried in this order: the lowest priority number first, 0 last;
// then those made for some Services before those for all; then by name. Services
// with two families get both from one pool if there is one that has both, else from
// two. A Service with a sharing key has an address that it can share, in any pool
// that it may have addresses from, rather than one of its own.
//
// # As MetalLB does, and not
//
// Rules are those of MetalLB (internal/allocator and controller/service.go in its
// repository) except where it leaves more to chance or does more harm:
//   - A requested address is given from a pool with autoAssign: false, as in
//     MetalLB; and although avoidBuggyIPs leaves it out, which MetalLB refuses.
//     Neither setting takes an address from who has it.
//   - Services with the same sharing key are put together wherever they can be; in
//     MetalLB the first usable address counts, free or shared. Across namespaces a
//     key by Cilium's annotation needs both to name the other's namespace
//     (lbipam.cilium.io/sharing-cross-namespace), one by MetalLB's nothing.
//   - One address requested for a Service of two families fixes that family; the
//     other is from the same pool, or any. MetalLB refuses it.
//   - A Service whose request cannot be read keeps what it has, as in MetalLB.
//   - Services of two families may have their addresses from two pools; where MetalLB
//     chooses, one must have both.
//   - Where pools overlap, the one whose name sorts first gives the address; who has
//     it by another keeps it. MetalLB refuses such pools when they are written.
//   - What another controller seems to have given is left alone: the ingress of a
//     Service that is taken only by Options.Default, as long as it has host names or
//     there is no pool at all. MetalLB clears it.
package ipam

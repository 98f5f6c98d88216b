// Package ebpf makes the kernel resolve Services in sockets: a connection to a
// frontend of an lb.Table is a connection to one of its backends from the
// start, and its packets cost nothing extra.
//
// In goes an lb.Table through Plane.Apply; out come BPF programs on the root of
// the cgroup hierarchy and maps that say what the Table says. Dump and Lookup
// read those maps back. The package never decides which backends a Service has,
// never touches packets, and never handles a protocol other than TCP and UDP;
// frontends of others are left to the packet path.
//
// # Maps
//
//	frontends    address, port, protocol        -> list, count, affinity, what if empty
//	backends     list, number from 0            -> address, port
//	members      list, backend                  -> (present)
//	affinity     network namespace, frontend    -> backend, time of last use
//	connected    socket storage                 -> Service and backend of the connection
//	unconnected  socket storage                 -> the last 16 Services and backends
//
// Addresses always take 16 bytes, IPv4 as ::ffff:a.b.c.d, so that an IPv6
// socket that speaks IPv4 finds the same entry. A list of backends is written
// once and never changed; a changed Service gets a new list with a new number.
// Numbers have 64 bits and rise by one, so none is ever used twice.
// members holds only the lists for which somebody remembers a backend (UDP and
// affinity): a remembered backend that is no longer in the list is a miss.
// What a socket was told is kept with the socket and not in a hash of all
// sockets, because such a hash fills up and then forgets open connections.
//
// # Order of writing
//
// First a new list as a whole, then the frontend that names it (one atomic
// replacement), then the deletion of the list it named before. Whatever moment
// a process dies at, each frontend names a whole list, and what is left over is
// a list that nothing names, which the next process deletes. The program checks
// at the end of a decision that the frontend still names the list it read, and
// starts again otherwise, so it never answers from a deleted list.
//
// Only frontends that differ between the last applied Table and the wanted one
// are written. A frontend that could not be written, or may not be removed yet
// because the Table is not Synced, stays pending for the next Apply.
//
// # Restart
//
// Maps and links are pinned below one directory:
//
//	links/PROGRAM              what is attached, whatever its layout
//	serving                    the frontends that the attached programs read
//	maps-vLAYOUT-FINGERPRINT/  the maps; the fingerprint covers types and sizes
//
// A new process adopts maps of its own layout: it reads them back and writes
// only what differs. If the layout or a size changed, it fills new maps in full
// from a Synced Table, then replaces the program in each link atomically, then
// removes the old maps. At no moment is a connection left without a program.
package ebpf

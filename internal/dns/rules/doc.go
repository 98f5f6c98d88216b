// Package rules does with a query what the directives of a server block in a
// Corefile ask for beside the cluster's names and forwarding: acl, rewrite,
// template, hosts, dns64, any, chaos, local, minimal, whoami, nsid, log, errors and
// dnstap.
//
// In goes a server block of package corefile, and New makes Rules of it, or says
// which directive cannot be followed. In goes a client's query; Query says what
// becomes of it: a reply at once, no reply, or another query for which the
// cluster's names and other servers are to be asked, together with what is to be
// undone in their reply. The order is CoreDNS's, which does not depend on the
// order in the file: rewrite and acl, then any, chaos, local, template and hosts.
//
// Where CoreDNS does harm, the rules differ:
//   - A query that rewrite changes must be allowed by acl before and after, so that
//     an alias opens nothing that is closed (CVE-2026-26017).
//   - Answers to a query whose name was rewritten carry the name that the client asked
//     for, whatever the kind of match, as resolvers do not accept others. CoreDNS
//     does so for exact matches only, unless "answer auto" is written.
//   - "rewrite edns0 ... append" adds an option only if there is none with its code, as
//     the README of CoreDNS says and its code does for some kinds of options, and
//     clients that send no OPT record get none (RFC 6891, section 6.1.1).
//   - Each rule for aliases (rewrite cname) is used once for a reply, so that two of
//     them do not lead in a circle, and targets are compared whatever their case.
//
// Messages are those of a DNS library here, as templates can make any record. The
// package opens no file and no socket, never changes the client's message, and its
// work for one query depends on the Corefile alone.
package rules

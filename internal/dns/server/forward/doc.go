// Package forward asks other DNS servers what the cluster does not know.
//
// In goes a Query; out comes the reply of an upstream server, from the cache or
// from the network, or an error whose text a user understands. The upstreams are
// listed in the Config or in a resolv.conf that is read again when it changes.
//
// A server that does not answer costs the first queries a few hundred
// milliseconds: the next one is asked while the first may still answer, and one
// that fails repeatedly is left out until it answers probes again. Equal queries
// that wait at the same time are asked once. A server that leads back to this
// one is never asked.
//
// The package never answers for names of the cluster and never keeps an answer
// for longer than its TTL.
package forward

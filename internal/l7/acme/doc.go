// Package acme gets the certificates of Ingresses from a certificate authority that
// speaks ACME (RFC 8555), and has every replica of the gateway answer its challenges.
//
// In go l7.Tables; Wanted says, from a Table alone, which certificates are wanted and
// which are not to be had, and Plan which of them are due. The one replica that leads
// orders them (Manager) and puts them into Secrets, by a Store. What the authority
// asks of the gateway meanwhile is in a Secret too, of which every replica makes
// Answers, an immutable value with two lookups.
//
// Which failures there were is in Secrets as well, so that a restart asks the authority
// no earlier than the process before it would have.
//
// Who wires it has the leader Run a Manager, which gets every Table (Offer) and the names
// of certificates' Secrets as they change (Changed). Every replica turns the Secret named
// AnswersSecret into Answers with each change of it (ReadAnswers), and asks them before
// the Table: for requests without TLS whose path has a Token, and for each handshake
// (TLSConfig, as tls.Config.GetConfigForClient), ending the connection after one that is
// a challenge.
//
// The package knows no Kubernetes API, opens no listener, never touches a Secret that
// it did not make, and never agrees to terms that the configuration does not.
package acme

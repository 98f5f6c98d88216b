package acme

import (
	"crypto/tls"
	"crypto/x509"
	"hash/fnv"
	"slices"
	"strings"
	"time"
)

// Held is what there is under the name of a Secret.
type Held struct {
	// Exists and Ours: there is such a Secret, and it was made by this package.
	Exists, Ours bool
	// Hosts are the names in its certificate, NotBefore and NotAfter its lifetime, and
	// Server the directory of the authority that it is from. Without a certificate and
	// its key that can be used they are empty.
	Hosts               []string
	NotBefore, NotAfter time.Time
	Server              string
	// RenewAt is when the authority wants it to be renewed (RFC 9773); zero: it has not
	// said.
	RenewAt time.Time

	leaf *x509.Certificate
}

// readHeld reads a Secret; found is false if there is none.
func readHeld(s Secret, found bool) Held {
	h := Held{Exists: found, Ours: found && s.isCertificate()}
	pair, err := tls.X509KeyPair(s.Data[keyCertificate], s.Data[keyPrivate])
	if err != nil || pair.Leaf == nil {
		return h
	}
	h.leaf, h.Hosts = pair.Leaf, pair.Leaf.DNSNames
	h.NotBefore, h.NotAfter = pair.Leaf.NotBefore, pair.Leaf.NotAfter
	h.Server = string(s.Data[keyServer])
	return h
}

// isCertificate tells a certificate of this package's from its other Secrets, and from
// all others.
func (s Secret) isCertificate() bool { return s.Ours && s.Type == TypeTLS }

// keyServer is where a Secret that this package makes has Config.Server.
const keyServer = "acme.server"

// renewal is when the certificate is to be renewed: when the authority says, else
// after two thirds of its lifetime.
func (h *Held) renewal() time.Time {
	usual := h.NotBefore.Add(h.NotAfter.Sub(h.NotBefore) / 3 * 2)
	// What lies behind the end is no advice to be followed.
	if h.RenewAt.IsZero() || h.RenewAt.After(h.NotAfter) {
		return usual
	}
	return h.RenewAt
}

// serves tells whether the certificate is what is wanted, until it has to be renewed.
func (h *Held) serves(want Want, server string) bool {
	if h.leaf == nil || h.Server != server {
		return false
	}
	for _, host := range want.Hosts {
		if !slices.ContainsFunc(h.Hosts, func(has string) bool { return strings.EqualFold(has, host) }) {
			return false
		}
	}
	return true
}

// chosen returns a time within a window that is the same for one certificate each
// time, and spread evenly for many, as RFC 9773 (section 4.2) wants it chosen.
func chosen(leaf *x509.Certificate, start, end time.Time) time.Time {
	digest := fnv.New64a()
	digest.Write(leaf.Raw)
	width := end.Sub(start)
	if width <= 0 {
		return start
	}
	return start.Add(time.Duration(digest.Sum64() % uint64(width)))
}

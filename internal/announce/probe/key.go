package probe

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"hash"
	"time"
)

// keyGrace is how long the key before is good after a change, so that the nodes,
// which do not get a new key in the same moment, stay alive for one another.
const keyGrace = 5 * time.Minute

// keys signs packets and checks their signatures.
type keys struct {
	current, previous *signer
	changed           time.Time
}

// set replaces the key; an empty one means that there is none.
func (k *keys) set(now time.Time, key []byte) {
	if k.current != nil && bytes.Equal(k.current.key, key) {
		if now.Sub(k.changed) >= keyGrace {
			k.previous = nil
		}
		return
	}
	if k.previous, k.current = k.current, nil; len(key) > 0 {
		k.current = newSigner(key)
	}
	k.changed = now
}

// by returns the key that a node is known to have.
func (k *keys) by(previous bool) *signer {
	if previous && k.previous != nil {
		return k.previous
	}
	return k.current
}

// check tells whether a packet for this receiver is signed with one of the keys,
// and whether that is the one before.
func (k *keys) check(b, receiver []byte) (good, previous bool) {
	if k.current == nil {
		return false, false
	}
	if k.current.good(b, receiver) {
		return true, false
	}
	previous = k.previous != nil && k.previous.good(b, receiver)
	return previous, previous
}

// signer is one key.
type signer struct {
	key  []byte
	hash hash.Hash
	sum  [sha256.Size]byte
}

func newSigner(key []byte) *signer {
	key = bytes.Clone(key)
	return &signer{key: key, hash: hmac.New(sha256.New, key)}
}

// mac is valid until the next call.
func (s *signer) mac(b, receiver []byte) []byte {
	s.hash.Reset()
	s.hash.Write(b)
	s.hash.Write(receiver)
	return s.hash.Sum(s.sum[:0])[:macSize]
}

// sign appends the MAC to a packet for a receiver.
func (s *signer) sign(b, receiver []byte) []byte { return append(b, s.mac(b, receiver)...) }

// good tells whether the MAC of a packet, which is at least that long, is right.
func (s *signer) good(b, receiver []byte) bool {
	at := len(b) - macSize
	return hmac.Equal(b[at:], s.mac(b[:at], receiver))
}

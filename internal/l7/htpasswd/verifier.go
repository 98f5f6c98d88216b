package htpasswd

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"sync"
)

// ErrBusy is that so many passwords are being checked that this one was not.
var ErrBusy = errors.New("too many passwords are being checked")

// maxRemembered bounds what a Verifier remembers: 32 octets each.
const maxRemembered = 8192

// Verifier checks passwords. Computing a hash takes a processor for up to a second,
// so only a few are computed at a time, the others wait; what was right once is
// remembered, as a digest with a key that leaves no memory.
type Verifier struct {
	key [32]byte
	// places are for hashes that are being computed, queue for those that wait too.
	places, queue chan struct{}

	mu    sync.Mutex
	right map[[32]byte]struct{}
}

// NewVerifier returns one that computes up to so many hashes at a time, while up to
// so many wait.
func NewVerifier(atOnce, waiting int) *Verifier {
	v := &Verifier{
		places: make(chan struct{}, max(atOnce, 1)), queue: make(chan struct{}, max(atOnce, 1)+waiting),
		right: map[[32]byte]struct{}{},
	}
	_, _ = rand.Read(v.key[:]) // never fails: crypto/rand
	return v
}

// Verify tells whether a user has a password. It waits for its turn as long as ctx
// lasts; ErrBusy is that the turn did not come.
func (v *Verifier) Verify(ctx context.Context, u *Users, name, password string) (bool, error) {
	if u.Len() == 0 || len(password) > maxPassword {
		return false, nil
	}
	hash, known := u.hashes[name]
	if !known {
		hash = u.any
	}
	if !slow(hash) {
		return matches(hash, password) && known, nil
	}
	digest := v.digest(hash, password)
	v.mu.Lock()
	_, right := v.right[digest]
	v.mu.Unlock()
	if right {
		return known, nil
	}
	select {
	case v.queue <- struct{}{}:
	default:
		return false, ErrBusy
	}
	defer func() { <-v.queue }()
	select {
	case v.places <- struct{}{}:
	case <-ctx.Done():
		return false, ErrBusy
	}
	defer func() { <-v.places }()
	if !matches(hash, password) {
		return false, nil
	}
	v.remember(digest)
	return known, nil
}

// digest stands for a hash with its password. It holds for any user with that hash,
// and for none once the hash changes.
func (v *Verifier) digest(hash, password string) (d [32]byte) {
	mac := hmac.New(sha256.New, v.key[:])
	mac.Write([]byte(hash))
	mac.Write([]byte{0})
	mac.Write([]byte(password))
	mac.Sum(d[:0])
	return d
}

// remember keeps a digest, in place of any other if there are too many.
func (v *Verifier) remember(digest [32]byte) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.right) >= maxRemembered {
		for other := range v.right { // in no order
			delete(v.right, other)
			break
		}
	}
	v.right[digest] = struct{}{}
}

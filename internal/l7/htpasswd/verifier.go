package htpasswd

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"sync"
	"time"
)

// ErrBusy is that so many passwords are being checked that this one was not.
var ErrBusy = errors.New("too many passwords are being checked")

// maxRemembered bounds what a Verifier remembers: 32 octets each.
const maxRemembered = 8192

// Verifier checks passwords. Computing a hash takes a processor for up to a second,
// so only a few are computed at a time, the others wait; what was right once is
// remembered, as a digest with a key that leaves no memory. Whoever has hashes computed
// has a queue, and a part of the memory, of his own: see turns.
type Verifier struct {
	key   [32]byte
	turns *turns

	mu    sync.Mutex
	right map[string]map[[32]byte]struct{}
	size  int
}

// NewVerifier returns one that computes up to so many hashes at a time, while up to
// so many of each owner wait.
func NewVerifier(atOnce, waiting int) *Verifier {
	v := &Verifier{turns: newTurns(max(atOnce, 1), waiting, time.Now), right: map[string]map[[32]byte]struct{}{}}
	_, _ = rand.Read(v.key[:]) // never fails: crypto/rand
	return v
}

// Verify tells whether a user has a password. It waits for its owner's turn as long as
// ctx lasts; ErrBusy is that the turn did not come. The owner is whose Users they are, or
// who has them asked for.
func (v *Verifier) Verify(ctx context.Context, owner string, u *Users, name, password string) (bool, error) {
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
	_, right := v.right[owner][digest]
	v.mu.Unlock()
	if right {
		return known, nil
	}
	leave, ok := v.turns.enter(ctx, owner)
	if !ok {
		return false, ErrBusy
	}
	defer leave()
	if !matches(hash, password) {
		return false, nil
	}
	v.remember(owner, digest)
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

// remember keeps a digest, in place of any other of the owner with the most if there are
// too many.
func (v *Verifier) remember(owner string, digest [32]byte) {
	v.mu.Lock()
	defer v.mu.Unlock()
	own := v.right[owner]
	if own == nil {
		own = map[[32]byte]struct{}{}
		v.right[owner] = own
	}
	if _, has := own[digest]; has {
		return
	}
	own[digest] = struct{}{}
	if v.size++; v.size > maxRemembered {
		v.forget()
	}
}

// forget drops any digest of the owner that has the most.
func (v *Verifier) forget() {
	whose := ""
	for owner, digests := range v.right {
		if len(digests) > len(v.right[whose]) {
			whose = owner
		}
	}
	for digest := range v.right[whose] { // in no order
		delete(v.right[whose], digest)
		v.size--
		break
	}
	if len(v.right[whose]) == 0 {
		delete(v.right, whose)
	}
}

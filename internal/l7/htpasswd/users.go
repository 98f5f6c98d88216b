// Package htpasswd tells whether a name and a password are those of a user.
//
// In goes a file as Apache's htpasswd writes it, or the entries of a Secret with a
// user each; out come Users. In go a name and a password; a Verifier says whether the
// Users have them. Hashes are made to be slow, so a Verifier remembers, as a keyed
// digest, what it has found right, and lets only so many be computed at a time.
//
// The package opens no file and keeps no password. What it cannot read lets nobody in.
package htpasswd

import (
	"bytes"
	"crypto/sha1"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/GehirnInc/crypt"
	"github.com/GehirnInc/crypt/apr1_crypt"
	"github.com/GehirnInc/crypt/md5_crypt"
	"github.com/GehirnInc/crypt/sha256_crypt"
	"github.com/GehirnInc/crypt/sha512_crypt"
	"golang.org/x/crypto/bcrypt"
)

// Bounds of what whoever writes a Secret can have computed for a request.
const (
	// maxCost is bcrypt's: about a second of CPU. maxRounds are those of SHA-crypt.
	maxCost   = 14
	maxRounds = 200_000
	// maxPassword is in octets; longer ones are wrong.
	maxPassword = 1 << 10
	maxUsers    = 10_000
)

// Users are names with the hashes of their passwords. A nil *Users has none. Users are
// not changed once they are made.
type Users struct {
	hashes map[string]string
	// any is the hash that a password is compared with whose user there is not: that
	// takes as long then.
	any string
}

// Parse reads a file of lines NAME:HASH. Lines that cannot be used are left out, and
// the errors say which and why; they never quote a hash.
func Parse(file []byte) (*Users, []error) {
	u := &Users{hashes: map[string]string{}}
	var wrong []error
	number := 0
	for line := range bytes.Lines(file) {
		number++
		text := strings.TrimRight(string(line), "\r\n")
		if text == "" || text[0] == '#' {
			continue
		}
		name, hash, ok := strings.Cut(text, ":")
		if !ok {
			wrong = append(wrong, fmt.Errorf("line %d is not NAME:HASH", number))
			continue
		}
		hash, _, _ = strings.Cut(hash, ":") // a comment follows
		if err := u.add(name, hash); err != nil {
			wrong = append(wrong, fmt.Errorf("line %d: %w", number, err))
		}
	}
	return u, wrong
}

// FromMap reads entries with a user each: the key is the name, the value the hash.
func FromMap(entries map[string][]byte) (*Users, []error) {
	u := &Users{hashes: map[string]string{}}
	var wrong []error
	for _, name := range slices.Sorted(maps.Keys(entries)) {
		if err := u.add(name, strings.TrimRight(string(entries[name]), "\r\n")); err != nil {
			wrong = append(wrong, fmt.Errorf("user %q: %w", name, err))
		}
	}
	return u, wrong
}

// Len returns how many users there are.
func (u *Users) Len() int {
	if u == nil {
		return 0
	}
	return len(u.hashes)
}

// add takes in a user, unless the hash is none that can be computed within bounds.
// As in nginx, the first entry of a name counts.
func (u *Users) add(name, hash string) error {
	if len(u.hashes) >= maxUsers {
		return fmt.Errorf("there are more than %d users", maxUsers)
	}
	if err := check(hash); err != nil {
		return err
	}
	if _, has := u.hashes[name]; has {
		return errors.New("there is an earlier entry for the user, which counts")
	}
	u.hashes[name] = hash
	if u.any == "" {
		u.any = hash
	}
	return nil
}

// check says why a hash cannot be used.
func check(hash string) error {
	switch {
	case isBcrypt(hash):
		cost, err := bcrypt.Cost([]byte(hash))
		if err != nil {
			return errors.New("the bcrypt hash is malformed")
		}
		if cost > maxCost {
			return fmt.Errorf("bcrypt of cost %d would take too long; at most %d is allowed", cost, maxCost)
		}
		return nil
	case strings.HasPrefix(hash, "$apr1$"), strings.HasPrefix(hash, "$1$"):
		return nil
	case strings.HasPrefix(hash, "$5$"), strings.HasPrefix(hash, "$6$"):
		if rounds, ok := strings.CutPrefix(hash[3:], "rounds="); ok {
			text, _, _ := strings.Cut(rounds, "$")
			if n, err := strconv.Atoi(text); err != nil || n > maxRounds {
				return fmt.Errorf("more than %d rounds would take too long", maxRounds)
			}
		}
		return nil
	case strings.HasPrefix(hash, "{SHA}"), strings.HasPrefix(hash, "{SSHA}"):
		_, _, err := shaOf(hash)
		return err
	case strings.HasPrefix(hash, "{PLAIN}"):
		return nil
	}
	return errors.New("the hash is none of bcrypt, $apr1$, $1$, $5$, $6$, {SHA}, {SSHA} and {PLAIN}; crypt of 8 characters is not safe and not supported: make a new one with htpasswd -B")
}

func isBcrypt(hash string) bool {
	return strings.HasPrefix(hash, "$2a$") || strings.HasPrefix(hash, "$2b$") || strings.HasPrefix(hash, "$2y$")
}

// shaOf takes apart {SHA} and {SSHA}, whose salt follows the digest.
func shaOf(hash string) (digest, salt []byte, err error) {
	_, text, _ := strings.Cut(hash, "}")
	raw, err := base64.StdEncoding.DecodeString(text)
	if err != nil || len(raw) < sha1.Size || hash[2] == 'H' && len(raw) != sha1.Size {
		return nil, nil, errors.New("the SHA hash is malformed")
	}
	return raw[:sha1.Size], raw[sha1.Size:], nil
}

// matches computes whether a password has a hash, which check has let through.
func matches(hash, password string) bool {
	var crypter crypt.Crypter
	switch {
	case isBcrypt(hash):
		return bcrypt.CompareHashAndPassword([]byte(hash), []byte(password)) == nil
	case strings.HasPrefix(hash, "{PLAIN}"):
		return subtle.ConstantTimeCompare([]byte(hash[len("{PLAIN}"):]), []byte(password)) == 1
	case hash[0] == '{':
		digest, salt, err := shaOf(hash)
		sum := sha1.Sum(append([]byte(password), salt...))
		return err == nil && subtle.ConstantTimeCompare(digest, sum[:]) == 1
	case hash[1] == 'a':
		crypter = apr1_crypt.New()
	case hash[1] == '1':
		crypter = md5_crypt.New()
	case hash[1] == '5':
		crypter = sha256_crypt.New()
	default:
		crypter = sha512_crypt.New()
	}
	return crypter.Verify(hash, []byte(password)) == nil
}

// slow reports whether a hash takes more than microseconds.
func slow(hash string) bool { return hash[0] == '$' }

package server

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/binary"
	"encoding/hex"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/dchest/siphash"
)

// Sizes of cookies in bytes (RFC 7873, section 4; RFC 9018, section 4).
const (
	clientCookie    = 8
	serverCookie    = 16
	minServerCookie = 8
	maxServerCookie = 32
)

const (
	// cookieAge is how old a cookie may be, cookieFresh from when on the client
	// gets a new one, cookieAhead how far clocks may differ (RFC 9018, section 4.3).
	cookieAge   = time.Hour
	cookieFresh = 30 * time.Minute
	cookieAhead = 5 * time.Minute
)

// cookie is the COOKIE option of a query. All but present is zero if the client
// sent none.
type cookie struct {
	present bool
	client  [clientCookie]byte
	// server is what the client has from us, or zero.
	server [serverCookie]byte
}

// readCookie reads the data of a COOKIE option, or returns false if its size is
// not allowed (RFC 7873, section 5.2.2). A server cookie of another size than
// ours is somebody else's, and as good as none.
func readCookie(data []byte) (c cookie, ok bool) {
	if more := len(data) - clientCookie; more != 0 && (more < minServerCookie || more > maxServerCookie) {
		return c, false
	}
	c.present = true
	copy(c.client[:], data)
	if len(data) == clientCookie+serverCookie {
		copy(c.server[:], data[clientCookie:])
	}
	return c, true
}

// cookies makes and checks server cookies, by which clients show that they get
// what is sent to their address (RFC 7873). They are those of RFC 9018 with
// secrets of this process: nothing is kept per client.
type cookies struct {
	secrets atomic.Pointer[secrets]
}

// secrets are keys of SipHash: that of now, and the one before.
type secrets struct{ current, previous [2]uint64 }

func newCookies() *cookies {
	c := new(cookies)
	c.secrets.Store(&secrets{randomKey(), randomKey()})
	return c
}

func randomKey() [2]uint64 {
	var key [16]byte
	rand.Read(key[:]) // never fails, see crypto/rand
	return [2]uint64{binary.LittleEndian.Uint64(key[:]), binary.LittleEndian.Uint64(key[8:])}
}

// run replaces the secret once in the life of a cookie; those made with the one
// before stay valid.
func (c *cookies) run(ctx context.Context) {
	ticker := time.NewTicker(cookieAge)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			c.rotate()
		}
	}
}

func (c *cookies) rotate() {
	c.secrets.Store(&secrets{randomKey(), c.secrets.Load().current})
}

// sum returns the server cookie with a time (RFC 9018, section 4).
func (c *cookie) sum(key [2]uint64, address netip.Addr, seconds uint32) (server [serverCookie]byte) {
	var input [clientCookie + 8 + 16]byte
	copy(input[:], c.client[:])
	head := input[clientCookie:][:8]
	head[0] = 1 // the version; three bytes are reserved
	binary.BigEndian.PutUint32(head[4:], seconds)
	size := clientCookie + 8 + 16
	if address = address.Unmap(); address.Is4() {
		bytes := address.As4()
		size = clientCookie + 8 + copy(input[clientCookie+8:], bytes[:])
	} else {
		bytes := address.As16()
		copy(input[clientCookie+8:], bytes[:])
	}
	copy(server[:], head)
	binary.LittleEndian.PutUint64(server[8:], siphash.Hash(key[0], key[1], input[:size]))
	return server
}

// valid reports whether the client at an address has its server cookie from
// this server, and how old it is.
func (c *cookies) valid(sent *cookie, address netip.Addr, now time.Time) (age time.Duration, ok bool) {
	if !sent.present || sent.server[0] != 1 {
		return 0, false
	}
	seconds := binary.BigEndian.Uint32(sent.server[4:])
	// Times are compared in serial number arithmetic (RFC 1982).
	age = time.Duration(int32(uint32(now.Unix())-seconds)) * time.Second
	if age > cookieAge || age < -cookieAhead {
		return 0, false
	}
	known := c.secrets.Load()
	for _, key := range [...][2]uint64{known.current, known.previous} {
		if want := sent.sum(key, address, seconds); subtle.ConstantTimeCompare(want[:], sent.server[:]) == 1 {
			return age, true
		}
	}
	return 0, false
}

// answer returns the data of the COOKIE option for a client at an address: the
// one that it has as long as that is fresh, else a new one.
func (c *cookies) answer(sent *cookie, address netip.Addr, now time.Time) (data [clientCookie + serverCookie]byte) {
	server := sent.server
	if age, ok := c.valid(sent, address, now); !ok || age > cookieFresh {
		server = sent.sum(c.secrets.Load().current, address, uint32(now.Unix()))
	}
	copy(data[:], sent.client[:])
	copy(data[clientCookie:], server[:])
	return data
}

// text is the data of a COOKIE option as the wire library wants it.
func (c *cookies) text(sent *cookie, address netip.Addr, now time.Time) string {
	data := c.answer(sent, address, now)
	return hex.EncodeToString(data[:])
}

package forward

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"strings"

	wire "github.com/miekg/dns"
)

// Query is what is asked of an upstream.
type Query struct {
	// Name is absolute, in presentation form and any case.
	Name        string
	Type, Class uint16
	// DO asks for DNSSEC records, CD for no validation (RFC 4035).
	DO, CD bool
	// Options are further options of the OPT record, in wire form (RFC 6891, section
	// 6.1.2). Replies to other Options are other replies.
	Options string
	// noRecursion asks without the flag RD.
	noRecursion bool
}

// maxUDP is the size of UDP replies asked for: what passes every path without
// fragments (DNS flag day 2020).
const maxUDP = 1232

// key returns what the reply is found by in the cache, see appendKey.
func (q Query) key() ([]byte, error) {
	name := make([]byte, maxName)
	end, err := wire.PackDomainName(wire.CanonicalName(q.Name), name, 0, nil, false)
	if err != nil {
		return nil, fmt.Errorf("%q is not a name: %w", q.Name, err)
	}
	key := appendKey(name[:end], q.Type, q.Class, q.DO, q.CD)
	if q.Options != "" {
		key[len(key)-1] |= keyOptions
		key = append(key, q.Options...)
	}
	return key, nil
}

// query returns the Query of a key.
func query(key []byte) (Query, error) {
	name, end, err := wire.UnpackDomainName(key, 0)
	if err != nil || end+keyTail > len(key) {
		return Query{}, fmt.Errorf("key %x holds no name: %w", key, err)
	}
	tail := key[end:]
	if (tail[4]&keyOptions != 0) != (len(tail) > keyTail) {
		return Query{}, fmt.Errorf("key %x does not tell its options", key)
	}
	return Query{
		Name: name, Type: binary.BigEndian.Uint16(tail), Class: binary.BigEndian.Uint16(tail[2:]),
		DO: tail[4]&1 != 0, CD: tail[4]&2 != 0, Options: string(tail[keyTail:]),
	}, nil
}

// of reports whether records of a class belong to the answer.
func (q Query) of(class uint16) bool { return q.Class == class || q.Class == wire.ClassANY }

// maxName is the size of a name in wire form (RFC 1035, section 2.3.4), and of a
// buffer for one with a key's tail.
const maxName = 255 + keyTail

// message returns the query to send, with an unpredictable ID (RFC 5452).
func (q Query) message() *wire.Msg {
	var id [2]byte
	rand.Read(id[:]) // never fails, see crypto/rand
	m := new(wire.Msg)
	m.Id = binary.BigEndian.Uint16(id[:])
	m.RecursionDesired, m.CheckingDisabled = !q.noRecursion, q.CD
	m.Question = []wire.Question{{Name: q.Name, Qtype: q.Type, Qclass: q.Class}}
	m.SetEdns0(maxUDP, q.DO)
	m.IsEdns0().Option = options(q.Options)
	return m
}

// options reads options in wire form, up to the first that is not complete. All are
// taken as they are, whatever their code.
func options(text string) []wire.EDNS0 {
	var all []wire.EDNS0
	for rest := []byte(text); len(rest) >= 4; {
		end := 4 + int(binary.BigEndian.Uint16(rest[2:]))
		if end > len(rest) {
			break
		}
		all = append(all, &wire.EDNS0_LOCAL{Code: binary.BigEndian.Uint16(rest), Data: rest[4:end]})
		rest = rest[end:]
	}
	return all
}

// answers reports whether a message is a reply to a query: same ID, same
// question whatever the case of its letters (RFC 5452, section 9).
func answers(query, reply *wire.Msg) bool {
	if !reply.Response || reply.Id != query.Id || reply.Opcode != wire.OpcodeQuery || len(reply.Question) != 1 {
		return false
	}
	asked, got := query.Question[0], reply.Question[0]
	return got.Qtype == asked.Qtype && got.Qclass == asked.Qclass && strings.EqualFold(got.Name, asked.Name)
}

package forward

import (
	"crypto/rand"
	"encoding/binary"
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
}

// maxUDP is the size of UDP replies asked for: what passes every path without
// fragments (DNS flag day 2020).
const maxUDP = 1232

// key is equal for queries that have the same answer.
func (q Query) key() string {
	var tail [5]byte
	binary.BigEndian.PutUint16(tail[0:], q.Type)
	binary.BigEndian.PutUint16(tail[2:], q.Class)
	if q.DO {
		tail[4] |= 1
	}
	if q.CD {
		tail[4] |= 2
	}
	return strings.ToLower(q.Name) + string(tail[:])
}

// message returns the query to send, with an unpredictable ID (RFC 5452).
func (q Query) message() *wire.Msg {
	var id [2]byte
	rand.Read(id[:]) // never fails, see crypto/rand
	m := new(wire.Msg)
	m.Id = binary.BigEndian.Uint16(id[:])
	m.RecursionDesired, m.CheckingDisabled = true, q.CD
	m.Question = []wire.Question{{Name: q.Name, Qtype: q.Type, Qclass: q.Class}}
	m.SetEdns0(maxUDP, q.DO)
	return m
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

package forward

import (
	"testing"
	"time"

	wire "github.com/miekg/dns"
)

// TestQueryOptions: a key tells all of a Query, what is kept for one is not given for
// others, and options are sent as they are.
func TestQueryOptions(t *testing.T) {
	plain := Query{Name: "www.example.", Type: wire.TypeA, Class: wire.ClassINET, DO: true}
	one, other := plain, plain
	one.Options, other.Options = "\xff\xee\x00\x03abc\x00\x08\x00\x04\x00\x01\x00\x00", "\xff\xee\x00\x03abd\x00\x08\x00\x04\x00\x01\x00\x00"
	f, err := New(Config{})
	if err != nil {
		t.Fatal(err)
	}
	for i, q := range []Query{plain, one, other} {
		key, err := q.key()
		if err != nil {
			t.Fatal(err)
		}
		if got, err := query(key); err != nil || got != q {
			t.Errorf("%+v has a key of %+v, %v", q, got, err)
		}
		if _, ok := f.Cached(q); ok {
			t.Errorf("%+v is there already", q)
		}
		f.cache.put(key, q.Name, message(t, q, 0, "www.example. 30 A 192.0.2."+string(rune('1'+i))), f.cache.at(time.Now()))
	}
	for i, q := range []Query{plain, one, other} {
		if reply, ok := f.Cached(q); !ok || reply.Answer[0].(*wire.A).A[len(reply.Answer[0].(*wire.A).A)-1] != byte(1+i) || reply.Question[0].Name != q.Name {
			t.Errorf("%+v: %v", q, reply)
		}
	}
	packed, err := one.message().Pack()
	if err != nil {
		t.Fatal(err)
	}
	sent := new(wire.Msg)
	if err := sent.Unpack(packed); err != nil {
		t.Fatal(err)
	}
	if all := sent.IsEdns0().Option; len(all) != 2 || all[0].Option() != 0xffee || all[0].String() != "65518:0x616263" || all[1].Option() != wire.EDNS0SUBNET {
		t.Errorf("options %v", all)
	}
	for _, broken := range []string{"\xff", "\xff\xee\x00\x04abc"} {
		if all := options(broken); len(all) != 0 {
			t.Errorf("%x holds %v", broken, all)
		}
	}
}

// TestBrokenKeys: what is no key is no Query.
func TestBrokenKeys(t *testing.T) {
	q := Query{Name: "a.", Type: wire.TypeA, Class: wire.ClassINET, Options: "\xff\xee\x00\x00"}
	key, err := q.key()
	if err != nil {
		t.Fatal(err)
	}
	for _, broken := range [][]byte{nil, key[:3], key[:7], key[:8]} {
		if got, err := query(broken); err == nil {
			t.Errorf("%x is %+v", broken, got)
		}
	}
}

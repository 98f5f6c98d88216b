package proxy

import (
	"io"

	"github.com/fairlead-net/fairlead/internal/l7"
	"github.com/fairlead-net/fairlead/internal/l7/accesslog"
	"github.com/fairlead-net/fairlead/internal/l7/http1"
)

const (
	// bufferSize is what most messages fit into, with their small bodies. Buffers for
	// larger headers grow.
	bufferSize = 16 << 10
	// bulkSize is of buffers for bodies that are not small.
	bulkSize = 64 << 10
)

// buffer holds bytes that have been received, from begin to end.
type buffer struct {
	b          []byte
	begin, end int
}

func (b *buffer) bytes() []byte { return b.b[b.begin:b.end] }
func (b *buffer) len() int      { return b.end - b.begin }
func (b *buffer) reset()        { b.begin, b.end = 0, 0 }

// space returns where to receive into. It is empty only if the buffer is full and
// has reached the limit.
func (b *buffer) space(limit int) []byte {
	if b.begin == b.end {
		b.reset()
	}
	if b.end == len(b.b) && b.begin > 0 {
		b.end = copy(b.b, b.bytes())
		b.begin = 0
	}
	if b.end == len(b.b) && len(b.b) < limit {
		larger := make([]byte, min(2*len(b.b), limit))
		copy(larger, b.b)
		b.b = larger
	}
	return b.b[b.end:]
}

// work is the memory for a request and its answer. Connections take one when a
// request begins and give it back when none is there.
type work struct {
	limits http1.Limits
	// in is what the client sent, up what the upstream did, out what is next to be sent
	// to either.
	in, up buffer
	out    []byte

	request  http1.Request
	response http1.Response
	// query is what the Routes see of the request; target is memory for another Target
	// than the one sent.
	query  l7.Request
	target []byte
	// added are fields that the answer has beside its own.
	added []addition
	// id is the request's, if it brings none.
	id     [32]byte
	onward http1.Onward
	// answers are the chunks of the response's body.
	answers http1.Chunks
	limited io.LimitedReader
	// toHEAD is set for the method HEAD.
	toHEAD bool
	// framing is that of the answer to a client of HTTP/1.1.
	framing http1.Framing
	// body is what is to come of the request's, page the answer that the proxy makes.
	body body
	page []byte
	// exchange is the request's.
	exchange exchange
	// inbound is the request, if it came by HTTP/2; trailer is the text of the fields
	// after the answer's body.
	inbound inbound
	trailer []byte
	// record is what is noted of the request, format for whom; nil: nobody.
	record record
	format *accesslog.Format
	// replied is set once the client has been sent a part of the answer.
	replied bool
}

func newWork(limits http1.Limits) *work {
	return &work{
		limits: limits,
		in:     buffer{b: make([]byte, bufferSize)}, up: buffer{b: make([]byte, bufferSize)},
		out: make([]byte, 0, bufferSize+bufferSize/4),
	}
}

// reset prepares work for the next connection. What has grown is not kept: few
// messages are that large.
func (w *work) reset() {
	w.in.reset()
	w.up.reset()
	if len(w.in.b) > bufferSize {
		w.in.b = make([]byte, bufferSize)
	}
	if len(w.up.b) > bufferSize {
		w.up.b = make([]byte, bufferSize)
	}
	if cap(w.out) > 4*bufferSize {
		w.out = make([]byte, 0, bufferSize+bufferSize/4)
	}
	w.request.Reset()
	w.response.Reset()
	w.limited.R = nil
	w.record.forget()
	w.exchange = exchange{}
	// A refusal, which no exchange begins, must not find what was of another client.
	w.added, w.trailer, w.framing, w.body, w.replied = w.added[:0], w.trailer[:0], 0, body{}, false
}

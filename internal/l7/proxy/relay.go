package proxy

import (
	"errors"
	"io"
	"time"

	"github.com/fairlead-net/fairlead/internal/l7/http1"
)

const (
	// spliceFrom is from what size on a body is moved by the kernel alone. Each piece
	// has to arrive within the timeouts.
	spliceFrom  = 256 << 10
	splicePiece = 256 << 10
)

// relay takes the answer, whose header has been read, to the client. It reports
// whether the connection to the upstream can be used again.
func (x *exchange) relay(up *upstream) (reusable bool, err error) {
	response := &x.response
	framing := response.Framing(x.toHEAD)
	a := x.answerWith(framing)
	reusable = response.Persistent() && framing != http1.UntilClose && !x.early
	x.change()
	x.noteAnswer(false)
	x.client.head(response, a) // else data fails, if there is any
	switch framing {
	case http1.NoBody:
	case http1.ByLength:
		err = x.relayLength(up, response.Length)
	default:
		err = x.relayStream(up, framing)
	}
	// An upstream that announces a body where there is none may send it yet.
	if framing == http1.NoBody && !x.toHEAD && (response.Chunked || response.Length > 0) {
		reusable = false
	}
	// Bytes that no request has asked for would be taken for the answer to the next.
	return reusable && err == nil && x.up.len() == 0, err
}

// relayLength passes on a body whose length is known.
func (x *exchange) relayLength(up *upstream, length int64) error {
	have := min(int64(x.up.len()), length)
	data := x.up.bytes()[:have]
	x.up.begin += int(have)
	x.replied = true
	x.got(have)
	remaining := length - have
	if 0 < remaining && remaining < spliceFrom && x.splices() && up.secured == nil {
		return x.copyBehind(up, data, remaining)
	}
	if !x.client.data(data, partOf(remaining == 0)) {
		return errClient
	}
	if remaining >= spliceFrom && x.splices() && up.secured == nil {
		return x.splice(up, remaining)
	} else if remaining > 0 {
		return x.copy(up, remaining)
	}
	return nil
}

// copyBehind passes on data and so many bytes more to a client without TLS; those that have
// come already go together with data.
func (x *exchange) copyBehind(up *upstream, data []byte, remaining int64) error {
	bulk := x.proxy.bulks.Get().(*[bulkSize]byte)
	n, err := up.Try(bulk[:min(remaining, bulkSize)])
	remaining -= int64(n)
	x.got(int64(n))
	ok := x.behind(data, bulk[:n])
	x.proxy.bulks.Put(bulk)
	switch {
	case !ok:
		return errClient
	case err != nil && !errors.Is(err, errNothing):
		return err
	case remaining == 0:
		return nil
	}
	return x.copy(up, remaining)
}

// answerWith says how the answer goes to the client.
func (x *exchange) answerWith(framing http1.Framing) http1.Answer {
	if x.early {
		x.closes, x.linger = true, true
	}
	a := http1.Answer{Framing: framing, Length: x.response.Length, Minor: x.request.Minor}
	if framing == http1.ByChunks || framing == http1.UntilClose {
		a.Framing = http1.ByChunks
		if x.request.Minor == 0 {
			a.Framing, x.closes = http1.UntilClose, true
		}
	}
	x.closes = x.closes || x.listener.draining.Load() || x.proxy.closing.Load()
	a.Close = x.closes
	x.status = x.response.Status
	return a
}

// partOf says how a part is sent that is the last one, or not.
func partOf(end bool) part {
	if end {
		return last
	}
	return whole
}

// splices reports whether the client gets the bytes that the upstream sends.
func (x *exchange) splices() bool {
	return x.inbound == nil && x.listener.tls == nil && !x.paced && x.check == nil
}

// copy passes on so many bytes.
func (x *exchange) copy(up *upstream, remaining int64) error {
	bulk := x.proxy.bulks.Get().(*[bulkSize]byte)
	defer x.proxy.bulks.Put(bulk)
	for remaining > 0 {
		up.arm(after(x.proxy.clock.now(), x.readTimeout()))
		n, err := up.Read(bulk[:min(remaining, bulkSize)])
		if err != nil {
			return err
		}
		remaining -= int64(n)
		x.got(int64(n))
		if !x.client.data(bulk[:n], partOf(remaining == 0)) {
			return errClient
		}
	}
	return nil
}

// splice has the kernel move so many bytes from one connection to the other.
func (x *exchange) splice(up *upstream, remaining int64) error {
	// A deadline that has passed in the meantime would end it, though it holds no more.
	x.socket.arm(0)
	if err := errors.Join(up.SetDeadline(time.Time{}), x.socket.SetDeadline(time.Time{})); err != nil {
		return err
	}
	for remaining > 0 {
		now := x.proxy.clock.now()
		up.arm(after(now, x.readTimeout()))
		x.socket.arm(after(now, x.proxy.settings().WriteTimeout))
		x.limited.R, x.limited.N = up.TCPConn, min(remaining, splicePiece)
		n, err := x.socket.TCPConn.ReadFrom(&x.limited)
		x.got(n)
		x.record.sent += n
		if remaining -= n; err == nil && n == 0 {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return x.whose(err, up)
		}
	}
	return nil
}

// whose tells an error of the client's side of a splice from the endpoint's, which the
// kernel does not: as long as that is open and in time, it is the client's.
func (x *exchange) whose(err error, up *upstream) error {
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return err
	}
	var one [1]byte
	if _, now := up.Try(one[:]); now != nil && !errors.Is(now, errNothing) {
		return err
	}
	if at := up.deadline.Load(); timedOut(err) && at != 0 && at <= x.proxy.clock.now() {
		return err
	}
	return errors.Join(errClient, err)
}

// relayStream passes on a body that ends with its last chunk, or with the
// connection, each part when it comes.
func (x *exchange) relayStream(up *upstream, from http1.Framing) error {
	x.answers = http1.Chunks{}
	for done := false; ; {
		for !done && x.up.len() > 0 {
			data, n := x.up.bytes(), x.up.len()
			if from == http1.ByChunks {
				var err error
				if data, n, err = x.answers.Next(data); err != nil {
					return errors.Join(errAnswer, err)
				}
				done = x.answers.Done()
			}
			x.got(int64(len(data)))
			if !x.client.data(data, held) {
				return errClient
			}
			x.up.begin += n
		}
		x.replied = true
		if !x.client.data(nil, partOf(done)) {
			return errClient
		}
		if done {
			return nil
		}
		if err := x.more(up); errors.Is(err, io.EOF) && from == http1.UntilClose {
			done = true
		} else if err != nil {
			return err
		}
	}
}

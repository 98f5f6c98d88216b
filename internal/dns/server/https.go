package server

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// HTTPS configures DNS over HTTPS (RFC 8484). Without Listen it is off; the certificate
// is that of TLS.
type HTTPS struct {
	// Listen are the addresses to serve it on; the usual port is 443.
	Listen []netip.AddrPort
}

const (
	// queryPath is where DNS over HTTPS is served, as clients and CoreDNS have it.
	queryPath = "/dns-query"
	// messageType is the media type of messages (RFC 8484, section 6).
	messageType = "application/dns-message"
	// maxHeader bounds the header of a request in bytes: a query of maxQuery bytes
	// takes 5462 of them in a GET request.
	maxHeader = 8 << 10
)

// httpsServer serves one address by HTTP/1.1 and HTTP/2.
type httpsServer struct {
	plane    *Plane
	listener *net.TCPListener
	server   *http.Server
	tally    *tally
	// busy is the number of queries that are being answered.
	busy   atomic.Int64
	guests *guests
	hots   sync.Pool
}

func newHTTPSServer(p *Plane, listener *net.TCPListener) *httpsServer {
	c := &p.config
	h := &httpsServer{plane: p, listener: listener, tally: p.tallies[len(p.tallies)-1], guests: newGuests(c.MaxConnections, c.MaxClientConnections)}
	h.hots.New = func() any { return &hotBuffer{hot: newHot(p, h.tally)} }
	h.server = &http.Server{
		Handler: h, TLSConfig: p.certificate.config("h2", "http/1.1"), MaxHeaderBytes: maxHeader,
		ReadTimeout: c.IOTimeout, IdleTimeout: c.IdleTimeout,
		// From the request's header on, so the time that other servers may take for one
		// question is within.
		WriteTimeout: c.IOTimeout + p.live.Load().forwarder.Timeout(),
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams: c.MaxPipelined,
			// WriteTimeout ends streams, but not a connection whose client does not read.
			WriteByteTimeout: c.IOTimeout,
			// What is sent ahead is at most this; less than 64 KiB is not allowed.
			MaxReceiveBufferPerConnection: 64 << 10, MaxReceiveBufferPerStream: maxQuery,
		},
		ErrorLog:    slog.NewLogLogger(c.Log.Handler(), slog.LevelDebug),
		BaseContext: func(net.Listener) context.Context { return p.ctx },
	}
	return h
}

// serve answers until the server is drained, and then what is under way, but for no longer
// than that may take.
func (h *httpsServer) serve() {
	listener := &guestListener{TCPListener: h.listener, guests: h.guests, tally: h.tally, rest: lastLooks}
	if err := h.server.ServeTLS(listener, "", ""); !errors.Is(err, net.ErrClosed) {
		h.plane.config.Log.Error("DNS over HTTPS has ended", "address", h.listener.Addr(), "error", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), h.server.WriteTimeout)
	defer cancel()
	if err := h.server.Shutdown(ctx); err != nil {
		_ = h.server.Close() // it ends either way
	}
}

// drain makes serve accept what has arrived, and then return.
func (h *httpsServer) drain() { h.listener.SetDeadline(time.Now()) }

// ServeHTTP implements http.Handler: it answers one query.
func (h *httpsServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	now := time.Now()
	if packet, status, why := readRequest(w, r); status != http.StatusOK {
		h.fail(w, status, why)
	} else if reply, ok := h.take(r, packet, now); !ok {
		h.tally.refused.Add(1)
		w.Header().Set("Retry-After", "1")
		h.fail(w, http.StatusServiceUnavailable, "too many queries at once; ask another server")
	} else if reply == nil {
		// Rules want no reply, or the packet is none that has one; CoreDNS says the same.
		h.fail(w, http.StatusInternalServerError, "no reply")
	} else {
		h.tally.https(http.StatusOK)
		header := w.Header()
		header.Set("Content-Type", messageType)
		header.Set("Content-Length", strconv.Itoa(len(reply)))
		header.Set("Cache-Control", fmt.Sprintf("max-age=%d", freshness(reply)))
		_, _ = w.Write(reply) // a client that is gone needs none
		h.plane.top.note(reply, 1, now)
	}
}

func (h *httpsServer) fail(w http.ResponseWriter, status int, why string) {
	h.tally.https(status)
	http.Error(w, why, status)
}

// readRequest returns the query in a request, or the status that says what is wrong
// (RFC 8484, sections 4.1 and 4.2.1).
func readRequest(w http.ResponseWriter, r *http.Request) (packet []byte, status int, why string) {
	if r.URL.Path != queryPath {
		return nil, http.StatusNotFound, "queries are answered at " + queryPath
	}
	switch r.Method {
	case http.MethodGet:
		values := r.URL.Query()["dns"]
		if len(values) != 1 {
			return nil, http.StatusBadRequest, "write one parameter dns, the query in base64url"
		}
		if len(values[0]) > base64.RawURLEncoding.EncodedLen(maxQuery) {
			return nil, http.StatusRequestURITooLong, "the query is too large"
		}
		packet, err := base64.RawURLEncoding.DecodeString(values[0])
		if err != nil {
			return nil, http.StatusBadRequest, "the parameter dns is not in base64url without padding"
		}
		return packet, http.StatusOK, ""
	case http.MethodPost:
		if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != messageType {
			return nil, http.StatusUnsupportedMediaType, "the body has to be of type " + messageType
		}
		packet, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxQuery))
		if tooLarge := new(http.MaxBytesError); errors.As(err, &tooLarge) {
			return nil, http.StatusRequestEntityTooLarge, "the query is too large"
		} else if err != nil {
			return nil, http.StatusBadRequest, "the body cannot be read"
		}
		return packet, http.StatusOK, ""
	}
	w.Header().Set("Allow", "GET, POST")
	return nil, http.StatusMethodNotAllowed, "use GET or POST"
}

// take answers a query, unless too many are being answered. A client that is slow to send
// or to read keeps nobody else out.
func (h *httpsServer) take(r *http.Request, packet []byte, now time.Time) (reply []byte, ok bool) {
	defer h.busy.Add(-1)
	if h.busy.Add(1) > int64(h.plane.config.MaxWaiting) {
		return nil, false
	}
	return h.answer(r, packet, now), true
}

// answer returns the reply to a query, or nil if there is none.
func (h *httpsServer) answer(r *http.Request, packet []byte, now time.Time) []byte {
	remote, _ := netip.ParseAddrPort(r.RemoteAddr) // of a TCP connection, so it can be read
	from := client{address: remote.Addr().Unmap(), now: now, port: remote.Port()}
	hot := h.hots.Get().(*hotBuffer)
	reply, ok := hot.hot.answer(packet, nil, overTCP, from)
	h.hots.Put(hot)
	if ok {
		h.tally.took(1, time.Since(now))
		return reply
	}
	if local, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr); ok {
		from.server = unmapped(local)
	}
	reply, later := h.plane.handle(packet, h.tally, overTCP, from)
	if later == nil {
		return reply
	}
	if refused, ok := later.reserve(); !ok {
		return refused
	}
	defer later.free()
	return later.forward(r.Context())
}

// check returns what is wrong with the addresses and the certificate.
func (h HTTPS) check(t TLS) error {
	for _, address := range h.Listen {
		if !address.IsValid() {
			return fmt.Errorf("listen address %q for DNS over HTTPS is none: write ADDRESS:PORT or [ADDRESS]:PORT", address)
		}
	}
	if len(h.Listen) > 0 && (t.Certificate == "" || t.Key == "") {
		return errors.New("DNS over HTTPS needs both a certificate and a key: name their files, as for DNS over TLS")
	}
	return nil
}

// listenHTTPS opens the listeners of DNS over HTTPS.
func (p *Plane) listenHTTPS(ctx context.Context) error {
	for _, address := range p.config.HTTPS.Listen {
		listener, err := listenTCP(ctx, address)
		if err != nil {
			return explainBind("HTTPS", address, err)
		}
		p.https = append(p.https, newHTTPSServer(p, listener))
	}
	return nil
}

package proxy

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strconv"
	"syscall"
	"time"
)

var (
	// errConnect is that no connection to an endpoint could be made, so that nothing was
	// sent.
	errConnect = errors.New("no connection to the endpoint")
	// errForbidden is that a name leads where the proxy does not connect to.
	errForbidden = errors.New("the name leads to an address that is not connected to")
)

// hostAge is how long a connection to what a name led to is used: what the name leads
// to may have changed.
const hostAge = time.Minute

// dial makes a connection within a time, with TLS if there is a config. Errors are
// errConnect.
func (p *Proxy) dial(e *endpoint, secure *securePool, timeout time.Duration) (*upstream, error) {
	ctx, cancel := context.WithTimeout(p.ctx, timeout)
	defer cancel()
	conn, err := p.connect(ctx, e)
	if err != nil {
		if ctx.Err() != nil {
			err = context.DeadlineExceeded
		}
		return nil, errors.Join(errConnect, err)
	}
	s, err := newSocket(conn, p.clock)
	if err != nil {
		conn.Close()
		return nil, errors.Join(errConnect, err)
	}
	up := &upstream{socket: s, pool: e.plain}
	if e.host != "" {
		up.until = after(p.clock.now(), hostAge)
	}
	if secure == nil {
		return up, nil
	}
	up.pool = secure.pool
	if up.secured, err = handshake(ctx, s, secure.config); err != nil {
		_ = s.Close()
		return nil, errors.Join(errConnect, err)
	}
	return up, nil
}

// connect makes a connection to an address; to a name it tries all addresses that the
// name has, but for those that are forbidden. Each is looked at when it is connected
// to, so that a name cannot have another one in between.
func (p *Proxy) connect(ctx context.Context, e *endpoint) (*net.TCPConn, error) {
	if e.host == "" {
		if p.reserved(e.address) {
			return nil, errForbidden
		}
		var dialer net.Dialer
		return dialer.DialTCP(ctx, "tcp", netip.AddrPort{}, e.address)
	}
	// With the final dot it is the name itself, not one of a search list.
	conn, err := p.toName(0).DialContext(ctx, "tcp", net.JoinHostPort(e.host+".", strconv.Itoa(int(e.port))))
	if err != nil {
		return nil, err
	}
	return conn.(*net.TCPConn), nil
}

// toName connects to names that tenants choose.
func (p *Proxy) toName(timeout time.Duration) *net.Dialer {
	return &net.Dialer{Timeout: timeout, Resolver: p.resolver, Control: func(_, address string, _ syscall.RawConn) error {
		if at, err := netip.ParseAddrPort(address); err != nil || p.forbidden(at.Addr()) {
			return errForbidden
		}
		return nil
	}}
}

// forbidden tells the addresses that a name which a tenant has chosen must not lead to:
// those that mean the proxy itself or its own network (loopback, link-local, as
// metadata services of clouds are, and the latter's other addresses), and those that no
// one process has (multicast, unspecified and reserved ones). An IPv4 address within
// one of IPv6 is looked at as such.
func forbidden(a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	if !a.IsValid() {
		return true
	}
	switch b := a.As16(); {
	case a.Is4() || a.IsLoopback():
	case nat64.Contains(a), compatible.Contains(a):
		a = netip.AddrFrom4([4]byte(b[12:]))
	case sixToFour.Contains(a):
		a = netip.AddrFrom4([4]byte(b[2:]))
	case siteLocal.Contains(a):
		return true
	}
	if a.IsLoopback() || a.IsLinkLocalUnicast() || a.IsMulticast() || a.IsUnspecified() {
		return true
	}
	if a.Is4() {
		first := a.As4()[0]
		return first == 0 || first >= 240 || a == metadataAlibaba || a == metadataOracle
	}
	return a == metadataAmazon
}

var (
	sixToFour       = netip.MustParsePrefix("2002::/16")    // RFC 3056, section 2
	siteLocal       = netip.MustParsePrefix("fec0::/10")    // RFC 3879: deprecated, as link-local ones of a site
	compatible      = netip.MustParsePrefix("::/96")        // RFC 4291, section 2.5.5.1
	nat64           = netip.MustParsePrefix("64:ff9b::/96") // RFC 6052, section 2.1
	metadataAmazon  = netip.MustParseAddr("fd00:ec2::254")
	metadataAlibaba = netip.MustParseAddr("100.100.100.200")
	metadataOracle  = netip.MustParseAddr("192.0.0.192")
)

// unreachable says what an error of connecting means for the client.
func unreachable(err error) (status int, reason string) {
	var name *net.DNSError
	var untrusted *untrustedError
	switch {
	case errors.Is(err, errForbidden):
		return 502, "the name of the backend leads to an address that is not connected to"
	case errors.Is(err, context.DeadlineExceeded):
		return 504, "the backend cannot be reached in time"
	case errors.As(err, &name):
		return 502, "the name of the backend cannot be resolved"
	case errors.As(err, &untrusted):
		return 502, "the certificate of the backend is not as the route demands"
	case errors.Is(err, errHandshake):
		return 502, "the backend cannot be spoken with in TLS"
	}
	return 502, "the backend cannot be reached"
}

package proxy

import (
	"fmt"

	"github.com/fairlead-net/fairlead/internal/l7/nginx"
)

// settings returns the Config that is in force. What is read of it counts from the next
// use on: limits and times from the next wait, what a connection is begun with from the
// next connection. It is not to be changed.
func (p *Proxy) settings() *Config { return p.inForce.Load() }

// SetConfig makes another Config count, without a connection being closed. Address,
// HTTP3, AltSvcPort and AskTLS stay as they are: later says which of them differ and count
// once the process begins anew. So do Log and Registry, which are the process's own. Errors
// say which field to correct; then nothing changes.
func (p *Proxy) SetConfig(config Config) (later []string, err error) {
	config, err = config.complete()
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	first := &p.config
	if config.HTTP3 != first.HTTP3 {
		later = append(later, fmt.Sprintf("HTTP/3 is served: %t, and will be %t", first.HTTP3, config.HTTP3))
	}
	if config.Address != first.Address {
		later = append(later, fmt.Sprintf("the address that listeners bind is %s, and will be %s", first.Address, config.Address))
	}
	if config.AltSvcPort != first.AltSvcPort {
		later = append(later, fmt.Sprintf("the port that clients are told for HTTP/3 is %d, and will be %d (0: the listener's)", first.AltSvcPort, config.AltSvcPort))
	}
	if config.AskTLS != first.AskTLS {
		later = append(later, "servers that decide who is let in are spoken with by the TLS of before")
	}
	config.Address, config.HTTP3, config.AltSvcPort = first.Address, first.HTTP3, first.AltSvcPort
	config.AskTLS, config.Log, config.Registry = first.AskTLS, first.Log, first.Registry
	p.wanted = config
	p.settle()
	return later, nil
}

// settle makes the Config that is wanted, with what the Table says of the engine, the one
// in force.
func (p *Proxy) settle() {
	config := p.wanted.with(p.state.Load().table.Engine)
	if p.started.Load() && !p.closed {
		p.log(config.AccessLog)
	}
	config.unbounded = p.wanted.TrustedProxies
	p.flows.resize(config.MaxSessions)
	p.clock.setTick(config.tick())
	p.inForce.Store(&config)
}

// with returns the Config with what a Table says of the engine in the place of its own.
func (c Config) with(e *nginx.Engine) Config {
	if e == nil {
		return c
	}
	if e.Trusted != nil {
		c.TrustedProxies = e.Trusted
	}
	if e.ProxyProtocol != nil {
		c.ProxyProtocol = e.ProxyProtocol
	}
	c.IdleTimeout, c.HeadTimeout = orDefault(e.IdleTimeout, c.IdleTimeout), orDefault(e.HeadTimeout, c.HeadTimeout)
	c.BodyTimeout, c.UpstreamIdleTimeout = orDefault(e.BodyTimeout, c.BodyTimeout), orDefault(e.UpstreamIdle, c.UpstreamIdleTimeout)
	c.StreamTimeout, c.StreamTries = orDefault(e.StreamTimeout, c.StreamTimeout), orDefault(e.StreamTries, c.StreamTries)
	c.MaxIdle, c.MaxStreams = orDefault(e.MaxIdle, c.MaxIdle), orDefault(e.MaxStreams, c.MaxStreams)
	c.MaxLine, c.MaxHead = orDefault(e.MaxLine, c.MaxLine), orDefault(e.MaxHead, c.MaxHead)
	c.TLS13 = c.TLS13 || e.TLS13
	switch {
	case e.NoLog:
		c.AccessLog = nil
	case c.AccessLog != nil && (e.Format != nil || e.Skips != nil):
		log := *c.AccessLog
		log.Format, log.Skips = orDefault(e.Format, log.Format), orDefault(e.Skips, log.Skips)
		c.AccessLog = &log
	}
	return c
}

// log has requests written down in another way from now on. Lines that have been made
// already are written in the old one, for which Close waits too.
func (p *Proxy) log(how *AccessLog) {
	before := p.book.Load()
	if before == nil && how == nil || before != nil && how != nil && before.is(how) {
		return
	}
	var next *logbook
	if how != nil {
		next = newLogbook(how, &p.lines, p.config.Log)
		next.mourn = p.mourn
		p.books.Go(func() { next.run(p.ctx.Done()) })
	}
	p.book.Store(next)
	if before != nil {
		close(before.retired)
	}
}

// take returns memory for a request, as the settings of the moment want it.
func (p *Proxy) take() *work {
	w := p.works.Get().(*work)
	w.limits, w.format = p.settings().limits(), nil
	if book := p.book.Load(); book != nil {
		w.format = book.Format
	}
	return w
}

// note writes a line down, by the next book if the one that it was made for is done.
func (p *Proxy) note(book *logbook, line []byte) {
	if book.add(line) {
		return
	}
	if next := p.book.Load(); next != nil {
		next.add(line)
	}
}

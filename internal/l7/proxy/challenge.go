package proxy

import (
	"github.com/fairlead-net/fairlead/internal/l7"
	"github.com/fairlead-net/fairlead/internal/l7/acme"
)

// SetAnswers makes these what certificate authorities are answered from now on.
func (p *Proxy) SetAnswers(answers *acme.Answers) { p.answers.Store(answers) }

// challenge answers a certificate authority that asks for a host without TLS (RFC 8555,
// section 8.3), whatever Routes say: the host may have none yet, or one that redirects.
// It reports whether the request was such a one. Any other token is for the Routes, as
// that of cert-manager's solvers is.
func (x *exchange) challenge() bool {
	token, ok := acme.Token(x.query.Path)
	if !ok || x.listener.protocol != l7.HTTP || x.query.Method != "GET" {
		return false
	}
	key, ok := x.proxy.answers.Load().HTTP01(x.query.Host, token)
	if !ok {
		return false
	}
	x.closes = x.closes || !x.skipBody()
	x.status = 200
	x.response.Make(200, "OK")
	x.response.Add("Content-Type", "application/octet-stream")
	x.response.Length = int64(len(key))
	x.say(x.client, []byte(key), x.closes)
	x.linger = x.linger || x.closes
	return true
}

package proxy

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"slices"
)

// maxMirrors bounds the copies that are under way; more are not made.
const maxMirrors = 256

// mirror sends a copy of the request, if the Route says so, and does not wait for it. A
// body that is not here yet is not copied, nor is its request: it would be another one.
func (x *exchange) mirror() {
	if x.route.Filters == nil || x.route.Filters.Mirror == nil {
		return
	}
	m := x.route.Filters.Mirror
	var body []byte
	if m.Body && !x.request.Bodyless() {
		if x.request.Chunked || !x.atOnce() {
			return
		}
		body = slices.Clone(x.work.in.bytes()[:x.request.Length])
	}
	url := string(m.URL.AppendURL(nil, x.value))
	ctx, cancel := context.WithTimeout(x.proxy.ctx, askTimeout)
	request, err := http.NewRequestWithContext(ctx, string(x.request.Method), url, bytes.NewReader(body))
	if err != nil {
		cancel()
		return
	}
	request.Host = orDefault(m.Host, request.URL.Host)
	request.Header["User-Agent"] = nil // else net/http says its own
	for i := range x.request.Fields {
		if f := &x.request.Fields[i]; x.hop.Passes(f) {
			request.Header.Add(string(f.Name), string(f.Value))
		}
	}
	request.Header.Set("CDN-Loop", string(x.request.AppendLoop(nil)))
	p, whose := x.proxy, x.route.Source.Namespace
	if !p.mirrors.take(whose) {
		cancel()
		return
	}
	p.background.Go(func() {
		defer func() {
			cancel()
			p.mirrors.give(whose)
		}()
		p.shield(func() {
			if answer, err := p.asker.Do(request); err == nil {
				_, _ = io.CopyN(io.Discard, answer.Body, bulkSize)
				_ = answer.Body.Close()
			}
		})
	})
}

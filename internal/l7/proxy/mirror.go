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
	mirrors, whose := x.proxy.mirrors, x.route.Source.Namespace
	if !mirrors.take(whose) {
		return
	}
	url := string(m.URL.AppendURL(nil, x.value))
	ctx, cancel := context.WithTimeout(x.proxy.ctx, askTimeout)
	request, err := http.NewRequestWithContext(ctx, string(x.request.Method), url, bytes.NewReader(body))
	if err != nil {
		mirrors.give(whose)
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
	asker := x.proxy.asker
	x.proxy.background.Go(func() {
		defer func() {
			cancel()
			mirrors.give(whose)
		}()
		if answer, err := asker.Do(request); err == nil {
			_, _ = io.CopyN(io.Discard, answer.Body, bulkSize)
			answer.Body.Close()
		}
	})
}

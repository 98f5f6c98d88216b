package proxy

import (
	"time"

	"github.com/fairlead-net/fairlead/internal/l7/filter"
)

// retry is what the Route says of when another endpoint is asked; nil: nothing.
func (x *exchange) retry() *filter.Retry {
	if x.route.Filters == nil {
		return nil
	}
	return x.route.Filters.Retry
}

// maxTries is how many endpoints may be asked.
func (x *exchange) maxTries() int {
	switch r := x.retry(); {
	case r == nil:
	case r.Off:
		return 1
	case r.Tries > 0:
		return r.Tries
	}
	return x.proxy.settings().Tries
}

// mayRetry reports whether it is not too late to ask another endpoint.
func (x *exchange) mayRetry() bool {
	r := x.retry()
	return r == nil || !r.Off && (r.Within == 0 || time.Duration(x.tick()-x.begin) < r.Within)
}

// repeatable reports whether the request may be sent once more though an endpoint may
// have acted on it.
func (x *exchange) repeatable() bool {
	r := x.retry()
	return x.request.Idempotent() || r != nil && r.Always
}

// retries reports whether another endpoint is asked after an answer with a status. All
// of the request has to be here still.
func (x *exchange) retries(status int) bool {
	body := max(x.request.Length, 0)
	if !x.retry().After(status) || !x.repeatable() || x.early || x.request.Chunked || x.request.Continue || x.sends+1 >= x.maxTries() || !x.mayRetry() {
		return false
	}
	if body > 0 && (int64(x.work.in.begin) < body || !x.whole) || !x.affords(true) {
		return false
	}
	x.work.in.begin -= int(body)
	return true
}

// revise makes what the backend says of where things are true for the client.
func (x *exchange) revise() {
	if x.route.Filters == nil || x.route.Filters.Answer == nil {
		return
	}
	a := x.route.Filters.Answer
	for i := range x.response.Fields {
		f := &x.response.Fields[i]
		before := string(f.Value)
		now := before
		switch string(f.Lower) {
		case "location":
			now = a.Redirect(before, x.value)
		case "refresh":
			now = a.Refresh(before, x.value)
		case "set-cookie":
			now = a.Cookie(before, x.value)
		}
		if now != before {
			f.Value = []byte(now)
		}
	}
}

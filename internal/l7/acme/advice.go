package acme

import (
	"cmp"
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	rfc8555 "github.com/mholt/acmez/v3/acme"

	"github.com/fairlead-net/fairlead/internal/desired"
	"github.com/fairlead-net/fairlead/internal/l7"
)

// advised is when the authority wants a certificate to be renewed (RFC 9773).
type advised struct {
	secret l7.CertificateID
	leaf   *x509.Certificate
	// renewAt is zero if it says nothing of use.
	renewAt time.Time
	// again is when it may say something else.
	again time.Time
}

// Bounds on when an authority wants to be asked again, and when it is after a failure.
const (
	adviceLeast = time.Hour
	adviceMost  = 24 * time.Hour
	adviceUsual = 6 * time.Hour
	maxAdvice   = 100 // asked for in a row
)

// advise asks for each certificate. It takes what it gets: without advice there is the
// usual time.
func (i *issuer) advise(ctx context.Context, ask []advised) map[l7.CertificateID]advised {
	found := map[l7.CertificateID]advised{}
	directory, err := i.client().GetDirectory(ctx)
	for _, a := range ask {
		now := time.Now()
		a.renewAt, a.again = time.Time{}, now.Add(adviceUsual)
		if err == nil && directory.RenewalInfo != "" {
			info, err := i.renewalInfo(ctx, directory.RenewalInfo, a.leaf)
			if err != nil {
				i.log.Debug("the authority gives no advice", "secret", a.secret, "error", err)
			} else {
				a.renewAt, a.again = chosen(a.leaf, info.start, info.end), now.Add(info.again)
			}
		}
		found[a.secret] = a
	}
	return found
}

// renewalInfo is what the authority says of one certificate (RFC 9773, section 4).
type renewalInfo struct {
	start, end time.Time
	again      time.Duration
}

// renewalInfo asks once. The library's own call asks three times for what it takes to
// be malformed, windows of a second among them, as Pebble has them for what is revoked.
func (i *issuer) renewalInfo(ctx context.Context, url string, leaf *x509.Certificate) (renewalInfo, error) {
	id, err := rfc8555.ARIUniqueIdentifier(leaf)
	if err != nil {
		return renewalInfo{}, err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/"+id, nil)
	if err != nil {
		return renewalInfo{}, err
	}
	response, err := i.http.Do(request)
	if err != nil {
		return renewalInfo{}, err
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		return renewalInfo{}, fmt.Errorf("status %d", response.StatusCode)
	}
	var said struct {
		SuggestedWindow struct{ Start, End time.Time }
	}
	if err := json.NewDecoder(response.Body).Decode(&said); err != nil {
		return renewalInfo{}, err
	}
	info := renewalInfo{start: said.SuggestedWindow.Start, end: said.SuggestedWindow.End, again: adviceUsual}
	if info.start.IsZero() || !info.end.After(info.start) {
		return renewalInfo{}, errors.New("the window has no length")
	}
	if after := retryAfter(response.Header.Get("Retry-After"), time.Now()); after > 0 {
		info.again = min(max(after, adviceLeast), adviceMost)
	}
	return info, nil
}

// seekAdvice asks about certificates of which it is time to, beside everything else.
func (r *run) seekAdvice(ctx context.Context, wants []Want, known Known, now time.Time) {
	if r.asking || now.Before(r.authority.Next) {
		return
	}
	var ask []advised
	for _, want := range wants {
		held := known.Held[want.Secret]
		if held.leaf == nil || held.Server != r.options.Config.Server || !now.Before(held.renewal()) {
			continue
		}
		if _, new := r.made[want.Secret]; new {
			continue // else an authority that always says "now" would be ordered from without end
		}
		last, ok := r.advice[want.Secret]
		if ok = ok && last.leaf.Equal(held.leaf); ok && now.Before(last.again) {
			continue
		}
		a := advised{secret: want.Secret, leaf: held.leaf, again: now.Add(adviceUsual)}
		if ok {
			a.renewAt = last.renewAt // until there is other advice
		}
		r.advice[want.Secret] = a
		if ask = append(ask, a); len(ask) == maxAdvice {
			break
		}
	}
	if len(ask) == 0 {
		return
	}
	r.asking = true
	r.workers.Go(func() { r.advices <- r.advise(ctx, ask) })
}

func compareObjects(a, b desired.Reason) int {
	return cmp.Or(strings.Compare(a.Object.String(), b.Object.String()), strings.Compare(a.Code, b.Code), strings.Compare(a.Message, b.Message))
}

package staple

import (
	"cmp"
	"crypto/sha256"
	"crypto/tls"
	"maps"
	"slices"
	"time"

	"github.com/fairlead-net/fairlead/internal/l7"
)

// Certificates are what a gateway serves, by name; they are never changed.
type Certificates map[l7.CertificateID]*tls.Certificate

// digest tells certificates apart, also of one name.
type digest [sha256.Size]byte

// entry is what is known of one certificate's response.
type entry struct {
	// response is to be shown until expires; empty: there is none.
	response []byte
	expires  time.Time
	// again is when to ask, and failures how often that failed since it did not.
	again    time.Time
	failures int
	problem  string
}

// Limits.
const (
	maxCertificates = 10_000
	firstAgain      = 5 * time.Minute
	lastAgain       = 6 * time.Hour
	// refresh is how often a response is asked for that is good for longer, or does not
	// say how long.
	refresh = 12 * time.Hour
)

// job is one certificate that names a responder and has its issuer with it.
type job struct {
	id          l7.CertificateID
	digest      digest
	certificate *tls.Certificate
}

// jobsOf lists those of all certificates of which there is something to ask.
func jobsOf(all Certificates) []job {
	var jobs []job
	for id, c := range all {
		if c != nil && len(c.Certificate) > 1 && c.Leaf != nil && len(c.Leaf.OCSPServer) > 0 {
			jobs = append(jobs, job{id, sha256.Sum256(c.Certificate[0]), c})
		}
	}
	return jobs
}

// staple returns the certificates with the responses that are good now; those without
// are the same pointers.
func staple(all Certificates, jobs []job, known map[digest]entry, now time.Time) Certificates {
	stapled := maps.Clone(all)
	for _, j := range jobs {
		if e := known[j.digest]; len(e.response) > 0 && now.Before(e.expires) {
			with := *j.certificate
			with.OCSPStaple = e.response
			stapled[j.id] = &with
		}
	}
	return stapled
}

// due returns what to ask now, what has waited longest first, one for each namespace
// that is not busy: so one whose responders hang holds up itself. next is when to look
// again; zero: after a change.
func due(jobs []job, known map[digest]entry, busy map[string]bool, now time.Time) (first []job, next time.Time) {
	before := func(a, b job) int {
		return cmp.Or(known[a.digest].again.Compare(known[b.digest].again), cmp.Compare(a.id.Namespace, b.id.Namespace), cmp.Compare(a.id.Name, b.id.Name))
	}
	chosen := map[string]job{}
	for _, j := range jobs {
		e := known[j.digest]
		if len(e.response) > 0 && now.Before(e.expires) {
			next = earlier(next, e.expires)
		}
		if now.Before(e.again) {
			next = earlier(next, e.again)
			continue
		}
		if other, has := chosen[j.id.Namespace]; !busy[j.id.Namespace] && (!has || before(j, other) < 0) {
			chosen[j.id.Namespace] = j
		}
	}
	return slices.SortedFunc(maps.Values(chosen), before), next
}

func earlier(a, b time.Time) time.Time {
	if a.IsZero() || b.Before(a) {
		return b
	}
	return a
}

// answer is what a responder said.
type answer struct {
	response         []byte
	produced, expiry time.Time
}

// after takes in an answer, or why there is none. What was good stays so until it
// expires: a responder that is away takes nothing back.
func (e entry) after(a answer, err error, now time.Time) entry {
	if err != nil {
		e.failures++
		e.problem = err.Error()
		wait := firstAgain
		for range min(e.failures-1, 10) {
			wait *= 2
		}
		e.again = now.Add(min(wait, lastAgain))
		if isRevoked(err) {
			e.response = nil
		}
		return e
	}
	e = entry{response: a.response, expires: a.expiry}
	// Half of its time is left to find another one.
	e.again = a.produced.Add(a.expiry.Sub(a.produced) / 2)
	if soonest := now.Add(firstAgain); e.again.Before(soonest) {
		e.again = soonest
	}
	if latest := now.Add(refresh); e.again.After(latest) {
		e.again = latest
	}
	return e
}

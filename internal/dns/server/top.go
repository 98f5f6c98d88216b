package server

import (
	"encoding/binary"
	"encoding/json"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	wire "github.com/miekg/dns"

	"github.com/fairlead-net/fairlead/internal/dns"
)

// Top says what a server was asked most in the time since Since. Numbers are
// estimates while the server is busy, as it then looks at some queries only.
type Top struct {
	Since time.Time `json:"since"`
	// Queries is how many got a reply, Failed those of them whose reply is neither
	// NOERROR nor due to a search path, and Searched those for names that do not exist
	// and that a pod's search path has made of others.
	Queries  uint64 `json:"queries"`
	Failed   uint64 `json:"failed"`
	Searched uint64 `json:"searched"`
	// Names are what is asked most, Searches what is looked up in vain most.
	Names    []TopName   `json:"names"`
	Searches []TopSearch `json:"searches"`
}

// TopName is a name, the type asked for, and the response code.
type TopName struct {
	Name  string `json:"name"`
	Type  string `json:"type"`
	Rcode string `json:"rcode"`
	// Searched tells that a search path has made the name.
	Searched bool `json:"searched,omitempty"`
	// Queries is how many there were, or up to Over less.
	Queries uint64 `json:"queries"`
	Over    uint64 `json:"over,omitempty"`
}

// TopSearch is a name that pods look up along their search paths, in vain.
type TopSearch struct {
	Name string `json:"name"`
	// Namespace is that of the pods; empty for the later parts of search paths, which
	// pods of all namespaces share.
	Namespace string `json:"namespace,omitempty"`
	Queries   uint64 `json:"queries"`
	Over      uint64 `json:"over,omitempty"`
}

const (
	// topNames and topSearches are how many are kept, in 450 kB altogether.
	topNames    = 512
	topSearches = 256
	// topWindow is how long queries are counted before counting begins anew; what
	// was counted in the window before is told, too.
	topWindow = 5 * time.Minute
)

// top counts names for Plane.Top. Sockets note one reply of each batch in the place of
// all of it: the busier the server, the larger the batches, and the less it costs.
// So the way of a query knows nothing of it.
type top struct {
	table func() *dns.Table
	// missed counts replies that could not be noted; the next one stands for them.
	missed atomic.Int64
	mu     sync.Mutex
	// now is the window in which is counted, past the one before.
	now, past *window
	// name and text hold a name in lower case, in wire form and as text without
	// escapes; key is what is counted.
	name, text [maxName]byte
	key        [maxCounted]byte
}

// window is what was counted from a moment on.
type window struct {
	since                     time.Time
	queries, failed, searched uint64
	names, searches           *heavy
}

func newTop(table func() *dns.Table, now time.Time) *top {
	begin := func() *window { return &window{since: now, names: newHeavy(topNames), searches: newHeavy(topSearches)} }
	return &top{table: table, now: begin(), past: begin()}
}

// note counts a reply so many times. It waits for nobody: while another reply is being
// noted, the next one has to stand for this one, too. It does not allocate. A nil top
// notes nothing.
func (t *top) note(reply []byte, times int, now time.Time) {
	if t == nil || times == 0 || len(reply) < headerSize || binary.BigEndian.Uint16(reply[4:]) != 1 {
		return
	}
	if !t.mu.TryLock() {
		t.missed.Add(int64(times))
		return
	}
	defer t.mu.Unlock()
	size, ok := t.read(reply[headerSize:])
	if !ok {
		return
	}
	t.turn(now)
	w, weight, rcode := t.now, uint64(times)+uint64(t.missed.Swap(0)), reply[3]&0xf
	w.queries += weight
	key := append(t.key[:0], t.name[:size]...)
	// The question's type; no other response codes than those of the header.
	w.names.add(append(key, reply[headerSize+size], reply[headerSize+size+1], rcode), weight)
	if rcode == wire.RcodeSuccess {
		return
	}
	looked, namespace, searched := "", "", false
	if rcode == wire.RcodeNameError && size > 1 {
		// Not copied: it is gone when this returns.
		looked, namespace, searched = t.table().Searched(text(t.text[1 : size-1]))
	}
	if !searched {
		w.failed += weight
		return
	}
	w.searched += weight
	w.searches.add(append(append(append(key[:0], looked...), 0), namespace...), weight)
}

// read takes in the name of a question, and returns its size in wire form. Replies of
// this server have no pointers there.
func (t *top) read(question []byte) (size int, ok bool) {
	for left := 0; size < maxName && size < len(question); size++ {
		b := question[size]
		if left > 0 {
			if 'A' <= b && b <= 'Z' {
				b += 'a' - 'A'
			}
			t.name[size], t.text[size] = b, b
			left--
			continue
		}
		if b > 63 {
			return 0, false
		}
		t.name[size], t.text[size], left = b, '.', int(b)
		if b == 0 {
			return size + 1, size+5 <= len(question)
		}
	}
	return 0, false
}

// turn begins a new window if it is time to.
func (t *top) turn(now time.Time) {
	age := now.Sub(t.now.since)
	if age < topWindow {
		return
	}
	t.now, t.past = t.past, t.now
	t.now.reset(now)
	if age >= 2*topWindow {
		t.past.reset(now)
	}
}

func (w *window) reset(now time.Time) {
	w.names.reset()
	w.searches.reset()
	*w = window{since: now, names: w.names, searches: w.searches}
}

// Top returns what was asked most in the last five to ten minutes. It is empty if the
// Config does not have names counted.
func (p *Plane) Top() Top {
	result := Top{Names: []TopName{}, Searches: []TopSearch{}}
	t := p.top
	if t == nil {
		return result
	}
	table := &p.live.Load().table
	t.mu.Lock()
	t.turn(time.Now())
	windows := []window{*t.now}
	if t.past.since.Before(t.now.since) {
		windows = append(windows, *t.past)
	}
	names, searches := map[string]counted{}, map[string]counted{}
	result.Queries = uint64(t.missed.Load())
	for _, w := range windows {
		result.Since = w.since
		result.Queries, result.Failed, result.Searched = result.Queries+w.queries, result.Failed+w.failed, result.Searched+w.searched
		w.names.addTo(names)
		w.searches.addTo(searches)
	}
	t.mu.Unlock()
	for _, e := range ranked(names) {
		result.Names = append(result.Names, e.topName(table))
	}
	for _, e := range ranked(searches) {
		key := string(e.name())
		end := strings.LastIndexByte(key, 0)
		result.Searches = append(result.Searches, TopSearch{Name: printable(key[:end]), Namespace: key[end+1:], Queries: e.count, Over: e.over})
	}
	return result
}

// topName reads a key of window.names.
func (e *counted) topName(table *dns.Table) TopName {
	key := e.name()
	tail := key[len(key)-3:]
	name, _, err := wire.UnpackDomainName(key[:len(key)-3], 0)
	if err != nil {
		name = "?"
	}
	n := TopName{
		Name: name, Type: wire.Type(binary.BigEndian.Uint16(tail)).String(), Rcode: wire.RcodeToString[int(tail[2])],
		Queries: e.count, Over: e.over,
	}
	if tail[2] == wire.RcodeNameError {
		_, _, n.Searched = table.Searched(strings.TrimSuffix(name, "."))
	}
	return n
}

// printable replaces what terminals might not take for text.
func printable(name string) string {
	return strings.Map(func(r rune) rune {
		if r <= ' ' || r >= 0x7f {
			return '?'
		}
		return r
	}, name)
}

// TopHandler answers with Top in JSON.
func (p *Plane) TopHandler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if p.top == nil {
			http.Error(w, "names are not counted here; to count them set config.dns.countNames: true in the chart's values", http.StatusNotFound)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		if err := json.NewEncoder(w).Encode(p.Top()); err != nil {
			p.config.Log.Debug("names not sent", "error", err)
		}
	})
}

package tracing

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/fairlead-net/fairlead/internal/l7/http1"
)

const (
	trace = "0af7651916cd43dd8448eb211c80319c"
	span  = "b7ad6b7169203331"
)

func request(t testing.TB, lines ...string) *http1.Request {
	t.Helper()
	r, err := parse(lines...)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// parse returns the request with some lines, or why they cannot be in one.
func parse(lines ...string) (*http1.Request, error) {
	r := new(http1.Request)
	head := "GET / HTTP/1.1\r\nHost: x\r\n"
	for _, line := range lines {
		head += line + "\r\n"
	}
	n, err := r.Parse([]byte(head+"\r\n"), &http1.Limits{Line: 8000, Head: 16000, Fields: 50})
	if err == nil && n == 0 {
		err = errors.New("the header does not end")
	}
	return r, err
}

// counter is a source of numbers that are not random: 1, 2 and so on.
func counter() func() uint64 {
	n := uint64(0)
	return func() uint64 { n++; return n }
}

func sampler(t testing.TB, name string, ratio float64) *Sampler {
	t.Helper()
	s, err := ParseSampler(name, ratio)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestStart(t *testing.T) {
	const (
		fresh   = "traceparent: 00-01000000000000000200000000000000-ffffffffffffffff-"
		same    = "traceparent: 00-" + trace + "-ffffffffffffffff-"
		b3      = "b3: " + trace + "-ffffffffffffffff-"
		longest = "00-" + trace + "-" + span
	)
	for _, try := range []struct {
		name, sent string // lines by |
		want       string
	}{
		{"parentbased_always_on", "", fresh + "01"},
		{"parentbased_always_off", "", fresh + "00"},
		{"parentbased_always_off", "traceparent: " + longest + "-01", same + "01"},
		{"parentbased_always_on", "traceparent: " + longest + "-00", same + "00"},
		{"always_on", "traceparent: " + longest + "-00", same + "01"},
		{"always_off", "traceparent: " + longest + "-01", same + "00"},
		{"parentbased_always_off", "traceparent: cc" + longest[2:] + "-01-what-comes", same + "01"},
		{"always_on", "traceparent: " + longest + "-01-x", fresh + "01"},
		{"always_on", "traceparent: cc" + longest[2:] + "-01x", fresh + "01"},
		{"always_on", "traceparent: ff" + longest[2:] + "-01", fresh + "01"},
		{"always_on", "traceparent: 00-" + strings.ToUpper(trace) + "-" + span + "-01", fresh + "01"},
		{"always_on", "traceparent: 00-" + strings.Repeat("0", 32) + "-" + span + "-01", fresh + "01"},
		{"always_on", "traceparent: 00-" + trace + "-0000000000000000-01", fresh + "01"},
		{"always_on", "traceparent: " + longest + "-01|traceparent: " + longest + "-01", fresh + "01"},
		{"parentbased_always_off", "b3: " + trace + "-" + span + "-1", same + "01|" + b3 + "1"},
		{"parentbased_always_off", "b3: " + trace + "-" + span + "-d-" + span, same + "01|" + b3 + "d"},
		{"parentbased_always_on", "b3: " + trace + "-" + span + "-0", same + "00|" + b3 + "0"},
		{"parentbased_always_on", "b3: " + trace + "-" + span, same + "01|" + b3 + "1"},
		{"parentbased_always_on", "b3: 0", fresh + "00|b3: 01000000000000000200000000000000-ffffffffffffffff-0"},
		{"parentbased_always_off", "b3: 1", fresh + "00|b3: 01000000000000000200000000000000-ffffffffffffffff-0"},
		{"always_on", "b3: " + trace + "-" + span + "-2", fresh + "01|b3: 01000000000000000200000000000000-ffffffffffffffff-1"},
		{"parentbased_always_off", "X-B3-TraceId: 8448EB211C80319C|X-B3-SpanId: " + span + "|X-B3-Sampled: 1",
			"traceparent: 00-00000000000000008448eb211c80319c-ffffffffffffffff-01|X-B3-TraceId: 00000000000000008448eb211c80319c|" +
				"X-B3-SpanId: ffffffffffffffff|X-B3-ParentSpanId: 0100000000000000|X-B3-Sampled: 1"},
		{"parentbased_always_off", "traceparent: " + longest + "-01|b3: 0", same + "01|" + b3 + "1"},
	} {
		r := request(t, strings.Split(try.sent, "|")...)
		if try.sent == "" {
			r = request(t)
		}
		c := Start(r, sampler(t, try.name, 0), counter())
		got := strings.ReplaceAll(strings.TrimSuffix(string(c.AppendFields(nil, SpanID{255, 255, 255, 255, 255, 255, 255, 255})), "\r\n"), "\r\n", "|")
		if got != try.want {
			t.Errorf("%s, %s:\n%s, want\n%s", try.name, try.sent, got, try.want)
		}
		if c.KeepsState != strings.Contains(try.want, same) && !strings.HasPrefix(try.sent, "b3") {
			t.Errorf("%s: tracestate kept: %v", try.sent, c.KeepsState)
		}
	}
}

func TestSamplers(t *testing.T) {
	for _, name := range []string{"", "always", "parentbased_", "parentbased_parentbased_always_on"} {
		if _, err := ParseSampler(name, 0); err == nil || !strings.Contains(err.Error(), "traceidratio") {
			t.Errorf("%q: error %v", name, err)
		}
	}
	for _, ratio := range []float64{-0.1, 1.1} {
		if _, err := ParseSampler("traceidratio", ratio); err == nil {
			t.Errorf("ratio %v is taken", ratio)
		}
	}
	random := uint64(7)
	next := func() uint64 { random = random*6364136223846793005 + 1442695040888963407; return random ^ random>>29 }
	n := 0
	for range 10000 {
		if c := Start(request(t), sampler(t, "traceidratio", 0.1), next); c.Sampled {
			n++
		}
	}
	if n < 800 || n > 1200 {
		t.Errorf("%d of 10000 are sampled, want 1000", n)
	}
}

// FuzzStart holds that what is passed on is well-formed whatever came, and that it is read
// as the same trace by the next one.
func FuzzStart(f *testing.F) {
	f.Add("00-"+trace+"-"+span+"-01", trace+"-"+span+"-d-"+span, trace, span, "1")
	f.Add("", "0", trace[:16], span, "true")
	f.Add("ff-", "", "", "", "")
	whole := regexp.MustCompile("^traceparent: 00-[0-9a-f]{32}-[0-9a-f]{16}-0[01]\r\n(b3: [0-9a-f]{32}-[0-9a-f]{16}-[01d]\r\n)?" +
		"(X-B3-TraceId: [0-9a-f]{32}\r\nX-B3-SpanId: [0-9a-f]{16}\r\nX-B3-ParentSpanId: [0-9a-f]{16}\r\nX-B3-(Sampled: [01]|Flags: 1)\r\n)?$")
	f.Fuzz(func(t *testing.T, parent, single, id, spanID, sampled string) {
		r, err := parse("traceparent: "+parent, "b3: "+single, "x-b3-traceid: "+id, "x-b3-spanid: "+spanID, "x-b3-sampled: "+sampled)
		if err != nil {
			t.Skip(err) // it is for http1 to refuse that
		}
		s := sampler(t, "parentbased_traceidratio", 0.5)
		c := Start(r, s, counter())
		lines := string(c.AppendFields(nil, c.Span))
		if !whole.MatchString(lines) {
			t.Fatalf("%q", lines)
		}
		for i, line := range strings.Split(strings.TrimSuffix(lines, "\r\n"), "\r\n") {
			if i > 1 {
				break
			}
			next := Start(request(t, line), s, counter())
			if next.Trace != c.Trace || next.Parent != c.Span || next.Sampled != c.Sampled {
				t.Error(fmt.Sprint(line, c, next))
			}
		}
	})
}

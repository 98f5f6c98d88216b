package accesslog

import (
	"encoding/json"
	"net/netip"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/fairlead-net/fairlead/internal/l7/http1"
)

// entry is one of everything.
func entry(t testing.TB, path, agent string) *Entry {
	t.Helper()
	r := new(http1.Request)
	head := "POST /in?a=1&B=2 HTTP/1.1\r\nHost: Shop.Example:81\r\nX-Some-Thing: s\r\nCookie: x=y; sid=42\r\nReferer: http://r/\r\n\r\n"
	if n, err := r.Parse([]byte(head), &http1.Limits{Line: 8000, Head: 16000, Fields: 50}); err != nil || n != len(head) {
		t.Fatal(n, err)
	}
	// As it came: what the proxy itself adds could not have line breaks.
	r.Append(http1.Field{Name: []byte("user-agent"), Lower: []byte("user-agent"), Value: []byte(agent)})
	if path != "" {
		r.Path = []byte(path)
	}
	return &Entry{
		Begin: time.Date(2026, 7, 9, 1, 2, 3, 456789000, time.FixedZone("", 2*3600)), Took: 1234567 * time.Microsecond,
		Client: netip.MustParseAddr("203.0.113.9"), Peer: netip.MustParseAddr("10.0.0.1"), Request: r, Target: r.Target,
		Protocol: "HTTP/1.1", Scheme: "https", ServerPort: "443", ID: []byte("id"), User: "joe", Status: 200,
		Received: 300, Sent: 700, SentBody: 500, Kind: "Ingress", Namespace: "shop", Name: "web", Rule: "/in",
		Service: Service{"shop", "web", "http"}, Alternative: Service{"shop", "new", "http"},
		Tries: []Try{
			{Address: netip.MustParseAddrPort("[fd00::1]:80"), Status: 502, Connect: -1, Header: -1, Took: 5 * time.Millisecond},
			{Host: "up.example", Port: 8080, Status: 200, Connect: time.Millisecond, Header: 2 * time.Millisecond, Took: 1200 * time.Millisecond, Received: 480},
		},
		TLSVersion: "TLSv1.3", Cipher: "TLS_AES_128_GCM_SHA256", ServerName: "shop.example", Connection: 7, ConnectionRequests: 3,
	}
}

func TestFormats(t *testing.T) {
	for _, try := range []struct{ format, plain, json string }{
		{"$remote_addr-${realip_remote_addr}x", "203.0.113.9-10.0.0.1x", ""},
		{"$time_local|$time_iso8601|$msec", "09/Jul/2026:01:02:04 +0200|2026-07-09T01:02:04+02:00|1783551724.691", ""},
		{"$request|$request_uri|$uri|$args", "POST /in?a=1&B=2 HTTP/1.1|/in?a=1&B=2|/in|a=1&B=2", ""},
		{"$status $body_bytes_sent $bytes_sent $request_length $request_time", "200 500 700 300 1.234", ""},
		{"$proxy_upstream_name [$proxy_alternative_upstream_name]", "shop-web-http [shop-new-http]", ""},
		{"$upstream_addr|$upstream_status|$upstream_response_length", "[fd00::1]:80, up.example:8080|502, 200|0, 480", ""},
		{"$upstream_response_time|$upstream_header_time|$upstream_connect_time", "0.005, 1.200|-, 0.002|-, 0.001", ""},
		{"$host $http_host $http_x_some_thing $http_none", "shop.example Shop.Example:81 s -", "shop.example Shop.Example:81 s "},
		{"$cookie_sid $cookie_s $arg_b $arg_c", "42 - 2 -", "42  2 "},
		{"$http_user_agent", `a\x22b\x5Cc\x0A\xC3\xA9\x7F`, `a\"b\\c\né\u007f`},
		{"$upstream_http_etag $sent_http_server", "- -", " "},
		{"$ssl_protocol $ssl_cipher $ssl_server_name $connection $connection_requests", "TLSv1.3 TLS_AES_128_GCM_SHA256 shop.example 7 3", ""},
		{"$namespace/$ingress_name $service_name:$service_port $req_id $remote_user", "shop/web web:http id joe", ""},
		{"$fairlead_reason", "-", ""},
		{"a\nb", "a b", ""},
	} {
		for escapes, want := range map[bool]string{false: try.plain, true: try.json} {
			if escapes && want == "" && try.format != "$fairlead_reason" {
				want = try.plain
				if strings.HasPrefix(try.format, "$upstream_http") {
					want = " "
				}
			}
			f, err := Parse(try.format, escapes)
			if err != nil {
				t.Errorf("%s: %v", try.format, err)
				continue
			}
			if got := string(f.Append(nil, entry(t, "", "a\"b\\c\né\x7f"))); got != want+"\n" {
				t.Errorf("%s, JSON %v: %q, want %q", try.format, escapes, got, want)
			}
		}
	}
}

func TestFormatErrors(t *testing.T) {
	for format, want := range map[string]string{
		"": "empty", "$nothing_known": "$nothing_known", "a $ b": "no name", "${status": "without", "${}": "no name",
		"$addr": "did you mean $", "$http_": "not known", strings.Repeat("x", maxFormat+1): "characters", strings.Repeat("$status", maxParts+1): "parts",
	} {
		if _, err := Parse(format, false); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40s: error %v", format, err)
		}
	}
	if _, err := Parse(Default, false); err != nil {
		t.Error(err)
	}
}

// TestNoRequest holds that a message which was no request has a line all the same.
func TestNoRequest(t *testing.T) {
	e := &Entry{Request: new(http1.Request), Status: 400, Reason: "a lone LF ends a line"}
	f, _ := Parse(Default, false)
	want := "- - - [01/Jan/0001:00:00:00 +0000] \"-\" 400 0 \"-\" \"-\" 0 0.000 [-] [] - - - - -\n"
	if got := string(f.Append(nil, e)); got != want {
		t.Errorf("%q, want %q", got, want)
	}
	want = `{"time":"0001-01-01T00:00:00.000000Z","status":400,"bytes_in":0,"bytes_out":0,"duration":0.000000,"reason":"a lone LF ends a line"}` + "\n"
	if got := string(JSON().Append(nil, e)); got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestSkips(t *testing.T) {
	s, err := ParseSkips([]string{"/healthz", "~^/v[0-9]+/ping", "~*\\.PNG$"})
	if err != nil {
		t.Fatal(err)
	}
	for target, want := range map[string]bool{"/healthz": true, "/HEALTHZ": true, "/healthz?x": false, "/v12/ping?a": true, "/V1/ping": false, "/a.png": true} {
		if s.Has([]byte(target)) != want {
			t.Errorf("%s: %v", target, !want)
		}
	}
	if _, err := ParseSkips([]string{"~("}); err == nil {
		t.Error("a broken expression is taken")
	}
}

// FuzzLine holds that nothing a client sends ends a line, and that the JSON is JSON with
// what was sent in it.
func FuzzLine(f *testing.F) {
	for _, s := range []string{"plain", "a\nb\r\"}", "\\", "\xff\xfe\x00", "é\u2028\u0085", strings.Repeat("\u2029", 3000)} {
		f.Add(s, s)
	}
	plain, _ := Parse(`"$uri" "$http_user_agent"`, false)
	escaped, _ := Parse(`{"path":"$uri","agent":"$http_user_agent"}`, true)
	f.Fuzz(func(t *testing.T, path, agent string) {
		e := entry(t, path, agent)
		line := plain.Append(nil, e)
		for i, c := range line {
			if (c < ' ' || c > '~') && i < len(line)-1 {
				t.Errorf("%q has %q", line, c)
			}
		}
		if n := strings.Count(string(line), `"`); n != 4 {
			t.Errorf("%s has %d quotes", line, n)
		}
		for _, format := range []*Format{escaped, JSON()} {
			line := format.Append(nil, e)
			if strings.Count(string(line), "\n") != 1 || strings.ContainsAny(string(line), "\r\u2028\u2029\u0085") || !utf8.Valid(line) {
				t.Errorf("%q", line)
			}
			var got struct {
				Path, Agent string
				UserAgent   string `json:"user_agent"`
			}
			if err := json.Unmarshal(line, &got); err != nil {
				t.Fatalf("%s: %v", line, err)
			}
			if want := strings.ToValidUTF8(path, "\ufffd"); path != "" && utf8.ValidString(path) && len(path) <= maxValue && got.Path != want {
				t.Errorf("%q, want %q", got.Path, want)
			}
			if said := got.Agent + got.UserAgent; utf8.ValidString(agent) && len(agent) <= maxValue && said != agent {
				t.Errorf("%q, want %q", said, agent)
			}
		}
	})
}

// TestSkipsEqual holds which Skips say the same.
func TestSkipsEqual(t *testing.T) {
	made := func(texts ...string) *Skips {
		s, err := ParseSkips(texts)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	for _, c := range []struct {
		a, b *Skips
		want bool
	}{
		{nil, nil, true}, {made(), nil, false}, {made("/a"), made("/a"), true}, {made("/a"), made("/b"), false},
		{made("~^/a"), made("~^/a"), true}, {made("~^/a"), made("~^/b"), false}, {made("~^/a"), made("~*^/a"), false}, {made("/a"), made("/a", "~b"), false},
	} {
		if c.a.Equal(c.b) != c.want || c.b.Equal(c.a) != c.want {
			t.Errorf("%+v, %+v: want %t", c.a, c.b, c.want)
		}
	}
}

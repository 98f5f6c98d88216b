package filter

import (
	"testing"
	"time"
)

func TestCookie(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	old := "Mozilla/5.0 (iPhone; CPU iPhone OS 12_4 like Mac OS X)"
	for _, c := range []struct {
		s      Session
		secure bool
		agent  string
		want   string
	}{
		{Session{Name: "a"}, false, "", "a=v; Path=/; HttpOnly"},
		{Session{Name: "a"}, true, "", "a=v; Path=/; Secure; HttpOnly"},
		{Session{Name: "a", Secure: No, Path: "/x", Domain: "example.com"}, true, "", "a=v; Domain=example.com; Path=/x; HttpOnly"},
		{Session{Name: "a", Secure: Yes, Partitioned: true, Expires: time.Hour, MaxAge: time.Minute}, false, "", "a=v; Expires=Fri, 02-Jan-26 04:04:05 GMT; Max-Age=60; Path=/; Secure; HttpOnly; Partitioned"},
		{Session{Name: "a", SameSite: "None"}, false, old, "a=v; Path=/; HttpOnly; SameSite=None"},
		{Session{Name: "a", SameSite: "None", LaxForOld: true}, false, old, "a=v; Path=/; HttpOnly"},
		{Session{Name: "a", SameSite: "None", LaxForOld: true}, false, "Chrome/140", "a=v; Path=/; HttpOnly; SameSite=None"},
		{Session{Name: "a", SameSite: "Lax", LaxForOld: true}, false, old, "a=v; Path=/; HttpOnly; SameSite=Lax"},
	} {
		if got := c.s.Cookie("v", c.secure, c.agent, now); got != c.want {
			t.Errorf("%+v: %q, want %q", c.s, got, c.want)
		}
	}
}

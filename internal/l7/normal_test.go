package l7

import (
	"errors"
	"net/url"
	"path"
	"strings"
	"testing"
)

func TestNormalize(t *testing.T) {
	for given, want := range map[string][2]string{
		"":                       {"/", "/"},
		"/":                      {"/", "/"},
		"/a/b.c;d=1,2":           {"/a/b.c;d=1,2", "/a/b.c;d=1,2"},
		"//":                     {"/", "/"},
		"/a//b///c":              {"/a/b/c", "/a/b/c"},
		"/a//":                   {"/a/", "/a/"},
		"/a/./b/.":               {"/a/b/", "/a/b/"},
		"/a/b/../c":              {"/a/c", "/a/c"},
		"/a/..":                  {"/", "/"},
		"/a/../":                 {"/", "/"},
		"/a/%2e%2E/c":            {"/c", "/c"},
		"/.well-known/...":       {"/.well-known/...", "/.well-known/..."},
		"/%7Euser/%41":           {"/~user/A", "/~user/A"},
		"/a%3bb":                 {"/a;b", "/a%3Bb"},
		"/a%2fb":                 {"/a%2Fb", "/a%2Fb"},
		"/a%252fb":               {"/a%252fb", "/a%252fb"},
		"/100%25":                {"/100%25", "/100%25"},
		"/caf%c3%a9/caf\xc3\xa9": {"/café/café", "/caf%C3%A9/caf%C3%A9"},
		"/a%20b\"<>":             {"/a b\"<>", "/a%20b%22%3C%3E"},
		`/a\b`:                   {`/a\b`, "/a%5Cb"},
		"/lat%e9in":              {"/lat\xe9in", "/lat%E9in"},
	} {
		match, wire, err := Normalize(given)
		if err != nil || match != want[0] || wire != want[1] {
			t.Errorf("%q: %q, %q, %v; want %q", given, match, wire, err, want)
		}
	}
	for given, want := range map[string]error{
		"a": ErrPathStart, "*": ErrPathStart,
		"/%": ErrPathEscape, "/%4": ErrPathEscape, "/%zz": ErrPathEscape, "/%u0041": ErrPathEscape,
		"/%00": ErrPathControl, "/a%0ab": ErrPathControl, "/a\tb": ErrPathControl, "/%7f": ErrPathControl,
		"/a b": ErrPathCharacter, "/a#b": ErrPathCharacter, "/a?b": ErrPathCharacter,
		"/..": ErrPathAboveRoot, "/a/../../b": ErrPathAboveRoot, "/%2e%2e/": ErrPathAboveRoot,
		"/a/..%2fb": ErrPathAmbiguous, "/a%2F..": ErrPathAmbiguous, `/a/..\b`: ErrPathAmbiguous, "/x%5c.%2Fy": ErrPathAmbiguous,
		"/public/..;/admin": ErrPathAmbiguous, "/a/..;x=1": ErrPathAmbiguous, "/a/%2e%2e%3bx/b": ErrPathAmbiguous, "/.;/a": ErrPathAmbiguous, "/a%2f..;": ErrPathAmbiguous,
		"/%c0%ae%c0%ae/": ErrPathOverlong, "/%e0%80%ae": ErrPathOverlong, "/%f0%80%80%ae": ErrPathOverlong,
	} {
		if match, wire, err := Normalize(given); !errors.Is(err, want) {
			t.Errorf("%q: %q, %q, %v; want %v", given, match, wire, err, want)
		}
	}
}

// FuzzNormalize holds what both readers of a path rely on: that what is sent reads as
// what was matched, by this package and by net/url; and that no dot segment and no
// second slash is left.
func FuzzNormalize(f *testing.F) {
	for _, seed := range []string{"/", "/a/../b", "/%2e%2e/%2f", "/a%5c..%2fb", "/\xc0\xae", "/%25%32%65", "/a;b%3Bc//d/.", `/a\..\b`, "/%", "/caf\xc3\xa9"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, given string) {
		match, wire, err := Normalize(given)
		if err != nil {
			return
		}
		again, wireAgain, err := Normalize(wire)
		if err != nil || again != match || wireAgain != wire {
			t.Fatalf("%q: %q sends %q, which reads %q, %q, %v", given, match, wire, again, wireAgain, err)
		}
		if back, _, err := Normalize(Encode(match)); err != nil || back != match {
			t.Fatalf("%q: Encode(%q) = %q, which reads %q, %v", given, match, Encode(match), back, err)
		}
		u, err := url.ParseRequestURI(wire)
		if err != nil {
			t.Fatalf("%q: net/url refuses %q: %v", given, wire, err)
		}
		if other := strings.NewReplacer("%2F", "/", "%25", "%").Replace(match); u.Path != other {
			t.Fatalf("%q: net/url reads %q of %q, which was matched as %q", given, u.Path, wire, match)
		}
		if clean := path.Clean(match); clean != match && clean+"/" != match {
			t.Fatalf("%q: %q is not clean, %q is", given, match, clean)
		}
		for i := range len(wire) {
			if wire[i] <= ' ' || wire[i] >= 0x7f {
				t.Fatalf("%q: sends octet %#x", given, wire[i])
			}
		}
	})
}

// TestNormalizeAllocates nothing for a path that is normal already.
func TestNormalizeAllocates(t *testing.T) {
	if n := testing.AllocsPerRun(100, func() {
		if _, _, err := Normalize("/api/v1/items/42"); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

package l7

import "testing"

func TestWithoutParameters(t *testing.T) {
	for path, want := range map[string]string{
		"/": "/", "/a;x/b": "/a/b", "/a;x=1;y=2": "/a", "/;x/a": "/a", "/a/;x/;y/b;z": "/a/b", "/a/;x": "/a/", ";": "/",
		"/a%2Fb;c/d": "/a%2Fb/d", "/a/b/": "/a/b/",
	} {
		if path == ";" {
			path = "/;"
		}
		if got := withoutParameters(path); got != want {
			t.Errorf("%s: %s, want %s", path, got, want)
		}
	}
}

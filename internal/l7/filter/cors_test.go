package filter

import (
	"strings"
	"testing"
)

func TestOrigins(t *testing.T) {
	origins, any, err := ParseOrigins("https://shop.example, http://*.Shop.example:8080,https://*.a-b.example,")
	if err != nil || any || len(origins) != 3 {
		t.Fatal(origins, any, err)
	}
	c := CORS{Origins: origins}
	for origin, want := range map[string]bool{
		"https://shop.example": true, "HTTPS://SHOP.example": true, "http://shop.example": false, "https://shop.example:443": false,
		"http://a.shop.example:8080": true, "http://a.b.shop.example:8080": false, "http://.shop.example:8080": false, "http://a.shop.example": false,
		"https://x.a-b.example": true, "https://evil.example/.a-b.example": false, "https://xa-b.example": false, "https://x.a-b.example.evil": false,
		"evil https://shop.example": false, "null": false, "": false, "https://shopXexample": false,
	} {
		if c.Allows(origin) != want {
			t.Errorf("%q: %t", origin, !want)
		}
	}
	if _, any, _ = ParseOrigins("https://a.example, *"); !any {
		t.Error("* among others is not any")
	}
	for text, want := range map[string]string{
		"": "names no origin", "shop.example": "scheme", "https://": "no origin", "https://a.*.example": "asterisk", "https://*": "asterisk", "https://a.example:x": "port",
		"https://a.example/": "no origin", "https://$host": "no origin", "https://a.example\r\nX: y": "port",
	} {
		if _, _, err := ParseOrigins(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func FuzzOrigins(f *testing.F) {
	f.Add("https://*.shop.example:8080, http://a", "https://a.shop.example:8080")
	f.Fuzz(func(t *testing.T, text, origin string) {
		origins, _, err := ParseOrigins(text)
		if err != nil {
			return
		}
		c := CORS{Origins: origins}
		if c.Allows(origin) && strings.ContainsAny(origin, " \r\n,/?#@*") && strings.Count(origin, "/") != 2 {
			t.Errorf("%q allows %q", text, origin)
		}
	})
}

package waf

import (
	"strings"
	"testing"
)

func BenchmarkCompileCore(b *testing.B) {
	for b.Loop() {
		if _, err := NewCompiler().Compile("", Wanted{Recommended: true, Core: true}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCheck(b *testing.B) {
	r, err := NewCompiler().Compile("", Wanted{Core: true, Own: "SecRuleEngine On\nSecRequestBodyAccess On"})
	if err != nil {
		b.Fatal(err)
	}
	for name, body := range map[string]string{
		"none": "", "form-500": "a=" + strings.Repeat("word+", 100), "form-100k": "a=" + strings.Repeat("word+", 20000), "form-1000k": "a=" + strings.Repeat("word+", 200000),
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				check(r, "/cart?id=5", body, "Content-Type", "application/x-www-form-urlencoded")
			}
		})
	}
}

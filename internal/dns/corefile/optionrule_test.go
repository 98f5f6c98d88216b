package corefile

import (
	"strings"
	"testing"
)

// TestOptionRules reads what CoreDNS takes and refuses what it refuses.
func TestOptionRules(t *testing.T) {
	long := strings.Repeat("00", maxOptionData+1)
	for text, want := range map[string]string{
		"local set 0xffee abcd":              "",
		"LOCAL Append 65518 0x00ff revert":   "",
		"local replace 0xffee {client_ip}":   "",
		"local replace 0xffee revert revert": "",
		"local unset 0xffee":                 "",
		"nsid set":                           "",
		"nsid append revert":                 "",
		"nsid unset":                         "",
		"subnet set 24 56":                   "",
		"subnet replace 0 128 revert":        "",
		"subnet unset":                       "",
		"local set 0xffee {a/b}":             "not supported: rewrite edns0 local set 0xffee {a/b}: there is no metadata",
		"cookie set":                         `"cookie" is none of local, nsid, subnet`,
		"nsid change":                        `"change" is none of set, append, replace, unset`,
		"local set 0xffee":                   `write "rewrite edns0 local set CODE DATA [revert]"`,
		"local set 0xffee revert":            `write "rewrite edns0 local set CODE DATA [revert]"`,
		"local set 0xffee a b":               `write "rewrite edns0 local set CODE DATA [revert]"`,
		"local unset":                        `write "rewrite edns0 local unset CODE"`,
		"local unset 1 revert":               `write "rewrite edns0 local unset CODE"`,
		"nsid set a":                         `write "rewrite edns0 nsid set [revert]"`,
		"nsid unset revert":                  `write "rewrite edns0 nsid unset"`,
		"subnet set 24":                      `write "rewrite edns0 subnet set BITS4 BITS6 [revert]"`,
		"subnet set 33 56":                   `"33" is not a number of bits from 0 to 32`,
		"subnet set 24 129":                  `"129" is not a number of bits from 0 to 128`,
		"local set 65536 a":                  `"65536" is no code of an option`,
		"local set 0xffee 0x1":               `"0x1" is not in hexadecimal`,
		"local set 0xffee {dummy}":           `"{dummy}" is no variable`,
		"local set 0xffee 0x" + long:         "more than 255 bytes",
	} {
		for _, form := range []string{". {\n rewrite edns0 " + text + "\n}\n", ". {\n rewrite continue {\n edns0 " + text + "\n }\n}\n"} {
			file, problem := Parse(Source{Name: "Corefile", Text: form}, Surroundings{})
			if problem != nil {
				t.Fatal(problem)
			}
			config, problems := Read(file)
			said := ""
			for _, p := range problems {
				said += p.Message
			}
			if want == "" && said != "" || !strings.Contains(said, want) {
				t.Errorf("%s\nsays %q, want %q", form, said, want)
			}
			if rule := config.Servers[0].Directives[0].Setting.(Rewrite).Option; want == "" && rule == nil {
				t.Errorf("%s\nis no rule", form)
			}
		}
	}
}

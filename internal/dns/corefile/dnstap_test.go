package corefile

import (
	"strings"
	"testing"
)

// TestDnstap reads what CoreDNS takes and says what is wrong with the rest.
func TestDnstap(t *testing.T) {
	for text, want := range map[string]struct {
		tap     Dnstap
		problem string
	}{
		"/run/tap.sock":                                      {Dnstap{Network: "unix", Address: "/run/tap.sock", WriteBuffer: 1, Queue: 1}, ""},
		"unix:///run/tap.sock full 2 3":                      {Dnstap{Network: "unix", Address: "/run/tap.sock", Full: true, WriteBuffer: 2, Queue: 3}, ""},
		"tcp://tap.example:6000":                             {Dnstap{Network: "tcp", Address: "tap.example:6000", WriteBuffer: 1, Queue: 1}, ""},
		"tls://[::1]:6000 full {\nskipverify\n}":             {Dnstap{Network: "tls", Address: "[::1]:6000", Full: true, WriteBuffer: 1, Queue: 1, SkipVerify: true}, ""},
		"/s {\nidentity a\nversion b\nextra \"{type} x\"\n}": {Dnstap{Network: "unix", Address: "/s", WriteBuffer: 1, Queue: 1, Identity: "a", Version: "b", Extra: "{type} x"}, ""},
		"/s {\nextra {/a/b}\n}":                              {Dnstap{Network: "unix", Address: "/s", WriteBuffer: 1, Queue: 1, Extra: "{/a/b}"}, "not supported: extra {/a/b}: a dash stands for metadata"},
		"listen tcp://127.0.0.1:6000 full":                   {Dnstap{Full: true, WriteBuffer: 1, Queue: 1}, "not supported: dnstap listen tcp://127.0.0.1:6000 full: name the address"},
		"":                                                   {Dnstap{Network: "unix", WriteBuffer: 1, Queue: 1}, "wrong number of arguments"},
		"listen":                                             {Dnstap{WriteBuffer: 1, Queue: 1}, "wrong number of arguments"},
		"/s half":                                            {Dnstap{Network: "unix", Address: "/s", WriteBuffer: 1, Queue: 1}, `"half" is not "full"`},
		"/s full 0":                                          {Dnstap{Network: "unix", Address: "/s", Full: true, Queue: 1}, "not a number from 1 to 1024"},
		"/s full 1 5000":                                     {Dnstap{Network: "unix", Address: "/s", Full: true, WriteBuffer: 1}, "not a number from 1 to 4096"},
		"udp://127.0.0.1:6000":                               {Dnstap{Network: "udp", Address: "127.0.0.1:6000", WriteBuffer: 1, Queue: 1}, `"udp" is no transport`},
		"tcp://127.0.0.1":                                    {Dnstap{Network: "tcp", Address: "127.0.0.1", WriteBuffer: 1, Queue: 1}, "is not HOST:PORT"},
		"unix://":                                            {Dnstap{Network: "unix", WriteBuffer: 1, Queue: 1}, "is no path of a socket"},
	} {
		file, problem := Parse(Source{Name: "Corefile", Text: ". {\n dnstap " + text + "\n}\n"}, Surroundings{})
		if problem != nil {
			t.Fatal(problem)
		}
		config, problems := Read(file)
		said := ""
		for _, p := range problems {
			said += p.Message
		}
		if want.problem == "" && said != "" || !strings.Contains(said, want.problem) {
			t.Errorf("%s: says %q, want %q", text, said, want.problem)
		}
		if got := config.Servers[0].Directives[0].Setting.(Dnstap); got != want.tap {
			t.Errorf("%s: %+v, want %+v", text, got, want.tap)
		}
	}
}

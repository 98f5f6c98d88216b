package waf

import (
	"fmt"
	"strings"
	"testing"
)

// check checks a request for a target with a body, and returns the status, 0 if it goes
// on, and the Report.
func check(r *Rules, target, body string, fields ...string) (int, *Report) {
	c := r.Begin("x")
	c.Field("Host", "x.example")
	c.Field("User-Agent", "test")
	c.Field("Accept", "*/*")
	for i := 0; i < len(fields); i += 2 {
		c.Field(fields[i], fields[i+1])
	}
	method := "GET"
	if body != "" {
		method = "POST"
		c.Field("Content-Length", fmt.Sprint(len(body)))
	}
	v := c.Request(Head{"192.0.2.1", method, target, "HTTP/1.1", "x.example"})
	if v == nil && body != "" {
		v = c.Body([]byte(body))
	}
	if v == nil {
		v = c.BodyEnd()
	}
	status := 0
	if v != nil {
		status = v.Status
	}
	return status, c.End()
}

// TestRules holds what requests get by the rules of ingress-nginx, by which many texts
// begin: they find, and refuse once a text says so.
func TestRules(t *testing.T) {
	c := NewCompiler()
	compiled := func(want Wanted) *Rules {
		t.Helper()
		r, err := c.Compile("shop", want)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	finds, refuses := compiled(Wanted{Recommended: true, Core: true}), compiled(Wanted{Core: true, Own: "SecRuleEngine On\nSecRequestBodyAccess On"})
	own := compiled(Wanted{Own: "Include /etc/nginx/modsecurity/modsecurity.conf\nSecRuleEngine On\n" +
		`SecRule REQUEST_HEADERS:User-Agent "fern-scanner" \` + "\n" + `  "log,deny,id:107,status:418,msg:\'Fern Scanner Identified\'"` + "\n" +
		`SecRule ARGS:to "@streq out" "id:108,phase:1,redirect:https://out.example/"` + "\n" + `SecRule ARGS:end "@eq 1" "id:109,phase:1,drop"`})
	without := compiled(Wanted{Core: true, Own: "SecRuleEngine On\nSecRuleRemoveById 942100\nSecRuleRemoveByTag attack-sqli"})
	const sqli, xss = "/?id=1%27%20or%20%271%27=%271%27%20union%20select%201,2--", "/?q=%3Cscript%3Ealert(1)%3C/script%3E"
	for _, test := range []struct {
		rules              *Rules
		target, body       string
		fields             []string
		status, least, not int
	}{
		{finds, "/", "", nil, 0, 0, 0},
		{finds, sqli, "", nil, 0, 942100, 0},
		{refuses, "/", "", nil, 0, 0, 0},
		{refuses, sqli, "", nil, 403, 942100, 0},
		{refuses, xss, "", nil, 403, 941100, 0},
		{refuses, "/", "q=<script>alert(1)</script>", []string{"Content-Type", "application/x-www-form-urlencoded"}, 403, 941100, 0},
		{without, sqli, "", nil, 0, 0, 942100},
		{own, "/", "", []string{"User-Agent", "a fern-scanner"}, 418, 107, 0},
		{own, "/?to=out", "", nil, 302, 0, 0},
		{own, "/?end=1", "", nil, 403, 0, 0},
		{own, "/", "{", []string{"Content-Type", "application/json"}, 400, 200002, 0},
		{own, "/", strings.Repeat("a", MaxRequestBody), nil, 413, 0, 0},
		{finds, "/", strings.Repeat("a", MaxRequestBody), []string{"Content-Type", "application/octet-stream"}, 0, 0, 0},
	} {
		status, report := check(test.rules, test.target, test.body, test.fields...)
		found := map[int]bool{}
		if report != nil {
			for _, m := range report.Matches {
				found[m.Rule] = true
			}
		}
		if status != test.status || test.least != 0 && !found[test.least] || found[test.not] {
			t.Errorf("%s %.20q: %d, want %d; %+v", test.target, test.body, status, test.status, report)
		}
	}
	if again := compiled(Wanted{Recommended: true, Core: true}); again != finds {
		t.Error("the same rules were compiled twice")
	}
}

// TestRefused holds what no text may do, and that the line is said.
func TestRefused(t *testing.T) {
	c := NewCompiler()
	for text, want := range map[string]string{
		"\nInclude /etc/passwd":                                    "line 2: Include /etc/passwd is not allowed",
		"Include @owasp_crs/*.conf":                                "line 1: Include",
		"SecAuditLog /var/log/a":                                   "only /dev/stdout",
		"SecDebugLog /tmp/x":                                       "only /dev/stdout",
		"SecRemoteRules k https://x/":                              "SecRemoteRules is not supported or not allowed",
		"SecRuleScript /x.lua":                                     "SecRuleScript is not",
		"SecDataDir /":                                             "SecDataDir is not",
		"SecUploadDir /":                                           "SecUploadDir is not",
		"SecDataset x `\na\n`":                                     "malformed",
		"SecRule ARGS \"@inspectFile /x\" \"id:1\"":                "operator @inspectFile",
		"SecRule ARGS \"!@rbl x.example\" \"id:1\"":                "operator @rbl",
		"SecRule ARGS \"@pmFromFile /x\" \"id:1\"":                 "operator @pmFromFile",
		"SecRule ARGS \"@geoLookup\" \"id:1\"":                     "operator @geoLookup",
		"SecRule ARGS \"@validateSchema x\" \"id:1\"":              "operator @validateSchema",
		"SecAction \"id:1,exec:/bin/x\"":                           `action "exec"`,
		"SecAction \"id:1, SetEnv:A=b\"":                           `action "setenv"`,
		"SecAction \"id:1,msg:\\\\',setenv:A=b,\\\\'\"":            "",
		"SecAction \"id:1,initcol:ip=x\"":                          `action "initcol"`,
		"SecAction \"id:1,setvar:ip.a=1\"":                         "only variables of tx",
		"SecAction \"id:1,ctl:requestBodyLimit=1\"":                "ctl:requestBodyLimit",
		"SecAction \"id:1,deny,status:99\"":                        "no status",
		"SecDefaultAction \"phase:1,log,exec:/x,pass\"":            `action "exec"`,
		"SecRuleUpdateActionById 9 \"exec:/x\"":                    `action "exec"`,
		"SecRule ARGS \"(?=a)\" \"id:1\"":                          "no look-around",
		"SecRule ARGS \"(a{500}){2}b{900}c{900}\" \"id:1\"":        "steps",
		"SecRule ARGS \"a\" \"id:1\"\n\nSecRule NO \"a\" \"id:2\"": "line 3: ",
		"SecRule ARGS \"a\" \"id:1\"\nSecRule ARGS \"a\" \"id:1\"": "line 2: ",
		"SecRule ARGS \"a\" \\":                                    "goes on behind the end",
		"SecRule ARGS \"a":                                         "not closed",
		"SecNothing x":                                             "SecNothing is not",
		"SecRuleEngine Perhaps":                                    "line 1: ",
		strings.Repeat("SecAction \"id:1\"\n", maxRules+1):         "more than 100 rules",
		strings.Repeat("#\n", maxText):                             "octets",
		"SecMarker a\x00":                                          "control",
	} {
		_, err := c.Compile("shop", Wanted{Own: text})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.60q: %v, want %q", text, err, want)
		}
	}
}

// TestHardened holds that Coraza itself refuses, should the reader be mistaken.
func TestHardened(t *testing.T) {
	for _, line := range []string{"SecAction \"id:1,phase:1,pass,setenv:A=b\"", "SecAction \"id:1,phase:1,pass,exec:/x\"", "SecRule ARGS \"@rbl x\" \"id:1,phase:1,pass\""} {
		own := &Text{first: []directive{{7, line}}}
		hardened()
		if err := locate(own, errForbidden); !strings.Contains(err.Error(), "line 7: ") {
			t.Errorf("%s: %v", line, err)
		}
	}
}

// FuzzRead holds that no text makes the reader panic, and that what it takes names
// nothing that it must not.
func FuzzRead(f *testing.F) {
	for _, text := range []string{"SecRuleEngine On", "SecRule ARGS \"@rx a\" \"id:1,deny\"", "SecAction \"id:1,msg:\\'a,exec:b\\'\"", "Include /x", "SecRule A \\\n \"!@pm x\" \"id:1\""} {
		f.Add(text)
	}
	hardened()
	f.Fuzz(func(t *testing.T, text string) {
		read, err := Read(text)
		if err != nil {
			return
		}
		if text := locate(read, errFine).Error(); strings.Contains(text, errForbidden.Error()) || strings.Contains(text, "readfile") || strings.Contains(text, "unknown directive") {
			t.Errorf("Coraza sees what the reader did not: %s", text)
		}
	})
}

var errFine = fmt.Errorf("nothing is wrong")

// TestLook holds that a rule looks at no more variables than can be afforded.
func TestLook(t *testing.T) {
	many := "SecRule " + strings.Repeat("ARGS|", maxVariables) + `ARGS "@rx a" "id:1,phase:2,deny"`
	if _, err := Read(many); err == nil || !strings.Contains(err.Error(), "looks at 17 variables") {
		t.Error(err)
	}
	var all strings.Builder
	for i := range maxAllVariables/maxVariables + 1 {
		fmt.Fprintf(&all, "SecRule %sARGS \"@rx a\" \"id:%d,phase:2,deny\"\n", strings.Repeat("ARGS|", maxVariables-1), i+1)
	}
	if _, err := Read(all.String()); err == nil || !strings.Contains(err.Error(), "line 13") {
		t.Error(err)
	}
	if _, err := Read(`SecRule ARGS:/a/ "@rx a" "id:1,phase:2,deny"`); err == nil {
		t.Error("a regular expression selects variables")
	}
}

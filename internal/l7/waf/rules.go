package waf

import (
	"errors"
	"fmt"
	"regexp"
	"sort"
	"strconv"
	"strings"
	"sync"

	coreruleset "github.com/corazawaf/coraza-coreruleset/v4"
	"github.com/corazawaf/coraza/v3"
	"github.com/corazawaf/coraza/v3/experimental/plugins"
	"github.com/corazawaf/coraza/v3/experimental/plugins/plugintypes"
)

// recommended is what ingress-nginx has in modsecurity.conf, without what concerns
// files: rules find, but refuse nothing, until a text says SecRuleEngine On.
const recommended = `
SecRequestBodyAccess On
SecRule REQUEST_HEADERS:Content-Type "^(?:application(?:/soap\+|/)|text/)xml" "id:200000,phase:1,t:none,t:lowercase,pass,nolog,ctl:requestBodyProcessor=XML"
SecRule REQUEST_HEADERS:Content-Type "^application/json" "id:200001,phase:1,t:none,t:lowercase,pass,nolog,ctl:requestBodyProcessor=JSON"
SecRule REQUEST_HEADERS:Content-Type "^application/[a-z0-9.-]+[+]json" "id:200006,phase:1,t:none,t:lowercase,pass,nolog,ctl:requestBodyProcessor=JSON"
SecRule REQBODY_ERROR "!@eq 0" "id:200002,phase:2,t:none,log,deny,status:400,msg:'Failed to parse request body.',logdata:'%{reqbody_error_msg}',severity:2"
SecRule MULTIPART_STRICT_ERROR "!@eq 0" "id:200003,phase:2,t:none,log,deny,status:400,msg:'Multipart request body failed strict validation.'"
SecRequestBodyLimitAction Reject
SecResponseBodyAccess On
SecResponseBodyMimeType text/plain text/html text/xml
SecResponseBodyLimitAction ProcessPartial
`

const core = `
Include @crs-setup.conf.example
Include @owasp_crs/*.conf
`

// Wanted is what an Ingress wants to be checked by, in the order that counts.
type Wanted struct {
	// Recommended are the rules of ingress-nginx's modsecurity.conf, Core is the core rule
	// set.
	Recommended, Core bool
	// Shared is the administrator's text, Own that of the Ingress.
	Shared, Own string
}

// Rules are compiled. Any number of requests may be checked by them at a time.
type Rules struct {
	waf    coraza.WAF
	wanted Wanted
	// request is how much of a body is read.
	request int
}

// Core reports whether the core rule set is among them.
func (r *Rules) Core() bool { return r.wanted.Core }

// hardened has Coraza forget what no text may use, should the reader be mistaken: its
// tables are the process'.
var hardened = sync.OnceFunc(func() {
	for _, name := range []string{"exec", "setenv"} {
		plugins.RegisterAction(name, func() plugintypes.Action { return forbidden{} })
	}
	for _, name := range []string{"inspectFile", "rbl", "geoLookup", "validateSchema", "ipMatchFromFile", "ipMatchF", "fuzzyHash"} {
		plugins.RegisterOperator(name, func(plugintypes.OperatorOptions) (plugintypes.Operator, error) { return nil, errForbidden })
	}
})

var errForbidden = errors.New("it is not allowed")

type forbidden struct{}

func (forbidden) Init(plugintypes.RuleMetadata, string) error                     { return errForbidden }
func (forbidden) Evaluate(plugintypes.RuleMetadata, plugintypes.TransactionState) {}
func (forbidden) Type() plugintypes.ActionType                                    { return plugintypes.ActionTypeNondisruptive }

// compile reads the texts and has Coraza make rules of them.
func compile(want Wanted) (*Rules, error) {
	hardened()
	shared, err := Read(want.Shared)
	if err != nil {
		return nil, fmt.Errorf("the ConfigMap's modsecurity-snippet: %w", err)
	}
	own, err := Read(want.Own)
	if err != nil {
		return nil, err
	}
	c := coraza.NewWAFConfig().WithRootFS(coreruleset.FS).WithDirectives("SecRuleEngine DetectionOnly")
	if want.Recommended || shared.recommended || own.recommended {
		c = c.WithDirectives(recommended)
	}
	for _, d := range append(append([]directive(nil), shared.first...), own.first...) {
		c = c.WithDirectives(d.text)
	}
	if want.Core || shared.core || own.core {
		want.Core = true
		c = c.WithDirectives(core)
	}
	for _, d := range append(append([]directive(nil), shared.last...), own.last...) {
		c = c.WithDirectives(d.text)
	}
	r := &Rules{wanted: want, request: sized2(MaxRequestBody, shared.request, own.request)}
	response := sized2(MaxResponseBody, shared.response, own.response)
	// All in memory: nothing is written to files.
	c = c.WithRequestBodyLimit(r.request).WithRequestBodyInMemoryLimit(r.request).WithResponseBodyLimit(response)
	if r.waf, err = coraza.NewWAF(c); err != nil {
		return nil, locate(own, err)
	}
	return r, nil
}

// sized2 returns the last size that was said.
func sized2(standard int, said ...int) int {
	for _, n := range said {
		if n > 0 {
			standard = n
		}
	}
	return standard
}

// locate says which line of a text Coraza does not take, if it is so without all others.
func locate(own *Text, err error) error {
	fails := func(n int) error {
		c := coraza.NewWAFConfig().WithRootFS(coreruleset.FS)
		for _, d := range own.first[:n] {
			c = c.WithDirectives(d.text)
		}
		_, err := coraza.NewWAF(c)
		return err
	}
	n := sort.Search(len(own.first)+1, func(n int) bool { return fails(n) != nil })
	text := err.Error()
	if n > 0 && n <= len(own.first) {
		text = "line " + strconv.Itoa(own.first[n-1].line) + ": " + fails(n).Error() + "; it is " + short(own.first[n-1].text)
	}
	for _, noise := range []string{"invalid WAF config from string: ", "failed to compile the directive ", "failed to parse string: "} {
		text = strings.ReplaceAll(text, noise, "")
	}
	return errors.New(regexp.MustCompile(`\s+`).ReplaceAllString(text, " "))
}

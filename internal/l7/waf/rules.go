package waf

import (
	"errors"
	"fmt"
	"regexp"
	"sort"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

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

// Rules are what a namespace wants, which has been read. They are compiled later; then any
// number of requests may be checked by them at a time. Get them from a Compiler.
type Rules struct {
	namespace   string
	wanted      Wanted
	shared, own *Text
	// built is nil as long as they are not compiled; trouble is why that did not come about
	// so far.
	built   atomic.Pointer[built]
	trouble atomic.Pointer[error]
	// stage and tries are the Compiler's.
	stage stage
	tries int
}

// built is what became of Rules: what Coraza made, or what is wrong with them.
type built struct {
	waf coraza.WAF
	// request is how much of a body is read.
	request int
	err     error
}

// Core reports whether the core rule set is among them.
func (r *Rules) Core() bool { return r.wanted.Core || r.shared.core || r.own.core }

// Own reports whether they have a text of an Ingress's own.
func (r *Rules) Own() bool { return r.wanted.Own != "" }

// Ready reports whether requests can be checked.
func (r *Rules) Ready() bool {
	b := r.built.Load()
	return b != nil && b.err == nil
}

// Err says what is wrong with the text, as far as it is compiled, and in which line.
func (r *Rules) Err() error {
	if b := r.built.Load(); b != nil {
		return b.err
	}
	return nil
}

// Trouble says why they are not compiled yet, though it has been tried; nil: it has not,
// or they are.
func (r *Rules) Trouble() error {
	if t := r.trouble.Load(); t != nil && r.built.Load() == nil {
		return *t
	}
	return nil
}

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

// read reads the texts.
func read(namespace string, want Wanted) (*Rules, error) {
	r := &Rules{namespace: namespace, wanted: want}
	var err error
	if r.shared, err = Read(want.Shared); err != nil {
		return nil, fmt.Errorf("the ConfigMap's modsecurity-snippet: %w", err)
	}
	if r.own, err = Read(want.Own); err != nil {
		return nil, err
	}
	return r, nil
}

// build has Coraza make rules of the texts.
func build(r *Rules) *built {
	hardened()
	shared, own := r.shared, r.own
	c := coraza.NewWAFConfig().WithRootFS(coreruleset.FS).WithDirectives("SecRuleEngine DetectionOnly")
	if r.wanted.Recommended || shared.recommended || own.recommended {
		c = c.WithDirectives(recommended)
	}
	for _, d := range append(append([]directive(nil), shared.first...), own.first...) {
		c = c.WithDirectives(d.text)
	}
	if r.Core() {
		c = c.WithDirectives(core)
	}
	for _, d := range append(append([]directive(nil), shared.last...), own.last...) {
		c = c.WithDirectives(d.text)
	}
	b := &built{request: sized2(MaxRequestBody, shared.request, own.request)}
	response := sized2(MaxResponseBody, shared.response, own.response)
	// All in memory: nothing is written to files.
	c = c.WithRequestBodyLimit(b.request).WithRequestBodyInMemoryLimit(b.request).WithResponseBodyLimit(response)
	if b.waf, b.err = coraza.NewWAF(c); b.err != nil {
		b.err = locate(own, b.err)
	}
	return b
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

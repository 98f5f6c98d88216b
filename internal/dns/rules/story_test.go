package rules

import (
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"testing"

	wire "github.com/miekg/dns"
	"golang.org/x/tools/txtar"

	"github.com/fairlead-net/fairlead/internal/dns/corefile"
	"github.com/fairlead-net/fairlead/internal/testkit"
)

// TestStories reads the Corefile of each story and compares what becomes of each
// query in its file "queries". A query is a line "? NAME TYPE [CLASS] [ADDRESS]
// [CODE=HEX]...", the latter options; a line "< RECORD" after it is in the reply that
// others give. Other files of a story are those that the Corefile names.
func TestStories(t *testing.T) { testkit.Stories(t, tell) }

func tell(t *testing.T, story *txtar.Archive) []txtar.File {
	parts := testkit.Parts(story.Files)
	r, err := read(t, parts["Corefile"], func(name string) ([]byte, error) {
		if text, ok := parts[name]; ok {
			return []byte(text), nil
		}
		return nil, os.ErrNotExist
	})
	if err != nil {
		t.Fatal(err)
	}
	var files []txtar.File
	for _, f := range story.Files {
		if f.Name == "queries" {
			f.Data = []byte(outcomes(t, r, string(f.Data)))
		}
		files = append(files, f)
	}
	return files
}

// read makes Rules of the first server block.
func read(t testing.TB, text string, files Files) (*Rules, error) {
	t.Helper()
	file, problem := corefile.Parse(corefile.Source{Name: "Corefile", Text: text}, corefile.Surroundings{})
	if problem != nil {
		return nil, errors.New(problem.Message)
	}
	config, problems := corefile.Read(file)
	for _, p := range problems {
		if p.Kind != corefile.Unsupported {
			return nil, fmt.Errorf("%s: %s", p.Position, p.Message)
		}
	}
	return New(config.Servers[0], files)
}

func outcomes(t *testing.T, r *Rules, text string) string {
	var out, query strings.Builder
	var replies []string
	flush := func() {
		if query.Len() > 0 {
			out.WriteString(query.String() + outcome(t, r, query.String(), replies) + "\n")
		}
		query.Reset()
		replies = nil
	}
	for line := range strings.Lines(text) {
		switch {
		case strings.HasPrefix(line, "? "):
			flush()
			query.WriteString(line)
		case strings.HasPrefix(line, "< "):
			query.WriteString(line)
			replies = append(replies, line[2:])
		}
	}
	flush()
	return out.String()
}

// outcome says in words what becomes of a query.
func outcome(t *testing.T, r *Rules, query string, replies []string) string {
	t.Helper()
	first, _, _ := strings.Cut(query, "\n")
	words := strings.Fields(first)[1:]
	request := new(wire.Msg).SetQuestion(words[0], wire.StringToType[words[1]])
	client := Client{Address: netip.MustParseAddr("2001:db8::7"), Port: 4242, Server: netip.MustParseAddrPort("192.0.2.53:53")}
	for _, w := range words[2:] {
		if code, data, ok := strings.Cut(w, "="); ok {
			addOption(t, request, code, data)
		} else if c, ok := wire.StringToClass[w]; ok {
			request.Question[0].Qclass = c
		} else {
			client.Address = netip.MustParseAddr(w)
		}
	}
	before := request.String()
	o := r.Query(client, request)
	if request.String() != before {
		t.Errorf("%s: the client's query was changed", query)
	}
	if o.Drop {
		return "  no reply\n"
	}
	var out strings.Builder
	reply := o.Reply
	if reply == nil {
		q := o.Request.Question[0]
		fmt.Fprintf(&out, "  asked: %s %s %s\n", q.Name, wire.ClassToString[q.Qclass], wire.TypeToString[q.Qtype])
		if sent := o.Options(); sent != "" {
			fmt.Fprintf(&out, "  sent options: %x\n", sent)
		}
		reply = others(t, r, client.Address, o.Request, replies)
	}
	r.Undo(o, reply)
	for _, option := range o.Echo() {
		fmt.Fprintf(&out, "  option in the reply: %d %s\n", option.Option(), option)
	}
	if reply != o.Reply && len(replies) == 0 {
		return out.String()
	}
	fmt.Fprintf(&out, "  %s\n", wire.RcodeToString[reply.Rcode])
	for mark, section := range map[string][]wire.RR{"=": reply.Answer} {
		for _, rr := range section {
			fmt.Fprintf(&out, "  %s %s\n", mark, strings.ReplaceAll(rr.String(), "\t", " "))
		}
	}
	for _, rr := range append(append([]wire.RR{}, reply.Ns...), reply.Extra...) {
		fmt.Fprintf(&out, "  + %s\n", strings.ReplaceAll(rr.String(), "\t", " "))
	}
	if o.Chase != "" {
		fmt.Fprintf(&out, "  followed: %s\n", o.Chase)
	}
	if o.Error != nil {
		fmt.Fprintf(&out, "  %s: %s\n", wire.ExtendedErrorCodeToString[o.Error.Code], o.Error.Text)
	}
	return out.String()
}

// addOption gives a request an option, as if it had been sent with it.
func addOption(t *testing.T, request *wire.Msg, code, data string) {
	t.Helper()
	number, err := strconv.ParseUint(code, 0, 16)
	if err != nil {
		t.Fatal(err)
	}
	bytes, err := hex.DecodeString(data)
	if err != nil {
		t.Fatal(err)
	}
	if request.IsEdns0() == nil {
		request.SetEdns0(1232, false)
	}
	opt := request.IsEdns0()
	opt.Option = append(opt.Option, &wire.EDNS0_LOCAL{Code: uint16(number), Data: bytes})
	packed, err := request.Pack()
	if err != nil {
		t.Fatal(err)
	}
	if err := request.Unpack(packed); err != nil {
		t.Fatal(err)
	}
}

// others gives a reply with those of the records that are of the type asked for, and
// asks again where addresses are made of others.
func others(t *testing.T, r *Rules, client netip.Addr, request *wire.Msg, records []string) *wire.Msg {
	t.Helper()
	give := func(q *wire.Msg) *wire.Msg {
		reply := new(wire.Msg).SetReply(q)
		for _, text := range records {
			rr, err := wire.NewRR(text)
			if err != nil {
				t.Fatal(err)
			}
			if h := rr.Header(); h.Rrtype == q.Question[0].Qtype || h.Rrtype == wire.TypeCNAME {
				reply.Answer = append(reply.Answer, rr)
			} else if h.Rrtype == wire.TypeNS {
				reply.Ns = append(reply.Ns, rr)
			}
		}
		return reply
	}
	reply := give(request)
	if r.NeedsA(client, request, reply) {
		r.Translate(reply, give(A(request)))
	}
	return reply
}

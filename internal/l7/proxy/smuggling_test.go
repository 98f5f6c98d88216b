package proxy

import (
	"bufio"
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"

	"golang.org/x/tools/txtar"
)

var update = flag.Bool("update", false, "rewrite the expectations of stories")

// unescape reads what a client or an upstream sends in a story. A line is what is
// written with CR LF behind it; with a backslash at its end, without. Other escapes
// are those of Go.
func unescape(t testing.TB, text []byte) string {
	t.Helper()
	var b strings.Builder
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSuffix(line, "\n")
		line, open := strings.CutSuffix(line, `\`)
		raw, err := strconv.Unquote(`"` + strings.ReplaceAll(line, `"`, `\"`) + `"`)
		if err != nil {
			t.Fatalf("line %q: %v", line, err)
		}
		b.WriteString(raw)
		if !open {
			b.WriteString("\r\n")
		}
	}
	return b.String()
}

// escape is the reverse of unescape.
func escape(raw string) string {
	var b strings.Builder
	for raw != "" {
		line, rest, whole := strings.Cut(raw, "\r\n")
		quoted := strconv.QuoteToASCII(line)
		b.WriteString(strings.ReplaceAll(quoted[1:len(quoted)-1], `\"`, `"`))
		if !whole {
			b.WriteString(`\`)
		}
		b.WriteString("\n")
		raw = rest
	}
	return b.String()
}

// recorder is an upstream that reads requests as net/http does, and keeps the bytes.
type recorder struct {
	mu sync.Mutex
	// got is what each connection brought, in the order in which they were accepted.
	got    []*bytes.Buffer
	answer string
	// once closes a connection after its first answer.
	once bool
}

// accept returns what serves the next connection. Connections end in any order, so
// each has a place of its own.
func (r *recorder) accept() func(net.Conn) {
	raw := new(bytes.Buffer)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.got = append(r.got, raw)
	return func(conn net.Conn) { r.serve(conn, raw) }
}

func (r *recorder) serve(conn net.Conn, raw *bytes.Buffer) {
	reader := bufio.NewReader(io.TeeReader(conn, raw))
	refused := ""
	for {
		request, err := http.ReadRequest(reader)
		if err == nil {
			_, err = io.Copy(io.Discard, request.Body)
		}
		if err != nil {
			if !errors.Is(err, io.EOF) {
				refused = fmt.Sprintf("net/http: %v\r\n", err)
			}
			break
		}
		if _, err := io.WriteString(conn, r.answer); err != nil || r.once {
			break
		}
	}
	conn.Close()
	raw.WriteString(refused)
}

// all is what came over all connections; none may be open any more.
func (r *recorder) all() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var b strings.Builder
	for _, raw := range r.got {
		b.Write(raw.Bytes())
	}
	return b.String()
}

// TestMessages runs the stories of testdata: what a client sends, and perhaps what
// the upstream answers; what the upstream got, and what the client.
func TestMessages(t *testing.T) {
	for _, name := range []string{"testdata/requests.txtar", "testdata/answers.txtar"} {
		archive, err := txtar.ParseFile(name)
		if err != nil {
			t.Fatal(err)
		}
		var out []txtar.File
		for i := 0; i < len(archive.Files); {
			file := archive.Files[i]
			story, _, _ := strings.Cut(file.Name, "/")
			files := map[string][]byte{}
			for ; i < len(archive.Files) && strings.HasPrefix(archive.Files[i].Name, story+"/"); i++ {
				files[strings.TrimPrefix(archive.Files[i].Name, story+"/")] = archive.Files[i].Data
			}
			t.Run(story, func(t *testing.T) { out = append(out, tell(t, story, files)...) })
		}
		if *update {
			archive.Files = out
			if err := os.WriteFile(name, txtar.Format(archive), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// tell runs one story and returns it with what came out.
func tell(t *testing.T, story string, files map[string][]byte) []txtar.File {
	up := &recorder{answer: "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"}
	out := []txtar.File{{Name: story + "/client", Data: files["client"]}}
	if answer, ok := files["answer"]; ok {
		up.answer, up.once = unescape(t, answer), true
		out = append(out, txtar.File{Name: story + "/answer", Data: answer})
	}
	address, stop := startAccepting(t, up.accept)
	p := start(t, Config{MaxLine: 256, MaxHead: 1024, MaxFields: 20, MaxBody: 4096}, tableFor(address), toBackend())
	got := talk(t, p, unescape(t, files["client"]))
	p.Close()
	stop()
	for _, part := range []struct{ name, got string }{{"upstream", masked(up.all())}, {"got", masked(got)}} {
		text := escape(part.got)
		if text != string(files[part.name]) && !*update {
			t.Errorf("%s:\n%s\nwant:\n%s", part.name, text, files[part.name])
		}
		out = append(out, txtar.File{Name: story + "/" + part.name, Data: []byte(text)})
	}
	return out
}

// masked leaves out what is different each time.
func masked(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(line, ": ")
		switch {
		case name == "X-Request-ID" && len(value) == 34:
			line = "X-Request-ID: ID\r\n"
		case name == "X-Forwarded-Port":
			line = "X-Forwarded-Port: PORT\r\n"
		}
		b.WriteString(line)
	}
	return b.String()
}

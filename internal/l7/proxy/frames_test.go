package proxy

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"golang.org/x/tools/txtar"
)

// framer is a client that says what it likes, by x/net's Framer, when it is flushed.
type framer struct {
	*http2.Framer
	conn    net.Conn
	out     *bufio.Writer
	encoder *hpack.Encoder
	block   bytes.Buffer
}

func dialFrames(t testing.TB, p *Proxy) *framer {
	conn, err := net.Dial("tcp", p.Addresses("web")[0].String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(20 * time.Second))
	f := &framer{conn: conn, out: bufio.NewWriterSize(conn, 64<<10)}
	f.Framer = http2.NewFramer(f.out, conn)
	f.AllowIllegalWrites = true
	f.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	f.encoder = hpack.NewEncoder(&f.block)
	f.out.WriteString(http2.ClientPreface)
	f.WriteSettings()
	return f
}

// header encodes fields: names and values in turn.
func (f *framer) header(fields ...string) []byte {
	f.block.Reset()
	for i := 0; i < len(fields); i += 2 {
		f.encoder.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]})
	}
	return bytes.Clone(f.block.Bytes())
}

// get asks for something on a stream.
func (f *framer) get(stream uint32, fields ...string) error {
	fields = append([]string{":method", "GET", ":scheme", "http", ":path", "/", ":authority", "shop.example"}, fields...)
	return f.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: f.header(fields...), EndHeaders: true, EndStream: true})
}

// say does a line of a story: the frame, its stream, its flags, and what is in it.
func (f *framer) say(line string, fields []string) error {
	words := strings.Fields(line)
	stream, err := strconv.ParseUint(words[1], 10, 32)
	if err != nil {
		return err
	}
	id, last := uint32(stream), words[len(words)-1]
	end := strings.Contains(line, " end")
	switch words[0] {
	case "headers":
		return f.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: f.header(fields...), EndHeaders: true, EndStream: end})
	case "data":
		text, err := strconv.Unquote(line[strings.IndexByte(line, '"'):])
		if err != nil {
			return err
		}
		return f.WriteData(id, end, []byte(text))
	case "reset":
		return f.WriteRSTStream(id, http2.ErrCodeCancel)
	case "raw":
		b, err := hex.DecodeString(last)
		if err != nil {
			return err
		}
		_, err = f.out.Write(b)
		return err
	}
	return errors.New("an unknown line")
}

// saySteps does all lines; those that are indented are fields.
func (f *framer) saySteps(t testing.TB, text string) {
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	for i := 0; i < len(lines); {
		step := lines[i]
		var fields []string
		for i++; i < len(lines) && strings.HasPrefix(lines[i], "  "); i++ {
			field := strings.TrimPrefix(lines[i], "  ")
			at := strings.Index(field[1:], ": ") + 1
			value, err := strconv.Unquote(`"` + strings.ReplaceAll(field[at+2:], `"`, `\"`) + `"`)
			if err != nil || at == 0 {
				t.Fatalf("%q: %v", field, err)
			}
			fields = append(fields, field[:at], value)
		}
		if err := f.say(step, fields); err != nil {
			t.Fatalf("%q: %v", step, err)
		}
	}
}

// hear asks for a ping, and returns what comes back before its answer, or before the
// end of the connection, as text in the manner of a story.
func (f *framer) hear() string {
	f.WritePing(false, [8]byte{})
	f.out.Flush()
	return f.listen()
}

// listen returns what comes back before a ping, or before the end of the connection.
func (f *framer) listen() string {
	var b strings.Builder
	for {
		text, over := f.frame()
		if b.WriteString(text); over {
			return b.String()
		}
	}
}

// frame returns the next frame, and whether it is a ping or there is none any more.
func (f *framer) frame() (text string, over bool) {
	frame, err := f.ReadFrame()
	if err != nil {
		if errors.Is(err, io.EOF) {
			err = errors.New("end of connection")
		}
		return err.Error() + "\n", true
	}
	h := frame.Header()
	end := ""
	if h.Flags.Has(http2.FlagDataEndStream) && (h.Type == http2.FrameData || h.Type == http2.FrameHeaders) {
		end = " end"
	}
	switch frame := frame.(type) {
	case *http2.PingFrame:
		return "", true
	case *http2.MetaHeadersFrame:
		text = fmt.Sprintf("headers %d%s\n", h.StreamID, end)
		for _, field := range frame.Fields {
			text += fmt.Sprintf("  %s: %s\n", field.Name, field.Value)
		}
	case *http2.DataFrame:
		text = fmt.Sprintf("data %d%s %q\n", h.StreamID, end, frame.Data())
	case *http2.RSTStreamFrame:
		text = fmt.Sprintf("reset %d %s\n", h.StreamID, frame.ErrCode)
	case *http2.GoAwayFrame:
		text = fmt.Sprintf("goaway %d %s\n", frame.LastStreamID, frame.ErrCode)
	}
	return text, false
}

// TestFrames runs the stories of testdata/http2.txtar: frames that a client sends, the
// bytes that reach the upstream, frames that come back.
func TestFrames(t *testing.T) {
	const name = "testdata/http2.txtar"
	archive, err := txtar.ParseFile(name)
	if err != nil {
		t.Fatal(err)
	}
	var out []txtar.File
	files := map[string][]byte{}
	for _, file := range archive.Files {
		files[file.Name] = file.Data
	}
	for _, file := range archive.Files {
		story, ok := strings.CutSuffix(file.Name, "/client")
		if !ok {
			continue
		}
		t.Run(story, func(t *testing.T) {
			up := &recorder{answer: "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: x-hop\r\nX-Hop: 1\r\nX-Y: z\r\n\r\nok"}
			address, stop := startAccepting(t, up.accept)
			p := start(t, Config{MaxLine: 256, MaxHead: 1024, MaxFields: 20, MaxBody: 4096}, tableFor(address), toBackend())
			f := dialFrames(t, p)
			f.saySteps(t, string(file.Data))
			heard := f.hear() // all has been read
			until(t, func() bool { return p.streams.Load() == 0 })
			heard += f.hear() // all has been answered
			f.conn.Close()
			p.Close()
			stop()
			out = append(out, file)
			for _, part := range []struct{ name, got string }{{story + "/upstream", escape(masked(up.all()))}, {story + "/got", heard}} {
				if part.got != string(files[part.name]) && !*update {
					t.Errorf("%s:\n%s\nwant:\n%s", part.name, part.got, files[part.name])
				}
				out = append(out, txtar.File{Name: part.name, Data: []byte(part.got)})
			}
		})
	}
	if *update {
		archive.Files = out
		if err := os.WriteFile(name, txtar.Format(archive), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

package forward

import (
	"bufio"
	"context"
	"io"
	"log/slog"
	"net"
	"os"
	"testing"
	"time"
)

func TestServeCarriesBothWaysAndTheEnd(t *testing.T) {
	server, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	go func() {
		conn, err := server.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		question, _ := io.ReadAll(conn) // until the client's end arrives
		_, _ = conn.Write(append(question, []byte(" answered")...))
	}()
	file, err := Listener("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	local, err := net.FileListener(file)
	if err != nil {
		t.Fatal(err)
	}
	defer local.Close()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() {
		done <- Serve(ctx, []*os.File{file}, []string{server.Addr().String()}, slog.New(slog.DiscardHandler))
	}()
	client, err := net.DialTimeout("tcp", local.Addr().String(), 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.Write([]byte("question")); err != nil {
		t.Fatal(err)
	}
	if err := client.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if err := client.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
		t.Fatal(err)
	}
	answer, err := io.ReadAll(bufio.NewReader(client))
	if err != nil || string(answer) != "question answered" {
		t.Errorf("%q, %v", answer, err)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestServeRefusesAMismatch(t *testing.T) {
	if err := Serve(t.Context(), nil, []string{"127.0.0.1:1"}, slog.New(slog.DiscardHandler)); err == nil {
		t.Error("no error")
	}
}

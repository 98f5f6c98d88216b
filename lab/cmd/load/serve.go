package main

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"
)

// addresses serves at a port, or, if it is 0, asks such a server.
func addresses(ctx context.Context, port uint16, network, server string) error {
	if port != 0 {
		return tell(ctx, port)
	}
	answer, err := ask(network, server)
	if err == nil {
		_, err = fmt.Println(answer)
	}
	return err
}

// ask returns the address that this client has in the server's eyes.
func ask(network, server string) (string, error) {
	if network != "udp" {
		answer, err := http.Get("http://" + server + "/")
		if err != nil {
			return "", err
		}
		defer answer.Body.Close()
		text, err := io.ReadAll(answer.Body)
		return string(text), err
	}
	conn, err := net.DialTimeout(network, server, patience)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(answerWithin)); err != nil {
		return "", err
	}
	if _, err := conn.Write([]byte("who")); err != nil {
		return "", err
	}
	buffer := make([]byte, 128)
	n, err := conn.Read(buffer)
	return string(buffer[:n]), err
}

// look is a page on which a browser asks for what the fragment of the page's URL says, and
// writes down what it gets.
//
//go:embed look.html
var look []byte

// authorize says to a gateway whether a request may come in: one whose URL has a ticket
// may. It returns who comes by it.
func authorize(w http.ResponseWriter, r *http.Request) {
	asked, err := url.Parse(r.Header.Get("X-Original-URL"))
	if err != nil || asked.Query().Get("ticket") == "" {
		http.Error(w, "no ticket", http.StatusUnauthorized)
		return
	}
	w.Header().Set("X-Ticket", asked.Query().Get("ticket"))
}

// tell answers HTTP requests and UDP packets at a port of every address with the
// client's address and port, until ctx ends; but for WebSockets at /echo, questions of
// gateways at /auth, and the page at /look.
func tell(ctx context.Context, port uint16) error {
	address := fmt.Sprintf(":%d", port)
	packets, err := net.ListenPacket("udp", address)
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.RemoteAddr) })
	mux.Handle("/echo", echo())
	mux.HandleFunc("/auth", authorize)
	mux.HandleFunc("/look", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = w.Write(look)
	})
	server := &http.Server{Addr: address, ReadHeaderTimeout: patience, Handler: mux}
	go func() {
		<-ctx.Done()
		packets.Close()
		ending, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = server.Shutdown(ending)
	}()
	go func() {
		buffer := make([]byte, 2048)
		for {
			_, client, err := packets.ReadFrom(buffer)
			if err != nil {
				return
			}
			_, _ = packets.WriteTo([]byte(client.String()), client)
		}
	}()
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

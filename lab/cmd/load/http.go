package main

import (
	"bufio"
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"
)

// session is something that stays open and can be used again.
type session interface {
	exchange() error
	Close() error
}

// target is what an HTTP server is asked for, and how it is to answer.
type target struct {
	host, path string
	status     int
	tls        bool
}

// connect opens a connection. Whose certificate it is, is for others to find out.
func (t target) connect(address string) (net.Conn, error) {
	conn, err := net.DialTimeout("tcp", address, patience)
	if err != nil || !t.tls {
		return conn, err
	}
	secured := tls.Client(conn, &tls.Config{ServerName: t.host, InsecureSkipVerify: true})
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := secured.HandshakeContext(ctx); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return secured, nil
}

// errEnded is that the server has answered and wants to end the connection.
var errEnded = errors.New("the server ends the connection")

// tcp returns how to make one request to an HTTP server on a new connection, and
// how to keep a connection.
func tcp(address string, to target) (once func() error, dial func() (session, error)) {
	open := func(connection string) (*httpSession, error) {
		conn, err := to.connect(address)
		if err != nil {
			return nil, err
		}
		request := fmt.Sprintf("GET %s HTTP/1.1\r\nHost: %s\r\nConnection: %s\r\n\r\n", to.path, cmp.Or(to.host, address), connection)
		return &httpSession{conn, bufio.NewReader(conn), request, to.status}, nil
	}
	once = func() error {
		s, err := open("close")
		if err != nil {
			return err
		}
		defer s.Close()
		if err := s.exchange(); err != nil && !errors.Is(err, errEnded) {
			return err
		}
		return nil
	}
	return once, func() (session, error) { return open("keep-alive") }
}

type httpSession struct {
	net.Conn
	answers *bufio.Reader
	request string
	status  int
}

func (s *httpSession) exchange() error {
	if err := s.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	if _, err := s.Write([]byte(s.request)); err != nil {
		return err
	}
	answer, err := http.ReadResponse(s.answers, nil)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if _, err := io.Copy(io.Discard, answer.Body); err != nil {
		return err
	}
	switch {
	case answer.StatusCode != s.status:
		return fmt.Errorf("status %s", answer.Status)
	case answer.Close:
		return errEnded
	}
	return nil
}

package main

import (
	"cmp"
	"fmt"
	"net"
	"net/http"
	"time"

	"golang.org/x/net/websocket"
)

// webSocketSession is a WebSocket (RFC 6455) whose server sends back what it gets.
type webSocketSession struct {
	*websocket.Conn
	sent int
}

// webSocket opens one.
func webSocket(address string, to target) (session, error) {
	conn, err := to.connect(address)
	if err != nil {
		return nil, err
	}
	s, err := shake(conn, cmp.Or(to.host, address), to.path)
	if err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("open a WebSocket: %w", err)
	}
	return s, nil
}

func shake(conn net.Conn, host, path string) (*webSocketSession, error) {
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return nil, err
	}
	config, err := websocket.NewConfig("ws://"+host+path, "http://"+host)
	if err != nil {
		return nil, err
	}
	opened, err := websocket.NewClient(config, conn)
	if err != nil {
		return nil, err
	}
	return &webSocketSession{Conn: opened}, nil
}

// exchange sends a message, no two of which are the same, and expects it back.
func (s *webSocketSession) exchange() error {
	if err := s.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	s.sent++
	text, back := fmt.Sprintf("message %d of %p", s.sent, s), ""
	if err := websocket.Message.Send(s.Conn, text); err != nil {
		return fmt.Errorf("WebSocket, message %d: %w", s.sent, err)
	}
	if err := websocket.Message.Receive(s.Conn, &back); err != nil {
		return fmt.Errorf("WebSocket, answer to message %d: %w", s.sent, err)
	}
	if back != text {
		return fmt.Errorf("WebSocket: %q comes back as %q", text, back)
	}
	return nil
}

// echo sends every message of a WebSocket back.
func echo() http.Handler {
	return websocket.Handler(func(conn *websocket.Conn) {
		for {
			var text string
			if websocket.Message.Receive(conn, &text) != nil || websocket.Message.Send(conn, text) != nil {
				return
			}
		}
	})
}

package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"
)

// shakers is how many connections are made at a time.
const shakers = 32

// handshakes makes connections with full handshakes, each for one request, and
// counts them. Unlike the load it waits: nearly all it does is cryptography, which
// on its side, where a signature is verified, costs more than on the proxy's.
func (w *world) handshakes(t task) (outcome, error) {
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	made := make(chan struct{}, shakers)
	var all sync.WaitGroup
	for range shakers {
		all.Go(func() {
			for ctx.Err() == nil {
				if err := shake(t); err != nil {
					cancel(err)
					return
				}
				made <- struct{}{}
			}
		})
	}
	var o outcome
	err := w.beside(func() error {
		// What is under way at the end is let end.
		defer func() {
			cancel(nil)
			go func() {
				for range made {
				}
			}()
			all.Wait()
			close(made)
		}()
		if _, err := count(ctx, made, t.warmup); err != nil {
			return err
		}
		before, err := t.used()
		if err != nil {
			return err
		}
		start := time.Now()
		if o.Answered, err = count(ctx, made, t.length); err != nil {
			return err
		}
		o.Elapsed = time.Since(start)
		after, err := t.used()
		o.CPU = after - before
		return err
	})
	return o, err
}

// count counts for a time.
func count(ctx context.Context, made <-chan struct{}, length time.Duration) (n int, err error) {
	for end := time.After(length); ; {
		select {
		case <-ctx.Done():
			return n, context.Cause(ctx)
		case <-made:
			n++
		case <-end:
			return n, nil
		}
	}
}

// shake makes a connection, asks once, and closes it.
func shake(t task) error {
	plain, err := new(net.Dialer).DialContext(context.Background(), "tcp", t.address.String())
	if err != nil {
		return err
	}
	defer plain.Close()
	if err := plain.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	secure := tls.Client(plain, tlsConfig("http/1.1"))
	if _, err := secure.Write(request1(t.host, t.path)); err != nil {
		return fmt.Errorf("a new connection: %w", err)
	}
	if err := same(secure.ConnectionState()); err != nil {
		return err
	}
	response, err := http.ReadResponse(bufio.NewReader(secure), nil)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	n, err := io.Copy(io.Discard, response.Body)
	if err != nil || response.StatusCode != http.StatusOK || int(n) != t.size {
		return fmt.Errorf("a new connection gets status %d and %d bytes: %w", response.StatusCode, n, err)
	}
	return nil
}

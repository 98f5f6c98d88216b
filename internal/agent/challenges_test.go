package agent

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fairlead-net/fairlead/internal/desired"
	"github.com/fairlead-net/fairlead/internal/kube"
	"github.com/fairlead-net/fairlead/internal/l7/acme"
)

// heldData is a dataSource that has what it is given, if it is wanted.
type heldData struct {
	mu      sync.Mutex
	all     dataMap
	want    map[kube.DataName]bool
	changed chan struct{}
}

func (d *heldData) Want(names map[kube.DataName]bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.want = names
}

func (d *heldData) Get() (dataMap, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	wanted := dataMap{}
	for name := range d.want {
		if data, ok := d.all.Get(name); ok {
			wanted = wanted.Set(name, data)
		}
	}
	return wanted, true
}

func (d *heldData) Changed() <-chan struct{} { return d.changed }

func (d *heldData) set(name kube.DataName, keys map[string][]byte) {
	d.mu.Lock()
	d.all = d.all.Set(name, &kube.Data{Type: acme.TypeOpaque, Keys: keys})
	d.mu.Unlock()
	d.changed <- struct{}{}
}

// untilAnswer asks as an authority does, until the answer is this.
func untilAnswer(t *testing.T, port uint16, status int, body string) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 10 * time.Second}
	var last string
	for start := time.Now(); time.Since(start) < 10*time.Second; time.Sleep(5 * time.Millisecond) {
		request, _ := http.NewRequest(http.MethodGet, fmt.Sprintf("http://127.0.0.1:%d/.well-known/acme-challenge/tok", port), nil)
		request.Host = "new.example.com"
		response, err := client.Do(request)
		if err != nil {
			last = err.Error()
			continue
		}
		got, _ := io.ReadAll(response.Body)
		_ = response.Body.Close()
		if last = fmt.Sprint(response.StatusCode, " ", string(got)); response.StatusCode == status && strings.HasPrefix(string(got), body) {
			return
		}
	}
	t.Errorf("%s, want %d", last, status)
}

// TestGatewayAnswers: what the controller writes is answered without any Ingress, where
// the terms of an authority are agreed to.
func TestGatewayAnswers(t *testing.T) {
	for _, agreed := range []bool{true, false} {
		a := bare(t, Options{})
		ports := freePorts(t)
		a.options.Config.Gateway.HTTPPort, a.options.Config.Gateway.HTTPSPort, a.options.Config.Gateway.Lameduck = ports[0], ports[1], 0
		a.options.Config.ACME.AgreeToTerms = agreed
		data := &heldData{changed: make(chan struct{}, 1)}
		line, err := a.newGateway(data)
		if err != nil {
			t.Fatal(err)
		}
		end := runLine(t, a, line)
		until := func(status int, body string) { t.Helper(); untilAnswer(t, ports[0], status, body) }
		until(404, "")
		name := kube.DataName{Name: desired.Name{Namespace: a.options.Config.Status.LeaseNamespace, Name: acme.AnswersSecret}}
		text, _ := json.Marshal(map[string]any{"kind": acme.HTTP01, "host": "new.example.com", "token": "tok", "key": "tok.thumb", "until": time.Now().Add(time.Hour)})
		sum := sha256.Sum256([]byte("http-01 new.example.com tok"))
		data.set(name, map[string][]byte{hex.EncodeToString(sum[:16]): text, "odd": []byte("{}")})
		if agreed {
			until(200, "tok.thumb")
			if lines := strings.Join(line.notes(), "\n"); !strings.Contains(lines, "odd") || strings.Contains(lines, "does not exist") {
				t.Error(lines)
			}
			data.set(name, nil)
		}
		until(404, "")
		if data.want[name] != agreed {
			t.Errorf("agreed %t: the Secret is followed: %t", agreed, data.want[name])
		}
		end()
		if err := a.options.Kept.Close(); err != nil {
			t.Error(err)
		}
	}
}

// runLine runs a pipeline of an Agent and what serves it, with a State without objects,
// until the function that it returns is called.
func runLine(t *testing.T, a *Agent, line pipeline) (end func()) {
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	for _, run := range append(a.services, line.run) {
		all.Go(func() { _ = run(ctx) })
	}
	state, _ := desired.Build(desired.Objects{Synced: true}, desired.Node{}, nil)
	line.offer(state)
	return func() { cancel(); all.Wait() }
}

// freePorts returns two ports that nothing has at any address.
func freePorts(t *testing.T) (ports [2]uint16) {
	t.Helper()
	for i := range ports {
		l, err := net.Listen("tcp", ":0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close() // not before the other one is chosen
		ports[i] = l.Addr().(*net.TCPAddr).AddrPort().Port()
	}
	return ports
}

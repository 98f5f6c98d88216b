package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/fairlead-net/fairlead/internal/config"
	"github.com/fairlead-net/fairlead/internal/l7/proxy"
	"github.com/fairlead-net/fairlead/internal/l7/tracing"
)

// lateSpans is how long requests that are under way may still be told to a collector
// that the configuration has no more.
const lateSpans = time.Minute

// gateway returns the proxy of this process, which Agents hand on to each other, with a
// configuration in force. later says what of that counts once the process begins anew.
func (k *Kept) gateway(c proxy.Config, t config.Tracing) (p *proxy.Proxy, later []string, err error) {
	before := k.spans
	if c.Tracing, err = k.traces(t, c.Log); err != nil && k.proxy == nil {
		return nil, nil, err
	}
	if k.proxy == nil {
		if p, err = proxy.New(c); err == nil {
			err = p.Start(context.Background())
		}
		if err != nil {
			return nil, nil, err
		}
		k.proxy = p
		return p, nil, nil
	}
	problem := err // what serves goes on without traces
	if later, err = k.proxy.SetConfig(c); err != nil {
		return nil, nil, err
	}
	if problem != nil {
		later = append(later, "nothing is traced: "+problem.Error())
	}
	for _, what := range later {
		c.Log.Warn("a part of the configuration counts once the process begins anew", "what", what)
	}
	if before != nil && before != k.spans {
		time.AfterFunc(lateSpans, func() { _ = before.Close() })
	}
	return k.proxy, later, nil
}

// traces returns who records traces; nil: nobody.
func (k *Kept) traces(t config.Tracing, log *slog.Logger) (*proxy.Tracing, error) {
	if t.Endpoint == "" {
		k.spans, k.tracing = nil, t
		return nil, nil
	}
	sampler, err := tracing.ParseSampler(t.Sampler, t.Ratio)
	if err != nil {
		return nil, err
	}
	if k.spans == nil || k.tracing.Endpoint != t.Endpoint {
		made, err := newSpans(t, log)
		if err != nil {
			return nil, fmt.Errorf("gateway.tracing: %w", err)
		}
		k.spans = made
	}
	k.tracing = t
	return &proxy.Tracing{Sampler: sampler, Record: k.spans.record}, nil
}

// Close ends what outlives Agents. A proxy that serves is drained first.
func (k *Kept) Close() error {
	if k.proxy == nil {
		return nil
	}
	err := k.proxy.Close()
	if k.spans != nil {
		err = errors.Join(err, k.spans.Close())
	}
	return err
}

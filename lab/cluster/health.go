package cluster

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/fairlead-net/fairlead/lab/config"
	"github.com/fairlead-net/fairlead/lab/machine"
)

const (
	apiServerTime = 2 * time.Minute
	nodesTime     = 3 * time.Minute
	poll          = 500 * time.Millisecond
)

// healthy says whether a lab of exactly this shape runs and all its nodes are Ready.
func (c *Cluster) healthy(ctx context.Context) bool {
	s, err := loadState(c.Layout)
	if err != nil {
		return false
	}
	if print, err := c.fingerprint(); err != nil || print != s.Fingerprint {
		return false
	}
	for _, name := range c.machines() {
		if _, err := machine.PID(c.hierarchies, name); err != nil {
			return false
		}
	}
	ready, err := c.readyNodes(ctx)
	return err == nil && ready == len(c.Plan.Nodes)
}

// fingerprint changes when anything changes that only a new cluster can take up.
func (c *Cluster) fingerprint() (string, error) {
	hash := sha256.New()
	encoder := json.NewEncoder(hash)
	if err := encoder.Encode([]any{c.Bare, c.Plan, config.Outside(c.Plan)}); err != nil {
		return "", fmt.Errorf("fingerprint the outside: %w", err)
	}
	for _, n := range c.Plan.Nodes {
		if err := encoder.Encode(c.placed(config.Node(c.Plan, n, config.Credentials{}, host(c.Layout.Root)))); err != nil {
			return "", fmt.Errorf("fingerprint %s: %w", n.Name, err)
		}
	}
	for _, program := range []string{"kube", "containerd"} {
		// By content: go build touches a program that is up to date.
		if err := hashFile(hash, c.Layout.Bin(program)); err != nil {
			return "", fmt.Errorf("fingerprint %s: %w", program, err)
		}
	}
	return fmt.Sprintf("%x", hash.Sum(nil)), nil
}

func hashFile(to io.Writer, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.Copy(to, f)
	return err
}

func (c *Cluster) awaitAPIServer(ctx context.Context) error {
	return c.await(ctx, apiServerTime, func(ctx context.Context) (bool, string) {
		out, err := c.kubectl(ctx, nil, "get", "--raw", "/readyz")
		return err == nil && out == "ok", "the API server answers: " + firstLine(out, err)
	})
}

func (c *Cluster) awaitNodes(ctx context.Context) error {
	return c.await(ctx, nodesTime, func(ctx context.Context) (bool, string) {
		ready, err := c.readyNodes(ctx)
		return err == nil && ready == len(c.Plan.Nodes),
			fmt.Sprintf("%d of %d nodes are Ready; `lab logs NODE kubelet` says why %s", ready, len(c.Plan.Nodes), firstLine("", err))
	})
}

func (c *Cluster) readyNodes(ctx context.Context) (int, error) {
	out, err := c.kubectl(ctx, nil, "get", "nodes", "-o",
		`jsonpath={range .items[*]}{.status.conditions[?(@.type=="Ready")].status}{"\n"}{end}`)
	return strings.Count(out, "True"), err
}

// await polls until check says yes; what check said last becomes the error.
func (c *Cluster) await(ctx context.Context, limit time.Duration, check func(context.Context) (bool, string)) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	said := "nothing yet"
	for {
		attempt, stop := context.WithTimeout(ctx, 10*time.Second)
		ok, now := check(attempt)
		stop()
		if ok {
			return nil
		}
		if ctx.Err() == nil {
			said = now
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w within %s: %s", ErrNotReady, limit, said)
		case <-time.After(poll):
		}
	}
}

func firstLine(text string, err error) string {
	if err != nil {
		text = err.Error()
	}
	line, _, _ := strings.Cut(strings.TrimSpace(text), "\n")
	return line
}

// Command shop runs one service of the demo: `shop front|catalogue|cart|payments`.
package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"github.com/fairlead-net/fairlead/lab/demo/shop"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "shop:", err)
		os.Exit(1)
	}
}

// run reads SHOP_SLOW (a duration) and SHOP_FAIL (an HTTP status), the switches' first positions.
func run(ctx context.Context) error {
	if len(os.Args) != 2 {
		return fmt.Errorf("name one role: %s, %s, %s or %s", shop.Front, shop.Catalogue, shop.Cart, shop.Payments)
	}
	pod, err := os.Hostname()
	if err != nil {
		return fmt.Errorf("find the pod's name: %w", err)
	}
	c := shop.Config{Role: os.Args[1], Pod: pod, Node: os.Getenv("NODE_NAME")}
	if text := os.Getenv("SHOP_SLOW"); text != "" {
		if c.Slow, err = time.ParseDuration(text); err != nil {
			return fmt.Errorf("SHOP_SLOW: %w", err)
		}
	}
	if text := os.Getenv("SHOP_FAIL"); text != "" {
		if c.Fail, err = strconv.Atoi(text); err != nil {
			return fmt.Errorf("SHOP_FAIL: %w", err)
		}
	}
	return shop.Run(ctx, c, slog.New(slog.NewTextHandler(os.Stderr, nil)))
}

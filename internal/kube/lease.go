package kube

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"

	"github.com/fairlead-net/fairlead/internal/desired"
)

// Lead runs work while this process, known as identity, holds the named Lease,
// and waits for it otherwise. The context of work ends when the Lease is lost.
// Lead returns when ctx ends, having given the Lease up so that another replica
// need not wait for it to expire.
func (c *Client) Lead(ctx context.Context, lease desired.Name, identity string, log *slog.Logger, work func(context.Context)) error {
	lock := &resourcelock.LeaseLock{
		LeaseMeta:  metav1.ObjectMeta{Namespace: lease.Namespace, Name: lease.Name},
		Client:     c.clientset.CoordinationV1(),
		LockConfig: resourcelock.ResourceLockConfig{Identity: identity},
	}
	elector, err := leaderelection.NewLeaderElector(leaderelection.LeaderElectionConfig{
		Lock: lock, ReleaseOnCancel: true, Name: lease.Name,
		LeaseDuration: 15 * time.Second, RenewDeadline: 10 * time.Second, RetryPeriod: 2 * time.Second,
		Callbacks: leaderelection.LeaderCallbacks{
			OnStartedLeading: work,
			OnStoppedLeading: func() { log.Info("no longer holding the lease", "lease", lease.String()) },
			OnNewLeader:      func(holder string) { log.Info("lease is held", "lease", lease.String(), "holder", holder) },
		},
	})
	if err != nil {
		return fmt.Errorf("lease %s: %w", lease, err)
	}
	for ctx.Err() == nil {
		elector.Run(ctx)
	}
	return nil
}

package agent

import (
	"context"
	"errors"
	"os"
	"runtime"
	"strings"
	"time"

	"github.com/fairlead-net/fairlead/internal/lb/conntrack"
)

// hostSysctls is where the chart mounts the node's /proc/sys/net: a container's
// own is read-only.
const hostSysctls = "/host/sysctls"

// trackConnections sets the limits and timeouts of connection tracking once the
// kernel tracks connections, which is when the first rule wants it.
func (a *Agent) trackConnections(ctx context.Context) error {
	directory := "/proc/sys/net"
	if _, err := os.Stat(hostSysctls); err == nil {
		directory = hostSysctls
	}
	processors, err := conntrack.Processors(conntrack.OnlineProcessors)
	if err != nil {
		// This counts those that the process may use, which can be fewer.
		processors = runtime.NumCPU()
		a.log.Warn("the node's processors are not known, going by those of this process", "error", err)
	}
	for {
		err := conntrack.Apply(conntrack.Config(a.options.Config.LB.Conntrack), directory, processors)
		if err == nil {
			return nil
		}
		if !errors.Is(err, conntrack.ErrNotTracking) {
			problem := strings.ReplaceAll(err.Error(), "\n", "; ")
			a.conntrackProblem.Store(&problem)
			a.log.Warn("connection tracking keeps some of its limits", "error", err)
			return nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(5 * time.Second):
		}
	}
}

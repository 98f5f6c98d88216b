package agent

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"time"

	"github.com/fairlead-net/fairlead/internal/config"
)

// configPeriod is how often the configuration file is read again. The kubelet
// itself updates a mounted ConfigMap about once a minute.
const configPeriod = 5 * time.Second

// changeSpread is how long a process may wait before it begins anew with a Corefile
// that has changed.
const changeSpread = 10 * time.Second

// watchConfig returns ErrConfigChanged once the file holds another valid
// configuration. One that is not valid is reported and changes nothing.
func (a *Agent) watchConfig(ctx context.Context) error {
	if a.options.ConfigFile == "" {
		return nil
	}
	inForce, err := os.ReadFile(a.options.ConfigFile)
	if err != nil {
		return fmt.Errorf("configuration: %w", err)
	}
	tick := time.NewTicker(configPeriod)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if a.takeCorefile() {
			// All nodes get it, and must not begin anew at once.
			sleep(ctx, rand.N(changeSpread))
			if a.takeCorefile() { // still, and to one that can be followed
				a.log.Info("Corefile changed what is read of the cluster or where is listened, beginning anew with it", "file", a.base.DNS.Corefile)
				return ErrConfigChanged
			}
		}
		content, err := os.ReadFile(a.options.ConfigFile)
		if err == nil && bytes.Equal(content, inForce) {
			a.configProblem.Store(nil)
			continue
		}
		if err == nil {
			_, err = config.Parse(content)
		}
		if err == nil {
			a.log.Info("configuration changed, applying it", "file", a.options.ConfigFile)
			return ErrConfigChanged
		}
		problem := fmt.Sprintf("%s is not usable, the previous configuration stays in force: %v", a.options.ConfigFile, err)
		if old := a.configProblem.Swap(&problem); old == nil || *old != problem {
			a.log.Error("configuration not usable, keeping the previous one", "file", a.options.ConfigFile, "error", err)
		}
	}
}

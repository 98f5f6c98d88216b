package install

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"helm.sh/helm/v4/pkg/chart/common/util"
	"helm.sh/helm/v4/pkg/cli/values"
	"helm.sh/helm/v4/pkg/getter"

	"github.com/fairlead-net/fairlead/internal/kube"
)

// Values reads the user's values: files first, in order, then settings of the
// form path=value, as helm's -f and --set have them.
func Values(files, settings []string) (map[string]any, error) {
	options := values.Options{ValueFiles: files, Values: settings}
	merged, err := options.MergeValues(getter.Providers{})
	if err != nil {
		return nil, fmt.Errorf("values: %w", err)
	}
	return merged, nil
}

// complete adds what was found in the cluster to the user's values.
func complete(user map[string]any, found kube.Cluster, takeOver bool) map[string]any {
	addresses := []any{} // not nil: a stored null would delete the value on the next upgrade
	for _, ip := range found.DNSAddresses {
		addresses = append(addresses, ip.String())
	}
	servers := []any{}
	for _, server := range found.APIServers {
		servers = append(servers, server)
	}
	dns := map[string]any{}
	if takeOver {
		dns["keepService"] = true
	}
	return util.CoalesceTables(user, map[string]any{
		"discovered": map[string]any{"apiServers": servers, "clusterIPs": addresses},
		"dns":        dns,
		// What an interrupted uninstall may have left behind.
		"node": map[string]any{"cleanup": false},
	})
}

// explain turns the words of the schema's validator into words about values.
func explain(err error) error {
	text := err.Error()
	if !strings.Contains(text, "values don't meet the specifications of the schema") {
		return err
	}
	var lines []error
	at := regexp.MustCompile(`^\s*- at '([^']*)': (.*)$`)
	for line := range strings.SplitSeq(text, "\n") {
		m := at.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		path := strings.Trim(strings.ReplaceAll(m[1], "/", "."), ".")
		if path == "" {
			path = "values"
		}
		problem := strings.Replace(m[2], "additional properties", "there is no value", 1)
		problem = strings.Replace(problem, " not allowed", "", 1)
		lines = append(lines, fmt.Errorf("%s: %s", path, problem))
	}
	if len(lines) == 0 {
		return err
	}
	return fmt.Errorf("%w\nAll values are listed in charts/fairlead/README.md", errors.Join(lines...))
}

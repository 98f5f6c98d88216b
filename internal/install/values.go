package install

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"helm.sh/helm/v4/pkg/chart/common/util"
	"helm.sh/helm/v4/pkg/cli/values"
	"helm.sh/helm/v4/pkg/getter"
	"helm.sh/helm/v4/pkg/strvals"

	"github.com/fairlead-net/fairlead/internal/kube"
)

// Values reads the user's values: files first, in order, then settings of the
// form path=value, as helm's -f and --set have them.
func Values(files, settings []string) (map[string]any, error) {
	options := values.Options{ValueFiles: files}
	merged, err := options.MergeValues(getter.Providers{})
	if err != nil {
		return nil, fmt.Errorf("--values: %w", err)
	}
	for _, setting := range settings {
		if err := strvals.ParseInto(setting, merged); err != nil {
			return nil, fmt.Errorf("--set %s: %w; write PATH=VALUE", setting, err)
		}
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

// explain turns the words of the schema's validator into words about values,
// a line per problem.
func explain(err error) error {
	text := err.Error()
	if !strings.Contains(text, "values don't meet the specifications of the schema") {
		return err
	}
	at := regexp.MustCompile(`(?m)^\s*- at '([^']*)': (.*)$`)
	quoted := regexp.MustCompile(`'([^']+)'`)
	var lines []string
	for _, m := range at.FindAllStringSubmatch(text, -1) {
		path, problem := strings.ReplaceAll(strings.TrimPrefix(m[1], "/"), "/", "."), m[2]
		switch {
		case problem == "validation failed": // a heading over others
		case strings.HasPrefix(problem, "additional properties"):
			for _, name := range quoted.FindAllStringSubmatch(problem, -1) {
				lines = append(lines, strings.TrimPrefix(path+"."+name[1], ".")+": there is no such value")
			}
		default:
			lines = append(lines, path+": "+problem)
		}
	}
	if len(lines) == 0 {
		return err
	}
	slices.Sort(lines)
	return fmt.Errorf("%s\nThe chart's README.md lists all values: https://github.com/fairlead-net/fairlead/tree/main/charts/fairlead", strings.Join(lines, "\n"))
}

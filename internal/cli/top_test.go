package cli

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fairlead-net/fairlead/internal/dns/server"
)

// topAnswers are what two servers say.
func topAnswers(t *testing.T) (one, two []byte) {
	t.Helper()
	since := time.Now().Add(-6 * time.Minute)
	answer := func(top server.Top) []byte {
		content, err := json.Marshal(top)
		if err != nil {
			t.Fatal(err)
		}
		return content
	}
	first := server.Top{
		Since: since, Queries: 70, Failed: 4, Searched: 41,
		Names: []server.TopName{
			{Name: "web.shop.svc.cluster.local.", Type: "A", Rcode: "NOERROR", Queries: 20},
			{Name: "www.example.com.shop.svc.cluster.local.", Type: "A", Rcode: "NXDOMAIN", Searched: true, Queries: 41},
			{Name: "broken.example.com.", Type: "A", Rcode: "SERVFAIL", Queries: 4},
		},
		Searches: []server.TopSearch{{Name: "www.example.com", Namespace: "shop", Queries: 41}},
	}
	second := server.Top{
		Since: since.Add(time.Minute), Queries: 30,
		Names: []server.TopName{
			{Name: "web.shop.svc.cluster.local.", Type: "A", Rcode: "NOERROR", Queries: 25, Over: 3},
			{Name: "api.shop.svc.cluster.local.", Type: "A", Rcode: "NOERROR", Queries: 5},
		},
		Searches: []server.TopSearch{{Name: "www.example.com", Queries: 2}, {Name: "www.example.com", Namespace: "shop", Queries: 1}},
	}
	return answer(first), answer(second)
}

// TestTop adds up what three DNS servers say, of which one cannot be read.
func TestTop(t *testing.T) {
	one, two := topAnswers(t)
	cluster(t, pod("dns-1", "dns", true)+","+pod("dns-2", "dns", true)+","+pod("dns-3", "dns", true), map[string][]byte{
		"/dns-1:9153/proxy/dns/top": one, "/dns-2:9153/proxy/dns/top": two, "/dns-3:9153/proxy/dns/top": []byte("<html>"),
	})
	code, out, problem := run(t, "dns", "top", "-n", "3")
	want := `ASKED MOST                                TYPE   ANSWER     QUERIES   SHARE
web.shop.svc.cluster.local.               A      NOERROR    45        45.0 %
www.example.com.shop.svc.cluster.local.   A      NXDOMAIN   41        41.0 %
api.shop.svc.cluster.local.               A      NOERROR    5         5.0 %

FAILING               TYPE   ANSWER     QUERIES   SHARE
broken.example.com.   A      SERVFAIL   4         4.0 %

LOOKED UP IN VAIN   BY PODS OF      QUERIES   SHARE
www.example.com     shop            42        42.0 %
www.example.com     any namespace   2         2.0 %

Programs that write the final dot (www.example.com.) ask for nothing else; neither do pods with a lower ndots, for
names with that many dots:  dnsConfig: {options: [{name: ndots, value: "1"}]}

the DNS server of node a is left out: what it says is not readable (is it of another version?): invalid character '<' looking for beginning of value
`
	first, rest, _ := strings.Cut(out, "\n\n")
	if diff := cmp.Diff(want, rest); code != 0 || problem != "" || diff != "" {
		t.Errorf("exit code %d\n%s-want +got:\n%s", code, problem, diff)
	}
	if !strings.HasPrefix(first, "2 DNS servers, 100 queries in the last 6m") || !strings.HasSuffix(first, "; 4.0 % failed, 41.0 % were in vain because of search paths") {
		t.Errorf("%s", first)
	}
	code, out, _ = run(t, "dns", "top", "-o", "json")
	var all topped
	if err := json.Unmarshal([]byte(out), &all); err != nil || code != 0 || all.Servers != 2 || all.Queries != 100 || len(all.Problems) != 1 || all.Names[0].Over != 3 {
		t.Errorf("exit code %d, %v\n%s", code, err, out)
	}
	cluster(t, pod("dns-1", "dns", false), nil)
	if code, out, problem = run(t, "dns", "top"); code != 1 || out != "" || problem != "fairlead: no DNS server of Fairlead says what it was asked; see: fairlead status\nthe DNS server of node a is left out: ImagePullBackOff\n" {
		t.Errorf("none runs: exit code %d\n%s%s", code, out, problem)
	}
	if code, _, _ = run(t, "dns", "top", "-n", "0"); code != 2 {
		t.Errorf("-n 0: exit code %d", code)
	}
}

//go:build e2e

package e2e

import (
	"strings"
	"testing"
	"time"
)

// corefile is kubeadm's, with another TTL and one more host.
const corefile = `
apiVersion: v1
kind: ConfigMap
metadata: {name: coredns, namespace: kube-system}
data:
  Corefile: |
    .:53 {
        errors
        health {
            lameduck 5s
        }
        ready
        kubernetes cluster.local in-addr.arpa ip6.arpa {
            pods insecure
            fallthrough in-addr.arpa ip6.arpa
            ttl 7
        }
        prometheus :9153
        hosts {
            ADDRESS corefile.test
            fallthrough
        }
        import custom/*.override
        forward . /etc/resolv.conf
        cache 30
        loop
        reload
        loadbalance
    }
---
apiVersion: v1
kind: ConfigMap
metadata: {name: coredns-custom, namespace: kube-system}
data:
  more.override: |
    template IN A template.test {
        answer "{{ .Name }} 60 IN A 192.0.2.9"
    }
`

// TestCorefile has the DNS servers follow the Corefile that a cluster has, change it
// under load, and make a mistake in it.
func TestCorefile(t *testing.T) {
	eventually(t, 3*time.Minute, func() error { return ready(t) })
	t.Cleanup(func() { upgrade(t, "config.dns.corefile=") })
	write := func(change ...string) {
		t.Helper()
		apply(t, strings.NewReplacer(append(change, "ADDRESS", "192.0.2.7")...).Replace(corefile))
		// The kubelet looks after what is mounted whenever it looks after a pod, at the
		// latest every minute or two.
		kubectl(t, "annotate", "pods", "-n", "kube-system", "-l", "app.kubernetes.io/component=dns", "--overwrite", "fairlead.dev/look="+time.Now().Format("150405.000"))
	}
	write()
	upgrade(t, "config.dns.corefile=/etc/coredns/Corefile")
	everywhere := func(limit time.Duration, want string, question ...string) {
		t.Helper()
		eventually(t, limit, func() error { return everyServer(t, want, question...) })
	}
	everywhere(time.Minute, "shop.demo.svc.cluster.local. 7 IN A", "shop.demo.svc.cluster.local", "A")
	everywhere(time.Minute, "A 192.0.2.7", "corefile.test", "A")
	everywhere(time.Minute, "A 192.0.2.9", "template.test", "A")

	p := probes(t)[1]
	p.install(t)
	wait := p.load(t, "--resolve", "shop.demo.svc.cluster.local", "--rate", "50", "--duration", "60s")
	time.Sleep(2 * time.Second)
	write("ADDRESS", "192.0.2.8", "ttl 7", "ttl 8")
	everywhere(3*time.Minute, "A 192.0.2.8", "corefile.test", "A")
	// A server takes all of a change at once.
	everywhere(0, "shop.demo.svc.cluster.local. 8 IN A", "shop.demo.svc.cluster.local", "A")
	if r := wait(); r.Failures > 0 {
		t.Errorf("%d of %d lookups failed while the Corefile changed: %v", r.Failures, r.Attempts, r.Errors)
	}

	write("ADDRESS", "192.0.2.9", "fallthrough\n        }\n        import", "falltrough\n        }\n        import")
	eventually(t, 3*time.Minute, func() error {
		out, err := fairlead(t, "status") // which ends with 1, as not all is well
		if strings.Contains(out, "falltrough") && strings.Contains(out, "/etc/coredns/Corefile:") {
			return nil
		}
		return errorf("status names no mistake: %w\n%s", err, out)
	})
	everywhere(0, "A 192.0.2.8", "corefile.test", "A")

	write("ADDRESS", "192.0.2.10")
	everywhere(3*time.Minute, "A 192.0.2.10", "corefile.test", "A")
	eventually(t, time.Minute, func() error {
		out, err := fairlead(t, "status")
		if err != nil || strings.Contains(out, "falltrough") {
			return errorf("status still names a mistake: %w\n%s", err, out)
		}
		return nil
	})
}

// everyServer tells whether every DNS server's answer has this in it: each takes a change
// when it gets it.
func everyServer(t *testing.T, want string, question ...string) error {
	t.Helper()
	for _, server := range strings.Fields(kubectl(t, "get", "pods", "-n", "kube-system", "-l", "app.kubernetes.io/component=dns", "-o", "jsonpath={.items[*].status.podIP}")) {
		if err := dug(t, probes(t)[0], want, append([]string{"@" + server}, question...)...); err != nil {
			return err
		}
	}
	return nil
}

// dug tells whether a pod's question gets an answer with this in it.
func dug(t *testing.T, p pod, want string, question ...string) error {
	out, err := p.exec(t, append([]string{"dig", "+noall", "+answer", "+tries=2", "+time=3"}, question...)...)
	if err != nil || !strings.Contains(strings.Join(strings.Fields(out), " "), want) {
		return errorf("from %s: dig %s answers %q, want %q in it (%w)", p.node, strings.Join(question, " "), out, want, err)
	}
	return nil
}

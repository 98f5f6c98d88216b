package cluster

import (
	"context"
	"fmt"

	"github.com/fairlead-net/fairlead/lab/demo"
	"github.com/fairlead-net/fairlead/lab/image"
)

// rolloutTime is plenty: the images are on the nodes already.
const rolloutTime = "120s"

// deployDemo applies the demo and waits for its pods.
func (c *Cluster) deployDemo(ctx context.Context) error {
	images, err := c.images(ctx)
	if err != nil {
		return err
	}
	manifests, err := demo.Manifests(demo.Images{
		Shop: ShopImage, ShopID: digest(images, ShopImage),
		Probe: ProbeImage, ProbeID: digest(images, ProbeImage),
	})
	if err != nil {
		return err
	}
	if err := c.apply(ctx, manifests); err != nil {
		return err
	}
	for _, workload := range demo.Workloads() {
		if _, err := c.kubectl(ctx, nil, "-n", demo.Namespace, "rollout", "status", workload, "--timeout="+rolloutTime); err != nil {
			return fmt.Errorf("%w (`kubectl -n %s describe pods` says why)", err, demo.Namespace)
		}
	}
	return nil
}

func digest(images []image.Image, ref string) string {
	for _, img := range images {
		if img.Ref == ref {
			return img.ID
		}
	}
	return ""
}

func (c *Cluster) printNextSteps() {
	fmt.Fprintf(c.out, `
Try next:
  export KUBECONFIG=%s PATH=%s:$PATH
  kubectl get pods -A -o wide
  kubectl -n demo exec ds/probe -- curl -s http://shop.demo.svc.cluster.local/
  kubectl -n demo exec ds/probe -- dig +search shop AAAA
  lab node cut %s        # and: lab node heal, stop, start
  lab status
`, c.Layout.Kubeconfig(), c.Layout.Bin(), c.Plan.Nodes[len(c.Plan.Nodes)-1].Name)
}

package cluster

import (
	"context"
	"strings"
)

// installFairlead installs the product as a user does: its own command, its own chart, the image that was
// built from this tree. The image goes by its unique name: a rebuilt product is an upgrade, which the chart
// rolls out, and an unchanged one is no change.
func (c *Cluster) installFairlead(ctx context.Context) error {
	if !c.withProduct() {
		c.note("left out")
		return nil
	}
	images, err := c.images(ctx)
	if err != nil {
		return err
	}
	for _, img := range images {
		if img.Ref == ProductImage {
			_, tag, _ := strings.Cut(img.Unique(), ":")
			return c.run(ctx, c.Layout.Bin("fairlead"), "upgrade", "--install",
				"--kubeconfig", c.Layout.Kubeconfig(), "--set", "image.tag="+tag)
		}
	}
	panic("cluster: the product's image was not built and no error was returned")
}

package cluster

import (
	"context"
	"fmt"
	"time"
)

// Up makes the lab run: it builds what is missing, replaces whatever a crash left behind, and on a healthy
// lab of the same shape only renews images and manifests.
func (c *Cluster) Up(ctx context.Context) error {
	started := time.Now()
	unlock, err := c.lock()
	if err != nil {
		return err
	}
	defer unlock()
	if err := c.perform(ctx, []Action{
		{"Install what the host lacks", c.installPackages},
		{"Build the programs", c.buildPrograms},
		{"Build the images", c.buildImages},
	}); err != nil {
		return err
	}
	if c.healthy(ctx) {
		fmt.Fprintf(c.out, " ✓  A lab of %d nodes is already running and healthy\n", len(c.Plan.Nodes))
	} else if err := c.perform(ctx, c.creation()); err != nil {
		return err
	}
	if err := c.perform(ctx, []Action{
		{"Load images into the nodes", c.loadImages},
		{"Install Fairlead", c.installFairlead},
		{"Deploy the demo", c.deployDemo},
		{"Remove the disks of earlier labs", c.removeDisks},
	}); err != nil {
		return err
	}
	fmt.Fprintf(c.out, "\nThe lab is up after %s.\n", time.Since(started).Round(time.Second))
	c.printNextSteps()
	return nil
}

// creation is everything between nothing and a cluster whose nodes are Ready.
func (c *Cluster) creation() []Action {
	return []Action{
		{"Clean up what an earlier lab left", c.clean},
		{"Wire the fabric", c.startFabric},
		{fmt.Sprintf("Start %d nodes and a client", len(c.Plan.Nodes)), c.startMachines},
		{"Wait for the API server", c.awaitAPIServer},
		{"Wait for the nodes", c.awaitNodes},
		{"Label the nodes", c.labelNodes},
	}
}

// Down takes everything down that Up made, whatever state it is in. Built programs, images, caches and
// logs stay.
func (c *Cluster) Down(ctx context.Context) error {
	unlock, err := c.lock()
	if err != nil {
		return err
	}
	defer unlock()
	return c.perform(ctx, []Action{
		{"Switch all machines off and remove them", c.clean},
		{"Remove their disks", c.removeDisks},
	})
}

// BuildImages builds all images and starts nothing.
func (c *Cluster) BuildImages(ctx context.Context) error {
	return c.perform(ctx, []Action{
		{"Install what the host lacks", c.installPackages},
		{"Build the programs", c.buildPods},
		{"Build the images", c.buildImages},
	})
}
